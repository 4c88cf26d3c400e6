"""A small table, a clock, and both journals for the store's contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from store_records import NOTES, OTHERS, Opened, TestClock

from homeport.store import Journal, Store
from homeport.store.memory import MemoryJournal
from homeport.store.sql import SqliteJournal


@pytest.fixture(params=["memory", "sqlite"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Journal]:
    """Gives the journal of the same state again and again, as a restarted process would find it."""
    if request.param == "memory":
        journal = MemoryJournal()
        return lambda: journal
    return lambda: SqliteJournal(tmp_path / "state.db")


@pytest.fixture
def opened(reopen: Callable[[], Journal]) -> Opened:
    @asynccontextmanager
    async def store() -> AsyncIterator[Store]:
        store = Store(reopen(), [NOTES, OTHERS], TestClock())
        await store.open()
        try:
            yield store
        finally:
            await asyncio.wait_for(store.close(), 10)

    return store
