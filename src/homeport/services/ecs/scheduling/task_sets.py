"""What a service with the EXTERNAL deployment controller starts and stops: each task set is brought to its count. Pure.

A task set is to the scheduler what a PRIMARY deployment that is done is to a REPLICA service: unhealthy tasks and those
on instances that drain are replaced within the same bounds, of its own count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import msgspec
from msgspec.structs import replace

from homeport.services.ecs.model.deployment import Deployment
from homeport.services.ecs.model.service import Throttle
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.model.task_set import TaskSet
from homeport.services.ecs.scheduling import health, messages, replica, throttle
from homeport.services.ecs.scheduling.plan import Seen, Start, Stop, Told

GUARDED_AGAIN = 6 * 3600.0  # seconds in which it isn't told again that protected tasks are in the way


class Brought(msgspec.Struct, frozen=True, kw_only=True):
    """``task_sets`` are those that changed, ``gone`` the ids of those that are no more. ``steady``: all of them are.
    ``wake_at``: when time alone may change this (epoch seconds)."""

    task_sets: tuple[TaskSet, ...] = ()
    gone: tuple[str, ...] = ()
    starts: tuple[Start, ...] = ()
    stops: tuple[Stop, ...] = ()
    events: tuple[Told, ...] = ()
    steady: bool = False
    wake_at: float | None = None


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is next for one task set; ``task_set`` None once it is no more."""

    task_set: TaskSet | None
    moves: replica.Moves = replica.Moves()
    events: tuple[Told, ...] = ()
    wake_at: float | None = None


def computed(desired: int, scale: float) -> int:
    """The computedDesiredCount: ``scale`` percent of the service's desiredCount, rounded up as ECS does. A scale is
    meant as it is written: 1.1 % of 1000 are 11 tasks, not 12."""
    return math.ceil(desired * Fraction(repr(scale)) / 100)


def bring(seen: Seen, now: float) -> Brought:
    """The next starts and stops of each task set, and what became of it."""
    known = sorted(seen.task_sets, key=lambda s: s.number)
    steps: list[_Step] = []
    pace = seen.service.throttle
    for task_set in known:
        steps.append(step := _step(seen, task_set, pace, now))
        pace = throttle.launched(pace, sum(start.count for start in step.moves.starts), now)
    left = [step.task_set for step in steps if step.task_set is not None]
    steady = all(s.stability == "STEADY_STATE" and s.status != "DRAINING" for s in left)
    return Brought(
        task_sets=tuple(s for s in left if s not in known),
        gone=tuple(s.id for s, step in zip(known, steps, strict=True) if step.task_set is None),
        starts=tuple(start for step in steps for start in step.moves.starts),
        stops=(*_strays(seen), *(stop for step in steps for stop in step.moves.stops)),
        events=tuple(event for step in steps for event in step.events),
        steady=steady and (bool(left) or seen.service.desired == 0),
        wake_at=min((step.wake_at for step in steps if step.wake_at is not None), default=None),
    )


def _strays(seen: Seen) -> Iterator[Stop]:
    """Tasks that an earlier service of the name has left."""
    names = {s.name for s in seen.task_sets}
    for task in seen.tasks:
        if task.started_by not in names and task.desired_status == "RUNNING":
            yield Stop(task.id, messages.scaling(task.started_by or ""))


def _step(seen: Seen, task_set: TaskSet, pace: Throttle, now: float) -> _Step:
    """``pace``: how many tasks the service has started lately, for all of its sets."""
    ended = [t for t in seen.tasks if t.started_by == task_set.name]
    own = tuple(t for t in ended if t.last_status < TaskStatus.STOPPED)
    if task_set.status == "DRAINING":
        return _drained(task_set, own)
    wanted = computed(seen.service.desired, task_set.scale)
    noted = throttle.noted(task_set.throttle, task_set.name, ended, now)
    gate = replace(noted, window=pace.window, started=pace.started, until=max(pace.until, noted.until))
    service = replace(seen.service, desired=wanted, throttle=gate)
    seen = replace(seen, service=service, tasks=own)
    counted = replica.count(seen, task_set.name, now)
    moves = replica.moves(seen, _as_deployment(task_set), counted, now)
    changed, events = _told(seen, replace(task_set, throttle=noted), wanted, now)
    if moves.guarded:
        text = messages.protected(service.name, task_set.name, moves.guarded)
        events = (*events, Told(message=text, again=GUARDED_AGAIN))
    times = (counted.changes_at, throttle.opens_at(gate, now))
    return _Step(
        task_set=changed, moves=moves, events=events, wake_at=min((t for t in times if t is not None), default=None)
    )


def _drained(task_set: TaskSet, own: tuple[Task, ...]) -> _Step:
    """All of its tasks are stopped, protected ones too; then it is no more."""
    if not own:
        return _Step(task_set=None)
    reason = messages.scaling(task_set.name)
    stops = tuple(Stop(t.id, reason) for t in own if t.desired_status == "RUNNING")
    return _Step(task_set=task_set, moves=replica.Moves(stops=stops))


def _told(seen: Seen, task_set: TaskSet, wanted: int, now: float) -> tuple[TaskSet, tuple[Told, ...]]:
    """The task set with its count and stability as they are now, and what there is to say of them."""
    name, detail = seen.service.name, {"taskSetArns": [task_set.arn(seen.service.arn)]}
    events: list[Told] = []
    if wanted != task_set.computed:
        text = messages.computed(name, task_set.name, wanted)
        task_set = replace(task_set, computed=wanted)
        events.append(
            Told(message=text, name="SERVICE_DESIRED_COUNT_UPDATED", detail={**detail, "desiredCount": wanted})
        )
    if throttle.impaired(task_set.throttle):
        task_set = replace(task_set, throttle=replace(task_set.throttle, told=True))
        text = messages.impaired(name)
        events.append(Told(message=text, name="SERVICE_TASK_START_IMPAIRED", level="WARN", detail=detail))
    steady = _steady(seen, wanted, now)
    if steady != (task_set.stability == "STEADY_STATE"):
        task_set = replace(task_set, stability="STEADY_STATE" if steady else "STABILIZING", stability_at=now)
        if steady:
            events.append(
                Told(message=messages.set_steady(name, task_set.name), name="TASKSET_STEADY_STATE", detail=detail)
            )
    return task_set, tuple(events)


def _steady(seen: Seen, wanted: int, now: float) -> bool:
    """As ECS defines it: as many run as are wanted, none is pending or on an instance that drains, and every health
    check that there is says HEALTHY."""
    there = [t for t in seen.tasks if t.last_status <= TaskStatus.RUNNING]
    return len(there) == wanted and all(_well(seen, t, now) for t in there)


def _well(seen: Seen, task: Task, now: float) -> bool:
    if task.last_status != TaskStatus.RUNNING or task.desired_status != "RUNNING" or task.instance in seen.draining:
        return False
    checks = replica.checks(seen, task)
    return not checks or health.healthy(task, checks, now)


def _as_deployment(task_set: TaskSet) -> Deployment:
    """What the scheduler of REPLICA services goes by."""
    return Deployment(
        id=task_set.id,
        service=task_set.service,
        revision="",
        number=task_set.number,
        created_at=task_set.created_at,
        updated_at=task_set.updated_at,
        rollout="COMPLETED",
    )
