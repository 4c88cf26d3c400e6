"""What containers wrote: one plain file for stdout and one for stderr, appended to by the container's shim, so that
neither the agent's death nor containerd's loses a byte.

Files are bounded (``trimming``) by giving their old part back to the file system as a hole. Readers skip the hole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from homeport.agent.drivers.containerd.trimming import BOUND, trim
from homeport.agentapi import ContainerSpec

__all__ = ["BOUND", "STREAMS", "BadOption", "bound", "folder", "follow", "make", "paths", "read", "top", "trim"]

_CHUNK = 256 << 10
POLL_SECONDS = 0.1

Stream = Literal["stdout", "stderr"]
Name = TypeVar("Name")  # what a reader calls a file: its stream, or its container and stream
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)
STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")


class BadOption(ValueError):
    """An option of a log driver that means nothing."""


def top(state: Path) -> Path:
    """The folder with a folder for each task."""
    return state / "agent" / "logs"


def folder(state: Path, task_id: str, container: str) -> Path:
    """The folder of a container's output; ``container`` is its name in the task definition."""
    return top(state) / task_id / container


def paths(state: Path, task_id: str, container: str) -> dict[Stream, Path]:
    return {stream: folder(state, task_id, container) / stream for stream in STREAMS}


def bound(spec: ContainerSpec) -> int:
    """Bytes of each stream that the log driver keeps: json-file's ``max-size`` (as Docker reads it: k, m and g are
    powers of 1000) of each of ``max-file`` files; 0 where it says nothing. Pure. Raises BadOption."""
    if spec.log_driver != "json-file":
        return 0
    size, files = spec.log_options.get("max-size", "-1"), spec.log_options.get("max-file", "1")
    if not files.isdecimal() or int(files) < 1:
        raise BadOption(f"failed to initialize logging driver: max-file must be a positive number: '{files}'")
    if size == "-1":
        return 0
    parsed = _SIZE.fullmatch(size)
    bytes_ = int(float(parsed[1]) * 1000 ** " kmgtp".index(parsed[2].lower() or " ")) if parsed else 0
    if bytes_ <= 0:
        raise BadOption(f"failed to initialize logging driver: invalid size: '{size}'")
    return bytes_ * int(files)


def make(state: Path, task_id: str, container: str, bound: int = 0) -> dict[Stream, Path]:
    """Makes the files, readable by root only; what is in them already stays. ``bound``: bytes that each of them keeps,
    0 for ``trimming.KEEP``. Raises OSError."""
    found = paths(state, task_id, container)
    home = folder(state, task_id, container)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if bound:
        (home / BOUND).write_text(str(bound))
    for path in found.values():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600))
    return found


def read(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of what is in the file from ``offset`` on, holes left out. After a cut, the first line starts at
    its beginning. An offset beyond the end (the file was emptied) starts anew."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        size = os.fstat(fd).st_size
        position = offset if offset <= size else 0
        while position < size:
            start = _data(fd, position)
            if start is None:
                return
            data = os.pread(fd, min(_CHUNK, size - start), start)
            if not data:
                return
            if start > position:
                data, start = _from_next_line(data, start)
            position = start + len(data)
            yield start, data
    finally:
        os.close(fd)


def _data(fd: int, position: int) -> int | None:
    try:
        return os.lseek(fd, position, os.SEEK_DATA)
    except OSError as e:
        if e.errno == errno.ENXIO:
            return None  # nothing but hole up to the end
        raise


def _from_next_line(data: bytes, start: int) -> tuple[bytes, int]:
    # A hole ends at a block's edge, mostly inside a line.
    data, start = data.lstrip(b"\0"), start + len(data) - len(data.lstrip(b"\0"))
    newline = data.find(b"\n")
    return (data, start) if newline < 0 else (data[newline + 1 :], start + newline + 1)


def follow(files: Mapping[Name, Path], ended: Callable[[], bool]) -> Iterator[tuple[Name, bytes]]:
    """Everything in the files, then what is added, until ``ended`` says that no more will come. Blocks between
    chunks, for ``POLL_SECONDS`` at a time."""
    offsets: dict[Name, int] = dict.fromkeys(files, 0)
    while True:
        last = ended()
        quiet = True
        for stream, path in files.items():
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_size < offsets[stream]:
                    offsets[stream] = 0
            for start, data in read(path, offsets[stream]):
                offsets[stream] = start + len(data)
                quiet = False
                yield stream, data
        if last:
            return
        if quiet:
            time.sleep(POLL_SECONDS)
