"""The launch of a service's task: what its configuration says, as ``launch`` wants it."""

from __future__ import annotations

from homeport.services.ecs import definitions, launch, overrides, placement_rules, tags
from homeport.services.ecs.launch import Failure, Launch
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.deployment import Configuration
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.placement import Strategy

PLATFORM_VERSION = "1.4.0"  # what LATEST stands for
# ECS's default for services: where fewest of their tasks are, by zone and then by instance.
_EVENLY = (Strategy("spread", "attribute:ecs.availability-zone"), Strategy("spread", "instanceId"))
_NO_SIZE: dict[str, str] = {}

__all__ = ["Failure", "launch", "wish"]


def wish(
    cluster: Cluster,
    service: Service,
    definition: TaskDefinition,
    configuration: Configuration,
    *,
    started_by: str,
    provider: str | None,
    images: dict[str, str],
) -> Launch:
    """One task. ``started_by``: ``ecs-svc/…``; ``provider``: its capacity provider, ``images`` the digests that its
    revision has resolved, by container."""
    containers = definitions.containers(definition)
    reserved_cpu, reserved_memory = overrides.reserved(containers, _NO_SIZE)
    fargate = configuration.runs_on == "FARGATE"
    return Launch(
        cluster=cluster,
        definition=definition,
        launch_type=configuration.runs_on,
        cpu=definitions.task_cpu(definition) or reserved_cpu,
        memory=definitions.task_memory(definition) or reserved_memory,
        group=service.group,
        network=configuration.network,
        capacity_provider=provider,
        platform_version=PLATFORM_VERSION if fargate else None,
        started_by=started_by,
        constraints=()
        if fargate
        else placement_rules.constraints(definition.members.get("placementConstraints") or (), service.constraints),
        strategy=() if fargate else placement_rules.strategies(service.strategy) or _EVENLY,
        tags=_tags(service, definition),
        image_digests=_pinned(definition, images),
    )


def _tags(service: Service, definition: TaskDefinition) -> dict[str, str]:
    inherited = {"SERVICE": service.tags, "TASK_DEFINITION": definition.tags}.get(service.propagate_tags, {})
    if not service.managed_tags:
        return tags.merge(inherited, {})
    return {**inherited, "aws:ecs:clusterName": service.cluster, "aws:ecs:serviceName": service.name}


def _pinned(definition: TaskDefinition, images: dict[str, str]) -> dict[str, str]:
    """The digests of those containers that are subject to version consistency."""
    loose = {c["name"] for c in definitions.containers(definition) if c.get("versionConsistency") == "disabled"}
    return {name: digest for name, digest in images.items() if name not in loose}
