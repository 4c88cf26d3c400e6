"""RunTask."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ec2 import eni
from homeport.services.ecs import capacity, clusters, definitions, launch, overrides, tags
from homeport.services.ecs.launch import Failure, Launch, Network
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.instance import INSTANCES
from homeport.services.ecs.model.task import TASKS, TOKEN_SECONDS, TOKENS, RunToken, Task
from homeport.services.ecs.views.task import task_view
from homeport.store import Scope, Tx

MAX_COUNT = 10  # tasks per call
PLATFORM_VERSION = "1.4.0"  # what LATEST stands for
_STARTED_BY = re.compile(r"[A-Za-z0-9/_-]{1,128}")
_TOKEN = re.compile(r"[!-~]{1,64}")
_MAX_GROUP, _MAX_REFERENCE = 255, 1024


def run_task(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Starts up to ten tasks. The same ``clientToken`` within 24 hours answers with the tasks of the first call."""
    scope = Scope(*call.scope)
    token = params.get("clientToken")
    digest = _digest(params) if token else ""
    if token and (known := _known_token(tx, scope, token)) is not None:
        return _again(tx, scope, known, digest)
    cluster = clusters.find_active(tx, scope, params.get("cluster"))
    definition = definitions.find(tx, scope, params["taskDefinition"])
    definitions.require_active(definition)
    wishes = _wishes(tx, call, params, cluster, definition)
    started = [launch.start(tx, scope, wish, call.ids, call.now) for wish in wishes]
    made = [s for s in started if isinstance(s, Task)]
    failures = tuple(_failure(s) for s in started if isinstance(s, Failure))
    if token:
        ids = tuple(task.id for task in made)
        expiry = call.now + TOKEN_SECONDS
        tx.put(TOKENS, scope, RunToken(token=token, digest=digest, tasks=ids, failures=failures, wake_at=expiry))
    return {"tasks": [task_view(tx, scope, task) for task in made], "failures": list(failures)}


def _wishes(tx: Tx, call: Call, params: Params, cluster: Cluster, definition: TaskDefinition) -> list[Launch]:
    """One checked wish for each task of the call."""
    count = _count(params)
    _check_plain(params)
    launch_type, providers = _launch_type(params, cluster, count)
    _check_launch_type(tx, Scope(*call.scope), params, cluster, definition, launch_type)
    wish = Launch(
        cluster=cluster,
        definition=definition,
        launch_type=launch_type,
        group=params.get("group") or f"family:{definition.family}",
        network=_network(tx, call, params, definition),
        platform_version=_platform_version(params),
        started_by=params.get("startedBy") or None,
        reference_id=params.get("referenceId") or None,
        tags=_tags(params, cluster, definition),
        **_sizes(params, definition),
    )
    return [msgspec.structs.replace(wish, capacity_provider=provider) for provider in providers]


def _count(params: Params) -> int:
    count = params.get("count")
    if count is None:
        return 1
    if not 1 <= count <= MAX_COUNT:
        raise invalid_parameter(f"count must be between 1 and {MAX_COUNT}.")
    return int(count)


def _check_plain(params: Params) -> None:
    """Members that need nothing but themselves."""
    group, reference = params.get("group") or "", params.get("referenceId") or ""
    if len(group) > _MAX_GROUP:
        raise invalid_parameter(f"Group must be at most {_MAX_GROUP} characters long.")
    if group.startswith("service:"):
        raise invalid_parameter("Invalid namespace for group. 'service:' is reserved for the tasks of services.")
    if len(reference) > _MAX_REFERENCE:
        raise invalid_parameter(f"referenceId must be at most {_MAX_REFERENCE} characters long.")
    started_by = params.get("startedBy")
    if started_by and not _STARTED_BY.fullmatch(started_by):
        raise invalid_parameter(
            "startedBy must be at most 128 characters long and consist of letters, numbers, hyphens, forward slashes "
            "and underscores."
        )
    if params.get("propagateTags") == "SERVICE":
        raise invalid_parameter("propagateTags SERVICE can only be used with the tasks of services.")
    for member, what in (("enableExecuteCommand", "ECS Exec"), ("volumeConfigurations", "volumes set at launch")):
        if params.get(member):
            raise AwsError("UnsupportedFeatureException", f"Homeport does not support {what} yet.")


def _launch_type(params: Params, cluster: Cluster, count: int) -> tuple[str, list[str | None]]:
    """The launch type, and the capacity provider of each task (None without a strategy)."""
    strategy = params.get("capacityProviderStrategy") or []
    if strategy and params.get("launchType"):
        raise invalid_parameter("Specifying both a launch type and capacity provider strategy is not supported")
    if not params.get("launchType"):
        strategy = strategy or list(cluster.default_strategy)
    if not strategy:
        return params.get("launchType") or "EC2", [None] * count
    capacity.check(strategy, cluster.capacity_providers)
    if any(item["capacityProvider"] not in capacity.FARGATE_PROVIDERS for item in strategy):
        raise AwsError("UnsupportedFeatureException", "Homeport supports only Fargate's capacity providers yet.")
    return "FARGATE", list(capacity.split(strategy, count))


def _check_launch_type(
    tx: Tx, scope: Scope, params: Params, cluster: Cluster, definition: TaskDefinition, launch_type: str
) -> None:
    if launch_type != "FARGATE":
        if params.get("platformVersion"):
            raise invalid_parameter("The platform version must be null when specifying an EC2 launch type.")
        if not tx.count(INSTANCES, scope, "cluster", cluster.arn):
            raise invalid_parameter("No Container Instances were found in your cluster.")
        raise AwsError("UnsupportedFeatureException", f"Homeport does not support the launch type {launch_type} yet.")
    if "FARGATE" not in definition.compatibilities:
        raise invalid_parameter("Task definition does not support launch_type FARGATE.")
    for member, what in (("placementConstraints", "constraints"), ("placementStrategy", "strategies")):
        if params.get(member):
            raise invalid_parameter(f"Placement {what} are not supported with FARGATE launch type.")
    unsupported = definitions.unsupported(definition)
    if unsupported:
        raise AwsError("UnsupportedFeatureException", unsupported)


def _platform_version(params: Params) -> str:
    if (params.get("platformVersion") or "LATEST") not in ("LATEST", PLATFORM_VERSION):
        raise AwsError("PlatformUnknownException", "The specified platform does not exist.")
    return PLATFORM_VERSION


def _network(tx: Tx, call: Call, params: Params, definition: TaskDefinition) -> Network | None:
    wanted = (params.get("networkConfiguration") or {}).get("awsvpcConfiguration")
    if definitions.network_mode(definition) != "awsvpc":
        if wanted is not None:
            raise invalid_parameter(
                "Network Configuration is not valid for the given networkMode of this task definition."
            )
        return None
    if wanted is None:
        raise invalid_parameter("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    subnets, groups = wanted.get("subnets") or [], wanted.get("securityGroups") or []
    _, checked = eni.check(tx, Scope(*call.scope), subnets, groups, call.ids, call.now)
    return Network(tuple(subnets), checked, public=wanted.get("assignPublicIp") == "ENABLED")


def _sizes(params: Params, definition: TaskDefinition) -> dict[str, Any]:
    """The overrides, and the task's size with them."""
    checked = overrides.check(params.get("overrides") or {}, definitions.containers(definition))
    cpu, memory = overrides.size(checked, definitions.task_cpu(definition), definitions.task_memory(definition))
    error = definitions.fargate_size_error(cpu, memory)
    if error:
        raise invalid_parameter(error)
    containers = [overrides.merged(c, checked) for c in definitions.containers(definition)]
    error = overrides.misfit(containers, cpu, memory)
    if error:
        raise invalid_parameter(error)
    return {"overrides": checked, "cpu": cpu, "memory": memory}


def _tags(params: Params, cluster: Cluster, definition: TaskDefinition) -> dict[str, str]:
    own = tags.parse(params.get("tags"))
    inherited = definition.tags if params.get("propagateTags") == "TASK_DEFINITION" else {}
    merged = tags.merge(inherited, own)
    return {**merged, "aws:ecs:clusterName": cluster.name} if params.get("enableECSManagedTags") else merged


def _digest(params: Params) -> str:
    rest = {member: value for member, value in params.items() if member != "clientToken"}
    return hashlib.sha256(msgspec.json.encode(rest, order="deterministic")).hexdigest()


def _known_token(tx: Tx, scope: Scope, token: str) -> RunToken | None:
    if not _TOKEN.fullmatch(token):
        raise invalid_parameter("clientToken must be at most 64 printable ASCII characters long.")
    known = tx.get(TOKENS, scope, token)
    return known if known is not None and known.wake_at > tx.now else None


def _again(tx: Tx, scope: Scope, known: RunToken, digest: str) -> dict[str, Any]:
    tasks = [task for id in known.tasks if (task := tx.get(TASKS, scope, id)) is not None]
    if known.digest != digest:
        raise AwsError(
            "ConflictException",
            "The clientToken was used before with other parameters.",
            resourceIds=[task.arn for task in tasks],
        )
    return {"tasks": [task_view(tx, scope, task) for task in tasks], "failures": list(known.failures)}


def _failure(failure: Failure) -> dict[str, str]:
    return {"reason": failure.reason} | ({"detail": failure.detail} if failure.detail else {})


OPERATIONS = {"RunTask": Operation(run_task, resources=lambda call, params: [params["taskDefinition"]])}
