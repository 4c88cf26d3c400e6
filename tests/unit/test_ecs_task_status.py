"""What ``homeport status TASK`` is told."""

from __future__ import annotations

from ecs_world import SCOPE, Agent, World, play

from homeport.services.ecs import status


def test_a_task_is_found_by_arn_or_the_start_of_its_id_and_told_with_its_definition() -> None:
    async def scene(world: World) -> None:
        agent = Agent(world, "n1")
        await agent.register()
        await agent.connect()
        await world.define(
            "two",
            {"name": "app", "image": "a", "dependsOn": [{"containerName": "init", "condition": "SUCCESS"}]},
            {"name": "init", "image": "b", "essential": False},
        )
        arns = [t["taskArn"] for t in (await world.run_task(taskDefinition="two", count=2))["tasks"]]
        view = world.store.view()
        id = arns[0].rpartition("/")[2]
        for text in (arns[0], id, id[:31]):
            assert [task.id for _, task in status.found(view, text)] == [id]
        for text in (
            "",
            "z",
            arns[0][:-1],
            arns[0].replace("demo", "other"),
            arns[0].replace("us-east-1", "eu-west-1"),
        ):
            assert status.found(view, text) == []
        told = status.task_status(view, *status.found(view, id)[0], world.gateway.metrics)
        assert told["task"]["taskArn"] == arns[0]
        assert told["depends_on"] == {"app": ["init SUCCESS"], "init": []}
        assert told["essential"] == {"app": True, "init": False}
        assert told["public_address"] is None
        assert status.found(view, id)[0][0] == SCOPE

    play(scene)
