"""The telemetry connection: what a node tells of health, and what callers see of it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from ecs_world import Agent, FakeSocket, World, node, play

from homeport.agentapi import (
    AckPublishHealth,
    AckPublishInstanceStatus,
    AckPublishMetric,
    BadRequestException,
    ContainerHealth,
    ContainerMetric,
    HeartbeatMessage,
    InstanceStatus,
    InstanceStatusMetadata,
    PublishHealthRequest,
    PublishInstanceStatusRequest,
    PublishMetricsRequest,
    StatsSet,
    TaskHealth,
    TaskMetric,
    TelemetryMetadata,
    decode,
    encode,
)
from homeport.core.errors import AwsError
from homeport.services.ecs import lifecycle, metrics
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.task import Container, Task
from homeport.services.ecs.status import found, task_status
from homeport.services.ecs.views.task import health

HEADERS = "Authorization: AWS4-HMAC-SHA256 x\r\nHost: 127.0.0.1\r\nX-Amz-Date: 20260101T000000Z\r\n\r\n"


async def joined(world: World, name: str = "n1") -> Agent:
    agent = Agent(world, name)
    await agent.register()
    await agent.connect()
    return agent


async def telemetry(world: World, agent: Agent) -> tuple[FakeSocket, asyncio.Task[None]]:
    socket = FakeSocket()
    query = {"cluster": "default", "containerInstance": agent.arn}
    return socket, asyncio.create_task(world.gateway.session(agent.principal, query, socket))


async def hears(socket: FakeSocket, kind: type[Any]) -> Any:
    while True:
        frame = await asyncio.wait_for(socket.to_agent.get(), 600)
        assert frame is not None
        if isinstance(message := decode(frame), kind):
            return message


def told(arn: str, status: str | None, name: str = "app") -> str:
    tasks = (TaskHealth(arn, "web", "1", (ContainerHealth(name, status, 1.0),)),)
    return encode(PublishHealthRequest(TelemetryMetadata("default", "i", "m1", True), tasks, 2.0))


def test_it_is_kept_alive_and_what_makes_no_sense_is_ignored() -> None:
    async def scene(world: World) -> None:
        socket, serving = await telemetry(world, await joined(world))
        for strange in (
            "whatever",
            "",
            HEADERS,
            HEADERS + "{",
            '{"type":"PublishHealthRequest","message":{"tasks":3}}',
        ):
            socket.to_server.put_nowait(strange)
        await asyncio.sleep(50)
        assert socket.to_agent.qsize() == 3
        assert isinstance(decode(socket.to_agent.get_nowait() or ""), HeartbeatMessage)
        await socket.close()
        await serving

    play(scene)


def test_nobody_tells_the_health_of_another_instance() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        with pytest.raises(AwsError) as caught:
            await world.gateway.session(node("n2"), {"containerInstance": agent.arn}, FakeSocket())
        assert caught.value.code == "AccessDeniedException"

    play(scene)


def test_every_message_is_acknowledged() -> None:
    async def scene(world: World) -> None:
        socket, _ = await telemetry(world, await joined(world))
        socket.to_server.put_nowait(
            HEADERS + encode(PublishMetricsRequest(TelemetryMetadata(idle=True, message_id="m0")))
        )
        assert (await hears(socket, AckPublishMetric)).message == "m0"
        socket.to_server.put_nowait(HEADERS + told("arn:aws:ecs:us-east-1:123456789012:task/demo/none", "HEALTHY"))
        assert (await hears(socket, AckPublishHealth)).message == "m1"
        await socket.close()

    play(scene)


def test_health_is_shown_as_it_was_last_told() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = str((await world.run_task())["tasks"][0]["taskArn"])
        await agent.sent(arn, "RUNNING")
        await agent.report(arn, "RUNNING")
        await world.becomes(arn, "RUNNING")
        stranger = await joined(world, "n2")
        other, _ = await telemetry(world, stranger)
        other.to_server.put_nowait(told(arn, "UNHEALTHY"))
        await hears(other, AckPublishHealth)
        assert (await world.describe(arn))["containers"][0]["healthStatus"] == "UNKNOWN"  # not its task
        socket, _ = await telemetry(world, agent)
        for status, shown in (
            ("HEALTHY", "HEALTHY"),
            (None, "UNKNOWN"),
            ("UNHEALTHY", "UNHEALTHY"),
            ("odd", "UNHEALTHY"),
        ):
            version = (await world.describe(arn))["version"]
            socket.to_server.put_nowait(told(arn, status))
            await hears(socket, AckPublishHealth)
            task = await world.describe(arn)
            assert task["containers"][0]["healthStatus"] == shown
            assert (task["version"] > version) == (status != "odd")
        await socket.close()  # what was heard last stays
        assert (await world.describe(arn))["containers"][0]["healthStatus"] == "UNHEALTHY"
        await other.close()

    play(scene)


def task(*containers: Container) -> Task:
    return Task(
        id="t",
        cluster_arn="arn:aws:ecs:us-east-1:123456789012:cluster/demo",
        definition_arn="arn:aws:ecs:us-east-1:123456789012:task-definition/web:1",
        launch_type="FARGATE",
        group="family:web",
        cpu=256,
        memory=512,
        created_at=0.0,
        containers=containers,
    )


@pytest.mark.parametrize(
    ("statuses", "aggregate"),
    [
        ({}, "UNKNOWN"),
        ({"a": "HEALTHY"}, "UNKNOWN"),  # b isn't known yet
        ({"a": "HEALTHY", "b": "HEALTHY"}, "HEALTHY"),
        ({"a": "UNHEALTHY"}, "UNHEALTHY"),
        ({"a": "HEALTHY", "b": "HEALTHY", "side": "UNHEALTHY"}, "HEALTHY"),  # not essential
        ({"a": "HEALTHY", "b": "HEALTHY", "unchecked": "UNHEALTHY"}, "HEALTHY"),
    ],
)
def test_a_task_is_as_healthy_as_its_worst_essential_container(statuses: dict[str, str], aggregate: str) -> None:
    containers = tuple(Container(id=n, name=n, essential=n != "side") for n in ("a", "b", "side", "unchecked"))
    check = {"healthCheck": {"command": ["CMD", "true"]}}
    members = {"containerDefinitions": [{"name": n, **check} for n in ("a", "b", "side")] + [{"name": "unchecked"}]}
    definition = TaskDefinition(
        family="web",
        revision=1,
        arn="",
        status="ACTIVE",
        members=members,
        requires_attributes=(),
        compatibilities=(),
        registered_at=0.0,
        registered_by="",
    )
    assert health(lifecycle.health_told(task(*containers), statuses), definition) == aggregate


def test_a_container_that_is_over_keeps_its_last_health() -> None:
    over = task(Container(id="a", name="a", status="STOPPED", health="HEALTHY"))
    assert lifecycle.health_told(over, {"a": "UNHEALTHY"}) is over


def measured(arn: str, *, name: str = "app", cpu: StatsSet | None = None, id: str = "m1") -> str:
    cpu = cpu or StatsSet(min=1.0, max=3.0, sample_count=4, sum=8.0)
    memory = StatsSet(min=10.0, max=10.0, sample_count=1, sum=10.0)
    task = TaskMetric(arn, "web", "1", (ContainerMetric(name, cpu, memory),))
    return encode(PublishMetricsRequest(TelemetryMetadata("default", "i", id, True), (task,), 2.0))


def test_the_latest_metrics_are_kept_of_own_tasks_while_they_run() -> None:
    async def scene(world: World) -> None:
        def seen() -> Any:
            view = world.store.view()
            return task_status(view, *found(view, arn)[0], world.gateway.metrics)["metrics"]

        agent, stranger = await joined(world), await joined(world, "n2")
        arn = str((await world.run_task())["tasks"][0]["taskArn"])
        await agent.sent(arn, "RUNNING")
        await agent.report(arn, "RUNNING")
        await world.becomes(arn, "RUNNING")
        other, _ = await telemetry(world, stranger)
        other.to_server.put_nowait(measured(arn))
        assert (await hears(other, AckPublishMetric)).message == "m1"
        assert seen() is None, "another node's task"
        socket, _ = await telemetry(world, agent)
        for told in (measured("nothing"), measured(arn + "0"), measured(arn, name="stranger")):
            socket.to_server.put_nowait(HEADERS + told)
            await hears(socket, AckPublishMetric)
        assert seen()["containers"] == {}
        version = world.store.version
        socket.to_server.put_nowait(HEADERS + measured(arn))
        await hears(socket, AckPublishMetric)
        assert seen()["containers"] == {
            "app": {
                "cpu": {"average": 2.0, "minimum": 1.0, "maximum": 3.0},
                "memory": {"average": 10.0, "minimum": 10.0, "maximum": 10.0},
            }
        }
        assert seen()["task"] == {"cpu": {"average": 2.0}, "memory": {"average": 10.0}}
        assert world.store.version == version, "nothing of it is stored"
        gc.collect()
        kept = [part for key, use in world.gateway.metrics._latest.items() for part in (key, use, use.containers)]
        assert [gc.is_tracked(part) for part in kept] == [False] * 3, "nothing for the garbage collector to visit"
        bad = measured(arn, cpu=StatsSet(min=5.0, max=1.0, sample_count=1, sum=3.0))
        socket.to_server.put_nowait(bad)
        assert "cpuStatsSet" in (await hears(socket, BadRequestException)).message
        assert seen()["task"] == {"cpu": {"average": 2.0}, "memory": {"average": 10.0}}
        await agent.report(arn, "STOPPED")
        await world.becomes(arn, "STOPPED")
        socket.to_server.put_nowait(measured(arn, id="m2"))
        assert (await hears(socket, AckPublishMetric)).message == "m2"
        assert (seen(), len(world.gateway.metrics)) == (None, 0)
        await socket.close()
        await other.close()

    play(scene)


def test_the_health_of_an_instance_is_acknowledged() -> None:
    async def scene(world: World) -> None:
        socket, _ = await telemetry(world, await joined(world))
        for told in ("OK", "IMPAIRED", "INSUFFICIENT_DATA", "INITIALIZING"):
            about = InstanceStatusMetadata("default", "i", told)
            socket.to_server.put_nowait(
                HEADERS + encode(PublishInstanceStatusRequest(about, (InstanceStatus("ContainerRuntime", told),), 1.0))
            )
            assert (await hears(socket, AckPublishInstanceStatus)).message == told
        socket.to_server.put_nowait(encode(PublishInstanceStatusRequest(statuses=(InstanceStatus("x", "FINE"),))))
        assert "FINE" in (await hears(socket, BadRequestException)).message
        await socket.close()

    play(scene)


@pytest.mark.parametrize(
    ("numbers", "sound"),
    [
        ((0.0, 0.0, 1, 0.0), True),
        ((0.1, 0.3, 3, 0.6000000000000001), True),
        ((1.0, 1.0, 20, 20.000001), True),
        ((1.0, 2.0, 0, 0.0), False),
        ((-1.0, 2.0, 2, 1.0), False),
        ((2.0, 1.0, 2, 3.0), False),
        ((1.0, 2.0, 2, 4.5), False),
        ((1.0, 2.0, 2, 1.5), False),
        ((0.0, float("inf"), 2, 1.5), False),
        ((0.0, float("nan"), 2, 1.5), False),
        ((0.0, 1.0, 2, float("nan")), False),
    ],
)
def test_statistics_must_be_possible(numbers: tuple[float, float, int, float], sound: bool) -> None:
    least, most, count, total = numbers
    stats = StatsSet(min=least, max=most, sample_count=count, sum=total)
    for metric in (ContainerMetric("a", cpu_stats_set=stats), ContainerMetric("a", memory_stats_set=stats)):
        request = PublishMetricsRequest(task_metrics=(TaskMetric("t", container_metrics=(metric,)),))
        assert (metrics.nonsense(request) is None) == sound


def test_there_are_no_more_tasks_and_containers_than_can_be() -> None:
    def told(tasks: int, *names: str) -> str | None:
        task = TaskMetric("t", container_metrics=tuple(map(ContainerMetric, names)))
        return metrics.nonsense(PublishMetricsRequest(task_metrics=(task,) * tasks))

    assert told(10, *"abcdefghij") is None
    assert told(11)
    assert told(1, *"abcdefghijk")
    assert told(1, "a", "a")
