"""A journal in memory, for the simulator: it outlives a Store, and can fail in every way that a disk can."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Literal

import msgspec

from homeport.core.clock import Clock
from homeport.store.errors import AppendFailed, Fenced, OutcomeUnknown
from homeport.store.journal import Commit, Logged, Page, Row
from homeport.store.keys import Key

LOG_ROWS = 200_000


class Fault(msgspec.Struct, frozen=True):
    """How one append goes: after ``delay`` seconds it ``lands``; is ``refused`` (AppendFailed, nothing is written);
    or its outcome is unknown though it was ``lost`` or was ``kept``."""

    outcome: Literal["lands", "refused", "lost", "kept"] = "lands"
    delay: float = 0.0


_FINE = Fault()


class MemoryJournal:
    """Survives a simulated restart: hand the same journal to a new Store (and forget or cancel the old one: an append
    that is cancelled during its delay is not written).

    ``fault(commits)`` decides how each append goes, with no commits how a probe goes. Delays need a ``clock``.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        fault: Callable[[Sequence[Commit]], Fault] | None = None,
        log_rows: int = LOG_ROWS,
    ) -> None:
        self._clock = clock
        self.fault = fault
        self.version = 0
        self.rows: dict[Key, tuple[int, bytes]] = {}
        self._log: deque[tuple[Key, Logged]] = deque(maxlen=log_rows)

    async def load(self, accept: Callable[[Row], Row | None]) -> int:
        upgraded = [accept(Row(key, schema, body)) for key, (schema, body) in sorted(self.rows.items())]
        self.rows.update({row.key: (row.schema, row.body) for row in upgraded if row is not None})
        return self.version

    async def append(self, commits: Sequence[Commit]) -> None:
        fault = await self._go(commits)
        if fault.outcome == "lost":
            raise OutcomeUnknown("the append's outcome is unknown")
        self._check(commits[0].version - 1)
        for commit in commits:
            self._write(commit)
        if fault.outcome == "kept":
            raise OutcomeUnknown("the append's outcome is unknown")

    async def probe(self, version: int) -> None:
        await self._go(())
        self._check(version)

    async def log(self, key: Key) -> list[Logged]:
        return [entry for at, entry in self._log if at == key]

    async def read(self, after: int, kinds: Collection[str], since: float, limit: int) -> Page:
        oldest = self._log[0][1].version if self._log else 0
        found: list[tuple[Key, Logged]] = []
        for key, entry in self._log:
            if entry.version <= after or key.kind not in kinds or entry.at < since:
                continue
            if len(found) >= limit and entry.version != found[-1][1].version:
                return Page(tuple(found), found[-1][1].version, oldest)
            found.append((key, entry))
        return Page(tuple(found), max(after, self.version), oldest)

    async def close(self) -> None:
        return None

    async def _go(self, commits: Sequence[Commit]) -> Fault:
        fault = self.fault(commits) if self.fault is not None else _FINE
        if fault.delay > 0:
            if self._clock is None:
                raise ValueError("a journal with delays needs a clock")
            await self._clock.sleep(fault.delay)
        if fault.outcome == "refused":
            raise AppendFailed("the journal refused the append")
        return fault

    def _check(self, version: int) -> None:
        if version != self.version:
            raise Fenced(f"another writer is at version {self.version}, this one at {version}")

    def _write(self, commit: Commit) -> None:
        for write in commit.writes:
            if write.new is None:
                self.rows.pop(write.key, None)
            else:
                self.rows[write.key] = (write.schema, write.new)
            self._log.append((write.key, Logged(commit.version, commit.at, commit.cause, write.old, write.new)))
        self.version = commit.version
