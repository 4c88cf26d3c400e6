"""Container instances as AWS shows them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from homeport.services.ecs import attributes, rooms, tags
from homeport.services.ecs.model.instance import ROOMS, Instance, Room
from homeport.store import View

WITH_TAGS = ("TAGS",)
_NO_AMOUNTS = {"doubleValue": 0.0, "longValue": 0, "integerValue": 0}


def instance_view(
    view: View, scope: tuple[str, str], instance: Instance, include: Collection[str] = WITH_TAGS
) -> dict[str, Any]:
    """AWS's ContainerInstance. ``include`` has members of ContainerInstanceField; without TAGS its tags are an empty
    list. A deregistered one has all its room left, and no tasks."""
    return shown_with(view, instance, view.get(ROOMS, scope, instance.id), include)


def shown_with(
    view: View, instance: Instance, room: Room | None, include: Collection[str] = WITH_TAGS
) -> dict[str, Any]:
    """The same with this room, None where it has none."""
    running, pending = rooms.counts(view, instance) if room else (0, 0)
    left = _left(room) if room else {}
    shown: dict[str, Any] = {
        "containerInstanceArn": instance.arn,
        "version": instance.version,
        "versionInfo": instance.version_info,
        "registeredResources": [_resource(r) for r in instance.resources],
        "remainingResources": [_resource({**r, **left.get(r["name"], {})}) for r in instance.resources],
        "status": instance.status,
        "agentConnected": instance.connected,
        "runningTasksCount": running,
        "pendingTasksCount": pending,
        "attributes": attributes.shown(instance),
        "registeredAt": instance.registered_at,
        "attachments": [],
        "tags": tags.view(instance.tags) if "TAGS" in include else [],
    }
    optional = {
        "ec2InstanceId": instance.ec2_instance_id,
        "capacityProviderName": room.provider if room else None,
        "statusReason": instance.status_reason,
        "agentUpdateStatus": instance.agent_update,
        "healthStatus": _health(instance) if "CONTAINER_INSTANCE_HEALTH" in include else None,
    }
    return shown | {member: value for member, value in optional.items() if value is not None}


def _left(room: Room) -> dict[str, dict[str, Any]]:
    """What remains, by resource. Ports are listed the other way round: those that can't be had."""
    return {
        "CPU": {"integerValue": room.cpu_free},
        "MEMORY": {"integerValue": room.memory_free},
        "PORTS": {"stringSetValue": [str(port) for port in room.tcp]},
        "PORTS_UDP": {"stringSetValue": [str(port) for port in room.udp]},
        "GPU": {"stringSetValue": list(room.gpus), "integerValue": len(room.gpus)},
    }


def _resource(sent: Mapping[str, Any]) -> dict[str, Any]:
    """A Resource with all that AWS shows of one."""
    shown: dict[str, Any] = {"name": sent["name"], "type": sent.get("type") or "INTEGER"}
    if shown["type"] == "STRINGSET":
        return shown | _NO_AMOUNTS | {"stringSetValue": list(sent.get("stringSetValue") or ())}
    return shown | {member: type(none)(sent.get(member) or 0) for member, none in _NO_AMOUNTS.items()}


def _health(instance: Instance) -> dict[str, Any]:
    """What its agent last told of its parts: together as bad as the worst of them, unknown before any was told and
    while the agent is away."""
    told = {health.status for health in instance.health.values()}
    details = [
        {"type": part, "status": health.status, "lastUpdated": health.since, "lastStatusChange": health.since}
        for part, health in instance.health.items()
    ]
    if not instance.connected or not told:
        overall = "INSUFFICIENT_DATA"
    else:
        worst = ("IMPAIRED", "INSUFFICIENT_DATA", "INITIALIZING", "OK")
        overall = next(status for status in worst if status in told)
    return {"overallStatus": overall, "details": details}
