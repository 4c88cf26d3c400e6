"""The agents of container instances: connections, lost ones, and reports that make no sense."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ecs_world import ROOT, SCOPE, FakeSocket, World, node, play
from instance_world import ClusterAgent, joined, placed, record, registered, room, shown

from homeport.agentapi import (
    AckPublishInstanceStatus,
    BadRequestException,
    InstanceStatus,
    Message,
    PublishInstanceStatusRequest,
    TaskManifestMessage,
    decode,
    encode,
)
from homeport.core.errors import AwsError
from homeport.services.ecs.instances import KEPT_SECONDS
from homeport.services.ecs.model.instance import INSTANCES
from homeport.services.ecs.model.task import NodeStatus, TaskStatus

INVALID, DENIED = "InvalidParameterException", "AccessDeniedException"


async def refused_connection(world: World, agent: ClusterAgent, **query: str) -> str:
    socket = FakeSocket()
    with pytest.raises(AwsError) as caught:
        await world.gateway.session(agent.principal, query or {"containerInstanceArn": agent.arn}, socket)
    assert socket.to_agent.empty()
    return caught.value.code


class Telemetry:
    """A telemetry connection whose agent is the test."""

    def __init__(self, world: World, agent: ClusterAgent) -> None:
        self.socket = FakeSocket()
        query = {"cluster": "demo", "containerInstance": agent.arn}
        self.session = asyncio.create_task(world.gateway.session(agent.principal, query, self.socket))

    async def tell(self, **statuses: str) -> Message | None:
        """The answer to what is told of the instance's parts."""
        told = tuple(InstanceStatus(type=part, status=status) for part, status in statuses.items())
        self.socket.to_server.put_nowait(encode(PublishInstanceStatusRequest(statuses=told)))
        while True:
            frame = await self.socket.to_agent.get()
            message = decode(frame) if frame is not None else None
            if isinstance(message, AckPublishInstanceStatus | BadRequestException):
                return message


# --- connections ----------------------------------------------------------------------------------------------------


def test_a_lost_agent_leaves_its_tasks_as_they_are() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        assert (await shown(world, agent.arn))["agentConnected"]
        task = world.task(await placed(world, agent.arn, "1"))
        await agent.hang_up()
        for seconds in (1, 120, 86_400):
            await world.clock.sleep(seconds)
            assert not (await shown(world, agent.arn))["agentConnected"]
            assert world.task(task.arn) == task
            found = room(world, agent.arn)
            assert found is not None
            assert (found.open, found.connected, found.cpu_used) == (True, False, 256)
        await agent.connect()
        view = await shown(world, agent.arn)
        assert (view["agentConnected"], view["runningTasksCount"]) == (True, 1)

    play(scene)


def test_deregistration_closes_what_is_connected() -> None:
    async def scene(world: World) -> None:
        agent, other = await joined(world), await joined(world, "n2")
        telemetry = Telemetry(world, agent)
        task = await placed(world, agent.arn, "1")
        await world.call("DeregisterContainerInstance", cluster="demo", containerInstance=agent.arn, force=True)
        await asyncio.wait_for(asyncio.wait([*agent._tasks, telemetry.session]), 1)
        assert agent.socket.closed
        assert telemetry.socket.closed
        assert not other.socket.closed
        assert await refused_connection(world, agent) == "InactiveInstanceException"
        assert await refused_connection(world, agent, containerInstance=agent.arn) == "InactiveInstanceException"
        old = agent.arn
        await agent.join()
        await agent.connect()
        assert agent.arn != old
        assert (await agent.hears(TaskManifestMessage)).tasks == ()  # so that it asks about the orphan, and stops it
        await world.becomes(task, "STOPPED")
        assert record(world, old).status == "INACTIVE"

    play(scene)


def test_nothing_is_remembered_of_instances_that_are_forgotten() -> None:
    async def scene(world: World) -> None:
        agent, other = await joined(world), await joined(world, "n2")
        by_account = (await registered(world))["containerInstanceArn"]
        await other.hang_up()
        for arn in (agent.arn, other.arn, by_account):
            await world.call("DeregisterContainerInstance", cluster="demo", containerInstance=arn)
        await world.clock.sleep(2 * KEPT_SECONDS)
        gateway = world.gateway
        assert not any((gateway._sessions, gateway._silent, gateway._left_alone, gateway._floors, gateway._telemetry))
        assert len(gateway._lines) == 0

    play(scene)


def test_only_its_own_key_speaks_for_an_instance() -> None:
    async def scene(world: World) -> None:
        agent, other = await joined(world), await joined(world, "n2")
        by_account = (await registered(world))["containerInstanceArn"]
        for principal, arn in (
            (other.principal, agent.arn),
            (ROOT, agent.arn),
            (agent.principal, by_account),
        ):
            for query in ({"containerInstanceArn": arn}, {"containerInstance": arn}):
                with pytest.raises(AwsError) as caught:
                    await world.gateway.session(principal, query, FakeSocket())
                assert caught.value.code == DENIED

    play(scene)


def test_two_hundred_agents_come_back_at_once() -> None:
    async def scene(world: World) -> None:
        agents = [await joined(world, f"n{number}") for number in range(200)]
        tasks = [await placed(world, agent.arn, f"{number:x}") for number, agent in enumerate(agents)]
        await world.call(
            "UpdateContainerInstancesState", cluster="demo", containerInstances=[agents[0].arn], status="DRAINING"
        )
        await asyncio.gather(*(agent.hang_up() for agent in agents))
        await world.clock.sleep(5)
        assert not any(record(world, agent.arn).connected for agent in agents)

        async def back(agent: ClusterAgent) -> None:
            await agent.join()
            await agent.connect()

        begun = world.clock.mono()
        await asyncio.gather(*(back(agent) for agent in agents))
        assert world.clock.mono() - begun < 5
        for agent, task in zip(agents, tasks, strict=True):
            found = room(world, agent.arn)
            assert found is not None
            assert (found.connected, found.open, found.cpu_used) == (True, agent is not agents[0], 256)
            assert [t.task_arn for t in (await agent.hears(TaskManifestMessage)).tasks] == [task]
            assert agent.payload() == []
        assert len(world.store.view().all(INSTANCES, SCOPE)) == 200

    play(scene, delay=0.002)


# --- what agents tell of their machines -----------------------------------------------------------------------------


def test_the_health_of_an_instance() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        health = ["CONTAINER_INSTANCE_HEALTH"]
        assert "healthStatus" not in await shown(world, agent.arn)
        unknown = {"overallStatus": "INSUFFICIENT_DATA", "details": []}
        assert (await shown(world, agent.arn, include=health))["healthStatus"] == unknown
        telemetry = Telemetry(world, agent)
        assert isinstance(await telemetry.tell(CONTAINER_RUNTIME="OK", NONSENSE="OK"), AckPublishInstanceStatus)
        since = world.clock.wall()
        first = {"type": "CONTAINER_RUNTIME", "status": "OK", "lastUpdated": since, "lastStatusChange": since}
        told = {"overallStatus": "OK", "details": [first]}
        assert (await shown(world, agent.arn, include=health))["healthStatus"] == told
        await world.clock.sleep(60)
        version = world.store.version
        await telemetry.tell(CONTAINER_RUNTIME="OK")  # the same again is no change
        assert world.store.version == version
        await telemetry.tell(DAEMON="IMPAIRED")
        view = (await shown(world, agent.arn, include=health))["healthStatus"]
        assert (view["overallStatus"], [d["status"] for d in view["details"]]) == ("IMPAIRED", ["OK", "IMPAIRED"])
        version = world.store.version
        assert isinstance(await telemetry.tell(CONTAINER_RUNTIME="FINE"), BadRequestException)
        assert world.store.version == version
        await agent.hang_up()
        await asyncio.sleep(0.1)
        assert (await shown(world, agent.arn, include=health))["healthStatus"]["overallStatus"] == "INSUFFICIENT_DATA"

    play(scene)


# --- reports --------------------------------------------------------------------------------------------------------

RUNNING = {"status": "RUNNING", "containers": [{"containerName": "app", "status": "RUNNING"}]}


@pytest.mark.parametrize(
    ("operation", "params", "code"),
    [
        ("SubmitTaskStateChange", {"task": "0" * 32, **RUNNING}, INVALID),
        ("SubmitTaskStateChange", {"task": "", **RUNNING}, INVALID),
        ("SubmitTaskStateChange", {"task": "arn:aws:ecs:nonsense", **RUNNING}, INVALID),
        ("SubmitTaskStateChange", {"task": "OTHER", **RUNNING}, DENIED),
        ("SubmitTaskStateChange", {"task": "OTHER", "status": "STOPPED"}, DENIED),
        ("SubmitTaskStateChange", {"task": "OWN", "status": "DANCING"}, INVALID),
        ("SubmitTaskStateChange", {"task": "OWN", "status": "running"}, INVALID),
        (
            "SubmitTaskStateChange",
            {"task": "OWN", "status": "STOPPED", "containers": [{"containerName": "app", "status": "X"}]},
            INVALID,
        ),
        (
            "SubmitTaskStateChange",
            {"task": "OWN", "attachments": [{"attachmentArn": "arn:x/1", "status": "X"}]},
            INVALID,
        ),
        ("SubmitContainerStateChange", {"task": "OTHER", "containerName": "app", "status": "STOPPED"}, DENIED),
        ("SubmitContainerStateChange", {"task": "OWN", "containerName": "app", "status": "GONE"}, INVALID),
        ("SubmitContainerStateChange", {"task": "OWN", "containerName": "other", "status": "STOPPED"}, INVALID),
        ("SubmitContainerStateChange", {"containerName": "app", "status": "STOPPED"}, INVALID),
        ("SubmitAttachmentStateChanges", {"attachments": [{"attachmentArn": "x", "status": "ATTACHED"}]}, INVALID),
        ("SubmitAttachmentStateChanges", {"attachments": [{"attachmentArn": "x", "status": "X"}]}, INVALID),
    ],
)
def test_senseless_reports_change_nothing(operation: str, params: dict[str, Any], code: str) -> None:
    async def scene(world: World) -> None:
        agent, other = await joined(world), await joined(world, "n2")
        pending = {"last_status": TaskStatus.PENDING, "node_status": NodeStatus.HANDED}
        tasks = {"OWN": await placed(world, agent.arn, "1", **pending), "OTHER": await placed(world, other.arn, "2")}
        before = {name: world.task(arn) for name, arn in tasks.items()}
        told = {**params, **({"task": tasks.get(params["task"], params["task"])} if "task" in params else {})}
        assert (await world.refused(operation, agent.principal, **told))[0] == code
        assert {name: world.task(arn) for name, arn in tasks.items()} == before

    play(scene)


def test_late_repeated_and_disordered_reports_are_acknowledged_without_effect() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        pending = {"last_status": TaskStatus.PENDING, "node_status": NodeStatus.HANDED}
        arn = await placed(world, agent.arn, "1", **pending)

        async def unmoved(status: str, *containers: dict[str, Any], **more: Any) -> None:
            await asyncio.sleep(0.1)
            version = world.store.version
            await agent.report(arn, status, *containers, **more)
            assert world.store.version == version

        await agent.report(arn, "RUNNING", {"status": "RUNNING", "runtimeId": "r1"})
        await world.becomes(arn, "RUNNING")
        await unmoved("RUNNING", {"status": "RUNNING", "runtimeId": "r1"})
        await unmoved("RUNNING", {"status": "RUNNING", "runtimeId": "r2"})
        await unmoved("PENDING", {"status": "PENDING"})
        await unmoved("RUNNING", {"containerName": "nobody", "status": "STOPPED", "exitCode": 1})
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 3})
        await world.becomes(arn, "STOPPED")
        await unmoved("RUNNING", {"status": "RUNNING"})
        await unmoved("STOPPED", {"status": "STOPPED", "exitCode": 4})
        assert (await world.describe(arn))["containers"][0]["exitCode"] == 3
        found = room(world, agent.arn)
        assert found is not None
        assert (found.cpu_used, found.memory_used, found.tasks) == (0, 0, 0)

    play(scene)


def test_times_that_agents_tell_are_within_the_tasks_life() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = await placed(world, agent.arn, "1", last_status=TaskStatus.PENDING, node_status=NodeStatus.HANDED)
        made = world.clock.wall()
        await world.clock.sleep(10)
        await agent.report(arn, "RUNNING", {"status": "RUNNING"}, pullStartedAt=1.0, pullStoppedAt=4e9)
        task = await world.becomes(arn, "RUNNING")
        assert (task["pullStartedAt"], task["pullStoppedAt"]) == (made, made + 10)

    play(scene)


def test_orphans_have_no_word_any_more() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = await placed(world, agent.arn, "1")
        await world.call("DeregisterContainerInstance", cluster="demo", containerInstance=agent.arn, force=True)
        ended = await world.becomes(arn, "STOPPED")
        await agent.report(arn, "RUNNING")
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 0})
        assert await world.describe(arn) == ended
        assert (await world.refused("SubmitTaskStateChange", node("n2"), task=arn, **RUNNING))[0] == DENIED

    play(scene)
