"""Which records are due, by one heap. Pure."""

from __future__ import annotations

import heapq

from homeport.store import Key


class Deadlines:
    """The times (epoch seconds) at which records want to be looked at. A record's newest time is what counts, so its
    owner asks the record again when its time has come."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, Key]] = []
        self._at: dict[Key, float] = {}

    def __len__(self) -> int:
        return len(self._at)

    def set(self, key: Key, at: float | None) -> None:
        if at is None:
            self._at.pop(key, None)
        elif self._at.get(key) != at:
            self._at[key] = at
            heapq.heappush(self._heap, (at, key))

    def next(self) -> float | None:
        """The earliest time."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def due(self, now: float, limit: int) -> list[Key]:
        """Takes out at most ``limit`` records whose time has come, the earliest first."""
        found: list[Key] = []
        while len(found) < limit and (at := self.next()) is not None and at <= now:
            found.append(self._take())
        return found

    def earliest(self, limit: int) -> list[Key]:
        """Takes out the ``limit`` records with the earliest times, come or not."""
        return self.due(float("inf"), limit)

    def _take(self) -> Key:
        _, key = heapq.heappop(self._heap)
        del self._at[key]
        return key

    def _drop_stale(self) -> None:
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
