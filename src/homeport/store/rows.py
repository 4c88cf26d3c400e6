"""The live rows of one table: records by scope and id, and the indexes over them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Generic

from homeport.store.keys import Scope
from homeport.store.tables import R, Table

Entry = tuple[str, Scope]  # of a global index: sorted by id, then scope
Ranked = tuple[Any, str]  # of an ordered index: sorted by rank, then id


class _Partition(Generic[R]):
    """One scope's records. Ids are kept sorted, so that lists need no sorting."""

    __slots__ = ("ids", "indexes", "ordered", "records", "scope")

    def __init__(self, scope: Scope, indexes: Iterable[str], ordered: Iterable[str]) -> None:
        self.scope = scope
        self.records: dict[str, R] = {}
        self.ids: list[str] = []
        self.indexes: dict[str, dict[Hashable, list[str]]] = {name: {} for name in indexes}
        self.ordered: dict[str, dict[Hashable, list[Ranked]]] = {name: {} for name in ordered}


class Rows(Generic[R]):
    def __init__(self, table: Table[R]) -> None:
        self.table = table
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

    def values(self, scope: tuple[str, str], index: str) -> list[Hashable]:
        """The values that an index or ordered index has records under, in no order."""
        part = self._partitions.get(scope)
        if index in self.table.ordered:
            return list(part.ordered[index]) if part else []
        self._known(index)
        return list(part.indexes[index]) if part else []

    def ordered(self, scope: tuple[str, str], index: str, value: Hashable, start: Any) -> Iterator[R]:
        """Records under ``value`` from rank ``start`` on. Not to be used across a write."""
        if index not in self.table.ordered:
            raise LookupError(f"table {self.table.kind!r} has no ordered index {index!r}")
        part = self._partitions.get(scope)
        bucket = part.ordered[index].get(value) if part else None
        if part is None or bucket is None:
            return
        for at in range(bisect_left(bucket, (start, "")), len(bucket)):
            yield part.records[bucket[at][1]]

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
        moves = _moves(self.table.indexes, old, new)
        global_moves = _moves(self.table.global_indexes, old, new)
        rank_moves = _moves(self.table.ordered, old, new)
        if part is None:
            part = self._partitions[scope] = _Partition(Scope(*scope), self.table.indexes, self.table.ordered)
        for name, gone, come in moves:
            _move(part.indexes[name], gone, come, id)
        for name, gone, come in global_moves:
            _move(self._global[name], gone, come, (id, part.scope))
        for name, gone, come in rank_moves:
            _rerank(part.ordered[name], gone, come, id)
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
        self._known(index)
        part = self._partitions.get(scope)
        return (part, part.indexes[index].get(value, ())) if part else (None, ())

    def _known(self, index: str) -> None:
        if index not in self.table.indexes:
            raise LookupError(f"table {self.table.kind!r} has no index {index!r}")


def _moves(
    indexes: Mapping[str, Callable[[R], Iterable[Any]]], old: R | None, new: R | None
) -> list[tuple[str, set[Any], set[Any]]]:
    """For each index that is touched: its name, the values that the record leaves, and those that it comes under."""
    moves = []
    for name, values in indexes.items():
        before = set(values(old)) if old is not None else set()
        after = set(values(new)) if new is not None else set()
        if before != after:
            moves.append((name, before - after, after - before))
    return moves


def _move(buckets: dict[Hashable, list[Any]], gone: set[Hashable], come: set[Hashable], entry: Any) -> None:
    for value in gone:
        bucket = buckets[value]
        _remove(bucket, entry)
        if not bucket:
            del buckets[value]
    for value in come:
        insort(buckets.setdefault(value, []), entry)


def _rerank(buckets: dict[Hashable, list[Ranked]], gone: set[Any], come: set[Any], id: str) -> None:
    for value, rank in gone:
        _move(buckets, {value}, set(), (rank, id))
    for value, rank in come:
        _move(buckets, set(), {value}, (rank, id))


def _remove(ordered: list[Any], entry: Any) -> None:
    del ordered[bisect_left(ordered, entry)]
