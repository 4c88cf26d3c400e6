"""Work that several callers want at once is done once; work that needs each other not is done at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from homeport.agent.drivers.containerd.client import AlreadyExists

T = TypeVar("T")


class Shared(Generic[T]):
    """Runs one task per key; whoever asks for the same key meanwhile gets its outcome. The task is cancelled when the
    last of them is."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[asyncio.Task[T], list[int]]] = {}

    async def run(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        if key not in self._running:
            self._running[key] = (asyncio.ensure_future(self._work(key, make)), [0])
        task, waiting = self._running[key]
        waiting[0] += 1
        try:
            return await asyncio.shield(task)
        finally:
            waiting[0] -= 1
            if not waiting[0] and not task.done():
                self._running.pop(key, None)
                task.cancel()

    async def _work(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        try:
            return await make()
        finally:
            entry = self._running.get(key)
            if entry is not None and entry[0] is asyncio.current_task():
                del self._running[key]


async def both(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, object]) -> T:
    """Both at once, and both ended, whatever comes; returns the first one's result. An AlreadyExists of either wins
    over other failures."""
    wanted, other = asyncio.create_task(first), asyncio.create_task(second)
    results = await asyncio.gather(wanted, other, return_exceptions=True)
    failures = [r for r in results if isinstance(r, BaseException)]
    for failure in sorted(failures, key=lambda f: not isinstance(f, AlreadyExists)):
        raise failure
    return wanted.result()
