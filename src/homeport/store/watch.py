"""Watches: durable changes, in commit order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Self

from homeport.store.keys import Change, Key


class Watch:
    """Changes of some kinds, delivered once durable, in commit order; ``async with store.watch("task") as watch``.

    It collects from the moment it is made until it is closed, and is meant for one reader. What hasn't been read
    when a reader is cancelled is there for the next call.

    ``most``: of a reader that is further behind than so many changes, they are dropped, and it is ``missed``: it reads
    the log instead.
    """

    def __init__(self, leave: Callable[[Watch], None], most: int | None = None) -> None:
        self._leave, self._most = leave, most
        self.missed = False
        self._changes: list[Change] = []
        self._some = asyncio.Event()

    async def changes(self) -> list[Change]:
        """Waits for at least one change and returns all that have come since the last call; none where some were
        missed."""
        await self._some.wait()
        self._some.clear()
        changes, self._changes = self._changes, []
        return changes

    async def dirty(self) -> dict[Key, None]:
        """Like ``changes`` but only the keys, each once, oldest first: what a reconciler wants."""
        return dict.fromkeys(change.key for change in await self.changes())

    def deliver(self, changes: Sequence[Change]) -> None:
        if self._most is not None and len(self._changes) + len(changes) > self._most:
            self._changes, self.missed = [], True
        elif not self.missed:
            self._changes.extend(changes)
        self._some.set()

    def close(self) -> None:
        self._leave(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
