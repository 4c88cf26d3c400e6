"""StopTask, DescribeTasks and ListTasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import invalid_parameter
from homeport.services.ecs import clusters, effects, lifecycle, names, pages, service_names, services, tasks
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.task import TASKS, Task
from homeport.services.ecs.views.task import task_view
from homeport.store import Scope, Tx, View

MAX_DESCRIBED = 100  # tasks per DescribeTasks
_LAUNCH_FILTERS = ("containerInstance", "family", "serviceName", "daemonName", "launchType")


def stop_task(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Returns at once: the task has desiredStatus STOPPED, its containers get SIGTERM and time to end."""
    scope = Scope(*call.scope)
    cluster = clusters.find_active(tx, scope, params.get("cluster"))
    task = tasks.find(tx, scope, cluster, params["task"])
    if task is None:
        raise tasks.not_found()
    reason = params.get("reason") or lifecycle.USER_REASON
    stopping = lifecycle.request_stop(task, "UserInitiated", reason, call.now)
    if stopping is not task:
        stopping = lifecycle.without_tags(stopping)
    effects.save(tx, scope, task, stopping)
    return {"task": task_view(tx, scope, stopping)}


def describe_tasks(view: View, call: Call, params: Params) -> dict[str, Any]:
    scope = Scope(*call.scope)
    cluster = clusters.find_active(view, scope, params.get("cluster"))
    wanted = list(dict.fromkeys(params["tasks"]))
    if not wanted:
        raise invalid_parameter("Tasks cannot be empty.")
    if len(wanted) > MAX_DESCRIBED:
        raise invalid_parameter(f"tasks can have at most {MAX_DESCRIBED} items.")
    with_tags = "TAGS" in (params.get("include") or ())
    found = {text: tasks.find(view, scope, cluster, text) for text in wanted}
    distinct = {task.id: task for task in found.values() if task is not None}
    missing = [{"arn": tasks.arn_of(cluster, t), "reason": "MISSING"} for t, task in found.items() if task is None]
    shown = [task_view(view, scope, task, with_tags=with_tags) for task in distinct.values()]
    return {"tasks": shown, "failures": missing}


def list_tasks(view: View, call: Call, params: Params) -> dict[str, Any]:
    scope = Scope(*call.scope)
    cluster = clusters.find_active(view, scope, params.get("cluster"))
    found = (task for task in _selected(view, scope, cluster, params) if tasks.belongs(task, cluster))
    return pages.listed(call, params, "taskArns", found, key=lambda task: task.id, answer=lambda task: task.arn)


def _selected(view: View, scope: Scope, cluster: Cluster, params: Params) -> Iterable[Task]:
    """The tasks that all filters let through, sorted by id: found by the narrowest, checked against the others."""
    desired = params.get("desiredStatus") or "RUNNING"
    family, service, started_by = params.get("family"), params.get("serviceName"), params.get("startedBy")
    if started_by and any(params.get(m) for m in _LAUNCH_FILTERS):
        raise invalid_parameter("startedBy cannot be combined with other filters.")
    if desired == "PENDING" or params.get("daemonName"):  # a desiredStatus that no task has; there are no daemons
        return []
    group = _group(view, scope, cluster, service) if service else None
    if started_by:
        key: tuple[str, ...] = ("startedBy", started_by, cluster.arn, desired)
    elif group:
        key = ("group", group, cluster.arn, desired)
    elif family:
        key = ("family", family, cluster.arn, desired)
    else:
        key = ("cluster", cluster.arn, desired)
    instance, launch_type = params.get("containerInstance"), params.get("launchType")
    if instance:
        names.local(scope, "container-instance", instance)
    return (
        task
        for task in view.find(TASKS, scope, "filter", key)
        if (not family or task.family == family)
        and (not launch_type or task.launch_type == launch_type)
        and (not instance or _is_on(task, instance))
    )


def _is_on(task: Task, instance: str) -> bool:
    """Whether it runs on the container instance with this id or ARN. Fargate's nodes are nobody's to ask for."""
    if task.instance is None or task.launch_type == "FARGATE":
        return False
    return instance in (task.instance, task.instance.rpartition("/")[2])


def _group(view: View, scope: Scope, cluster: Cluster, text: str) -> str:
    """The group of the tasks of a service. Raises ServiceNotFoundException."""
    service = services.find(view, scope, cluster, text)
    if service is None:
        raise service_names.not_found()
    return service.group


def _task_arn(call: Call, params: Params) -> list[str]:
    return [params["task"]]


OPERATIONS = {
    "StopTask": Operation(stop_task, resources=_task_arn),
    "DescribeTasks": Operation(describe_tasks, write=False, resources=lambda call, params: list(params["tasks"])),
    "ListTasks": Operation(list_tasks, write=False),
}
