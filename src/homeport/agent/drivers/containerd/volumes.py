"""Volumes: folders of this machine that containers see at paths of their own.

A task's volumes are in ``STATE/agent/volumes/<task>``, one folder each, and go with the task. Shared ones are in
``STATE/agent/shared`` and stay. Those of EFS are ``file_systems``'.

Containers write into volumes while others are being made, so nothing here follows a link that is inside of one.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path

from homeport.agent.drivers import DriverError, Mount
from homeport.agent.drivers.containerd import syscalls
from homeport.agent.drivers.containerd.file_systems import FileSystems
from homeport.agent.drivers.containerd.mounts import Bind
from homeport.agentapi import Volume

_NAME = re.compile(r"(image\.)?[A-Za-z0-9_-]{1,255}")  # with a dot: of a volume that an image asks for
_COPY_SECONDS = 600.0  # gigabytes of an image's data on a slow disk
_REMOVE_SECONDS = 600.0


class Volumes:
    """The volumes of one agent. ``folder``: the agent's own, absolute."""

    def __init__(self, folder: Path, file_systems: FileSystems) -> None:
        self._tasks, self._shared, self._file_systems = folder / "volumes", folder / "shared", file_systems
        self._filling: dict[str, asyncio.Lock] = {}

    async def bind(self, task_id: str, mount: Mount) -> Bind:
        """Makes the volume where that is to be done, and says where it is. Raises DriverError, OSError."""
        if mount.volume.kind == "efs":
            source = await self._file_systems.folder(task_id, mount.volume)
        else:
            source = self._source(task_id, mount.volume)
        return Bind(str(source), mount.container_path, mount.read_only)

    def _source(self, task_id: str, volume: Volume) -> Path:
        if volume.kind == "host":
            path = Path(volume.path)
            if not path.is_absolute():
                raise DriverError("CannotCreateContainerError", f"invalid volume path '{path}': it must be absolute")
            if not path.exists():  # it may be a file
                path.mkdir(parents=True)  # as Docker
            return path
        if not _NAME.fullmatch(volume.name):
            raise DriverError("CannotCreateVolumeError", f"'{volume.name}' is not a volume's name")
        if volume.driver not in ("", "local"):
            raise DriverError("CannotCreateVolumeError", f"the volume driver '{volume.driver}' is not on this node")
        if volume.kind == "task":
            path = self._tasks / task_id / volume.name
        else:
            path = self._shared / volume.name
            if not path.is_dir() and not volume.autoprovision:
                raise DriverError(
                    "CannotCreateVolumeError", f"the shared volume '{volume.name}' doesn't exist ({path})"
                )
        path.mkdir(parents=True, exist_ok=True)
        return path

    def filling(self, task_id: str) -> asyncio.Lock:
        """Held while the task's volumes are filled: its containers, made side by side, may share one."""
        return self._filling.setdefault(task_id, asyncio.Lock())

    def wants_filling(self, task_id: str, mount: Mount) -> bool:
        """Whether the image is to give the volume its content: it is empty, or a crash interrupted that."""
        if not mount.fill or mount.volume.kind not in ("task", "shared"):
            return False
        volume = self._source(task_id, mount.volume)
        return any(path.exists() for path in _staging(volume)) or not any(volume.iterdir())

    def fill(self, task_id: str, mount: Mount, root: int) -> None:
        """Copies what the image (``root``: a descriptor of its root folder) has at the mount's path, with owners and
        modes. May be repeated after a crash at any point: the copy is complete before the volume shows any of it, and
        its entries then come by renames, which never write through a link. Raises OSError."""
        volume = self._source(task_id, mount.volume)
        copy, ready = _staging(volume)
        if not ready.exists():
            shutil.rmtree(copy, ignore_errors=True)
            try:
                source = syscalls.open_in_root(root, mount.container_path, os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                return  # the image has no such folder
            try:
                copy.mkdir()
                _copy(source, copy)
            finally:
                os.close(source)
            copy.rename(ready)
        about = ready.stat()
        os.chown(volume, about.st_uid, about.st_gid)
        volume.chmod(about.st_mode & 0o7777)
        for entry in list(ready.iterdir()):
            if not os.path.lexists(volume / entry.name):
                entry.rename(volume / entry.name)
        shutil.rmtree(ready)

    async def remove_task(self, task_id: str) -> None:
        """Removes the task's volumes. Raises OSError."""
        self._filling.pop(task_id, None)
        await self._file_systems.release(task_id)
        await remove(self._tasks / task_id)


def _staging(volume: Path) -> tuple[Path, Path]:
    """Where an image's content is copied to, and what that is called once it is complete. No volume has such a name."""
    return volume.with_name(f".{volume.name}.copy"), volume.with_name(f".{volume.name}.ready")


def _copy(source: int, target: Path) -> None:
    command = ["cp", "-a", "--", f"/proc/self/fd/{source}/.", str(target)]
    try:
        done = subprocess.run(
            command, pass_fds=(source,), capture_output=True, text=True, timeout=_COPY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"copying the image's files into the volume took longer than {_COPY_SECONDS:.0f} s") from None
    if done.returncode:
        raise OSError(f"can't copy the image's files into the volume: {done.stderr.strip()[:300]}")


async def remove(path: Path) -> None:
    """Removes a folder of any depth, and nothing that is mounted below it. Raises OSError."""
    if not _exists(path):
        return
    # No thread of ours waits for what may be millions of files.
    process = await asyncio.create_subprocess_exec(
        "rm", "-rf", "--one-file-system", "--", str(path), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(_REMOVE_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    if _exists(path):
        raise OSError(f"can't remove {path}")


def _exists(path: Path) -> bool:
    return os.path.lexists(path)
