"""A simulated process: what can be killed, at any await, without a last word.

Every asyncio task that is made inside a process belongs to it. Whatever the process holds of the world outside (its
disk, its sockets, its container runtime) calls ``touch`` first: a dead process can't touch anything any more, so code
that still runs while its tasks are cancelled (``finally`` blocks) changes nothing, just as after a kill -9.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

_current: ContextVar[Process | None] = ContextVar("process", default=None)
MOST_ROUNDS = 1000  # of the loop, for a dead process's tasks to end


class Process:
    """``died`` is called once, at the moment of death by ``kill``; not when the process ends by itself."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, died: Callable[[], None] = lambda: None) -> None:
        self.name, self.alive = name, True
        self._loop, self._died = loop, died
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._fuse: tuple[int, bool] | None = None

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs ``work``, and all that it starts, as part of the process."""
        token = _current.set(self)
        try:
            return self._loop.create_task(work)
        finally:
            _current.reset(token)

    def touch(self) -> None:
        """To be called right before anything outside the process is changed. Raises CancelledError where it is dead."""
        if not self.alive:
            raise asyncio.CancelledError
        if self._fuse is None:
            return
        left, after = self._fuse
        self._fuse = (left - 1, after) if left > 1 else None
        if self._fuse is None:
            if not after:
                self.kill()
                raise asyncio.CancelledError
            self._loop.call_soon(self.kill)

    def kill_at(self, touch: int, after: bool) -> None:
        """Kills it at the n-th touch from now on, right before it or right after it; 0: now."""
        if touch <= 0:
            self.kill()
        else:
            self._fuse = (touch, after)

    def spare(self) -> None:
        """Forgets ``kill_at``."""
        self._fuse = None

    def kill(self) -> None:
        if self.alive:
            self.alive = False
            self._reap(0)
            self._died()

    def end(self) -> None:
        """It ended by itself: what is left of it goes too."""
        self.alive = False
        self._reap(0)

    def _reap(self, rounds: int) -> None:
        for task in list(self._tasks):
            task.cancel()
        if rounds > MOST_ROUNDS:
            raise RuntimeError(f"tasks of {self.name} don't end: {list(self._tasks)}")
        if self._tasks:
            self._loop.call_soon(self._reap, rounds + 1)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)


def task_factory(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
    """For ``loop.set_task_factory``."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **more)
    process = _current.get()
    if process is not None:
        process.adopt(task)
    return task
