"""What RunTask and StartTask have in common: the members that say what the tasks are, checked."""

from __future__ import annotations

import re
from typing import Any

from homeport.aws.operations import Call, Params
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import definitions, launch_rules, overrides, tags
from homeport.services.ecs.launch import Launch
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.store import Tx

_STARTED_BY = re.compile(r"[A-Za-z0-9/_-]+")
_MAX_GROUP, _MAX_REFERENCE = 255, 1024


def check_plain(params: Params, longest_started_by: int) -> None:
    """Members that need nothing but themselves."""
    group, reference = params.get("group") or "", params.get("referenceId") or ""
    if len(group) > _MAX_GROUP:
        raise invalid_parameter(f"Group must be at most {_MAX_GROUP} characters long.")
    if group.startswith("service:"):
        raise invalid_parameter("Invalid namespace for group. 'service:' is reserved for the tasks of services.")
    if len(reference) > _MAX_REFERENCE:
        raise invalid_parameter(f"referenceId must be at most {_MAX_REFERENCE} characters long.")
    started_by = params.get("startedBy")
    if started_by and (len(started_by) > longest_started_by or not _STARTED_BY.fullmatch(started_by)):
        raise invalid_parameter(
            f"startedBy must be at most {longest_started_by} characters long and consist of letters, numbers, "
            "hyphens, forward slashes and underscores."
        )
    if params.get("propagateTags") == "SERVICE":
        raise invalid_parameter("propagateTags SERVICE can only be used with the tasks of services.")
    for member, what in (("enableExecuteCommand", "ECS Exec"), ("volumeConfigurations", "volumes set at launch")):
        if params.get(member):
            raise AwsError("UnsupportedFeatureException", f"Homeport does not support {what} yet.")


def wish(tx: Tx, call: Call, params: Params, cluster: Cluster, definition: TaskDefinition, launch_type: str) -> Launch:
    """The tasks that the call asks for, but for where they are to run. Raises AwsError."""
    return Launch(
        cluster=cluster,
        definition=definition,
        launch_type=launch_type,
        group=params.get("group") or f"family:{definition.family}",
        network=launch_rules.network(tx, call, params, definition, launch_type),
        started_by=params.get("startedBy") or None,
        reference_id=params.get("referenceId") or None,
        tags=_tags(params, cluster, definition),
        **_sizes(params, definition, launch_type),
    )


def _sizes(params: Params, definition: TaskDefinition, launch_type: str) -> dict[str, Any]:
    """The overrides, and the task's size with them: its own, or what its containers reserve together."""
    checked = overrides.check(params.get("overrides") or {}, definitions.containers(definition))
    cpu, memory = overrides.size(checked, definitions.task_cpu(definition), definitions.task_memory(definition))
    if launch_type == "FARGATE":
        error = definitions.fargate_size_error(cpu, memory)
        if error:
            raise invalid_parameter(error)
    elif "ephemeralStorage" in checked:
        raise invalid_parameter("Overriding ephemeralStorage is only supported for tasks on Fargate.")
    containers = [overrides.merged(c, checked) for c in definitions.containers(definition)]
    error = overrides.misfit(containers, cpu, memory)
    if error:
        raise invalid_parameter(error)
    reserved_cpu, reserved_memory = overrides.reserved(definitions.containers(definition), checked)
    return {"overrides": checked, "cpu": cpu or reserved_cpu, "memory": memory or reserved_memory}


def _tags(params: Params, cluster: Cluster, definition: TaskDefinition) -> dict[str, str]:
    own = tags.parse(params.get("tags"))
    inherited = definition.tags if params.get("propagateTags") == "TASK_DEFINITION" else {}
    merged = tags.merge(inherited, own)
    return {**merged, "aws:ecs:clusterName": cluster.name} if params.get("enableECSManagedTags") else merged
