"""Which tasks go when there are too many. Pure.

First those that don't run yet, then those that aren't healthy, then healthy ones. Among equals the placement strategy
says which: ``spread`` takes from where most are, ``binpack`` from the instance that would have most left afterwards.
Without a strategy, tasks go from the availability zone with most of the service's, there from the instance with most.
The last ties are left to the tasks' ids, which are random.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.scheduling.plan import Spot

ZONE = "attribute:ecs.availability-zone"
_BY_ZONE = ({"type": "spread", "field": ZONE}, {"type": "spread", "field": "instanceId"})  # ECS's, where none is asked
_INSTANCE_FIELDS = ("instanceid", "host")
_NOWHERE = Spot()


class _Group(NamedTuple):
    """Tasks that are alike: how dear, where."""

    rank: int
    zone: str | None
    instance: str | None


class _Held:
    """How many tasks there are by zone and by instance, and what those that go give back to their instances."""

    def __init__(self, kept: Iterable[Task], spots: Mapping[str, Spot]) -> None:
        self.spots = spots
        self.zones: Counter[str | None] = Counter()
        self.instances: Counter[str | None] = Counter()
        self.freed: defaultdict[str | None, list[int]] = defaultdict(lambda: [0, 0])
        for task in kept:
            self.zones[task.availability_zone] += 1
            self.instances[task.instance] += 1

    def take(self, task: Task) -> None:
        self.zones[task.availability_zone] -= 1
        self.instances[task.instance] -= 1
        freed = self.freed[task.instance]
        freed[0], freed[1] = freed[0] + task.cpu, freed[1] + task.memory

    def dearth(self, group: _Group, item: Mapping[str, Any]) -> float:
        """The higher, the sooner a task of the group goes by this item of the strategy."""
        field = str(item.get("field") or "")
        spot = self.spots.get(group.instance or "", _NOWHERE)
        match item.get("type"):
            case "spread" if field == ZONE:
                return self.zones[group.zone]
            case "spread" if field.lower() in _INSTANCE_FIELDS:
                return self.instances[group.instance]
            case "spread":
                return sum(
                    n
                    for instance, n in self.instances.items()
                    if self.spots.get(instance or "", _NOWHERE).values.get(field) == spot.values.get(field)
                )
            case "binpack":
                cpu, memory = self.freed[group.instance]
                return spot.cpu + cpu if field.lower() == "cpu" else spot.memory + memory
        return 0.0


def choose(
    candidates: Sequence[Task],
    number: int,
    *,
    kept: Iterable[Task],
    healthy: AbstractSet[str],
    warming: AbstractSet[str],
    strategy: Sequence[Mapping[str, Any]] = (),
    spots: Mapping[str, Spot] | None = None,
) -> list[Task]:
    """``number`` of the candidates, in the order in which they go. ``kept`` are all of the service's tasks by which
    balance is judged, the candidates among them; ``spots`` tells of instances by ARN."""
    groups: dict[_Group, list[Task]] = {}
    for task in sorted(candidates, key=lambda t: t.id, reverse=True):
        instance = None if task.launch_type == "FARGATE" else task.instance
        group = _Group(_rank(task, healthy, warming), task.availability_zone, instance)
        groups.setdefault(group, []).append(task)
    held = _Held(kept, spots or {})
    chosen: list[Task] = []
    while len(chosen) < number and groups:
        group = _next(groups, held, strategy or _BY_ZONE)
        task = groups[group].pop()
        if not groups[group]:
            del groups[group]
        held.take(task)
        chosen.append(task)
    return chosen


def _next(groups: Mapping[_Group, list[Task]], held: _Held, strategy: Sequence[Mapping[str, Any]]) -> _Group:
    cheapest = min(group.rank for group in groups)
    left = [group for group in groups if group.rank == cheapest]
    for item in strategy:
        if len(left) == 1:
            break
        weighed = [(held.dearth(group, item), group) for group in left]
        most = max(weight for weight, _ in weighed)
        left = [group for weight, group in weighed if weight == most]
    return min(left, key=lambda group: groups[group][-1].id)


def _rank(task: Task, healthy: AbstractSet[str], warming: AbstractSet[str]) -> int:
    if task.last_status < TaskStatus.RUNNING:
        return 0
    if task.id in healthy:
        return 3
    return 2 if task.id in warming else 1
