"""The agent's side of the protocol, against a control plane made of a list of frames."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from agent_world import CLUSTER, TASK, container, payload

from homeport.agent.config import AgentSettings, Host
from homeport.agent.drivers.fake import Behaviour, FakeDriver, FakeRuntime
from homeport.agent.link import Backoff, Refused, Sequence
from homeport.agent.main import serve
from homeport.agent.network import NetworkError
from homeport.agent.network.fake import FakeFabric, FakeNetwork
from homeport.agent.state import VERSION, Instance, MemoryRecords
from homeport.agent.transport import CallFailed, Channel, Closed
from homeport.agentapi import (
    AckRequest,
    Group,
    HeartbeatAckRequest,
    HeartbeatMessage,
    HomeportGroupsMessage,
    ManifestTask,
    Message,
    NackRequest,
    PayloadMessage,
    PayloadTask,
    TaskManifestMessage,
    TaskStopVerificationAck,
    TaskStopVerificationMessage,
    decode,
    encode,
)
from homeport.core.ids import BitIds
from homeport.sim.loop import SimClock, SimLoop, run

ARN = "arn:aws:ecs:us-east-1:000000000000:container-instance/pool/1"
HOST = Host(cores=2, memory=4096, architecture="x86_64", boot_id="boot-1", agent_version="1.2.3", runtime_version="c 1")
SETTINGS = AgentSettings(
    state="/nowhere", instance="00000000", endpoint="http://x", access_key="A", secret_key="S", fargate=True
)


class FakeChannel:
    def __init__(self) -> None:
        self.inbox: asyncio.Queue[str | None] = asyncio.Queue()
        self.sent: list[Message] = []
        self.arrived = asyncio.Event()
        self.closed = False

    async def send(self, frame: str) -> None:
        if self.closed:
            raise Closed("gone")
        message = decode(frame)
        assert message is not None
        self.sent.append(message)
        self.arrived.set()

    async def receive(self) -> str:
        frame = None if self.closed else await self.inbox.get()
        if frame is None:
            self.closed = True
            raise Closed("the server went away")
        return frame

    async def close(self) -> None:
        self.closed = True

    def say(self, message: Message | str) -> None:
        self.inbox.put_nowait(message if isinstance(message, str) else encode(message))

    def hang_up(self) -> None:
        self.inbox.put_nowait(None)

    async def answer(self, number: int) -> Message:
        """The n-th message from the agent."""
        while len(self.sent) <= number:
            self.arrived.clear()
            await self.arrived.wait()
        return self.sent[number]


class Server:
    """A control plane: ``down`` fails everything, ``errors`` the next call of an operation."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.queries: list[dict[str, str]] = []
        self.channels: list[FakeChannel] = []
        self.errors: dict[str, list[CallFailed]] = {}
        self.down = False
        self.tries = 0
        self.arrived = asyncio.Event()

    async def call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0.001)
        self._check(operation)
        self.calls.append((operation, params))
        match operation:
            case "RegisterContainerInstance":
                return {"containerInstance": {"containerInstanceArn": params.get("containerInstanceArn", ARN)}}
            case "DiscoverPollEndpoint":
                return {"endpoint": "http://x/acs"}
            case _:
                return {}

    async def connect(self, endpoint: str, query: dict[str, str]) -> Channel:
        await asyncio.sleep(0.001)
        self._check("connect")
        assert endpoint == "http://x/acs"
        self.queries.append(query)
        self.channels.append(FakeChannel())
        self.arrived.set()
        return self.channels[-1]

    def _check(self, operation: str) -> None:
        self.tries += 1
        if self.down:
            raise CallFailed(None, "connection refused")
        if self.errors.get(operation):
            raise self.errors[operation].pop(0)

    async def channel(self, number: int = 0) -> FakeChannel:
        while len(self.channels) <= number:
            self.arrived.clear()
            await self.arrived.wait()
        return self.channels[number]

    def named(self, operation: str) -> list[dict[str, Any]]:
        return [params for name, params in self.calls if name == operation]


class Place:
    def __init__(self) -> None:
        self.loop = SimLoop()
        self.clock = SimClock(self.loop)
        self.runtime = FakeRuntime(lambda image: Behaviour(), self.clock.wall)
        self.fabric, self.records, self.server = FakeFabric(), MemoryRecords(), Server()
        self.fault: Callable[[str, str], None] = lambda call, id: None
        self.settings = SETTINGS
        self.stop = asyncio.Event()

    def run(self, story: Callable[[Place], Awaitable[None]]) -> None:
        async def main() -> None:
            agent = asyncio.create_task(self.serve())
            told = asyncio.create_task(asyncio.wait_for(story(self), 3600))  # type: ignore[arg-type]
            await asyncio.wait((agent, told), return_when=asyncio.FIRST_COMPLETED)
            if told.done():
                told.result()
            self.stop.set()
            await agent

        run(main(), self.loop)

    async def serve(self) -> None:
        network = FakeNetwork(self.fabric, fault=lambda call, id: self.fault(call, id))
        await serve(
            self.settings,
            FakeDriver(self.runtime),
            network,
            self.server,
            self.clock,
            BitIds(lambda bits: 1 << (bits - 1)),
            self.stop,
            records=self.records,
            host=HOST,
        )


def payload_message(task: PayloadTask, number: int = 10, message_id: str = "p", arn: str = ARN) -> PayloadMessage:
    return PayloadMessage(
        cluster_arn=CLUSTER, container_instance_arn=arn, message_id=message_id, seq_num=number, tasks=(task,)
    )


def manifest(timeline: int, *tasks: str, message_id: str = "m", arn: str = ARN) -> TaskManifestMessage:
    listed = tuple(ManifestTask(task_arn=t, task_cluster_arn=CLUSTER, desired_status="RUNNING") for t in tasks)
    return TaskManifestMessage(
        cluster_arn=CLUSTER, container_instance_arn=arn, message_id=message_id, timeline=timeline, tasks=listed
    )


def ack(message_id: str) -> AckRequest:
    return AckRequest(cluster="default", container_instance=ARN, message_id=message_id)


def test_registration_says_what_the_node_is() -> None:
    async def story(p: Place) -> None:
        await p.server.channel()

    p = Place()
    p.run(story)
    (params,) = p.server.named("RegisterContainerInstance")
    assert "containerInstanceArn" not in params
    assert {a["name"]: a["value"] for a in params["attributes"]} == {
        "homeport.spec": "1",
        "homeport.network": "1",
        "homeport.fargate": "true",
        "homeport.overcommit.cpu": "16",
        "homeport.overcommit.memory": "2",
        "ecs.os-type": "linux",
        "ecs.os-family": "LINUX",
        "ecs.cpu-architecture": "x86_64",
    }
    resources = {r["name"]: r.get("integerValue", r.get("stringSetValue")) for r in params["totalResources"]}
    assert resources["CPU"] == 2 * 1024 * 16
    assert resources["MEMORY"] == 4096 * 2
    machine = p.records.instance().machine
    assert len(machine) == 16
    assert p.records.instance() == Instance(version=VERSION, cluster="default", arn=ARN, machine=machine)
    assert p.server.queries == [
        {
            "clusterArn": "default",
            "containerInstanceArn": ARN,
            "agentHash": f"homeport-1.2.3-{machine}",
            "agentVersion": "1.2.3",
            "seqNum": "1",
            "protocolVersion": "2",
            "dockerVersion": "c 1",
            "sendCredentials": "true",
        }
    ]


def test_an_ordinary_instance_promises_what_it_has() -> None:
    async def story(p: Place) -> None:
        await p.server.channel()

    p = Place()
    p.settings = msgspec.structs.replace(SETTINGS, fargate=False, zone="us-east-1a", cluster="demo")
    p.run(story)
    (params,) = p.server.named("RegisterContainerInstance")
    assert params["cluster"] == "demo"
    assert params["totalResources"][0]["integerValue"] == 2048
    names = {a["name"]: a.get("value") for a in params["attributes"]}
    assert names["ecs.availability-zone"] == "us-east-1a"
    assert "homeport.fargate" not in names


def test_a_restarted_agent_is_the_same_instance() -> None:
    async def story(p: Place) -> None:
        await p.server.channel()

    p = Place()
    asyncio.run(p.records.save_instance(Instance(version=VERSION, cluster="default", arn=ARN + "7")))
    p.run(story)
    assert p.server.named("RegisterContainerInstance")[0]["containerInstanceArn"] == ARN + "7"


@pytest.mark.parametrize("code", ["InvalidParameterException", "ClientException"])
def test_an_instance_that_the_control_plane_forgot_registers_anew(code: str) -> None:
    async def story(p: Place) -> None:
        await p.server.channel()

    p = Place()
    asyncio.run(p.records.save_instance(Instance(version=VERSION, cluster="default", arn=ARN + "7")))
    p.server.errors = {"RegisterContainerInstance": [CallFailed(code, "no such instance")]}
    p.run(story)
    assert "containerInstanceArn" not in p.server.named("RegisterContainerInstance")[0]
    assert p.records.instance().arn == ARN


def test_an_inactive_instance_registers_anew() -> None:
    async def story(p: Place) -> None:
        await p.server.channel()

    p = Place()
    p.server.errors = {"connect": [CallFailed("InactiveInstanceException", "deregistered")]}
    p.run(story)
    assert len(p.server.named("RegisterContainerInstance")) == 2


def test_a_node_that_is_refused_gives_up() -> None:
    async def story(p: Place) -> None:
        await asyncio.sleep(3000)

    p = Place()
    p.server.errors = {"RegisterContainerInstance": [CallFailed("AccessDeniedException", "not you")]}
    with pytest.raises(BaseExceptionGroup) as caught:
        p.run(story)
    assert caught.group_contains(Refused, match="not you")


def test_a_payload_is_acknowledged_once_it_is_durable() -> None:
    async def story(p: Place) -> None:
        hold = asyncio.Event()
        save = p.records.save

        async def slow(record: Any) -> None:
            await hold.wait()
            await save(record)

        p.records.save = slow  # type: ignore[method-assign]
        channel = await p.server.channel()
        channel.say(payload_message(payload(container("web"))))
        channel.say(HeartbeatMessage(message_id="h"))
        assert await channel.answer(0) == HeartbeatAckRequest(message_id="h")  # the link isn't held up
        await asyncio.sleep(10)
        assert len(channel.sent) == 1
        hold.set()
        assert await channel.answer(1) == ack("p")
        assert p.records.tasks

    Place().run(story)


def test_a_payload_for_another_instance_gets_no_answer() -> None:
    async def story(p: Place) -> None:
        channel = await p.server.channel()
        channel.say(payload_message(payload(container("web")), arn=ARN + "9"))
        channel.say(payload_message(payload(container("web", stop_timeout=1), arn="arn:x:task/../../etc/passwd")))
        channel.say("{")
        channel.say('{"type":"PerformUpdateMessage","message":{"messageId":"u"}}')
        channel.say('{"type":"PayloadMessage","message":{"seqNum":"high"}}')
        channel.say(HeartbeatMessage(message_id="h"))
        refusal = await channel.answer(0)
        assert isinstance(refusal, NackRequest)
        assert "not a task ARN" in refusal.reason
        assert await channel.answer(1) == HeartbeatAckRequest(message_id="h")
        assert not p.records.tasks

    Place().run(story)


def test_a_task_that_a_manifest_lacks_is_asked_about_and_stopped_only_then() -> None:
    async def story(p: Place) -> None:
        channel = await p.server.channel()
        channel.say(manifest(9))
        assert await channel.answer(0) == ack("m")
        channel.say(payload_message(payload(container("web")), 10))
        assert await channel.answer(1) == ack("p")
        channel.say(manifest(11, TASK, message_id="m2"))
        assert await channel.answer(2) == ack("m2")
        channel.say(manifest(12, message_id="m3"))
        assert await channel.answer(3) == ack("m3")
        stopped = (ManifestTask(task_arn=TASK, task_cluster_arn=CLUSTER, desired_status="STOPPED"),)
        question = TaskStopVerificationMessage(message_id="m3", stop_candidates=stopped)
        assert await channel.answer(4) == question
        await asyncio.sleep(60)
        assert len(p.runtime.running()) == 1
        channel.say(TaskStopVerificationAck(message_id="unasked", stop_tasks=stopped))
        await asyncio.sleep(10)
        assert len(p.runtime.running()) == 1
        channel.say(TaskStopVerificationAck(message_id="m3", stop_tasks=stopped))
        await asyncio.sleep(10)
        assert not p.runtime.running()

    Place().run(story)


def test_messages_from_before_the_manifest_are_refused() -> None:
    async def story(p: Place) -> None:
        first = await p.server.channel()
        first.say(manifest(20, message_id="m0"))
        await first.answer(0)
        first.hang_up()
        channel = await p.server.channel(1)
        channel.say(manifest(20))
        channel.say(payload_message(payload(container("web")), 19))
        channel.say(HomeportGroupsMessage(message_id="g", seq_num=19, vpc_id="vpc-1", vpc_cidr="172.31.0.0/16"))
        channel.say(payload_message(payload(container("web")), 25, "p2"))
        channel.say(manifest(24, message_id="old"))
        channel.say(HeartbeatMessage(message_id="h"))
        assert await channel.answer(0) == ack("m")
        for number in (1, 2):
            refusal = await channel.answer(number)
            assert isinstance(refusal, NackRequest)
            assert "before manifest 20" in refusal.reason
        assert {await channel.answer(3), await channel.answer(4)} == {ack("p2"), HeartbeatAckRequest(message_id="h")}
        await asyncio.sleep(5)
        assert len(channel.sent) == 5

    Place().run(story)


def test_sequence_numbers() -> None:
    s = Sequence()
    s.connected()
    assert s.take(5)
    assert s.take(3)  # payloads may overtake one another
    assert not s.take_manifest(4)
    assert s.take_manifest(5)
    assert s.take(4)  # planned just before the manifest, sent just after it
    s.connected()
    assert s.take_manifest(5)  # nothing has changed meanwhile
    assert not s.take(4)
    assert s.take(5)


def test_groups_are_acknowledged_once_they_are_enforced() -> None:
    failing = True

    def fault(call: str, id: str) -> None:
        if failing and call == "groups":
            raise NetworkError("nft is gone")

    async def story(p: Place) -> None:
        nonlocal failing
        channel = await p.server.channel()
        message = HomeportGroupsMessage(
            message_id="g", seq_num=3, vpc_id="vpc-1", vpc_cidr="172.31.0.0/16", groups=(Group(group_id="sg-1"),)
        )
        channel.say(message)
        refusal = await channel.answer(0)
        assert isinstance(refusal, NackRequest)
        assert refusal.reason == "nft is gone"
        failing = False
        channel.say(message)
        assert await channel.answer(1) == ack("g")
        assert "sg-1" in p.fabric.groups["node"]

    p = Place()
    p.fault = fault
    p.run(story)


def test_after_a_short_outage_the_agent_is_back_within_a_second() -> None:
    async def story(p: Place) -> None:
        channel = await p.server.channel()
        await asyncio.sleep(30)
        p.server.down = True
        channel.hang_up()
        await asyncio.sleep(1.1)
        p.server.down = False
        began = p.clock.mono()
        again = await p.server.channel(1)
        assert p.clock.mono() - began < 1.0
        assert p.server.queries[1]["sendCredentials"] == "false"
        assert len(p.server.named("RegisterContainerInstance")) == 1
        again.say(payload_message(payload(container("web"))))
        assert await again.answer(0) == ack("p")

    Place().run(story)


def test_a_payload_that_is_sent_again_after_a_lost_acknowledgement_is_acknowledged_again() -> None:
    async def story(p: Place) -> None:
        channel = await p.server.channel()
        channel.say(payload_message(payload(container("web"))))
        await channel.answer(0)
        channel.hang_up()
        again = await p.server.channel(1)
        again.say(manifest(11, TASK))
        again.say(payload_message(payload(container("web")), 12, "p2"))
        assert await again.answer(1) == ack("p2")
        await asyncio.sleep(10)
        assert len([event for event, _ in p.runtime.history if event == "start"]) == 1

    Place().run(story)


def test_a_long_outage_is_asked_about_less_and_less() -> None:
    async def story(p: Place) -> None:
        channel = await p.server.channel()
        p.server.down = True
        channel.hang_up()
        await asyncio.sleep(3000)
        assert 30 < p.server.tries < 60  # 2 minutes apart in the end

    Place().run(story)


def test_backoff() -> None:
    backoff = Backoff(BitIds(lambda bits: 1 << (bits - 1)), 0.2)
    delays = [backoff.next() for _ in range(4)]
    assert [round(d, 2) for d in delays] == [0.0, 0.1, 0.15, 0.2]
    backoff.reset()
    assert backoff.next() == 0.0


def test_a_silent_connection_is_given_up() -> None:
    async def story(p: Place) -> None:
        first = await p.server.channel()
        for number in range(20):
            await asyncio.sleep(20)
            first.say(HeartbeatMessage(message_id=str(number)))
        assert len(p.server.channels) == 1
        began = p.clock.mono()
        await p.server.channel(1)
        assert 60 <= p.clock.mono() - began <= 121
        assert first.closed

    Place().run(story)


def test_an_agent_that_stops_leaves_its_containers_running() -> None:
    async def story(p: Place) -> None:
        channel = await p.server.channel()
        channel.say(payload_message(payload(container("web"))))
        await asyncio.sleep(5)

    p = Place()
    p.run(story)
    assert len(p.runtime.running()) == 1
    assert p.server.channels[0].closed
