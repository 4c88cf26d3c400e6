"""Where a task goes, decided. Pure.

Fargate's tasks are spread: the instance with most free memory takes the next one, because nodes of the pool are sold
several times over. An instance that is connected right now is preferred to one that is only silent for a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from homeport.services.ecs.model.instance import Room
from homeport.services.ecs.placement.demand import Constraint, Demand, Pick, Placement, Refusals, Refused, Strategy

__all__ = [
    "Constraint",
    "Demand",
    "Pick",
    "Placement",
    "Refusals",
    "Refused",
    "RoomIndex",
    "Strategy",
    "place",
    "refusal",
]

LARGEST_CLASS = 40  # 2^40 MiB: no instance has more memory

# The open instances whose free memory in MiB has this many binary digits (``Room.size_class``).
RoomIndex = Callable[[int], Sequence[Room]]


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
    rooms = sorted((r for c in range(LARGEST_CLASS + 1) for r in index(c)), key=lambda r: r.id)
    return Refusals(tuple(Refused(r.arn, reason) for r in rooms if (reason := refusal(demand, r)) is not None))


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
