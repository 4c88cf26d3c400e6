"""DeregisterContainerInstance, UpdateContainerInstancesState and UpdateContainerAgent."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import AwsError, access_denied, invalid_parameter
from homeport.services.ecs import clusters, instances, rooms
from homeport.services.ecs.model.instance import INSTANCES, ROOMS, Instance, InstanceStatus
from homeport.services.ecs.views.instance import instance_view
from homeport.store import Scope, Tx, View

MAX_UPDATED = 10  # instances of one UpdateContainerInstancesState
_SETTABLE: dict[str, InstanceStatus] = {"ACTIVE": "ACTIVE", "DRAINING": "DRAINING"}


def deregister_container_instance(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """The instance becomes INACTIVE, and its agent's connections are closed. Without ``force`` nothing may run
    there."""
    scope = Scope(*call.scope)
    cluster = clusters.find_active(tx, scope, params.get("cluster"))
    instance = instances.find_registered(tx, scope, cluster, params["containerInstance"])
    if not params.get("force") and rooms.tasks(tx, instance):
        raise invalid_parameter("Found running tasks on the instance.")
    return {"containerInstance": instance_view(tx, scope, instances.deregister(tx, scope, instance))}


def update_container_instances_state(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """DRAINING takes no more tasks; ACTIVE does again. What runs on a draining instance goes on, but for tasks of
    services: replacing those is their scheduler's, which watches the instances' status."""
    scope = Scope(*call.scope)
    cluster = clusters.find_active(tx, scope, params.get("cluster"))
    status = _SETTABLE.get(params["status"])
    if status is None:
        raise invalid_parameter("Container instances can only be set to ACTIVE or DRAINING.")
    wanted = list(dict.fromkeys(params["containerInstances"]))
    if not wanted:
        raise invalid_parameter("Container instances cannot be empty.")
    if len(wanted) > MAX_UPDATED:
        raise invalid_parameter(f"containerInstances can have at most {MAX_UPDATED} items.")
    changed: dict[str, Instance] = {}
    failures = []
    for text in wanted:
        instance = instances.find(tx, scope, cluster, text)
        _require_own(call, scope, instance)
        if instance is None or instance.status not in _SETTABLE:
            reason = "MISSING" if instance is None else instance.status
            failures.append({"arn": instances.arn_of(cluster, text), "reason": reason})
        else:
            changed[instance.id] = _set(tx, scope, instance, status)
    return {
        "containerInstances": [instance_view(tx, scope, instance) for instance in changed.values()],
        "failures": failures,
    }


def _require_own(call: Call, scope: Scope, instance: Instance | None) -> None:
    """A node drains itself, when its machine is about to go, and no other. Raises AccessDeniedException."""
    if call.principal.node is None or (instance is not None and rooms.owns(call.principal, instance, scope)):
        return
    what = instance.arn if instance else "named"
    raise access_denied(f"The container instance {what} is not one of {call.principal.arn}.")


def _set(tx: Tx, scope: Scope, instance: Instance, status: InstanceStatus) -> Instance:
    if instance.status == status:
        return instance
    after = replace(instance, status=status, version=instance.version + 1)
    tx.put(INSTANCES, scope, after)
    tx.put(ROOMS, scope, rooms.of(tx, scope, after, tx.get(ROOMS, scope, after.id)))
    return after


def update_container_agent(view: View, call: Call, params: Params) -> dict[str, Any]:
    """There is never an update: agents are of Homeport's own version, or Amazon's, which its packages update."""
    cluster = clusters.find_active(view, call.scope, params.get("cluster"))
    instance = instances.find_registered(view, call.scope, cluster, params["containerInstance"])
    if not instance.version_info.get("agentVersion"):
        raise AwsError(
            "MissingVersionException",
            "The current version of the container agent on the container instance can't be determined.",
        )
    raise AwsError("NoUpdateAvailableException", "There is no update available for your container agent.")


def _named(call: Call, params: Params) -> list[str]:
    return [params["containerInstance"]]


OPERATIONS = {
    "DeregisterContainerInstance": Operation(deregister_container_instance, resources=_named),
    "UpdateContainerInstancesState": Operation(
        update_container_instances_state, resources=lambda call, params: list(params["containerInstances"])
    ),
    "UpdateContainerAgent": Operation(update_container_agent, write=False, resources=_named),
}
