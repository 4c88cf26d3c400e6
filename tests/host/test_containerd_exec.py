"""Commands run in a container, and containers that run again, on a real containerd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from containerd_bed import PATIENCE, Bed, with_bed
from google.protobuf.any_pb2 import Any as AnyMessage

from homeport.agent.drivers import DriverError
from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd.client import Client
from homeport.agent.drivers.containerd.execs import AT_ONCE

pytestmark = pytest.mark.host

IDLE = "while :; do sleep 1; done"
HUNGRY = "x=$(dd if=/dev/zero bs=1M count=200 2>/dev/null | tr '\\0' x); echo ${#x}"


def shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def runs(line: str) -> bool:
    """Whether a process with this in its command line runs."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if line in path.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                return True
    return False


def held(folder: Path) -> int:
    """Bytes on disk of all that containers wrote."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("std*"))


def test_a_command_runs_as_its_container_does(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plan = await bed.start(IDLE, user="web", environment={"COLOUR": "red"}, working_directory="/tmp")
        check = '[ "$(id -u) $COLOUR $(pwd)" = "1000 red /tmp" ] && exit 3'
        assert await bed.driver.exec(plan.id, "check", shell(check), 5) == 3
        assert await bed.driver.exec(plan.id, "check", shell("exit 0"), 5) == 0
        with pytest.raises(DriverError, match=r"CannotStartContainerExecError: .*no-such-program"):
            await bed.driver.exec(plan.id, "check", ("/no-such-program",), 5)
        assert await bed.driver.exec(plan.id, "check", shell("exit 4"), 5) == 4

    with_bed(tmp_path, scenario)


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plan = await bed.start(IDLE)
        began = time.monotonic()
        assert await bed.driver.exec(plan.id, "check", shell("sleep 7654 & sleep 7654"), 1) is None
        assert time.monotonic() - began < 20
        async with asyncio.timeout(PATIENCE):
            while runs("sleep 7654"):  # noqa: ASYNC110 they sleep for hours: only the kill ends them
                await asyncio.sleep(0.02)
        assert (await bed.driver.observe(plan.id)).state == "running"  # type: ignore[union-attr]

    with_bed(tmp_path, scenario)


def test_a_gigabyte_of_output_goes_nowhere(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plan = await bed.start(IDLE)
        flood = shell("dd if=/dev/zero bs=1M count=1024; dd if=/dev/zero bs=1M count=8 >&2")
        assert await bed.driver.exec(plan.id, "check", flood, 30) == 0
        assert held(tmp_path) < 1 << 20

    with_bed(tmp_path, scenario)


def test_what_an_earlier_agent_left_running_is_ended(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plan = await bed.start(IDLE)
        client = bed.driver._client
        container = (await client.call(c.GET_CONTAINER, pb.ContainerId(id=plan.id))).container
        body = msgspec.json.decode(container.spec.value)["process"] | {"args": ["sleep", "8765"]}
        kind = "types.containerd.io/opencontainers/runtime-spec/1/Process"
        spec = AnyMessage(type_url=kind, value=msgspec.json.encode(body))
        await client.call(c.EXEC, pb.ExecRequest(container_id=plan.id, exec_id="check", spec=spec))
        await client.call(c.START_TASK, pb.TaskRequest(container_id=plan.id, exec_id="check"))
        assert await bed.driver.exec(plan.id, "check", shell("exit 0"), 5) == 0
        assert not runs("sleep 8765")

    with_bed(tmp_path, scenario)


def test_a_command_that_takes_too_much_memory_is_not_its_container(tmp_path: Path) -> None:
    """The kernel kills either for the memory of both; what is said of the container is true of the container."""
    until = "until [ -e /tmp/end ]; do sleep 0.05; done; "

    async def scenario(bed: Bed) -> None:
        for script, code, oom in ((until + "exit 3", 3, False), (until + HUNGRY, 137, True)):
            plan = await bed.start(script, memory=32)
            assert await bed.driver.exec(plan.id, "check", shell(HUNGRY + " || exit 1"), 30) not in (0, None)
            await asyncio.sleep(1.1)
            assert await bed.driver.exec(plan.id, "check", shell("exit 0"), 30) == 0
            running = await bed.driver.observe(plan.id)
            assert running is not None
            await asyncio.to_thread(Path(f"/proc/{running.pid}/root/tmp/end").touch)
            ended = await bed.stopped(plan.id)
            assert (ended.exit_code, ended.oom) == (code, oom)

    with_bed(tmp_path, scenario)


def test_a_container_that_is_killed_under_its_command_is_named(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plan = await bed.start("until [ -e /tmp/end ]; do sleep 0.05; done; " + HUNGRY, memory=32)
        assert await bed.driver.exec(plan.id, "check", shell("touch /tmp/end; sleep 100"), 30) == 137
        ended = await bed.stopped(plan.id)
        assert (ended.exit_code, ended.oom) == (137, True)

    with_bed(tmp_path, scenario)


def test_many_commands_at_once_begin_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beginning = most = 0
    call = Client.call

    async def counted(self: Client, method: Any, *more: Any, **options: Any) -> Any:
        nonlocal beginning, most
        begins = method is c.START_TASK and more[0].exec_id
        beginning += bool(begins)
        most = max(most, beginning)
        try:
            return await call(self, method, *more, **options)
        finally:
            beginning -= bool(begins)

    monkeypatch.setattr(Client, "call", counted)

    async def scenario(bed: Bed) -> None:
        plan = await bed.start(IDLE)
        hanging = [bed.driver.exec(plan.id, f"hangs{n}", shell("sleep 1000"), 2) for n in range(8)]
        ending = [bed.driver.exec(plan.id, f"ends{n}", shell("exit 0"), 60) for n in range(8)]
        assert await asyncio.gather(*hanging, *ending) == [None] * 8 + [0] * 8

    with_bed(tmp_path, scenario)
    assert 1 < most <= AT_ONCE * (os.cpu_count() or 1)


def test_a_container_runs_again_with_its_files(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plan = await bed.start("echo run >> /runs; cat /runs; exit $(wc -l < /runs)")
        first = await bed.stopped(plan.id)
        assert first.exit_code == 1
        again = await bed.driver.restart(plan.id)
        assert again.state == "running"
        assert (again.started_at or 0) > (first.finished_at or 0)
        bed.changed.clear()

        async def second() -> bool:
            seen = await bed.driver.observe(plan.id)
            return seen is not None and seen.state == "stopped" and seen.exit_code == 2

        await bed.until(second)
        await bed.driver.restart(plan.id)

        async def third() -> bool:
            seen = await bed.driver.observe(plan.id)
            return seen is not None and seen.state == "stopped" and seen.exit_code == 3

        await bed.until(third)

    with_bed(tmp_path, scenario)


def test_restarting_what_runs_changes_nothing(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plan = await bed.start(IDLE)
        before = await bed.driver.observe(plan.id)
        again = await bed.driver.restart(plan.id)
        assert before is not None
        assert again.pid == before.pid

    with_bed(tmp_path, scenario)
