"""Early success criteria: a deployment that is good enough is done, and the rest follows behind it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from homeport.services.ecs.model.deployment import Deployment
from homeport.services.ecs.scheduling.replica import Count


class Early(msgspec.Struct, frozen=True, kw_only=True):
    """``earlySuccessCriteria`` of a deployment configuration. ``percent`` of the desired count must be healthy;
    BLOCKING ``cleanup``: and no older task left. ``bake``: seconds for which that must last."""

    enabled: bool = False
    percent: int = 100
    cleanup: Literal["BLOCKING", "DEFERRED"] = "BLOCKING"
    bake: float = 0.0

    @staticmethod
    def configured(configuration: Mapping[str, Any]) -> Early:
        given = configuration.get("earlySuccessCriteria") or {}
        if not given.get("enable"):
            return Early()
        return Early(
            enabled=True,
            percent=given.get("healthyPercent", 100),
            cleanup=given.get("sourceServiceRevisionCleanup", "BLOCKING"),
            bake=60.0 * (configuration.get("bakeTimeInMinutes") or 0),
        )

    def met(self, desired: int, primary: Deployment, counted: Count) -> bool:
        """Whether the tasks of the PRIMARY deployment are good enough."""
        healthy = sum(t.id in counted.healthy and t.id not in counted.failing for t in counted.own)
        if healthy < -(-desired * self.percent // 100):
            return False
        leaving = any(t.started_by != primary.name for t in counted.stopping)
        return self.cleanup == "DEFERRED" or not (counted.others or leaving)
