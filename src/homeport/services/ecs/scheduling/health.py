"""Whether a task of a service counts as healthy. Pure.

``checked`` are the names of the task's essential containers that have a health check.
"""

from __future__ import annotations

from collections.abc import Set

from homeport.services.ecs.model.task import Task, TaskStatus

UNCHECKED_SECONDS = 40.0  # after RUNNING, from which on a task without any check counts as healthy (ECS)


def healthy(task: Task, checked: Set[str], now: float) -> bool:
    """A clock that was set back by more than the time that is waited for must not make it wait so much longer."""
    if task.last_status != TaskStatus.RUNNING or task.desired_status != "RUNNING" or task.started_at is None:
        return False
    if not checked:
        return abs(now - task.started_at) >= UNCHECKED_SECONDS
    return all(c.health == "HEALTHY" for c in task.containers if c.name in checked)


def warming(task: Task, checked: Set[str], now: float) -> bool:
    """Whether it runs and may yet become healthy: no check of it fails."""
    if task.last_status != TaskStatus.RUNNING or healthy(task, checked, now):
        return False
    return not any(c.health == "UNHEALTHY" for c in task.containers if c.name in checked)


def unhealthy(task: Task, checked: Set[str], grace: float, now: float) -> bool:
    """Whether it has to be replaced: a check fails, and its grace period (seconds from its start) is over."""
    if task.desired_status != "RUNNING" or task.started_at is None or now < task.started_at + grace:
        return False
    return any(c.health == "UNHEALTHY" for c in task.containers if c.name in checked)


def changes_at(task: Task, checked: Set[str], grace: float, now: float) -> float | None:
    """When time alone may change what the functions above say, if ever (epoch seconds)."""
    if task.started_at is None or task.desired_status != "RUNNING":
        return None
    at = task.started_at + (grace if checked else UNCHECKED_SECONDS)
    return at if at > now else None
