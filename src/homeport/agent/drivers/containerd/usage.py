"""A container's use of its machine, from the cgroup's files and the counters of its interfaces: texts to numbers
(pure), and the one function that reads the texts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from homeport.agent.drivers.containerd.cgroups import Cgroups
from homeport.agent.drivers.usage import Blocks, Cpu, Memory, Traffic, Usage

PROC = Path("/proc")
TICK = 10_000_000  # nanoseconds of a USER_HZ tick, which Linux shows as 1/100 s on every architecture

# Files of a container's group by hierarchy; those of v2 are all in one.
_V1 = {
    "cpuacct": ("cpuacct.usage", "cpuacct.usage_user", "cpuacct.usage_sys", "cpuacct.usage_percpu"),
    "cpu": ("cpu.stat",),
    "memory": ("memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.failcnt", "memory.stat"),
    "pids": ("pids.current", "cgroup.procs"),
    "blkio": ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"),
}
_V2 = {"": ("cpu.stat", "memory.current", "memory.peak", "memory.stat", "pids.current", "cgroup.procs", "io.stat")}
_LIMIT = {False: ("memory", "memory.limit_in_bytes"), True: ("", "memory.max")}

Texts = Mapping[str, str]


def read(cgroups: Cgroups, task_id: str, container: str, now: float, proc: Path = PROC) -> Usage | None:
    """What the container uses, ``now`` (epoch seconds); None where it has no process."""
    group = Path(cgroups.instance, task_id, container)
    files = _V2 if cgroups.unified else _V1
    texts = {
        name: _text(cgroups.root / hierarchy / group / name) for hierarchy, names in files.items() for name in names
    }
    pids = texts["cgroup.procs"].split()
    if not pids:
        return None
    hierarchy, name = _LIMIT[cgroups.unified]
    limits = [_text(cgroups.root / hierarchy / folder / name) for folder in (group, group.parent)]
    return Usage(
        read_at=now,
        cpu=cpu(texts, _text(proc / "stat"), cgroups.unified),
        memory=memory(texts, limits, _text(proc / "meminfo"), cgroups.unified),
        processes=_number(texts["pids.current"]),
        block_bytes=tuple(_io(texts["io.stat"], 0) if cgroups.unified else _blkio(texts[_V1["blkio"][0]])),
        block_requests=tuple(_io(texts["io.stat"], 1) if cgroups.unified else _blkio(texts[_V1["blkio"][1]])),
        networks=networks(_text(proc / pids[0] / "net" / "dev")),
    )


def glance(cgroups: Cgroups, task_id: str, container: str, now: float) -> Usage | None:
    """As ``read``, but only what telemetry samples often: the processor time and the memory, from three files."""
    group, v2 = Path(cgroups.instance, task_id, container), cgroups.unified
    memory = cgroups.root / ("" if v2 else "memory") / group
    used = _text(memory / ("memory.current" if v2 else "memory.usage_in_bytes"))
    if not used:
        return None
    if v2:
        total = _lines(_text(cgroups.root / group / "cpu.stat")).get("usage_usec", 0) * 1000
    else:
        total = _number(_text(cgroups.root / "cpuacct" / group / "cpuacct.usage"))
    return Usage(
        read_at=now,
        cpu=Cpu(total=total, online=os.cpu_count() or 1),
        memory=Memory(usage=_number(used), detail=_lines(_text(memory / "memory.stat"))),
    )


def cpu(texts: Texts, stat: str, unified: bool) -> Cpu:
    """``stat``: the machine's /proc/stat."""
    counts = _lines(texts["cpu.stat"])
    machine = stat.splitlines()
    online = sum(line.startswith("cpu") for line in machine) - 1
    # The fields after the eighth are parts of the first two.
    system = sum(map(int, machine[0].split()[1:9])) * TICK if machine else 0
    if unified:
        return Cpu(
            total=counts.get("usage_usec", 0) * 1000,
            user=counts.get("user_usec", 0) * 1000,
            kernel=counts.get("system_usec", 0) * 1000,
            system=system,
            online=online,
            periods=counts.get("nr_periods", 0),
            throttled_periods=counts.get("nr_throttled", 0),
            throttled_time=counts.get("throttled_usec", 0) * 1000,
        )
    return Cpu(
        total=_number(texts["cpuacct.usage"]),
        user=_number(texts["cpuacct.usage_user"]),
        kernel=_number(texts["cpuacct.usage_sys"]),
        per_cpu=tuple(map(int, texts["cpuacct.usage_percpu"].split())),
        system=system,
        online=online,
        periods=counts.get("nr_periods", 0),
        throttled_periods=counts.get("nr_throttled", 0),
        throttled_time=counts.get("throttled_time", 0),
    )


def memory(texts: Texts, limits: Iterable[str], meminfo: str, unified: bool) -> Memory:
    """``limits``: of the container's and of its task's group, as the kernel shows them."""
    total = next((int(line.split()[1]) * 1024 for line in meminfo.splitlines() if line.startswith("MemTotal:")), 0)
    bounds = [int(text) for text in limits if text.strip().isdigit()]  # v2 says "max" for none, v1 a huge number
    detail = _lines(texts["memory.stat"])
    limit = min([*bounds, total]) if total else min(bounds, default=0)
    if unified:
        peak = texts["memory.peak"]
        return Memory(_number(texts["memory.current"]), _number(peak) if peak else None, limit, None, detail)
    return Memory(
        _number(texts["memory.usage_in_bytes"]),
        _number(texts["memory.max_usage_in_bytes"]),
        limit,
        _number(texts["memory.failcnt"]),
        detail,
    )


def networks(text: str) -> dict[str, Traffic]:
    """Counters in /proc/<pid>/net/dev by interface, without the loopback."""
    found: dict[str, Traffic] = {}
    for line in text.splitlines()[2:]:
        name, _, counters = line.partition(":")
        values = list(map(int, counters.split()))
        if name.strip() != "lo" and len(values) == 16:
            found[name.strip()] = Traffic(*values[:4], *values[8:12])
    return found


def _blkio(text: str) -> Iterator[Blocks]:
    """v1: ``8:0 Read 4096``; the last line is the sum of all devices."""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3:
            major, _, minor = words[0].partition(":")
            yield Blocks(int(major), int(minor), words[1], int(words[2]))


def _io(text: str, index: int) -> Iterator[Blocks]:
    """v2: ``8:0 rbytes=4096 wbytes=0 rios=1 wios=0 …``; ``index`` 0 for bytes, 1 for requests."""
    for line in text.splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        values = dict(pair.split("=", 1) for pair in pairs)
        for operation, names in (("read", ("rbytes", "rios")), ("write", ("wbytes", "wios"))):
            yield Blocks(int(major), int(minor), operation, int(values.get(names[index], 0)))


def _lines(text: str) -> dict[str, int]:
    """``name value`` lines."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _number(text: str) -> int:
    return int(text) if text.strip().isdigit() else 0


def _text(path: Path) -> str:
    """Nothing where the file isn't there, as with controllers that the kernel lacks and processes that ended."""
    try:
        return path.read_text()
    except OSError:
        return ""
