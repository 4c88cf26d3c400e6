"""What ``homeport status SERVICE`` is told: how a service's deployments get on, and what fails."""

from __future__ import annotations

from typing import Any, Literal

from homeport.core import arn
from homeport.core.errors import invalid_parameter
from homeport.services.ecs import services
from homeport.services.ecs.model.deployment import (
    DEPLOYMENTS,
    FINISHED,
    SERVICE_DEPLOYMENTS,
    Deployment,
    ServiceDeployment,
)
from homeport.services.ecs.model.service import EVENTS, SERVICES, Service
from homeport.services.ecs.model.task import TASKS, Task, TaskStatus
from homeport.services.ecs.model.task_set import TASK_SETS, TaskSet
from homeport.services.ecs.views import service as views
from homeport.store import Scope, View

Verdict = Literal["steady", "failed", "gone"]

KINDS = tuple(t.kind for t in (SERVICES, DEPLOYMENTS, SERVICE_DEPLOYMENTS, EVENTS, TASKS, TASK_SETS))
SHOWN_EVENTS = 10
SHOWN_FAILURES = 5
_FAILURES = ("TaskFailedToStart", "EssentialContainerExited", "SpotInterruption", "TerminationNotice")


def named(view: View, text: str) -> tuple[Scope, Service] | None:
    """The service that a name, ``cluster/name`` or ARN names. Of several, those that are INACTIVE don't count. Raises
    InvalidParameterException where there are several."""
    parsed = arn.parse(text)
    name = parsed.resource.partition("/")[2] if parsed and parsed.resource.startswith("service/") else text
    if not name or (parsed is not None and name == text):
        return None
    found = [
        (scope, service)
        for scope, service in view.each(SERVICES)
        if (service.id if "/" in name else service.name) == name
        and (parsed is None or (parsed.account, parsed.region) == scope)
    ]
    active = [one for one in found if one[1].status != "INACTIVE"] or found
    if len(active) > 1:
        known = ", ".join(service.arn for _, service in active)
        raise invalid_parameter(f"{len(active)} services are named {text!r}: {known}.")
    return active[0] if active else None


def concerns(record: Any, id: str) -> bool:
    """Whether a changed record is the service with this id, or something of it."""
    if isinstance(record, Task):
        return services.id_of(record) == id
    return bool((record.id if isinstance(record, Service) else record.service) == id)


def listed(view: View, most: int) -> list[dict[str, Any]]:
    """Services that are not INACTIVE, with their counts."""
    found = [(scope, service) for scope, service in view.each(SERVICES) if service.status != "INACTIVE"]
    return [_short(view, scope, service) for scope, service in found[:most]]


def told(view: View, scope: Scope, service: Service) -> dict[str, Any]:
    """``service`` is what DescribeServices answers, with its newest events only; ``deployment`` the newest service
    deployment; ``failing`` the newest tasks that ended as nobody wanted, of the deployments that are shown and of the
    newest one; ``verdict``: see there."""
    shown = views.service(view, scope, service)
    newest = _newest(view, scope, service)
    return {
        "service": {**shown, "events": shown["events"][:SHOWN_EVENTS]},
        "deployment": _deployment(newest) if newest else None,
        "failing": [_failure(task) for task in _failing(view, scope, service, newest)],
        "verdict": verdict(
            service,
            services.deployments(view, scope, service),
            view.find(TASK_SETS, scope, "service", service.id),
            newest,
            (shown["runningCount"], shown["pendingCount"]),
        ),
    }


def verdict(
    service: Service,
    deployments: list[Deployment],
    task_sets: list[TaskSet],
    newest: ServiceDeployment | None,
    counts: tuple[int, int],
) -> Verdict | None:
    """How it ended: ``steady`` as it was asked for; ``failed``: its newest deployment isn't what runs, or nothing more
    is started for it; ``gone``: it was deleted. None while it goes on. ``counts``: (running, pending) tasks."""
    if service.status != "ACTIVE":
        return "gone" if service.status == "INACTIVE" else None
    if service.controller == "EXTERNAL":
        still = all(s.stability == "STEADY_STATE" and s.status != "DRAINING" for s in task_sets)
        return "steady" if still and sum(s.computed for s in task_sets) == counts[0] and not counts[1] else None
    if newest is not None and newest.status not in FINISHED:
        return None
    if any(d.role == "PRIMARY" and d.rollout == "FAILED" for d in deployments):
        return "failed"
    if service.steady_at is None or counts != (service.desired, 0):
        return None
    return "steady" if newest is None or newest.status == "SUCCESSFUL" else "failed"


def _short(view: View, scope: Scope, service: Service) -> dict[str, Any]:
    counts = services.counts(view, scope, service).values()
    primary = next((d for d in services.deployments(view, scope, service) if d.role == "PRIMARY"), None)
    return {
        "name": service.name,
        "arn": service.arn,
        "cluster": service.cluster,
        "status": service.status,
        "desired": service.desired,
        "running": sum(running for running, _ in counts),
        "pending": sum(pending for _, pending in counts),
        "rollout": primary.rollout if primary else None,
        "definition": service.configuration.definition_arn.rpartition("/")[2] if service.configuration else None,
    }


def _newest(view: View, scope: Scope, service: Service) -> ServiceDeployment | None:
    found = view.find(SERVICE_DEPLOYMENTS, scope, "service", service.id)
    return max(found, key=lambda d: d.number, default=None)


def _deployment(newest: ServiceDeployment) -> dict[str, Any]:
    return {
        "id": newest.id,
        "status": newest.status,
        "reason": newest.status_reason,
        "created_at": newest.created_at,
        "breaker": newest.breaker,
        "failures": newest.failure_count,
        "threshold": newest.threshold,
    }


def _failing(view: View, scope: Scope, service: Service, newest: ServiceDeployment | None) -> list[Task]:
    owners = {d.name for d in services.deployments(view, scope, service)}
    owners |= {f"ecs-svc/{newest.deployment}"} if newest else set()
    owners |= {s.name for s in view.find(TASK_SETS, scope, "service", service.id)}
    stopped = view.find(TASKS, scope, "filter", ("group", service.group, service.cluster_arn, "STOPPED"))
    ended = [t for t in stopped if t.last_status == TaskStatus.STOPPED and t.started_by in owners and _failed(t)]
    return sorted(ended, key=lambda t: (-(t.stopped_at or 0.0), t.id))[:SHOWN_FAILURES]


def _failed(task: Task) -> bool:
    """Whether it ended though it was wanted: by itself, or for its health."""
    scaled = (task.stopped_reason or "").startswith("Scaling activity")
    return task.stop_code in _FAILURES or (task.stop_code == "ServiceSchedulerInitiated" and not scaled)


def _failure(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "arn": task.arn,
        "deployment": task.started_by,
        "definition": task.definition_arn.rpartition("/")[2],
        "stopped_at": task.stopped_at,
        "stop_code": task.stop_code,
        "stopped_reason": task.stopped_reason,
        "containers": [
            {"name": c.name, "exit_code": c.exit_code, "reason": c.reason}
            for c in task.containers
            if c.reason or c.exit_code
        ],
    }
