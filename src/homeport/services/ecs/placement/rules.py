"""The binding part of a demand: which instances may take it at all, and why one can't. Pure.

ECS's order: agent, resources, attributes, location, memberOf, distinctInstance. Where a rule looks at attributes only,
instances of one kind answer alike, and each kind is asked once for as long as the process lives.
"""

from __future__ import annotations

from functools import lru_cache

from homeport.services.ecs.expressions import Expression, Subject, parse
from homeport.services.ecs.model.instance import Lot, Room
from homeport.services.ecs.placement.demand import (
    AGENT,
    ATTRIBUTE,
    CPU,
    DISTINCT,
    ENI,
    GPU,
    INACTIVE,
    LOCATION,
    MEMBER_OF,
    MEMORY,
    PORTS,
    Constraint,
    Demand,
)
from homeport.services.ecs.placement.index import Index

MAX_PORTS = 100  # host ports that an instance reserves at once, those of its agent with them, as ECS
_REMEMBERED_RULES, _REMEMBERED_KINDS = 2000, 10_000


class Rules:
    """What a demand asks of attributes, and its expressions. ``living`` are those about more than attributes."""

    def __init__(
        self,
        attributes: tuple[tuple[str, str | None], ...],
        constraints: tuple[Constraint, ...],
        architecture: str,
        networked: bool,
    ) -> None:
        expressions = [parse(c.expression) for c in constraints if c.type == "memberOf"]
        self._attributes, self._architecture, self._networked = attributes, architecture, networked
        self._lasting = [e for e in expressions if e.attributes_only]
        self.living: list[Expression] = [e for e in expressions if not e.attributes_only]
        self._verdicts: dict[str, str | None] = {}

    def of_kind(self, room: Room, index: Index) -> str | None:
        """Why no instance of the room's kind will do, else None."""
        try:
            return self._verdicts[room.kind]
        except KeyError:
            return self._judge(room, index)

    def known(self, lot: Lot) -> bool | None:
        """Whether instances of the lot's kind will do; None where that is still to be asked."""
        verdict = self._verdicts.get(lot.kind, ...)
        return None if verdict is ... else verdict is None

    def _judge(self, room: Room, index: Index) -> str | None:
        subject = index.subject(room)
        verdict = None
        if not self._equipped(room, subject):
            verdict = ATTRIBUTE
        elif not all(expression.matches(subject) for expression in self._lasting):
            verdict = MEMBER_OF
        if len(self._verdicts) >= _REMEMBERED_KINDS:
            self._verdicts.clear()
        self._verdicts[room.kind] = verdict
        return verdict

    def _equipped(self, room: Room, subject: Subject) -> bool:
        if self._architecture not in ("", room.architecture) or (self._networked and not room.networked):
            return False
        return all(_has(subject.attribute(name), value) for name, value in self._attributes)


def rules(demand: Demand) -> Rules:
    """Raises InvalidParameterException for an expression that can't be read."""
    return _rules(demand.attributes, demand.constraints, demand.architecture, demand.networked)


_rules = lru_cache(_REMEMBERED_RULES)(Rules)


def candidate(demand: Demand, at: Lot | Room) -> bool:
    """Whether the demand is for such instances at all. The pool serves every capacity provider of Fargate."""
    if not demand.cluster:
        return True
    return demand.launch_type in ("", at.launch_type) and demand.provider in (None, at.provider)


def located(demand: Demand, at: Lot | Room) -> bool:
    return at.region in (None, demand.region) and not (at.zone and demand.zones and at.zone not in demand.zones)


def ports_free(demand: Demand, room: Room) -> bool:
    if not demand.tcp and not demand.udp:
        return True
    if any(port in room.tcp for port in demand.tcp) or any(port in room.udp for port in demand.udp):
        return False
    return len(room.tcp) + len(room.udp) + len(demand.tcp) + len(demand.udp) <= MAX_PORTS


def refusal(demand: Demand, room: Room, index: Index) -> str | None:
    """ECS's reason why the task can't run there, else None. It doesn't ask whether the room is a ``candidate``."""
    return reason(demand, rules(demand), room, index)


def reason(demand: Demand, asked: Rules, room: Room, index: Index) -> str | None:
    """The same, for those who ask many rooms."""
    if not room.open:
        return INACTIVE
    if demand.cluster and not room.connected:
        return AGENT
    return _short(demand, room) or unsuited(demand, asked, room, index)


def _short(demand: Demand, room: Room) -> str | None:
    if room.cpu_free < demand.cpu:
        return CPU
    if room.memory_free < demand.memory:
        return MEMORY
    if len(room.gpus) < demand.gpus:
        return GPU
    if not ports_free(demand, room):
        return PORTS
    return ENI if demand.networked and not room.shape.interface else None


def unsuited(demand: Demand, asked: Rules, room: Room, index: Index) -> str | None:
    """As ``reason``, whatever the room has left."""
    verdict = asked.of_kind(room, index)
    if verdict == ATTRIBUTE:
        return ATTRIBUTE
    if not located(demand, room):
        return LOCATION
    if verdict is not None:
        return verdict
    if asked.living and not lives_up(asked, room, index):
        return MEMBER_OF
    if demand.distinct and room.id in index.by_instance(demand.cluster, demand.group):
        return DISTINCT
    return None


def lives_up(asked: Rules, room: Room, index: Index) -> bool:
    subject = index.subject(room)
    return all(expression.matches(subject) for expression in asked.living)


def _has(known: str | None, wanted: str | None) -> bool:
    return known is not None and wanted in (None, known)
