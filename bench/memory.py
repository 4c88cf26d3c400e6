"""The control plane's memory for each stored RUNNING task, and what of the task takes it."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import cost
from bench.fleet import fleet
from homeport.services.ec2.model import INTERFACES
from homeport.services.ecs.model.task import TASKS
from homeport.store.codec import Codec
from homeport.store.rows import Rows
from homeport.store.sql import open_readonly, stored_rows
from homeport.store.tables import Table

INSTANCES = 1_000


@dataclass(frozen=True)
class Stored:
    """Bytes for each task: ``all`` by the process of the control plane, ``parts`` by a process that loads only them.
    ``start``: seconds until the control plane answered."""

    tasks: int
    all: float
    parts: dict[str, float]
    start: float


def measure(tasks: int) -> Stored:
    """A million tasks take about ten minutes, most of which they are written."""
    with fleet(INSTANCES) as made:
        with made.plane() as plane:
            plane.rest()
            empty = cost.memory([plane.pid])
        count = sum(map(len, made.populate(tasks).values()))
        with made.plane() as plane:
            plane.rest()
            full = cost.memory([plane.pid])
            start = plane.seconds
        argv = [sys.executable, "-m", "bench.memory", str(made.database)]
        parts = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return Stored(
        count, (full - empty) * (1 << 20) / count, {name: size / count for name, size in parts.items()}, start
    )


def split(database: Path) -> dict[str, float]:
    """Bytes of all records of tasks and of interfaces, and of their indexes."""
    found: dict[str, float] = {}
    for name, table in (("task", TASKS), ("interface", INTERFACES)):
        found |= {f"{name}: {part}": size for part, size in _sizes(database, table)}
    return found


def _sizes(database: Path, table: Table[Any]) -> list[tuple[str, float]]:
    codec, rows = Codec(table), Rows(table)
    before = _memory()
    db = open_readonly(database)
    scope = next(row.key.scope for row in stored_rows(db) if row.key.kind == table.kind)  # there is one
    records = [codec.decode(row)[0] for row in stored_rows(db) if row.key.kind == table.kind]
    db.close()
    loaded = _memory()
    for record in records:
        rows.replace(scope, table.id(record), record)
    del records
    indexed = _memory()
    _KEPT.append(rows)
    return [("record", loaded - before), ("indexes", indexed - loaded)]


_KEPT: list[Any] = []


def _memory() -> float:
    gc.collect()
    return cost.memory([os.getpid()]) * (1 << 20)


if __name__ == "__main__":
    print(json.dumps(split(Path(sys.argv[1]))))
