"""Kills for memory in a container: which of them hit the container itself, and which a command run beside it.

The kernel counts both alike, in the container's group. A kill while a command ran that then failed is the command's,
unless the container ended with it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from homeport.agent.drivers.containerd.cgroups import Cgroups
from homeport.agent.drivers.containerd.instance import Instance

# Seconds after a failed command within which a container's end is of the same cause: it takes its commands with it, and
# they are gone a moment before it is.
TOGETHER = 1.0


class Commands(msgspec.Struct, frozen=True):
    """Kills that hit commands: so many ``before`` the last command that was hit, so many ``with_it``, and when it
    ended (epoch seconds)."""

    before: int
    with_it: int
    at: float


def own(kills: int, commands: Commands | None, finished_at: float) -> bool:
    """Whether the kernel killed the container itself, which ended at ``finished_at`` (epoch seconds), given all
    ``kills`` in its group. Pure."""
    if commands is None:
        return kills > 0
    return kills > (commands.with_it if finished_at > commands.at + TOGETHER else commands.before)


class Kills:
    """What is known of the kills of each container: a file in its task's folder, so that it outlives the agent."""

    def __init__(self, instance: Instance, cgroups: Cgroups) -> None:
        self._instance, self._cgroups = instance, cgroups

    def count(self, task_id: str, id: str) -> int:
        """All in the container's group."""
        return self._cgroups.kills(task_id, id)

    def own(self, task_id: str, id: str, finished_at: float) -> bool:
        """See ``own``. The container's group must still be there."""
        return own(self.count(task_id, id), self._commands(task_id, id), finished_at)

    def failed(self, task_id: str, id: str, since: int, at: float) -> None:
        """A command has failed, at ``at`` (epoch seconds); ``since``: the count when it began. Raises OSError."""
        more = self.count(task_id, id) - since
        if more <= 0:
            return
        known = self._commands(task_id, id)
        before = known.with_it if known else 0
        path = self._path(task_id, id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(Commands(before, before + more, at)))

    def clear(self, task_id: str, id: str) -> None:
        """The container's group goes, and its count with it."""
        with contextlib.suppress(OSError):
            self._path(task_id, id).unlink()

    def _commands(self, task_id: str, id: str) -> Commands | None:
        try:
            return msgspec.json.decode(self._path(task_id, id).read_bytes(), type=Commands)
        except (OSError, msgspec.DecodeError):
            return None

    def _path(self, task_id: str, id: str) -> Path:
        return self._instance.task(task_id) / "kills" / id
