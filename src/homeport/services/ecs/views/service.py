"""Services and their deployments as AWS answers them."""

from __future__ import annotations

from typing import Any

from homeport.core import arn
from homeport.services.ecs import launch_rules, services, tags
from homeport.services.ecs.model.deployment import REVISIONS, SERVICE_DEPLOYMENTS, Configuration, Deployment
from homeport.services.ecs.model.service import Service, part_arn
from homeport.services.ecs.scheduling import rollout
from homeport.services.ecs.views import task_set
from homeport.services.ecs.views.configuration import what_runs
from homeport.store import Scope, View

ROLE = "role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"

Counts = dict[str, tuple[int, int]]


def service(view: View, scope: Scope, record: Service, *, with_tags: bool = True) -> dict[str, Any]:
    """AWS's Service. Without ``with_tags`` its tags are an empty list."""
    counts = services.counts(view, scope, record)
    shown: dict[str, Any] = {
        "serviceArn": record.arn,
        "serviceName": record.name,
        "clusterArn": record.cluster_arn,
        "status": record.status,
        "desiredCount": record.desired,
        "runningCount": sum(running for running, _ in counts.values()),
        "pendingCount": sum(pending for _, pending in counts.values()),
        "loadBalancers": [],
        "serviceRegistries": [],
        "deploymentConfiguration": record.deployment_configuration,
        "deployments": _deployments(view, scope, record, counts),
        "events": [
            {"id": event.id, "createdAt": event.at, "message": event.message}
            for event in services.events(view, scope, record)
            if event.message
        ],
        "createdAt": record.created_at,
        "createdBy": record.created_by,
        "placementConstraints": list(record.constraints),
        "placementStrategy": list(record.strategy),
        "healthCheckGracePeriodSeconds": record.grace,
        "schedulingStrategy": record.scheduling,
        "deploymentController": {"type": record.controller},
        "enableECSManagedTags": record.managed_tags,
        "propagateTags": record.propagate_tags,
        "enableExecuteCommand": record.execute_command,
        "availabilityZoneRebalancing": "ENABLED" if record.rebalancing else "DISABLED",
        "resourceManagementType": "CUSTOMER",
        "tags": tags.view(record.tags) if with_tags else [],
    }
    if record.configuration is not None:
        shown |= _own(scope, record.configuration)
    if record.controller == "EXTERNAL":
        shown["taskSets"] = task_set.of_service(view, scope, record, with_tags=with_tags)
    elif record.status == "ACTIVE":
        shown |= _current(view, scope, record, counts)
    return shown


def _own(scope: Scope, configuration: Configuration) -> dict[str, Any]:
    """What the service shows of the configuration that it was last asked for."""
    members = ("loadBalancers", "serviceRegistries")
    shown = {**what_runs(configuration), **{m: configuration.members[m] for m in members if m in configuration.members}}
    if configuration.network is not None:
        shown["roleArn"] = arn.arn("iam", "", scope.account, ROLE)
    return shown


def _deployments(view: View, scope: Scope, record: Service, counts: Counts) -> list[dict[str, Any]]:
    if record.status == "INACTIVE":
        return []
    return [_deployment(view, scope, record, d, counts) for d in services.deployments(view, scope, record)]


def _deployment(view: View, scope: Scope, record: Service, made: Deployment, counts: Counts) -> dict[str, Any]:
    running, pending = counts.get(made.name, (0, 0))
    shown: dict[str, Any] = {
        "id": made.name,
        "status": made.role,
        "desiredCount": rollout.requested(record.desired, made, running + pending),
        "pendingCount": pending,
        "runningCount": running,
        "failedTasks": made.failed_tasks,
        "createdAt": made.created_at,
        "updatedAt": made.updated_at,
        "rolloutState": made.rollout,
        "rolloutStateReason": made.rollout_reason,
    }
    revision = view.get(REVISIONS, scope, made.revision)
    if revision is None:
        return shown
    shown |= what_runs(revision.configuration)
    if "platformVersion" in shown:
        shown["platformVersion"] = launch_rules.PLATFORM_VERSION
    members = ("serviceConnectConfiguration", "volumeConfigurations", "vpcLatticeConfigurations")
    return shown | {m: revision.configuration.members[m] for m in members if m in revision.configuration.members}


def _current(view: View, scope: Scope, record: Service, counts: Counts) -> dict[str, Any]:
    """currentServiceDeployment, while one goes on, and currentServiceRevisions: those that tasks shall run of."""
    shown: dict[str, Any] = {}
    running = view.find(SERVICE_DEPLOYMENTS, scope, "open", record.id)
    if running:
        newest = max(running, key=lambda d: d.number)
        shown["currentServiceDeployment"] = part_arn(record.arn, "service-deployment", newest.id)
    revisions: dict[str, dict[str, Any]] = {}
    for made in services.deployments(view, scope, record):
        there, pending = counts.get(made.name, (0, 0))
        text = part_arn(record.arn, "service-revision", made.revision)
        one = revisions.setdefault(
            text, {"arn": text, "requestedTaskCount": 0, "runningTaskCount": 0, "pendingTaskCount": 0}
        )
        one["requestedTaskCount"] += rollout.requested(record.desired, made, there + pending)
        one["runningTaskCount"] += there
        one["pendingTaskCount"] += pending
    return shown | {"currentServiceRevisions": list(revisions.values())}
