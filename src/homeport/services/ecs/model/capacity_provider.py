"""Records of capacity providers that callers make. FARGATE and FARGATE_SPOT are always there and have none."""

from __future__ import annotations

from typing import Literal

import msgspec

from homeport.store.tables import Table

Switch = Literal["ENABLED", "DISABLED"]


class ManagedScaling(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """``target_capacity`` in percent, steps in instances, ``warmup`` in seconds; the defaults are ECS's."""

    status: Switch = "DISABLED"
    target_capacity: int = 100
    minimum_step: int = 1
    maximum_step: int = 10_000
    warmup: int = 300


class CapacityProvider(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A capacity provider over an Auto Scaling group.

    ``group_arn`` is the group's ARN or name, as it was given. ``attachment`` is the id (a UUID) of what managed scaling
    attaches to its cluster. Times are epoch seconds.
    """

    name: str
    arn: str
    group_arn: str
    attachment: str
    created_at: float
    scaling: ManagedScaling = ManagedScaling()
    termination_protection: Switch = "DISABLED"
    draining: Switch = "ENABLED"
    updated: bool = False  # since it was made
    tags: dict[str, str] = {}

    @property
    def group(self) -> str:
        """The name of its Auto Scaling group."""
        return group_name(self.group_arn)

    @property
    def scales(self) -> bool:
        """Whether tasks may wait for instances that managed scaling would start."""
        return self.scaling.status == "ENABLED"


def group_name(arn_or_name: str) -> str:
    """``web`` of ``arn:aws:autoscaling:…:autoScalingGroupName/web``, and of ``web``."""
    return arn_or_name.rpartition("/")[2]


PROVIDERS: Table[CapacityProvider] = Table(
    "capacity-provider",
    CapacityProvider,
    id=lambda r: r.name,
    indexes={"group": lambda r: (r.group,)},
)
