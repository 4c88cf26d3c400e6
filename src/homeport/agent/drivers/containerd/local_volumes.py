"""What the options of Docker's volume driver ``local`` mean: ``type``, ``device`` and ``o``. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from homeport.agent.drivers import DriverError
from homeport.agentapi import Volume

# Mount options that are flags to the kernel, as linux/mount.h has them; others are the file system's.
_FLAGS = {
    "ro": 0x1,
    "nosuid": 0x2,
    "nodev": 0x4,
    "noexec": 0x8,
    "sync": 0x10,
    "noatime": 0x400,
    "nodiratime": 0x800,
    "relatime": 0x200000,
    "strictatime": 0x1000000,
}
_NO_FLAGS = ("", "rw", "suid", "dev", "exec", "async", "atime", "diratime", "defaults")
_BIND = ("bind", "rbind")


@dataclass(frozen=True)
class Local:
    """``device``: a folder of this machine that is the volume; None: a tmpfs with these ``flags`` and ``data``."""

    device: Path | None
    read_only: bool = False
    flags: int = 0
    data: str = ""


def read(volume: Volume) -> Local | None:
    """None: a plain folder, or not this driver's. Raises DriverError for what this node doesn't mount."""
    if volume.kind not in ("task", "shared") or volume.driver not in ("", "local"):
        return None
    options = {name: text for name, text in volume.driver_opts.items() if text}
    unknown = sorted(options.keys() - {"type", "device", "o"})
    if unknown:
        raise refused(volume, f"invalid option: {unknown[0]!r}")
    if not options:
        return None
    kind, device, given = options.get("type", "none"), options.get("device", ""), options.get("o", "").split(",")
    if not device:
        raise refused(volume, "missing device in volume options")
    if kind == "tmpfs":
        flags = sum(_FLAGS[o] for o in dict.fromkeys(given) if o in _FLAGS)
        return Local(None, flags=flags, data=",".join(o for o in given if o not in _FLAGS and o not in _NO_FLAGS))
    if kind == "none" and any(o in _BIND for o in given):
        if not os.path.isabs(device):
            raise refused(volume, f"the device {device!r} is no absolute path")
        return Local(Path(device), read_only="ro" in given)
    raise refused(volume, f"this node mounts the types 'tmpfs' and 'none' with the option 'bind' only, not {kind!r}")


def refused(volume: Volume, text: str) -> DriverError:
    """What a task is told that can't have the volume."""
    return DriverError("CannotCreateVolumeError", f"volume '{volume.name}': {text}")
