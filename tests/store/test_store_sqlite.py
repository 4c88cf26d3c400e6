"""The state file: what it shows, who may open it, upgrades, damage, and disks that are full or read-only."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from store_records import HERE, NOTES, OTHERS, Note, Other, TestClock, put

from homeport.store import DamagedFile, Fenced, NewerFile, Store, StoreClosed, Table, UnusableFile, schema
from homeport.store.backup import LEAP, backup, restore
from homeport.store.sql import TRIM_EVERY, SqliteJournal, last_expired


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


@asynccontextmanager
async def opened(
    path: Path,
    *tables: Table[Any],
    clock: TestClock | None = None,
    fatal: Callable[[Exception], None] | None = None,
    **log: Any,
) -> AsyncIterator[Store]:
    store = Store(SqliteJournal(path, **log), tables or [NOTES, OTHERS], clock or TestClock(), fatal=fatal)
    await store.open()
    try:
        yield store
    finally:
        await asyncio.wait_for(store.close(), 10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state file with three notes and an other."""
    path = tmp_path / "state.db"

    async def main() -> None:
        async with opened(path) as store:
            await store.update(put(Note("a"), Note("b", "blue"), Note("ü")), "made")
            await store.update(lambda tx: tx.put(OTHERS, HERE, Other("o")), "made")

    run(main())
    return path


def query(path: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        return db.execute(sql, values).fetchall()


def refused(path: Path, error: type[UnusableFile], *tables: Table[Any]) -> str:
    """Opens a file that must be refused and must be left as it was; the error's text."""
    before = path.read_bytes()

    async def main() -> None:
        with pytest.raises(error) as info:
            async with opened(path, *tables):
                pass
        texts.append(str(info.value))

    texts: list[str] = []
    run(main())
    assert path.read_bytes() == before
    return texts[0]


def modes(directory: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


def test_rows_are_json_that_sqlite3_shows(path: Path) -> None:
    assert query(
        path, "SELECT account, region, kind, id, schema, json_extract(body, '$.colour'), typeof(body) FROM record"
    ) == [
        (*HERE, "note", "a", 1, "red", "text"),
        (*HERE, "note", "b", 1, "blue", "text"),
        (*HERE, "note", "ü", 1, "red", "text"),
        (*HERE, "other", "o", 1, None, "text"),
    ]
    log = query(
        path, "SELECT version, at, kind, id, cause, old, json_extract(new, '$.id') FROM change_log WHERE kind = 'note'"
    )
    assert log[0] == (1, 1_000_000.0, "note", "a", "made", None, "a")
    assert query(path, "SELECT version FROM leader") == [(2,)]


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state.db"

    async def main() -> None:
        async with opened(path) as store:
            await store.update(put(Note("a")), "test")
            backup(path, tmp_path / "copy.db")
            assert modes(tmp_path) == dict.fromkeys(
                ("copy.db", "state.db", "state.db-shm", "state.db-wal", "state.db.lock"), 0o600
            )

    old = os.umask(0)
    try:
        run(main())
        path.chmod(0o644)
        run(main())
    finally:
        os.umask(old)


def test_every_append_waits_for_the_disk(path: Path) -> None:
    async def main() -> None:
        async with opened(path) as store:
            journal = store._journal
            assert isinstance(journal, SqliteJournal)
            assert await journal._run(lambda: settings(journal._db)) == (2, "wal")  # 2: FULL

    def settings(db: sqlite3.Connection | None) -> tuple[int, str]:
        assert db is not None
        return db.execute("PRAGMA synchronous").fetchone()[0], db.execute("PRAGMA journal_mode").fetchone()[0]

    run(main())


def test_the_log_is_bounded_by_rows_and_age(tmp_path: Path) -> None:
    async def main() -> None:
        clock = TestClock()
        async with opened(tmp_path / "rows.db", log_rows=300) as store:
            for n in range(20):
                await store.update(put(*(Note(f"{n}-{k}") for k in range(100))), "test")
            assert 300 <= query(tmp_path / "rows.db", "SELECT count(*) FROM change_log")[0][0] <= 300 + TRIM_EVERY
            assert query(tmp_path / "rows.db", "SELECT max(version) FROM change_log") == [(20,)]
            assert len(store.view().all(NOTES, HERE)) == 2000
        async with opened(tmp_path / "age.db", clock=clock, log_seconds=60) as store:
            for n in range(20):
                await store.update(put(*(Note(f"{n}-{k}") for k in range(100))), "test")
                clock.time += 30
            rows = query(tmp_path / "age.db", "SELECT min(at), count(*) FROM change_log")[0]
            assert rows[0] >= clock.time - 60 - 4 * 30
            assert rows[1] <= 600

    run(main())


def test_what_may_go_from_the_log() -> None:
    entries = [(1, 10.0), (2, 11.0), (3, 9.0), (4, 20.0)]
    assert last_expired(entries, 0, 0.0) is None
    assert last_expired(entries, 2, 0.0) == 2
    assert last_expired(entries, 0, 12.0) == 3
    assert last_expired(entries, 9, 0.0) == 4
    assert last_expired([], 9, 99.0) is None


class NoteOfSchema3(msgspec.Struct, frozen=True):
    id: str
    paint: str
    size: int


def notes_of_schema_3() -> Table[NoteOfSchema3]:
    return Table(
        "note",
        NoteOfSchema3,
        id=lambda r: r.id,
        indexes={"size": lambda r: (r.size,)},
        schema=3,
        upgrades={
            1: lambda body: {**body, "paint": body.get("colour", "red")},
            2: lambda body: {**body, "size": len(body["paint"])},
        },
    )


def test_records_are_upgraded_and_a_copy_is_kept(path: Path) -> None:
    newer = notes_of_schema_3()

    async def main() -> None:
        for _ in range(2):
            async with opened(path, newer, OTHERS) as store:
                assert store.view().get(newer, HERE, "b") == NoteOfSchema3("b", "blue", 4)
                assert [r.id for r in store.view().find(newer, HERE, "size", 3)] == ["a", "ü"]

    run(main())
    assert {row[0] for row in query(path, "SELECT schema FROM record WHERE kind = 'note'")} == {3}
    kept = path.with_name("state.db.version-2")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert {row[0] for row in query(kept, "SELECT schema FROM record")} == {1}
    text = refused(path, NewerFile)
    assert "note records have schema 3, this program knows 1" in text


def test_an_upgrade_that_fails_changes_nothing(path: Path) -> None:
    broken = Table("note", NoteOfSchema3, id=lambda r: r.id, schema=2, upgrades={1: lambda body: body})
    assert "can't be upgraded from schema 1 to 2" in refused(path, DamagedFile, broken, OTHERS)
    assert not path.with_name("state.db.version-2").exists()


def test_a_newer_file_is_refused(path: Path) -> None:
    query(path, f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    assert "this program knows up to" in refused(path, NewerFile)


def test_a_kind_that_the_program_does_not_know_is_refused(path: Path) -> None:
    assert "other/o is of a kind" in refused(path, NewerFile, NOTES)


def test_the_file_schema_is_migrated_and_a_copy_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("ALTER TABLE record ADD COLUMN colour TEXT",)))

    async def main() -> None:
        async with opened(path) as store:
            await store.update(put(Note("c")), "test")

    run(main())
    assert query(path, "PRAGMA user_version") == [(len(schema.MIGRATIONS),)]
    assert query(path, "SELECT count(*) FROM record WHERE colour IS NULL") == [(5,)]
    kept = path.with_name("state.db.version-2")
    assert query(kept, "PRAGMA user_version") == [(len(schema.MIGRATIONS) - 1,)]
    assert query(kept, "SELECT count(*) FROM record") == [(4,)]


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    query(path, "CREATE TABLE t (x)")
    assert "another program's" in refused(path, UnusableFile)


@pytest.mark.parametrize(
    ("where", "size"),
    [(0, 4000), (100, 4000), (8192, 8192), (2 * 8192, 8192), (3 * 8192 - 40, 20), (5 * 8192, 8192)],
    ids=["header", "catalogue", "leader", "records", "a-body", "log"],
)
def test_a_damaged_file_is_refused(path: Path, where: int, size: int) -> None:
    body = bytearray(path.read_bytes())
    assert any(body[where : where + size])
    body[where : where + size] = bytes(size)
    path.write_bytes(body)
    assert "state.db" in refused(path, UnusableFile)


def test_a_truncated_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20000])
    assert "damaged" in refused(path, DamagedFile)


def test_a_record_that_is_no_json_is_refused(path: Path) -> None:
    query(path, "UPDATE record SET body = '{\"id\": 5}' WHERE id = 'a'")
    assert "note/a can't be read" in refused(path, DamagedFile)


def test_a_write_ahead_log_without_its_database_is_refused(path: Path) -> None:
    wal = path.with_name("state.db-wal")
    wal.write_bytes(b"\x37\x7f\x06\x82" + bytes(100))
    path.write_bytes(b"")
    assert "is gone" in refused(path, DamagedFile)
    assert wal.stat().st_size == 104


def test_a_file_that_was_replaced_or_deleted_is_written_no_more(path: Path, tmp_path: Path) -> None:
    async def main() -> None:
        fatal: list[Exception] = []
        async with opened(path, fatal=fatal.append) as store:
            os.rename(path, tmp_path / "elsewhere.db")
            with pytest.raises(StoreClosed):
                await store.update(put(Note("lost")), "test")
            assert isinstance(fatal[0], Fenced)

    run(main())


def test_a_locked_file_closes_writes_and_opens_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeport.store.sql.BUSY_SECONDS", 0.01)

    async def main() -> None:
        clock = TestClock()
        async with opened(path, clock=clock) as store:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreClosed, match="locked"):
                    await store.update(put(Note("c")), "test")
                clock.time += 1
                with pytest.raises(StoreClosed, match="locked"):
                    await store.update(put(Note("c")), "test")
            clock.time += 1
            await store.update(put(Note("d")), "test")
            assert [r.id for r in store.view().all(NOTES, HERE)] == ["a", "b", "d", "ü"]

    run(main())


def test_a_failed_commit_is_unknown_unless_sqlite_says_that_nothing_was_written(path: Path) -> None:
    async def main() -> None:
        for code, fate in ((sqlite3.SQLITE_IOERR_FSYNC, True), (sqlite3.SQLITE_FULL, False)):
            fatal: list[Exception] = []
            async with opened(path, fatal=fatal.append) as store:
                journal = store._journal
                assert isinstance(journal, SqliteJournal)
                journal._db = FailingCommit(journal._db, code)  # type: ignore[assignment]
                with pytest.raises(StoreClosed):
                    await store.update(put(Note("c")), "test")
                assert bool(fatal) is fate

    run(main())


class FailingCommit:
    """A connection whose COMMIT fails: no disk here can be made to fail its fsync."""

    def __init__(self, db: Any, code: int) -> None:
        self._db, self._error = db, sqlite3.OperationalError("disk I/O error")
        self._error.sqlite_errorcode = code

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT":
            raise self._error
        return self._db.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[Path]:
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


async def fill(store: Store, acknowledged: list[str]) -> None:
    """Writes notes of 3 KB until a write is refused."""
    while True:
        id = f"{len(acknowledged):04}"
        await store.update(put(Note(id, more={"pad": {"x": "y" * 3000}})), "test")
        acknowledged.append(id)


@pytest.mark.host
def test_a_full_disk(tmp_path: Path) -> None:
    async def main(disk: Path) -> None:
        clock = TestClock()
        fatal: list[Exception] = []
        acknowledged: list[str] = []
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1 << 20))
        async with opened(disk / "state.db", clock=clock, fatal=fatal.append) as store:
            for _ in range(3):
                with pytest.raises(StoreClosed, match="full"):
                    await fill(store, acknowledged)
                assert await store.read(lambda view: [r.id for r in view.all(NOTES, HERE)]) == acknowledged
                assert not store.writable
                ballast.write_bytes(bytes(ballast.stat().st_size - 300_000))
                clock.time += 1
        assert fatal == []
        async with opened(disk / "state.db") as store:
            assert [r.id for r in store.view().all(NOTES, HERE)] == acknowledged
        assert backup(disk / "state.db", tmp_path / "copy.db").records == len(acknowledged)

    with mounted(tmp_path / "disk", "size=3m") as disk:
        run(main(disk))


@pytest.mark.host
def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    async def main(disk: Path) -> None:
        (disk / "ballast").write_bytes(bytes(60 << 10))
        with pytest.raises(UnusableFile):
            async with opened(disk / "state.db"):
                pass
        (disk / "ballast").unlink()

    async def fine(disk: Path) -> None:
        async with opened(disk / "state.db") as store:
            await store.update(put(Note("a")), "test")

    with mounted(tmp_path / "disk", "size=64k") as disk:
        run(main(disk))
        remount(disk, "size=2m")
        run(fine(disk))


@pytest.mark.host
def test_a_read_only_disk(tmp_path: Path) -> None:
    async def main(disk: Path) -> None:
        async with opened(disk / "state.db") as store:
            await store.update(put(Note("a")), "test")
        remount(disk, "ro")
        with pytest.raises(UnusableFile, match="Read-only"):
            async with opened(disk / "state.db"):
                pass
        remount(disk, "rw")
        async with opened(disk / "state.db") as store:
            assert [r.id for r in store.view().all(NOTES, HERE)] == ["a"]

    with mounted(tmp_path / "disk", "size=2m") as disk:
        run(main(disk))


def test_backup_of_a_live_store_and_restore(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"

    async def main() -> None:
        async with opened(path) as store:
            await store.update(put(Note("c")), "test")
            made = await asyncio.to_thread(backup, path, copy)
            assert (made.version, made.records, made.size) == (3, 5, copy.stat().st_size)
            await store.update(put(Note("later")), "test")
            with pytest.raises(UnusableFile, match="in use"):
                restore(copy, path)
            assert store.view().get(NOTES, HERE, "later")
        assert restore(copy, path).version == 4 + LEAP
        async with opened(path) as store:
            assert [r.id for r in store.view().all(NOTES, HERE)] == ["a", "b", "c", "ü"]
            assert store.version == 4 + LEAP
            await store.update(put(Note("d")), "test")
        async with opened(path.with_name("state.db.replaced")) as store:
            assert store.view().get(NOTES, HERE, "later")

    run(main())
    assert not list(tmp_path.glob("*.partial"))
    assert not list(tmp_path.glob("*.restored"))


def test_a_restore_over_a_crashed_or_damaged_file(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    backup(path, copy)
    wal = path.with_name("state.db-wal")
    path.write_bytes(b"rubbish" * 1000)
    wal.write_bytes(b"old log" * 1000)
    restored = restore(copy, path)
    assert restored.version == 2 + LEAP
    assert path.with_name("state.db.replaced").read_bytes() == b"rubbish" * 1000
    assert path.with_name("state.db.replaced-wal").read_bytes() == b"old log" * 1000
    assert not wal.exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    async def main() -> None:
        async with opened(path) as store:
            assert len(store.view().all(NOTES, HERE)) == 3

    run(main())


def test_a_restore_to_a_new_machine(path: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert restore(path, tmp_path / "new" / "state.db").records == 4


@pytest.mark.parametrize(
    ("name", "content"), [("missing.db", None), ("empty.db", b""), ("rubbish.db", b"rubbish" * 1000)], ids=str
)
def test_no_restore_from_what_is_no_backup(path: Path, tmp_path: Path, name: str, content: bytes | None) -> None:
    source, before = tmp_path / name, path.read_bytes()
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(UnusableFile):
        restore(source, path)
    assert path.read_bytes() == before


def test_no_restore_from_a_damaged_or_newer_backup_nor_from_itself(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    backup(path, copy)
    body = bytearray(copy.read_bytes())
    body[8192 * 3 : 8192 * 4] = bytes(8192)
    (tmp_path / "damaged.db").write_bytes(body)
    with pytest.raises(DamagedFile, match=r"damaged\.db"):
        restore(tmp_path / "damaged.db", path)
    query(copy, "PRAGMA user_version = 99")
    with pytest.raises(NewerFile):
        restore(copy, path)
    with pytest.raises(UnusableFile, match="itself"):
        restore(path, path)
    with pytest.raises(UnusableFile, match="itself"):
        backup(path, path)
    assert json.loads(query(path, "SELECT body FROM record WHERE id = 'b'")[0][0])["colour"] == "blue"


def test_a_story_goes_through_all_parts_of_the_log(path: Path) -> None:
    many = [Note(f"n{number}") for number in range(schema.PART)]

    async def main() -> None:
        async with opened(path) as store:
            before = len(await store.story(HERE, "note", "a"))
            await store.update(put(Note("a", "green"), *many), "test")
            await store.update(put(Note("a", "white")), "test")
            story = await store.story(HERE, "note", "a")
            assert [change.new["colour"] for change in story[before:]] == ["green", "white"]

    run(main())
    assert query(path, f"SELECT count(DISTINCT seq / {schema.PART}) FROM change_log") == [(2,)]


def test_a_story_is_found_by_the_index(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        key = {"part": 0, "account": "", "region": "", "kind": "", "id": "a"}
        (plan,) = db.execute(f"EXPLAIN QUERY PLAN {schema.STORY}", key).fetchall()
    assert plan[3] == "SEARCH change_log USING INDEX change_log_part (<expr>=? AND <expr>=?)"
