"""What an agent must not forget: one file per task and one for the instance, written so that a kill -9 or a power cut
at any moment leaves either the old or the new content.

``<state>/agent/tasks/<task id>.json`` and ``<state>/agent/instance.json``, mode 0600. A file that can't be read stops
the agent: to go on without it would mean to remove containers that run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from homeport.agent.plan import Facts, TaskGoal
from homeport.agent.report import Acknowledged

VERSION = 1
T = TypeVar("T", bound=msgspec.Struct)


class StateDamaged(Exception):
    """A state file is unreadable or was written by a newer agent; the text names it."""


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task as it is saved. ``finished_at`` (epoch seconds): nothing is left of it and its end was acknowledged; it is
    remembered for a while so that a payload that is delivered late doesn't run it twice."""

    version: int
    boot_id: str
    goal: TaskGoal
    facts: Facts
    acknowledged: Acknowledged = Acknowledged()
    finished_at: float | None = None


class Instance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As which container instance this node is registered; ``cluster`` as configured. ``machine``: an id of the state
    folder, drawn before the first registration."""

    version: int
    cluster: str = ""
    arn: str | None = None
    machine: str = ""


class Records(Protocol):
    """Saving raises OSError (disk full, read-only …) and then has changed nothing."""

    def load(self) -> list[TaskRecord]:
        """All tasks, at start. Raises StateDamaged."""
        ...

    def find(self, task_id: str) -> TaskRecord | None: ...

    def instance(self) -> Instance:
        """Raises StateDamaged."""
        ...

    async def save(self, record: TaskRecord) -> None:
        """Returns when the record is durable."""
        ...

    async def save_instance(self, instance: Instance) -> None: ...

    async def delete(self, task_id: str) -> None:
        """Forgets the task, and what its containers wrote."""
        ...


class FileRecords:
    """``Records`` in a folder, made if it isn't there. Writes happen in threads: an fsync takes milliseconds.

    The driver writes a task's output to ``logs/<task id>`` in the same folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._tasks = folder, folder / "tasks"
        self._tasks.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self) -> list[TaskRecord]:
        for left_over in self._tasks.glob("*.tmp"):  # a write that a kill cut short
            left_over.unlink()
        return [_read(path, TaskRecord) for path in sorted(self._tasks.glob("*.json"))]

    def find(self, task_id: str) -> TaskRecord | None:
        path = self._path(task_id)
        return _read(path, TaskRecord) if path.exists() else None

    def instance(self) -> Instance:
        path = self._folder / "instance.json"
        return _read(path, Instance) if path.exists() else Instance(version=VERSION)

    async def save(self, record: TaskRecord) -> None:
        await self._write(self._path(record.goal.task_id), record)

    async def save_instance(self, instance: Instance) -> None:
        await self._write(self._folder / "instance.json", instance)

    async def delete(self, task_id: str) -> None:
        output = self._folder / "logs" / task_id
        if output.exists():
            await asyncio.to_thread(shutil.rmtree, output)
        self._path(task_id).unlink(missing_ok=True)  # last: while it is there, it will be tried again

    def _path(self, task_id: str) -> Path:
        return self._tasks / f"{task_id}.json"

    async def _write(self, path: Path, value: msgspec.Struct) -> None:
        await asyncio.to_thread(write_durably, path, msgspec.json.encode(value))


class MemoryRecords:
    """``Records`` that outlive a simulated agent but not the process."""

    def __init__(self) -> None:
        self.tasks: dict[str, bytes] = {}
        self._instance = Instance(version=VERSION)

    def load(self) -> list[TaskRecord]:
        return [msgspec.json.decode(raw, type=TaskRecord) for _, raw in sorted(self.tasks.items())]

    def find(self, task_id: str) -> TaskRecord | None:
        raw = self.tasks.get(task_id)
        return msgspec.json.decode(raw, type=TaskRecord) if raw else None

    def instance(self) -> Instance:
        return self._instance

    async def save(self, record: TaskRecord) -> None:
        self.tasks[record.goal.task_id] = msgspec.json.encode(record)

    async def save_instance(self, instance: Instance) -> None:
        self._instance = instance

    async def delete(self, task_id: str) -> None:
        self.tasks.pop(task_id, None)


def write_durably(path: Path, content: bytes) -> None:
    """Replaces the file: new content on disk, then the name. Raises OSError; the old file is untouched then."""
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path, kind: type[T]) -> T:
    try:
        content = path.read_bytes()
        version = msgspec.json.decode(content, type=_Version).version
        if version > VERSION:
            raise StateDamaged(f"{path} was written by a newer version of Homeport (format {version}, known {VERSION})")
        return msgspec.json.decode(content, type=kind)
    except (OSError, msgspec.DecodeError, UnicodeError) as error:
        raise StateDamaged(f"{path} can't be read: {error}") from error


class _Version(msgspec.Struct):
    version: int
