"""Devices of the machine that a container may use."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, replace
from typing import Any

from homeport.agent import cdi
from homeport.agentapi import Device

_LETTERS = {"read": "r", "write": "w", "mknod": "m"}
_OTHERS = ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/console", "/dev/ptmx")  # noqa: S108 each has its own


@dataclass(frozen=True)
class HostDevice:
    """A device and where the container sees it. ``kind`` c or b; ``access`` as cgroups write it, ``rwm``."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    access: str

    @property
    def node(self) -> dict[str, Any]:
        """As OCI's ``linux.devices`` has it."""
        return {
            "path": self.path,
            "type": self.kind,
            "major": self.major,
            "minor": self.minor,
            "fileMode": self.mode,
            "uid": self.uid,
            "gid": self.gid,
        }

    @property
    def rule(self) -> dict[str, Any]:
        """As OCI's ``linux.resources.devices`` has it."""
        return {"allow": True, "type": self.kind, "major": self.major, "minor": self.minor, "access": self.access}


def every() -> tuple[HostDevice, ...]:
    """All devices of the machine but terminals, for a privileged container."""
    found = []
    for folder, folders, files in os.walk("/dev"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in _OTHERS]
        for name in files:
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):  # one that has gone, or no device
                if path not in _OTHERS and not os.path.islink(path):
                    found.append(find(Device(path)))
    return tuple(found)


def described(node: cdi.DeviceNode) -> HostDevice:
    """The machine's device that a CDI file names. Raises OSError where there is none."""
    found = find(Device(node.host_path or node.path, node.path))
    return replace(
        found,
        mode=found.mode if node.file_mode is None else node.file_mode,
        uid=found.uid if node.uid is None else node.uid,
        gid=found.gid if node.gid is None else node.gid,
        access=node.permissions or found.access,
    )


def find(device: Device) -> HostDevice:
    """The machine's device, links followed. Raises OSError in Docker's words where there is none."""
    about = f"error gathering device information while adding custom device {device.host_path!r}"
    try:
        found = os.stat(device.host_path)
    except OSError as e:
        raise OSError(f"{about}: {e.strerror}") from None
    if not stat.S_ISCHR(found.st_mode) and not stat.S_ISBLK(found.st_mode):
        raise OSError(f"{about}: not a device node")
    return HostDevice(
        path=device.container_path or device.host_path,
        kind="c" if stat.S_ISCHR(found.st_mode) else "b",
        major=os.major(found.st_rdev),
        minor=os.minor(found.st_rdev),
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        access="".join(_LETTERS[p] for p in device.permissions) or "rwm",
    )
