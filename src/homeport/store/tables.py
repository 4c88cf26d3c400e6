"""Typed tables and their indexes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

R = TypeVar("R", bound=msgspec.Struct)


class Table(Generic[R]):
    """Declares a kind of record.

    ``id(record)`` is its id inside a scope. ``indexes`` are looked up inside a scope (``tx.find``), ``global_indexes``
    across all scopes (``tx.find_global``); each maps a record to the values that it is found under. ``ordered`` indexes
    map a record to (value, part, rank) and list the records of each part of a value by rank (``tx.ranked``). ``counts``
    map a record to (value, part) and count the records of each part of a value (``tx.counts``); where the number will
    do, that takes far less memory. ``schema`` is the record's schema version; ``upgrades[n]`` turns a JSON object of
    version n into one of version n + 1.
    """

    def __init__(
        self,
        kind: str,
        record: type[R],
        *,
        id: Callable[[R], str],
        indexes: Mapping[str, Callable[[R], Iterable[Hashable]]] | None = None,
        global_indexes: Mapping[str, Callable[[R], Iterable[Hashable]]] | None = None,
        ordered: Mapping[str, Callable[[R], Iterable[tuple[Hashable, Hashable, Any]]]] | None = None,
        counts: Mapping[str, Callable[[R], Iterable[tuple[Hashable, Hashable]]]] | None = None,
        schema: int = 1,
        upgrades: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] | None = None,
    ) -> None:
        self.kind, self.record, self.id = kind, record, id
        self.indexes, self.global_indexes = dict(indexes or {}), dict(global_indexes or {})
        self.ordered, self.counts = dict(ordered or {}), dict(counts or {})
        self.schema, self.upgrades = schema, dict(upgrades or {})
