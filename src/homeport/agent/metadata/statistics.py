"""A container's use of its machine in the shape of Docker's statistics, which ECS hands on. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from homeport.agent.drivers.usage import Blocks, Cpu, Memory, Traffic, Usage
from homeport.agent.metadata.shapes import timestamp

APART = 1.0  # seconds between two samples that are compared, as Docker takes them
NEVER = "0001-01-01T00:00:00Z"  # Docker's time of a sample that there isn't
_UNKNOWN_BLOCKS = ("io_queue", "io_service_time", "io_wait_time", "io_merged", "io_time", "sectors")

Shape = dict[str, Any]


class Samples(msgspec.Struct, frozen=True):
    """What later looks at a container are compared with: ``before``, and ``last``, which takes its place once it is
    ``APART`` old. So rates mean something however often, and by however many, the container is looked at."""

    last: Usage
    before: Usage | None = None


def sampled(samples: Samples | None, now: Usage) -> Samples:
    """The samples after another look."""
    if samples is None:
        return Samples(now)
    if now.read_at - samples.last.read_at >= APART or samples.before is None:
        return Samples(now, samples.last)
    return samples


def docker(id: str, name: str, now: Usage, before: Usage | None) -> Shape:
    """Docker's statistics with ECS's ``network_rate_stats``. ``before`` None: the container is looked at for the first
    time; as with Docker, ``precpu_stats`` are zeros then, and there are no rates."""
    shown: Shape = {
        "read": timestamp(now.read_at),
        "preread": timestamp(before.read_at) if before else NEVER,
        "pids_stats": {"current": now.processes},
        "blkio_stats": {
            "io_service_bytes_recursive": [_blocks(b) for b in now.block_bytes],
            "io_serviced_recursive": [_blocks(b) for b in now.block_requests],
            **{f"{what}_recursive": [] for what in _UNKNOWN_BLOCKS},
        },
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(now.cpu),
        "precpu_stats": _cpu(before.cpu if before else Cpu()),
        "memory_stats": _memory(now.memory),
        "name": f"/{name}",
        "id": id,
    }
    if now.networks:
        shown["networks"] = {interface: _traffic(t) for interface, t in now.networks.items()}
    if before and now.networks:
        shown["network_rate_stats"] = _rates(now, before)
    return shown


def _cpu(cpu: Cpu) -> Shape:
    used: Shape = {
        "total_usage": cpu.total,
        "usage_in_kernelmode": cpu.kernel,
        "usage_in_usermode": cpu.user,
    }
    if cpu.per_cpu:
        used["percpu_usage"] = list(cpu.per_cpu)
    shown: Shape = {"cpu_usage": used}
    if cpu.system:
        shown |= {"system_cpu_usage": cpu.system, "online_cpus": cpu.online}
    shown["throttling_data"] = {
        "periods": cpu.periods,
        "throttled_periods": cpu.throttled_periods,
        "throttled_time": cpu.throttled_time,
    }
    return shown


def _memory(memory: Memory) -> Shape:
    shown: Shape = {"usage": memory.usage}
    if memory.most is not None:
        shown["max_usage"] = memory.most
    shown["stats"] = memory.detail
    if memory.failures is not None:
        shown["failcnt"] = memory.failures
    return shown | {"limit": memory.limit}


def _blocks(blocks: Blocks) -> Shape:
    return {"major": blocks.major, "minor": blocks.minor, "op": blocks.operation, "value": blocks.value}


def _traffic(traffic: Traffic) -> Shape:
    return {name: getattr(traffic, name) for name in traffic.__struct_fields__}


def _rates(now: Usage, before: Usage) -> Shape:
    """Bytes per second over all interfaces."""
    seconds = max(now.read_at - before.read_at, 0.001)

    def rate(counter: str) -> float:
        totals: list[int] = [sum(getattr(t, counter) for t in u.networks.values()) for u in (before, now)]
        return float(max(0, totals[1] - totals[0])) / seconds

    return {"rx_bytes_per_sec": rate("rx_bytes"), "tx_bytes_per_sec": rate("tx_bytes")}
