"""asyncio on virtual time: when nothing is ready, time jumps to the next timer.

The code that runs on it is the shipped code; only the clock and what lies behind the drivers are made up. One seed
gives one history, since nothing in here depends on the machine's speed. Threads and sockets don't belong on this loop:
it would not wait for them.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
RESOLUTION = 1e-6  # seconds


class Stuck(RuntimeError):
    """Nothing is ready and no timer is set: whoever is still waiting would wait for ever."""


class _NoWait(selectors.DefaultSelector):
    """Never waits: moves the loop's time forward instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The kernel is asked only before giving up: nothing on this loop comes from there but the end of a thread."""
        if timeout is not None:
            self.now += max(0.0, timeout)
            return []
        events = super().select(0)
        if not events:
            raise Stuck("the simulation is stuck: no timer, no ready task")
        return events


class SimLoop(asyncio.SelectorEventLoop):
    """An event loop whose ``time()`` is virtual and starts at 0."""

    def __init__(self) -> None:
        self._virtual = _NoWait()
        super().__init__(self._virtual)
        # asyncio adds this to the time before it compares timers. The default, a nanosecond, is lost in rounding after
        # a hundred days, and a timer would never be due.
        self._clock_resolution = RESOLUTION

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """asyncio runs what is due within its resolution at once, while others are ready: whoever waits for a moment
        that is nearer than that, again and again, would do so for ever, and time would stand still."""
        return super().call_at(max(when, self.time() + 2 * RESOLUTION), callback, *args, context=context)

    def time(self) -> float:
        return self._virtual.now


class SimClock:
    """A ``Clock`` on a SimLoop. ``wall()`` is ``epoch`` at virtual time 0; adding to ``epoch`` is a clock jump."""

    def __init__(self, loop: SimLoop, epoch: float = 1_700_000_000.0) -> None:
        self._loop = loop
        self.epoch = epoch

    def wall(self) -> float:
        return self.epoch + self._loop.time()

    def mono(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(main: Coroutine[Any, Any, T], loop: SimLoop | None = None) -> T:
    """Runs ``main`` to its end on virtual time and returns its result. What is left over is cancelled. Raises Stuck."""
    loop = loop or SimLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            _cancel_all(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


def _cancel_all(loop: SimLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
