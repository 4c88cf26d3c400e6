"""Which volumes a container sees where: its own mount points and those of the containers it names. Pure."""

from __future__ import annotations

import posixpath

from homeport.agent.drivers import Mount
from homeport.agentapi import ContainerSpec, TaskSpec


def mounts(task: TaskSpec, name: str) -> tuple[Mount, ...]:
    """The mounts of a container, one per path: those of ``volumesFrom`` in their order, in turn with what these
    containers have from others; then its own, which win. What names no volume or container of the task is left out:
    registration refuses it."""
    found: dict[str, Mount] = {}
    _collect(task, _container(task, name), found, frozenset({name}))
    return tuple(found.values())


def _collect(task: TaskSpec, spec: ContainerSpec | None, found: dict[str, Mount], above: frozenset[str]) -> None:
    if spec is None:
        return
    for source in spec.volumes_from:
        if source.container in above:
            continue
        theirs: dict[str, Mount] = {}
        _collect(task, _container(task, source.container), theirs, above | {source.container})
        for path, mount in theirs.items():
            read_only = mount.read_only or source.read_only
            found[path] = Mount(mount.volume, mount.container_path, read_only, fill=False)
    volumes = {volume.name: volume for volume in task.volumes}
    for point in spec.mount_points:
        if point.volume in volumes:
            path = posixpath.normpath(point.container_path)
            found[path] = Mount(volumes[point.volume], point.container_path, point.read_only)


def _container(task: TaskSpec, name: str) -> ContainerSpec | None:
    return next((c for c in task.containers if c.name == name), None)
