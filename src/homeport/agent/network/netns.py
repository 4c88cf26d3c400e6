"""Network namespaces by name, as iproute2 keeps them, without a process of its own for each.

A namespace belongs to a thread: only a thread that does nothing else may call ``enter`` or ``create``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from homeport.agent.network.layout import NAMESPACES, path

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED, _MNT_DETACH = 0x1000, 0x4000, 0x100000, 2
_OWN = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)


def own() -> int:
    """A descriptor of the calling thread's namespace; the caller closes it."""
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


def handle(name: str) -> int:
    """A descriptor of a named namespace; the caller closes it. Raises OSError where there is none."""
    return os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)


def enter(descriptor: int) -> None:
    """Moves the calling thread into a namespace."""
    _check(_libc.setns(descriptor, _CLONE_NEWNET))


@contextmanager
def inside(descriptor: int) -> Iterator[None]:
    """The calling thread is in that namespace meanwhile."""
    home = own()
    try:
        enter(descriptor)
        try:
            yield
        finally:
            enter(home)
    finally:
        os.close(home)


def create(name: str) -> int:
    """Makes a named namespace and returns its descriptor. Raises FileExistsError where the name is taken."""
    _share()
    os.close(os.open(path(name), os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    home = own()
    try:
        _check(_libc.unshare(_CLONE_NEWNET))
        try:
            _mount(_OWN, path(name), _MS_BIND)
            return own()
        finally:
            enter(home)
    except OSError:
        remove(name)
        raise
    finally:
        os.close(home)


def adopt(name: str) -> int:
    """Descriptor of the named namespace, made where it isn't there (or only its empty file, as after a reboot)."""
    try:
        if is_namespace(name):
            return handle(name)
        remove(name)
    except FileNotFoundError:
        pass
    return create(name)


def keep(name: str) -> str:
    """Gives the calling thread's namespace a name, so that it has one path for as long; returns that. May be repeated,
    also where the name is another namespace's."""
    with suppress(FileNotFoundError):
        if os.stat(path(name)).st_ino == os.stat(_OWN).st_ino and is_namespace(name):
            return path(name)
        remove(name)
    _share()
    os.close(os.open(path(name), os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    _mount(_OWN, path(name), _MS_BIND)
    return path(name)


def listen(namespace: int, address: str, port: int, backlog: int = 128) -> socket.socket:
    """A socket that listens in a namespace and stays there, whichever thread uses it; the caller closes it."""
    with inside(namespace):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(backlog)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def is_namespace(name: str) -> bool:
    """Whether the name holds a namespace. Raises FileNotFoundError where there is no such name."""
    return os.stat(path(name)).st_dev != os.stat(NAMESPACES).st_dev


def remove(name: str) -> None:
    """Takes the name away; the kernel frees the namespace with its last process. No error where it's gone."""
    target = path(name).encode()
    while _libc.umount2(target, _MNT_DETACH) == 0:
        pass
    with suppress(FileNotFoundError):
        os.unlink(target)


def named(prefix: str) -> list[str]:
    """Names that start with ``prefix``, sorted."""
    with suppress(FileNotFoundError):
        return sorted(entry for entry in os.listdir(NAMESPACES) if entry.startswith(prefix))
    return []


def set_sysctls(values: dict[str, str]) -> None:
    """Writes settings below ``/proc/sys/net`` of the calling thread's namespace; keys such as ``ipv4/ip_forward``."""
    for key, value in values.items():
        Path("/proc/sys/net", key).write_text(value)


def sysctl(key: str) -> str:
    return Path("/proc/sys/net", key).read_text().strip()


def _share() -> None:
    """Makes /run/netns a shared mount, as ``ip netns add`` does, so that names vanish from all mount namespaces."""
    os.makedirs(NAMESPACES, 0o755, exist_ok=True)
    try:
        _mount("", NAMESPACES, _MS_SHARED | _MS_REC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # Not a mount of its own yet. (os.path.ismount can't tell: it is on the file system around it.)
        _mount(NAMESPACES, NAMESPACES, _MS_BIND | _MS_REC)
        _mount("", NAMESPACES, _MS_SHARED | _MS_REC)


def _mount(source: str, target: str, flags: int) -> None:
    _check(_libc.mount(source.encode(), target.encode(), b"none", flags, None))


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
