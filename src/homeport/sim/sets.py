"""What must hold of task sets. As in ``serving``: pure functions that return what is wrong, or None, and whose name is
the invariant's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from typing import Any

from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.model.task_set import TaskSet


def computed(desired: int, scale: float) -> int:
    """ECS's computedDesiredCount; of a scale as it is written, in decimal."""
    share = Fraction(str(scale)) * desired
    return -(-share.numerator // (100 * share.denominator))


def at_most_one_task_set_is_primary(service: Service, sets: Iterable[TaskSet]) -> str | None:
    primary = [s.id for s in sets if s.status == "PRIMARY"]
    return f"{service.name} has the PRIMARY task sets {primary}" if len(primary) > 1 else None


def a_draining_task_set_stays_so(old: TaskSet, new: TaskSet) -> str | None:
    return f"{old.id} goes from DRAINING to {new.status}" if old.status == "DRAINING" != new.status else None


def nothing_starts_for_a_set_that_is_over(service: Service | None, task_set: TaskSet | None, task: Task) -> str | None:
    """``task`` was just made; the others as they are after this commit."""
    if service is None or service.status != "ACTIVE":
        return f"{task.id} starts for {task.group}, which is {service.status if service else 'not there'}"
    if task_set is None or task_set.status == "DRAINING":
        return f"{task.id} starts for {task.started_by}, which is {task_set.status if task_set else 'not there'}"
    return None


def a_set_that_goes_leaves_nothing(task_set: TaskSet, there: Collection[Task]) -> str | None:
    """``task_set`` was just deleted; ``there``: its tasks that aren't STOPPED."""
    return f"{task_set.id} is no more, and has {[t.id for t in there]}" if there else None


def a_set_is_steady_when_it_says_so(task_set: TaskSet, why_not: str | None) -> str | None:
    if task_set.stability == "STEADY_STATE" and why_not:
        return f"{task_set.id} is STEADY_STATE, and {why_not}"
    return None


def a_steady_set_says_so(task_set: TaskSet) -> str | None:
    """At rest, of one that is steady."""
    return None if task_set.stability == "STEADY_STATE" else f"{task_set.id} is steady, and {task_set.stability}"


def sets_are_shown_as_they_are(
    service: Service, shown: Iterable[Mapping[str, Any]], tasks: Iterable[Task]
) -> str | None:
    """``shown``: AWS's TaskSets; ``tasks``: all of the service's."""
    tasks = list(tasks)
    for one in shown:
        own = [t for t in tasks if t.started_by == one["id"]]
        running = sum(t.last_status == TaskStatus.RUNNING for t in own)
        pending = sum(t.last_status < TaskStatus.RUNNING and t.desired_status == "RUNNING" for t in own)
        count = computed(service.desired, one["scale"]["value"]) if one["status"] != "DRAINING" else 0
        told = (one["runningCount"], one["pendingCount"], one["computedDesiredCount"])
        if told != (running, pending, count):
            return f"{one['id']} shows {told} tasks running, pending and wanted, there are {(running, pending, count)}"
    return None


def unsteady(
    task_set: TaskSet, wanted: int, tasks: Iterable[Task], failing: Collection[str], unsure: Collection[str]
) -> str | None:
    """Why a set isn't STEADY_STATE, as ECS defines it. ``tasks``: its own; ids of those that are on an instance that
    drains or that nobody wants, and of those with a health check that doesn't say HEALTHY."""
    there = [t for t in tasks if t.last_status <= TaskStatus.RUNNING]
    if len(there) != wanted or task_set.status == "DRAINING":
        return f"it has {len(there)} of {wanted} tasks"
    left = [t.id for t in there if t.last_status < TaskStatus.RUNNING or t.desired_status != "RUNNING"]
    if left:
        return f"{left} don't run"
    ill = sorted({t.id for t in there} & {*failing, *unsure})
    return f"{ill} aren't well" if ill else None
