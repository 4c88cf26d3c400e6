"""An agent that is killed at any moment and comes back: the same end, nothing left over, nothing run twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agent_world import CLUSTER, TASK, TASK_ID, World, container, payload

from homeport.agent.adopt import REBOOTED
from homeport.agent.drivers import ContainerPlan, Image
from homeport.agent.drivers.fake import Behaviour, FakeDriver
from homeport.agent.transport import CallFailed
from homeport.agentapi import PayloadTask, RestartPolicy

STORY = payload(
    container("app", after=(("init", "SUCCESS"), ("db", "START")), stop_timeout=3),
    container("db"),
    container("init", essential=False),
)
IMAGES = {"init": Behaviour(runs=1.0), "app": Behaviour(stops=None), "db": Behaviour(stop_code=0)}


class Killer:
    """Kills the agent just before, or just after, its n-th effect on the machine, the disk or the control plane."""

    def __init__(self, world: World, at: int, after: bool) -> None:
        self.effects, self._world, self._at, self._after = 0, world, at, after
        self.killed = asyncio.Event()
        world.fault = self
        world.control.fault = self
        save = world.records.save

        async def saving(record: Any) -> None:
            await asyncio.sleep(0.001)
            self("save", record.goal.task_id)
            await save(record)
            await asyncio.sleep(0.001)

        world.records.save = saving  # type: ignore[method-assign]

    def __call__(self, effect: str, id: str) -> None:
        self.effects += 1
        if self.effects != self._at:
            return
        self.killed.set()
        agent = self._world.agent
        assert agent is not None
        if self._after:
            asyncio.get_running_loop().call_soon(agent.cancel)
        else:
            agent.cancel()
            raise asyncio.CancelledError


async def control_plane(w: World, killer: Killer) -> None:
    """Starts the agent again when it was killed, sends again what was not acknowledged, and stops the running task."""
    stop = PayloadTask(arn=TASK, task_cluster_arn=CLUSTER, desired_status="STOPPED")
    for task, then in ((STORY, "RUNNING"), (stop, "STOPPED")):
        while True:
            killed = asyncio.ensure_future(killer.killed.wait())
            work = asyncio.ensure_future(deliver(w, task, then))
            await asyncio.wait((killed, work), return_when=asyncio.FIRST_COMPLETED)
            if not killer.killed.is_set():
                killed.cancel()
                work.result()
                break
            await w.kill()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            killer.killed.clear()
            await asyncio.sleep(0.7)
        await w.kill() if then == "RUNNING" else None


async def deliver(w: World, task: PayloadTask, then: str) -> None:
    node = await w.start()
    await node.accept(task)
    await w.control.until(lambda: w.control.status.get(TASK) in (then, "STOPPED"))
    if then == "STOPPED":
        await w.idle(node)


def live(at: int, after: bool) -> tuple[World, Killer]:
    w = World(**IMAGES)
    killer = Killer(w, at, after)
    w.run(lambda w: control_plane(w, killer))
    return w, killer


def test_killed_at_every_step_in_turn() -> None:
    _, undisturbed = live(0, after=False)
    assert undisturbed.effects > 35
    for after in (False, True):
        for at in range(1, undisturbed.effects + 1):
            w, _ = live(at, after)
            where = f"killed {'after' if after else 'before'} effect {at}"
            w.nothing_left()
            codes = {name: c.get("exitCode") for name, c in w.control.containers.items()}
            assert codes == {"app": 137, "db": 0, "init": 0}, where
            starts = [id for event, id in w.runtime.history if event == "start"]
            assert sorted(starts) == [f"{TASK_ID}-{n}" for n in range(3)], where
            assert w.control.status[TASK] == "STOPPED"
            assert "RUNNING" in [r["status"] for r in w.control.reports], where


def test_what_ended_while_the_agent_was_away_is_reported_with_its_exit_code() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web"), container("side", essential=False)))
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        await w.kill()
        await asyncio.sleep(30)
        assert w.control.status[TASK] == "RUNNING"
        await w.start()
        await w.control.until_stopped()

    w = World(web=Behaviour(runs=10.0, exit_code=7))
    w.run(story)
    assert w.control.containers["web"]["exitCode"] == 7
    assert w.control.containers["side"]["exitCode"] == 143


def test_what_runs_is_adopted_without_a_word() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web")))
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        await asyncio.sleep(1)
        said = len(w.control.reports)
        for _ in range(3):
            await w.kill()
            await w.start()
            await asyncio.sleep(5)
        assert len(w.control.reports) == said
        assert w.runtime.running() == [f"{TASK_ID}-0"]

    World().run(story)


def test_a_report_that_was_not_acknowledged_is_sent_again() -> None:
    async def story(w: World) -> None:
        w.control.fault = lambda call, id: (_ for _ in ()).throw(asyncio.CancelledError())
        node = await w.start()
        await node.accept(payload(container("web")))
        await asyncio.sleep(1)
        assert not w.control.reports
        await w.kill()
        w.control.fault = lambda call, id: None
        await w.start()
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")

    World().run(story)


def test_the_runtime_itself_was_killed() -> None:
    """Its events are not repeated: everything is looked at again."""

    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web")))
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        notify, w.runtime.notify = w.runtime.notify, lambda id: None  # type: ignore[method-assign]
        await asyncio.sleep(20)
        assert w.control.status[TASK] == "RUNNING"
        w.runtime.notify = notify  # type: ignore[method-assign]
        w.runtime.restart()
        await w.control.until_stopped()

    w = World(web=Behaviour(runs=10.0, exit_code=5))
    w.run(story)
    assert w.control.containers["web"]["exitCode"] == 5


@pytest.mark.parametrize("stopping", [False, True])
def test_after_a_reboot_tasks_are_stopped_with_a_reason(stopping: bool) -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web"), container("late", after=(("never", "COMPLETE"),)), never))
        await w.control.until(lambda: "web" in w.control.containers)
        if stopping:
            asyncio.ensure_future(node.accept(payload(stop=True)))  # noqa: RUF006
            await asyncio.sleep(0.5)
        await w.kill()
        w.runtime.reboot()
        w.fabric.reboot("node")
        w.boot_id = "boot-2"
        await w.start()
        await w.control.until_stopped()
        await asyncio.sleep(1)
        w.nothing_left()

    never = container("never", essential=False)
    w = World(web=Behaviour(stops=None))
    w.run(story)
    assert w.control.reports[-1]["reason"] == REBOOTED
    assert "exitCode" not in w.control.containers["web"]
    assert w.control.containers["web"]["reason"].startswith("ContainerVanishedError")
    assert "reason" not in w.control.containers["late"]


def test_a_reboot_is_told_before_an_essential_container_is_said_to_be_over() -> None:
    """Whoever hears only of the container would take its end for the reason."""

    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web", after=(("init", "COMPLETE"),)), container("init", essential=False)))
        await asyncio.sleep(5)
        await w.kill()
        w.runtime.reboot()
        w.fabric.reboot("node")
        w.boot_id = "boot-2"
        w.control.reports.clear()
        await w.start()
        await w.control.until_stopped()

    w = World()
    w.control.refuse = lambda params: None if w.boot_id == "boot-2" else CallFailed(None, "away")
    w.run(story)
    assert len(w.control.reports) > 1
    assert all(report.get("reason") == REBOOTED for report in w.control.reports)


@pytest.mark.parametrize("disk_full", [False, True])
def test_what_was_told_to_stop_is_not_restarted_by_the_next_agent(disk_full: bool) -> None:
    """The agent is killed right after the stop signal, and the control plane is away when the next one starts. A full
    disk doesn't keep it from stopping."""

    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web", restart_policy=RestartPolicy(period=60))))
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        await asyncio.sleep(70)
        signalled = asyncio.Event()

        async def write(record: Any) -> None:
            if disk_full:
                raise OSError(28, "No space left on device")
            await asyncio.sleep(0.1)
            await save(record)

        def fault(call: str, id: str) -> None:
            if call == "kill":
                signalled.set()

        w.fault = fault
        save, w.records.save = w.records.save, write  # type: ignore[method-assign]
        node.accept(payload(stop=True))
        await asyncio.wait_for(signalled.wait(), 5)
        if not disk_full:
            assert w.agent is not None
            asyncio.get_running_loop().call_soon(w.agent.cancel)
            await asyncio.sleep(40)
            await w.start()
            await asyncio.sleep(5)
        w.records.save = save  # type: ignore[method-assign]
        await w.control.until_stopped()
        assert "restart" not in [event for event, _ in w.runtime.history]

    World().run(story)


def test_what_belongs_to_no_task_is_removed() -> None:
    async def story(w: World) -> None:
        driver = FakeDriver(w.runtime)
        image = Image(reference="web:1", digest="sha256:1")
        plan = ContainerPlan(id=f"{TASK_ID}-0", task_id=TASK_ID, spec=container("web"), image=image)
        await driver.create(plan)
        await driver.start(plan.id)
        spec = payload().spec
        assert spec is not None
        assert spec.interface is not None
        w.fabric.attach("node", TASK_ID, spec.interface)
        await w.start()
        w.nothing_left()

    World().run(story)


@pytest.mark.parametrize("away", [False, True])
def test_an_exit_code_outlives_its_container_and_the_agent(away: bool) -> None:
    """The process ends (while the agent watches, or while it is away), the control plane can't be reached, the
    container is removed, and then the agent is killed."""

    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web")))
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        await asyncio.sleep(1)
        w.control.refuse = lambda params: CallFailed(None, "connection refused")
        if away:
            await w.kill()
            await asyncio.sleep(20)
            await w.start()
        await asyncio.sleep(20)
        w.nothing_left()
        await w.kill()
        w.control.refuse = lambda params: None
        await w.start()
        await w.control.until_stopped()

    w = World(web=Behaviour(runs=10.0, exit_code=7))
    w.run(story)
    assert w.control.containers["web"]["exitCode"] == 7


def test_what_changes_while_a_record_is_written_is_written_after_it() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web"), container("side", essential=False)))
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        await asyncio.sleep(1)
        w.control.refuse = lambda params: CallFailed(None, "connection refused")
        w.records.save = slow  # type: ignore[method-assign]
        await asyncio.sleep(60)  # side ends, and web within the second that its record takes to be written
        w.nothing_left()
        await w.kill()
        w.control.refuse = lambda params: None
        await w.start()
        await w.control.until_stopped()

    async def slow(record: Any) -> None:
        await asyncio.sleep(1.0)
        await save(record)

    w = World(side=Behaviour(runs=10.0, exit_code=3), web=Behaviour(runs=10.5, exit_code=7))
    save = w.records.save
    w.run(story)
    assert w.control.containers["web"]["exitCode"] == 7
    assert w.control.containers["side"]["exitCode"] == 3
