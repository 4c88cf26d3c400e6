"""kill -9 of a writing process: what was acknowledged is there, and each commit whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from store_records import HERE, NOTES, TestClock

from homeport.store import Store
from homeport.store.backup import backup
from homeport.store.sql import SqliteJournal

WRITER = Path(__file__).with_name("crash_writer.py")


def crash(path: Path, seconds: float) -> dict[str, str]:
    """Runs the writer, kills it ``seconds`` after its first write; the last value that each loop saw acknowledged."""
    process = subprocess.Popen([sys.executable, str(WRITER), str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(seconds)  # the moment is what is random here
    process.kill()
    lines = (first + process.stdout.read()).decode().splitlines()
    process.wait()
    return dict(line.split() for line in lines)


def test_kill_at_random_moments(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    moments = random.Random(7)
    version = 0
    for _ in range(6):
        acknowledged = crash(path, moments.uniform(0, 0.25))

        async def check(acknowledged: dict[str, str] = acknowledged) -> int:
            store = Store(SqliteJournal(path), [NOTES], TestClock())
            await store.open()
            for writer, value in acknowledged.items():
                last = store.view().get(NOTES, HERE, f"{writer}-last")
                twin = store.view().get(NOTES, HERE, f"{writer}-twin")
                assert last is not None
                assert twin is not None
                assert last.colour >= value
                assert last.colour == twin.colour
            return store.version  # not closed: the next writer recovers the log too

        reached = asyncio.run(check())
        assert reached > version
        version = reached
    assert backup(path, tmp_path / "copy.db").version == version


def test_a_torn_last_write_loses_only_what_was_not_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    acknowledged = crash(path, 0.1)
    assert acknowledged
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    wal = tmp_path / "state.db-wal"

    async def write() -> bytes:
        store = Store(SqliteJournal(path), [NOTES], TestClock())
        await store.open()
        for n in range(20):
            await store.update(lambda tx, n=n: tx.delete(NOTES, HERE, f"{n % 5}-last"), "test")
            await store.update(lambda tx, n=n: tx.put(NOTES, HERE, NOTES.record(f"{n % 5}-last", f"new {n}")), "test")
        return wal.read_bytes()

    whole, database = asyncio.run(write()), path.read_bytes()

    async def reopen(tail: bytes, number: int) -> int:
        torn = tmp_path / f"torn-{number}.db"
        torn.write_bytes(database)
        torn.with_name(torn.name + "-wal").write_bytes(tail)
        store = Store(SqliteJournal(torn), [NOTES], TestClock())
        await store.open()
        version = store.version
        await store.update(lambda tx: tx.put(NOTES, HERE, NOTES.record("after")), "test")
        await store.close()
        assert torn.with_name(torn.name + "-wal").exists() is False
        return version

    async def versions() -> tuple[int, list[int]]:
        full = await reopen(whole, 0)
        noise = random.Random(7).randbytes(64)
        tails = [whole[:-cut] for cut in (1, 5000, 12_000, 40_000)]
        tails += [whole[:-300] + noise + whole[-236:], whole + noise * 100]
        return full, [await reopen(tail, n) for n, tail in enumerate(tails, 1)]

    full, got = asyncio.run(versions())
    assert got[-1] == full
    assert got[0] == got[4] == full - 1
    assert got[0] >= got[1] >= got[2] >= got[3] >= full - 12
