"""What is mounted on this machine for tasks: volumes in memory, and the shared memory of tasks that share it.

It is in ``RUN/mounts/<task>``, and goes with the task; volumes that stay are in ``RUN/mounts/shared``, and go when the
machine is switched off or Homeport is taken down.
"""

from __future__ import annotations

import os
from pathlib import Path

from homeport.agent.drivers import Mount
from homeport.agent.drivers.containerd import local_volumes, syscalls
from homeport.agent.drivers.containerd.instance import Instance
from homeport.agent.drivers.containerd.mounts import SHARED_MEMORY, Bind
from homeport.agentapi import Volume

SHARED_MEMORY_PATH = "/dev/shm"  # noqa: S108 in containers
_SHARED_MEMORY = ".shm"  # no volume has such a name
_QUIET = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC


def volume(of: Instance, task_id: str, mount: Mount) -> Bind | None:
    """The volume of a ``local`` driver that was given options; None: the volume isn't one. May be repeated. Raises
    DriverError, OSError."""
    local = local_volumes.read(mount.volume)
    if local is None:
        return None
    source = local.device if local.device is not None else _in_memory(of, task_id, mount.volume, local)
    if not source.is_dir():
        raise local_volumes.refused(mount.volume, f"error while mounting volume: there is no folder {source}")
    return Bind(str(source), mount.container_path, mount.read_only or local.read_only)


def _in_memory(of: Instance, task_id: str, volume: Volume, local: local_volumes.Local) -> Path:
    path = _folder(of, "shared" if volume.kind == "shared" else task_id) / volume.name
    if volume.kind == "shared" and not volume.autoprovision and not path.is_dir():
        raise local_volumes.refused(volume, "a shared volume of this name doesn't exist")
    try:
        _mount(path, local.flags, local.data)
    except OSError as e:
        text = f"error while mounting volume, data: {local.data!r}: {e.strerror}"
        raise local_volumes.refused(volume, text) from None
    return path


def shared_memory(of: Instance, task_id: str) -> Bind:
    """The /dev/shm that all of a task's containers share. May be repeated. Raises OSError."""
    path = _folder(of, task_id) / _SHARED_MEMORY
    _mount(path, _QUIET, f"mode=1777,size={SHARED_MEMORY}m")
    return Bind(str(path), SHARED_MEMORY_PATH)


def release(of: Instance, task_id: str) -> None:
    """Ends what is mounted for the task. May be repeated. Raises OSError."""
    top = _folder(of, task_id)
    for path in top.iterdir() if top.is_dir() else ():
        while os.path.ismount(path):
            syscalls.unmount(str(path))
        path.rmdir()
    if top.is_dir():
        top.rmdir()


def _folder(of: Instance, owner: str) -> Path:
    return of.run / "mounts" / owner


def _mount(path: Path, flags: int, data: str) -> None:
    path.mkdir(mode=0o711, parents=True, exist_ok=True)
    if not os.path.ismount(path):
        syscalls.mount("tmpfs", str(path), "tmpfs", flags, data)
