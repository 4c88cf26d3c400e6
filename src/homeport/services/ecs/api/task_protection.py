"""GetTaskProtection and UpdateTaskProtection."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import invalid_parameter
from homeport.services.ecs import clusters, services, tasks
from homeport.services.ecs.model.service import SERVICES
from homeport.services.ecs.model.task import TASKS, Task, TaskStatus
from homeport.store import Scope, Tx, View

MAX_ASKED, MAX_UPDATED = 100, 10  # tasks of one call
DEFAULT_MINUTES, MAX_MINUTES = 120, 2880
_NOT_VALID = (
    "The specified task is not part of an Amazon ECS service. Only tasks that a service manages can be protected."
)
_BLOCKED = "Task protection can't be set while a deployment of the service is blocked by tasks that are protected."


def get_task_protection(view: View, call: Call, params: Params) -> dict[str, Any]:
    found, failures = _chosen(view, _scope(view, call, params), params, MAX_ASKED)
    return {"protectedTasks": [_shown(task, view.now) for task in found], "failures": failures}


def update_task_protection(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Each call sets the end of protection anew."""
    minutes = params.get("expiresInMinutes")
    if minutes is not None and not params["protectionEnabled"]:
        raise invalid_parameter("expiresInMinutes can only be set when protectionEnabled is true.")
    if minutes is not None and not 1 <= minutes <= MAX_MINUTES:
        raise invalid_parameter(f"expiresInMinutes must be between 1 and {MAX_MINUTES}.")
    until = call.now + 60.0 * (minutes or DEFAULT_MINUTES) if params["protectionEnabled"] else None
    scope = _scope(tx, call, params)
    found, failures = _chosen(tx, scope, params, MAX_UPDATED)
    if until is not None:
        blocked = [
            task for task in found if not _shown(task, call.now)["protectionEnabled"] and _blocked(tx, scope, task)
        ]
        found = [task for task in found if task not in blocked]
        failures += [{"arn": task.arn, "reason": "DEPLOYMENT_BLOCKED", "detail": _BLOCKED} for task in blocked]
    changed = [replace(task, protected_until=until) for task in found]
    for task in changed:
        tx.put(TASKS, scope, task)
    return {"protectedTasks": [_shown(task, call.now) for task in changed], "failures": failures}


def _scope(view: View, call: Call, params: Params) -> Scope:
    """The caller's; for a node that asks for one of its tasks, that task's. Raises AccessDeniedException."""
    if call.principal.node is None:
        return Scope(*call.scope)
    scopes = {tasks.of_node(view, call.scope, call.principal, text)[0] for text in params.get("tasks") or ()}
    if len(scopes) != 1:
        raise invalid_parameter("A node can ask for its tasks of one account and region at a time.")
    return scopes.pop()


def _chosen(view: View, scope: Scope, params: Params, most: int) -> tuple[list[Task], list[dict[str, str]]]:
    """The tasks of services among those that are named, each once, and a failure for each of the others."""
    cluster = clusters.find_active(view, scope, params["cluster"])
    wanted = list(dict.fromkeys(params.get("tasks") or ()))
    if not wanted:
        raise invalid_parameter("Tasks cannot be empty.")
    if len(wanted) > most:
        raise invalid_parameter(f"tasks can have at most {most} items.")
    found: dict[str, Task] = {}
    failures = []
    for text in wanted:
        task = tasks.find(view, scope, cluster, text)
        if task is None:
            failures.append({"arn": tasks.arn_of(cluster, text), "reason": "MISSING"})
        elif tasks.service_of(task) is None or task.last_status == TaskStatus.STOPPED:
            failures.append({"arn": task.arn, "reason": "TASK_NOT_VALID", "detail": _NOT_VALID})
        else:
            found[task.id] = task
    return list(found.values()), failures


def _blocked(view: View, scope: Scope, task: Task) -> bool:
    """Whether a deployment of its service only waits for protected tasks of older ones: then no more can be protected
    until they end (inferred)."""
    id = services.id_of(task)
    service = view.get(SERVICES, scope, id) if id is not None else None
    if service is None or service.controller != "ECS":
        return False
    primary = next((d for d in services.deployments(view, scope, service) if d.role == "PRIMARY"), None)
    if primary is None:
        return False
    live = [t for t in services.tasks(view, scope, service) if t.desired_status == "RUNNING"]
    older = [t for t in live if t.started_by != primary.name]
    return bool(older) and all(_shown(t, view.now)["protectionEnabled"] for t in older)


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
