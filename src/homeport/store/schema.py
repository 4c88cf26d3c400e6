"""The tables of a state file, and the steps from one file schema to the next."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple


class Insert(NamedTuple):
    """An INSERT of any number of rows: the table with its columns, how many these are, and what follows the rows."""

    into: str
    width: int
    tail: str = ""

    def of(self, rows: int) -> str:
        return _insert(self, rows)


@cache
def _insert(statement: Insert, rows: int) -> str:
    values = ", ".join([f"({', '.join('?' * statement.width)})"] * rows)
    return f"INSERT INTO {statement.into} VALUES {values} {statement.tail}"  # noqa: S608 (constants only)


APPLICATION_ID = 0x486F6D65  # "Home": says in the file's header whose file it is

# MIGRATIONS[n] turns a file of schema n into one of schema n + 1; an empty file has schema 0.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE leader (one INTEGER PRIMARY KEY CHECK (one = 1), version BIGINT NOT NULL)",
        "INSERT INTO leader VALUES (1, 0)",
        """CREATE TABLE record (
            account TEXT NOT NULL, region TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
            schema INTEGER NOT NULL, body TEXT NOT NULL,
            PRIMARY KEY (account, region, kind, id))""",
        """CREATE TABLE change_log (
            seq INTEGER PRIMARY KEY, version BIGINT NOT NULL, at DOUBLE PRECISION NOT NULL,
            account TEXT NOT NULL, region TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
            cause TEXT NOT NULL, old TEXT, new TEXT)""",
        "CREATE INDEX change_log_key ON change_log (account, region, kind, id)",
    ),
    # By parts of 4,096 entries: an append then touches the few pages of the newest part, not one for each change.
    (
        "DROP INDEX change_log_key",
        "CREATE INDEX change_log_part ON change_log (seq >> 12, substr(id, -8))",
    ),
)
PART = 4096  # entries of a part of the log

VERSION = "SELECT version FROM leader"
LEAD = "UPDATE leader SET version = ? WHERE version = ?"
RECORDS = """SELECT account, region, kind, id, schema, CAST(body AS BLOB) FROM record
    ORDER BY account, region, kind, id"""
DELETE = "DELETE FROM record WHERE account = ? AND region = ? AND kind = ? AND id = ?"
PUT = Insert(
    "record (account, region, kind, id, schema, body)",
    6,
    "ON CONFLICT (account, region, kind, id) DO UPDATE SET schema = excluded.schema, body = excluded.body",
)
LOG = Insert("change_log (version, at, account, region, kind, id, cause, old, new)", 9)
NEWEST_LOGGED = "SELECT max(seq) FROM change_log"
OLDEST_LOGGED = "SELECT seq, at FROM change_log ORDER BY seq LIMIT ?"
TRIM = "DELETE FROM change_log WHERE seq <= ?"
FIRST_LOGGED = "SELECT seq, version FROM change_log WHERE seq >= ? ORDER BY seq LIMIT 1"
LAST_LOGGED = "SELECT version FROM change_log WHERE seq < ? ORDER BY seq DESC LIMIT 1"
# Some of the log, by its primary key; the bodies of what isn't wanted aren't read.
PART_OF_LOG = """SELECT account, region, kind, id, version, at, cause, CAST(old AS BLOB), CAST(new AS BLOB)
    FROM change_log WHERE seq >= ? AND seq < ? AND at >= ? AND kind IN (SELECT value FROM json_each(?)) ORDER BY seq"""
# What one part of the log tells of a record. (+id: else SQLite puts :id into the indexed expression.)
STORY = """SELECT version, at, cause, CAST(old AS BLOB), CAST(new AS BLOB) FROM change_log
    WHERE seq >> 12 = :part AND substr(id, -8) = substr(:id, -8)
    AND account = :account AND region = :region AND kind = :kind AND +id = :id ORDER BY seq"""
