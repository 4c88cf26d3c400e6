"""Reading files of an image: its snapshot is mounted for a moment, and paths are resolved inside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd import syscalls
from homeport.agent.drivers.containerd.client import CallError, Client
from homeport.agent.drivers.containerd.unpack import HELD, SNAPSHOTTER, prepare
from homeport.agent.drivers.containerd.users import Accounts

T = TypeVar("T")

_LOOK = "look-"
_MAX_FILE = 4 << 20  # bytes of a passwd or group file


async def accounts(client: Client, chain_id: str, run: Path) -> Accounts:
    """The account files of an image. ``run``: a short path for the mount. Raises CallError, OSError."""
    return await viewed(
        client, chain_id, run, lambda root: Accounts(_text(root, "/etc/passwd"), _text(root, "/etc/group"))
    )


async def viewed(client: Client, chain_id: str, run: Path, work: Callable[[int], T]) -> T:
    """Does ``work`` in a thread with a descriptor of the image's root folder, mounted read-only meanwhile. A caller
    that is cancelled waits for its end, so that nothing of it stays. Raises CallError, OSError."""
    looking = asyncio.create_task(_viewed(client, chain_id, run, work))
    try:
        return await asyncio.shield(looking)
    except asyncio.CancelledError:
        await asyncio.gather(looking, return_exceptions=True)
        raise


async def _viewed(client: Client, chain_id: str, run: Path, work: Callable[[int], T]) -> T:
    key = f"{_LOOK}{uuid.uuid4().hex}"
    mounts = await prepare(client, key, chain_id, labels=HELD, method=c.VIEW_SNAPSHOT)
    try:
        return await asyncio.to_thread(_with_root, mounts, run, work)
    finally:
        with contextlib.suppress(CallError):
            await client.call(c.REMOVE_SNAPSHOT, pb.SnapshotKey(snapshotter=SNAPSHOTTER, key=key))


def sweep(run: Path) -> None:
    """Removes mounts that a process which was killed meanwhile left in ``run``."""
    for folder in run.glob(f"{_LOOK}*"):
        with contextlib.suppress(OSError):  # it may not be mounted
            syscalls.unmount(str(folder / "m"))
        with contextlib.suppress(OSError):
            (folder / "m").rmdir()  # never what is mounted there
            folder.rmdir()


def _with_root(mounts: Sequence[pb.Mount], run: Path, work: Callable[[int], T]) -> T:
    run.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_LOOK, dir=run) as folder:
        target = os.path.join(folder, "m")
        os.mkdir(target)
        for mount in mounts:
            _mount(mount, target)
        try:
            root = os.open(target, os.O_PATH | os.O_DIRECTORY)
            try:
                return work(root)
            finally:
                os.close(root)
        finally:
            syscalls.unmount(target)


def _mount(mount: pb.Mount, target: str) -> None:
    """Read-only. The kernel takes a page of options, which the full paths of many layers would exceed: they are named
    by way of a descriptor of the folder that they share, so that 150 fit, more than image builders make."""
    options = [o for o in mount.options if o not in ("ro", "rw", "rbind", "bind")]
    lower = next((o.removeprefix("lowerdir=") for o in options if o.startswith("lowerdir=")), None)
    if lower is None:
        syscalls.bind_read_only(mount.source, target)
        return
    folders = lower.split(":")
    shared = os.path.commonpath(folders) if len(folders) > 1 else os.path.dirname(folders[0])
    descriptor = os.open(shared, os.O_PATH | os.O_DIRECTORY)
    try:
        short = ":".join(f"/proc/self/fd/{descriptor}{folder[len(shared) :]}" for folder in folders)
        syscalls.mount("overlay", target, "overlay", syscalls.MS_RDONLY, f"lowerdir={short}")
    finally:
        os.close(descriptor)


def _text(root: int, path: str) -> str:
    """A file of the image as text; "" if there is none that can be read."""
    try:
        with open(syscalls.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
            return file.read(_MAX_FILE).decode(errors="replace")
    except OSError:
        return ""
