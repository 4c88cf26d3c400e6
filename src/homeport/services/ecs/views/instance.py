"""Container instances as AWS shows them."""

from __future__ import annotations

from typing import Any

from homeport.services.ecs import tags
from homeport.services.ecs.model.instance import Instance, Room


def instance_view(instance: Instance, room: Room) -> dict[str, Any]:
    """AWS's ContainerInstance."""
    left = {"CPU": room.cpu_free, "MEMORY": room.memory_free}
    remaining = [{**r, "integerValue": left[r["name"]]} if r["name"] in left else r for r in instance.resources]
    return {
        "containerInstanceArn": instance.arn,
        "version": instance.version,
        "versionInfo": instance.version_info,
        "registeredResources": list(instance.resources),
        "remainingResources": remaining,
        "status": instance.status,
        "agentConnected": instance.connected,
        "runningTasksCount": room.tasks,
        "pendingTasksCount": 0,
        "attributes": list(instance.attributes),
        "registeredAt": instance.registered_at,
        "attachments": [],
        "tags": tags.view(instance.tags),
    }
