"""What an agent can do for a task, as data, and where: each action takes place in a slot, one at a time in each."""

from __future__ import annotations

import msgspec

from homeport.agentapi import TaskReport

NETWORK, TASK, STATE, REPORT = "/network", "/task", "/state", "/report"  # slots; the others are container names,
HEALTH = "/health"  # and a container's name with this behind it


class Attach(msgspec.Struct, frozen=True, tag=True):
    """Make the task's network namespace and interface."""


class Detach(msgspec.Struct, frozen=True, tag=True):
    """Remove them."""


class RemoveTask(msgspec.Struct, frozen=True, tag=True):
    """Remove what belongs to the task as a whole."""


class Save(msgspec.Struct, frozen=True, tag=True):
    """Write the task's record to disk."""


class Report(msgspec.Struct, frozen=True, tag=True):
    """Tell the control plane."""

    report: TaskReport


class Pull(msgspec.Struct, frozen=True, tag=True):
    container: str


class Create(msgspec.Struct, frozen=True, tag=True):
    container: str


class Start(msgspec.Struct, frozen=True, tag=True):
    container: str


class Restart(msgspec.Struct, frozen=True, tag=True):
    """Run it again: it has ended, and its restart policy says so."""

    container: str


class Check(msgspec.Struct, frozen=True, tag=True):
    """Run its health check once."""

    container: str


class Kill(msgspec.Struct, frozen=True, tag=True):
    """``signal`` None: the image's stop signal."""

    container: str
    signal: int | None = None


class Remove(msgspec.Struct, frozen=True, tag=True):
    container: str


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Give up the pull that is under way: the task stops."""

    container: str


class Fail(msgspec.Struct, frozen=True, tag=True):
    """No call: note that the container will never start because a dependency was not met, and the task with it."""

    container: str
    reason: str


Action = (
    Attach
    | Detach
    | RemoveTask
    | Save
    | Report
    | Pull
    | Create
    | Start
    | Restart
    | Check
    | Kill
    | Remove
    | Cancel
    | Fail
)


def slot(action: Action) -> str:
    """Where the action takes place; one at a time."""
    match action:
        case Attach() | Detach():
            return NETWORK
        case RemoveTask():
            return TASK
        case Save():
            return STATE
        case Report():
            return REPORT
        case Check():
            return action.container + HEALTH
        case _:
            return action.container
