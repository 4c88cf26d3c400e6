"""Task sets as AWS answers them."""

from __future__ import annotations

from typing import Any

from homeport.services.ecs import launch_rules, services, tags
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task_set import TASK_SETS, StabilityStatus, TaskSet
from homeport.services.ecs.scheduling import task_sets
from homeport.services.ecs.views.configuration import what_runs
from homeport.store import Scope, View


def of_service(view: View, scope: Scope, service: Service, *, with_tags: bool = False) -> list[dict[str, Any]]:
    """All that the service has, the PRIMARY one first, then the newest."""
    found = view.find(TASK_SETS, scope, "service", service.id)
    found.sort(key=lambda s: (s.status != "PRIMARY", -s.number))
    return [task_set(view, scope, service, s, with_tags=with_tags) for s in found]


def task_set(view: View, scope: Scope, service: Service, record: TaskSet, *, with_tags: bool = False) -> dict[str, Any]:
    """AWS's TaskSet. Without ``with_tags`` its tags are an empty list."""
    running, pending = services.counts(view, scope, service).get(record.name, (0, 0))
    computed = 0 if record.status == "DRAINING" else task_sets.computed(service.desired, record.scale)
    members = record.configuration.members
    shown: dict[str, Any] = {
        "id": record.name,
        "taskSetArn": record.arn(service.arn),
        "serviceArn": service.arn,
        "clusterArn": service.cluster_arn,
        "status": record.status,
        "computedDesiredCount": computed,
        "pendingCount": pending,
        "runningCount": running,
        "createdAt": record.created_at,
        "updatedAt": record.updated_at,
        "loadBalancers": members.get("loadBalancers") or [],
        "serviceRegistries": members.get("serviceRegistries") or [],
        "scale": {"value": record.scale, "unit": "PERCENT"},
        "stabilityStatus": _stability(record, computed, running, pending),
        "stabilityStatusAt": record.stability_at,
        "tags": tags.view(record.tags) if with_tags else [],
        **what_runs(record.configuration),
    }
    if "platformVersion" in shown:
        shown["platformVersion"] = launch_rules.PLATFORM_VERSION
    for member, value in (("externalId", record.external_id), ("startedBy", record.started_by)):
        if value is not None:
            shown[member] = value
    return shown


def _stability(record: TaskSet, computed: int, running: int, pending: int) -> StabilityStatus:
    """As the scheduler last saw it, unless something has happened since."""
    return record.stability if (computed, computed, 0) == (record.computed, running, pending) else "STABILIZING"
