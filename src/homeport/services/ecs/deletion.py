"""Ending the deletion of task definitions: when nothing runs with them any more, and when nothing is told of them.

DELETE_IN_PROGRESS → DELETED (no task runs with it and no service starts any; callers don't find it) → gone (no stopped
task names it either). Both turns are taken by whoever makes them possible: the task loop at ``wake_at``, and what stops
or forgets a task. Whether services have let go of it is looked at now and then.
"""

from __future__ import annotations

import msgspec

from homeport.services.ecs import deployments
from homeport.services.ecs.model.definition import (
    DEFINITIONS,
    DELETING_SECONDS,
    FAMILIES,
    TaskDefinition,
    definition_id,
)
from homeport.services.ecs.model.deployment import DEPLOYMENTS, REVISIONS
from homeport.services.ecs.model.service import SERVICES
from homeport.services.ecs.model.task import TASKS, Task
from homeport.services.ecs.model.task_set import TASK_SETS
from homeport.store import Key, Scope, Tx, View

SERVED_SECONDS = 60.0  # between looks whether services have let go of a definition


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


def _serves(view: View, scope: Scope, arn: str) -> bool:
    """Whether a service may still start tasks of it: by what it was asked for, by a deployment that isn't over or that
    a rollback would return to, or by a task set."""
    if view.count(SERVICES, scope, "definition", arn) or view.count(TASK_SETS, scope, "definition", arn):
        return True
    for revision in view.find(REVISIONS, scope, "definition", arn):
        made = [*view.find(DEPLOYMENTS, scope, "shown", revision.service)]
        made += [d for d in (deployments.candidate(view, scope, revision.service),) if d is not None]
        service = view.get(SERVICES, scope, revision.service)
        if service is not None and service.status != "INACTIVE" and any(d.revision == revision.id for d in made):
            return True
    return False


def _go_on(tx: Tx, scope: Scope, definition: TaskDefinition) -> None:
    if definition.status == "DELETE_IN_PROGRESS" and _serves(tx, scope, definition.arn):
        tx.put(DEFINITIONS, scope, msgspec.structs.replace(definition, wake_at=tx.now + SERVED_SECONDS))
        return
    if definition.status == "DELETE_IN_PROGRESS" and not tx.count(TASKS, scope, "definition", (definition.arn, False)):
        definition = msgspec.structs.replace(definition, status="DELETED")
        tx.put(DEFINITIONS, scope, definition)
        family = tx.get(FAMILIES, scope, definition.family)
        assert family is not None  # it is made with its first revision and never deleted
        tx.put(FAMILIES, scope, msgspec.structs.replace(family, inactive=family.inactive - 1))
    if definition.status == "DELETED" and not tx.count(TASKS, scope, "definition", (definition.arn, True)):
        tx.delete(DEFINITIONS, scope, DEFINITIONS.id(definition))
