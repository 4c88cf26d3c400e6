"""GetTaskProtection and UpdateTaskProtection."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import invalid_parameter
from homeport.services.ecs import clusters, tasks
from homeport.services.ecs.model.task import TASKS, Task, TaskStatus
from homeport.store import Scope, Tx, View

MAX_ASKED, MAX_UPDATED = 100, 10  # tasks of one call
DEFAULT_MINUTES, MAX_MINUTES = 120, 2880
_NOT_VALID = (
    "The specified task is not part of an Amazon ECS service. Only tasks that a service manages can be protected."
)


def get_task_protection(view: View, call: Call, params: Params) -> dict[str, Any]:
    found, failures = _chosen(view, call, params, MAX_ASKED)
    return {"protectedTasks": [_shown(task, view.now) for task in found], "failures": failures}


def update_task_protection(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Each call sets the end of protection anew."""
    minutes = params.get("expiresInMinutes")
    if minutes is not None and not params["protectionEnabled"]:
        raise invalid_parameter("expiresInMinutes can only be set when protectionEnabled is true.")
    if minutes is not None and not 1 <= minutes <= MAX_MINUTES:
        raise invalid_parameter(f"expiresInMinutes must be between 1 and {MAX_MINUTES}.")
    until = call.now + 60.0 * (minutes or DEFAULT_MINUTES) if params["protectionEnabled"] else None
    found, failures = _chosen(tx, call, params, MAX_UPDATED)
    changed = [replace(task, protected_until=until) for task in found]
    for task in changed:
        tx.put(TASKS, call.scope, task)
    return {"protectedTasks": [_shown(task, call.now) for task in changed], "failures": failures}


def _chosen(view: View, call: Call, params: Params, most: int) -> tuple[list[Task], list[dict[str, str]]]:
    """The tasks of services among those that are named, each once, and a failure for each of the others."""
    cluster = clusters.find_active(view, call.scope, params["cluster"])
    wanted = list(dict.fromkeys(params.get("tasks") or ()))
    if not wanted:
        raise invalid_parameter("Tasks cannot be empty.")
    if len(wanted) > most:
        raise invalid_parameter(f"tasks can have at most {most} items.")
    found: dict[str, Task] = {}
    failures = []
    for text in wanted:
        task = tasks.find(view, Scope(*call.scope), cluster, text)
        if task is None:
            failures.append({"arn": tasks.arn_of(cluster, text), "reason": "MISSING"})
        elif tasks.service_of(task) is None or task.last_status == TaskStatus.STOPPED:
            failures.append({"arn": task.arn, "reason": "TASK_NOT_VALID", "detail": _NOT_VALID})
        else:
            found[task.id] = task
    return list(found.values()), failures


def _shown(task: Task, now: float) -> dict[str, Any]:
    until = task.protected_until
    if until is None or until <= now:
        return {"taskArn": task.arn, "protectionEnabled": False}
    return {"taskArn": task.arn, "protectionEnabled": True, "expirationDate": until}


def _named(call: Call, params: Params) -> list[str]:
    return list(params.get("tasks") or ())


OPERATIONS: dict[str, Operation] = {
    "GetTaskProtection": Operation(get_task_protection, write=False, resources=_named),
    "UpdateTaskProtection": Operation(update_task_protection, resources=_named),
}
