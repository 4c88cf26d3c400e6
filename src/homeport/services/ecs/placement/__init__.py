"""Where a task goes, decided. Pure.

Fargate's tasks are spread: the instance with most free memory takes the next one, because nodes of the pool are sold
several times over. An instance that is connected right now is preferred to one that is only silent for a moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from homeport.services.ecs.model.instance import Room

LARGEST_CLASS = 40  # 2^40 MiB: no instance has more memory

# The open instances whose free memory in MiB has this many binary digits (``Room.size_class``).
RoomIndex = Callable[[int], Sequence[Room]]


class Demand(msgspec.Struct, frozen=True):
    """What a task needs. CPU in units, memory in MiB; ``zones`` that it may run in, the most wanted first."""

    cpu: int
    memory: int
    region: str
    zones: tuple[str, ...] = ()
    architecture: str = "X86_64"
    networked: bool = True


class Placement(NamedTuple):
    room: Room
    zone: str | None


class Refusals(NamedTuple):
    """How many instances refused for which of ECS's reasons; empty where there is no instance at all."""

    reasons: Mapping[str, int]

    @property
    def detail(self) -> str:
        return ", ".join(f"{reason} on {n} of {sum(self.reasons.values())}" for reason, n in self.reasons.items())


def place(demand: Demand, index: RoomIndex) -> Placement | Refusals:
    """The instance for one task. Only classes that can be large enough are looked at until one has a fitting member;
    only a refusal looks at the rest, to say why."""
    silent: Room | None = None
    smallest = demand.memory.bit_length()
    for size_class in range(LARGEST_CLASS, smallest - 1, -1):
        fitting = [room for room in index(size_class) if refusal(demand, room) is None]
        connected = [room for room in fitting if room.connected]
        if connected:
            return _placement(demand, max(connected, key=_roominess))
        if fitting and silent is None:
            silent = max(fitting, key=_roominess)
    if silent is not None:
        return _placement(demand, silent)
    return Refusals(Counter(filter(None, (refusal(demand, r) for c in range(LARGEST_CLASS + 1) for r in index(c)))))


def refusal(demand: Demand, room: Room) -> str | None:
    """ECS's reason why the task can't run there, else None."""
    if room.region not in (None, demand.region) or (room.zone and demand.zones and room.zone not in demand.zones):
        return "LOCATION"
    if room.architecture != demand.architecture or (demand.networked and not room.networked):
        return "ATTRIBUTE"
    if room.cpu_free < demand.cpu:
        return "RESOURCE:CPU"
    return "RESOURCE:MEMORY" if room.memory_free < demand.memory else None


def _placement(demand: Demand, room: Room) -> Placement:
    return Placement(room, room.zone or (demand.zones[0] if demand.zones else None))


def _roominess(room: Room) -> tuple[int, int, str]:
    return room.memory_free, room.cpu_free, room.id
