"""Ending the deletion of task definitions: when nothing runs with them any more, and when nothing is told of them.

DELETE_IN_PROGRESS → DELETED (no task runs with it; callers don't find it) → gone (no stopped task names it either).
Both turns are taken by whoever makes them possible: the task loop at ``wake_at``, and what stops or forgets a task.
"""

from __future__ import annotations

import msgspec

from homeport.services.ecs.model.definition import (
    DEFINITIONS,
    DELETING_SECONDS,
    FAMILIES,
    TaskDefinition,
    definition_id,
)
from homeport.services.ecs.model.task import TASKS, Task
from homeport.store import Key, Scope, Tx


def request(tx: Tx, scope: Scope, definition: TaskDefinition) -> TaskDefinition:
    """The INACTIVE definition as DELETE_IN_PROGRESS."""
    deleting = msgspec.structs.replace(
        definition,
        status="DELETE_IN_PROGRESS",
        delete_requested_at=tx.now,
        wake_at=tx.now + DELETING_SECONDS,
    )
    tx.put(DEFINITIONS, scope, deleting)
    return deleting


def look(tx: Tx, key: Key) -> None:
    """Ends a deletion whose ``wake_at`` has come, or leaves that to the end of the tasks that still run."""
    definition = tx.get(DEFINITIONS, key.scope, key.id)
    if definition is None or definition.wake_at is None or definition.status != "DELETE_IN_PROGRESS":
        return
    definition = msgspec.structs.replace(definition, wake_at=None)
    tx.put(DEFINITIONS, key.scope, definition)
    _go_on(tx, key.scope, definition)


def let_go(tx: Tx, scope: Scope, task: Task) -> None:
    """A task stopped, or was forgotten: what its definition waits for may have come."""
    family, _, revision = task.definition_arn.rpartition("/")[2].rpartition(":")
    definition = tx.get(DEFINITIONS, scope, definition_id(family, int(revision)))
    if definition is not None and definition.wake_at is None:
        _go_on(tx, scope, definition)


def _go_on(tx: Tx, scope: Scope, definition: TaskDefinition) -> None:
    if definition.status == "DELETE_IN_PROGRESS" and not tx.count(TASKS, scope, "definition", (definition.arn, False)):
        definition = msgspec.structs.replace(definition, status="DELETED")
        tx.put(DEFINITIONS, scope, definition)
        family = tx.get(FAMILIES, scope, definition.family)
        assert family is not None  # it is made with its first revision and never deleted
        tx.put(FAMILIES, scope, msgspec.structs.replace(family, inactive=family.inactive - 1))
    if definition.status == "DELETED" and not tx.count(TASKS, scope, "definition", (definition.arn, True)):
        tx.delete(DEFINITIONS, scope, DEFINITIONS.id(definition))
