"""ExecuteCommand."""

from __future__ import annotations

from typing import Any

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import invalid_parameter
from homeport.services.ecs import clusters, tasks
from homeport.services.ecs.model.task import Container, Task, TaskStatus
from homeport.store import Scope, View

_NOT_ENABLED = (
    "The execute command failed because execute command was not enabled when the task was run or the execute command "
    "agent isn’t running. Wait and try again or run a new task with execute command enabled and try again."
)


def execute_command(view: View, call: Call, params: Params) -> dict[str, Any]:
    """No task has an execute command agent yet, so no command is executed: the answer says so in ECS's words."""
    cluster = clusters.find_active(view, call.scope, params.get("cluster"))
    if not params["command"]:
        raise invalid_parameter("Command cannot be empty.")
    if not params["interactive"]:
        raise invalid_parameter("Interactive is the only mode supported currently.")
    task = tasks.find(view, Scope(*call.scope), cluster, params["task"])
    if task is None or task.last_status == TaskStatus.STOPPED:
        raise tasks.not_found()
    _container(task, params.get("container"))
    raise invalid_parameter(_NOT_ENABLED)


def _container(task: Task, name: str | None) -> Container:
    """The container that is meant. Raises InvalidParameterException where that isn't one."""
    if not name and len(task.containers) > 1:
        raise invalid_parameter("The task has several containers: specify the name of a container.")
    found = next((c for c in task.containers if not name or c.name == name), None)
    if found is None:
        raise invalid_parameter("The specified container does not exist in the task.")
    return found


OPERATIONS: dict[str, Operation] = {
    "ExecuteCommand": Operation(execute_command, write=False, resources=lambda call, params: [params["task"]]),
}
