"""The narrow door to durability: what a journal is handed and what it must answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    async def close(self) -> None: ...
