"""What a question's machines and services are in the words of the agent and of the API. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from homeport.agent.config import AgentSettings, Host
from homeport.sim.control import ACCOUNT, REGION
from homeport.sim.fleet import CLUSTER, Conduct
from homeport.sim.questions import Deploy, Machines, OfMachines, Question, Runs

CONTAINER = "app"  # the one of each task
_ENDLESS = Host(cores=1_000_000, memory=1_000_000_000, architecture="x86_64", boot_id="1")  # a zone of Amazon's Fargate


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine, or a zone of a Fargate that has room without bounds (``group`` is "" then)."""

    name: str
    group: str
    zone: str
    fargate: bool
    external: bool
    host: Host
    overcommit: float
    provider: str | None
    attributes: dict[str, str]


def machines(question: Question) -> Iterator[Machine]:
    for zone in dict.fromkeys(question.fargate.zones if question.fargate else ()):
        yield Machine(
            name=f"Fargate in {zone}",
            group="",
            zone=zone,
            fargate=True,
            external=False,
            host=_ENDLESS,
            overcommit=1.0,
            provider=None,
            attributes={},
        )
    for group in question.machines:
        for number in range(group.count):
            yield _machine(group, number)


def _machine(group: Machines, number: int) -> Machine:
    interfaces = {} if group.interfaces is None else {"homeport.max-interfaces": str(group.interfaces)}
    return Machine(
        name=f"{group.name}-{number + 1}",
        group=group.name,
        zone=group.zones[number % len(group.zones)],
        fargate=group.kind == "FARGATE",
        external=group.kind == "EXTERNAL",
        host=Host(cores=group.cpu, memory=group.memory, architecture="x86_64", boot_id="1"),
        overcommit=group.overcommit,
        provider=group.provider,
        attributes={**group.attributes, **interfaces},
    )


def node(machine: Machine) -> AgentSettings:
    """As the machine's agent would be told."""
    settings = AgentSettings(
        state="",
        instance="0" * 8,
        endpoint="",
        access_key="",
        secret_key="",
        cluster=CLUSTER,
        zone=machine.zone,
        fargate=machine.fargate,
        external=machine.external,
        overcommit_cpu=machine.overcommit,
        auto_scaling_group=machine.provider,
        attributes=machine.attributes,
    )
    return settings if machine.group else replace(settings, overcommit_memory=1)


def concerns(event: OfMachines, machine: Machine) -> bool:
    if event.instance is not None:
        return machine.name == event.instance
    return machine.group == event.machines if event.machines is not None else machine.zone == event.zone


def zones(question: Question) -> set[str]:
    """Where tasks with a network interface can be."""
    return {machine.zone for machine in machines(question)}


def provider(name: str) -> dict[str, Any]:
    """Of CreateCapacityProvider. Nobody starts machines here, so its tasks don't wait for any."""
    arn = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:{'0' * 8}:autoScalingGroupName/{name}"
    group = {"autoScalingGroupArn": arn, "managedScaling": {"status": "DISABLED"}}
    return {"name": name, "autoScalingGroupProvider": group}


def resized(runs: Runs, deploy: Deploy) -> Runs:
    """The service with tasks of the size that a deployment gives them."""
    return replace(
        runs,
        cpu=runs.cpu if deploy.cpu is None else deploy.cpu,
        memory=runs.memory if deploy.memory is None else deploy.memory,
    )


def conduct(runs: Runs, deploy: Deploy | None) -> Conduct:
    """What becomes of a service's tasks, or of those of a deployment of it."""
    if deploy is None:
        return Conduct(starts=runs.starts, healthy=runs.healthy, stops=runs.stops)
    healthy = runs.healthy if deploy.healthy is None and deploy.unhealthy is None else deploy.healthy
    return Conduct(
        starts=runs.starts if deploy.starts is None else deploy.starts,
        healthy=healthy,
        unhealthy=deploy.unhealthy,
        exits=deploy.crashes,
        stops=runs.stops if deploy.stops is None else deploy.stops,
        fails="CannotStartContainerError: it is broken" if deploy.broken else None,
    )


def definition(runs: Runs, image: str, *, checked: bool) -> dict[str, Any]:
    """Of RegisterTaskDefinition."""
    container: dict[str, Any] = {"name": CONTAINER, "image": image}
    if checked:
        container["healthCheck"] = {"command": ["CMD", "/check"]}
    if runs.port is not None:
        container["portMappings"] = [{"containerPort": runs.port, "hostPort": runs.port}]
    made = {"family": runs.name, "networkMode": runs.mode, "containerDefinitions": [container]}
    if runs.runs_on == "FARGATE":
        return {**made, "cpu": str(runs.cpu), "memory": str(runs.memory), "requiresCompatibilities": ["FARGATE"]}
    container |= {"cpu": runs.cpu, "memory": runs.memory}
    return made


def service(runs: Runs, definition_arn: str, subnets: Sequence[str]) -> dict[str, Any]:
    """Of CreateService."""
    configuration: dict[str, Any] = {"minimumHealthyPercent": runs.minimum, "maximumPercent": runs.maximum}
    if runs.breaker is not None:
        configuration["deploymentCircuitBreaker"] = msgspec.to_builtins(runs.breaker)
    asked: dict[str, Any] = {
        "serviceName": runs.name,
        "taskDefinition": definition_arn,
        "desiredCount": runs.count,
        "deploymentConfiguration": configuration,
        "healthCheckGracePeriodSeconds": runs.grace,
        "placementConstraints": [_given(constraint) for constraint in runs.constraints],
        "placementStrategy": [_given(strategy) for strategy in runs.strategy],
    }
    if runs.capacity:
        asked["capacityProviderStrategy"] = [msgspec.to_builtins(item) for item in runs.capacity]
    elif runs.launch_type is not None:
        asked["launchType"] = runs.launch_type
    if runs.mode == "awsvpc":
        asked["networkConfiguration"] = {"awsvpcConfiguration": {"subnets": list(subnets)}}
    return asked


def _given(item: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(item).items() if value is not None}
