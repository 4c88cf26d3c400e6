"""Bad days: containerd, a shim or the agent dies, at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from pathlib import Path

import pytest
from containerd_bed import PATIENCE, Bed, snapshots_in_use, with_bed

from homeport.agent.drivers.containerd import ContainerdDriver, daemon, instance, stop_containerd
from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd.client import Client
from homeport.agent.drivers.containerd.unpack import SNAPSHOTTER

pytestmark = pytest.mark.host


def pid_of_containerd(bed: Bed) -> int:
    pid = daemon.running_pid(bed.instance)
    assert pid is not None
    return pid


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def shim_of(pid: int) -> int:
    """The shim that a container's first process hangs on."""
    shim = parent_of(pid)
    assert b"containerd-shim" in Path(f"/proc/{shim}/cmdline").read_bytes()
    return shim


def go(pid: int) -> None:
    """Makes the file that a container's script waits for."""
    Path(f"/proc/{pid}/root/go").touch()


def gone(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        watch = os.pidfd_open(pid)
        assert select.select([watch], [], [], PATIENCE)[0]
        os.close(watch)


def test_containerd_killed_under_running_containers(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.until(lambda: asyncio.sleep(0, "" in bed.seen))
        stays = await bed.start("echo ready; while ! [ -e /go ]; do sleep 0.05; done; echo later; exit 5")
        ends = await bed.start("sleep 0.5; exit 6")
        await bed.wrote(stays, "ready")
        before = await bed.driver.observe(stays.id)
        assert before is not None
        old = pid_of_containerd(bed)
        bed.seen.clear()
        os.kill(old, signal.SIGKILL)
        # The loss is noticed, containerd started again, and a new look asked for, without any call of ours.
        await bed.until(lambda: asyncio.sleep(0, "" in bed.seen))
        assert pid_of_containerd(bed) != old
        after = await bed.driver.observe(stays.id)
        assert after is not None
        assert (after.state, after.pid, after.started_at) == ("running", before.pid, before.started_at)
        assert (await bed.stopped(ends.id)).exit_code == 6
        go(after.pid)
        assert (await bed.stopped(stays.id)).exit_code == 5
        assert await bed.lines(stays, 2) == ["ready", "later"]

    with_bed(tmp_path, scenario)


def test_calls_wait_for_a_containerd_that_is_restarted(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.until(lambda: asyncio.sleep(0, "" in bed.seen))
        for milliseconds in (5, 15, 25, 35, 45, 55, 65, 75, 85):
            plan = bed.plan("exit 3")
            killed = asyncio.get_running_loop().call_later(
                milliseconds / 1000, os.kill, pid_of_containerd(bed), signal.SIGKILL
            )
            await bed.driver.create(plan)
            killed.cancel()
            await bed.driver.start(plan.id)
            assert (await bed.stopped(plan.id)).exit_code == 3

    with_bed(tmp_path, scenario)


@pytest.mark.feature("A restart of a container that was cut off at any moment is made anew")
def test_a_restart_that_is_cut_off_is_made_anew(tmp_path: Path) -> None:
    """containerd takes a while to clean up after a creation that nobody waits for any more."""

    async def scenario(bed: Bed) -> None:
        plan = await bed.start("exit 3")
        for milliseconds in range(2, 72, 6):
            assert (await bed.stopped(plan.id)).exit_code == 3
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(milliseconds / 1000):
                    await bed.driver.restart(plan.id)
                    continue
            await bed.reopen()
            await bed.driver.restart(plan.id)
        assert (await bed.stopped(plan.id)).exit_code == 3

    with_bed(tmp_path, scenario)


@pytest.mark.feature("What a creation that was cut off leaves behind for good is cleared away")
def test_a_bundle_that_stays_is_cleared_away(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plan = await bed.start("exit 3")
        await bed.stopped(plan.id)
        tasks = bed.instance.run / "state" / "io.containerd.runtime.v2.task" / bed.instance.name
        client = Client(str(bed.instance.socket), bed.instance.name)
        await client.call(c.DELETE_TASK, pb.TaskRequest(container_id=plan.id))
        await client.close()
        (tasks / plan.id).mkdir()
        await bed.driver.restart(plan.id)
        assert (await bed.stopped(plan.id)).exit_code == 3

    with_bed(tmp_path, scenario)


@pytest.mark.feature("A start that was cut off when the process had gone on already is brought to its end")
def test_a_start_that_was_cut_off_at_its_last_moment(tmp_path: Path) -> None:
    """runc has read what the process writes when it goes on, and was killed before it removed the pipe."""

    async def scenario(bed: Bed) -> None:
        plan = bed.plan("echo once; exec sleep 1000")
        await bed.driver.create(plan)
        pipe = bed.instance.runc_root / bed.instance.name / plan.id / "exec.fifo"
        assert await asyncio.to_thread(pipe.read_bytes) == b"0"
        await bed.wrote(plan, "once")
        start = asyncio.create_task(bed.driver.start(plan.id))
        await asyncio.sleep(0.3)  # nothing tells that it waits
        seen = await bed.driver.observe(plan.id)
        assert seen is not None
        assert seen.state in ("created", "running")
        assert (await start).state == "running"
        seen = await bed.driver.observe(plan.id)
        assert seen is not None
        assert seen.state == "running"
        assert not pipe.exists()
        assert await bed.lines(plan, 1) == ["once"]
        await bed.driver.kill(plan.id, 9)
        assert (await bed.stopped(plan.id)).exit_code == 137

    with_bed(tmp_path, scenario)


def test_a_start_that_was_cut_off_a_moment_before(tmp_path: Path) -> None:
    """runc was killed when it waited for what the process writes: that has nobody to tell it to, and ends."""

    async def scenario(bed: Bed) -> None:
        for _ in range(4):
            plan = bed.plan("echo once; exit 3")
            await bed.driver.create(plan)
            pipe = bed.instance.runc_root / bed.instance.name / plan.id / "exec.fifo"
            await asyncio.to_thread(lambda pipe=pipe: os.close(os.open(pipe, os.O_RDONLY)))
            await asyncio.sleep(0.2)
            await bed.driver.start(plan.id)
            assert (await bed.stopped(plan.id)).exit_code == 3
            assert await bed.lines(plan, 1) == ["once"]

    with_bed(tmp_path, scenario)


def test_exit_while_the_agent_is_away(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plan = await bed.start("while ! [ -e /go ]; do sleep 0.02; done; echo last words; exit 9")
        observed = await bed.driver.observe(plan.id)
        assert observed is not None
        await bed.driver.close()
        go(observed.pid)
        gone(observed.pid)
        bed.driver = ContainerdDriver(bed.instance)
        await bed.driver.open()
        (found,) = await bed.driver.list()
        async with asyncio.timeout(PATIENCE):
            while found.state == "running":
                (found,) = await bed.driver.list()
        assert (found.id, found.state, found.exit_code) == (plan.id, "stopped", 9)
        assert found.started_at == observed.started_at
        assert found.labels["homeport.task"] == plan.task_id
        assert await bed.lines(plan, 1) == ["last words"]

    with_bed(tmp_path, scenario)


def test_a_shim_that_dies_takes_its_container_along(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.until(lambda: asyncio.sleep(0, "" in bed.seen))
        plan = await bed.start("sleep 1000")
        observed = await bed.driver.observe(plan.id)
        assert observed is not None
        os.kill(shim_of(observed.pid), signal.SIGKILL)
        ended = await bed.stopped(plan.id)
        assert (ended.state, ended.exit_code) == ("stopped", 137)
        gone(observed.pid)
        # To an agent that saw no exit, it is lost.
        other = ContainerdDriver(bed.instance)
        await other.open()
        (found,) = await other.list()
        assert (found.id, found.state, found.exit_code) == (plan.id, "lost", None)
        await other.close()

    with_bed(tmp_path, scenario)


def test_what_a_crash_left_half_made_is_removed(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        whole = bed.plan("exit 0")
        await bed.driver.create(whole)
        client = Client(str(bed.instance.socket), bed.instance.name)
        container = pb.Container(
            id="half", labels={"homeport.task": "c" * 32}, snapshotter=SNAPSHOTTER, snapshot_key="half"
        )
        container.runtime.name = "io.containerd.runc.v2"
        container.spec.type_url = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
        await client.call(c.CREATE_CONTAINER, pb.ContainerMessage(container=container))
        for key in ("half", "alone"):
            request = pb.PrepareSnapshotRequest(
                snapshotter=SNAPSHOTTER, key=key, labels={"containerd.io/gc.root": "homeport"}
            )
            await client.call(c.PREPARE_SNAPSHOT, request)
        await bed.driver.close()
        bed.driver = ContainerdDriver(bed.instance)
        await bed.driver.open()
        assert [(found.id, found.state) for found in await bed.driver.list()] == [(whole.id, "created")]
        assert await snapshots_in_use(bed.instance) == [whole.id]
        assert await bed.driver.observe("half") is None
        await client.close()

    with_bed(tmp_path, scenario)


def test_containers_outlive_an_orderly_stop_of_containerd(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        stays = await bed.start("echo ready; while ! [ -e /go ]; do sleep 0.02; done; exit 8")
        ends = await bed.start("while ! [ -e /go ]; do sleep 0.02; done; exit 9")
        await bed.wrote(stays, "ready")
        pids = {observed.id: observed.pid for observed in await bed.driver.list()}
        await bed.driver.close()
        stop_containerd(bed.instance)
        assert daemon.running_pid(bed.instance) is None
        go(pids[ends.id])
        gone(pids[ends.id])
        bed.driver = ContainerdDriver(bed.instance)
        await bed.driver.open()
        async with asyncio.timeout(PATIENCE):
            while (now := await bed.driver.observe(ends.id)) and now.state == "running":
                pass
        found = {observed.id: observed for observed in await bed.driver.list()}
        assert (found[stays.id].state, found[stays.id].pid) == ("running", pids[stays.id])
        assert (found[ends.id].state, found[ends.id].exit_code) == ("stopped", 9)
        go(pids[stays.id])
        gone(pids[stays.id])
        async with asyncio.timeout(PATIENCE):  # the shim hears of the end a moment after us
            while (observed := await bed.driver.observe(stays.id)) and observed.state == "running":
                pass
        assert observed is not None
        assert observed.exit_code == 8

    with_bed(tmp_path, scenario)


def test_a_containerd_of_others_is_neither_started_nor_stopped(tmp_path: Path) -> None:
    theirs = instance(tmp_path / "theirs")

    async def scenario(bed: Bed) -> None:
        observed, out, _ = await bed.run("echo hello")
        assert (observed.exit_code, out) == (0, "hello\n")
        stop_containerd(bed.instance)
        assert pid == daemon.running_pid(theirs)

    asyncio.run(daemon.ensure(theirs))
    pid = daemon.running_pid(theirs)
    try:
        with_bed(tmp_path, scenario, external=theirs.socket)
    finally:
        stop_containerd(theirs)
    assert daemon.running_pid(theirs) is None
