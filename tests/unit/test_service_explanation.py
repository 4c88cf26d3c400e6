"""What ``homeport explain SERVICE`` says of a service's next task."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_world import SCOPE
from launch_world import bridge
from service_world import ServiceWorld, play

from homeport.core.errors import AwsError
from homeport.services import ecs


def explained(world: ServiceWorld, what: str) -> dict[str, Any]:
    return ecs.explanation.explain(world.store.view(), SCOPE, what, None, None)


def test_why_the_next_task_of_a_service_has_no_room() -> None:
    async def scene(world: ServiceWorld) -> None:
        big, small = await world.instance("big", cpu=600, disk="ssd"), await world.instance("small", cpu=100)
        slow = await world.instance("slow", cpu=2048)
        await bridge(world)
        constraint = ({"type": "memberOf", "expression": "attribute:disk exists"},)
        await world.raw_service("shop", 3, "bridge", constraints=constraint)
        await world.until(lambda: world.running("shop") == 2)
        await world.until(lambda: world.service("shop").short)
        told = explained(world, "demo/shop")
        assert told["what"] == world.service("shop").arn
        assert told["needs"] == {"cpu": 256, "memory": 512, "tcp": [], "udp": []}
        assert {i["arn"]: i["reason"] for i in told["instances"]} == {
            big.arn: "RESOURCE:CPU",
            small.arn: "RESOURCE:CPU",
            slow.arn: "MemberOf placement constraint unsatisfied.",
        }
        assert told == explained(world, "shop") == explained(world, world.service("shop").arn)

    play(scene, pool=False)


def test_a_name_is_a_definitions_first() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.raw_service("web", 1)
        view = world.store.view()
        assert ":task-definition/web:1" in ecs.explanation.explain(view, SCOPE, "web", "demo", None)["what"]
        assert explained(world, "demo/web")["what"] == world.service("web").arn
        assert explained(world, "demo/web")["launch_type"] == "FARGATE"
        with pytest.raises(AwsError, match="No task, task definition or service is named 'demo/none'"):
            explained(world, "demo/none")

    play(scene)
