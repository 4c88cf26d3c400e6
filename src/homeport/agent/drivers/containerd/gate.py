"""A bound on how much is begun at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

PATIENCE = 1.0  # seconds for which a beginning that takes long keeps others from theirs


class Gate:
    """Lets ``most`` pass at a time, in the order in which they came. What takes longer than ``patience`` seconds isn't
    counted any more, so that a few that hang don't hold up all others."""

    def __init__(self, most: int, patience: float = PATIENCE) -> None:
        self._free, self._patience = asyncio.Semaphore(most), patience

    @contextlib.asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        await self._free.acquire()
        given_up = False

        def give_up() -> None:
            nonlocal given_up
            given_up = True
            self._free.release()

        late = asyncio.get_running_loop().call_later(self._patience, give_up)
        try:
            yield
        finally:
            late.cancel()
            if not given_up:
                self._free.release()
