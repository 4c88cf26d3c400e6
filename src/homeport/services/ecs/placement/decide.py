"""Where a task goes, decided. Pure.

Constraints bind, strategies are best effort: each narrows the candidates to those that it likes best and leaves ties to
the next, and the last ties to chance.

Fargate's tasks are spread: the instance with most free memory takes the next one, because nodes of the pool are sold
several times over. An instance that is connected right now is preferred to one that is only silent for a moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby, islice

from homeport.services.ecs.model.instance import Lot, Room
from homeport.services.ecs.placement import rules
from homeport.services.ecs.placement.candidates import Candidates, candidates, sample_of
from homeport.services.ecs.placement.demand import INACTIVE, ZONE, Demand, Pick, Placement, Refusals, Refused, Strategy
from homeport.services.ecs.placement.index import Field, Index

INSTANCE_FIELDS = ("instanceId", "host")
ATTRIBUTE_FIELD = "attribute:"


def place(demand: Demand, index: Index, pick: Pick) -> Placement | Refusals:
    """The instance for one task, or why each of those that there are refuses it; only a refusal looks at them all.
    Raises InvalidParameterException for an expression that can't be read."""
    return choose(demand, index, pick) or refusals(explain(demand, index))


def choose(demand: Demand, index: Index, pick: Pick) -> Placement | None:
    """As ``place``, where nobody asks why not."""
    found = candidates(demand, index)
    if demand.cluster:
        room = _follow(demand.strategy, found, pick)
    else:
        room = found.most() or found._replace(connected=False).most()
    if room is None:
        return None
    return Placement(room, room.zone or (demand.zones[0] if demand.zones else None), room.gpus[: demand.gpus])


def explain(demand: Demand, index: Index, most: int | None = None) -> Sequence[tuple[Room, str | None]]:
    """For every instance that the demand is for, by id (or the first ``most`` of them): ECS's reason why the task can't
    run there, else None."""
    asked = rules.rules(demand)
    rooms = (room for room in index.everywhere(demand.cluster) if rules.candidate(demand, room))
    return [(room, rules.reason(demand, asked, room, index)) for room in islice(rooms, most)]


def refusals(explained: Sequence[tuple[Room, str | None]]) -> Refusals:
    """Those of what ``explain`` returned that are ECS's: it doesn't speak of instances that aren't ACTIVE."""
    return Refusals(
        tuple(Refused(room.arn, reason) for room, reason in explained if reason is not None and reason != INACTIVE)
    )


def _follow(strategy: Sequence[Strategy], found: Candidates, pick: Pick) -> Room | None:
    if not strategy:
        return found.any(pick)
    first, rest = strategy[0], strategy[1:]
    field = first.field
    match first.type:
        case "binpack":
            return _binpack("cpu" if field.lower() == "cpu" else "memory", rest, found, pick)
        case "spread" if field in INSTANCE_FIELDS:
            return _spread_instances(rest, found, pick)
        case "spread":
            return _spread(field.removeprefix(ATTRIBUTE_FIELD), rest, found, pick)
        case "random":
            return found.any(pick)


def _binpack(field: Field, rest: Sequence[Strategy], found: Candidates, pick: Pick) -> Room | None:
    if getattr(found, field) is not None:
        return _follow(rest, found, pick)
    room = found.least(field)
    if room is None or not rest:
        return room
    left = found._replace(cpu=room.cpu_free) if field == "cpu" else found._replace(memory=room.memory_free)
    return _follow(rest, left, pick)


def _spread(name: str, rest: Sequence[Strategy], found: Candidates, pick: Pick) -> Room | None:
    """First the values of the attribute with fewest tasks of the group; instances without it are one more value."""
    index, demand = found.state, found.demand
    lots: dict[str | None, list[Lot]] = defaultdict(list)
    for lot in found.lots:
        lots[lot.zone if name == ZONE else _attribute(lot, name, index)].append(lot)
    tasks: Mapping[str | None, int] = _tasks_by(name, demand, index) if len(lots) > 1 else {}
    for _, values in groupby(sorted(lots, key=lambda v: tasks.get(v, 0)), lambda v: tasks.get(v, 0)):
        room = _follow(rest, found._replace(lots=[lot for value in values for lot in lots[value]]), pick)
        if room is not None:
            return room
    return None


def _spread_instances(rest: Sequence[Strategy], found: Candidates, pick: Pick) -> Room | None:
    """First those with none of the group's tasks, then those with one, and so on."""
    tasks = found.state.by_instance(found.demand.cluster, found.demand.group)
    if not tasks or found.only is not None or found.without is not None:  # all that are left have equally many
        return _follow(rest, found, pick)
    room = _follow(rest, found._replace(without=tasks), pick)
    if room is not None:
        return room
    levels: dict[int, set[str]] = defaultdict(set)
    for id, count in tasks.items():
        levels[count].add(id)
    for count in sorted(levels):
        room = _follow(rest, found._replace(only=levels[count]), pick)
        if room is not None:
            return room
    return None


def _tasks_by(name: str, demand: Demand, index: Index) -> Mapping[str | None, int]:
    """How many of the group's tasks run where the attribute has which value."""
    if name == ZONE:
        return index.by_zone(demand.cluster, demand.group)
    known: dict[str, str | None] = {}
    tasks: dict[str | None, int] = defaultdict(int)
    for id, count in index.by_instance(demand.cluster, demand.group).items():
        room = index.room(demand.cluster, id)
        if room is None:
            continue  # it is gone
        if room.kind not in known:
            known[room.kind] = index.subject(room).attribute(name)
        tasks[known[room.kind]] += count
    return tasks


def _attribute(lot: Lot, name: str, index: Index) -> str | None:
    return index.subject(sample_of(lot, index)).attribute(name)
