"""Which tasks a REPLICA service starts and stops. Pure.

The PRIMARY deployment is brought to the desired count and older ones to nothing, within two bounds: never fewer healthy
tasks than the lower one, never more tasks, stopping ones among them, than the upper one.
"""

from __future__ import annotations

import msgspec

from homeport.services.ecs.model.deployment import Deployment
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.scheduling import bounds, consistency, messages, scale_in, throttle
from homeport.services.ecs.scheduling.census import Count, checks, count
from homeport.services.ecs.scheduling.plan import MOST_MOVES, Seen, Start, Stop

__all__ = ["Count", "Moves", "checks", "count", "moves"]


class Moves(msgspec.Struct, frozen=True, kw_only=True):
    """``stuck``: neither bound leaves room for the next step. ``guarded``: protected tasks that it would stop."""

    starts: tuple[Start, ...] = ()
    stops: tuple[Stop, ...] = ()
    stuck: bool = False
    guarded: int = 0


def moves(seen: Seen, primary: Deployment, counted: Count, now: float) -> Moves:
    """The next starts and stops."""
    service = seen.service
    keepers = [t for t in counted.own if t.id not in counted.failing]
    room = bounds.upper(service.desired, service.deployment_configuration) - counted.occupied
    missing = service.desired - len(keepers) - len(counted.fail)
    wanted = 0 if primary.rollout == "FAILED" else min(missing, room)
    free = throttle.allowed(service.throttle, wanted, now) if wanted > 0 else 0
    number = consistency.allowed(seen, primary, (*counted.own, *counted.fail), free, now)
    replaced = min(number, len(counted.own) - len(keepers))
    starts = (Start(primary.id, number, replaces=replaced, first=number < free),) if number > 0 else ()
    stopping = _Stopping(seen, primary, counted, now)
    stopping.decide(keepers, room)
    return Moves(
        starts=starts,
        stops=tuple(stopping.stops),
        stuck=_stuck(seen, primary, counted, keepers, room) and not stopping.stops and not stopping.guarded,
        guarded=stopping.guarded,
    )


def _stuck(seen: Seen, primary: Deployment, counted: Count, keepers: list[Task], room: int) -> bool:
    """Whether there is something to do and the upper bound has no room for it, though all is well and at rest."""
    undone = len(keepers) < seen.service.desired or bool(counted.others)
    at_rest = not counted.stopping and len(counted.healthy) == len(counted.own) + len(counted.others)
    return undone and at_rest and room <= 0 and primary.rollout != "FAILED"


class _Stopping:
    """One decision about what to stop. ``spare``: healthy tasks that may go. ``standing``: tasks that run and are
    healthy or may become so, that may go: those that are about to be healthy aren't given up for such as aren't yet."""

    def __init__(self, seen: Seen, primary: Deployment, counted: Count, now: float) -> None:
        self._seen, self._primary, self._counted, self._now = seen, primary, counted, now
        lower = bounds.lower(seen.service.desired, seen.service.deployment_configuration)
        self._spare = len(counted.healthy) - lower
        self._standing = self._spare + len(counted.warming)
        self._gone: set[str] = set()
        self.stops: list[Stop] = []
        self.guarded = 0

    def decide(self, keepers: list[Task], room: int) -> None:
        counted, live = self._counted, (*self._counted.own, *self._counted.others)
        for task in counted.foreign:
            self._stop(task)
        for task in live:
            if task.id in counted.leaving and task.last_status < TaskStatus.RUNNING:
                self._stop(task)
        self._scale_in(keepers)
        others = sorted(counted.others, key=self._order_to_go)
        if self._primary.rollout == "FAILED":  # it takes nothing away from those that work, as many as are wanted
            others = others[: max(0, len(others) - self._seen.service.desired)]
        for task in others:
            self._let_go(task)
        for task in counted.own:
            if task.id in counted.leaving:
                self._let_go(task)
        self._replace_unhealthy(keepers, room)

    def _scale_in(self, keepers: list[Task]) -> None:
        surplus = len(keepers) - self._seen.service.desired
        if surplus <= 0:
            return
        free = [t for t in keepers if not t.protected(self._now)]
        self.guarded += max(0, surplus - len(free))
        chosen = scale_in.choose(
            free,
            min(surplus, MOST_MOVES),
            kept=keepers,
            healthy=self._counted.healthy,
            warming=self._counted.warming,
            strategy=self._seen.service.strategy,
            spots=self._seen.spots,
        )
        for task in chosen:
            if self._may_go(task):
                self._stop(task)

    def _replace_unhealthy(self, keepers: list[Task], room: int) -> None:
        """As replacements get healthy, unhealthy ones go. Where the upper bound lets no replacement start first, one
        goes at a time."""
        counted, desired = self._counted, self._seen.service.desired
        own = [t for t in counted.own if t.id in counted.unhealthy and t.id not in self._gone]
        well = sum(t.id in counted.healthy for t in keepers)
        replaced = min(len(own), well + len(counted.own) - len(keepers) - desired)
        if replaced <= 0 and room <= 0 and len(keepers) < desired and not self.stops and not counted.stopping:
            replaced = 1 if self._primary.rollout != "FAILED" else 0
        for task in own[: max(0, replaced)]:
            self._stop(task)

    def _let_go(self, task: Task) -> None:
        if task.id in self._gone:
            return
        if task.protected(self._now) and task.id not in self._counted.unhealthy:
            self.guarded += 1
        elif self._may_go(task):
            self._stop(task)

    def _may_go(self, task: Task) -> bool:
        """Whether the lower bound allows it."""
        if task.id in self._counted.healthy:
            return self._spare > 0
        return self._standing > 0 if task.id in self._counted.warming else True

    def _stop(self, task: Task) -> None:
        if task.id in self._gone:
            return
        self._gone.add(task.id)
        self._spare -= task.id in self._counted.healthy
        self._standing -= task.id in self._counted.healthy or task.id in self._counted.warming
        if task.id in self._counted.unhealthy:
            self.stops.append(Stop(task.id, messages.UNHEALTHY, "unhealthy"))
        else:
            self.stops.append(Stop(task.id, messages.scaling(self._primary.name)))

    def _order_to_go(self, task: Task) -> tuple[int, float, str]:
        """Of older deployments: what doesn't run, what isn't well, what isn't healthy yet, then the oldest."""
        counted = self._counted
        rank = 0 if task.last_status < TaskStatus.RUNNING else 1 + (task.id in counted.warming)
        return (3 if task.id in counted.healthy else rank, task.created_at, task.id)
