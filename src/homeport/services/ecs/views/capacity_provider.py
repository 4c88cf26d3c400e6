"""Capacity providers as AWS answers them."""

from __future__ import annotations

from typing import Any

from homeport.services.ecs import capacity_providers, tags
from homeport.services.ecs.model.capacity_provider import CapacityProvider

_LIFECYCLE_HOOK = "ecs-managed-draining-termination-hook"  # as ECS names it


def capacity_provider(record: CapacityProvider, *, with_tags: bool = True) -> dict[str, Any]:
    """A CapacityProvider of the API. Without ``with_tags`` its tags are an empty list."""
    scaling = record.scaling
    return {
        "capacityProviderArn": record.arn,
        "name": record.name,
        "status": "ACTIVE",
        "type": "EC2_AUTOSCALING",
        "autoScalingGroupProvider": {
            "autoScalingGroupArn": record.group_arn,
            "managedScaling": {
                "status": scaling.status,
                "targetCapacity": scaling.target_capacity,
                "minimumScalingStepSize": scaling.minimum_step,
                "maximumScalingStepSize": scaling.maximum_step,
                "instanceWarmupPeriod": scaling.warmup,
            },
            "managedTerminationProtection": record.termination_protection,
            "managedDraining": record.draining,
        },
        "updateStatus": "UPDATE_COMPLETE" if record.updated else "CREATE_COMPLETE",
        "tags": tags.view(record.tags) if with_tags else [],
    }


def deleted(record: CapacityProvider) -> dict[str, Any]:
    """The last that is seen of one."""
    return {**capacity_provider(record), "status": "INACTIVE", "updateStatus": "DELETE_COMPLETE"}


def fargate(scope: tuple[str, str], name: str) -> dict[str, Any]:
    """FARGATE or FARGATE_SPOT, which are AWS's own and always ACTIVE."""
    return {
        "capacityProviderArn": capacity_providers.arn_of(scope, name),
        "name": name,
        "status": "ACTIVE",
        "type": name,
        "tags": [],
    }


def attachments(record: CapacityProvider) -> list[dict[str, Any]]:
    """What a provider's managed scaling and managed draining attach to its cluster."""
    provider = {"name": "capacityProviderName", "value": record.name}
    policy = {"name": "scalingPolicyName", "value": f"ECSManagedAutoScalingPolicy-{record.attachment}"}
    hook = {"name": "autoScalingLifecycleHookName", "value": _LIFECYCLE_HOOK}
    attached = (("as_policy", policy, record.scales), ("managed_draining", hook, record.draining == "ENABLED"))
    return [
        {"id": record.attachment, "type": kind, "status": "CREATED", "details": [provider, detail]}
        for kind, detail, there in attached
        if there
    ]
