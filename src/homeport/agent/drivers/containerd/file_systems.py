"""EFS file systems as folders of this machine: what is configured for one, else the NFS server that EFS's DNS name
leads to, else a folder that is called like it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from homeport.agent import efs
from homeport.agent.drivers import DriverError
from homeport.agent.drivers.containerd import syscalls
from homeport.agent.drivers.containerd.nfs import Mounts, NotDone, run_apart
from homeport.agentapi import Volume

_RESOLVE_SECONDS = 5.0
_UNKNOWN_SECONDS = 60.0  # a name that led nowhere isn't asked for again so long
_FAILED = "failed to invoke EFS utils commands to set up EFS volumes"


@dataclass(frozen=True)
class Efs:
    """``targets``: what is configured, by file system. ``region``: the one of other file systems."""

    targets: Mapping[str, efs.Target] = field(default_factory=dict)
    region: str = "us-east-1"


class FileSystems:
    """``folders``: where a folder ``<fileSystemId>`` stands for a file system that is nowhere else."""

    def __init__(self, known: Efs, folders: Path, mounts: Mounts) -> None:
        self._known, self._folders, self._mounts = known, folders, mounts
        self._unknown: dict[str, float] = {}  # by DNS name: when it led nowhere, on the monotonic clock

    async def folder(self, task_id: str, volume: Volume) -> Path:
        """The folder that is the volume's root directory, mounted for the task if it is another machine's. May be
        repeated. A link that a task left in the file system leads nowhere else. Raises DriverError, OSError."""
        id, directory = volume.file_system_id, volume.path or "/"
        if not efs.is_file_system(id):
            raise _failed(f"'{id}' is not a file system's id")
        target = self._known.targets.get(id)
        try:
            if isinstance(target, efs.Folder):
                return _in_folder(Path(target.path), directory)
            if target is not None:
                export, address = target, await self._address(target.host)
            else:
                export = efs.Export(efs.dns_name(id, self._known.region))
                address = await self._address(export.host)
                if address is None and (self._folders / id).is_dir():
                    return _in_folder(self._folders / id, directory)
            if address is None:
                raise NotDone(
                    f"no address of {export.host}" + ("" if target else f", and no folder {self._folders / id}")
                )
            if volume.encrypted and not efs.stays_here(address):
                raise NotDone("this node can't encrypt what it sends to it (transitEncryption)")
            return await self._in_export(task_id, volume.name, export.path, address, directory)
        except NotDone as error:
            raise _failed(f"{id}: {error}") from None

    async def release(self, task_id: str) -> None:
        """Unmounts what was mounted for a task, which has no process any more. Raises OSError."""
        await self._mounts.unmount(task_id)

    async def _in_export(self, task_id: str, volume: str, path: str, address: str, directory: str) -> Path:
        source = efs.source(address, path)
        try:
            top = await self._mounts.mount(task_id, volume, source, efs.options(address))
        except NotDone as error:
            raise NotDone(f"can't mount {source}: {error}") from None
        try:
            return await self._mounts.where(top, directory)
        except NotDone as error:
            raise NotDone(f"{source} has no root directory {directory}: {error}") from None

    async def _address(self, host: str) -> str | None:
        """The first address of a name or address; None where it has none."""
        asked = self._unknown.get(host)
        if asked is not None and time.monotonic() - asked < _UNKNOWN_SECONDS:
            return None
        self._unknown.pop(host, None)
        try:
            return (await run_apart("getent", "ahosts", host, seconds=_RESOLVE_SECONDS)).split()[0]
        except (NotDone, IndexError):
            self._unknown[host] = time.monotonic()
            return None


def _in_folder(top: Path, directory: str) -> Path:
    try:
        return Path(syscalls.folder_in_root(str(top), directory))
    except OSError as error:
        raise NotDone(f"{top} has no root directory {directory}: {error.strerror}") from None


def _failed(reason: str) -> DriverError:
    return DriverError("ResourceInitializationError", f"{_FAILED}: {reason}")
