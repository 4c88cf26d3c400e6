"""Which volumes a container sees where: its own mount points, those of the containers it names, and those that its
image asks for. Pure."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping

from homeport.agent.drivers import Image, Mount
from homeport.agentapi import ContainerSpec, TaskSpec, Volume


def mounts(task: TaskSpec, name: str, images: Mapping[str, Image] = {}) -> tuple[Mount, ...]:
    """The mounts of a container, one per path: those of ``volumesFrom`` in their order, in turn with what these
    containers have from others; then its own, which win; then volumes of its image where nothing else is mounted, as
    in Docker. What names no volume or container of the task is left out: registration refuses it. ``images``: those
    of the task's containers, as far as they are known."""
    found: dict[str, Mount] = {}
    _collect(task, _container(task, name), found, images, frozenset({name}))
    return tuple(found.values())


def lenders(spec: ContainerSpec) -> list[str]:
    """Containers whose volumes it sees: they are made before it, and their images fill the volumes."""
    return [source.container for source in spec.volumes_from]


def _collect(
    task: TaskSpec,
    spec: ContainerSpec | None,
    found: dict[str, Mount],
    images: Mapping[str, Image],
    above: frozenset[str],
) -> None:
    if spec is None:
        return
    for source in spec.volumes_from:
        if source.container in above:
            continue
        theirs: dict[str, Mount] = {}
        _collect(task, _container(task, source.container), theirs, images, above | {source.container})
        for path, mount in theirs.items():
            read_only = mount.read_only or source.read_only
            found[path] = Mount(mount.volume, mount.container_path, read_only, fill=False)
    volumes = {volume.name: volume for volume in task.volumes}
    for point in spec.mount_points:
        if point.volume in volumes:
            path = posixpath.normpath(point.container_path)
            found[path] = Mount(volumes[point.volume], point.container_path, point.read_only)
    taken = {posixpath.normpath(tmpfs.container_path) for tmpfs in spec.tmpfs} | {"/"}
    for path in _of_image(images.get(spec.name)):
        if path not in taken:
            found.setdefault(path, Mount(Volume(_anonymous(spec.name, path)), path))


def _of_image(image: Image | None) -> list[str]:
    return ["/" + posixpath.normpath(f"/{path}").lstrip("/") for path in image.volumes] if image else []


def _anonymous(container: str, path: str) -> str:
    """A name that no volume of a task definition can have."""
    return "image." + hashlib.sha256(f"{container} {path}".encode()).hexdigest()[:32]


def _container(task: TaskSpec, name: str) -> ContainerSpec | None:
    return next((c for c in task.containers if c.name == name), None)
