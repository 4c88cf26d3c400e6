"""``environmentFiles``: S3 objects as a container's variables. They come from a *source*: a folder of this machine that
stands for the buckets, or an S3-compatible service (``agent.s3``)."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from homeport.core import arn

Source = Callable[[str, str], bytes]  # (bucket, key) → the object, up to a byte more than MAX_FILE; may block

MAX_LINE = 64 * 1024  # bytes; Amazon's agent reads by Go's bufio.Scanner, which takes no longer ones
MAX_FILE = 1024 * 1024  # bytes; a bound of ours: all of a process's environment may hardly be larger


class ResourceFailed(Exception):
    """Something that the task needs can't be had; the text is the task's ``stoppedReason``."""


def failed(cause: str) -> ResourceFailed:
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


def located(text: str) -> tuple[str, str]:
    """Bucket and key of an S3 object's ARN. Raises ResourceFailed."""
    parsed = arn.parse(text)
    if parsed is None or parsed.service != "s3":
        raise failed(f"InvalidARN: {text} is not the ARN of an S3 object")
    bucket, _, key = parsed.resource.partition("/")
    if any(part in ("", ".", "..") or "\0" in part for part in (bucket, *key.split("/"))):
        raise failed(f"NoSuchKey: The specified key does not exist. {text} can't be the path of a file")
    return bucket, key


async def read(source: Source, arns: Iterable[str]) -> dict[str, str]:
    """The variables in the S3 objects of these ARNs, as they are now. Raises ResourceFailed."""
    wanted = [located(text) for text in arns]
    if not wanted:
        return {}
    return merged(await asyncio.to_thread(lambda: [parse(_text(source, *where)) for where in wanted]))


def _text(source: Source, bucket: str, key: str) -> str:
    data, name = source(bucket, key), f"s3://{bucket}/{key}"
    if len(data) > MAX_FILE or any(len(line) > MAX_LINE for line in data.split(b"\n")):
        raise failed(f"{name} is too large: it may have {MAX_FILE} bytes, and {MAX_LINE} in a line")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise failed(f"{name} is not UTF-8 text") from None
    if "\0" in text:
        raise failed(f"{name} has a zero byte, which no variable can have")
    return text


def nowhere(bucket: str, key: str) -> bytes:
    """The source of a node that has none."""
    raise failed(f"NoSuchBucket: The specified bucket does not exist. This node has no objects of {bucket}, nor {key}")


def folder(root: Path) -> Source:
    """Objects as files ``<root>/<bucket>/<key>``."""

    def get(bucket: str, key: str) -> bytes:
        file = root / bucket / key
        try:
            return _bytes(file)
        except (FileNotFoundError, NotADirectoryError):
            missing, code = ("key", "NoSuchKey") if (root / bucket).is_dir() else ("bucket", "NoSuchBucket")
            raise failed(
                f"{code}: The specified {missing} does not exist. It is to be in {file} on this node"
            ) from None
        except OSError as error:
            raise failed(f"AccessDenied: {file} can't be read: {error.strerror}") from None

    return get


def _bytes(file: Path) -> bytes:
    """Its first ``MAX_FILE`` bytes and one more. Never waits, as opening a pipe would. Raises OSError."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is no regular file")
        return opened.read(MAX_FILE + 1)
