"""How late the event loop is: the one number that says whether something blocks the control plane."""

from __future__ import annotations

from bisect import bisect_left

from homeport.core.clock import Clock

PERIOD = 0.05  # seconds between two looks
BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # seconds


class LoopMonitor:
    """A histogram of how much later than asked a sleep ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    async def run(self) -> None:
        while True:
            before = self._clock.mono()
            await self._clock.sleep(PERIOD)
            self.observe(max(0.0, self._clock.mono() - before - PERIOD))

    def observe(self, late: float) -> None:
        self._counts[bisect_left(BOUNDS, late)] += 1
        self._sum += late

    def render(self) -> bytes:
        """Prometheus's text format."""
        name, total = "homeport_loop_delay_seconds", 0
        lines = [f"# TYPE {name} histogram"]
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self._counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        lines += [f"{name}_sum {self._sum:.6f}", f"{name}_count {total}", ""]
        return "\n".join(lines).encode()
