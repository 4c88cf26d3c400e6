"""The live rows of one table: records by scope and id, and the indexes over them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic

from homeport.store.keys import Scope
from homeport.store.tables import R, Table

Entry = tuple[str, Scope]  # of a global index: sorted by id, then scope
_NONE: Mapping[Hashable, Any] = MappingProxyType({})


class Ranked(Generic[R]):
    """Records by rank, then id, at places from 0 on. It is live: nothing may be written while it is in use."""

    __slots__ = ("_entries", "_records")

    def __init__(self, records: Mapping[str, R]) -> None:
        self._records = records
        self._entries: list[tuple[Any, str]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, place: int) -> R:
        return self._records[self._entries[place][1]]

    def __iter__(self) -> Iterator[R]:
        return (self._records[id] for _, id in self._entries)

    def span(self, start: Any, stop: Any = None) -> range:
        """The places from rank ``start`` on, up to but without ``stop``."""
        entries = self._entries
        first = (start, "")
        low = 0 if first <= entries[0] else bisect_left(entries, first)  # often all do, and a search reads far and wide
        return range(low, len(entries) if stop is None else bisect_left(entries, (stop, ""), low))

    def entries(self, places: Iterable[int]) -> Iterator[tuple[Any, str]]:
        """The (rank, id) at these places: quicker than records where most are not wanted."""
        return map(self._entries.__getitem__, places)

    def move(self, id: str, gone: Iterable[Any], come: Iterable[Any]) -> None:
        """For ``Rows`` alone: takes a record out at some ranks, puts it in at others."""
        for rank in gone:
            _remove(self._entries, (rank, id))
        for rank in come:
            insort(self._entries, (rank, id))


class _Partition(Generic[R]):
    """One scope's records. Ids are kept sorted, so that lists need no sorting."""

    __slots__ = ("counts", "ids", "indexes", "ordered", "records", "scope")

    def __init__(self, scope: Scope, table: Table[R]) -> None:
        self.scope = scope
        self.records: dict[str, R] = {}
        self.ids: list[str] = []
        self.indexes: dict[str, dict[Hashable, list[str]]] = {name: {} for name in table.indexes}
        self.ordered: dict[str, dict[Hashable, dict[Hashable, Ranked[R]]]] = {name: {} for name in table.ordered}
        self.counts: dict[str, dict[Hashable, dict[Hashable, int]]] = {name: {} for name in table.counts}

    def rerank(self, index: str, gone: Collection[Any], come: Collection[Any], id: str) -> None:
        values = self.ordered[index]
        for value, part, rank in gone:
            parts = values[value]
            parts[part].move(id, (rank,), ())
            if not parts[part]:
                del parts[part]
                if not parts:
                    del values[value]
        for value, part, rank in come:
            parts = values.setdefault(value, {})
            if part not in parts:
                parts[part] = Ranked(self.records)
            parts[part].move(id, (), (rank,))


class Rows(Generic[R]):
    def __init__(self, table: Table[R]) -> None:
        self.table = table
        self._indexes, self._global_indexes = tuple(table.indexes.items()), tuple(table.global_indexes.items())
        self._ordered, self._counts = tuple(table.ordered.items()), tuple(table.counts.items())
        self._partitions: dict[tuple[str, str], _Partition[R]] = {}
        self._global: dict[str, dict[Hashable, list[Entry]]] = {name: {} for name in table.global_indexes}

    def get(self, scope: tuple[str, str], id: str) -> R | None:
        part = self._partitions.get(scope)
        return part.records.get(id) if part else None

    def all(self, scope: tuple[str, str]) -> list[R]:
        part = self._partitions.get(scope)
        return [part.records[id] for id in part.ids] if part else []

    def each(self) -> Iterator[tuple[Scope, R]]:
        """Every record, sorted by scope and id. Records that are deleted meanwhile are left out."""
        for part in sorted(self._partitions.values(), key=lambda p: p.scope):
            for id in tuple(part.ids):
                record = part.records.get(id)
                if record is not None:
                    yield part.scope, record

    def find(self, scope: tuple[str, str], index: str, value: Hashable) -> list[R]:
        part, ids = self._bucket(scope, index, value)
        return [part.records[id] for id in ids] if part else []

    def count(self, scope: tuple[str, str], index: str, value: Hashable) -> int:
        return len(self._bucket(scope, index, value)[1])

    def counts(self, scope: tuple[str, str], index: str, value: Hashable) -> Mapping[Hashable, int]:
        if index not in self.table.counts:
            raise LookupError(f"table {self.table.kind!r} has no counts {index!r}")
        part = self._partitions.get(scope)
        return part.counts[index].get(value, _NONE) if part else _NONE

    def ranked(self, scope: tuple[str, str], index: str, value: Hashable) -> Mapping[Hashable, Ranked[R]]:
        if index not in self.table.ordered:
            raise LookupError(f"table {self.table.kind!r} has no ordered index {index!r}")
        part = self._partitions.get(scope)
        return part.ordered[index].get(value, _NONE) if part else _NONE

    def find_global(self, index: str, value: Hashable) -> list[tuple[Scope, R]]:
        try:
            entries = self._global[index].get(value, ())
        except KeyError:
            raise LookupError(f"table {self.table.kind!r} has no global index {index!r}") from None
        return [(scope, self._partitions[scope].records[id]) for id, scope in entries]

    def replace(self, scope: tuple[str, str], id: str, new: R | None) -> R | None:
        """Sets or (None) deletes a record and returns the old one. What an index function raises changes nothing."""
        part = self._partitions.get(scope)
        old = part.records.get(id) if part else None
        if old is new:
            return old
        moves, global_moves = _moves(self._indexes, old, new), _moves(self._global_indexes, old, new)
        rank_moves, count_moves = _moves(self._ordered, old, new), _moves(self._counts, old, new)
        if part is None:
            part = self._partitions[scope] = _Partition(Scope(*scope), self.table)
        for name, gone, come in moves:
            _move(part.indexes[name], gone, come, id)
        for name, gone, come in global_moves:
            _move(self._global[name], gone, come, (id, part.scope))
        for name, gone, come in rank_moves:
            part.rerank(name, gone, come, id)
        for name, gone, come in count_moves:
            _recount(part.counts[name], gone, come)
        if new is None:
            del part.records[id]
            _remove(part.ids, id)
            if not part.ids:
                del self._partitions[scope]
        else:
            if old is None:
                insort(part.ids, id)
            part.records[id] = new
        return old

    def _bucket(
        self, scope: tuple[str, str], index: str, value: Hashable
    ) -> tuple[_Partition[R] | None, list[str] | tuple[()]]:
        if index not in self.table.indexes:
            raise LookupError(f"table {self.table.kind!r} has no index {index!r}")
        part = self._partitions.get(scope)
        return (part, part.indexes[index].get(value, ())) if part else (None, ())


def _moves(
    indexes: tuple[tuple[str, Callable[[R], Iterable[Any]]], ...], old: R | None, new: R | None
) -> Sequence[tuple[str, Collection[Any], Collection[Any]]]:
    """For each index that is touched: its name, the values that the record leaves, and those that it comes under."""
    if old is None:
        return () if new is None else [(name, (), come) for name, values in indexes if (come := set(values(new)))]
    if new is None:
        return [(name, gone, ()) for name, values in indexes if (gone := set(values(old)))]
    moves = []
    for name, values in indexes:
        was, now = values(old), values(new)
        if was != now:  # most writes touch few indexes
            before, after = set(was), set(now)
            moves.append((name, before - after, after - before))
    return moves


def _move(
    buckets: dict[Hashable, list[Any]], gone: Collection[Hashable], come: Collection[Hashable], entry: Any
) -> None:
    for value in gone:
        bucket = buckets[value]
        _remove(bucket, entry)
        if not bucket:
            del buckets[value]
    for value in come:
        insort(buckets.setdefault(value, []), entry)


def _recount(counts: dict[Hashable, dict[Hashable, int]], gone: Collection[Any], come: Collection[Any]) -> None:
    for value, part in gone:
        parts = counts[value]
        parts[part] -= 1
        if not parts[part]:
            del parts[part]
            if not parts:
                del counts[value]
    for value, part in come:
        parts = counts.setdefault(value, {})
        parts[part] = parts.get(part, 0) + 1


def _remove(ordered: list[Any], entry: Any) -> None:
    del ordered[bisect_left(ordered, entry)]
