"""A task from RunTask to STOPPED, through store, task loop, gateway and an agent on a socket."""

from __future__ import annotations

import asyncio

import pytest
from ecs_world import SCOPE, Agent, World, play

from homeport.agentapi import HomeportGroupsMessage, PayloadMessage, TaskManifestMessage
from homeport.services.ec2.model import INTERFACES
from homeport.store import StoreClosed
from homeport.store.memory import Fault, MemoryJournal

ALL = [
    "PROVISIONING",
    "PENDING",
    "ACTIVATING",
    "RUNNING",
    "DEACTIVATING",
    "STOPPING",
    "DEPROVISIONING",
    "STOPPED",
]


async def joined(world: World, name: str = "n1", **attributes: str) -> Agent:
    agent = Agent(world, name)
    await agent.register(**attributes)
    await agent.connect()
    return agent


def test_a_task_runs_and_is_stopped() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        answer = await world.run_task(networkConfiguration=world.network(public=True))
        assert answer["failures"] == []
        task = answer["tasks"][0]
        arn = task["taskArn"]
        assert (task["lastStatus"], task["desiredStatus"]) == ("PROVISIONING", "RUNNING")
        assert task["attachments"][0]["status"] == "PRECREATED"
        assert [d["name"] for d in task["attachments"][0]["details"]] == ["subnetId"]

        sent = await agent.sent(arn, "RUNNING")
        kinds = [type(m) for m in agent.heard]
        assert kinds.index(HomeportGroupsMessage) < kinds.index(PayloadMessage)
        assert sent.spec is not None
        assert sent.spec.interface is not None
        assert sent.spec.interface.public_address is not None
        assert (sent.spec.cpu, sent.spec.memory) == (256, 512)
        assert sent.spec.containers[0].image == "httpd:2.4"
        await world.becomes(arn, "PENDING")

        await agent.report(
            arn, "RUNNING", {"status": "RUNNING", "runtimeId": "r-1", "imageDigest": "sha256:1"}, pullStartedAt=1.5
        )
        running = await world.becomes(arn, "RUNNING")
        assert running["attachments"][0]["status"] == "ATTACHED"
        details = {d["name"]: d["value"] for d in running["attachments"][0]["details"]}
        assert details["privateIPv4Address"] == sent.spec.interface.private_address
        assert running["containers"][0]["networkInterfaces"][0]["privateIpv4Address"] == details["privateIPv4Address"]
        assert running["containers"][0]["runtimeId"] == "r-1"
        assert running["startedAt"] >= running["createdAt"]
        assert running["connectivity"] == "CONNECTED"
        interface = world.store.view().get(INTERFACES, SCOPE, details["networkInterfaceId"])
        assert interface is not None
        assert interface.status == "in-use"

        stopping = (await world.call("StopTask", cluster="demo", task=arn, reason="enough"))["task"]
        assert (stopping["lastStatus"], stopping["desiredStatus"]) == ("RUNNING", "STOPPED")
        await agent.sent(arn, "STOPPED")
        await world.becomes(arn, "STOPPING")
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 143})
        stopped = await world.becomes(arn, "STOPPED")
        assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "enough")
        assert stopped["containers"][0]["exitCode"] == 143
        assert stopped["attachments"][0]["status"] == "DELETED"
        assert stopped["stoppingAt"] <= stopped["executionStoppedAt"] <= stopped["stoppedAt"]
        assert await world.statuses(arn) == ALL
        assert world.room(agent.arn).tasks == world.room(agent.arn).cpu_used == world.room(agent.arn).memory_used == 0
        assert world.store.view().get(INTERFACES, SCOPE, details["networkInterfaceId"]) is None

    play(scene)


def test_a_process_that_ended_at_once_has_been_running() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await agent.sent(arn, "RUNNING")
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 0})
        stopped = await world.becomes(arn, "STOPPED")
        assert stopped["stopCode"] == "EssentialContainerExited"
        assert stopped["stoppedReason"] == "Essential container in task exited"
        assert "startedAt" in stopped
        assert await world.statuses(arn) == ALL

    play(scene)


@pytest.mark.parametrize(
    "reason",
    ["CannotPullContainerError: pull image manifest has been retried", "CannotStartContainerError: no such file"],
)
def test_a_task_that_never_started_says_why(reason: str) -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await agent.sent(arn, "RUNNING")
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "reason": reason})
        stopped = await world.becomes(arn, "STOPPED")
        assert (stopped["stopCode"], stopped["stoppedReason"]) == ("TaskFailedToStart", reason)
        assert stopped["containers"][0]["reason"] == reason
        assert "startedAt" not in stopped
        assert "exitCode" not in stopped["containers"][0]
        assert await world.statuses(arn) == ["PROVISIONING", "PENDING", "DEPROVISIONING", "STOPPED"]

    play(scene)


def test_out_of_memory_is_an_exit_with_a_reason() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await agent.report(arn, "RUNNING")
        await world.becomes(arn, "RUNNING")
        reason = "OutOfMemoryError: Container killed due to memory usage"
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 137, "reason": reason})
        stopped = await world.becomes(arn, "STOPPED")
        assert stopped["stopCode"] == "EssentialContainerExited"
        assert (stopped["containers"][0]["exitCode"], stopped["containers"][0]["reason"]) == (137, reason)

    play(scene)


def test_the_exit_of_an_essential_container_stops_the_others() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        await world.define("two", {"name": "app", "image": "a"}, {"name": "side", "image": "b", "essential": False})
        arn = (await world.run_task(taskDefinition="two"))["tasks"][0]["taskArn"]
        both = ({"status": "RUNNING"}, {"containerName": "side", "status": "RUNNING"})
        await agent.report(arn, "RUNNING", *both)
        await world.becomes(arn, "RUNNING")
        await agent.report(arn, "RUNNING", {"containerName": "side", "status": "STOPPED", "exitCode": 1})
        await asyncio.sleep(5)
        assert (await world.describe(arn))["lastStatus"] == "RUNNING"
        await agent.report(arn, "RUNNING", {"status": "STOPPED", "exitCode": 3})
        stopping = await world.becomes(arn, "STOPPING")
        assert (stopping["desiredStatus"], stopping["stopCode"]) == ("STOPPED", "EssentialContainerExited")
        await agent.sent(arn, "STOPPED")
        await agent.report(arn, "STOPPED")
        stopped = await world.becomes(arn, "STOPPED")
        assert [c["exitCode"] for c in stopped["containers"]] == [3, 1]

    play(scene)


def test_a_task_stopped_before_it_started_never_was_running() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await world.call("StopTask", cluster="demo", task=arn)
        await agent.sent(arn, "STOPPED")
        await asyncio.sleep(1)
        assert (await world.describe(arn))["lastStatus"] == "PENDING"  # only the node knows that nothing runs
        await agent.report(arn, "STOPPED", {"status": "STOPPED"})
        stopped = await world.becomes(arn, "STOPPED")
        assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "Task stopped by user")
        assert "RUNNING" not in await world.statuses(arn)

    play(scene)


def test_late_and_repeated_reports_change_nothing() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await agent.report(arn, "RUNNING")
        await world.becomes(arn, "RUNNING")
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 5})
        stopped = await world.becomes(arn, "STOPPED")
        version = world.store.version
        await agent.report(arn, "RUNNING")
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 6, "reason": "other"})
        assert await world.describe(arn) == stopped
        assert world.store.version == version

    play(scene)


def test_stopped_tasks_are_forgotten_after_an_hour() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 0})
        await world.becomes(arn, "STOPPED")
        await asyncio.sleep(3590)
        assert (await world.call("ListTasks", cluster="demo", desiredStatus="STOPPED"))["taskArns"] == [arn]
        await asyncio.sleep(30)
        answer = await world.call("DescribeTasks", cluster="demo", tasks=[arn])
        assert (answer["tasks"], answer["failures"]) == ([], [{"arn": arn, "reason": "MISSING"}])

    play(scene)


def test_more_stopped_tasks_than_are_kept_are_forgotten_early() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arns = [t["taskArn"] for t in (await world.run_task(count=5))["tasks"]]
        for arn in arns:
            await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 0})
            await world.becomes(arn, "STOPPED")
            await asyncio.sleep(1)
        await asyncio.sleep(30)
        listed = (await world.call("ListTasks", cluster="demo", desiredStatus="STOPPED"))["taskArns"]
        assert sorted(listed) == sorted(arns[-2:])

    play(scene, kept=2)


def test_a_clock_that_is_set_forward_is_noticed() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 0})
        await world.becomes(arn, "STOPPED")
        world.clock.epoch += 4000
        await asyncio.sleep(15)
        assert (await world.call("ListTasks", cluster="demo", desiredStatus="STOPPED"))["taskArns"] == []

    play(scene)


def test_a_task_survives_a_crash_of_the_control_plane() -> None:
    """Nothing that was acknowledged is lost, and what was under way goes on."""
    journal = MemoryJournal()
    arns: list[str] = []
    instance: list[str] = []

    async def before(world: World) -> None:
        await world.prepare()
        agent = await joined(world)
        arns.extend(t["taskArn"] for t in (await world.run_task(count=3))["tasks"])
        await agent.sent(arns[2], "RUNNING")
        await agent.report(arns[0], "RUNNING")
        await world.becomes(arns[0], "RUNNING")
        await agent.report(arns[1], "STOPPED", {"status": "STOPPED", "exitCode": 0})  # nobody steps it any more
        instance.append(agent.arn)
        await world.crash()

    async def after(world: World) -> None:
        running, over, pending = arns
        await world.becomes(over, "STOPPED")
        agent = Agent(world, "n1")
        agent.arn = instance[0]  # it was not the agent that crashed
        await agent.register()
        assert agent.arn == instance[0]
        await agent.connect()
        manifest = await agent.hears(TaskManifestMessage)
        assert {t.task_arn: t.desired_status for t in manifest.tasks} == {running: "RUNNING", pending: "RUNNING"}
        await asyncio.sleep(120)
        assert (await world.describe(running))["lastStatus"] == "RUNNING"
        assert running not in [t.arn for t in agent.payload()]
        assert (await world.describe(pending))["lastStatus"] == "PENDING"

    play(before, journal=journal)
    play(after, journal=journal)


def test_a_full_disk_stops_nothing_for_good() -> None:
    journal = MemoryJournal()

    async def scene(world: World) -> None:
        await world.prepare()
        agent = await joined(world)
        arns = [t["taskArn"] for t in (await world.run_task(count=2))["tasks"]]
        await agent.sent(arns[1], "RUNNING")
        await agent.report(arns[0], "RUNNING")
        journal.fault = lambda commits: Fault("refused")
        with pytest.raises(StoreClosed):
            await world.run_task()
        await asyncio.sleep(20)
        assert (await world.describe(arns[0]))["lastStatus"] in ALL[:4]
        with pytest.raises(StoreClosed):
            await agent.report(arns[1], "RUNNING")
        journal.fault = None
        await asyncio.sleep(5)
        await world.becomes(arns[0], "RUNNING")
        await agent.report(arns[1], "RUNNING")
        await world.becomes(arns[1], "RUNNING")
        assert len((await world.call("ListTasks", cluster="demo"))["taskArns"]) == 2

    play(scene, journal=journal)
