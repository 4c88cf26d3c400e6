"""``homeport backup`` and ``homeport restore``: consistent copies of a state file.

Both work on files, beside a running control plane or without one, and block: call them from a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import NamedTuple

from homeport.store import schema
from homeport.store.errors import UnusableFile
from homeport.store.sql import (
    check_header,
    check_pages,
    copy_file,
    lock_file,
    open_readonly,
    opening,
    sync_directory,
)

# A restored store goes on this far above every version that was ever handed out, because agents refuse lower ones and
# nobody knows how far the state got that is being replaced.
LEAP = 1_000_000_000


class Copied(NamedTuple):
    """What was copied: the store's version, how many records, and the copy's size in bytes."""

    version: int
    records: int
    size: int


def backup(source: str | Path, target: str | Path) -> Copied:
    """Copies the state file ``source``, which may be in use, to the single file ``target`` (0600), replacing it.

    The copy is consistent and checked; ``target`` appears complete or not at all. Raises UnusableFile.
    """
    source, target = Path(source), Path(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise UnusableFile(f"{target} is the state file itself")
    with opening(source), contextlib.closing(open_readonly(source)) as db:
        _require_state(check_header(db, source), source)
        with opening(target):
            copy_file(db, target)
    return _described(target)


def restore(source: str | Path, target: str | Path) -> Copied:
    """Makes the state file ``target`` a copy of the backup ``source``. What was there is kept as ``<target>.replaced``.

    Raises UnusableFile where the backup isn't sound or is newer than this program, and where a control plane uses
    ``target``; ``target`` is then as it was.
    """
    source, target = Path(source), Path(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise UnusableFile(f"{source} is the state file itself")
    ready = target.with_name(target.name + ".restored")
    with opening(target), contextlib.ExitStack() as held:
        held.enter_context(lock_file(target, fcntl.LOCK_EX))
        with opening(source), contextlib.closing(open_readonly(source)) as db:
            _require_state(check_header(db, source), source)
            check_pages(db, source)
            (version,) = db.execute(schema.VERSION).fetchone()
            copy_file(db, ready, max(version, _version(target)) + LEAP)
        copied = _described(ready)
        _set_aside(target)
        ready.replace(target)
        sync_directory(target.parent)
    return copied


def _require_state(known: int, path: Path) -> None:
    if known == 0:
        raise UnusableFile(f"{path} holds no state")


def _described(path: Path) -> Copied:
    with opening(path), contextlib.closing(open_readonly(path)) as db:
        (version,) = db.execute(schema.VERSION).fetchone()
        (records,) = db.execute("SELECT count(*) FROM record").fetchone()
    return Copied(version, records, path.stat().st_size)


def _version(path: Path) -> int:
    """The store version of a file that is about to be replaced; 0 where it can't be read."""
    try:
        with opening(path), contextlib.closing(open_readonly(path)) as db:
            return int(db.execute(schema.VERSION).fetchone()[0])
    except UnusableFile:
        return 0


def _set_aside(target: Path) -> None:
    """Keeps ``target`` under another name too, and takes its write-ahead log out of the way of the new file.

    ``target`` itself stays until it is replaced: at no moment is there no state file, which a start would take for
    a first one.
    """
    kept = target.with_name(target.name + ".replaced")
    for suffix in ("", "-wal"):
        kept.with_name(kept.name + suffix).unlink(missing_ok=True)
    wal = target.with_name(target.name + "-wal")
    if target.exists():
        os.link(target, kept)
    if wal.exists():
        wal.replace(kept.with_name(kept.name + "-wal"))
    target.with_name(target.name + "-shm").unlink(missing_ok=True)
