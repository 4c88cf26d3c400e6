"""Linux calls that Python's standard library lacks, through the C library. All raise OSError.

It is a program too, for calls that may wait for a file server for ever: a process that waits can be left to itself. It
imports nothing of ours, so that ``python -I -S`` starts it in some 20 ms:

``where ROOT PATH`` prints what ``folder_in_root`` returns, ``abort MOUNT`` does what ``abort_calls`` does.
"""

from __future__ import annotations

import ctypes
import os
import sys

_libc = ctypes.CDLL(None, use_errno=True)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MNT_DETACH = 2
_MNT_FORCE = 1
_MS_REMOUNT, _MS_BIND, _MS_REC = 0x20, 0x1000, 0x4000
_SYS_OPENAT2 = 437  # the same on every architecture
_RESOLVE_IN_ROOT = 0x10
_RESOLVE_NO_MAGICLINKS = 0x02
_PAGE = 4096


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _check(result: int, name: str = "") -> int:
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), name)
    return result


def mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    """mount(2). ``data`` may not exceed a page."""
    raw = data.encode()
    if len(raw) >= _PAGE:
        raise OSError(7, f"mount options of {len(raw)} bytes exceed a page", target)
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), raw), target)


def bind_read_only(source: str, target: str) -> None:
    """A bind mount; the kernel makes it read-only in a second step."""
    mount(source, target, "none", _MS_BIND | _MS_REC, "")
    mount("none", target, "none", _MS_BIND | _MS_REMOUNT | MS_RDONLY, "")


def unmount(target: str) -> None:
    """Detaches a mount."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), target)


def open_in_root(root: int, path: str, flags: int = os.O_RDONLY) -> int:
    """Opens ``path`` below the directory ``root`` (a descriptor) as a process chrooted there would: absolute links and
    ``..`` stay inside. Returns a descriptor."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    number, size = ctypes.c_long(_SYS_OPENAT2), ctypes.c_size_t(ctypes.sizeof(how))
    return _check(_libc.syscall(number, ctypes.c_int(root), path.encode(), ctypes.byref(how), size), path)


def folder_in_root(root: str, path: str) -> str:
    """The folder that ``path`` is to a process chrooted to ``root``, as a path of this machine."""
    top = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        found = open_in_root(top, path, os.O_PATH | os.O_DIRECTORY)
    finally:
        os.close(top)
    try:
        return os.readlink(f"/proc/self/fd/{found}")
    finally:
        os.close(found)


def abort_calls(mount: str) -> None:
    """Makes what waits for the server of the file system mounted at ``mount`` fail. The mount stays."""
    held = os.open(mount, os.O_PATH | os.O_DIRECTORY)  # asks no server; what is held is in use, so it isn't unmounted
    try:
        _libc.umount2(mount.encode(), _MNT_FORCE)  # EBUSY, after the calls were ended
    finally:
        os.close(held)


def _main(command: str, *words: str) -> None:
    try:
        if command == "abort":
            abort_calls(*words)
        else:
            print(folder_in_root(*words))
    except OSError as error:
        sys.exit(error.strerror)


if __name__ == "__main__":
    _main(*sys.argv[1:])
