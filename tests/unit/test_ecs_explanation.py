"""What ``homeport explain`` and ``homeport interrupt`` get from the control plane."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_world import SCOPE, Agent, World, play
from launch_world import arns, bridge, instance, provider, run

from homeport.core.errors import AwsError
from homeport.services import ecs


def explained(world: World, what: str, **more: Any) -> dict[str, Any]:
    asked = {"cluster": "demo", "launch_type": None, **more}
    return ecs.explanation.explain(world.store.view(), SCOPE, what, asked["cluster"], asked["launch_type"])


def answers(world: World, what: str, **more: Any) -> dict[str, str | None]:
    return {i["arn"]: i["reason"] for i in explained(world, what, **more)["instances"]}


def test_a_definition_and_its_tasks() -> None:
    async def scene(world: World) -> None:
        a, b = await instance(world, "a", disk="ssd"), await instance(world, "b", cpu=100, disk="ssd")
        c = await instance(world, "c")
        await bridge(
            world,
            container={"portMappings": [{"containerPort": 80, "hostPort": 80}]},
            placementConstraints=[{"type": "memberOf", "expression": "attribute:disk exists"}],
        )
        unsatisfied = "MemberOf placement constraint unsatisfied."
        assert answers(world, "bridge") == {a.arn: None, b.arn: "RESOURCE:CPU", c.arn: unsatisfied}
        [task] = (await run(world))["tasks"]
        told = explained(world, task["taskArn"][-32:][:12])
        assert told["what"] == task["taskArn"]
        assert told["needs"] == {"cpu": 256, "memory": 512, "tcp": [80], "udp": []}
        by_arn = {i["arn"]: (i["here"], i["reason"]) for i in told["instances"]}
        assert by_arn == {a.arn: (True, "RESOURCE:PORTS"), b.arn: (False, "RESOURCE:CPU"), c.arn: (False, unsatisfied)}

    play(scene)


def test_fargate_shows_the_pool_and_a_waiting_task_its_own_constraints() -> None:
    async def scene(world: World) -> None:
        node = Agent(world, "n1")
        await node.register()
        await node.connect()
        assert answers(world, "web:1") == {node.arn: None}
        await provider(world)
        agent = await instance(world, group="own")
        await bridge(world)
        constraint = [{"type": "memberOf", "expression": "attribute:none exists"}]
        strategy = [{"capacityProvider": "own"}]
        [arn] = arns(await run(world, capacityProviderStrategy=strategy, placementConstraints=constraint))
        assert answers(world, arn) == {agent.arn: "MemberOf placement constraint unsatisfied."}
        assert answers(world, "bridge") == {agent.arn: None}

    play(scene)


@pytest.mark.parametrize(
    ("what", "more", "text"),
    [
        ("nothing", {}, "No task, task definition or service is named"),
        ("web", {"cluster": "none"}, "Cluster not found."),
        ("web", {"launch_type": "EXTERNAL"}, "does not support launch_type EXTERNAL"),
    ],
)
def test_what_can_not_be_explained(what: str, more: dict[str, Any], text: str) -> None:
    async def scene(world: World) -> None:
        with pytest.raises(AwsError, match=text):
            explained(world, what, **more)

    play(scene)


def test_an_interruption_stops_a_spot_task_and_no_other() -> None:
    async def scene(world: World) -> None:
        node = Agent(world, "n1")
        await node.register()
        await node.connect()
        await world.call(
            "PutClusterCapacityProviders",
            cluster="demo",
            capacityProviders=["FARGATE", "FARGATE_SPOT"],
            defaultCapacityProviderStrategy=[],
        )

        async def started(provider: str) -> str:
            params = world.task_params(capacityProviderStrategy=[{"capacityProvider": provider}])
            del params["launchType"]
            return arns(await world.call("RunTask", **params))[0]

        async def interrupt(arn: str) -> None:
            task = world.task(arn)
            await world.store.update(lambda tx: ecs.interruption.interrupt(tx, SCOPE, task), "test")

        spot, plain = await started("FARGATE_SPOT"), await started("FARGATE")
        await node.sent(spot, "RUNNING")
        await interrupt(spot)
        await node.sent(spot, "STOPPED")
        task = await world.describe(spot)
        assert (task["stopCode"], task["stoppedReason"]) == ("SpotInterruption", "Your Spot Task was interrupted.")
        with pytest.raises(AwsError, match="stops already"):
            await interrupt(spot)
        with pytest.raises(AwsError, match="this one runs on FARGATE"):
            await interrupt(plain)
        assert (await world.describe(plain))["desiredStatus"] == "RUNNING"

    play(scene)
