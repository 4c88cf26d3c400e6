"""What a container uses of its machine at one moment, whatever the runtime. Pure."""

from __future__ import annotations

import msgspec


class Blocks(msgspec.Struct, frozen=True):
    """Bytes and requests of one ``operation`` (Read, Write …) of a block device since the container's start."""

    major: int
    minor: int
    operation: str
    value: int


class Traffic(msgspec.Struct, frozen=True):
    """Counters of a network interface, as /proc/net/dev has them."""

    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0


class Cpu(msgspec.Struct, frozen=True):
    """Processor time in nanoseconds since the container's start. ``system`` is that of the whole machine, all
    processors together, since its own start; ``throttled_time`` in nanoseconds."""

    total: int = 0
    user: int = 0
    kernel: int = 0
    per_cpu: tuple[int, ...] = ()
    system: int = 0
    online: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


class Memory(msgspec.Struct, frozen=True):
    """Bytes. ``most`` is the highest so far, where the kernel tells; ``limit`` the lowest that binds the container,
    the machine's memory where no other does; ``detail`` the lines of memory.stat."""

    usage: int = 0
    most: int | None = None
    limit: int = 0
    failures: int | None = None
    detail: dict[str, int] = {}

    @property
    def resident(self) -> int:
        """Bytes that it needs: without the file cache that the kernel could drop at once."""
        # v1 has the whole group's numbers under total_*.
        return max(0, self.usage - self.detail.get("total_inactive_file", self.detail.get("inactive_file", 0)))


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """``read_at``: epoch seconds."""

    read_at: float
    cpu: Cpu = Cpu()
    memory: Memory = Memory()
    processes: int = 0
    block_bytes: tuple[Blocks, ...] = ()
    block_requests: tuple[Blocks, ...] = ()
    networks: dict[str, Traffic] = {}
