"""The states that deployments and service deployments go through, up to rolling updates' end and back. Pure.

``note`` comes before a look's tasks are counted: it may make another deployment PRIMARY. ``advance`` comes after. Other
deployment strategies than ROLLING would have their own ``advance``; their states are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from homeport.services.ecs.model.deployment import (
    FINISHED,
    KEPT_SECONDS,
    Deployment,
    Rollback,
    ServiceDeployment,
    ServiceDeploymentStatus,
)
from homeport.services.ecs.model.task import TaskStatus
from homeport.services.ecs.scheduling import breaker, consistency, health, messages
from homeport.services.ecs.scheduling.early import Early
from homeport.services.ecs.scheduling.plan import Seen, Told
from homeport.services.ecs.scheduling.replica import Count

# A service deployment's statusReason: the first two are ECS's, the others are worded in their manner.
ROLLED_BACK = "Service deployment rolled back because the circuit breaker threshold was exceeded."
NO_CANDIDATE = "No rollback candidate was found to run the rollback."
STOPPED = "Service deployment stopped because the circuit breaker threshold was exceeded."
REQUESTED = "Service deployment rolled back because a rollback was requested."
NOT_ROLLED_BACK = "Service deployment rollback failed because the circuit breaker threshold was exceeded."


class Rolled(msgspec.Struct, frozen=True, kw_only=True):
    """``seen`` with its records as they are now, and what is to be told."""

    seen: Seen
    events: tuple[Told, ...] = ()


def note(seen: Seen, now: float) -> Rolled:
    """What has happened to the tasks, and what was asked for, means this for the deployments."""
    seen = _taken_up(_counted(consistency.resolved(seen), now), now)
    return _judged(seen, now)


def advance(seen: Seen, counted: Count, now: float) -> Rolled:
    """Completes the PRIMARY deployment when it has done what it shall; drops older ones without tasks."""
    primary = seen.primary
    if primary is None:
        return Rolled(seen=seen)
    owners = {t.started_by for t in seen.tasks if t.last_status < TaskStatus.STOPPED}
    dropped = [d for d in seen.deployments if d.role == "ACTIVE" and d.name not in owners]
    seen = _with(seen, *(replace(d, role="INACTIVE", updated_at=now, wake_at=now + KEPT_SECONDS) for d in dropped))
    if primary.rollout != "IN_PROGRESS" or primary.returned:  # what has just been returned to is told first
        return Rolled(seen=seen)
    early = Early.configured(seen.service.deployment_configuration)
    met = early.met(seen.service.desired, primary, counted) if early.enabled else is_done(seen, counted)
    met_at = (now if primary.met_at is None else min(primary.met_at, now)) if met else None
    if met_at is not None and now >= met_at + early.bake:
        return _completed(seen, primary, now, early=not is_done(seen, counted))
    return Rolled(seen=_with(seen, replace(primary, met_at=met_at)))


def wakes_at(seen: Seen) -> float | None:
    """When time alone completes the PRIMARY deployment (epoch seconds): at the end of its bake time, or at once."""
    primary = seen.primary
    if primary is not None and primary.returned:
        return primary.updated_at
    if primary is None or primary.met_at is None or primary.rollout != "IN_PROGRESS":
        return None
    return primary.met_at + Early.configured(seen.service.deployment_configuration).bake


def is_done(seen: Seen, counted: Count) -> bool:
    """Whether what is wanted runs, healthy, and nothing else; not in the look that began a rollback."""
    if seen.primary is not None and seen.primary.returned:
        return False
    settled = not counted.others and not counted.stopping and not counted.failing
    return settled and len(counted.own) == seen.service.desired and all(t.id in counted.healthy for t in counted.own)


def current(seen: Seen) -> ServiceDeployment | None:
    """The service deployment that the PRIMARY deployment carries out."""
    going = [d for d in seen.service_deployments if d.status not in FINISHED and d.status != "STOP_REQUESTED"]
    return max(going, key=lambda d: d.number, default=None)


def _counted(seen: Seen, now: float) -> Seen:
    """What the tasks that have ended, run or are healthy mean for their deployments."""
    settings = breaker.configured(seen.service.deployment_configuration)
    changed = []
    for deployment in seen.deployments:
        tasks = [t for t in seen.tasks if t.started_by == deployment.name]
        healthy: frozenset[str] = frozenset()
        if breaker.counts(deployment):
            checked = seen.checked
            healthy = frozenset(
                t.id for t in tasks if health.healthy(t, checked.get(t.definition_arn, frozenset()), now)
            )
        after = replace(breaker.counted(deployment, tasks, healthy, settings), returned=False)
        if (after.failed_tasks, after.failures, after.ran) != (
            deployment.failed_tasks,
            deployment.failures,
            deployment.ran,
        ):
            after = replace(after, updated_at=now)
        changed.append(after)
    return replace(seen, deployments=tuple(changed))


def _taken_up(seen: Seen, now: float) -> Seen:
    """Service deployments begin, or stop for a newer one."""
    changed = []
    for going in seen.service_deployments:
        if going.status == "PENDING":
            going = replace(going, status="IN_PROGRESS", started_at=now, updated_at=now)
        elif going.status == "STOP_REQUESTED":
            going = _over(seen, going, "STOPPED", now)
        changed.append(going)
    return replace(seen, service_deployments=tuple(changed))


def _judged(seen: Seen, now: float) -> Rolled:
    """Whether the PRIMARY deployment has failed, or shall be rolled back, and what follows."""
    primary, going = seen.primary, current(seen)
    if primary is None:
        return Rolled(seen=seen)
    if going is not None and going.status == "ROLLBACK_REQUESTED":
        return _back(seen, primary, now, REQUESTED, messages.given_up(primary.name))
    settings = breaker.configured(seen.service.deployment_configuration)
    tripped = settings.trips(primary.failures, seen.service.desired)
    tripped = tripped or (settings.enabled and consistency.exhausted(seen, primary))
    if primary.rollout != "IN_PROGRESS" or not tripped:
        return Rolled(seen=_monitored(seen, primary))
    seen = _monitored(seen, primary, tripped=True)
    told = Told(message=messages.failed(seen.service.name, primary.name))
    if going is not None and going.rollback is not None:
        failed = _failed(seen, primary, now, messages.FAILED_TO_START, "ROLLBACK_FAILED", NOT_ROLLED_BACK)
    elif settings.rollback:
        failed = _back(seen, primary, now, ROLLED_BACK, messages.FAILED_TO_START)
    else:
        failed = _failed(seen, primary, now, messages.FAILED_TO_START, "STOPPED", STOPPED)
    return replace(failed, events=(told, *failed.events))


def _monitored(seen: Seen, primary: Deployment, *, tripped: bool = False) -> Seen:
    """What the service deployment shows of its circuit breaker. In a rollback it stays as it was when that began."""
    going = current(seen)
    if going is None or going.rollback is not None:
        return seen
    settings = breaker.configured(seen.service.deployment_configuration)
    shown = replace(
        going,
        breaker=("TRIGGERED" if tripped else "MONITORING") if settings.enabled else "DISABLED",
        failure_count=primary.failures if settings.enabled else 0,
        threshold=settings.threshold(seen.service.desired) if settings.enabled else 0,
    )
    return _with_service_deployment(seen, shown)


def _back(seen: Seen, failed: Deployment, now: float, why: str, reason: str) -> Rolled:
    """The newest COMPLETED deployment is PRIMARY again, and the service what it was then. Without one, it all stays as
    it is."""
    target = seen.good
    revision = seen.revisions.get(target.revision) if target else None
    if target is None or revision is None:
        return _failed(seen, failed, now, reason, "ROLLBACK_FAILED", NO_CANDIDATE)
    running = any(t.started_by == target.name and t.last_status == TaskStatus.RUNNING for t in seen.tasks)
    again = replace(
        target,
        role="PRIMARY",
        rollout="IN_PROGRESS",
        rollout_reason=messages.returning(target.name),
        failed_tasks=0,
        failures=0,
        healthy=(),
        ran=running,
        good=False,
        returned=True,
        met_at=None,
        updated_at=now,
        wake_at=None,
    )
    over = replace(failed, role="ACTIVE", rollout="FAILED", rollout_reason=reason, updated_at=now)
    service = replace(seen.service, configuration=revision.configuration)
    seen = _with(replace(seen, service=service, good=None), over, again)
    if (going := current(seen)) is not None:
        back = Rollback(reason=why, started_at=now, revision=target.revision)
        going = replace(going, status="ROLLBACK_IN_PROGRESS", status_reason=why, rollback=back, updated_at=now)
        seen = _with_service_deployment(seen, going)
    return Rolled(seen=seen, events=(Told(message=messages.rolling_back(service.name, target.name)),))


def _failed(
    seen: Seen, failed: Deployment, now: float, reason: str, status: ServiceDeploymentStatus, why: str
) -> Rolled:
    """The deployment starts nothing more, and there is nothing to return to."""
    seen = _with(seen, replace(failed, rollout="FAILED", rollout_reason=reason, updated_at=now))
    if (going := current(seen)) is not None:
        seen = _with_service_deployment(seen, _over(seen, replace(going, status_reason=why), status, now))
    return Rolled(seen=seen)


def _completed(seen: Seen, primary: Deployment, now: float, *, early: bool) -> Rolled:
    done = replace(
        primary,
        rollout="COMPLETED",
        rollout_reason=messages.is_completed(primary.name),
        good=True,
        met_at=None,
        updated_at=now,
    )
    seen = _with(seen, done)
    if (going := current(seen)) is not None:
        status: ServiceDeploymentStatus = "SUCCESSFUL" if going.rollback is None else "ROLLBACK_SUCCESSFUL"
        going = _over(seen, replace(going, succeeded_early=early), status, now)
        seen = _with_service_deployment(seen, going)
    return Rolled(seen=seen, events=(Told(message=messages.completed(seen.service.name, primary.name)),))


def _over(seen: Seen, going: ServiceDeployment, status: ServiceDeploymentStatus, now: float) -> ServiceDeployment:
    """A service deployment at its end, with the tasks that it left."""
    times: dict[str, Any] = {"finished_at": now, "updated_at": now, "wake_at": now + KEPT_SECONDS}
    if status == "STOPPED":
        times["stopped_at"] = now
    return replace(
        going,
        status=status,
        breaker="MONITORING_COMPLETE" if going.breaker == "MONITORING" else going.breaker,
        counts=_counts(seen, going),
        **times,
    )


def _counts(seen: Seen, going: ServiceDeployment) -> dict[str, tuple[int, int, int]]:
    """(requested, running, pending) tasks of the revisions that a service deployment names."""
    names = {going.target, *going.sources}
    found = {}
    for deployment in seen.deployments:
        if deployment.revision in names:
            tasks = [t for t in seen.tasks if t.started_by == deployment.name]
            running = sum(t.last_status == TaskStatus.RUNNING for t in tasks)
            pending = sum(t.last_status < TaskStatus.RUNNING and t.desired_status == "RUNNING" for t in tasks)
            found[deployment.revision] = (
                requested(seen.service.desired, deployment, running + pending),
                running,
                pending,
            )
    return found


def requested(desired: int, deployment: Deployment, there: int) -> int:
    """The tasks that a deployment shall have: all of the service's for the PRIMARY one, unless it failed; an older one
    shall keep no more than it still has (inferred)."""
    return desired if deployment.role == "PRIMARY" and deployment.rollout != "FAILED" else there


def _with(seen: Seen, *changed: Deployment) -> Seen:
    """``seen`` with these deployments as they are now; one that wasn't shown is from now on."""
    by_id = {d.id: d for d in (*seen.deployments, *changed)}
    return replace(seen, deployments=tuple(sorted(by_id.values(), key=lambda d: -d.number)))


def _with_service_deployment(seen: Seen, changed: ServiceDeployment) -> Seen:
    kept: Iterable[ServiceDeployment] = (d for d in seen.service_deployments if d.id != changed.id)
    return replace(seen, service_deployments=(*kept, changed))
