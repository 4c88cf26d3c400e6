"""The agent gateway: connections, acknowledgements, groups, held addresses, lost nodes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ecs_world import ACCOUNT, REGION, ROOT, SCOPE, Agent, FakeSocket, World, node, play

from homeport.agentapi import (
    HeartbeatMessage,
    HomeportGroupsMessage,
    ManifestTask,
    NackRequest,
    PayloadMessage,
    TaskManifestMessage,
    TaskStopVerificationAck,
    TaskStopVerificationMessage,
)
from homeport.core.errors import AwsError
from homeport.services.ec2.model import GROUPS, HOLDS, INTERFACES, GroupRule, SecurityGroup
from homeport.services.ec2.model import POOL as EC2_POOL
from homeport.services.ecs.groupcast import Groupcast
from homeport.services.ecs.launch import NO_CAPACITY
from homeport.services.ecs.lifecycle import FORGOTTEN_REASON
from homeport.store.memory import MemoryJournal

NOT_HERE = "TaskStateError: Agent could not progress task's state to stopped"  # what an agent says of unknown tasks


async def joined(world: World, name: str = "n1", **attributes: str) -> Agent:
    agent = Agent(world, name)
    await agent.register(**attributes)
    await agent.connect()
    return agent


async def started(world: World, agent: Agent, **params: Any) -> str:
    """A RUNNING task."""
    arn = str((await world.run_task(**params))["tasks"][0]["taskArn"])
    await agent.sent(arn, "RUNNING")
    await agent.report(arn, "RUNNING")
    await world.becomes(arn, "RUNNING")
    return arn


async def ended(world: World, agent: Agent, arn: str) -> None:
    await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 0})
    await world.becomes(arn, "STOPPED")


async def put_group(world: World, id: str, *peers: str) -> None:
    """A group that lets tcp/80 in from these groups."""
    vpc = world.store.view().all(GROUPS, SCOPE)[0].vpc_id
    rules = tuple(
        GroupRule(id=f"sgr-{id}-{p}", egress=False, protocol="tcp", from_port=80, to_port=80, group_id=p) for p in peers
    )
    group = SecurityGroup(id=id, vpc_id=vpc, name=id, description=id, created_at=1.0, rules=rules)
    await world.store.update(lambda tx: tx.put(GROUPS, SCOPE, group), "test")


def address(world: World, arn: str) -> str:
    interface = world.task(arn).interface
    assert interface is not None
    return interface.details["privateIPv4Address"]


def groups_heard(agent: Agent) -> dict[str, Any]:
    """What the agent has been told about each group, the newest word."""
    known: dict[str, Any] = {}
    for message in agent.heard:
        if isinstance(message, HomeportGroupsMessage):
            if message.complete:
                known = {}
            known |= {g.group_id: g for g in message.groups}
            known = {id: g for id, g in known.items() if id not in message.removed}
    return known


# --- connections ----------------------------------------------------------------------------------------------------


def test_nobody_connects_as_an_instance_of_someone_else() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        for principal, arn, code in (
            (node("n2"), agent.arn, "AccessDeniedException"),
            (ROOT, agent.arn, "AccessDeniedException"),
            (node("n1"), agent.arn[:-1] + "x", "InvalidInstanceException"),
            (node("n1"), "", "InvalidInstanceException"),
        ):
            socket = FakeSocket()
            with pytest.raises(AwsError) as caught:
                await world.gateway.session(principal, {"containerInstanceArn": arn}, socket)
            assert caught.value.code == code
            assert socket.to_agent.empty()

    play(scene)


def test_a_newer_connection_replaces_the_older() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        old = agent.socket
        await agent.connect()
        await asyncio.sleep(0.1)
        assert old.closed
        assert world.instance(agent.arn).connected
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await agent.sent(arn, "RUNNING")
        assert len(agent.payload()) == 1

    play(scene)


def test_heartbeats_keep_a_connection_and_silence_ends_it() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        await asyncio.sleep(305)
        assert world.instance(agent.arn).connected
        assert len([m for m in agent.heard if isinstance(m, HeartbeatMessage)]) == 15
        agent.mute = {HeartbeatMessage}
        await asyncio.sleep(90)
        assert agent.socket.closed
        assert not world.instance(agent.arn).connected

    play(scene)


def test_a_new_connection_gets_groups_manifest_and_what_was_not_acknowledged() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        running = await started(world, agent)
        agent.mute = {PayloadMessage}
        waiting = (await world.run_task())["tasks"][0]["taskArn"]
        await agent.sent(waiting, "RUNNING")
        await asyncio.sleep(300)
        assert len([t for t in agent.payload() if t.arn == waiting]) == 1  # not again on the same connection
        assert (await world.describe(waiting))["lastStatus"] == "PROVISIONING"
        await agent.hang_up()
        agent.heard.clear()
        agent.mute.clear()
        await agent.connect()
        await agent.sent(waiting, "RUNNING")
        assert [t.arn for t in agent.payload()] == [waiting]
        kinds = [type(m) for m in agent.heard]
        assert kinds == [HomeportGroupsMessage, TaskManifestMessage, PayloadMessage]
        manifest = await agent.hears(TaskManifestMessage)
        assert {t.task_arn for t in manifest.tasks} == {running, waiting}
        assert (await agent.hears(HomeportGroupsMessage)).complete

    play(scene)


def test_sequence_numbers_and_timelines_rise() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        numbers = []
        for _ in range(3):
            arn = await started(world, agent)
            await world.call("StopTask", cluster="demo", task=arn)
            await agent.hang_up()
            await agent.connect()
        for m in agent.heard:
            if isinstance(m, PayloadMessage):
                numbers.append((m.seq_num, "payload"))
            elif isinstance(m, TaskManifestMessage):
                assert all(m.timeline > n for n, _ in numbers)
                numbers.append((m.timeline, "manifest"))
        assert [n for n, _ in numbers] == sorted(n for n, _ in numbers)

    play(scene)


def test_nothing_overtakes_the_manifest_of_a_busy_control_plane() -> None:
    """Agents refuse payloads and groups from before their manifest."""

    async def scene(world: World) -> None:
        async def chatter() -> None:
            for number in range(400):
                await world.call("CreateCluster", clusterName=f"c{number}")

        agent = await joined(world)
        busy = [asyncio.create_task(chatter()) for _ in range(3)]
        arns = []
        for _ in range(5):
            arns.append((await world.run_task())["tasks"][0]["taskArn"])
            await agent.hang_up()
            agent.heard.clear()
            await agent.connect()
            await agent.sent(arns[-1], "RUNNING")
            floor = 0
            for m in agent.heard:
                if isinstance(m, TaskManifestMessage):
                    assert m.timeline >= floor
                    floor = m.timeline
                elif isinstance(m, PayloadMessage | HomeportGroupsMessage):
                    assert m.seq_num >= floor
        for task in busy:
            task.cancel()

    play(scene, delay=0.003)


def test_a_group_that_changes_while_it_is_being_sent_is_sent_again() -> None:
    async def scene(world: World) -> None:
        await joined(world)
        await put_group(world, "sg-a")
        arn = (await world.run_task(networkConfiguration=world.network("sg-a")))["tasks"][0]["taskArn"]
        cast, task = Groupcast(), world.task(arn)
        cast.follow(world.store.view(), SCOPE, task, task.interface_id)
        first = cast.news(world.store.view())
        await put_group(world, "sg-a", "sg-a")
        cast.touch({"sg-a"})
        cast.told(first)
        (again,) = cast.news(world.store.view())
        assert again.groups[0].ingress[0].groups == ("sg-a",)
        cast.told([again])
        assert cast.news(world.store.view()) == []

    play(scene)


def test_only_what_must_stop_is_stopped() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        running, stopping = await started(world, agent), await started(world, agent)
        await world.call("StopTask", cluster="demo", task=stopping)
        unknown = running[:-4] + "0000"
        asked = tuple(
            ManifestTask(task_arn=arn, task_cluster_arn="c", desired_status="STOPPED")
            for arn in (running, stopping, unknown, "nonsense")
        )
        await agent.say(TaskStopVerificationMessage(message_id="m1", stop_candidates=asked))
        answer = await agent.hears(TaskStopVerificationAck)
        assert answer.message_id == "m1"
        assert [t.task_arn for t in answer.stop_tasks] == [stopping, unknown, "nonsense"]

    play(scene)


def test_a_task_that_the_node_refuses_has_failed() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        agent.mute = {PayloadMessage}
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        message = await agent.hears(PayloadMessage)
        nack = NackRequest(cluster="", container_instance="", message_id=message.message_id, reason="no such spec")
        await agent.say(nack)
        stopped = await world.becomes(arn, "STOPPED")
        assert (stopped["stopCode"], stopped["stoppedReason"]) == ("TaskFailedToStart", "no such spec")

    play(scene)


def test_unreadable_frames_are_ignored() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        for frame in ("", "{", '{"type":"Nonsense","message":{}}', '{"type":"AckRequest","message":{"messageId":7}}'):
            agent.socket.to_server.put_nowait(frame)
        arn = await started(world, agent)
        assert (await world.describe(arn))["lastStatus"] == "RUNNING"

    play(scene)


# --- reports --------------------------------------------------------------------------------------------------------


def test_nobody_reports_on_the_tasks_of_another_node() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = await started(world, agent)
        for name, params in (
            ("SubmitTaskStateChange", {"task": arn, "status": "STOPPED"}),
            ("SubmitContainerStateChange", {"task": arn, "containerName": "app", "status": "STOPPED"}),
        ):
            for principal in (node("n2"), ROOT):
                assert (await world.refused(name, principal, cluster="demo", **params))[0] == "AccessDeniedException"
        attachment = world.task(arn).interface
        assert attachment is not None
        arns = [{"attachmentArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:attachment/{attachment.id}", "status": "ATTACHED"}]
        refused = await world.refused("SubmitAttachmentStateChanges", node("n2"), attachments=arns)
        assert refused[0] == "AccessDeniedException"
        missing = await world.refused("SubmitTaskStateChange", node("n1"), task=arn[:-4] + "0000", status="STOPPED")
        assert missing == ("InvalidParameterException", "The referenced task was not found.")

    play(scene)


def test_attachments_and_containers_are_reported_by_calls_of_their_own() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await agent.sent(arn, "RUNNING")
        attachment = world.task(arn).interface
        assert attachment is not None
        arns = [{"attachmentArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:attachment/{attachment.id}", "status": "ATTACHED"}]
        await world.call("SubmitAttachmentStateChanges", agent.principal, cluster="demo", attachments=arns)
        assert (await world.describe(arn))["attachments"][0]["status"] == "ATTACHED"
        interface = world.store.view().get(INTERFACES, SCOPE, attachment.details["networkInterfaceId"])
        assert interface is not None
        assert interface.status == "in-use"
        told = {"cluster": "demo", "task": arn, "containerName": "app"}
        await world.call("SubmitContainerStateChange", agent.principal, status="RUNNING", runtimeId="r", **told)
        container = (await world.describe(arn))["containers"][0]
        assert (container["lastStatus"], container["runtimeId"]) == ("RUNNING", "r")

    play(scene)


def test_reports_that_can_not_be_read_are_refused() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = await started(world, agent)
        told = {"task": arn, "status": "STOPPED", "containers": [{"status": "STOPPED"}]}
        refused = await world.refused("SubmitTaskStateChange", agent.principal, **told)
        assert refused[0] == "InvalidParameterException"
        refused = await world.refused("SubmitTaskStateChange", agent.principal, status="STOPPED")
        assert refused == ("InvalidParameterException", "The referenced task was not found.")
        unknown = [{"attachmentArn": "arn:aws:ecs:us-east-1:1:attachment/x", "status": "ATTACHED"}]
        refused = await world.refused("SubmitAttachmentStateChanges", agent.principal, attachments=unknown)
        assert refused[0] == "InvalidParameterException"

    play(scene)


# --- security groups ------------------------------------------------------------------------------------------------


def test_groups_and_their_members_reach_the_nodes_that_need_them() -> None:
    async def scene(world: World) -> None:
        first, second = await joined(world, "n1"), await joined(world, "n2")
        await put_group(world, "sg-client")
        await put_group(world, "sg-server", "sg-client")
        server = await started(world, first, networkConfiguration=world.network("sg-server"))
        assert groups_heard(first)["sg-client"].members == ()
        assert world.task(server).instance == first.arn
        client = await started(world, second, networkConfiguration=world.network("sg-client"))
        await asyncio.sleep(0.5)
        assert world.task(client).instance == second.arn  # it had more room
        assert groups_heard(first)["sg-client"].members == (address(world, client),)
        assert "sg-server" not in groups_heard(second)
        await ended(world, second, client)
        await asyncio.sleep(0.5)
        assert groups_heard(first)["sg-client"].members == ()
        assert "sg-client" not in groups_heard(second)

    play(scene)


def test_a_changed_rule_reaches_the_node_and_brings_its_peers() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        await put_group(world, "sg-a")
        await put_group(world, "sg-b")
        await started(world, agent, networkConfiguration=world.network("sg-a"))
        b = await started(world, agent, networkConfiguration=world.network("sg-b"))
        assert groups_heard(agent)["sg-a"].ingress == ()
        await put_group(world, "sg-a", "sg-b")
        await asyncio.sleep(0.5)
        assert groups_heard(agent)["sg-a"].ingress[0].groups == ("sg-b",)
        assert groups_heard(agent)["sg-b"].members == (address(world, b),)
        await ended(world, agent, b)
        await asyncio.sleep(0.5)
        assert groups_heard(agent)["sg-b"].members == ()
        heard = len(agent.heard)
        await put_group(world, "sg-unrelated")
        await asyncio.sleep(0.5)
        assert len(agent.heard) == heard

    play(scene)


def test_a_task_in_a_group_that_no_rule_names_is_no_news_for_other_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(world: World) -> None:
        first, second = await joined(world, "n1"), await joined(world, "n2")
        await put_group(world, "sg-a")
        await started(world, first, networkConfiguration=world.network("sg-a"))
        await started(world, second, networkConfiguration=world.network("sg-a"))
        asked: list[Any] = []
        monkeypatch.setattr(Groupcast, "touch", lambda cast, ids: asked.append(ids))
        await started(world, first, networkConfiguration=world.network("sg-a"))
        assert asked == []

    play(scene)


def test_groups_that_could_not_be_enforced_are_sent_again() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        agent.mute = {HomeportGroupsMessage}
        await put_group(world, "sg-a")
        await world.run_task(networkConfiguration=world.network("sg-a"))
        message = await agent.hears(HomeportGroupsMessage)
        heard = len(agent.heard)
        await agent.say(NackRequest(cluster="", container_instance="", message_id=message.message_id, reason="busy"))
        again = await agent.hears(HomeportGroupsMessage, after=heard)
        assert again.complete
        assert [g.group_id for g in again.groups] == ["sg-a"]

    play(scene)


def test_an_address_is_free_again_only_when_every_node_knows() -> None:
    async def scene(world: World) -> None:
        first, second = await joined(world, "n1"), await joined(world, "n2")
        await put_group(world, "sg-client")
        await put_group(world, "sg-server", "sg-client")
        await started(world, first, networkConfiguration=world.network("sg-server"))
        client = await started(world, second, networkConfiguration=world.network("sg-client"))
        await asyncio.sleep(3)
        first.mute = {HomeportGroupsMessage}
        heard = len(first.heard)
        await ended(world, second, client)
        message = await first.hears(HomeportGroupsMessage, after=heard)
        await asyncio.sleep(10)
        held = world.store.view().all(HOLDS, EC2_POOL)
        assert [h.private_address for h in held] == [address(world, client)]
        await first.ack(message.message_id)
        await asyncio.sleep(3)
        assert world.store.view().all(HOLDS, EC2_POOL) == []

    play(scene)


# --- lost nodes -----------------------------------------------------------------------------------------------------


def test_a_silent_node_is_lost_after_a_minute_and_its_addresses_are_held() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = await started(world, agent)
        await agent.hang_up()
        await asyncio.sleep(55)
        assert (await world.describe(arn))["lastStatus"] == "RUNNING"
        await asyncio.sleep(10)
        stopped = await world.becomes(arn, "STOPPED")
        assert stopped["stopCode"] == "InfrastructureHealth"
        assert (stopped["connectivity"], stopped["containers"][0]["lastStatus"]) == ("DISCONNECTED", "STOPPED")
        assert (await world.run_task())["failures"][0]["reason"] == NO_CAPACITY
        await asyncio.sleep(500)
        assert len(world.store.view().all(HOLDS, EC2_POOL)) == 1
        await asyncio.sleep(100)
        assert world.store.view().all(HOLDS, EC2_POOL) == []

    play(scene)


def test_a_node_that_hangs_is_lost_as_soon_as_one_that_is_gone() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = await started(world, agent)
        agent.mute = {HeartbeatMessage}
        await asyncio.sleep(55)
        assert (await world.describe(arn))["lastStatus"] == "RUNNING"
        await asyncio.sleep(35)  # silence is noticed with a heartbeat, of which there is one in 20 s
        assert (await world.describe(arn))["lastStatus"] == "STOPPED"

    play(scene)


def test_a_lost_node_that_returns_stops_its_tasks_before_their_addresses_are_free() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = await started(world, agent)
        await agent.hang_up()
        await world.becomes(arn, "STOPPED")
        assert world.room(agent.arn).tasks == 1  # it may still run there
        agent.heard.clear()
        await agent.connect()
        await agent.sent(arn, "STOPPED")
        await asyncio.sleep(60)
        assert len(world.store.view().all(HOLDS, EC2_POOL)) == 1
        before = await world.describe(arn)
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 143})
        await asyncio.sleep(5)
        assert await world.describe(arn) == before  # what was told of the end stays
        assert world.store.view().all(HOLDS, EC2_POOL) == []
        assert world.room(agent.arn).tasks == 0
        assert (await world.run_task())["failures"] == []

    play(scene)


def test_a_lost_node_that_only_registers_takes_no_tasks() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        await agent.hang_up()
        await asyncio.sleep(65)
        await agent.register()
        assert (await world.run_task())["failures"][0]["reason"] == NO_CAPACITY
        agent.heard.clear()
        await agent.connect()
        assert (await world.run_task())["failures"] == []

    play(scene)


def test_a_node_that_lost_its_state_ends_its_tasks() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        ran = await started(world, agent)
        await agent.hang_up()
        waits = (await world.run_task())["tasks"][0]["taskArn"]
        was, agent.arn = agent.arn, ""  # it registers by its key alone
        await agent.register()
        assert agent.arn == was
        await agent.connect()
        await agent.sent(ran, "STOPPED")
        confirmed = {"cluster": "demo", "task": ran, "status": "STOPPED", "reason": NOT_HERE}
        await world.call("SubmitTaskStateChange", agent.principal, **confirmed)
        stopped = await world.becomes(ran, "STOPPED")
        assert (stopped["stopCode"], stopped["stoppedReason"]) == ("InfrastructureHealth", FORGOTTEN_REASON)
        assert stopped["containers"][0]["lastStatus"] == "STOPPED"
        await agent.sent(waits, "RUNNING")
        assert world.room(agent.arn).tasks == 1

    play(scene)


def test_a_node_that_returns_in_time_keeps_its_tasks() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = await started(world, agent)
        for _ in range(3):
            await agent.hang_up()
            await asyncio.sleep(50)
            await agent.connect()
        await asyncio.sleep(120)
        assert (await world.describe(arn))["lastStatus"] == "RUNNING"

    play(scene)


def test_after_a_restart_nodes_have_their_full_minute() -> None:
    journal = MemoryJournal()
    arns: list[str] = []

    async def before(world: World) -> None:
        await world.prepare()
        agent = await joined(world)
        arns.append(await started(world, agent))
        await world.crash()

    async def after(world: World) -> None:
        world.clock.epoch += 3600.0  # the control plane was away for an hour
        await asyncio.sleep(55)
        assert (await world.describe(arns[0]))["lastStatus"] == "RUNNING"
        assert not world.store.view().all(HOLDS, EC2_POOL)
        await asyncio.sleep(10)
        await world.becomes(arns[0], "STOPPED")

    play(before, journal=journal)
    play(after, journal=journal)


def test_a_task_placed_while_its_node_is_away_for_a_moment_starts_when_it_is_back() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        await agent.hang_up()
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await asyncio.sleep(5)
        await agent.connect()
        await agent.sent(arn, "RUNNING")

    play(scene)
