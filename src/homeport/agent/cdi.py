"""GPUs of the machine, as their vendors' tools describe them by the Container Device Interface (CDI): files that say,
device by device, what a container has to be given to use it.

Pure but for reading the files. https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

FOLDERS = ("/etc/cdi", "/var/run/cdi")  # CDI's own; what the last says of a device counts
CLASS = "gpu"  # of devices, whoever makes them: ``nvidia.com/gpu``
VISIBLE = "NVIDIA_VISIBLE_DEVICES"  # what ECS tells a container of its GPUs
_UNIQUE = ("GPU-", "MIG-")  # how NVIDIA's names begin that no other GPU has; the same GPU may have a number too
_ALL = "all"

log = logging.getLogger("homeport.agent")


class NoDevice(ValueError):
    """A device that no file describes, or by what Homeport can't give to containers."""


class _Part(msgspec.Struct, frozen=True, rename="camel"):
    pass


class DeviceNode(_Part, frozen=True):
    """``host_path`` "" means ``path``. ``permissions``: letters of ``rwm``, "" for all. ``file_mode``, ``uid`` and
    ``gid`` None are those of the machine's device."""

    path: str
    host_path: str = ""
    permissions: str = ""
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class Mount(_Part, frozen=True):
    host_path: str
    container_path: str
    options: tuple[str, ...] = ()
    type: str = ""


class Hook(_Part, frozen=True):
    """``hook_name`` is OCI's, as ``createContainer``. ``timeout`` in seconds."""

    hook_name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


class Edits(_Part, frozen=True):
    """What a container is given. ``env``: ``NAME=value``."""

    env: tuple[str, ...] = ()
    device_nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    additional_gids: tuple[int, ...] = ()
    intel_rdt: Any = None
    net_devices: tuple[Any, ...] = ()

    def __add__(self, other: Edits) -> Edits:
        return Edits(
            env=self.env + other.env,
            device_nodes=self.device_nodes + other.device_nodes,
            mounts=self.mounts + other.mounts,
            hooks=self.hooks + other.hooks,
            additional_gids=self.additional_gids + other.additional_gids,
        )


NOTHING = Edits()


class Device(_Part, frozen=True):
    name: str
    container_edits: Edits = NOTHING


class Spec(_Part, frozen=True):
    """One file. ``container_edits``: what a container needs besides for any of its devices."""

    kind: str
    devices: tuple[Device, ...]
    container_edits: Edits = NOTHING


def read(folders: Iterable[str]) -> tuple[Spec, ...]:
    """What the files in the folders say. One that can't be read is told of and left out."""
    return tuple(spec for folder in folders for path in _files(Path(folder)) if (spec := _read(path)) is not None)


def gpus(specs: Iterable[Spec]) -> tuple[str, ...]:
    """The ids of the machine's GPUs, in order."""
    names = {device.name for spec in _of_gpus(specs) for device in spec.devices} - {_ALL}
    unique = {name for name in names if name.startswith(_UNIQUE)}
    return tuple(sorted(unique or names))


def edits(specs: Iterable[Spec], ids: Collection[str]) -> Edits:
    """What a container with these GPUs is given. Raises NoDevice."""
    if not ids:
        return NOTHING
    last = {device.name: (spec, device) for spec in _of_gpus(specs) for device in spec.devices}
    missing = sorted(set(ids) - last.keys())
    if missing:
        raise NoDevice(f"unresolvable CDI devices {', '.join(missing)}")
    found = [last[id] for id in ids]
    common = {id(spec): spec.container_edits for spec, _ in found}
    total = NOTHING
    for part in (*common.values(), *(device.container_edits for _, device in found)):
        if part.intel_rdt is not None or part.net_devices:
            raise NoDevice(f"the CDI devices {', '.join(ids)} need intelRdt or netDevices, which are not supported")
        total += part
    return total + Edits(env=(f"{VISIBLE}={','.join(ids)}",))


def _of_gpus(specs: Iterable[Spec]) -> Iterator[Spec]:
    return (spec for spec in specs if spec.kind.rpartition("/")[2] == CLASS)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in (".json", ".yaml", ".yml"))
    except OSError:  # most machines have none
        return []


def _read(path: Path) -> Spec | None:
    decode = msgspec.json.decode if path.suffix == ".json" else msgspec.yaml.decode
    try:
        return decode(path.read_bytes(), type=Spec)
    except (OSError, msgspec.DecodeError) as error:
        log.warning("a CDI file is left out", extra={"file": str(path), "error": str(error)})
        return None
