"""The journal in a SQLite file: write-ahead log, synchronous=FULL, one writer thread.

Rows are JSON text, so ``sqlite3 homeport.db "SELECT body FROM record"`` shows them. The writer that last wrote is the
one whose version the ``leader`` row holds; another one's append changes no row there and is fenced.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TypeVar

from homeport.store import change_log, schema
from homeport.store.errors import (
    AppendFailed,
    DamagedFile,
    Fenced,
    NewerFile,
    OutcomeUnknown,
    UnusableFile,
)
from homeport.store.journal import Commit, Logged, Page, Row
from homeport.store.keys import Key

T = TypeVar("T")

LOG_ROWS = 200_000
LOG_SECONDS = 24 * 3600.0
TRIM_EVERY = 256  # logged changes between two trims
CHECK_LIMIT = 32 << 20  # bytes of a file that is checked whole at each start (25 ms from the page cache)
PAGE_SIZE = 8192  # bytes: a task is one to three KB of JSON, of which 4096 would hold one or two
WAL_LIMIT = 64 << 20  # bytes that the write-ahead log keeps after a backup, which holds its end back, made it longer
CACHE_SIZE = 8192  # KiB of pages: with SQLite's own 2 MiB a tenth of an append went into reading them again
ROWS_AT_ONCE = 32  # of one INSERT
BUSY_SECONDS = 5.0  # how long a lock of another connection (a backup, sqlite3) is waited for

# A COMMIT that failed with one of these wrote no complete commit frame, or none at all. After any other failure (a
# failed fsync above all) the frame may or may not be on the disk.
_NOT_COMMITTED = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class SqliteJournal:
    """``log_rows`` and ``log_seconds`` bound the change log; it is trimmed to both as it is written."""

    def __init__(self, path: str | Path, *, log_rows: int = LOG_ROWS, log_seconds: float = LOG_SECONDS) -> None:
        self.path = Path(path)
        self._log_rows, self._log_seconds = log_rows, log_seconds
        self._thread = ThreadPoolExecutor(1, "store-journal")
        self._db: sqlite3.Connection | None = None  # None: not loaded, or dropped after a failure
        self._inode = 0
        self._untrimmed = 0
        self._held = contextlib.ExitStack()

    async def load(self, accept: Callable[[Row], Row | None]) -> int:
        return await self._run(lambda: self._load(accept))

    async def append(self, commits: Sequence[Commit]) -> None:
        await self._run(lambda: self._append(commits))

    async def probe(self, version: int) -> None:
        await self._run(lambda: self._probe(version))

    async def log(self, key: Key) -> list[Logged]:
        return await asyncio.to_thread(read_log, self.path, key)

    async def read(self, after: int, kinds: Collection[str], since: float, limit: int) -> Page:
        return await asyncio.to_thread(read_page, self.path, after, kinds, since, limit)

    async def close(self) -> None:
        await self._run(self._drop)
        self._held.close()
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        """Runs ``work`` in the writer thread, to its end even where the caller is cancelled."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _load(self, accept: Callable[[Row], Row | None]) -> int:
        with opening(self.path):
            self._held.enter_context(lock_file(self.path, fcntl.LOCK_SH))
            try:
                self._db = db = open_file(self.path)
                self._inode = os.stat(self.path).st_ino
                (version,) = db.execute(schema.VERSION).fetchone()
                upgraded = self._hand_over(db, accept)
                if upgraded:
                    keep_copy(db, self.path)
                    _replace_rows(db, upgraded)
            except BaseException:
                self._drop()
                self._held.close()
                raise
        return int(version)

    def _hand_over(self, db: sqlite3.Connection, accept: Callable[[Row], Row | None]) -> list[Row]:
        """Hands every row to ``accept``; the rows that it wants stored instead."""
        try:
            return [row for row in map(accept, stored_rows(db)) if row is not None]
        except UnusableFile as error:
            raise type(error)(f"{self.path}: {error}") from error

    def _append(self, commits: Sequence[Commit]) -> None:
        db = self._db
        if db is None:
            raise AppendFailed(f"{self.path} isn't open")
        try:
            self._check_inode()
            db.execute("BEGIN IMMEDIATE")
            _lead(db, commits[0].version - 1, commits[-1].version)
            _write(db, commits)
            self._trim(db, commits)
        except sqlite3.Error as error:
            self._drop()
            raise AppendFailed(f"{self.path}: {error}") from error
        except BaseException:
            self._drop()
            raise
        self._commit(db)

    def _probe(self, version: int) -> None:
        try:
            self._check_inode()
            db = self._db = self._db or _connect(self.path)
            db.execute("BEGIN IMMEDIATE")
            _lead(db, version, version)
        except (sqlite3.Error, OSError) as error:
            self._drop()
            raise AppendFailed(f"{self.path}: {error}") from error
        except BaseException:
            self._drop()
            raise
        self._commit(db)

    def _commit(self, db: sqlite3.Connection) -> None:
        try:
            db.execute("COMMIT")
        except sqlite3.Error as error:
            self._drop()
            text = f"{self.path}: commit: {error}"
            raise AppendFailed(text) if _code(error) in _NOT_COMMITTED else OutcomeUnknown(text) from error

    def _drop(self) -> None:
        """Closes the connection, which rolls back what it has begun."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _check_inode(self) -> None:
        """Raises Fenced where the file was deleted or replaced: nobody would ever read what is written to it."""
        try:
            inode = os.stat(self.path).st_ino
        except FileNotFoundError:
            inode = 0
        if inode != self._inode:
            raise Fenced(f"{self.path} was deleted or replaced")

    def _trim(self, db: sqlite3.Connection, commits: Sequence[Commit]) -> None:
        """Deletes old entries of the log, a bounded number now and then, so that no append is slow for it."""
        self._untrimmed += sum(len(commit.writes) for commit in commits)
        if self._untrimmed < TRIM_EVERY:
            return
        (newest,) = db.execute(schema.NEWEST_LOGGED).fetchone()
        oldest = db.execute(schema.OLDEST_LOGGED, (2 * self._untrimmed,)).fetchall()
        last = last_expired(oldest, newest - self._log_rows, commits[-1].at - self._log_seconds)
        if last is not None:
            db.execute(schema.TRIM, (last,))
        self._untrimmed = 0


def last_expired(oldest: Iterable[tuple[int, float]], up_to: int, before: float) -> int | None:
    """The last of the (seq, at) entries that may go: those with seq ≤ ``up_to`` and those older than ``before``."""
    last = None
    for seq, at in oldest:
        if seq > up_to and at >= before:
            break
        last = seq
    return last


def open_file(path: Path) -> sqlite3.Connection:
    """Opens a state file for writing; makes it (0600) where there is none, brings it to this program's schema.

    A copy is kept before a schema changes. Raises UnusableFile, sqlite3.Error and OSError, and has changed nothing
    then.
    """
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size > 0 and (not path.exists() or path.stat().st_size == 0):
        raise DamagedFile(f"{path} is gone, but its write-ahead log is still there: restore a backup")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)
    sync_directory(path.parent)
    db = _connect(path)
    try:
        known = check_header(db, path)
        if path.stat().st_size <= CHECK_LIMIT:
            check_pages(db, path)
        _migrate(db, path, known)
    except BaseException:
        db.close()
        raise
    return db


def check_header(db: sqlite3.Connection, path: Path) -> int:
    """The file's schema, 0 where it is empty. Raises NewerFile, and UnusableFile where it's another program's."""
    (application,), (known,) = (
        db.execute("PRAGMA application_id").fetchone(),
        db.execute("PRAGMA user_version").fetchone(),
    )
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (application or known or tables) and application != schema.APPLICATION_ID:
        raise UnusableFile(f"{path} is another program's database")
    if known > len(schema.MIGRATIONS):
        raise NewerFile(
            f"{path} has file schema {known}, this program knows up to {len(schema.MIGRATIONS)}: upgrade it"
        )
    return int(known)


def check_pages(db: sqlite3.Connection, path: Path) -> None:
    """Reads the whole file. Raises DamagedFile."""
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedFile(f"{path} is damaged ({verdict}): restore a backup")


def stored_rows(db: sqlite3.Connection) -> Iterator[Row]:
    for account, region, kind, id, version, body in db.execute(schema.RECORDS):
        yield Row(Key(account, region, kind, id), version, body)


def read_log(path: Path, key: Key) -> list[Logged]:
    """The logged changes of a record, read beside the writer."""
    with contextlib.closing(open_readonly(path)) as db:
        return change_log.story(db, key)


def read_page(path: Path, after: int, kinds: Collection[str], since: float, limit: int) -> Page:
    """A page of the change log, read beside the writer."""
    with contextlib.closing(open_readonly(path)) as db:
        return change_log.page(db, after, kinds, since, limit)


def open_readonly(path: Path) -> sqlite3.Connection:
    uri = path.resolve().as_uri() + "?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def keep_copy(db: sqlite3.Connection, path: Path) -> Path:
    """Copies the file as it is to ``<path>.version-<n>``, where n is the store's version."""
    (version,) = db.execute(schema.VERSION).fetchone()
    target = path.with_name(f"{path.name}.version-{version}")
    copy_file(db, target)
    return target


def copy_file(db: sqlite3.Connection, target: Path, version: int | None = None) -> None:
    """Writes a consistent, checked, single-file copy (0600) of ``db`` to ``target``, all or nothing.

    ``version``: the store version that the copy gets instead of its own.
    """
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as copy:
            db.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            if version is not None:
                copy.execute("UPDATE leader SET version = ?", (version,))
            check_pages(copy, partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


@contextlib.contextmanager
def lock_file(path: Path, how: int) -> Iterator[None]:
    """Holds ``<path>.lock``: writers share it, a restore has it alone. Raises BlockingIOError."""
    fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def opening(path: Path) -> Iterator[None]:
    """Turns what can go wrong while a file is opened and read into UnusableFile."""
    try:
        yield
    except BlockingIOError as error:
        raise UnusableFile(f"{path} is in use by another process") from error
    except sqlite3.Error as error:
        code = _code(error)
        if code in _DAMAGE or code is None:
            raise DamagedFile(f"{path} is damaged ({error}): restore a backup") from error
        raise UnusableFile(f"{path} can't be used: {error}") from error
    except OSError as error:
        raise UnusableFile(f"{path} can't be used: {error.strerror}") from error


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path.resolve().as_uri() + "?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    db.execute("PRAGMA synchronous=FULL")
    db.execute(f"PRAGMA journal_size_limit={WAL_LIMIT}")
    db.execute(f"PRAGMA cache_size=-{CACHE_SIZE}")
    return db


def _migrate(db: sqlite3.Connection, path: Path, known: int) -> None:
    if 0 < known < len(schema.MIGRATIONS):
        keep_copy(db, path)
    db.execute(f"PRAGMA page_size = {PAGE_SIZE}")  # of a file that is still empty
    (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise UnusableFile(f"{path}: the file system can't hold a write-ahead log")
    db.execute("BEGIN IMMEDIATE")  # also where nothing is to do: it tells whether the file can be written
    for statements in schema.MIGRATIONS[known:]:
        for statement in statements:
            db.execute(statement)
    if known < len(schema.MIGRATIONS):
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS)}")
    db.execute("COMMIT")


def _lead(db: sqlite3.Connection, before: int, after: int) -> None:
    if db.execute(schema.LEAD, (after, before)).rowcount != 1:
        raise Fenced(f"another process has written since version {before}")


def _write(db: sqlite3.Connection, commits: Sequence[Commit]) -> None:
    newest = {write.key: write for commit in commits for write in commit.writes}
    gone = [write.key for write in newest.values() if write.new is None]
    kept = [(*write.key, write.schema, write.new.decode()) for write in newest.values() if write.new is not None]
    logged = [
        (commit.version, commit.at, *write.key, commit.cause, _text(write.old), _text(write.new))
        for commit in commits
        for write in commit.writes
    ]
    db.executemany(schema.DELETE, gone)
    _insert(db, schema.PUT, kept)
    _insert(db, schema.LOG, logged)


def _insert(db: sqlite3.Connection, statement: schema.Insert, rows: Sequence[tuple[object, ...]]) -> None:
    """Inserts many rows with each statement: every one costs this thread the interpreter's lock several times, which a
    busy loop gives back late."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        chunk = rows[start : start + ROWS_AT_ONCE]
        db.execute(statement.of(len(chunk)), list(chain.from_iterable(chunk)))


def _replace_rows(db: sqlite3.Connection, rows: Iterable[Row]) -> None:
    db.execute("BEGIN IMMEDIATE")
    _insert(db, schema.PUT, [(*row.key, row.schema, row.body.decode()) for row in rows])
    db.execute("COMMIT")


def _text(body: bytes | None) -> str | None:
    return None if body is None else body.decode()


def _code(error: sqlite3.Error) -> int | None:
    """The primary result code (without what extends it); None where SQLite itself had no complaint."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
