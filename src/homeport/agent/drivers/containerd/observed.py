"""What is known of a container, from containerd's answers and our own marks. Deciding is pure."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from homeport.agent.drivers import Observed
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd.instance import Instance

TASK = "homeport.task"
CONTAINER = "homeport.container"
STOP_SIGNAL = "homeport.stop-signal"
TASK_CPU = "homeport.task-cpu"
STREAMS = "homeport.streams"


class Marks:
    """Which containers were started, and when: containerd forgets a task whose shim is gone, so that nothing else
    tells a container that never ran from one that was lost. A file per container, in its task's folder."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def _path(self, task_id: str, id: str) -> Path:
        return self._instance.task(task_id) / "started" / id

    def set(self, task_id: str, id: str, now: float) -> float:
        """Notes that the container is about to start; returns the time. A repeated call keeps the first one's."""
        path = self._path(task_id, id)
        known = self.get(task_id, id)
        if known is not None:
            return known
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(repr(now))
        return now

    def get(self, task_id: str, id: str) -> float | None:
        try:
            return float(self._path(task_id, id).read_text())
        except (OSError, ValueError):
            return None

    def clear(self, task_id: str, id: str) -> None:
        with contextlib.suppress(OSError):
            self._path(task_id, id).unlink()


def observed(
    id: str,
    labels: Mapping[str, str],
    process: pb.Process | None,
    started_at: float | None,
    seen_exit: pb.TaskEvent | None,
    oom: bool,
) -> Observed | None:
    """``process``: containerd's task, None if it has none. ``seen_exit``: the exit event, if this agent saw it.

    None: the container was made only halfway. Where containerd has no state for it, since its shim doesn't answer in
    time, what was started runs on for all that is known. A container that was started and that containerd has no task
    for is stopped where its exit was seen, else lost. An end before the start is none: a containerd that was killed
    while it made a container tells, once it is back, that the remains exited with 137, and that event may come late.
    """
    names = dict(labels)
    if process is not None and process.status in (pb.RUNNING, pb.PAUSED, pb.PAUSING):
        return Observed(id, "running", process.pid, started_at=started_at, labels=names)
    if process is not None and process.status == pb.CREATED:
        return Observed(id, "created", process.pid, labels=names)
    if started_at is None:
        return None
    end: pb.Process | pb.TaskEvent | None = seen_exit
    if process is not None and process.status == pb.STOPPED:
        end = process
    elif seen_exit is not None and _seconds(seen_exit) < started_at:
        end = None
    if end is None and process is not None and process.status == pb.UNKNOWN:
        return Observed(id, "running", process.pid, started_at=started_at, labels=names)
    if end is None:
        return Observed(id, "lost", started_at=started_at, labels=names)
    code = end.exit_status
    return Observed(id, "stopped", end.pid, code, started_at, _seconds(end), oom and code != 0, names)


def _seconds(end: pb.Process | pb.TaskEvent) -> float:
    nanoseconds: int = end.exited_at.ToNanoseconds()
    return nanoseconds / 1e9
