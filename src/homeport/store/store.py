"""The store: one consistent state, staged commits, group commit, watches. (Contract; see the issue's store helper.)"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from homeport.core.clock import Clock
from homeport.store.tables import R, Table

T = TypeVar("T")


class Scope(NamedTuple):
    account: str
    region: str


class Key(NamedTuple):
    account: str
    region: str
    kind: str
    id: str

    @property
    def scope(self) -> Scope:
        return Scope(self.account, self.region)


class Change(msgspec.Struct, frozen=True):
    """One record's change in one commit. ``old`` None: created, ``new`` None: deleted. ``at``: epoch seconds."""

    key: Key
    old: Any
    new: Any
    version: int
    at: float
    cause: str


class StoreClosed(Exception):
    """Writes are closed (disk full, journal lost); the front answers ServerException."""


class Journal(Protocol):
    async def load(self) -> Any: ...
    async def append(self, commits: Sequence[Any]) -> None: ...


class View:
    """Reads of one consistent state. Lists are sorted by id."""

    version: int
    now: float

    def get(self, table: Table[R], scope: tuple[str, str], id: str) -> R | None: ...
    def find(self, table: Table[R], scope: tuple[str, str], index: str, value: Hashable) -> list[R]: ...
    def count(self, table: Table[R], scope: tuple[str, str], index: str, value: Hashable) -> int: ...
    def find_global(self, table: Table[R], index: str, value: Hashable) -> list[tuple[Scope, R]]: ...
    def all(self, table: Table[R], scope: tuple[str, str]) -> list[R]: ...
    def each(self, table: Table[R]) -> Iterator[tuple[Scope, R]]: ...


class Tx(View):
    """A view that also writes. Reads see the transaction's own writes."""

    cause: str

    def put(self, table: Table[R], scope: tuple[str, str], record: R) -> None: ...
    def delete(self, table: Table[R], scope: tuple[str, str], id: str) -> None: ...


class Watch:
    """Changes of some kinds, delivered once durable, in commit order; ``async with store.watch("task") as watch``."""

    async def changes(self) -> list[Change]:
        """Waits for at least one change and returns all that have come since the last call."""
        ...

    async def dirty(self) -> dict[Key, None]:
        """Like ``changes`` but only the keys, each once, oldest first: what a reconciler wants."""
        ...


class Store:
    def __init__(self, journal: Journal, tables: Sequence[Table[Any]], clock: Clock) -> None: ...

    version: int  # newest staged version
    durable: int  # newest durable version

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def update(self, fn: Callable[[Tx], T], cause: str) -> T:
        """Runs ``fn`` on a transaction; returns its result once durable. What ``fn`` raises undoes all it did."""
        ...

    async def read(self, fn: Callable[[View], T]) -> T:
        """Runs ``fn`` on the current state; returns once the version it read is durable."""
        ...

    def view(self) -> View:
        """The current state at once, for loops (may be ahead of what is durable by a few milliseconds)."""
        ...

    def watch(self, *kinds: str) -> Watch: ...

    async def story(self, scope: tuple[str, str], kind: str, id: str) -> list[Change]:
        """Every logged change of a record, oldest first (``old`` and ``new`` as JSON objects)."""
        ...
