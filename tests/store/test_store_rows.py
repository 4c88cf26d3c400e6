"""Live rows: index upkeep, and what lookups cost."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from store_records import HERE, NOTES, THERE, Note

from homeport.store import Table
from homeport.store.rows import Rows


def test_nothing_is_left_of_what_is_gone() -> None:
    rows = Rows(NOTES)
    for scope in (HERE, THERE):
        for n in range(10):
            rows.replace(scope, f"{n}", Note(f"{n}", f"colour {n}", ("a", "b", "a")))
            rows.replace(scope, f"{n}", Note(f"{n}", f"paint {n}", ("c",)))
    assert set(rows._global["colour"]) == {f"paint {n}" for n in range(10)}
    assert set(rows._partitions[HERE].indexes["tag"]) == {"c"}
    for scope in (HERE, THERE):
        for n in range(10):
            rows.replace(scope, f"{n}", None)
    assert rows._partitions == {}
    assert rows._global == {"colour": {}}


def test_lookups_visit_only_what_they_return() -> None:
    calls = 0

    def colour(note: Note) -> Iterable[str]:
        nonlocal calls
        calls += 1
        return (note.colour,)

    class Untouchable(dict[str, Note]):
        def __getitem__(self, id: str) -> Note:
            assert id.startswith("rare")
            return super().__getitem__(id)

        def __iter__(self) -> None:  # type: ignore[override]
            raise AssertionError("scanned")

        values = items = keys = __iter__  # type: ignore[assignment]

    table = Table("note", Note, id=lambda r: r.id, indexes={"c": colour}, global_indexes={"g": colour})
    rows = Rows(table)
    for n in range(1000):
        rows.replace(HERE, f"{n}", Note(f"{n}"))
        rows.replace(THERE, f"{n}", Note(f"{n}"))
    rows.replace(HERE, "rare", Note("rare", "gold"))
    for part in rows._partitions.values():
        part.records = Untouchable(part.records)
    calls = 0
    assert rows.find(HERE, "c", "gold") == [Note("rare", "gold")]
    assert rows.find_global("g", "gold") == [(HERE, Note("rare", "gold"))]
    assert rows.count(THERE, "c", "red") == 1000
    assert calls == 0


def test_an_index_that_raises_changes_nothing() -> None:
    def fussy(note: Note) -> Iterable[str]:
        if note.colour == "bad":
            raise ValueError(note.id)
        return (note.colour,)

    rows = Rows(Table("note", Note, id=lambda r: r.id, indexes={"c": lambda r: (r.colour,), "f": fussy}))
    rows.replace(HERE, "a", Note("a"))
    for id in ("a", "b"):
        with pytest.raises(ValueError, match=id):
            rows.replace(HERE, id, Note(id, "bad"))
    assert rows.all(HERE) == rows.find(HERE, "c", "red") == rows.find(HERE, "f", "red") == [Note("a")]
    assert rows.find(HERE, "c", "bad") == []
