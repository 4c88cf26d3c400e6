"""The tasks of a service by what they are to its scheduler. Pure."""

from __future__ import annotations

import msgspec

from homeport.services.ecs.lifecycle import must_stop, ran
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.scheduling import health
from homeport.services.ecs.scheduling.plan import Seen

TOGETHER_SECONDS = 0.5  # tasks that become healthy within so long are looked at together


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Those that the scheduler wants are ``own``, those of other deployments ``others``; ``foreign`` ones were left by
    an earlier service of the name and count for nothing. A task whose container was killed is ``stopping`` as soon as
    that is told; of the wanted ones ``fail`` never ran and end by themselves: they are replaced only when they are
    STOPPED, which is noted and may delay that. The sets are ids of tasks that shall run: ``warming`` ones run and may
    become healthy, ``leaving`` ones are on an instance that drains, ``failing`` ones are to be replaced: unhealthy or
    leaving. ``changes_at``: when time alone makes this another (epoch seconds)."""

    own: tuple[Task, ...]
    others: tuple[Task, ...]
    stopping: tuple[Task, ...]
    fail: tuple[Task, ...] = ()
    foreign: tuple[Task, ...] = ()
    healthy: frozenset[str] = frozenset()
    warming: frozenset[str] = frozenset()
    unhealthy: frozenset[str] = frozenset()
    leaving: frozenset[str] = frozenset()
    changes_at: float | None = None

    @property
    def failing(self) -> frozenset[str]:
        return self.unhealthy | self.leaving

    @property
    def occupied(self) -> int:
        return len(self.own) + len(self.others) + len(self.stopping)


def checks(seen: Seen, task: Task) -> frozenset[str]:
    """The names of its essential containers that have a health check."""
    return seen.checked.get(task.definition_arn, frozenset())


def count(seen: Seen, owner: str, now: float) -> Count:
    """``owner``: the ``startedBy`` of the tasks that are wanted."""
    own: list[Task] = []
    others: list[Task] = []
    stopping: list[Task] = []
    fail: list[Task] = []
    foreign: list[Task] = []
    healthy, warming, unhealthy, leaving = set(), set(), set(), set()
    times: list[float] = []
    began, grace, draining = seen.service.created_at, seen.service.grace, seen.draining
    names = {d.name for d in seen.deployments} | {s.name for s in seen.task_sets}
    for task in seen.tasks:
        if task.last_status == TaskStatus.STOPPED:
            continue
        live = not must_stop(task)
        if task.created_at < began and task.started_by not in names:
            if live:
                foreign.append(task)
            continue
        if not live:
            stopping.append(task)
            if task.started_by == owner and task.stop_code in (None, "TaskFailedToStart") and not ran(task):
                fail.append(task)
            continue
        (own if task.started_by == owner else others).append(task)
        if draining and task.instance in draining:
            leaving.add(task.id)
        if task.last_status < TaskStatus.RUNNING:
            continue
        checked = checks(seen, task)
        if health.healthy(task, checked, now):
            healthy.add(task.id)
        elif health.unhealthy(task, checked, grace, now):
            unhealthy.add(task.id)
        elif health.warming(task, checked, now):
            warming.add(task.id)
        at = health.changes_at(task, checked, grace, now)
        if at is not None:
            times.append(at)
    return Count(
        own=tuple(own),
        others=tuple(others),
        stopping=tuple(stopping),
        fail=tuple(fail),
        foreign=tuple(foreign),
        healthy=frozenset(healthy),
        warming=frozenset(warming),
        unhealthy=frozenset(unhealthy),
        leaving=frozenset(leaving),
        changes_at=_together(times),
    )


def _together(times: list[float]) -> float | None:
    """The last of those that come soon after the first."""
    if not times:
        return None
    soon = min(times) + TOGETHER_SECONDS
    return max(t for t in times if t <= soon)
