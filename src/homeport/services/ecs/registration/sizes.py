"""Task sizes: how they may be written, and which of them Fargate offers. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

# ECS guide, "Task CPU and memory": CPU units → MiB.
FARGATE: dict[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: (1024, 2048, 3072, 4096),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}
WINDOWS_CPU = (1024, 2048, 4096)  # the rows that Fargate offers to Windows
CPU_RANGE = range(128, 196608 + 1)  # outside Fargate: 0.125 to 192 vCPU
MIN_MEMORY = 6  # MiB that a container needs at least

_NUMBER = r"(?P<number>[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})"
_UNITS = re.compile(r"[0-9]{1,9}")
_VCPU = re.compile(_NUMBER + r"\s*vCPUs?", re.IGNORECASE)
_GB = re.compile(_NUMBER + r"\s*GB", re.IGNORECASE)


def cpu_units(text: str) -> int | None:
    """CPU units in ``"1024"``, ``"1 vCPU"``, ``".25 vcpu"``; None for anything else."""
    return _scaled(text, _VCPU)


def memory_mib(text: str) -> int | None:
    """MiB in ``"512"``, ``"1 GB"``, ``"0.5GB"``; None for anything else."""
    return _scaled(text, _GB)


def setting_error(name: str) -> str:
    """ECS's text for a cpu or memory that can't be read."""
    return (
        f"Invalid '{name}' setting for task. For more information, see the Troubleshooting section of the Amazon ECS "
        "Developer Guide."
    )


def fargate_size_error(cpu: int, memory: int, *, windows: bool = False) -> str | None:
    """ECS's text where Fargate has no task of ``cpu`` units (0: none given) and ``memory`` MiB, else None."""
    if not cpu:
        return "Fargate requires that 'cpu' be defined at the task level."
    if not memory:
        return "Fargate requires that 'memory' be defined at the task level."
    if memory in FARGATE.get(cpu, ()) and (not windows or cpu in WINDOWS_CPU):
        return None
    return (
        f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. See the Amazon ECS "
        "documentation for the valid values."
    )


def _scaled(text: str, unit: re.Pattern[str]) -> int | None:
    text = text.strip()
    if _UNITS.fullmatch(text):
        return int(text)
    match = unit.fullmatch(text)
    if match is None:
        return None
    amount = Decimal(match["number"]) * 1024
    return int(amount) if amount == int(amount) else None
