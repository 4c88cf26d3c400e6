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
    """

    def __init__(self, leave: Callable[[Watch], None]) -> None:
        self._leave = leave
        self._changes: list[Change] = []
        self._some = asyncio.Event()

    async def changes(self) -> list[Change]:
        """Waits for at least one change and returns all that have come since the last call."""
        await self._some.wait()
        self._some.clear()
        changes, self._changes = self._changes, []
        return changes

    async def dirty(self) -> dict[Key, None]:
        """Like ``changes`` but only the keys, each once, oldest first: what a reconciler wants."""
        return dict.fromkeys(change.key for change in await self.changes())

    def deliver(self, changes: Sequence[Change]) -> None:
        self._changes.extend(changes)
        self._some.set()

    def close(self) -> None:
        self._leave(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
