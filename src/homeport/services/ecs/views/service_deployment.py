"""Service deployments and service revisions as AWS answers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeport.services.ecs import definitions, launch_rules, service_configuration, services
from homeport.services.ecs.model.deployment import DEPLOYMENTS, FINISHED, Revision, ServiceDeployment
from homeport.services.ecs.model.service import Service, part_arn
from homeport.services.ecs.scheduling import rollout
from homeport.services.ecs.views.configuration import what_runs
from homeport.store import Scope, View

_TIMES = {"startedAt": "started_at", "finishedAt": "finished_at", "stoppedAt": "stopped_at"}

Counts = Mapping[str, tuple[int, int, int]]


def arn_of(service: Service, made: ServiceDeployment) -> str:
    return part_arn(service.arn, "service-deployment", made.id)


def brief(service: Service, made: ServiceDeployment) -> dict[str, Any]:
    """AWS's ServiceDeploymentBrief."""
    shown = {
        **_common(service, made),
        "targetServiceRevisionArn": part_arn(service.arn, "service-revision", made.target),
    }
    shown.pop("stoppedAt", None)
    return shown


def whole(view: View, scope: Scope, service: Service, made: ServiceDeployment) -> dict[str, Any]:
    """AWS's ServiceDeployment. Its tasks are counted while it goes on; afterwards it tells what it left."""
    counts = made.counts if made.status in FINISHED else _counts(view, scope, service)
    alarms = made.configuration.get("alarms") or {}
    shown = {
        **_common(service, made),
        "updatedAt": made.updated_at,
        "sourceServiceRevisions": [_summary(service, id, counts) for id in made.sources],
        "targetServiceRevision": _summary(service, made.target, counts),
        "deploymentConfiguration": made.configuration,
        "deploymentCircuitBreaker": {
            "status": made.breaker,
            "failureCount": made.failure_count,
            "threshold": made.threshold,
        },
        "alarms": {"status": "DISABLED", "alarmNames": list(alarms.get("alarmNames") or ())},
    }
    if made.rollback is not None:
        shown["rollback"] = {
            "reason": made.rollback.reason,
            "startedAt": made.rollback.started_at,
            "serviceRevisionArn": part_arn(service.arn, "service-revision", made.rollback.revision),
        }
    return shown


def revision(view: View, scope: Scope, service: Service, made: Revision) -> dict[str, Any]:
    """AWS's ServiceRevision."""
    shown: dict[str, Any] = {
        "serviceRevisionArn": part_arn(service.arn, "service-revision", made.id),
        "serviceArn": service.arn,
        "clusterArn": service.cluster_arn,
        "createdAt": made.created_at,
        "guardDutyEnabled": False,
        **what_runs(made.configuration),
    }
    if "platformVersion" in shown:
        shown["platformVersion"] = launch_rules.PLATFORM_VERSION
    members = made.configuration.members
    shown |= {member: members[member] for member in service_configuration.MEMBERS if member in members}
    definition = definitions.of_task(view, scope, made.configuration.definition_arn)
    if definition is not None:
        containers = definitions.containers(definition)
        shown["containerImages"] = [_image(container, made.images) for container in containers]
    return shown


def _common(service: Service, made: ServiceDeployment) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "serviceDeploymentArn": arn_of(service, made),
        "serviceArn": service.arn,
        "clusterArn": service.cluster_arn,
        "createdAt": made.created_at,
        "status": made.status,
    }
    if made.status_reason is not None:
        shown["statusReason"] = made.status_reason
    times = {member: getattr(made, field) for member, field in _TIMES.items()}
    return shown | {member: at for member, at in times.items() if at is not None}


def _summary(service: Service, revision: str, counts: Counts) -> dict[str, Any]:
    requested, running, pending = counts.get(revision, (0, 0, 0))
    return {
        "arn": part_arn(service.arn, "service-revision", revision),
        "requestedTaskCount": requested,
        "runningTaskCount": running,
        "pendingTaskCount": pending,
    }


def _counts(view: View, scope: Scope, service: Service) -> Counts:
    """(requested, running, pending) tasks of the service's revisions now."""
    by_owner = services.counts(view, scope, service)
    found = {}
    for deployment in view.find(DEPLOYMENTS, scope, "shown", service.id):
        running, pending = by_owner.get(deployment.name, (0, 0))
        requested = rollout.requested(service.desired, deployment, running + pending)
        found[deployment.revision] = (requested, running, pending)
    return found


def _image(container: Mapping[str, Any], images: Mapping[str, str]) -> dict[str, Any]:
    """A container's image, and its digest once that is resolved and all tasks of the revision run it."""
    shown = {"containerName": container["name"], "image": container["image"]}
    digest = images.get(container["name"])
    if digest is not None and container.get("versionConsistency") != "disabled":
        shown["imageDigest"] = digest
    return shown
