"""RegisterContainerInstance: Amazon's agent, our own, and Fargate's nodes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from homeport.agentapi import FARGATE_ATTRIBUTE, HASH_PREFIX
from homeport.aws.operations import Call, Operation, Params
from homeport.core import arn
from homeport.core.errors import access_denied, client_error, invalid_parameter
from homeport.services.ecs import attributes, capacity_providers, clusters, effects, identity, lifecycle, rooms, tags
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.instance import INSTANCES, POOL, ROOMS, Instance
from homeport.services.ecs.model.task import TASKS, NodeStatus
from homeport.services.ecs.views.instance import instance_view
from homeport.store import Scope, Tx

TYPE_ATTRIBUTE = "ecs.instance-type"
GROUP_ATTRIBUTE = "homeport.auto-scaling-group"
MAX_RESOURCES = 50  # Amazon's agent sends five
_TOKEN = re.compile(r"[!-~]{1,64}")


def register_container_instance(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Registers an instance, or again after its agent's restart: by its ARN, its node's key or the clientToken of its
    registration it keeps its ARN, its status, what was put on it and what runs there. One that was deregistered
    becomes a new instance.

    With the attribute ``homeport.fargate`` a node's key joins the Fargate pool, in no cluster. Attributes are answered
    exactly as they were sent: Amazon's agent stops for good where one is missing.
    """
    own, custom = attributes.registered(params.get("attributes") or ())
    fargate = any(a["name"] == FARGATE_ATTRIBUTE for a in own)
    if fargate and call.principal.node is None:
        raise access_denied("Only a node's own key can join the Fargate pool.")
    cluster = None if fargate else clusters.find_active(tx, call.scope, params.get("cluster"))
    allowed = call.principal.cluster
    if allowed is not None and allowed != (cluster.arn if cluster else ""):
        raise access_denied(f"{call.principal.arn} may join only {allowed or 'the Fargate pool'}.")
    scope = POOL if fargate else Scope(*call.scope)
    token, tagged = _token(params), tags.parse(params.get("tags"))
    known = _known(tx, call, params.get("containerInstanceArn"), token, scope, cluster)
    told = identity.read(params.get("instanceIdentityDocument"))
    changes: dict[str, Any] = {
        "attributes": _with_identity(own, told),
        "resources": _resources(params.get("totalResources") or (), params.get("platformDevices") or ()),
        "version_info": dict(params.get("versionInfo") or {}),
        "launch_type": _launch_type(own, cluster),
        "token": token,
    }
    if known is not None:
        instance = _again(known, told, custom, changes)
        if not params.get("containerInstanceArn") and not _repeats(known, token, changes["version_info"]):
            _stop_forgotten(tx, known.arn)
    else:
        instance = _fresh(call, cluster, told, {"custom": custom, "tags": tagged, **changes})
    group = instance.attribute(GROUP_ATTRIBUTE) or None
    instance = replace(instance, auto_scaling_group=group)
    tx.put(INSTANCES, scope, instance)
    room = rooms.of(tx, scope, instance, tx.get(ROOMS, scope, instance.id))
    tx.put(ROOMS, scope, replace(room, provider=capacity_providers.of_instance(tx, scope, instance)))
    return {"containerInstance": instance_view(tx, scope, instance)}


def _fresh(call: Call, cluster: Cluster | None, told: identity.Identity, fields: dict[str, Any]) -> Instance:
    id = call.ids.new("hex")
    if cluster is None:
        instance_arn = rooms.fargate_arn(call.scope, id)
    else:
        instance_arn = arn.arn("ecs", call.region, call.account, f"container-instance/{cluster.name}/{id}")
        fields["ec2_instance_id"] = told.instance_id or _drawn_id(call, fields["launch_type"])
    return Instance(
        id=id,
        arn=instance_arn,
        cluster_arn=cluster.arn if cluster else "",
        node=call.principal.node,
        registered_at=call.now,
        silent_since=call.now,
        **fields,
    )


def _drawn_id(call: Call, launch_type: str) -> str:
    """The id of a machine that EC2 doesn't know, in the form of those that it does."""
    return ("mi-" if launch_type == "EXTERNAL" else "i-") + call.ids.new("hex")[:17]


def _again(known: Instance, told: identity.Identity, custom: dict[str, str], changes: dict[str, Any]) -> Instance:
    """The known instance as it registers now. Raises ClientException where it can't be the same machine."""
    after = replace(known, **changes)
    types = known.attribute(TYPE_ATTRIBUTE), after.attribute(TYPE_ATTRIBUTE)
    if known.launch_type != after.launch_type or (None not in types and types[0] != types[1]):
        raise client_error("Container instance type changes are not supported.")
    if told.instance_id is not None:
        after = replace(after, ec2_instance_id=told.instance_id)
    merged = {**known.custom, **custom}
    if len(merged) > attributes.MAX_CUSTOM:
        raise invalid_parameter(f"A container instance can have at most {attributes.MAX_CUSTOM} custom attributes.")
    return replace(after, custom=merged, version=known.version + 1)


def _known(
    tx: Tx, call: Call, text: str | None, token: str | None, scope: Scope, cluster: Cluster | None
) -> Instance | None:
    """The record of an instance that registers again."""
    wanted = cluster.arn if cluster else ""
    if text:
        found = rooms.instance(tx, text)
        if found is None and call.principal.node is None:
            raise client_error("The referenced container instance was not found.")
        if found is not None and found[1].status != "INACTIVE":
            if not rooms.owns(call.principal, found[1], found[0]):
                raise access_denied(f"The container instance {text} is not one of {call.principal.arn}.")
            if found[1].cluster_arn != wanted:
                raise client_error("Cluster not found. Container instance cluster changes are not supported.")
            return found[1]
    mine: list[Instance] = []
    if call.principal.node is not None:
        mine = [i for s, i in tx.find_global(INSTANCES, "node", call.principal.node) if s == scope]
    elif token is not None:
        mine = [i for i in tx.find(INSTANCES, scope, "token", token) if i.node is None]
    return next((i for i in mine if i.cluster_arn == wanted and i.status != "INACTIVE"), None)


def _repeats(known: Instance, token: str | None, version_info: Mapping[str, str]) -> bool:
    """Whether an agent that doesn't say which instance it is just hasn't heard of its registration, or its call comes
    late: it has that registration's token, or, being one of ours, the id of the state folder that it registered with.
    """
    agent_hash = version_info.get("agentHash", "")
    ours = agent_hash.startswith(HASH_PREFIX) and agent_hash == known.version_info.get("agentHash")
    return ours or (token is not None and token == known.token)


def _stop_forgotten(tx: Tx, instance_arn: str) -> None:
    """A node that doesn't know which instance it is has lost its state, and removed what ran there. The tasks that it
    had taken over end as soon as it confirms that they aren't there; those that it was never sent are still to come."""
    for scope, task in tx.find_global(TASKS, "instance", instance_arn):
        if task.node_status != NodeStatus.NONE:
            stopped = lifecycle.request_stop(task, "InfrastructureHealth", lifecycle.FORGOTTEN_REASON, tx.now)
            effects.save(tx, scope, task, stopped)


def _token(params: Params) -> str | None:
    """A member of Amazon's agent alone; the public model doesn't name it."""
    token = params.get("clientToken") or None
    if token is not None and not _TOKEN.fullmatch(token):
        raise invalid_parameter("clientToken must be at most 64 printable ASCII characters long.")
    return token


def _launch_type(sent: Sequence[Mapping[str, Any]], cluster: Cluster | None) -> str:
    if cluster is None:
        return "FARGATE"
    return "EXTERNAL" if any(a["name"] == rooms.EXTERNAL_ATTRIBUTE for a in sent) else "EC2"


def _with_identity(sent: tuple[dict[str, Any], ...], told: identity.Identity) -> tuple[dict[str, Any], ...]:
    """The built-in attributes: what the agent says itself comes before what its identity document says."""
    names = {a["name"] for a in sent}
    return (*sent, *({"name": name, "value": value} for name, value in told.attributes if name not in names))


def _resources(sent: Sequence[dict[str, Any]], devices: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    if len(sent) > MAX_RESOURCES:
        raise invalid_parameter(f"A container instance can register at most {MAX_RESOURCES} resources.")
    names = [resource.get("name") for resource in sent]
    for resource in sent:
        if not resource.get("name"):
            raise invalid_parameter("A resource must have a name.")
        if resource["name"] in ("CPU", "MEMORY") and (resource.get("integerValue") or 0) <= 0:
            raise invalid_parameter(f"The resource {resource['name']} must be a positive integer.")
        if resource["name"] in ("PORTS", "PORTS_UDP") and not _are_ports(resource.get("stringSetValue") or ()):
            raise invalid_parameter(f"The resource {resource['name']} must be a set of port numbers.")
    if len(set(names)) != len(names):
        raise invalid_parameter("The resources of a container instance must have different names.")
    if not {"CPU", "MEMORY"} <= set(names):
        raise invalid_parameter("A container instance must register the resources CPU and MEMORY.")
    gpus = [device["id"] for device in devices if device["type"] == "GPU"]
    more = [{"name": "GPU", "type": "STRINGSET", "stringSetValue": gpus}] if gpus and "GPU" not in names else []
    return (*(dict(r) for r in sent), *more)


def _are_ports(texts: Sequence[str]) -> bool:
    return all(t.isascii() and t.isdigit() and len(t) <= 5 and 0 < int(t) < 65536 for t in texts)


OPERATIONS = {"RegisterContainerInstance": Operation(register_container_instance)}
