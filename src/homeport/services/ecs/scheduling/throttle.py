"""How fast a service may start tasks. Pure.

A round is tasks that were started together. Each round of which a task fails before it ever runs makes the next wait
longer, up to ECS's ceiling; a task that runs, however briefly, and a new deployment end that. The steps are not
documented: the first two rounds follow at once, then the wait doubles from a second on (inferred).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from homeport.services.ecs.model.service import Throttle
from homeport.services.ecs.model.task import Task, TaskStatus

CEILING_SECONDS = 27 * 60.0  # the longest wait (ECS)
IMPAIRED_ROUNDS = 3  # that fail in a row before it is told that tasks can't be started consistently (inferred)
LAUNCHES, WINDOW_SECONDS = 500, 60.0  # tasks that a service starts in a minute, at most (ECS's quota)
_DOUBLINGS = 11  # after which the ceiling is reached


def delay(rounds: int) -> float:
    """Seconds to wait after so many rounds that failed in a row."""
    return 0.0 if rounds < 2 else min(CEILING_SECONDS, 2.0 ** min(rounds - 2, _DOUBLINGS))


def never_ran(task: Task) -> bool:
    """Whether it ended before it was RUNNING, by itself."""
    return task.last_status == TaskStatus.STOPPED and task.started_at is None and task.stop_code == "TaskFailedToStart"


def noted(throttle: Throttle, owner: str, own: Sequence[Task], now: float) -> Throttle:
    """The memory with what became of tasks since: those that ended are told once. With another ``owner`` than before
    it begins anew; ``own`` are the owner's tasks."""
    if throttle.owner != owner:
        throttle = replace(throttle, owner=owner, failures=0, rounds=0, since=0.0, until=0.0, told=False)
    if throttle.rounds and any(t.started_at is not None and t.started_at > throttle.since for t in own):
        throttle = replace(throttle, failures=0, rounds=0, until=0.0, told=False)
    failed = [t for t in own if not t.noted and never_ran(t)]
    if not failed:
        return throttle
    throttle = replace(throttle, failures=throttle.failures + len(failed))
    return _failed(throttle, now) if any(t.created_at >= throttle.since for t in failed) else throttle


def refused(throttle: Throttle, now: float) -> Throttle:
    """The memory after a launch that went wrong before there was a task."""
    throttle = _failed(replace(throttle, failures=throttle.failures + 1), now)
    return replace(throttle, until=max(throttle.until, now + 1.0))  # nothing else would make it try again


def allowed(throttle: Throttle, wanted: int, now: float) -> int:
    """How many of the wanted tasks may be started now."""
    if _waits(throttle, now):
        return 0
    return max(0, min(wanted, LAUNCHES - (throttle.started if _within(throttle, now) else 0)))


def launched(throttle: Throttle, count: int, now: float) -> Throttle:
    """The memory after so many were started."""
    if not count:
        return throttle
    if _within(throttle, now):
        return replace(throttle, started=throttle.started + count)
    return replace(throttle, window=now, started=count)


def opens_at(throttle: Throttle, now: float) -> float | None:
    """When tasks may be started again (epoch seconds), where none may be started now."""
    if _waits(throttle, now):
        return throttle.until
    return None if allowed(throttle, 1, now) else throttle.window + WINDOW_SECONDS


def impaired(throttle: Throttle) -> bool:
    """Whether it has to be told that tasks can't be started consistently."""
    return throttle.rounds >= IMPAIRED_ROUNDS and not throttle.told


def _failed(throttle: Throttle, now: float) -> Throttle:
    rounds = throttle.rounds + 1
    return replace(throttle, rounds=rounds, since=now, until=now + delay(rounds))


def _waits(throttle: Throttle, now: float) -> bool:
    """A clock that was set back must not make it wait for longer than ever."""
    return now < throttle.until <= now + CEILING_SECONDS


def _within(throttle: Throttle, now: float) -> bool:
    return throttle.window <= now < throttle.window + WINDOW_SECONDS
