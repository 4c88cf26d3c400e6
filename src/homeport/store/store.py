"""The store: one consistent state, staged commits, group commit, watches.

A commit applies to memory at once and waits in ``_staged`` with its undo list. One task hands everything that is
staged to the journal in one append, so concurrent commits share one fsync. Nothing leaves the store (a result, an
exception, a watched change) before the version that it was computed from is durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from homeport.core.clock import Clock
from homeport.store.codec import Codec, unknown_kind
from homeport.store.errors import AppendFailed, StoreClosed
from homeport.store.journal import Commit, Journal, Row, Write
from homeport.store.keys import Change, Key
from homeport.store.rows import Rows
from homeport.store.tables import Table
from homeport.store.view import Touched, Tx, View, restore
from homeport.store.watch import Watch

T = TypeVar("T")
_log = logging.getLogger(__name__)

LOGGED_AT_ONCE = 1000  # changes that are read from the log in one go, beside the event loop
RECALLED_AT_ONCE = 100  # of these that are made into records before others get their turn (a few milliseconds)
PROBE_INTERVAL = 1.0  # seconds between probes of a journal that failed, at most one


class Counters(msgspec.Struct):
    """What the store has done since it was opened, for /metrics."""

    commits: int = 0  # durable
    changes: int = 0  # durable
    appends: int = 0
    append_failures: int = 0
    append_seconds: float = 0.0  # of successful appends
    largest_append: int = 0  # commits


class Past(NamedTuple):
    """A part of what happened, oldest first, whole versions only. All up to ``version`` has been read; ``oldest`` is
    the first version that the log still has, 0 where it is empty."""

    changes: tuple[Change, ...]
    version: int
    oldest: int


class _Staged(NamedTuple):
    commit: Commit
    changes: tuple[Change, ...]
    undo: Mapping[Touched, Any]


class Store:
    """``fatal`` is called once, with Fenced or OutcomeUnknown, when the process must end and reload; the store then
    answers nothing more. ``observe`` is called with the state and the changes of every commit as it is staged.

    After ``open``, call ``gc.collect()`` and ``gc.freeze()``, so that collections don't visit the loaded records.
    """

    def __init__(
        self,
        journal: Journal,
        tables: Sequence[Table[Any]],
        clock: Clock,
        *,
        fatal: Callable[[Exception], None] | None = None,
        observe: Callable[[View, Sequence[Change]], None] | None = None,
    ) -> None:
        self._journal, self._clock, self._fatal, self._observe = journal, clock, fatal, observe
        self._tables: dict[str, Rows[Any]] = {table.kind: Rows(table) for table in tables}
        self._codecs: dict[str, Codec[Any]] = {table.kind: Codec(table) for table in tables}
        self._staged: list[_Staged] = []
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()  # by version
        self._wake = asyncio.Event()
        self._appender: asyncio.Task[None] | None = None
        self._watches: list[tuple[frozenset[str], Watch]] = []
        self._shut: str | None = "the store isn't open"  # why writes are refused
        self._dead = True  # no state to read: not open yet, or no longer the truth
        self._closed = False
        self._probing: asyncio.Task[bool] | None = None
        self._probe_at: float | None = None  # mono; None: no probe may reopen writes
        self.counters = Counters()
        self.version = 0  # newest staged version
        self.durable = 0  # newest durable version

    async def open(self) -> None:
        """Loads the journal. Raises UnusableFile. Garbage isn't collected meanwhile: nothing that is loaded is any, and
        to visit it again and again takes a quarter of the time."""
        collecting = gc.isenabled()
        gc.disable()
        try:
            self.version = self.durable = await self._journal.load(self._accept)
        finally:
            if collecting:
                gc.enable()
        self._shut, self._dead = None, False
        self._appender = asyncio.create_task(self._append_forever(), name="store-appender")

    async def close(self) -> None:
        """Refuses further writes, waits for what is staged, and closes the journal. Reads go on."""
        if self._closed:
            return
        self._closed = True
        self._shut, self._probe_at = "the store is closed", None
        if self._appender is not None:
            if not self._dead:
                with contextlib.suppress(StoreClosed):
                    await self._settled(self.version)
            self._appender.cancel()
            await asyncio.wait([self._appender, *([self._probing] if self._probing else [])])
        await self._journal.close()

    @property
    def writable(self) -> bool:
        return self._shut is None

    async def update(self, fn: Callable[[Tx], T], cause: str) -> T:
        """Runs ``fn`` on a transaction; returns its result once durable. What ``fn`` raises undoes all it did.

        ``fn`` is synchronous, may run only here and once, and keeps neither the transaction nor a promise to others.
        A caller that is cancelled while it waits doesn't take its commit back. Raises StoreClosed, Unstorable.
        """
        while self._shut is not None:
            await self._reopen()
        tx = Tx(self._tables, self.version + 1, self._clock.wall(), cause)
        try:
            result = fn(tx)
            staged = self._prepare(tx)
        except Exception:
            tx.undo()
            await self._settled(self.version)  # it was raised because of what it read
            raise
        except BaseException:
            tx.undo()
            raise
        if staged is not None:
            self._stage(staged)
        await self._settled(self.version)
        return result

    async def read(self, fn: Callable[[View], T]) -> T:
        """Runs ``fn`` on the current state; returns once the version it read is durable.

        Runs ``fn`` again where that version was undone instead.
        """
        while True:
            view = self.view()
            try:
                result = fn(view)
            except Exception:
                if await self._stands(view.version):
                    raise
            else:
                if view.version <= self.durable or await self._stands(view.version):
                    return result

    def view(self) -> View:
        """The current state at once, for loops (may be ahead of what is durable by a few milliseconds)."""
        if self._dead:
            raise StoreClosed(self._shut)
        return View(self._tables, self.version, self._clock.wall())

    def watch(self, *kinds: str, most: int | None = None) -> Watch:
        """A watch on these kinds of records, or on all where none is named. ``most``: see ``Watch``."""
        watch = Watch(self._unwatch, most)
        self._watches.append((frozenset(kinds), watch))
        return watch

    async def story(self, scope: tuple[str, str], kind: str, id: str) -> list[Change]:
        """Every logged change of a record, oldest first (``old`` and ``new`` as JSON objects)."""
        key = Key(scope[0], scope[1], kind, id)
        members = self._codecs[kind].members
        return [
            Change(key, members(entry.old), members(entry.new), entry.version, entry.at, entry.cause)
            for entry in await self._journal.log(key)
        ]

    async def logged(
        self, after: int, kinds: Collection[str], *, since: float = 0.0, limit: int = LOGGED_AT_ONCE
    ) -> Past:
        """A part of the change log, from the version after ``after`` on, as ``Journal.read`` has it: with records of
        the tables. What an older program wrote, and no record of today can be made of, is left out."""
        page = await self._journal.read(after, kinds, since, limit)
        found: list[Change] = []
        for place, (key, entry) in enumerate(page.entries, 1):
            if place % RECALLED_AT_ONCE == 0:
                await asyncio.sleep(0)
            codec = self._codecs[key.kind]
            try:
                old, new = codec.recall(entry.old), codec.recall(entry.new)
            except ValueError:
                continue
            found.append(Change(key, old, new, entry.version, entry.at, entry.cause))
        return Past(tuple(found), page.version, page.oldest)

    def _accept(self, row: Row) -> Row | None:
        codec = self._codecs.get(row.key.kind)
        if codec is None:
            raise unknown_kind(row)
        record, upgraded = codec.decode(row)
        self._tables[row.key.kind].replace(row.key.scope, row.key.id, record)
        return upgraded

    def _prepare(self, tx: Tx) -> _Staged | None:
        """Ends ``tx``; what it did, ready for the journal, if it did anything. Raises Unstorable."""
        undo = tx.end()
        if not undo:
            return None
        changes, writes = [], []
        for (rows, scope, id), old in undo.items():
            kind, new = rows.table.kind, rows.get(scope, id)
            key, codec = Key(scope[0], scope[1], kind, id), self._codecs[kind]
            changes.append(Change(key, old, new, tx.version, tx.now, tx.cause))
            before = None if old is None else codec.again(old)
            after = None if new is None else codec.encode(new)
            writes.append(Write(key, rows.table.schema, before, after))
        return _Staged(Commit(tx.version, tx.now, tx.cause, tuple(writes)), tuple(changes), undo)

    def _stage(self, staged: _Staged) -> None:
        self._staged.append(staged)
        self.version = staged.commit.version
        self._wake.set()
        if self._observe is not None:
            self._observe(self.view(), staged.changes)

    async def _settled(self, version: int) -> None:
        """Waits until ``version`` is durable. Raises StoreClosed where it was undone instead."""
        if version > self.durable:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((version, future))
            await future

    async def _stands(self, version: int) -> bool:
        try:
            await self._settled(version)
        except StoreClosed:
            return False
        return True

    async def _append_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._staged:
                batch = tuple(self._staged)
                started = self._clock.mono()
                try:
                    await self._journal.append([staged.commit for staged in batch])
                except AppendFailed as error:
                    self._take_back(error)
                except Exception as error:
                    self._die(error)
                    return
                else:
                    self._land(batch, self._clock.mono() - started)

    def _land(self, batch: Sequence[_Staged], seconds: float) -> None:
        """``batch`` is durable: tells those who wait and watch."""
        del self._staged[: len(batch)]
        self.durable = batch[-1].commit.version
        counters = self.counters
        counters.appends += 1
        counters.append_seconds += seconds
        counters.commits += len(batch)
        counters.largest_append = max(counters.largest_append, len(batch))
        for staged in batch:
            counters.changes += len(staged.changes)
            for kinds, watch in self._watches:
                wanted = [c for c in staged.changes if c.key.kind in kinds] if kinds else staged.changes
                if wanted:
                    watch.deliver(wanted)
        while self._waiting and self._waiting[0][0] <= self.durable:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)

    def _take_back(self, error: AppendFailed) -> None:
        """Nothing that is staged became durable: undoes it, newest first, and closes writes until a probe succeeds."""
        _log.error("store: an append failed, writes are closed: %s", error)
        self.counters.append_failures += 1
        while self._staged:
            restore(self._staged.pop().undo)
        self.version = self.durable
        if self._shut is None:
            self._shut, self._probe_at = str(error), self._clock.mono() + PROBE_INTERVAL
        self._refuse_waiting(error)

    def _die(self, error: Exception) -> None:
        """What is durable isn't known any more, or another process writes: only a new process can go on."""
        _log.critical("store: this process must end: %r", error)
        self.counters.append_failures += 1
        self._shut, self._dead, self._probe_at = str(error), True, None
        self._refuse_waiting(error)
        if self._fatal is not None:
            self._fatal(error)

    def _refuse_waiting(self, error: Exception) -> None:
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(StoreClosed(str(error)))

    async def _reopen(self) -> None:
        """Opens writes again where a probe of the journal succeeds; raises StoreClosed where none does or is due."""
        if self._probing is None and self._probe_at is not None and self._clock.mono() >= self._probe_at:
            self._probing = asyncio.create_task(self._probe(), name="store-probe")
        if self._probing is None or not await asyncio.shield(self._probing):
            raise StoreClosed(self._shut)

    async def _probe(self) -> bool:
        try:
            await self._journal.probe(self.durable)
        except AppendFailed as error:
            if self._probe_at is not None:
                self._shut, self._probe_at = str(error), self._clock.mono() + PROBE_INTERVAL
            return False
        except Exception as error:
            self._die(error)
            return False
        finally:
            self._probing = None
        if self._probe_at is None:
            return False
        _log.warning("store: the journal can be written again")
        self._shut = self._probe_at = None
        return True

    def _unwatch(self, watch: Watch) -> None:
        self._watches = [entry for entry in self._watches if entry[1] is not watch]
