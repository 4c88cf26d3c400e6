"""State change events of services and tasks as they run, from the log and live, on virtual time."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Any

from botocore.validate import ParamValidator
from ecs_world import MODEL
from launch_world import bridge
from service_world import Conduct, ServiceWorld, play

from homeport.services.ecs import state_events
from homeport.store import follow, past


async def logged(world: ServiceWorld, after: int = 0) -> list[dict[str, Any]]:
    """All events of the log."""
    await world.store.read(lambda view: view.version)  # what is staged is in the log then
    found = []
    async with aclosing(past(world.store, state_events.KINDS, after)) as parts:
        async for part in parts:
            found += state_events.events(world.store.view(), part.changes)
    return found


async def run_small(world: ServiceWorld) -> str:
    """The ARN of a task of 256 units on a container instance."""
    small = await bridge(world)
    answer = await world.call("RunTask", cluster="demo", taskDefinition=small, launchType="EC2")
    assert answer["failures"] == []
    return str(answer["tasks"][0]["taskArn"])


def named(events: list[dict[str, Any]], what: str) -> list[str]:
    return [event["detail"]["eventName"] for event in events if event["detail-type"] == what]


def test_a_service_that_starts_and_is_updated() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.raw_service("web", 2)
        await world.steady("web")
        await world.raw_update("web", await world.define("web"))
        await world.until(lambda: len(world.deployments("web")) == 1)
        await world.steady("web")
        events = await logged(world)
        assert (
            named(events, state_events.DEPLOYMENT)
            == [
                "SERVICE_DEPLOYMENT_IN_PROGRESS",
                "SERVICE_DEPLOYMENT_COMPLETED",
            ]
            * 2
        )
        assert named(events, state_events.ACTION).count("SERVICE_STEADY_STATE") == 2
        for task in world.tasks("web", all=True):
            told = [event for event in events if event["resources"] == [task.arn]]
            versions = [event["detail"]["version"] for event in told]
            assert versions == sorted(set(versions)), "each version of a task once, in order"
            assert told[0]["detail"]["lastStatus"] == "PROVISIONING"
            assert told[-1]["detail"]["lastStatus"] == task.last_status.name
        assert not any(event["detail-type"] == state_events.INSTANCE for event in events)
        assert len({event["id"] for event in events}) == len(events)
        assert events == await logged(world), "the same events each time"

    play(scene)


def test_details_are_awss_own_objects() -> None:
    shapes = {state_events.TASK: "Task", state_events.INSTANCE: "ContainerInstance"}

    async def scene(world: ServiceWorld) -> None:
        await world.instance("i1")
        await run_small(world)
        await world.raw_service("web", 1)
        await world.steady("web")
        seen = set()
        for event in await logged(world):
            assert json.loads(json.dumps(event)) == event
            shape = shapes.get(event["detail-type"])
            if shape is None:
                continue
            seen.add(shape)
            known = {"updatedAt", *({"clusterArn"} if shape == "ContainerInstance" else ())}
            detail = {n: v for n, v in event["detail"].items() if n not in known}
            model = MODEL.shape_for(shape)
            assert detail.keys() <= model.members.keys()
            assert not (errors := ParamValidator().validate(detail, model)).has_errors(), errors.generate_report()
        assert seen == set(shapes.values())

    play(scene)


def test_placing_and_stopping_on_an_instance_changes_what_is_left() -> None:
    async def scene(world: ServiceWorld) -> None:
        node = await world.instance("i1", cpu=1024)
        arn = await run_small(world)
        await world.becomes(arn, "RUNNING")
        node.kill(arn)
        await world.becomes(arn, "STOPPED")
        left = []
        for event in await logged(world):
            if event["resources"] == [node.arn]:
                resources = {r["name"]: r["integerValue"] for r in event["detail"]["remainingResources"]}
                left.append((event["detail"]["agentConnected"], resources["CPU"]))
        assert list(dict.fromkeys(left)) == [(False, 1024), (True, 1024), (True, 768)]
        assert left[-1] == (True, 1024)

    play(scene, pool=False)


def test_live_events_are_those_of_the_log() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = Conduct(fails="CannotPullContainerError: no such image")
        live: list[dict[str, Any]] = []
        async with aclosing(follow(world.store, state_events.KINDS, 0)) as parts:
            await world.raw_service("web", 1)
            async for part in parts:
                live += state_events.events(world.store.view(), part.changes)
                if any(event["detail"].get("stopCode") == "TaskFailedToStart" for event in live):
                    break
        assert live == (await logged(world))[: len(live)]

    play(scene)
