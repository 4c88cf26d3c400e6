"""RegisterContainerInstance: Amazon's agent, and Fargate's nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from homeport.agentapi import FARGATE_ATTRIBUTE
from homeport.aws.operations import Call, Operation, Params
from homeport.core import arn
from homeport.core.errors import access_denied, client_error, invalid_parameter
from homeport.services.ecs import clusters, effects, lifecycle, rooms, tags
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.instance import INSTANCES, POOL, ROOMS, Instance
from homeport.services.ecs.model.task import TASKS, NodeStatus
from homeport.services.ecs.views.instance import instance_view
from homeport.store import Scope, Tx

MAX_ATTRIBUTES = 200  # Amazon's agent sends about fifty
MAX_TEXT = 255  # characters of a name or value


def register_container_instance(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Registers an instance, or again after its agent's restart: by its ARN or its node's key it keeps its ARN.

    With the attribute ``homeport.fargate`` a node's key joins the Fargate pool, in no cluster. Attributes are answered
    exactly as they were sent: Amazon's agent stops for good where one is missing.
    """
    attributes = _attributes(params.get("attributes") or ())
    names = {a["name"] for a in attributes}
    fargate = FARGATE_ATTRIBUTE in names
    if fargate and call.principal.node is None:
        raise access_denied("Only a node's own key can join the Fargate pool.")
    cluster = None if fargate else clusters.find_active(tx, call.scope, params.get("cluster"))
    scope = POOL if fargate else Scope(*call.scope)
    known = _known(tx, call, params.get("containerInstanceArn"), scope, cluster)
    changes: dict[str, Any] = {
        "attributes": attributes,
        "resources": _resources(params.get("totalResources") or ()),
        "version_info": dict(params.get("versionInfo") or {}),
        "status": "ACTIVE",
    }
    if known is not None:
        instance = replace(known, version=known.version + 1, **changes)
        if not params.get("containerInstanceArn"):
            _stop_forgotten(tx, known.arn)
    else:
        instance = _fresh(call, cluster, tags.parse(params.get("tags")), changes)
    room = rooms.of(tx, scope, instance, tx.get(ROOMS, scope, instance.id))
    tx.put(INSTANCES, scope, instance)
    tx.put(ROOMS, scope, room)
    return {"containerInstance": instance_view(instance, room)}


def _fresh(call: Call, cluster: Cluster | None, tags: dict[str, str], fields: dict[str, Any]) -> Instance:
    id = call.ids.new("hex")
    if cluster is None:
        instance_arn = rooms.fargate_arn(call.scope, id)
    else:
        instance_arn = arn.arn("ecs", call.region, call.account, f"container-instance/{cluster.name}/{id}")
    return Instance(
        id=id,
        arn=instance_arn,
        cluster_arn=cluster.arn if cluster else "",
        node=call.principal.node,
        registered_at=call.now,
        silent_since=call.now,
        tags=tags,
        **fields,
    )


def _known(tx: Tx, call: Call, text: str | None, scope: Scope, cluster: Cluster | None) -> Instance | None:
    """The record of an instance that registers again."""
    wanted = cluster.arn if cluster else ""
    if text:
        found = rooms.instance(tx, text)
        if found is not None:
            if not rooms.owns(call.principal, found[1], found[0]):
                raise access_denied(f"The container instance {text} is not one of {call.principal.arn}.")
            if found[1].cluster_arn != wanted:
                raise client_error("Cluster not found. Container instance cluster changes are not supported.")
            return found[1]
        if call.principal.node is None:
            raise client_error("The referenced container instance was not found.")
    if call.principal.node is None:
        return None
    mine = (i for s, i in tx.find_global(INSTANCES, "node", call.principal.node) if s == scope)
    return next((i for i in mine if i.cluster_arn == wanted and i.status == "ACTIVE"), None)


def _stop_forgotten(tx: Tx, instance_arn: str) -> None:
    """A node that doesn't know which instance it is has lost its state, and removed what ran there. The tasks that it
    had taken over end as soon as it confirms that they aren't there; those that it was never sent are still to come."""
    for scope, task in tx.find_global(TASKS, "instance", instance_arn):
        if task.node_status != NodeStatus.NONE:
            stopped = lifecycle.request_stop(task, "InfrastructureHealth", lifecycle.FORGOTTEN_REASON, tx.now)
            effects.save(tx, scope, task, stopped)


def _attributes(sent: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    if len(sent) > MAX_ATTRIBUTES:
        raise invalid_parameter(f"A container instance can register at most {MAX_ATTRIBUTES} attributes.")
    if any(not a["name"] or max(len(a["name"]), len(a.get("value") or "")) > MAX_TEXT for a in sent):
        raise invalid_parameter(f"Attribute names and values must be at most {MAX_TEXT} characters long.")
    return tuple(dict(a) for a in sent)


def _resources(sent: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    for resource in sent:
        if not resource.get("name"):
            raise invalid_parameter("A resource must have a name.")
        if resource["name"] in ("CPU", "MEMORY") and (resource.get("integerValue") or 0) <= 0:
            raise invalid_parameter(f"The resource {resource['name']} must be a positive integer.")
    if not {"CPU", "MEMORY"} <= {r["name"] for r in sent}:
        raise invalid_parameter("A container instance must register the resources CPU and MEMORY.")
    return tuple(dict(r) for r in sent)


OPERATIONS = {"RegisterContainerInstance": Operation(register_container_instance)}
