"""What of a task must outlive its agent. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homeport.agent.health import Health
from homeport.agent.network import ContainerNetwork
from homeport.agent.plan import Container, TaskGoal
from homeport.agent.report import Acknowledged
from homeport.agent.state import TaskRecord


@dataclass(frozen=True, slots=True)
class MustLast:
    """The part of a task that could not be found out again after a crash; whenever it differs from what is on disk,
    the record is saved. All else (what runs, what is attached) the runtime and the network know."""

    goal: TaskGoal
    failure: str | None
    digests: tuple[str | None, ...]
    networks: dict[str, ContainerNetwork]
    ends: tuple[Any, ...]
    healths: tuple[Health, ...]
    known: Acknowledged
    finished_at: float | None


def must_last(record: TaskRecord) -> MustLast:
    ends = tuple(_end(c) for c in record.facts.containers.values())
    healths = tuple(c.health for c in record.facts.containers.values())
    digests = tuple(c.digest for c in record.facts.containers.values())  # told, and waited for by others
    facts = record.facts
    return MustLast(
        record.goal,
        facts.failure,
        digests,
        facts.networks,
        ends,
        healths,
        record.acknowledged,
        record.finished_at,
    )


def _end(c: Container) -> tuple[Any, ...] | None:
    if c.over or c.state == "exited":
        return (c.state, c.exit_code, c.oom, c.error, c.finished_at, c.restarts)
    return (c.signalled, c.restarts) if c.signalled or c.restarts else None
