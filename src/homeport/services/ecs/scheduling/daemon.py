"""Which tasks a DAEMON service starts and stops. Pure.

One task on each ACTIVE instance that will do, never two at once: an older one, or one that has to be replaced, is
stopped first, as far as minimumHealthyPercent allows. An instance that drains keeps its task for as long as tasks that
are no daemons run there; neither counts towards the desired count.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from homeport.services.ecs.model.deployment import Deployment
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.scheduling import bounds, consistency, messages, throttle
from homeport.services.ecs.scheduling.census import Count
from homeport.services.ecs.scheduling.plan import Seen, Start, Stop, Told
from homeport.services.ecs.scheduling.replica import Moves

VIOLATED_AGAIN = 3600.0  # seconds in which the same violation isn't told twice


class Daemons(msgspec.Struct, frozen=True, kw_only=True):
    """``seen`` as deployments are judged by: with the desired count, without tasks that instances keep while they
    drain. Those on other instances that won't do any more are leaving, as from one that drains."""

    seen: Seen
    events: tuple[Told, ...] = ()


def counted(seen: Seen) -> Daemons:
    """The desired count is the number of instances that will do. Other services are what they were."""
    service = seen.service
    if service.scheduling != "DAEMON":
        return Daemons(seen=seen)
    desired = sum(not slot.draining for slot in seen.slots)
    kept = {slot.instance for slot in seen.slots if slot.draining and slot.others}
    tasks = tuple(t for t in seen.tasks if t.instance not in kept or t.last_status == TaskStatus.STOPPED)
    events: tuple[Told, ...] = ()
    if desired != service.desired:
        service = replace(service, desired=desired)
        events = (Told(name="SERVICE_DESIRED_COUNT_UPDATED", detail={"desiredCount": desired}),)
    active = {slot.instance for slot in seen.slots if not slot.draining}
    draining = frozenset(t.instance for t in tasks if t.instance is not None) - active
    return Daemons(seen=replace(seen, service=service, tasks=tasks, draining=draining), events=events)


def moves(seen: Seen, primary: Deployment, count: Count, now: float) -> Moves:
    """The next starts and stops. ``seen`` is that of ``counted``."""
    active = {slot.instance for slot in seen.slots if not slot.draining}
    stopping = _Stopping(seen, primary, count, now)
    stopping.decide(active)
    taken = {t.instance for t in (*count.own, *count.others, *count.stopping, *count.foreign)}
    free = [slot for slot in seen.slots if not slot.draining and slot.instance not in taken]
    fitting = [slot.instance for slot in free if not slot.full]
    wanted = [*fitting, *[slot.instance for slot in free if slot.full][:1]]  # which tells why it can't
    allowed = throttle.allowed(seen.service.throttle, len(wanted), now) if primary.rollout != "FAILED" else 0
    chosen = tuple(wanted[: consistency.allowed(seen, primary, (*count.own, *count.fail), allowed, now)])
    starts = (Start(primary.id, len(chosen), instances=chosen, first=len(chosen) < allowed),) if chosen else ()
    idle = not starts and not stopping.stops and not count.stopping
    stuck = bool(count.others) and idle and not stopping.guarded and primary.rollout != "FAILED" and not count.warming
    return Moves(starts=starts, stops=tuple(stopping.stops), guarded=stopping.guarded, stuck=stuck)


def violated(seen: Seen, stops: Iterable[Stop]) -> tuple[Told, ...]:
    """What there is to say of tasks that are stopped because their instances won't do any more."""
    found = {stop.task for stop in stops if stop.why == "constraint"}
    tasks = [t for t in seen.tasks if t.id in found]
    if not tasks:
        return ()
    detail = {"taskArns": [t.arn for t in tasks], "containerInstanceArns": [t.instance for t in tasks]}
    return (
        Told(
            message=messages.constraint_violated(seen.service.name, [t.id for t in tasks]),
            name="SERVICE_DAEMON_PLACEMENT_CONSTRAINT_VIOLATED",
            level="ERROR",
            detail=detail,
            again=VIOLATED_AGAIN,
        ),
    )


class _Stopping:
    """One decision about what to stop. ``spare``: healthy tasks that may go."""

    def __init__(self, seen: Seen, primary: Deployment, count: Count, now: float) -> None:
        self._primary, self._count, self._now = primary, count, now
        self._draining = {slot.instance for slot in seen.slots if slot.draining}
        lower = bounds.lower(seen.service.desired, seen.service.deployment_configuration)
        self._spare = len(count.healthy) - lower
        self._standing = self._spare + len(count.warming)
        self._gone: set[str] = set()
        self.stops: list[Stop] = []
        self.guarded = 0

    def decide(self, active: set[str]) -> None:
        count, live = self._count, (*self._count.own, *self._count.others)
        for task in count.foreign:
            self._stop(task)
        for task in live:
            if task.instance is not None and task.instance not in active:
                self._stop(task, "scaling" if task.instance in self._draining else "constraint")
        for task in count.own:
            if task.id in count.unhealthy:
                self._stop(task, "unhealthy")
        if self._primary.rollout == "FAILED":  # one that failed takes nothing away from those that work
            return
        for task in sorted(count.others, key=lambda t: (t.id in count.healthy, t.id in count.warming, t.id)):
            self._replace(task)

    def _replace(self, task: Task) -> None:
        """Lets an older task make place, if it is healthy only while enough others are."""
        if task.id in self._gone:
            return
        if task.id in self._count.unhealthy:  # protection isn't for those
            self._stop(task, "unhealthy")
        elif task.protected(self._now):
            self.guarded += 1
        elif task.id in self._count.healthy:
            if self._spare > 0:
                self._stop(task)
        elif task.id not in self._count.warming or self._standing > 0:
            self._stop(task)

    def _stop(self, task: Task, why: str = "scaling") -> None:
        if task.id in self._gone:
            return
        self._gone.add(task.id)
        self._spare -= task.id in self._count.healthy
        self._standing -= task.id in self._count.healthy or task.id in self._count.warming
        match why:
            case "unhealthy":
                self.stops.append(Stop(task.id, messages.UNHEALTHY, "unhealthy"))
            case "constraint":
                self.stops.append(Stop(task.id, messages.CONSTRAINT, "constraint"))
            case _:
                self.stops.append(Stop(task.id, messages.scaling(self._primary.name)))
