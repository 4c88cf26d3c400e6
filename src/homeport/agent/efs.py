"""What stands for an EFS file system on a node: a folder, or an export of an NFS server. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# What Amazon's EFS mount helper mounts with. ``hard``: a call waits for its server for as long as it takes.
# ``nosharecache``: tasks share no cache and no queue of calls, as they wouldn't on Fargate, where each has a kernel of
# its own; so the calls of one task can be given up without another's.
_OPTIONS = "vers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport,nosharecache"
_ID = re.compile(r"fs-[0-9a-f]{4,40}")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):(/[^,\s]*)")


class BadTarget(ValueError):
    """A configured target that is none; ``str`` says why."""


@dataclass(frozen=True)
class Folder:
    """A folder of the node, absolute."""

    path: str


@dataclass(frozen=True)
class Export:
    """A folder that an NFS server exports. ``host``: a name or an address (IPv6 without brackets)."""

    host: str
    path: str = "/"

    def __str__(self) -> str:
        return source(self.host, self.path)


Target = Folder | Export


def is_file_system(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def target(text: str) -> Target:
    """``/FOLDER`` or ``SERVER:/EXPORT``. Raises BadTarget."""
    if text.startswith("/"):
        return Folder(text)
    found = _SERVER.fullmatch(text)
    if not found:
        raise BadTarget(f"'{text}' is neither a folder like /srv/files nor an export like nas.example:/files")
    return Export(found[1].strip("[]"), found[2])


def configured(texts: Iterable[str]) -> dict[str, str]:
    """``FILE_SYSTEM_ID=TARGET`` of command lines by file system. Raises BadTarget."""
    found = {}
    for text in texts:
        id, _, where = text.partition("=")
        if not is_file_system(id):
            raise BadTarget(f"'{text}' doesn't begin with a file system's id like fs-0123abcd=")
        target(where)
        found[id] = where
    return found


def targets(given: Mapping[str, str]) -> dict[str, Target]:
    """What ``configured`` returned, understood. Raises BadTarget."""
    return {id: target(text) for id, text in given.items()}


def dns_name(id: str, region: str) -> str:
    """The name by which a VPC finds the file system's mount target."""
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{id}.efs.{region}.{suffix}"


def source(address: str, path: str) -> str:
    """What mount(2) calls the export."""
    return f"{f'[{address}]' if ':' in address else address}:{path}"


def options(address: str) -> str:
    """mount(2)'s options of an NFS server's ``address``, which the kernel doesn't look up itself."""
    return f"{_OPTIONS},addr={address}"


def stays_here(address: str) -> bool:
    """Whether what is sent to the address leaves the machine in no case."""
    return address == "::1" or address.startswith("127.")
