"""What a task needs of an instance, and what placement answers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import msgspec

from homeport.services.ecs.model.instance import Room

CPU, MEMORY, GPU, PORTS, ENI = (f"RESOURCE:{name}" for name in ("CPU", "MEMORY", "GPU", "PORTS", "ENI"))
AGENT, ATTRIBUTE, LOCATION, INACTIVE = "AGENT", "ATTRIBUTE", "LOCATION", "INACTIVE"
MEMBER_OF = "MemberOf placement constraint unsatisfied."
DISTINCT = "DistinctInstance placement constraint unsatisfied"

ZONE = "ecs.availability-zone"

Pick = Callable[[int], int]  # a random number from 0 up to, but without, its argument


class Constraint(msgspec.Struct, frozen=True):
    """A placementConstraint; ``expression`` in the cluster query language, for memberOf."""

    type: Literal["memberOf", "distinctInstance"]
    expression: str = ""


class Strategy(msgspec.Struct, frozen=True):
    """A placementStrategy: ``cpu`` or ``memory`` for binpack; ``instanceId``, ``host`` or ``attribute:…`` for
    spread."""

    type: Literal["binpack", "spread", "random"]
    field: str = ""


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What a task needs.

    CPU in units, memory in MiB; ``tcp`` and ``udp`` are fixed host ports, ``gpus`` a number. ``networked``: it gets
    an interface of its own (awsvpc), in one of ``zones``, the most wanted first. ``attributes`` must be there, with
    that value where one is given; ``architecture`` is empty where any will do. ``cluster`` is an ARN, "" for the
    Fargate pool; ``launch_type`` and ``provider`` narrow its instances where they are given. ``group``: whose tasks
    distinctInstance and spread count. Without a ``strategy`` any instance may be chosen; the pool's is always the one
    with most free memory.
    """

    cpu: int
    memory: int
    region: str
    tcp: tuple[int, ...] = ()
    udp: tuple[int, ...] = ()
    gpus: int = 0
    networked: bool = True
    zones: tuple[str, ...] = ()
    architecture: str = "X86_64"
    attributes: tuple[tuple[str, str | None], ...] = ()
    cluster: str = ""
    launch_type: str = ""
    provider: str | None = None
    group: str = ""
    constraints: tuple[Constraint, ...] = ()
    strategy: tuple[Strategy, ...] = ()

    @property
    def distinct(self) -> bool:
        return any(c.type == "distinctInstance" for c in self.constraints)


class Placement(NamedTuple):
    """``zone``: where the task runs. It belongs into ``Task.availability_zone``, by which spreading counts.
    ``gpus``: those of the room that the task gets."""

    room: Room
    zone: str | None
    gpus: tuple[str, ...] = ()


class Refused(NamedTuple):
    arn: str
    reason: str


class Refusals(NamedTuple):
    """Why every instance refused, in order of their ids: what ``failures`` shows; empty where there is no instance."""

    failures: tuple[Refused, ...]

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many instances refused for which of ECS's reasons."""
        return Counter(failure.reason for failure in self.failures)

    @property
    def detail(self) -> str:
        return ", ".join(f"{reason} on {n} of {len(self.failures)}" for reason, n in self.reasons.items())
