"""The narrow door to durability: what a journal is handed and what it must answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from homeport.store.keys import Key


class Row(NamedTuple):
    """A stored record: ``body`` is JSON of the record's schema version ``schema``."""

    key: Key
    schema: int
    body: bytes


class Write(NamedTuple):
    """One record's change as JSON; ``old`` None: created, ``new`` None: deleted."""

    key: Key
    schema: int
    old: bytes | None
    new: bytes | None


class Commit(NamedTuple):
    """What one transaction did. Versions are consecutive; ``at`` is in epoch seconds."""

    version: int
    at: float
    cause: str
    writes: tuple[Write, ...]


class Logged(NamedTuple):
    """One entry of the change log."""

    version: int
    at: float
    cause: str
    old: bytes | None
    new: bytes | None


class Page(NamedTuple):
    """A part of the change log: entries with the keys of their records, oldest first, whole versions only.

    Everything up to ``version`` has been read, the newest one where the log ends there. ``oldest`` is the first version
    that is still in the log, 0 where the log is empty.
    """

    entries: tuple[tuple[Key, Logged], ...]
    version: int
    oldest: int


class Journal(Protocol):
    """Keeps the rows of the newest version and a bounded log of the changes that led there."""

    async def load(self, accept: Callable[[Row], Row | None]) -> int:
        """Hands each row to ``accept``, sorted by key, and returns the newest version.

        A row that ``accept`` returns replaces the one it was given (its schema was upgraded); before anything is
        replaced, a copy of the whole is kept. ``accept`` may be called from another thread, one call at a time.
        Raises UnusableFile, and then has changed nothing.
        """
        ...

    async def append(self, commits: Sequence[Commit]) -> None:
        """Makes the commits durable, all or none. Raises AppendFailed (none is), OutcomeUnknown, Fenced."""
        ...

    async def probe(self, version: int) -> None:
        """Writes something harmless where ``version`` is the newest. Raises as ``append`` does."""
        ...

    async def log(self, key: Key) -> list[Logged]:
        """The logged changes of one record, oldest first."""
        ...

    async def read(self, after: int, kinds: Collection[str], since: float, limit: int) -> Page:
        """The log from the version after ``after`` on: changes of these kinds from the time ``since`` (epoch seconds)
        on, about ``limit`` of them at most. What is asked for may be further on: read again from the page's version."""
        ...

    async def close(self) -> None: ...
