"""What the store costs: ``python tests/store/measure_store.py [DIRECTORY]`` prints it (half a minute, 1 GB of disk)."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from homeport.store import Journal, Scope, Store, Table
from homeport.store.memory import MemoryJournal
from homeport.store.sql import SqliteJournal
from homeport.system import SystemClock

HERE = Scope("123456789012", "us-east-1")


class Record(msgspec.Struct, frozen=True, gc=False):
    """About as large as a task: 1.5 KB of JSON."""

    id: str
    cluster: str
    family: str
    status: str
    details: dict[str, str]
    turn: int = 0


RECORDS: Table[Record] = Table(
    "task",
    Record,
    id=lambda r: r.id,
    indexes={"cluster": lambda r: (r.cluster,), "family": lambda r: (r.family,), "status": lambda r: (r.status,)},
    global_indexes={"status": lambda r: (r.status,)},
)


def record(id: int, turn: int = 0) -> Record:
    details = {f"key{k}": f"{id + k:060}"[:60] for k in range(20)}
    return Record(f"{id:032x}", "default", f"family-{id % 50}", "RUNNING", details, turn)


async def opened(journal: Journal) -> Store:
    store = Store(journal, [RECORDS], SystemClock())
    await store.open()
    return store


async def put(store: Store, id: int, turn: int) -> float:
    new = record(id, turn)
    start = time.perf_counter()
    await store.update(lambda tx: tx.put(RECORDS, HERE, new), "measure")
    return time.perf_counter() - start


async def commits(store: Store, ids: list[int], label: str) -> None:
    alone = sorted([await put(store, id, 1) for id in ids[:1000]])
    median, p99 = alone[500] * 1e3, alone[990] * 1e3
    print(f"{label} alone: {1000 / sum(alone):,.0f} commits/s, median {median:.3f} ms, p99 {p99:.3f} ms")
    for size in (10, 100, 1000):
        start, appends, rounds = time.perf_counter(), store.counters.appends, 5000 // size
        for turn in range(rounds):
            await asyncio.gather(*(put(store, id, turn + 2 + size) for id in ids[:size]))
        seconds = time.perf_counter() - start
        each = rounds * size / (store.counters.appends - appends)
        print(f"{label} {size} at once: {rounds * size / seconds:,.0f} commits/s, {each:.0f} commits an append")


async def fill(path: Path, count: int) -> None:
    store, bits = await opened(SqliteJournal(path)), random.Random(1)
    for _ in range(0, count, 1000):
        chunk = [record(bits.getrandbits(128)) for _ in range(1000)]
        await store.update(lambda tx, chunk=chunk: [tx.put(RECORDS, HERE, r) for r in chunk], "measure")  # type: ignore[misc]
    await store.close()


async def load(path: Path, count: int) -> None:
    before, start = resident(), time.perf_counter()
    store = await opened(SqliteJournal(path))
    seconds, grown = time.perf_counter() - start, resident() - before
    assert len(store.view().all(RECORDS, HERE)) == count
    print(f"{count:,} records: loaded in {seconds:.3f} s, {grown / count:,.0f} bytes of memory each", flush=True)
    await store.close()


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def main(directory: Path) -> None:
    print(f"{len(msgspec.json.encode(record(1)))} bytes a record, files in {directory}")
    bits = random.Random(2)
    ids = [bits.getrandbits(128) for _ in range(1000)]
    memory = await opened(MemoryJournal())
    await commits(memory, ids, "memory")
    await memory.close()
    store = await opened(SqliteJournal(directory / "commits.db"))
    await commits(store, ids, "sqlite")
    await store.close()


if __name__ == "__main__":
    if len(sys.argv) == 3:  # in a process of its own, so that the memory that it takes is its own
        asyncio.run(load(Path(sys.argv[1]), int(sys.argv[2])))
        sys.exit()
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        asyncio.run(main(Path(name)))
        for count in (1000, 100_000):
            path = Path(name) / f"{count}.db"
            asyncio.run(fill(path, count))
            subprocess.run([sys.executable, __file__, str(path), str(count)], check=True)
