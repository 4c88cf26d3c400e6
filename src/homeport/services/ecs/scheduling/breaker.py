"""The deployment circuit breaker: what counts as a failure of a deployment, and how many are too many. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from homeport.services.ecs.model.deployment import Deployment
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.scheduling import messages, throttle

LEAST, MOST = 3, 200  # failures between which BOUNDED_PERCENT keeps its threshold, as ECS


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """``deploymentCircuitBreaker`` of a deployment configuration, with ECS's defaults. ``value`` is a number of tasks
    for COUNT, else percent of the desired count."""

    enabled: bool = False
    rollback: bool = False
    resets: bool = True
    type: Literal["BOUNDED_PERCENT", "UNBOUNDED_PERCENT", "COUNT"] = "BOUNDED_PERCENT"
    value: int = 50

    def threshold(self, desired: int) -> int:
        """The failures at which a deployment has failed, for the service's latest desired count."""
        if self.type == "COUNT":
            return self.value
        share = -(-desired * self.value // 100)
        return share if self.type == "UNBOUNDED_PERCENT" else min(max(share, LEAST), MOST)

    def trips(self, failures: int, desired: int) -> bool:
        """Whether so many are too many. None never are, whatever the threshold."""
        return self.enabled and failures >= max(1, self.threshold(desired))


def configured(configuration: Mapping[str, Any]) -> Breaker:
    """That of a deploymentConfiguration."""
    given = configuration.get("deploymentCircuitBreaker") or {}
    threshold = given.get("thresholdConfiguration") or {}
    reset = given.get("resetOnHealthyTask")
    return Breaker(
        enabled=bool(given.get("enable")),
        rollback=bool(given.get("rollback")),
        resets=reset is None or bool(reset),
        type=threshold.get("type", "BOUNDED_PERCENT"),
        value=threshold.get("value", 50),
    )


def counted(deployment: Deployment, tasks: Sequence[Task], healthy: Set[str], breaker: Breaker) -> Deployment:
    """The deployment with those of its tasks taken into account that have ended and aren't noted yet.

    Until one of its tasks has been RUNNING, each that never gets there is a failure; from then on, each that was
    replaced because its health checks failed. ``healthy``: ids of its tasks that are healthy; one that wasn't before
    ends the row of failures (where the breaker ``resets``, its count too).
    """
    ended = [t for t in tasks if t.last_status == TaskStatus.STOPPED and not t.noted]
    unstarted, unhealthy = sum(map(throttle.never_ran, ended)), sum(map(_was_unhealthy, ended))
    ran = deployment.ran or any(t.started_at is not None for t in tasks)
    in_row, failures = deployment.failed_tasks, deployment.failures
    if healthy - set(deployment.healthy):
        in_row, failures = 0, 0 if breaker.resets else failures
    in_row += unstarted + unhealthy
    failures += unhealthy if ran else unstarted
    known = tuple(sorted(healthy)) if in_row or (failures and breaker.resets) else ()
    return replace(deployment, failed_tasks=in_row, failures=failures, ran=ran, healthy=known)


def counts(deployment: Deployment) -> bool:
    """Whether it matters which of its tasks are healthy: there are failures that one of them would end."""
    return bool(deployment.failed_tasks or deployment.failures)


def _was_unhealthy(task: Task) -> bool:
    return task.started_at is not None and task.stopped_reason == messages.UNHEALTHY
