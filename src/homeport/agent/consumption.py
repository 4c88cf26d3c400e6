"""What containers used of the machine since the last telemetry message: looks become the statistics of TCS. Pure."""

from __future__ import annotations

import msgspec

from homeport.agent.drivers.usage import Usage
from homeport.agentapi import StatsSet

MIB = 1 << 20


class Consumption(msgspec.Struct, frozen=True):
    """One container's. ``last`` is the look that the next one is compared with; None: nothing was sampled."""

    last: Usage
    cpu: StatsSet | None = None
    memory: StatsSet | None = None


def looked(before: Consumption | None, now: Usage) -> Consumption:
    """With another look in it. Processor time that was counted anew, as after a restart, gives no sample."""
    memory = added(before.memory if before else None, now.memory.resident / MIB)
    if before is None:
        return Consumption(now, None, memory)
    seconds, busy = now.read_at - before.last.read_at, now.cpu.total - before.last.cpu.total
    if seconds <= 0 or busy < 0:
        return Consumption(now, before.cpu, memory)
    percent = busy / 1e9 / seconds * 100 / (now.cpu.online or 1)
    return Consumption(now, added(before.cpu, min(100.0, percent)), memory)


def told(consumption: Consumption) -> Consumption:
    """After its statistics were sent: the next ones begin."""
    return Consumption(consumption.last)


def added(stats: StatsSet | None, value: float) -> StatsSet:
    if stats is None:
        return StatsSet(min=value, max=value, sample_count=1, sum=value)
    return StatsSet(
        min=min(stats.min, value), max=max(stats.max, value), sample_count=stats.sample_count + 1, sum=stats.sum + value
    )
