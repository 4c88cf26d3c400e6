"""CreateTaskSet, UpdateTaskSet, UpdateServicePrimaryTaskSet, DeleteTaskSet, DescribeTaskSets.

A task set is a service's, and there are no services yet.
"""

from __future__ import annotations

from typing import NoReturn

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import invalid_parameter
from homeport.services.ecs import capacity, clusters, definitions, names, service_names, tags
from homeport.store import View

MAX_CLIENT_TOKEN = 36  # characters


def create_task_set(view: View, call: Call, params: Params) -> NoReturn:
    """Checks what it is given and finds no such service."""
    clusters.find_active(view, call.scope, params["cluster"])
    service_names.check(call.scope, params["service"])
    if len(params.get("clientToken") or "") > MAX_CLIENT_TOKEN:
        raise invalid_parameter(f"clientToken must be at most {MAX_CLIENT_TOKEN} characters long.")
    capacity.check_items(params.get("capacityProviderStrategy") or [])
    _check_scale(params)
    tags.parse(params.get("tags"))
    definitions.require_active(definitions.find(view, call.scope, params["taskDefinition"]))
    raise service_names.not_found()


def update_task_set(view: View, call: Call, params: Params) -> NoReturn:
    """Finds no such service."""
    _check_scale(params)
    _of_service(view, call, params)


def update_service_primary_task_set(view: View, call: Call, params: Params) -> NoReturn:
    """Finds no such service."""
    _of_service(view, call, params)


def delete_task_set(view: View, call: Call, params: Params) -> NoReturn:
    """Finds no such service."""
    _of_service(view, call, params)


def describe_task_sets(view: View, call: Call, params: Params) -> NoReturn:
    """Finds no such service."""
    _of_service(view, call, params)


def _of_service(view: View, call: Call, params: Params) -> NoReturn:
    clusters.find_active(view, call.scope, params["cluster"])
    service_names.check(call.scope, params["service"])
    for text in (params.get("taskSet"), params.get("primaryTaskSet"), *params.get("taskSets", ())):
        if text is not None:
            names.local(call.scope, "task-set", text)
    raise service_names.not_found()


def _check_scale(params: Params) -> None:
    value = (params.get("scale") or {}).get("value", 100.0)
    if not 0 <= value <= 100:
        raise invalid_parameter("The scale of a task set must be between 0 and 100 percent.")


def _named(call: Call, params: Params) -> list[str]:
    return [params["service"]]


OPERATIONS: dict[str, Operation] = {
    "CreateTaskSet": Operation(create_task_set, write=False, resources=_named),
    "UpdateTaskSet": Operation(update_task_set, write=False, resources=_named),
    "UpdateServicePrimaryTaskSet": Operation(update_service_primary_task_set, write=False, resources=_named),
    "DeleteTaskSet": Operation(delete_task_set, write=False, resources=_named),
    "DescribeTaskSets": Operation(describe_task_sets, write=False, resources=_named),
}
