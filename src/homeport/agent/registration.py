"""What a node says of itself when it registers. Pure."""

from __future__ import annotations

from typing import Any

from homeport.agent.capabilities import CAPABILITIES
from homeport.agent.config import AgentSettings, Host
from homeport.agentapi import (
    FARGATE_ATTRIBUTE,
    HASH_PREFIX,
    NETWORK_ATTRIBUTE,
    OVERCOMMIT_ATTRIBUTE,
    SPEC_ATTRIBUTE,
)

CPU_UNITS = 1024  # of one core
EXTERNAL_ATTRIBUTE = "ecs.capability.external"
GROUP_ATTRIBUTE = "homeport.auto-scaling-group"
RESERVED_PORTS = ("22", "2375", "2376", "51678", "51679")  # what Amazon's agent reserves


def registration(settings: AgentSettings, host: Host, arn: str | None, token: str, machine: str) -> dict[str, Any]:
    """Parameters of RegisterContainerInstance. ``arn``: the instance that this node was before. ``machine``: an id of
    its state folder. A Fargate node
    advertises more than it has: its tasks' limits are ceilings that are rarely reached together."""
    cpu = host.cores * CPU_UNITS * (settings.overcommit_cpu if settings.fargate else 1)
    memory = (host.memory - settings.reserved_memory) * (settings.overcommit_memory if settings.fargate else 1)
    params: dict[str, Any] = {
        "cluster": settings.cluster,
        "clientToken": token,
        "attributes": _attributes(settings, host),
        "totalResources": [
            {"name": "CPU", "type": "INTEGER", "integerValue": int(cpu)},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": int(memory)},
            {"name": "PORTS", "type": "STRINGSET", "stringSetValue": list(RESERVED_PORTS)},
            {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
        ],
        "versionInfo": {
            "agentVersion": host.agent_version,
            "agentHash": agent_hash(host, machine),
            "dockerVersion": host.runtime_version,
        },
    }
    if host.gpus and not settings.fargate:  # no task on Fargate can ask for one
        params["platformDevices"] = [{"id": gpu, "type": "GPU"} for gpu in host.gpus]
    return params | ({"containerInstanceArn": arn} if arn else {})


def agent_hash(host: Host, machine: str) -> str:
    """What tells this agent apart from another one that has the same key."""
    return f"{HASH_PREFIX}{host.agent_version}-{machine}"


def session_query(settings: AgentSettings, host: Host, arn: str, first: bool, machine: str) -> dict[str, str]:
    """The query of the ACS websocket. ``first``: the first connection of this process, which wants all credentials."""
    return {
        "agentHash": agent_hash(host, machine),
        "agentVersion": host.agent_version,
        "clusterArn": settings.cluster,
        "containerInstanceArn": arn,
        "dockerVersion": host.runtime_version,
        "protocolVersion": "2",
        "sendCredentials": "true" if first else "false",
        "seqNum": "1",
    }


def _attributes(settings: AgentSettings, host: Host) -> list[dict[str, str]]:
    values = {
        SPEC_ATTRIBUTE: "1",
        NETWORK_ATTRIBUTE: "1",
        "ecs.os-type": "linux",
        "ecs.os-family": "LINUX",
        "ecs.cpu-architecture": host.architecture,
    }
    if settings.fargate:
        values[FARGATE_ATTRIBUTE] = "true"
        values[f"{OVERCOMMIT_ATTRIBUTE}cpu"] = f"{settings.overcommit_cpu:g}"
        values[f"{OVERCOMMIT_ATTRIBUTE}memory"] = f"{settings.overcommit_memory:g}"
    if settings.external:
        values[EXTERNAL_ATTRIBUTE] = ""
    if settings.auto_scaling_group:
        values[GROUP_ATTRIBUTE] = settings.auto_scaling_group
    if settings.zone:
        values["ecs.availability-zone"] = settings.zone
    able = () if settings.fargate else CAPABILITIES  # who runs on Fargate needs to ask for nothing
    values |= settings.attributes
    return [*({"name": name, "value": value} for name, value in values.items()), *({"name": name} for name in able)]
