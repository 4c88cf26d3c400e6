"""Time as an argument: the real clock lives in ``homeport.system``, the virtual one in ``homeport.sim``."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    def wall(self) -> float:
        """Seconds since the Unix epoch, for records."""
        ...

    def mono(self) -> float:
        """Seconds that never jump, for waiting."""
        ...

    async def sleep(self, seconds: float) -> None: ...
