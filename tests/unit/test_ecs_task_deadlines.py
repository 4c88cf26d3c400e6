"""Deadlines: the newest time of a record counts, the earliest comes first."""

from __future__ import annotations

from homeport.services.ecs.deadlines import Deadlines
from homeport.store import Key


def key(id: str) -> Key:
    return Key("a", "r", "task", id)


def test_deadlines() -> None:
    deadlines = Deadlines()
    assert deadlines.next() is None
    assert deadlines.due(100.0, 5) == []
    for id, at in (("b", 2.0), ("a", 1.0), ("c", 3.0), ("c", 3.0)):
        deadlines.set(key(id), at)
    assert (deadlines.next(), len(deadlines)) == (1.0, 3)
    deadlines.set(key("a"), 9.0)  # later
    deadlines.set(key("b"), None)  # not at all
    assert (deadlines.next(), len(deadlines)) == (3.0, 2)
    assert deadlines.due(2.9, 5) == []
    assert deadlines.due(9.0, 1) == [key("c")]
    assert deadlines.earliest(1) == [key("a")]
    assert (deadlines.next(), len(deadlines)) == (None, 0)
