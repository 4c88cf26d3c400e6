"""Bounds the files of containers' output: their old part goes back to the file system as a hole. Offsets stay valid,
and the shim, which appends, notices nothing.

It is a program too: ``trimming.py LOGS TASKS LOCK OWN [GROUP…]`` trims for as long as the file LOCK is there. Like the
shims that write the output, it outlives the agent, so that no container fills a disk while there is none. It imports
nothing of ours: ``python -I -S`` starts it in some 20 ms, and it holds 11 MiB.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

KEEP = 64 << 20  # bytes kept of each file, unless it has a bound of its own
BOUND = "bound"  # the file, beside those of a container's output, that says how many bytes each of them keeps
_KEEP_OWN = 4 << 20  # bytes of containerd's and its shims' own log
_SLACK = 1 << 20  # bytes above that before anything is cut, at the most
_LEAST_SLACK = 64 << 10
_BLOCK = 4096
_SECONDS, _BUSY_SECONDS = 1.0, 0.05  # between looks: where nothing was to be cut, where something was
_FASTEST = 1 << 30  # bytes that containers may print in a second
_SCARCE = 1 << 30  # free bytes of the disk, or an eighth of a smaller one, below which files keep less
_KEEP_SCARCE = 1 << 20
_MOST = 1 << 63

_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_libc = ctypes.CDLL(None, use_errno=True)


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Gives a range of a file back to the file system; it reads as zeros, the file's size stays. Raises OSError."""
    mode = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
    if _libc.fallocate64(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def trim(path: Path, keep: int = KEEP, slack: int | None = None) -> int:
    """Cuts the file's old part where it holds over ``keep`` + ``slack`` bytes (unless given: an eighth, from 64 KiB to
    1 MiB); returns the offset from which it is readable. Where the file system has no holes, the file is emptied.
    Raises OSError."""
    if slack is None:
        slack = min(max(keep // 8, _LEAST_SLACK), _SLACK)
    if _held(path) <= keep + slack:
        return 0
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        end = (os.fstat(fd).st_size - keep) // _BLOCK * _BLOCK
        if end <= 0:
            return 0
        try:
            punch_hole(fd, 0, end)
        except OSError as e:
            if e.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            os.ftruncate(fd, 0)
            return 0
        return end
    finally:
        os.close(fd)


def _held(path: Path) -> int:
    """Bytes that the file takes on the disk."""
    try:
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


def trim_task(folder: Path, most: int = _MOST) -> int:
    """Trims the output of a task's containers, to their bounds or ``most`` bytes if that is less; how many files were
    cut. ``folder``: of all that they wrote."""
    cut = 0
    for container in _entries(folder):
        for stream in ("stdout", "stderr"):
            with contextlib.suppress(OSError):
                if _held(container / stream) > _LEAST_SLACK:  # most files are small: don't ask for their bound
                    cut += trim(container / stream, min(_bound(container), most)) > 0
    return cut


def _bound(container: Path) -> int:
    try:
        return int((container / BOUND).read_text())
    except (OSError, ValueError):
        return KEEP


def _entries(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            yield folder / entry.name


def _space(folder: Path) -> tuple[int, bool]:
    """(free bytes of the disk, whether that is little)."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return _SCARCE, False
    free = disk.f_bavail * disk.f_frsize
    return free, free < min(_SCARCE, disk.f_blocks * disk.f_frsize // 8)


def _run(logs: Path, tasks: Path, lock: Path, own: Path, groups: Sequence[Path]) -> None:
    for file in (lock, *groups):  # a service manager that stops the agent must not find this process in its unit
        with contextlib.suppress(OSError):
            file.write_text(str(os.getpid()))
    while lock.exists():
        free, scarce = _space(logs)
        most = _KEEP_SCARCE if scarce else _MOST
        cut = sum(trim_task(logs / task.name, most) for task in _entries(tasks))
        with contextlib.suppress(OSError):
            cut += trim(own, _KEEP_OWN) > 0
        time.sleep(_BUSY_SECONDS if cut else min(max(free / _FASTEST, _BUSY_SECONDS), _SECONDS))


if __name__ == "__main__":
    _logs, _tasks, _lock, _own, *_groups = sys.argv[1:]
    _run(Path(_logs), Path(_tasks), Path(_lock), Path(_own), [Path(group) for group in _groups])
