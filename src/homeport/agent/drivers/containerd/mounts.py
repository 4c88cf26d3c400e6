"""What is mounted into a container: the kernel's file systems, the task's files, volumes and tmpfs. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from homeport.agentapi import ContainerSpec, Tmpfs

SHARED_MEMORY = 64  # MiB of /dev/shm, Docker's default
QUIET = ("nosuid", "noexec", "nodev")


class BadMount(ValueError):
    """A mount that can't be made; ``str`` says why, in Docker's words."""


@dataclass(frozen=True)
class Files:
    """Generated files on the host that are mounted over the image's."""

    resolv_conf: str
    hosts: str
    hostname: str


@dataclass(frozen=True)
class Bind:
    """A file or folder of the host at a path of the container, which runc resolves inside the container's root."""

    source: str
    target: str
    read_only: bool = False


def mounts(spec: ContainerSpec, files: Files, binds: Sequence[Bind] = (), ipc_mode: str = "") -> list[dict[str, Any]]:
    """All mounts in the order in which they are made. What the definition mounts takes the place of a default with the
    same path; a mount comes after those of the folders above it. Raises BadMount."""
    given = [_checked(_bind(b.source, b.target, b.read_only)) for b in binds]
    given += [_checked(_tmpfs(t)) for t in spec.tmpfs]
    paths = [m["destination"] for m in given]
    for path in paths:
        if paths.count(path) > 1:
            raise BadMount(f"Duplicate mount point: {path}")
    defaults = [*_system(spec, ipc_mode), *_files(files, spec.readonly_root_filesystem)]
    kept = [m for m in defaults if m["destination"] not in paths]
    return [*kept, *sorted(given, key=lambda m: m["destination"].count("/"))]


def _system(spec: ContainerSpec, ipc_mode: str) -> Iterable[dict[str, Any]]:
    kept = "rw" if spec.privileged else "ro"
    shared_memory = spec.shared_memory or SHARED_MEMORY
    yield mount("/proc", "proc", *QUIET)
    yield mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k")
    yield mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
    yield mount("/sys", "sysfs", *QUIET, kept)
    yield mount("/sys/fs/cgroup", "cgroup", *QUIET, "relatime", kept)
    yield mount("/dev/mqueue", "mqueue", *QUIET)  # the queues of the IPC namespace that the container is in
    if ipc_mode == "host":
        yield _bind("/dev/shm", "/dev/shm", read_only=False)  # noqa: S108
    elif ipc_mode != "none":
        yield mount("/dev/shm", "tmpfs", *QUIET, "mode=1777", f"size={shared_memory << 10}k")  # noqa: S108


def _files(files: Files, read_only: bool) -> Iterable[dict[str, Any]]:
    yield _bind(files.resolv_conf, "/etc/resolv.conf", read_only)
    yield _bind(files.hosts, "/etc/hosts", read_only)
    yield _bind(files.hostname, "/etc/hostname", read_only)


def _tmpfs(tmpfs: Tmpfs) -> dict[str, Any]:
    options = (*QUIET, *(o for o in tmpfs.options if o != "defaults"), f"size={tmpfs.size}m")
    return mount(tmpfs.container_path, "tmpfs", *options)


def mount(target: str, kind: str, *options: str) -> dict[str, Any]:
    """One of the kernel's own file systems."""
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


def _bind(source: str, target: str, read_only: bool) -> dict[str, Any]:
    options = ["rbind", "rprivate", "ro" if read_only else "rw"]
    return {"destination": target, "type": "bind", "source": source, "options": options}


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    path = given["destination"]
    if not path.startswith("/"):
        raise BadMount(f"invalid mount config for type '{given['type']}': mount path must be absolute: {path}")
    clean = "/" + posixpath.normpath(path).lstrip("/")
    if clean == "/":
        raise BadMount(f"invalid mount config for type '{given['type']}': destination can't be '/'")
    return {**given, "destination": clean}
