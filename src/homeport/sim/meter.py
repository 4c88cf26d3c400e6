"""How many tasks of a service are healthy, commit by commit, and what can be said of that. Pure but for its memory.

A task is healthy here when it is so by ECS's rule, is wanted, and is on a machine that is there: ECS goes on counting
tasks of container instances that are lost.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.sim import serving


class Sample(NamedTuple):
    """From ``at`` on: so many ``healthy`` tasks, of so many that are ``wanted``, of which ``least`` must be."""

    at: float
    healthy: int
    wanted: int
    least: int


class Meter:
    """Times are seconds of the clock that tasks' times are of."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.tasks: dict[str, Task] = {}  # those that aren't STOPPED
        self.live: set[str] = set()  # ids of those that are to run
        self.wanted = self.least = 0
        self._healthy: set[str] = set()
        self._due: list[tuple[float, str]] = []  # when tasks without a check come to count as healthy, and …
        self._waiting: dict[str, float] = {}  # … of which this is still true

    @property
    def healthy(self) -> int:
        return len(self._healthy)

    @property
    def running(self) -> int:
        """RUNNING, as ECS sees it."""
        return sum(task.last_status == TaskStatus.RUNNING for task in self.tasks.values())

    def ask(self, wanted: int, configuration: Mapping[str, Any]) -> None:
        """So many tasks are wanted. ``configuration``: AWS's deploymentConfiguration, which says how many must be
        healthy."""
        self.wanted, self.least = wanted, serving.lower(wanted, configuration)

    def see(self, task: Task, checked: Collection[str], now: float, *, there: bool) -> None:
        """What a task is now. ``checked``: its essential containers with a health check; ``there``: its machine is."""
        self._healthy.discard(task.id)
        self._waiting.pop(task.id, None)
        self.live.discard(task.id)
        if task.last_status == TaskStatus.STOPPED:
            self.tasks.pop(task.id, None)
            return
        self.tasks[task.id] = task
        if task.desired_status != "RUNNING":
            return
        self.live.add(task.id)
        if not there:
            return
        if serving.is_healthy(task, checked, now):
            self._healthy.add(task.id)
        elif not checked and task.last_status == TaskStatus.RUNNING and task.started_at is not None:
            self._waiting[task.id] = task.started_at + serving.UNCHECKED_SECONDS
            heapq.heappush(self._due, (self._waiting[task.id], task.id))

    def advance(self, now: float) -> None:
        """Time has passed: tasks without a check may have become healthy."""
        while self._due and self._due[0][0] <= now:
            at, id = heapq.heappop(self._due)
            if self._waiting.get(id) == at:
                del self._waiting[id]
                self._healthy.add(id)
                self.mark(at)

    def mark(self, now: float) -> None:
        """All of a commit is seen."""
        made = Sample(now, self.healthy, self.wanted, self.least)
        if not self.samples or self.samples[-1][1:] != made[1:]:
            self.samples.append(made)


def ready(samples: Sequence[Sample]) -> int | None:
    """The first of the samples in which all tasks that are wanted are healthy, by its place."""
    return next((place for place, sample in enumerate(samples) if sample.healthy >= sample.wanted), None)


def judged(samples: Sequence[Sample], event: float | None) -> Sequence[Sample]:
    """What a service is judged by: from when all its tasks were healthy first, or from the first ``event`` on where
    that is earlier; nothing where there is neither."""
    first = ready(samples)
    if first is not None and (event is None or samples[first].at <= event):
        return samples[first:]
    if event is None:
        return ()
    return since(samples, event)


def since(samples: Sequence[Sample], at: float) -> Sequence[Sample]:
    """What was true from a moment on."""
    before = [Sample(at, *sample[1:]) for sample in samples if sample.at < at]
    return [*before[-1:], *(sample for sample in samples if sample.at >= at)]


def lowest(samples: Sequence[Sample]) -> Sample | None:
    """The fewest healthy tasks, and when that was first."""
    return min(samples, key=lambda sample: sample.healthy, default=None)


def below(samples: Sequence[Sample], end: float) -> list[tuple[float, float]]:
    """From when until when there were fewer healthy tasks than there must be."""
    found: list[tuple[float, float]] = []
    for sample, after in pairwise([*samples, Sample(end, 0, 0, 0)] if samples else []):
        if sample.healthy >= sample.least or sample.at == after.at:
            continue
        if found and found[-1][1] == sample.at:
            found[-1] = (found[-1][0], after.at)
        else:
            found.append((sample.at, after.at))
    return found
