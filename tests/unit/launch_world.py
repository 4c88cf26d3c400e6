"""Clusters of container instances whose agents tests play, for what RunTask and StartTask do with them."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_world import SCOPE, Agent, World

from homeport.services.ecs import launch
from homeport.services.ecs.model.instance import INSTANCES, ROOMS, Instance, Room
from homeport.services.ecs.placement import Demand

CAPABILITIES = (
    "ecs.capability.task-eni",
    "com.amazonaws.ecs.capability.docker-remote-api.1.18",
    "com.amazonaws.ecs.capability.docker-remote-api.1.21",
)
CLUSTER = f"arn:aws:ecs:us-east-1:{SCOPE.account}:cluster/demo"


def asked(monkeypatch: pytest.MonkeyPatch, question: str) -> list[Demand]:
    """What placement is asked from here on when tasks are launched."""
    heard: list[Demand] = []
    answer = getattr(launch.placement, question)

    def listen(demand: Demand, *rest: Any) -> Any:
        heard.append(demand)
        return answer(demand, *rest)

    monkeypatch.setattr(launch.placement, question, listen)
    return heard


async def instance(
    world: World, name: str = "i1", *, cpu: int = 2048, memory: int = 4096, group: str = "", **attributes: str
) -> Agent:
    """An agent of a container instance of ``demo``, registered and connected. ``group``: its Auto Scaling group."""
    agent = Agent(world, name)
    values = {"homeport.network": "1", "homeport.spec": "1", **dict.fromkeys(CAPABILITIES, ""), **attributes}
    if group:
        values["homeport.auto-scaling-group"] = group
    answer = await world.call(
        "RegisterContainerInstance",
        agent.principal,
        cluster="demo",
        totalResources=[
            {"name": "CPU", "type": "INTEGER", "integerValue": cpu},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": memory},
            {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22"]},
        ],
        attributes=[{"name": n, "value": v} for n, v in values.items()],
    )
    agent.arn = answer["containerInstance"]["containerInstanceArn"]
    await agent.connect()
    return agent


def room(world: World, agent: Agent) -> Room:
    found = world.store.view().get(ROOMS, SCOPE, agent.arn.rpartition("/")[2])
    assert found is not None
    return found


def record(world: World, agent: Agent) -> Instance:
    found = world.store.view().get(INSTANCES, SCOPE, agent.arn.rpartition("/")[2])
    assert found is not None
    return found


async def bridge(world: World, family: str = "bridge", **members: Any) -> str:
    """A definition of one container of 256 units and 512 MiB in the network mode bridge, without sizes of the task."""
    container = {"name": "app", "image": "httpd:2.4", "cpu": 256, "memory": 512, **members.pop("container", {})}
    made = await world.call(
        "RegisterTaskDefinition",
        family=family,
        networkMode=members.pop("networkMode", "bridge"),
        containerDefinitions=[container],
        **members,
    )
    return str(made["taskDefinition"]["taskDefinitionArn"])


async def provider(world: World, name: str = "own", *, scaling: bool = True) -> None:
    """A capacity provider over the Auto Scaling group of its name, associated with ``demo``."""
    await world.call(
        "CreateCapacityProvider",
        name=name,
        autoScalingGroupProvider={
            "autoScalingGroupArn": name,
            "managedScaling": {"status": "ENABLED" if scaling else "DISABLED"},
        },
    )
    known = await world.call("DescribeClusters", clusters=["demo"])
    providers = [*known["clusters"][0]["capacityProviders"], name]
    await world.call(
        "PutClusterCapacityProviders", cluster="demo", capacityProviders=providers, defaultCapacityProviderStrategy=[]
    )


async def run(world: World, definition: str = "bridge", **params: Any) -> dict[str, Any]:
    return await world.call("RunTask", cluster="demo", taskDefinition=definition, **params)


def arns(answer: dict[str, Any]) -> list[str]:
    return [task["taskArn"] for task in answer["tasks"]]


def reasons(answer: dict[str, Any]) -> list[str]:
    return [failure["reason"] for failure in answer["failures"]]
