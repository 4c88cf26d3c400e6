"""Output of containers while it is cut, read and followed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from containerd_bed import PATIENCE, Bed, with_bed

from homeport.agent.drivers import DriverError
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
        await bed.driver.remove(plan.id)  # waits for its last words
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
            observed = asyncio.run_coroutine_threadsafe(bed.driver.observe(plan.id), loop).result()
            if observed is not None and observed.state != "stopped":
                return False
            asyncio.run_coroutine_threadsafe(bed.driver.remove(plan.id), loop).result()  # waits for its last words
            return True

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


def test_what_prints_without_end_is_bounded_also_without_an_agent(tmp_path: Path) -> None:
    """200 MiB of output while no driver is there; the file never holds the half of that, and then its bound."""
    size = 200 << 20
    tell = "echo first >&2; until [ -e /go ]; do sleep 0.02; done"
    print_it = f"for i in $(seq 50); do yes 0123456789abcde | head -c {size // 50}; sleep 0.2; done"

    async def scenario(bed: Bed) -> None:
        script = f"{tell}; {print_it}; seq 50000; echo last >&2; sleep 2"
        plan = await bed.start(script, log_driver="json-file", log_options={"max-size": "1m", "max-file": "2"})
        running = await bed.driver.observe(plan.id)
        assert running is not None
        await bed.driver.close()
        found = logs.paths(bed.instance.state, plan.task_id, plan.spec.name)
        ended = os.pidfd_open(running.pid)
        await asyncio.to_thread(Path(f"/proc/{running.pid}/root/go").touch)
        most = 0
        while not select.select([ended], [], [], 0)[0]:
            most = max(most, found["stdout"].stat().st_blocks * 512)
            await asyncio.sleep(0.02)
        os.close(ended)
        await bed.reopen()
        assert (await bed.stopped(plan.id)).exit_code == 0
        assert found["stdout"].stat().st_size > size
        assert 2_000_000 < most < size // 2
        async with asyncio.timeout(PATIENCE):
            while found["stdout"].stat().st_blocks * 512 > 2_000_000 * 9 // 8 + 4096:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        kept = b"".join(data for _, data in logs.read(found["stdout"]))
        assert kept.endswith(b"\n" + b"".join(b"%d\n" % i for i in range(1, 50_001)))
        assert len(kept) >= 2_000_000 - 20
        assert found["stderr"].read_bytes() == b"first\nlast\n"

    with_bed(tmp_path, scenario)


def test_an_option_that_means_nothing_is_said(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plan = bed.plan("true", log_driver="json-file", log_options={"max-size": "much"})
        with pytest.raises(DriverError, match=r"CannotCreateContainerError: .*invalid size: 'much'"):
            await bed.driver.create(plan)

    with_bed(tmp_path, scenario)


def test_what_bounds_output_is_brought_back(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        lock = bed.instance.run / "trimmer"
        async with asyncio.timeout(PATIENCE):
            while not (lock.exists() and lock.read_text()):  # noqa: ASYNC110 a file tells nobody
                await asyncio.sleep(0.01)
            first = lock.read_text()
            os.kill(int(first), signal.SIGKILL)
            await bed.reopen()
            while lock.read_text() in ("", first):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    with_bed(tmp_path, scenario)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_where_the_disk_is_small_output_keeps_less(small_disk: Path) -> None:
    """100 MB of output, less than the bound at a time, on a disk of 48 MiB."""
    slowly = "i=0; while [ $i -lt 100 ]; do yes 0123456789abcde | head -c 1000000; i=$((i+1)); sleep 0.02; done"

    async def scenario(bed: Bed) -> None:
        ended, out, _ = await bed.run(f"{slowly}; echo; echo last; exit 7")
        assert ended.exit_code == 7
        assert out.endswith("\nlast\n")

    with_bed(small_disk, scenario)


def test_on_a_full_disk_what_prints_waits_and_can_be_stopped(small_disk: Path) -> None:
    async def scenario(bed: Bed) -> None:
        other = await bed.start("while sleep 0.1; do :; done", task_id="b" * 32)
        with (small_disk / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        plan = bed.plan("yes")
        with pytest.raises(DriverError, match="No space left on device"):
            await bed.driver.create(plan)
        assert (await bed.driver.observe(other.id)) is not None
        await asyncio.to_thread((small_disk / "fill").unlink)
        await bed.driver.remove(plan.id)
        plan = await bed.start("yes")
        with (small_disk / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        for id in (plan.id, other.id):
            seen = await bed.driver.observe(id)
            assert seen is not None
            assert seen.state == "running"
        await bed.driver.kill(plan.id, signal.SIGKILL)
        assert (await bed.stopped(plan.id)).exit_code == 137
        await asyncio.to_thread((small_disk / "fill").unlink)
        assert await bed.driver.exec(other.id, "check", ["true"], 5) == 0

    with_bed(small_disk, scenario)
