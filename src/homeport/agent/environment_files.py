"""``environmentFiles``: S3 objects, found in a folder of this machine that stands for the buckets."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from homeport.core import arn

MAX_LINE = 64 * 1024  # bytes; Amazon's agent reads by Go's bufio.Scanner, which takes no longer ones
MAX_FILE = 1024 * 1024  # bytes; a bound of ours: all of a process's environment may hardly be larger


class ResourceFailed(Exception):
    """Something that the task needs can't be had; the text is the task's ``stoppedReason``."""


def _failed(cause: str) -> ResourceFailed:
    return ResourceFailed(
        f"ResourceInitializationError: failed to download env files: file download command: non empty error stream: "
        f"{cause}"[:1024]
    )


def parse(text: str) -> dict[str, str]:
    """``NAME=VALUE`` lines. As Amazon's agent reads them: a line that starts with ``#``, one without ``=`` and one
    with an empty name or value say nothing; quotes and blanks are part of the value; the last line of a name counts.
    """
    found: dict[str, str] = {}
    for line in text.split("\n"):
        name, _, value = line.removesuffix("\r").partition("=")
        if name and value and not line.startswith("#"):
            found[name] = value
    return found


def merged(files: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """What several files say together: the first one that has a name gives its value."""
    found: dict[str, str] = {}
    for file in files:
        found = {**file, **found}
    return found


def path(folder: Path, text: str) -> Path:
    """Where the S3 object of an ARN is: ``<folder>/<bucket>/<key>``. Raises ResourceFailed."""
    parsed = arn.parse(text)
    if parsed is None or parsed.service != "s3":
        raise _failed(f"InvalidARN: {text} is not the ARN of an S3 object")
    bucket, _, key = parsed.resource.partition("/")
    parts = [bucket, *key.split("/")]
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise _failed(f"NoSuchKey: The specified key does not exist. {text} can't be the path of a file")
    return folder.joinpath(*parts)


async def read(folder: Path, arns: Iterable[str]) -> dict[str, str]:
    """The variables in the S3 objects of these ARNs, as they are now. Raises ResourceFailed."""
    wanted = tuple(arns)
    if not wanted:
        return {}
    return merged(await asyncio.to_thread(lambda: [parse(_text(folder, arn)) for arn in wanted]))


def _text(folder: Path, text: str) -> str:
    file = path(folder, text)
    try:
        data = _bytes(file)
    except (FileNotFoundError, NotADirectoryError):
        missing = "key" if file.parents[len(file.relative_to(folder).parts) - 2].is_dir() else "bucket"
        code = {"key": "NoSuchKey", "bucket": "NoSuchBucket"}[missing]
        raise _failed(
            f"{code}: The specified {missing} does not exist. {text} is to be in {file} on this node"
        ) from None
    except OSError as error:
        raise _failed(f"AccessDenied: {file} can't be read: {error.strerror}") from None
    if len(data) > MAX_FILE or any(len(line) > MAX_LINE for line in data.split(b"\n")):
        raise _failed(f"{file} is too large: it may have {MAX_FILE} bytes, and {MAX_LINE} in a line")
    try:
        decoded = data.decode()
    except UnicodeDecodeError:
        raise _failed(f"{file} is not UTF-8 text") from None
    if "\0" in decoded:
        raise _failed(f"{file} has a zero byte, which no variable can have")
    return decoded


def _bytes(file: Path) -> bytes:
    """Its first ``MAX_FILE`` bytes and one more. Never waits, as opening a pipe would. Raises OSError."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is no regular file")
        return opened.read(MAX_FILE + 1)
