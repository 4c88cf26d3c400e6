"""Tasks of capacity providers, and those that wait for room."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from ecs_world import SCOPE, World, play
from launch_world import arns, asked, bridge, instance, provider, reasons, room, run

from homeport.services.ecs.model.waiting import MAX_WAITING, WAITING, WAITING_SECONDS
from homeport.store.memory import MemoryJournal

OWN: list[dict[str, Any]] = [{"capacityProvider": "own", "weight": 1}]


def waiting(world: World) -> int:
    return len(world.store.view().all(WAITING, SCOPE))


def test_a_strategy_shares_tasks_among_groups() -> None:
    async def scene(world: World) -> None:
        await provider(world, "a", scaling=False)
        await provider(world, "b", scaling=False)
        first, second = await instance(world, "i1", group="a"), await instance(world, "i2", group="b")
        await instance(world, "i3")
        await bridge(world, container={"cpu": 10, "memory": 10})
        strategy = [{"capacityProvider": "a", "base": 2, "weight": 1}, {"capacityProvider": "b", "weight": 3}]
        tasks = (await run(world, count=10, capacityProviderStrategy=strategy))["tasks"]
        assert Counter(t["capacityProviderName"] for t in tasks) == {"a": 4, "b": 6}
        assert Counter(t["containerInstanceArn"] for t in tasks) == {first.arn: 4, second.arn: 6}
        assert {t["launchType"] for t in tasks} == {"EC2"}

    play(scene)


def test_without_managed_scaling_a_task_does_not_wait() -> None:
    async def scene(world: World) -> None:
        await provider(world, scaling=False)
        await bridge(world)
        answer = await run(world, count=2, capacityProviderStrategy=OWN)
        assert (answer["tasks"], reasons(answer)) == ([], ["EMPTY CAPACITY PROVIDER"])
        await instance(world, cpu=100, group="own")
        assert reasons(await run(world, capacityProviderStrategy=OWN)) == ["RESOURCE:CPU"]

    play(scene)


def test_a_task_waits_until_an_instance_joins() -> None:
    async def scene(world: World) -> None:
        await provider(world)
        await bridge(world)
        answer = await run(world, count=2, capacityProviderStrategy=OWN)
        assert answer["failures"] == []
        assert {(t["lastStatus"], "containerInstanceArn" in t) for t in answer["tasks"]} == {("PROVISIONING", False)}
        agent = await instance(world, group="own")
        for arn in arns(answer):
            await agent.sent(arn, "RUNNING")
            assert (await world.describe(arn))["containerInstanceArn"] == agent.arn
        assert waiting(world) == 0
        assert (room(world, agent).cpu_used, room(world, agent).tasks) == (512, 2)
        await agent.report(arns(answer)[0], "RUNNING", {"status": "RUNNING"})
        await world.becomes(arns(answer)[0], "RUNNING")

    play(scene)


def test_the_oldest_gets_the_room_and_one_that_is_too_big_holds_up_nobody() -> None:
    async def scene(world: World) -> None:
        await provider(world)
        agent = await instance(world, cpu=512, group="own")
        await bridge(world)
        await bridge(world, "big", container={"cpu": 4096})
        running = arns(await run(world, count=2, capacityProviderStrategy=OWN))
        [big] = arns(await run(world, "big", capacityProviderStrategy=OWN))
        [first] = arns(await run(world, capacityProviderStrategy=OWN))
        [second] = arns(await run(world, capacityProviderStrategy=OWN))
        await agent.report(running[0], "STOPPED", {"status": "STOPPED", "exitCode": 0})
        await agent.sent(first, "RUNNING")
        assert [(await world.describe(arn))["lastStatus"] for arn in (big, second)] == ["PROVISIONING"] * 2

    play(scene)


def test_after_one_that_waits_its_like_wait_without_another_look(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(world: World) -> None:
        await provider(world)
        await bridge(world)
        agent = await instance(world, cpu=600, group="own")
        looks = asked(monkeypatch, "choose")
        answer = await run(world, count=10, capacityProviderStrategy=OWN)
        assert Counter(t.get("containerInstanceArn") for t in answer["tasks"]) == {agent.arn: 2, None: 8}
        assert len(looks) == 4, "two find room, one does not, and the queue has a look"
        assert waiting(world) == 8

    play(scene)


def test_an_awsvpc_task_gets_its_interface_with_its_place() -> None:
    async def scene(world: World) -> None:
        await provider(world)
        await bridge(world, "vpc", networkMode="awsvpc")
        [arn] = arns(await run(world, "vpc", capacityProviderStrategy=OWN, networkConfiguration=world.network()))
        assert (await world.describe(arn))["attachments"] == []
        agent = await instance(world, group="own")
        await agent.sent(arn, "RUNNING")
        task = await world.describe(arn)
        assert (len(task["attachments"]), task["availabilityZone"]) == (1, "us-east-1a")

    play(scene)


def test_a_task_that_waits_too_long_says_why_it_ended() -> None:
    async def scene(world: World) -> None:
        await provider(world)
        await bridge(world)
        [nobody] = arns(await run(world, capacityProviderStrategy=OWN))
        stopped = await world.becomes(nobody, "STOPPED")
        assert stopped["stoppedAt"] - stopped["createdAt"] >= WAITING_SECONDS
        assert (stopped["stopCode"], stopped["stoppedReason"]) == (
            "TaskFailedToStart",
            "TaskFailedToStart: EMPTY CAPACITY PROVIDER",
        )
        await instance(world, cpu=100, group="own")
        [small] = arns(await run(world, capacityProviderStrategy=OWN))
        stopped = await world.becomes(small, "STOPPED")
        assert stopped["stoppedReason"] == "TaskFailedToStart: RESOURCE:CPU"
        assert waiting(world) == 0

    play(scene)


def test_a_waiting_task_can_be_stopped() -> None:
    async def scene(world: World) -> None:
        await provider(world)
        await bridge(world)
        [arn] = arns(await run(world, capacityProviderStrategy=OWN))
        refused = await world.refused(
            "PutClusterCapacityProviders", cluster="demo", capacityProviders=[], defaultCapacityProviderStrategy=[]
        )
        assert refused[0] == "ResourceInUseException"
        await world.call("StopTask", cluster="demo", task=arn)
        await world.becomes(arn, "STOPPED")
        assert waiting(world) == 0
        agent = await instance(world, group="own")
        assert room(world, agent).tasks == 0

    play(scene)


def test_waiting_survives_a_crash() -> None:
    async def scene(world: World) -> None:
        await provider(world)
        await bridge(world)
        started.extend(arns(await run(world, capacityProviderStrategy=OWN)))
        journals.append(world.journal)

    async def after(world: World) -> None:
        agent = await instance(world, group="own")
        await agent.sent(started[0], "RUNNING")

    started: list[str] = []
    journals: list[MemoryJournal] = []
    play(scene)
    play(after, journals[0])


def test_a_cluster_has_so_many_waiting_tasks() -> None:
    async def scene(world: World) -> None:
        await provider(world)
        await bridge(world)
        for _ in range(MAX_WAITING // 10):
            assert (await run(world, count=10, capacityProviderStrategy=OWN))["failures"] == []
        answer = await run(world, capacityProviderStrategy=OWN)
        assert (answer["tasks"], reasons(answer)) == ([], ["EMPTY CAPACITY PROVIDER"])
        agent = await instance(world, cpu=256 * MAX_WAITING, memory=512 * MAX_WAITING, group="own")
        async with world.store.watch(WAITING.kind) as watch:
            while waiting(world):
                await watch.changes()
        assert room(world, agent).tasks == MAX_WAITING

    play(scene)


def test_the_default_strategy_of_the_cluster_is_followed() -> None:
    async def scene(world: World) -> None:
        await provider(world)
        await bridge(world)
        await world.call(
            "PutClusterCapacityProviders",
            cluster="demo",
            capacityProviders=["own"],
            defaultCapacityProviderStrategy=OWN,
        )
        [task] = (await run(world))["tasks"]
        assert (task["capacityProviderName"], task["lastStatus"]) == ("own", "PROVISIONING")

    play(scene)
