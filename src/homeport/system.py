"""The real clock and the real randomness; the only module of the control plane and the agent that imports them."""

from __future__ import annotations

import asyncio
import os
import time

from homeport.core.ids import BitIds

_PART, _PARTS = 16, 256  # bytes that an id needs at most, and how many such are read at once


class SystemClock:
    wall = staticmethod(time.time)
    mono = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Random:
    """Bits of the system's randomness, which is asked for many at a time: a call of it takes longer than an id."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # taken by one operation, so that no two threads get the same
        os.register_at_fork(after_in_child=self._parts.clear)

    def __call__(self, bits: int) -> int:
        if bits > _PART * 8:
            return int.from_bytes(os.urandom(-(-bits // 8))) >> (-bits % 8)
        try:
            part = self._parts.pop()
        except IndexError:
            some = os.urandom(_PART * _PARTS)
            self._parts += [some[at : at + _PART] for at in range(_PART, len(some), _PART)]
            part = some[:_PART]
        return int.from_bytes(part) >> (_PART * 8 - bits)


def system_ids() -> BitIds:
    return BitIds(_Random())
