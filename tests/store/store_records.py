"""Records, a clock and journals that the store's tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from homeport.store import AppendFailed, Journal, Scope, Store, Table, Tx
from homeport.store.journal import Commit, Logged, Page, Row
from homeport.store.keys import Key
from homeport.store.memory import MemoryJournal

Opened = Callable[[], AbstractAsyncContextManager[Store]]

HERE = Scope("123456789012", "us-east-1")
THERE = Scope("123456789012", "eu-west-1")


class Note(msgspec.Struct, frozen=True, gc=False):
    id: str
    colour: str = "red"
    tags: tuple[str, ...] = ()
    more: dict[str, dict[str, str]] = {}


class Other(msgspec.Struct, frozen=True, gc=False):
    name: str


NOTES: Table[Note] = Table(
    "note",
    Note,
    id=lambda r: r.id,
    indexes={"colour": lambda r: (r.colour,), "tag": lambda r: r.tags},
    global_indexes={"colour": lambda r: (r.colour,)},
)
OTHERS: Table[Other] = Table("other", Other, id=lambda r: r.name)


def put(*records: Note, scope: Scope = HERE) -> Callable[[Tx], None]:
    def fn(tx: Tx) -> None:
        for record in records:
            tx.put(NOTES, scope, record)

    return fn


def delete(*ids: str, scope: Scope = HERE) -> Callable[[Tx], None]:
    def fn(tx: Tx) -> None:
        for id in ids:
            tx.delete(NOTES, scope, id)

    return fn


class TestClock:
    """Time that moves only when told to."""

    __test__ = False

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def wall(self) -> float:
        return self.time

    def mono(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)


class GatedJournal:
    """A journal whose appends wait for the test: ``started`` counts them, ``gate`` lets them through, ``fail`` makes
    the next ones raise, before anything is written."""

    def __init__(self, inner: Journal | None = None) -> None:
        self.inner = inner or MemoryJournal()
        self.gate = asyncio.Event()
        self.started = asyncio.Event()
        self.appends: list[list[int]] = []  # the versions of each
        self.fail: Exception | None = None
        self.probes = 0

    async def load(self, accept: Callable[[Row], Row | None]) -> int:
        return await self.inner.load(accept)

    async def append(self, commits: Sequence[Commit]) -> None:
        self.appends.append([commit.version for commit in commits])
        self.started.set()
        await self.gate.wait()
        if self.fail is not None:
            raise self.fail
        await self.inner.append(commits)

    async def probe(self, version: int) -> None:
        self.probes += 1
        if self.fail is not None:
            raise self.fail
        await self.inner.probe(version)

    async def log(self, key: Key) -> list[Logged]:
        return await self.inner.log(key)

    async def read(self, after: int, kinds: Collection[str], since: float, limit: int) -> Page:
        return await self.inner.read(after, kinds, since, limit)

    async def close(self) -> None:
        await self.inner.close()


def full() -> AppendFailed:
    return AppendFailed("database or disk is full")


async def spin(turns: int = 5) -> None:
    """Lets everything run that is ready."""
    for _ in range(turns):
        await asyncio.sleep(0)
