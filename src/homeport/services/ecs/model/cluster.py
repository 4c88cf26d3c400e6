"""Records of clusters."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from homeport.store.tables import Table

ClusterStatus = Literal["ACTIVE", "INACTIVE"]


class Cluster(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A cluster. A deleted one stays, INACTIVE, for a while; its name may be taken again meanwhile by a new cluster of
    the same ARN and the next ``generation``.

    ``configuration``, ``default_strategy`` and ``service_connect_defaults`` are JSON objects with AWS's member names.
    Times are epoch seconds.
    """

    name: str
    generation: int
    arn: str
    status: ClusterStatus
    created_at: float
    deleted_at: float | None = None
    settings: dict[str, str] = {}
    configuration: dict[str, Any] | None = None
    capacity_providers: tuple[str, ...] = ()
    default_strategy: tuple[dict[str, Any], ...] = ()
    service_connect_defaults: dict[str, Any] | None = None
    tags: dict[str, str] = {}


CLUSTERS: Table[Cluster] = Table(
    "cluster",
    Cluster,
    id=lambda r: f"{r.name}/{r.generation}",
    indexes={
        "name": lambda r: (r.name,),
        "status": lambda r: (r.status,),
        "provider": lambda r: r.capacity_providers if r.status == "ACTIVE" else (),
    },
)
