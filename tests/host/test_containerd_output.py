"""Output of containers while it is cut, read and followed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from containerd_bed import Bed, with_bed

from homeport.agent.drivers.containerd import logs

pytestmark = pytest.mark.host


def test_cutting_while_it_is_written_loses_nothing_new(tmp_path: Path) -> None:
    keep, count = 256 << 10, 200_000

    async def scenario(bed: Bed) -> None:
        plan = await bed.start(f"seq {count}")
        path = logs.paths(bed.instance.state, plan.task_id, plan.spec.name)["stdout"]
        cuts = 0
        while (observed := await bed.driver.observe(plan.id)) and observed.state == "running":
            cuts += logs.trim(path, keep, slack=0) > 0
            await asyncio.sleep(0)
        logs.trim(path, keep, slack=0)
        assert path.stat().st_blocks * 512 <= keep + 2 * 4096
        numbers = [int(line) for _, data in logs.read(path) for line in data.split()]
        assert numbers[-1] == count
        assert numbers == list(range(numbers[0], count + 1))
        assert len(numbers) > keep // 8
        assert path.stat().st_size == sum(len(str(i)) + 1 for i in range(1, count + 1))

    with_bed(tmp_path, scenario)


def test_following(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plan = await bed.start("echo one; while ! [ -e /go ]; do sleep 0.02; done; echo two >&2")
        loop = asyncio.get_running_loop()
        found = logs.paths(bed.instance.state, plan.task_id, plan.spec.name)

        def ended() -> bool:
            future = asyncio.run_coroutine_threadsafe(bed.driver.observe(plan.id), loop)
            observed = future.result()
            return observed is None or observed.state == "stopped"

        def read() -> list[tuple[str, bytes]]:
            chunks = []
            for stream, data in logs.follow(found, ended):
                chunks.append((stream, data))
                observed = asyncio.run_coroutine_threadsafe(bed.driver.observe(plan.id), loop).result()
                if observed and observed.state == "running":
                    Path(f"/proc/{observed.pid}/root/go").touch()
            return chunks

        assert await asyncio.to_thread(read) == [("stdout", b"one\n"), ("stderr", b"two\n")]

    with_bed(tmp_path, scenario)
