"""What services, deployments, service revisions and task sets run, as AWS answers it."""

from __future__ import annotations

from typing import Any

from homeport.services.ecs.model.deployment import Configuration


def what_runs(configuration: Configuration) -> dict[str, Any]:
    """The members of services, deployments and task sets that say what their tasks are, and where they run."""
    shown: dict[str, Any] = {"taskDefinition": configuration.definition_arn}
    if configuration.launch_type is not None:
        shown["launchType"] = configuration.launch_type
    else:
        shown["capacityProviderStrategy"] = list(configuration.capacity_strategy)
    if configuration.runs_on == "FARGATE":
        shown |= {"platformVersion": configuration.platform_version or "LATEST", "platformFamily": "Linux"}
    if configuration.network_configuration is not None and configuration.network is not None:
        shown["networkConfiguration"] = network(configuration)
    return shown


def network(configuration: Configuration) -> dict[str, Any]:
    """The networkConfiguration with its defaults written out; groups as they were asked for."""
    given = (configuration.network_configuration or {}).get("awsvpcConfiguration") or {}
    wanted = {"securityGroups": [], "assignPublicIp": "DISABLED", **given}
    return {"awsvpcConfiguration": wanted}
