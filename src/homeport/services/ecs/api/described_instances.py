"""DescribeContainerInstances and ListContainerInstances."""

from __future__ import annotations

from typing import Any

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import invalid_parameter
from homeport.services.ecs import clusters, expressions, instances, pages, rooms
from homeport.services.ecs.views.instance import instance_view
from homeport.store import Scope, View

MAX_DESCRIBED = 100  # instances of one DescribeContainerInstances


def describe_container_instances(view: View, call: Call, params: Params) -> dict[str, Any]:
    """Deregistered instances are found too, until they are forgotten."""
    scope = Scope(*call.scope)
    cluster = clusters.find_active(view, scope, params.get("cluster"))
    wanted = list(dict.fromkeys(params["containerInstances"]))
    if not wanted:
        raise invalid_parameter("Container instances cannot be empty.")
    if len(wanted) > MAX_DESCRIBED:
        raise invalid_parameter(f"containerInstances can have at most {MAX_DESCRIBED} items.")
    found = {text: instances.find(view, scope, cluster, text) for text in wanted}
    distinct = {instance.id: instance for instance in found.values() if instance is not None}
    missing = [text for text, instance in found.items() if instance is None]
    include = params.get("include") or ()
    return {
        "containerInstances": [instance_view(view, scope, instance, include) for instance in distinct.values()],
        "failures": [{"arn": instances.arn_of(cluster, text), "reason": "MISSING"} for text in missing],
    }


def list_container_instances(view: View, call: Call, params: Params) -> dict[str, Any]:
    """By id. ``filter`` is an expression of the cluster query language."""
    scope = Scope(*call.scope)
    cluster = clusters.find_active(view, scope, params.get("cluster"))
    expression = expressions.parse(params["filter"]) if params.get("filter") else None
    selected = (
        instance
        for instance in instances.of_cluster(view, scope, cluster, params.get("status"))
        if expression is None or expression.matches(rooms.subject(view, scope, instance))
    )
    return pages.listed(call, params, "containerInstanceArns", selected, key=lambda i: i.id, answer=lambda i: i.arn)


OPERATIONS = {
    "DescribeContainerInstances": Operation(
        describe_container_instances, write=False, resources=lambda call, params: list(params["containerInstances"])
    ),
    "ListContainerInstances": Operation(list_container_instances, write=False),
}
