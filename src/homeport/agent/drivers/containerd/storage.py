"""A task's ephemeral storage: what its containers write into their own layers and its volumes may take so much of the
disk, and no more. The layers of images, which tasks share, are not counted; nor is output, which has its own bound.

Where the file system of the node's state has project quotas, the kernel enforces the size: a write beyond it fails with
"Disk quota exceeded" (ext4) or "No space left on device" (XFS), and other tasks notice nothing. Elsewhere the size is
shown and not enforced.

A task's project id comes from the task's id. It is free if no file and no limit has it, whoever's; the task's folder
remembers the choice, so that an agent that starts again, or repeats a step, finds it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path

from homeport.agent.drivers import ContainerPlan
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd import project_quota
from homeport.agent.drivers.containerd.instance import Instance

log = logging.getLogger("homeport.agent")

_GIB = 1 << 30
# Other programs number their projects from 1 (Docker), from 1,048,577 (the kubelet).
_FIRST, _IDS = 1 << 30, 1 << 30
_TRIES = 64


def candidates(task_id: str) -> Iterator[int]:
    """Project ids that a task may take, in this order. Pure."""
    for number in count():
        digest = hashlib.sha256(f"{task_id} {number}".encode()).digest()
        yield _FIRST + int.from_bytes(digest[:4], "big") % _IDS


def layer(options: Sequence[str]) -> tuple[Path, ...]:
    """The folders into which an overlay with these mount options writes."""
    writable = ("upperdir=", "workdir=")
    return tuple(Path(option.partition("=")[2]) for option in options if option.startswith(writable))


class Storage:
    """The ephemeral storage of one Homeport's tasks. ``enforced``: known once ``detect`` was called."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.enforced = False

    def detect(self) -> None:
        """Finds out, and logs, whether sizes can be enforced here."""
        reason = self._missing()
        self.enforced = not reason
        if reason:
            log.info("the size of tasks' ephemeral storage is not enforced: %s", reason)
        else:
            log.info("the size of tasks' ephemeral storage is enforced, by project quotas")

    def _missing(self) -> str:
        """Why sizes can't be enforced; "" if they can."""
        state = self._instance.state
        if self._instance.external:
            return "containerd is not Homeport's own"
        try:
            if state.stat().st_dev != self._instance.folder.stat().st_dev:
                return "images and volumes are on different file systems"
            return "" if project_quota.enforced(state) else f"{state} has no project quotas (mount option prjquota)"
        except OSError as error:
            return str(error)

    def hold(self, plan: ContainerPlan, mounts: Sequence[pb.Mount] = ()) -> None:
        """Holds what comes into the task's volumes, and into the container's own layer (``mounts``: of its root), to
        the task's size. Before anything is written there. May be repeated. Raises OSError."""
        if not self.enforced or not plan.ephemeral_storage:
            return
        project = self._claim(plan.task_id, plan.ephemeral_storage * _GIB)
        folders = [folder for mount in mounts for folder in layer(mount.options)]
        if plan.mounts:
            volumes = self._instance.volumes(plan.task_id)
            volumes.mkdir(parents=True, exist_ok=True)
            folders.append(volumes)
        for folder in folders:
            if project_quota.project_of(folder) != project:
                project_quota.assign(folder, project)

    def _claim(self, task_id: str, size: int) -> int:
        known = self._project(task_id)
        project = known or self._free(task_id)
        if not known:
            record = self._record(task_id)
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text(str(project))  # first: nobody would find a limit that isn't written down
        if project_quota.usage(self._instance.state, project)[1] != size:
            project_quota.limit(self._instance.state, project, size)
        return project

    def _free(self, task_id: str) -> int:
        for project in islice(candidates(task_id), _TRIES):
            if project_quota.usage(self._instance.state, project) == (0, 0):
                return project
        raise OSError(f"no project id is free for the ephemeral storage of {task_id}")

    def used(self, task_id: str) -> int | None:
        """Bytes of its ephemeral storage that the task has filled; None where nobody counts."""
        project = self._project(task_id) if self.enforced else None
        return project_quota.usage(self._instance.state, project)[0] if project else None

    def release(self, task_id: str) -> None:
        """Gives the task's project id back, once its layers and volumes are gone. May be repeated. Raises OSError."""
        project = self._project(task_id) if self.enforced else None
        if project:
            project_quota.limit(self._instance.state, project, 0)
            self._record(task_id).unlink()

    def _record(self, task_id: str) -> Path:
        return self._instance.task(task_id) / "project"

    def _project(self, task_id: str) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return int(self._record(task_id).read_text())
        return None
