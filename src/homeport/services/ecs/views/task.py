"""Tasks as AWS shows them."""

from __future__ import annotations

from typing import Any

from homeport.services.ecs import definitions, needs, overrides, tags
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.task import Attachment, Container, HealthStatus, Task, TaskStatus
from homeport.store import View

_TIMES = {
    "connectivityAt": "connected_at",
    "pullStartedAt": "pull_started_at",
    "pullStoppedAt": "pull_stopped_at",
    "startedAt": "started_at",
    "executionStoppedAt": "execution_stopped_at",
    "stoppingAt": "stopping_at",
    "stoppedAt": "stopped_at",
}
_TEXTS = {
    "availabilityZone": "availability_zone",
    "capacityProviderName": "capacity_provider",
    "platformVersion": "platform_version",
    "startedBy": "started_by",
    "stopCode": "stop_code",
    "stoppedReason": "stopped_reason",
}


def task_view(view: View, scope: tuple[str, str], task: Task, *, with_tags: bool = True) -> dict[str, Any]:
    """AWS's Task. Without ``with_tags`` its tags are an empty list."""
    definition, arn = definitions.of_task(view, scope, task.definition_arn), task.arn
    shown: dict[str, Any] = {
        "attachments": [_attachment(a, task) for a in task.attachments],
        "attributes": [{"name": "ecs.cpu-architecture", "value": _architecture(definition)}],
        "clusterArn": task.cluster_arn,
        "containers": _containers(task, arn, definition),
        "cpu": str(task.cpu),
        "createdAt": task.created_at,
        "desiredStatus": task.desired_status,
        "enableExecuteCommand": False,
        "group": task.group,
        "healthStatus": health(task, definition),
        "inferenceAccelerators": [],
        "lastStatus": task.last_status.name,
        "launchType": task.launch_type,
        "memory": str(task.memory),
        "overrides": overrides.shown(task.overrides, [c.name for c in task.containers]),
        "tags": tags.view(task.tags) if with_tags else [],
        "taskArn": arn,
        "taskDefinitionArn": task.definition_arn,
        "version": task.version,
    }
    if task.launch_type == "FARGATE":
        storage = {"sizeInGiB": task.ephemeral_storage}
        shown |= {"platformFamily": "Linux", "ephemeralStorage": storage, "fargateEphemeralStorage": storage}
    elif task.instance:
        shown["containerInstanceArn"] = task.instance
    if task.connected_at is not None:
        shown["connectivity"] = "DISCONNECTED" if task.lost else "CONNECTED"
    for member, field in (*_TIMES.items(), *_TEXTS.items()):
        if (value := getattr(task, field)) is not None:
            shown[member] = value
    return shown


def health(task: Task, definition: TaskDefinition | None) -> HealthStatus:
    """Of the essential containers that have a health check, the worst; UNKNOWN where there are none."""
    checked = {c["name"] for c in definitions.containers(definition) if c.get("healthCheck")} if definition else ()
    told = {c.health for c in task.containers if c.essential and c.name in checked}
    worst: tuple[HealthStatus, ...] = ("UNHEALTHY", "UNKNOWN", "HEALTHY")
    return next((status for status in worst if status in told), "UNKNOWN")


def _attachment(attachment: Attachment, task: Task) -> dict[str, Any]:
    details = attachment.details
    if task.last_status == TaskStatus.PROVISIONING:  # until then ECS shows no more than where it will be
        details = {"subnetId": details["subnetId"]}
    return {
        "id": attachment.id,
        "type": attachment.type,
        "status": attachment.status,
        "details": [{"name": name, "value": value} for name, value in details.items()],
    }


def _containers(task: Task, arn: str, definition: TaskDefinition | None) -> list[dict[str, Any]]:
    defined = {c["name"]: c for c in definitions.containers(definition)} if definition else {}
    start, interfaces, given = task.container_arn(""), _interfaces(task), task.overrides
    shown = [
        _container(c, arn, f"{start}{c.id}", interfaces, overrides.merged(defined.get(c.name, {"name": c.name}), given))
        for c in task.containers
    ]
    shares = needs.shared_out(task.gpus, defined.values()) if task.gpus else {}
    return [{**c, "gpuIds": list(shares[c["name"]])} if c["name"] in shares else c for c in shown]


def _container(
    container: Container, task_arn: str, arn: str, interfaces: list[dict[str, str]], defined: Any
) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "containerArn": arn,
        "taskArn": task_arn,
        "name": container.name,
        "lastStatus": container.status,
        "networkBindings": list(container.bindings),
        "networkInterfaces": interfaces,
        "healthStatus": container.health,
        "cpu": str(defined.get("cpu") or 0),
    }
    for member in ("memory", "memoryReservation"):
        if defined.get(member):
            shown[member] = str(defined[member])
    for member, value in (
        ("image", defined.get("image")),
        ("imageDigest", container.image_digest),
        ("runtimeId", container.runtime_id),
        ("exitCode", container.exit_code),
        ("reason", container.reason),
    ):
        if value is not None:
            shown[member] = value
    return shown


def _interfaces(task: Task) -> list[dict[str, str]]:
    attached = task.interface
    address = attached.details.get("privateIPv4Address") if attached else None
    if attached is None or address is None or task.last_status == TaskStatus.PROVISIONING:
        return []
    return [{"attachmentId": attached.id, "privateIpv4Address": address}]


def _architecture(definition: TaskDefinition | None) -> str:
    platform = (definition.members.get("runtimePlatform") or {}) if definition else {}
    return str(platform.get("cpuArchitecture") or "X86_64").lower()
