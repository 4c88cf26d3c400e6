"""DeleteTaskDefinitions: what is answered, and when a definition is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ecs_world import ACCOUNT, REGION, SCOPE, Agent, World, play

from homeport.services.ecs import deletion
from homeport.services.ecs.loops import LONGEST_SLEEP
from homeport.services.ecs.model.definition import DEFINITIONS, DELETING_SECONDS, definition_id
from homeport.services.ecs.model.task import STOPPED_TASK_SECONDS

PREFIX = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/"
LATER = DELETING_SECONDS + LONGEST_SLEEP + 1


async def deleted(world: World, *names: str) -> dict[str, Any]:
    return await world.call("DeleteTaskDefinitions", taskDefinitions=list(names))


async def inactive(world: World, *names: str) -> None:
    for name in names:
        await world.call("DeregisterTaskDefinition", taskDefinition=name)


async def listed(world: World, status: str) -> list[str]:
    answer = await world.call("ListTaskDefinitions", status=status)
    return [arn.removeprefix(PREFIX) for arn in answer["taskDefinitionArns"]]


def test_inactive_ones_are_deleted_and_the_others_say_why_not() -> None:
    async def scene(world: World) -> None:
        await world.define("web")
        await inactive(world, "web:1")
        answer = await deleted(world, "web:1", f"{PREFIX}web:1", "web:2", "web:9", "other:1")
        (definition,) = answer["taskDefinitions"]
        assert (definition["revision"], definition["status"]) == (1, "DELETE_IN_PROGRESS")
        assert definition["deleteRequestedAt"] == world.clock.wall()
        unknown = (
            "The specified task definition does not exist. Specify a valid account, family, revision and try again."
        )
        assert answer["failures"] == [
            {
                "arn": f"{PREFIX}web:2",
                "reason": "The specified task definition is still in ACTIVE status. "
                "Please deregister the target and try again.",
            },
            {"arn": f"{PREFIX}web:9", "reason": unknown},
            {"arn": f"{PREFIX}other:1", "reason": unknown},
        ]
        described = await world.call("DescribeTaskDefinition", taskDefinition="web:1")
        assert described["taskDefinition"] == definition
        assert await listed(world, "INACTIVE") == []
        assert await listed(world, "DELETE_IN_PROGRESS") == ["web:1"]
        assert (await deleted(world, "web:1"))["taskDefinitions"] == [definition], "a repeated call changes nothing"

    play(scene)


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([], "InvalidParameterException"),
        ([f"web:{n}" for n in range(1, 12)], "InvalidParameterException"),
        (["web"], "ClientException"),
        (["web:0"], "InvalidParameterException"),
        ([f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/web"], "InvalidParameterException"),
    ],
)
def test_bad_names_change_nothing(names: list[str], code: str) -> None:
    async def scene(world: World) -> None:
        await inactive(world, "web:1")
        assert (await world.refused("DeleteTaskDefinitions", taskDefinitions=[*names]))[0] == code

    play(scene)


def test_an_unused_one_is_gone_and_its_number_never_comes_back() -> None:
    async def scene(world: World) -> None:
        await inactive(world, "web:1")
        await deleted(world, "web:1")
        assert (await world.call("ListTaskDefinitionFamilies"))["families"] == ["web"]
        await asyncio.sleep(LATER)
        assert world.store.view().get(DEFINITIONS, SCOPE, definition_id("web", 1)) is None
        assert await world.refused("DescribeTaskDefinition", taskDefinition="web:1") == (
            "ClientException",
            "Unable to describe task definition.",
        )
        for status in ("ALL", "ACTIVE", "INACTIVE"):
            assert (await world.call("ListTaskDefinitionFamilies", status=status))["families"] == []
        assert await world.define("web") == f"{PREFIX}web:2"
        assert (await world.call("ListTaskDefinitionFamilies", status="INACTIVE"))["families"] == []

    play(scene)


def test_a_running_task_keeps_it_and_a_stopped_one_keeps_what_it_shows() -> None:
    async def scene(world: World) -> None:
        agent = Agent(world, "n1")
        await agent.register()
        await agent.connect()
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await agent.report(arn, "RUNNING")
        await world.becomes(arn, "RUNNING")
        await inactive(world, "web:1")
        await deleted(world, "web:1")
        refusal = await world.refused("RunTask", **world.task_params(taskDefinition="web:1"))
        assert refusal == ("ClientException", "TaskDefinition is inactive")
        await asyncio.sleep(LATER)
        assert await listed(world, "DELETE_IN_PROGRESS") == ["web:1"]

        await world.call("StopTask", cluster="demo", task=arn)
        await agent.report(arn, "STOPPED", {"status": "STOPPED"})
        stopped = await world.becomes(arn, "STOPPED")
        assert stopped["containers"][0]["image"] == "httpd:2.4"
        assert await listed(world, "DELETE_IN_PROGRESS") == []
        assert (await deleted(world, "web:1"))["failures"] != []
        assert (await world.call("ListTaskDefinitionFamilies"))["families"] == []

        await asyncio.sleep(STOPPED_TASK_SECONDS + 60)
        assert world.store.view().get(DEFINITIONS, SCOPE, definition_id("web", 1)) is None

    play(scene)


def test_a_deletion_goes_on_after_a_restart() -> None:
    async def scene(world: World) -> None:
        await inactive(world, "web:1")
        await deleted(world, "web:1")
        await world.crash()
        again = World(asyncio.get_running_loop(), world.journal, 1000)  # type: ignore[arg-type]
        await world.store.close()
        await again.start()
        await asyncio.sleep(LATER)
        assert again.store.view().get(DEFINITIONS, SCOPE, definition_id("web", 1)) is None
        await again.crash()

    play(scene)


def test_looking_at_what_is_not_being_deleted_changes_nothing() -> None:
    async def scene(world: World) -> None:
        from homeport.store import Key

        version = world.store.version
        for revision in (1, 2):
            key = Key(*SCOPE, DEFINITIONS.kind, definition_id("web", revision))
            await world.store.update(lambda tx, key=key: deletion.look(tx, key), "test")  # type: ignore[misc]
        assert world.store.version == version

    play(scene)
