"""Records of container instances, and of Fargate's nodes, which are container instances that callers never see."""

from __future__ import annotations

from typing import Any

import msgspec

from homeport.store import Scope
from homeport.store.tables import Table

POOL = Scope("-", "-")  # where Fargate's nodes are kept: they serve every account and region


class Instance(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A container instance.

    ``node`` is the id of the node whose key registered it, None where an account's own key did. ``attributes`` and
    ``resources`` are what it registered, with AWS's member names. ``silent_since`` is when its connection ended, None
    while it has one; ``lost`` once it has been silent for so long that its tasks were given up.
    """

    id: str
    arn: str
    cluster_arn: str  # "" in the Fargate pool
    node: str | None
    registered_at: float
    status: str = "ACTIVE"
    attributes: tuple[dict[str, Any], ...] = ()
    resources: tuple[dict[str, Any], ...] = ()
    version_info: dict[str, str] = {}
    tags: dict[str, str] = {}
    version: int = 1
    connections: int = 0  # how often it has connected; every connection is a version of the store
    silent_since: float | None = None
    lost: bool = False

    @property
    def fargate(self) -> bool:
        return not self.cluster_arn

    @property
    def connected(self) -> bool:
        return self.connections > 0 and self.silent_since is None

    def attribute(self, name: str) -> str | None:
        """An attribute's value ("" where it has none), or None where it hasn't the attribute."""
        return next((a.get("value") or "" for a in self.attributes if a["name"] == name), None)


class Room(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What an instance has and what its tasks take: the small record that placement reads and charges.

    CPU in units (1024 = one vCPU), memory in MiB. ``open``: tasks may be placed here. ``zone`` and ``region`` where the
    node serves only that one; ``architecture`` as in ``cpuArchitecture``.
    """

    id: str
    arn: str
    cpu: int
    memory: int
    cpu_used: int = 0
    memory_used: int = 0
    tasks: int = 0
    open: bool = False
    connected: bool = False
    zone: str | None = None
    region: str | None = None
    architecture: str = "X86_64"
    networked: bool = False  # it can build awsvpc interfaces

    @property
    def cpu_free(self) -> int:
        return max(0, self.cpu - self.cpu_used)

    @property
    def memory_free(self) -> int:
        return max(0, self.memory - self.memory_used)

    @property
    def size_class(self) -> int:
        """The power of two of its free memory in MiB: ``place`` starts at the roomiest class."""
        return self.memory_free.bit_length()


INSTANCES: Table[Instance] = Table(
    "container-instance",
    Instance,
    id=lambda r: r.id,
    indexes={"cluster": lambda r: (r.cluster_arn,), "cluster_status": lambda r: ((r.cluster_arn, r.status),)},
    global_indexes={
        "arn": lambda r: (r.arn,),
        "node": lambda r: (r.node,) if r.node else (),
    },
)

ROOMS: Table[Room] = Table(
    "container-instance-room",
    Room,
    id=lambda r: r.id,
    indexes={"class": lambda r: (r.size_class,) if r.open else ()},
)
