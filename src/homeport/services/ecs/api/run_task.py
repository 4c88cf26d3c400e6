"""RunTask."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import (
    capacity,
    capacity_providers,
    clusters,
    definitions,
    launch,
    launch_rules,
    placement_rules,
)
from homeport.services.ecs.api import launching
from homeport.services.ecs.launch import Failure, Launch
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.task import TASKS, TOKEN_SECONDS, TOKENS, RunToken, Task
from homeport.services.ecs.placement import StoreIndex
from homeport.services.ecs.views.task import task_view
from homeport.store import Scope, Tx

MAX_COUNT = 10  # tasks per call
MAX_STARTED_BY = 128  # characters
_TOKEN = re.compile(r"[!-~]{1,64}")


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
    made, refusals = _started(tx, scope, call, wishes)
    failures = tuple(failure.shown() for failure in refusals)
    if token:
        ids = tuple(task.id for task in made)
        expiry = call.now + TOKEN_SECONDS
        tx.put(TOKENS, scope, RunToken(token=token, digest=digest, tasks=ids, failures=failures, wake_at=expiry))
    return {"tasks": [task_view(tx, scope, task) for task in made], "failures": list(failures)}


def _wishes(tx: Tx, call: Call, params: Params, cluster: Cluster, definition: TaskDefinition) -> list[Launch]:
    """One checked wish for each task of the call."""
    scope = Scope(*call.scope)
    count = _count(params)
    launching.check_plain(params, MAX_STARTED_BY)
    launch_type, providers = _launch_type(scope, params, cluster, count)
    fargate = launch_type == "FARGATE"
    if fargate:
        _check_fargate(params)
    else:
        _check_instances(tx, scope, params, cluster, launch_type, by_provider=None not in providers)
    launch_rules.check_definition(definition, launch_type)
    wish = msgspec.structs.replace(
        launching.wish(tx, call, params, cluster, definition, launch_type),
        platform_version=_platform_version(params) if fargate else None,
        constraints=placement_rules.constraints(
            definition.members.get("placementConstraints") or (), params.get("placementConstraints") or ()
        ),
        strategy=placement_rules.strategies(params.get("placementStrategy") or ()),
    )
    return [msgspec.structs.replace(wish, capacity_provider=provider) for provider in providers]


def _started(tx: Tx, scope: Scope, call: Call, wishes: list[Launch]) -> tuple[list[Task], list[Failure]]:
    """Tasks are placed one after the other. Where the instances of a capacity provider, or the cluster's, have no room
    for one they have none for its like, so they are asked no more. Fargate's refusal is one of each task."""
    made: list[Task] = []
    failures: list[Failure] = []
    full: set[str | None] = set()
    refusals: dict[str | None, list[Failure]] = {}
    for wish in wishes:
        provider = wish.capacity_provider
        if provider in refusals:
            failures += refusals[provider] if wish.fargate else ()
            continue
        started = launch.start(tx, scope, wish, call.ids, call.now, full=provider in full)
        if not isinstance(started, Task):
            failures += refusals.setdefault(provider, started)
            continue
        made.append(started)
        if started.instance is None and started.desired_status == "RUNNING":  # it waits for room
            full.add(provider)
    return made, failures


def _count(params: Params) -> int:
    count = params.get("count")
    if count is None:
        return 1
    if not 1 <= count <= MAX_COUNT:
        raise invalid_parameter(f"count must be between 1 and {MAX_COUNT}.")
    return int(count)


def _launch_type(scope: Scope, params: Params, cluster: Cluster, count: int) -> tuple[str, list[str] | list[None]]:
    """The launch type, and the capacity provider of each task (None without a strategy)."""
    given = params.get("capacityProviderStrategy") or []
    if given and params.get("launchType"):
        raise invalid_parameter("Specifying both a launch type and capacity provider strategy is not supported")
    strategy = capacity_providers.named(scope, given)
    if not params.get("launchType"):
        strategy = strategy or cluster.default_strategy
    if not strategy:
        return params.get("launchType") or "EC2", [None] * count
    capacity.check(strategy, cluster.capacity_providers)
    fargate = strategy[0]["capacityProvider"] in capacity.FARGATE_PROVIDERS
    return "FARGATE" if fargate else "EC2", capacity.split(strategy, count)


def _check_fargate(params: Params) -> None:
    for member, what in (("placementConstraints", "constraints"), ("placementStrategy", "strategies")):
        if params.get(member):
            raise invalid_parameter(f"Placement {what} are not supported with FARGATE launch type.")


def _check_instances(
    tx: Tx, scope: Scope, params: Params, cluster: Cluster, launch_type: str, *, by_provider: bool
) -> None:
    """A cluster without container instances of the launch type refuses the call, not each task."""
    if launch_type == "MANAGED_INSTANCES":
        raise AwsError("UnsupportedFeatureException", "Homeport does not support Amazon ECS Managed Instances.")
    if params.get("platformVersion"):
        raise invalid_parameter("The platform version must be null when specifying an EC2 launch type.")
    lots = StoreIndex(tx, scope).lots(cluster.arn)
    if not by_provider and not any(lot.launch_type == launch_type for lot in lots):
        raise invalid_parameter("No Container Instances were found in your cluster.")


def _platform_version(params: Params) -> str:
    launch_rules.check_platform(params.get("platformVersion"))
    return launch_rules.PLATFORM_VERSION


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


OPERATIONS = {"RunTask": Operation(run_task, resources=lambda call, params: [params["taskDefinition"]])}
