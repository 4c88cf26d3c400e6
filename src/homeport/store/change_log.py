"""Reading the change log of a state file: what happened to a record, and what happened since a version."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from homeport.store import schema
from homeport.store.journal import Logged, Page
from homeport.store.keys import Key

ROWS_LOOKED_AT = 5_000  # for one page at the most (and the rest of the last one's version)


def story(db: sqlite3.Connection, key: Key) -> list[Logged]:
    """The entries of one record, oldest first, from a connection without a transaction."""
    db.execute("BEGIN")  # one state of the file
    first = db.execute(schema.FIRST_LOGGED, (0,)).fetchone()
    if first is None:
        return []
    (newest,) = db.execute(schema.NEWEST_LOGGED).fetchone()
    parts = range(first[0] // schema.PART, newest // schema.PART + 1)
    return [Logged(*row) for part in parts for row in db.execute(schema.STORY, {"part": part, **key._asdict()})]


def page(db: sqlite3.Connection, after: int, kinds: Collection[str], since: float, limit: int) -> Page:
    """As ``Journal.read``, from a connection without a transaction.

    Versions grow with the log's primary key, so the first entry after a version is found by halving: an index on
    versions would cost every append what readers hardly need.
    """
    db.execute("BEGIN")  # one state of the file
    (newest,) = db.execute(schema.VERSION).fetchone()
    first = db.execute(schema.FIRST_LOGGED, (0,)).fetchone()
    if first is None:
        return Page((), max(after, newest), 0)
    end = db.execute(schema.NEWEST_LOGGED).fetchone()[0] + 1
    start = _place_after(db, after, first[0], end)
    stop, reached = min(start + ROWS_LOOKED_AT, end), max(after, newest)
    if stop < end:  # whole versions only
        (reached,) = db.execute(schema.LAST_LOGGED, (stop,)).fetchone()
        stop = _place_after(db, reached, stop, end)
    found: list[tuple[Key, Logged]] = []
    for row in db.execute(schema.PART_OF_LOG, (start, stop, since, json.dumps([*kinds]))):
        if len(found) >= limit and row[4] != found[-1][1].version:
            reached = found[-1][1].version
            break
        found.append((Key(*row[:4]), Logged(*row[4:])))
    return Page(tuple(found), reached, first[1])


def _place_after(db: sqlite3.Connection, version: int, low: int, high: int) -> int:
    """The place, from ``low`` on, of the first entry of a later version; ``high`` where there is none."""
    while low < high:
        middle = (low + high) // 2
        place, there = db.execute(schema.FIRST_LOGGED, (middle,)).fetchone()
        if there > version:
            high = middle
        else:
            low = place + 1
    return low
