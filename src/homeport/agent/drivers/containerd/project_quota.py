"""Project quotas of ext4 and XFS, which Python's standard library lacks: how much the files that carry one project's id
may take of the disk, wherever they are on it. All raise OSError.

The calls need Linux 5.14 (quotactl_fd) and CAP_SYS_ADMIN. ``folder`` is any folder on the file system that is meant.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

_SYS_QUOTACTL_FD = 443  # the same on every architecture
_PROJECTS = 2  # PRJQUOTA
_GET_QUOTA, _SET_QUOTA, _GET_STATE = 0x800007, 0x800008, 0x5805  # Q_GETQUOTA, Q_SETQUOTA, Q_XGETQSTAT
_ENFORCED = 0x20  # FS_QUOTA_PDQ_ENFD
_VALID_BLOCK_LIMITS = 1  # QIF_BLIMITS
_BLOCK = 1024  # bytes: the unit of limits
_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820  # FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
_INHERIT = 0x200  # FS_XFLAG_PROJINHERIT
_ATTRIBUTES = struct.Struct("=5I8x")  # flags, extent size, extents, project, extent size for copies on write


class _Quota(ctypes.Structure):
    _fields_ = (
        ("hard_blocks", ctypes.c_uint64),
        ("soft_blocks", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("hard_inodes", ctypes.c_uint64),
        ("soft_inodes", ctypes.c_uint64),
        ("inodes", ctypes.c_uint64),
        ("block_grace", ctypes.c_uint64),
        ("inode_grace", ctypes.c_uint64),
        ("valid", ctypes.c_uint32),
    )


def enforced(folder: Path) -> bool:
    """Whether the file system holds projects to their limits. It is mounted with ``prjquota`` then."""
    state = ctypes.create_string_buffer(256)  # a struct fs_quota_stat, with room to spare
    try:
        _call(folder, _GET_STATE, 0, state)
    except OSError as e:
        if e.errno in (errno.ENOSYS, errno.ENOTSUP, errno.EINVAL, errno.ESRCH, errno.ENODEV, errno.ENOTBLK):
            return False
        raise
    flags: int = struct.unpack_from("=H", state.raw, 2)[0]
    return bool(flags & _ENFORCED)


def limit(folder: Path, project: int, size: int) -> None:
    """Lets the project's files have ``size`` bytes in all; 0: no limit, and without files the project is forgotten."""
    quota = _Quota(hard_blocks=size // _BLOCK, soft_blocks=0, valid=_VALID_BLOCK_LIMITS)
    _call(folder, _SET_QUOTA, project, ctypes.byref(quota))


def usage(folder: Path, project: int) -> tuple[int, int]:
    """(bytes that the project's files take, bytes that they may take or 0 for no limit)."""
    quota = _Quota()
    try:
        _call(folder, _GET_QUOTA, project, ctypes.byref(quota))
    except FileNotFoundError:
        return 0, 0  # XFS knows no such project
    return quota.bytes, quota.hard_blocks * _BLOCK


def assign(folder: Path, project: int) -> None:
    """Makes the folder and all that will be made in it the project's."""
    with _opened(folder) as fd:
        raw = fcntl.ioctl(fd, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size))
        flags, extent, extents, _, copied = _ATTRIBUTES.unpack(raw)
        fcntl.ioctl(fd, _SET_ATTRIBUTES, _ATTRIBUTES.pack(flags | _INHERIT, extent, extents, project, copied))


def project_of(folder: Path) -> int:
    """The project that a folder belongs to, 0 for none."""
    with _opened(folder) as fd:
        project: int = _ATTRIBUTES.unpack(fcntl.ioctl(fd, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size)))[3]
    return project


def _call(folder: Path, command: int, project: int, address: object) -> None:
    with _opened(folder) as fd:
        number, whole = ctypes.c_long(_SYS_QUOTACTL_FD), ctypes.c_uint(command << 8 | _PROJECTS)
        if _libc.syscall(number, ctypes.c_uint(fd), whole, ctypes.c_uint(project), address) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield fd
    finally:
        os.close(fd)
