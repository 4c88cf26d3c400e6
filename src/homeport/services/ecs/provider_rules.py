"""What CreateCapacityProvider and UpdateCapacityProvider accept. Pure.

Texts are those of ECS as people quote them, else worded in their manner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from homeport.core import arn
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import names
from homeport.services.ecs.model.capacity_provider import CapacityProvider, ManagedScaling, group_name

MAX_NAME = 255  # characters
_RESERVED = ("aws", "ecs", "fargate")  # how names may not begin
_SCALING: dict[str, tuple[str, range]] = {
    "targetCapacity": ("target_capacity", range(1, 100 + 1)),
    "minimumScalingStepSize": ("minimum_step", range(1, 10_000 + 1)),
    "maximumScalingStepSize": ("maximum_step", range(1, 10_000 + 1)),
    "instanceWarmupPeriod": ("warmup", range(10_000 + 1)),
}
_GROUP = "autoScalingGroup:"


def check_name(name: str) -> None:
    if not names.is_name(name) or name.lower().startswith(_RESERVED):
        raise invalid_parameter(
            f"The specified capacity provider name is invalid. Up to {MAX_NAME} characters are allowed, including "
            "letters (upper and lowercase), numbers, underscores (_), and hyphens (-). The name cannot be prefixed "
            'with "aws", "ecs", or "fargate". Specify a valid name and try again.'
        )


def only_groups(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The autoScalingGroupProvider of the parameters. Raises UnsupportedFeatureException for managed instances, which
    no Homeport can start."""
    if params.get("managedInstancesProvider") is not None:
        raise AwsError("UnsupportedFeatureException", "Homeport does not support Amazon ECS Managed Instances.")
    if params.get("cluster"):
        raise invalid_parameter("cluster can only be specified for capacity providers of managed instances.")
    given: Mapping[str, Any] | None = params.get("autoScalingGroupProvider")
    if given is None:
        raise invalid_parameter("An autoScalingGroupProvider must be specified.")
    return given


def check_group(text: str) -> None:
    """An Auto Scaling group's ARN or name. No Homeport knows such groups, so it may be any."""
    parsed = arn.parse(text) if text.startswith("arn:") else None
    named = parsed is not None and parsed.service == "autoscaling" and parsed.resource.startswith(_GROUP)
    if not group_name(text) or (text.startswith("arn:") and not named):
        raise invalid_parameter(
            "The specified Auto Scaling group ARN is invalid. Specify a valid Auto Scaling group ARN and try again."
        )


def settings(given: Mapping[str, Any], before: CapacityProvider | None = None) -> dict[str, Any]:
    """The record's fields that ``given`` sets: a new provider's where there is none before. What isn't given keeps its
    value, or gets its default."""
    asked = given.get("managedScaling")
    scaling = before.scaling if before else ManagedScaling()
    if asked is not None:
        scaling = _scaling(asked, scaling if before else ManagedScaling(status="ENABLED"))
    protection = given.get("managedTerminationProtection") or (before.termination_protection if before else "DISABLED")
    if protection == "ENABLED" and scaling.status != "ENABLED":
        raise invalid_parameter(
            "The managed termination protection setting for the capacity provider is invalid. To enable managed "
            "termination protection for a capacity provider, managed scaling must be enabled."
        )
    draining = given.get("managedDraining") or (before.draining if before else "ENABLED")
    return {"scaling": scaling, "termination_protection": protection, "draining": draining}


def _scaling(asked: Mapping[str, Any], before: ManagedScaling) -> ManagedScaling:
    changes: dict[str, Any] = {"status": asked["status"]} if asked.get("status") else {}
    for member, (field, allowed) in _SCALING.items():
        if (value := asked.get(member)) is None:
            continue
        if value not in allowed:
            raise invalid_parameter(
                f"The {member} of managed scaling must be between {allowed.start} and {allowed.stop - 1}."
            )
        changes[field] = value
    scaling = msgspec.structs.replace(before, **changes)
    if scaling.minimum_step > scaling.maximum_step:
        raise invalid_parameter(
            "The minimumScalingStepSize of managed scaling must not be greater than its maximumScalingStepSize."
        )
    return scaling
