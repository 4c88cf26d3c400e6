"""Records of tasks that wait for room."""

from __future__ import annotations

import msgspec

from homeport.services.ecs.placement.demand import Demand
from homeport.store.tables import Table

WAITING_SECONDS = 15 * 60.0  # how long a task waits for an instance (ECS: 15 to 30 minutes)
MAX_WAITING = 500  # tasks that wait in one cluster, as ECS


class Network(msgspec.Struct, frozen=True):
    """A checked awsvpcConfiguration."""

    subnets: tuple[str, ...]
    groups: tuple[str, ...]
    public: bool = False


class Waiting(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A task in PROVISIONING that no instance of its capacity provider has room for yet; it has the task's id.

    ``number`` gives the order in which such tasks were made; ``wake_at`` is when the task is given up.
    """

    id: str
    number: int
    demand: Demand
    wake_at: float
    network: Network | None = None


Queue = tuple[str, str | None]  # the cluster's ARN, the capacity provider

WAITING: Table[Waiting] = Table(
    "waiting-task",
    Waiting,
    id=lambda r: r.id,
    ordered={"queue": lambda r: ((r.demand.cluster, r.demand.provider, r.number),)},
    counts={"queues": lambda r: ((r.demand.cluster, r.demand.provider),)},
)
