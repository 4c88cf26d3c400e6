"""Reading and writing one consistent state."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple

from homeport.store.keys import Scope
from homeport.store.rows import Ranked, Rows
from homeport.store.tables import R, Table


class Touched(NamedTuple):
    """A record that a transaction wrote to."""

    rows: Rows[Any]
    scope: tuple[str, str]
    id: str


class View:
    """Reads of one consistent state. Lists are sorted by id.

    It reads the live tables, so take a new one after each ``await``. ``version`` is the version that it shows, ``now``
    the wall clock in epoch seconds.
    """

    __slots__ = ("_tables", "now", "version")

    def __init__(self, tables: Mapping[str, Rows[Any]], version: int, now: float) -> None:
        self._tables, self.version, self.now = tables, version, now

    def get(self, table: Table[R], scope: tuple[str, str], id: str) -> R | None:
        return self._rows(table).get(scope, id)

    def find(self, table: Table[R], scope: tuple[str, str], index: str, value: Hashable) -> list[R]:
        """The scope's records that ``index`` lists under ``value``. Raises LookupError where there is no such index."""
        return self._rows(table).find(scope, index, value)

    def count(self, table: Table[R], scope: tuple[str, str], index: str, value: Hashable) -> int:
        """How many ``find`` would return."""
        return self._rows(table).count(scope, index, value)

    def ranked(self, table: Table[R], scope: tuple[str, str], index: str, value: Hashable) -> Mapping[Any, Ranked[R]]:
        """The scope's records that an ordered index lists under ``value``: by rank, for each part. It is live, as what
        ``counts`` returns."""
        return self._rows(table).ranked(scope, index, value)

    def counts(self, table: Table[R], scope: tuple[str, str], index: str, value: Hashable) -> Mapping[Any, int]:
        """How many of the scope's records each part of ``value`` has; parts with none are left out. It is live: nothing
        may be written while it is in use."""
        return self._rows(table).counts(scope, index, value)

    def find_global(self, table: Table[R], index: str, value: Hashable) -> list[tuple[Scope, R]]:
        """Records of every scope, by one of the table's global indexes; sorted by id, then scope."""
        return self._rows(table).find_global(index, value)

    def all(self, table: Table[R], scope: tuple[str, str]) -> list[R]:
        return self._rows(table).all(scope)

    def each(self, table: Table[R]) -> Iterator[tuple[Scope, R]]:
        """Every record of every scope, sorted by scope and id."""
        return self._rows(table).each()

    def _rows(self, table: Table[R]) -> Rows[R]:
        try:
            return self._tables[table.kind]
        except KeyError:
            raise LookupError(f"the store was opened without the table {table.kind!r}") from None


class Tx(View):
    """A view that also writes. Reads see the transaction's own writes.

    Writes go straight to the live tables; what each record was before is kept for undoing. ``version`` is the one
    that the transaction will commit as (unless it changes nothing), ``now`` the time that its changes will carry.
    """

    __slots__ = ("_ended", "_touched", "cause")

    def __init__(self, tables: Mapping[str, Rows[Any]], version: int, now: float, cause: str) -> None:
        super().__init__(tables, version, now)
        self.cause = cause
        self._touched: dict[Touched, Any] = {}
        self._ended = False

    def put(self, table: Table[R], scope: tuple[str, str], record: R) -> None:
        """Creates or replaces a record. Raises TypeError where it isn't of the table's type."""
        if type(record) is not table.record:
            raise TypeError(f"table {table.kind!r} holds {table.record.__name__}, not {type(record).__name__}")
        self._set(table, scope, table.id(record), record)

    def delete(self, table: Table[R], scope: tuple[str, str], id: str) -> None:
        """Deletes a record; no error where there is none."""
        self._set(table, scope, id, None)

    def _set(self, table: Table[R], scope: tuple[str, str], id: str, new: R | None) -> None:
        if self._ended:
            raise RuntimeError("the transaction has ended: its function must not await nor keep it")
        rows = self._rows(table)
        old = rows.get(scope, id)
        if old is new or old == new:
            return
        rows.replace(scope, id, new)
        self._touched.setdefault(Touched(rows, scope, id), old)

    def end(self) -> dict[Touched, Any]:
        """Ends the transaction; returns the records that differ now from what they were, each with its old value."""
        self._ended = True
        return {at: old for at, old in self._touched.items() if at.rows.get(at.scope, at.id) != old}

    def undo(self) -> None:
        self._ended = True
        restore(self._touched)


def restore(touched: Mapping[Touched, Any]) -> None:
    """Sets records back to their old values."""
    for at, old in touched.items():
        at.rows.replace(at.scope, at.id, old)
