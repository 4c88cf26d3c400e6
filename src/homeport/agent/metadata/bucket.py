"""How often a task may ask. Pure."""

from __future__ import annotations

RATE, BURST = 40.0, 60.0  # requests per second, and at once: those of Amazon's agent


class Bucket:
    """A token bucket. ``now`` in monotonic seconds."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, now: float) -> None:
        self._tokens, self._at = BURST, now

    def take(self, now: float) -> bool:
        """Whether one more request is within the limit."""
        self._tokens = min(BURST, self._tokens + (now - self._at) * RATE)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
