"""The instances that may take a task, found without looking at those that can't. Pure.

Rooms are kept apart by lot (cluster, zone, kind …) and shape (digits of free CPU, GPUs, interfaces), in order of what
they have left. So there is little to ask of one room: its ports, what runs there, and its CPU where the demand is no
power of two.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from homeport.services.ecs.model.instance import Lot, Room
from homeport.services.ecs.placement import rules
from homeport.services.ecs.placement.demand import Demand, Pick
from homeport.services.ecs.placement.index import Field, Index
from homeport.services.ecs.placement.rules import Rules
from homeport.store import Ranked

Rank = tuple[int, ...]  # free CPU and memory, whichever is asked for first
Stretch = tuple[Ranked[Room], range]  # and places in it

_GUESSES = 16  # random rooms that are tried before all are looked at


class Candidates(NamedTuple):
    """``only`` and ``without``: ids of the instances that alone are meant, or left out. ``cpu`` and ``memory``: exactly
    what they must have left, once the least was chosen."""

    demand: Demand
    rules: Rules
    state: Index
    lots: Sequence[Lot]
    connected: bool = True
    only: Container[str] | None = None
    without: Container[str] | None = None
    cpu: int | None = None
    memory: int | None = None

    def least(self, field: Field) -> Room | None:
        """The one with least left of the field, then of the other."""
        best: tuple[Rank, Room] | None = None
        for ranked, places in self._stretches(field):
            for rank, id in ranked.entries(places):
                if best is not None and rank >= best[0]:
                    break
                room = self._fitting(id)
                if room is not None:
                    best = rank, room
                    break
        return best[1] if best else None

    def most(self) -> Room | None:
        """The one with most free memory, then CPU."""
        best: tuple[Rank, str] | None = None
        for ranked, places in self._stretches("memory"):
            for entry in ranked.entries(reversed(places)):
                if best is not None and entry <= best:
                    break
                if self._fitting(entry[1]) is not None:
                    best = entry
                    break
        return self.state.room(self.demand.cluster, best[1]) if best else None

    def any(self, pick: Pick) -> Room | None:
        """One of them at random, each as likely as any other."""
        stretches = list(self._stretches("memory"))
        total = sum(len(places) for _, places in stretches)
        for _ in range(min(_GUESSES, total)):
            room = self._fitting(_at(stretches, pick(total)).id)
            if room is not None:
                return room
        ids = (id for ranked, places in stretches for _, id in ranked.entries(places))
        fitting = [room for room in map(self._fitting, ids) if room is not None]
        return fitting[pick(len(fitting))] if fitting else None

    def _stretches(self, field: Field) -> Iterator[Stretch]:
        """Rooms that have enough of the field, by rank."""
        demand, connected = self.demand, self.connected
        digits = demand.cpu.bit_length()
        field, start, stop = self._bounds(field)
        for lot in self.lots:
            for shape, ranked in self.state.ranked(lot, field).items():
                if (
                    shape.cpu >= digits
                    and shape.connected == connected
                    and shape.gpus >= demand.gpus
                    and (shape.interface or not demand.networked)
                ):
                    yield ranked, ranked.span(start, stop)

    def _bounds(self, field: Field) -> tuple[Field, Rank, Rank | None]:
        demand = self.demand
        if self.memory is not None:
            if self.cpu is not None:
                return "memory", (self.memory, self.cpu), (self.memory, self.cpu + 1)
            return "memory", (self.memory, demand.cpu), (self.memory + 1,)
        if self.cpu is not None:
            return "cpu", (self.cpu, demand.memory), (self.cpu + 1,)
        return field, (demand.memory if field == "memory" else demand.cpu,), None

    def _fitting(self, id: str) -> Room | None:
        """The room, where what lots, shapes and ranks leave open is as it must be."""
        if (self.without is not None and id in self.without) or (self.only is not None and id not in self.only):
            return None
        demand = self.demand
        room = self.state.room(demand.cluster, id)
        assert room is not None  # the index lists what there is
        if room.cpu_free < demand.cpu or room.memory_free < demand.memory or not rules.ports_free(demand, room):
            return None
        return room if not self.rules.living or rules.lives_up(self.rules, room, self.state) else None


def candidates(demand: Demand, index: Index) -> Candidates:
    """Raises InvalidParameterException for an expression that can't be read."""
    asked = rules.rules(demand)
    lots = [
        lot
        for lot in index.lots(demand.cluster)
        if rules.candidate(demand, lot) and rules.located(demand, lot) and _suits(asked, lot, index)
    ]
    without = index.by_instance(demand.cluster, demand.group) if demand.distinct else None
    return Candidates(demand, asked, index, lots, without=without or None)


def _suits(asked: Rules, lot: Lot, index: Index) -> bool:
    known = asked.known(lot)
    return known if known is not None else asked.of_kind(sample_of(lot, index), index) is None


def sample_of(lot: Lot, index: Index) -> Room:
    """Any room of the lot, to ask what all of them answer alike."""
    return next(iter(index.ranked(lot, "memory").values()))[0]


def _at(stretches: Sequence[Stretch], place: int) -> Room:
    for ranked, places in stretches:
        if place < len(places):
            return ranked[places[place]]
        place -= len(places)
    raise IndexError(place)
