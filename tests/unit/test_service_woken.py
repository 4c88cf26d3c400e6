"""What wakes services that wait for room, beside room that comes free: none of it is noticed only by the minute."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ecs_world import REGION
from launch_world import bridge
from service_world import Node, ServiceWorld, play

SOON = 2.0  # seconds: far fewer than those after which a service without room is looked at anyway

Change = Callable[[ServiceWorld, Node], Awaitable[Any]]


async def waiting(world: ServiceWorld, *constraints: str, **members: Any) -> None:
    """A service of one task that has no room, and has said so."""
    wanted = [{"type": "memberOf", "expression": text} for text in constraints]
    await world.call(
        "CreateService",
        cluster="demo",
        serviceName="web",
        taskDefinition="bridge",
        desiredCount=1,
        placementConstraints=wanted,
        **members,
    )
    await world.until(lambda: world.service("web").short, 5)
    await world.clock.sleep(5)
    assert world.tasks("web") == []


async def _set_state(world: ServiceWorld, node: Node, status: str) -> None:
    await world.call("UpdateContainerInstancesState", cluster="demo", containerInstances=[node.arn], status=status)


async def _attribute(world: ServiceWorld, node: Node) -> None:
    attribute = {"name": "stack", "value": "prod", "targetId": node.arn}
    await world.call("PutAttributes", cluster="demo", attributes=[attribute])


async def _register(world: ServiceWorld, node: Node) -> None:
    await world.instance("second", stack="prod")


async def _begin_neighbour(world: ServiceWorld, node: Node) -> None:
    await world.call("StartTask", cluster="demo", taskDefinition="bridge", group="db", containerInstances=[node.arn])


@pytest.mark.feature("A service without room starts its task as soon as an instance will do, whatever changed")
@pytest.mark.parametrize(
    ("constraint", "change"),
    [
        pytest.param("attribute:stack == prod", _attribute, id="an attribute is put"),
        pytest.param("attribute:stack == prod", _register, id="an instance is registered"),
        pytest.param("task:group == db", _begin_neighbour, id="the neighbour that it asks for begins"),
    ],
)
def test_an_instance_that_will_do_now_is_taken_at_once(constraint: str, change: Change) -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        node = await world.instance("first")
        await waiting(world, constraint)
        await change(world, node)
        await world.until(lambda: len(world.tasks("web")) == 1, SOON)

    play(scene, pool=False)


def test_an_instance_that_is_active_again_is_taken_at_once() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        node = await world.instance("first")
        await _set_state(world, node, "DRAINING")
        await waiting(world)
        await _set_state(world, node, "ACTIVE")
        await world.until(lambda: len(world.tasks("web")) == 1, SOON)

    play(scene, pool=False)


def test_an_agent_that_is_back_is_given_its_task_at_once() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        node = await world.instance("first")
        await node.hang_up()
        await waiting(world)
        node.heard.clear()
        await node.connect()
        await world.until(lambda: len(world.tasks("web")) == 1, SOON)

    play(scene, pool=False)


def test_instances_of_a_capacity_provider_that_a_cluster_gets_are_taken_at_once() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        group = {"managedScaling": {"status": "DISABLED"}}
        for name in ("own", "other"):
            await world.call(
                "CreateCapacityProvider",
                name=name,
                autoScalingGroupProvider={"autoScalingGroupArn": name, **group},
            )
        await _providers(world, "own")
        await world.instance("first", group="other")
        await waiting(world, capacityProviderStrategy=[{"capacityProvider": "own", "weight": 1}])
        await world.instance("second", group="own")
        await world.until(lambda: len(world.tasks("web")) == 1, SOON)

    play(scene, pool=False)


async def _providers(world: ServiceWorld, *names: str) -> None:
    await world.call(
        "PutClusterCapacityProviders", cluster="demo", capacityProviders=[*names], defaultCapacityProviderStrategy=[]
    )


def test_fargate_tasks_take_a_node_that_joins_at_once() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.call("CreateService", **world.task_params(serviceName="web", desiredCount=1))
        await world.until(lambda: world.service("web").short, 5)
        await world.clock.sleep(5)
        await world.node()
        await world.until(lambda: len(world.tasks("web")) == 1, SOON)
        assert REGION in world.tasks("web")[0].cluster_arn

    play(scene, pool=False)
