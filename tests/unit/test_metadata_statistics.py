"""From the kernel's files to Docker's statistics, and how often they may be asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeport.agent.drivers.containerd import usage
from homeport.agent.drivers.containerd.cgroups import Cgroups
from homeport.agent.drivers.usage import Blocks, Cpu, Memory, Traffic, Usage
from homeport.agent.metadata import statistics
from homeport.agent.metadata.bucket import Bucket

STAT = "cpu  100 0 50 850 0 0 0 0 7 0\ncpu0 50 0 25 425 0 0 0 0 7 0\ncpu1 50 0 25 425 0 0 0 0 0 0\nintr 1 2\n"
MEMINFO = "MemTotal:        1000 kB\nMemFree:          10 kB\n"
DEV = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier\n"
    "    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"
    "  eth0: 100 2 3 4 0 0 0 0 500 6 7 8 0 0 0 0\n"
)
V1 = {
    "cpuacct/{}/cpuacct.usage": "3000\n",
    "cpuacct/{}/cpuacct.usage_user": "2000\n",
    "cpuacct/{}/cpuacct.usage_sys": "1000\n",
    "cpuacct/{}/cpuacct.usage_percpu": "1000 2000 \n",
    "cpu/{}/cpu.stat": "nr_periods 5\nnr_throttled 2\nthrottled_time 700\n",
    "memory/{}/memory.usage_in_bytes": "4096\n",
    "memory/{}/memory.max_usage_in_bytes": "8192\n",
    "memory/{}/memory.failcnt": "1\n",
    "memory/{}/memory.stat": "cache 10\nrss 20\n",
    "memory/{}/memory.limit_in_bytes": "9223372036854771712\n",
    "pids/{}/pids.current": "3\n",
    "pids/{}/cgroup.procs": "42\n43\n",
    "blkio/{}/blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 0\nTotal 4096\n",
    "blkio/{}/blkio.throttle.io_serviced_recursive": "8:0 Read 1\nTotal 1\n",
}
V2 = {
    "{}/cpu.stat": (
        "usage_usec 3\nuser_usec 2\nsystem_usec 1\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7\nnice_usec 0\n"
    ),
    "{}/memory.current": "4096\n",
    "{}/memory.stat": "anon 20\nfile 10\n",
    "{}/memory.max": "max\n",
    "{}/pids.current": "3\n",
    "{}/cgroup.procs": "42\n",
    "{}/io.stat": "8:0 rbytes=4096 wbytes=512 rios=1 wios=2 dbytes=0 dios=0\n",
}


def machine(folder: Path, files: dict[str, str], task_limit: tuple[str, str]) -> Cgroups:
    for name, text in [*((name.format("hp/task/c"), text) for name, text in files.items()), task_limit]:
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    proc = folder / "proc"
    (proc / "42" / "net").mkdir(parents=True)
    for name, text in {"stat": STAT, "meminfo": MEMINFO, "42/net/dev": DEV}.items():
        (proc / name).write_text(text)
    return Cgroups("hp", folder / "cgroup")


@pytest.mark.parametrize(("files", "unified"), [(V1, False), (V2, True)])
def test_a_glance_sees_processor_and_memory(tmp_path: Path, files: dict[str, str], unified: bool) -> None:
    more = {"../cgroup/cgroup.controllers": "cpu memory\n"} if unified else {}
    cgroups = machine(tmp_path, {**files, **more}, ("memory.max", "max\n"))
    assert cgroups.unified == unified
    seen = usage.glance(cgroups, "task", "c", 9.0)
    whole = usage.read(cgroups, "task", "c", 9.0, tmp_path / "proc")
    assert seen is not None
    assert whole is not None
    assert seen.cpu.total == whole.cpu.total == 3000
    assert seen.memory.resident == whole.memory.resident == 4096
    assert (seen.read_at, seen.cpu.online >= 1) == (9.0, True)
    assert usage.glance(cgroups, "task", "other", 9.0) is None


def test_cgroup_v1(tmp_path: Path) -> None:
    cgroups = machine(tmp_path, V1, ("memory/hp/task/memory.limit_in_bytes", "524288\n"))
    assert usage.read(cgroups, "task", "c", 9.0, tmp_path / "proc") == Usage(
        read_at=9.0,
        cpu=Cpu(3000, 2000, 1000, (1000, 2000), 1000 * 10_000_000, 2, 5, 2, 700),
        memory=Memory(4096, 8192, 524288, 1, {"cache": 10, "rss": 20}),
        processes=3,
        block_bytes=(Blocks(8, 0, "Read", 4096), Blocks(8, 0, "Write", 0)),
        block_requests=(Blocks(8, 0, "Read", 1),),
        networks={"eth0": Traffic(100, 2, 3, 4, 500, 6, 7, 8)},
    )


def test_cgroup_v2(tmp_path: Path) -> None:
    cgroups = machine(tmp_path, {**V2, "../cgroup/cgroup.controllers": "cpu memory\n"}, ("hp/task/memory.max", "max\n"))
    assert usage.read(cgroups, "task", "c", 9.0, tmp_path / "proc") == Usage(
        read_at=9.0,
        cpu=Cpu(3000, 2000, 1000, (), 1000 * 10_000_000, 2, 5, 2, 7000),
        memory=Memory(4096, None, 1000 * 1024, None, {"anon": 20, "file": 10}),
        processes=3,
        block_bytes=(Blocks(8, 0, "read", 4096), Blocks(8, 0, "write", 512)),
        block_requests=(Blocks(8, 0, "read", 1), Blocks(8, 0, "write", 2)),
        networks={"eth0": Traffic(100, 2, 3, 4, 500, 6, 7, 8)},
    )


@pytest.mark.parametrize("files", [{}, {**V1, "pids/{}/cgroup.procs": ""}])
def test_what_does_not_run_uses_nothing(tmp_path: Path, files: dict[str, str]) -> None:
    cgroups = machine(tmp_path, files, ("memory/hp/task/memory.limit_in_bytes", "1"))
    assert usage.read(cgroups, "task", "c", 9.0, tmp_path / "proc") is None


def test_a_kernel_without_some_controllers(tmp_path: Path) -> None:
    cgroups = machine(tmp_path, {"pids/{}/cgroup.procs": "42\n"}, ("memory/hp/task/x", ""))
    found = usage.read(cgroups, "task", "c", 9.0, tmp_path / "proc")
    assert found is not None
    assert (found.cpu.total, found.memory.usage, found.block_bytes) == (0, 0, ())


def look(at: float, cpu: int = 0, received: int = 0) -> Usage:
    return Usage(read_at=at, cpu=Cpu(total=cpu, system=10, online=2), networks={"eth0": Traffic(rx_bytes=received)})


def test_the_first_look_has_no_rates() -> None:
    shown = statistics.docker("id", "app", look(1.0, 5), None)
    assert shown["preread"] == "0001-01-01T00:00:00Z"
    assert shown["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert "system_cpu_usage" not in shown["precpu_stats"]
    assert shown["cpu_stats"]["cpu_usage"]["total_usage"] == 5
    assert (shown["name"], shown["id"]) == ("/app", "id")
    assert "network_rate_stats" not in shown


def test_rates_are_per_second() -> None:
    shown = statistics.docker("id", "app", look(3.0, 9, 300), look(1.0, 5, 100))
    assert shown["network_rate_stats"] == {"rx_bytes_per_sec": 100.0, "tx_bytes_per_sec": 0.0}
    assert shown["precpu_stats"]["cpu_usage"]["total_usage"] == 5
    assert shown["preread"] == "1970-01-01T00:00:01.000000Z"


def test_many_looks_are_compared_with_one_a_second_ago() -> None:
    samples, compared = None, []
    for tick in range(41):
        samples = statistics.sampled(samples, look(tick / 10))
        if samples.before and tick >= 20:
            compared.append(tick / 10 - samples.before.read_at)
    assert compared
    assert all(1.0 <= apart < 2.1 for apart in compared)


def test_sixty_at_once_and_forty_a_second() -> None:
    bucket = Bucket(100.0)
    assert [bucket.take(100.0) for _ in range(61)] == [True] * 60 + [False]
    assert not bucket.take(100.02)
    taken = sum(bucket.take(100.02 + tick / 100) for tick in range(100))
    assert 39 <= taken <= 40
    assert sum(bucket.take(200.0) for _ in range(100)) == 60, "what isn't used is not saved up"
