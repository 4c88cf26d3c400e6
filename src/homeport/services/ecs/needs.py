"""What tasks of a definition need of an instance besides CPU and memory. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from homeport.services.ecs import definitions
from homeport.services.ecs.model.definition import TaskDefinition


def host_ports(definition: TaskDefinition) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The fixed host ports, TCP and UDP, in order: all ports in the network mode host, those that name a host port in
    bridge. An awsvpc task has ports of its own."""
    member = {"host": "containerPort", "bridge": "hostPort"}.get(definitions.network_mode(definition))
    ports: dict[str, set[int]] = {"tcp": set(), "udp": set()}
    for container in definitions.containers(definition) if member else ():
        for mapping in container.get("portMappings") or ():
            if port := mapping.get(member):
                ports[mapping.get("protocol") or "tcp"].add(port)
    return tuple(sorted(ports["tcp"])), tuple(sorted(ports["udp"]))


def gpus(containers: Iterable[Mapping[str, Any]]) -> int:
    """How many GPUs the containers ask for together."""
    asked = (r for c in containers for r in c.get("resourceRequirements") or () if r.get("type") == "GPU")
    return sum(int(requirement["value"]) for requirement in asked if str(requirement.get("value")).isdigit())


def shared_out(ids: tuple[str, ...], containers: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """A task's GPUs by the names of those of its containers that asked for some."""
    shares: dict[str, tuple[str, ...]] = {}
    for container in containers:
        if number := gpus((container,)):
            shares[container["name"]], ids = ids[:number], ids[number:]
    return shares


def architecture(definition: TaskDefinition) -> str:
    """``X86_64`` or ``ARM64`` where the definition asks for one, else empty."""
    return str((definition.members.get("runtimePlatform") or {}).get("cpuArchitecture") or "")
