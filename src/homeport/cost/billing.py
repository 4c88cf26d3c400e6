"""What Fargate bills for a task, and EC2 for a machine: by the second, a minute at least."""

from __future__ import annotations

from math import ceil

import msgspec

LEAST_SECONDS = 60  # that are billed of a task or machine (Linux)
HOUR = 3600.0
CPU_UNITS, MIB = 1024, 1024  # of one vCPU and of one GB


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """USD per hour of one vCPU and of one GB."""

    vcpu: float
    gb: float


# Fargate's list prices for Linux on x86 in us-east-1, as articles of 2025 and 2026 repeat AWS's price page; they may
# have changed since. Fargate Spot has no list price: it moves with supply.
FARGATE = Rates(vcpu=0.04048, gb=0.004445)


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Billed ``seconds`` of tasks, and these times what each asked for."""

    seconds: int = 0
    vcpu_seconds: float = 0.0
    gb_seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            seconds=self.seconds + other.seconds,
            vcpu_seconds=self.vcpu_seconds + other.vcpu_seconds,
            gb_seconds=self.gb_seconds + other.gb_seconds,
        )


def seconds(began: float, ended: float) -> int:
    """That are billed from one moment to another (seconds of any clock), rounded up. What a clock adds or loses by its
    own resolution makes no second."""
    return max(LEAST_SECONDS, ceil(round(ended - began, 3)))


def of_task(cpu: int, memory: int, began: float, ended: float) -> Usage:
    """A task of so many CPU units and MiB, from the begin of its first image's download (``pullStartedAt``) to its end
    (``stoppedAt``)."""
    billed = seconds(began, ended)
    return Usage(seconds=billed, vcpu_seconds=billed * cpu / CPU_UNITS, gb_seconds=billed * memory / MIB)


def price(usage: Usage, rates: Rates) -> float:
    """USD."""
    return (usage.vcpu_seconds * rates.vcpu + usage.gb_seconds * rates.gb) / HOUR
