"""What tasks used of their machines, as their agents last told: in memory alone, one message's worth per task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from homeport.agentapi import (
    ContainerMetric,
    PublishInstanceStatusRequest,
    PublishMetricsRequest,
    StatsSet,
    TaskMetric,
)
from homeport.core import arn as arns
from homeport.services.ecs.model.task import TASKS, NodeStatus, Task
from homeport.store import Key, Scope, View

TASKS_IN_MESSAGE = 10  # at most, as Amazon's agent sends them
CONTAINERS_IN_TASK = 10  # at most, as a task definition has
STATUSES = ("OK", "IMPAIRED", "INSUFFICIENT_DATA", "INITIALIZING")  # of a part of an instance
_ROUNDING = 1e-6  # by which a sum of samples may miss what it is between


class TaskUse(msgspec.Struct, frozen=True, gc=False):
    """``at``: epoch seconds at which it was told. Statistics are as ``ContainerMetric`` has them, by container."""

    at: float
    containers: dict[str, ContainerMetric]


class Metrics:
    """The latest of each task that runs; ``forget`` what doesn't any more.

    With thousands of agents this is most of what changes in memory, so it is nothing that the garbage collector
    follows: plain tuples as keys, and records without ``gc``.
    """

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str, str], TaskUse] = {}  # by account, region and id

    def __len__(self) -> int:
        return len(self._latest)

    def keep(self, view: View, instance: str, told: tuple[TaskMetric, ...], now: float) -> None:
        """Of the instance's own tasks, and of their own containers; what is told of others is ignored."""
        for metric in told:
            place = arns.parse(metric.task_arn)
            if place is None:
                continue
            scope = Scope(place.account, place.region)
            task = view.get(TASKS, scope, metric.task_arn.rpartition("/")[2])
            if task is None or task.instance != instance or task.node_status == NodeStatus.STOPPED:
                continue
            own = {container.name for container in task.containers}
            found = {c.container_name: c for c in metric.container_metrics if c.container_name in own}
            self._latest[(*scope, task.id)] = TaskUse(now, found)

    def of(self, scope: Scope, task: Task) -> TaskUse | None:
        return self._latest.get((*scope, task.id))

    def task_changed(self, key: Key, task: Task | None) -> None:
        """Forgets what has ended."""
        if task is None or task.node_status == NodeStatus.STOPPED:
            self._latest.pop((*key.scope, key.id), None)


def shown(use: TaskUse) -> dict[str, Any]:
    """For ``homeport status``: ``cpu`` in percent of the whole machine and ``memory`` in MiB, each with ``average``,
    ``minimum`` and ``maximum``, of every container that was sampled; of the task the sums of averages."""
    containers = {
        name: {
            what: {"average": stats.sum / stats.sample_count, "minimum": stats.min, "maximum": stats.max}
            for what, stats in (("cpu", metric.cpu_stats_set), ("memory", metric.memory_stats_set))
            if stats is not None
        }
        for name, metric in use.containers.items()
    }
    total = {
        what: {"average": sum(c[what]["average"] for c in containers.values() if what in c)}
        for what in ("cpu", "memory")
        if any(what in c for c in containers.values())
    }
    return {"at": use.at, "task": total, "containers": containers}


def nonsense(request: PublishMetricsRequest) -> str | None:
    """What can't be in a message of metrics, else None."""
    if len(request.task_metrics) > TASKS_IN_MESSAGE:
        return f"At most {TASKS_IN_MESSAGE} tasks fit in a message."
    return next(filter(None, map(_of_task, request.task_metrics)), None)


def strange_status(request: PublishInstanceStatusRequest) -> str | None:
    """What can't be in a message of an instance's health, else None."""
    strange = next((s.status for s in request.statuses if s.status not in STATUSES), None)
    return None if strange is None else f"Invalid instance status '{strange}'."


def _of_task(metric: TaskMetric) -> str | None:
    names = [container.container_name for container in metric.container_metrics]
    if len(names) > CONTAINERS_IN_TASK or len(set(names)) < len(names):
        return f"Invalid containers of task {metric.task_arn}."
    wrong = next((f"'{what}' of container '{name}'" for name, what, s in _sets(metric) if not _sound(s)), None)
    return f"Invalid {wrong} of task {metric.task_arn}." if wrong else None


def _sets(metric: TaskMetric) -> Iterator[tuple[str, str, StatsSet]]:
    for container in metric.container_metrics:
        for what, stats in (("cpuStatsSet", container.cpu_stats_set), ("memoryStatsSet", container.memory_stats_set)):
            if stats is not None:
                yield container.container_name, what, stats


def _sound(stats: StatsSet) -> bool:
    """JSON has no infinities; a number too great for a float is read as one, and fits no order here."""
    if stats.sample_count < 1 or not 0 <= stats.min <= stats.max < float("inf"):
        return False
    room = _ROUNDING * (1 + stats.max * stats.sample_count)
    least, most = stats.min * stats.sample_count, stats.max * stats.sample_count
    return least - room <= stats.sum <= most + room
