"""What a registered task definition says where its author said nothing. Pure."""

from __future__ import annotations

from typing import Any

from homeport.services.ecs.registration.members import Members, containers, items, mode

_CONTAINER_LISTS = ("portMappings", "environment", "mountPoints", "volumesFrom", "systemControls")
_TASK_LISTS = ("volumes", "placementConstraints")
_HEALTH: dict[str, Any] = {"interval": 30, "timeout": 5, "retries": 3}


def fill(definition: Members) -> Members:
    """The definition with ECS's defaults written out, as DescribeTaskDefinition returns it."""
    return {
        **{member: [] for member in _TASK_LISTS},
        **definition,
        "containerDefinitions": [_container(c, mode(definition)) for c in containers(definition)],
    }


def _container(container: Members, network_mode: str) -> Members:
    filled: Members = {"cpu": 0, "essential": True, **{member: [] for member in _CONTAINER_LISTS}, **container}
    filled["portMappings"] = [_port(mapping, network_mode) for mapping in items(container, "portMappings")]
    if "healthCheck" in container:
        filled["healthCheck"] = {**_HEALTH, **container["healthCheck"]}
    return filled


def _port(mapping: Members, network_mode: str) -> Members:
    filled = {"protocol": "tcp", **mapping}
    if "containerPort" in mapping and not mapping.get("hostPort"):
        filled["hostPort"] = mapping["containerPort"] if network_mode in ("awsvpc", "host") else 0
    return filled
