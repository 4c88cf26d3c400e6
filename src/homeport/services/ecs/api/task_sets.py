"""CreateTaskSet, UpdateTaskSet, UpdateServicePrimaryTaskSet, DeleteTaskSet, DescribeTaskSets: of services whose
deployment controller is EXTERNAL."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec.structs import replace

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import clusters, names, service_configuration, service_names, service_rules, services, tags
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.service import SERVICES, Service, part_arn
from homeport.services.ecs.model.task_set import TASK_SETS, TaskSet
from homeport.services.ecs.scheduling import task_sets
from homeport.services.ecs.views import task_set as views
from homeport.store import Scope, Tx, View

MAX_SETS = 5  # of a service: a quota (inferred)
MAX_CLIENT_TOKEN = 36  # characters
_PREFIX = "ecs-svc/"


def create_task_set(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Makes an ACTIVE task set. The same ``clientToken`` once more gives the one that is there."""
    scope = Scope(*call.scope)
    scale = _scale(params)
    given_tags = tags.parse(params.get("tags"))
    if len(params.get("clientToken") or "") > MAX_CLIENT_TOKEN:
        raise invalid_parameter(f"clientToken must be at most {MAX_CLIENT_TOKEN} characters long.")
    cluster, service = _service(tx, scope, params)
    there = tx.find(TASK_SETS, scope, "service", service.id)
    digest = _digest(params)
    if (known := _known(there, params.get("clientToken"), digest)) is not None:
        return {"taskSet": views.task_set(tx, scope, service, known, with_tags=True)}
    configuration = service_configuration.new(tx, call, params, cluster)
    fields = {"constraints": service.constraints, "strategy": service.strategy}
    service_rules.check_whole(tx, scope, params, fields, configuration)
    service_rules.check_supported(params)
    if len(there) >= MAX_SETS:
        raise AwsError("LimitExceededException", f"A service can have at most {MAX_SETS} task sets.")
    made = TaskSet(
        id=call.ids.new("number"),
        service=service.id,
        number=tx.version,
        configuration=configuration,
        created_at=call.now,
        updated_at=call.now,
        scale=scale,
        stability_at=call.now,
        external_id=params.get("externalId"),
        tags=given_tags,
        token=params.get("clientToken"),
        digest=digest,
    )
    tx.put(TASK_SETS, scope, made)
    return {"taskSet": views.task_set(tx, scope, service, made, with_tags=True)}


def update_task_set(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Changes the scale, and nothing else."""
    scope, scale = Scope(*call.scope), _scale(params)
    _, service = _service(tx, scope, params)
    record = _usable(_find(tx, scope, service, params["taskSet"]))
    changed = replace(record, scale=scale, updated_at=call.now)
    if task_sets.computed(service.desired, scale) != record.computed:
        changed = replace(changed, stability="STABILIZING", stability_at=call.now)
    tx.put(TASK_SETS, scope, changed)
    return {"taskSet": views.task_set(tx, scope, service, changed)}


def update_service_primary_task_set(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """What the set runs is what the service shows from now on; the set that was PRIMARY is ACTIVE."""
    scope = Scope(*call.scope)
    _, service = _service(tx, scope, params)
    record = _usable(_find(tx, scope, service, params["primaryTaskSet"]))
    if record.status != "PRIMARY":
        for other in tx.find(TASK_SETS, scope, "service", service.id):
            if other.status == "PRIMARY":
                tx.put(TASK_SETS, scope, replace(other, status="ACTIVE", updated_at=call.now))
        record = replace(record, status="PRIMARY", updated_at=call.now)
        tx.put(TASK_SETS, scope, record)
        service = replace(service, configuration=record.configuration)
        tx.put(SERVICES, scope, service)
    return {"taskSet": views.task_set(tx, scope, service, record)}


def delete_task_set(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """The set is DRAINING until its tasks have ended. A service whose PRIMARY set goes has none (inferred)."""
    scope = Scope(*call.scope)
    _, service = _service(tx, scope, params)
    record = _find(tx, scope, service, params["taskSet"])
    if record.status != "DRAINING":
        if not params.get("force") and task_sets.computed(service.desired, record.scale) > 0:
            raise invalid_parameter("The task set cannot be deleted while it is scaled above 0.")
        if record.status == "PRIMARY":
            service = replace(service, configuration=None)
            tx.put(SERVICES, scope, service)
        record = replace(record, status="DRAINING", stability="STABILIZING", stability_at=call.now, updated_at=call.now)
        tx.put(TASK_SETS, scope, record)
    return {"taskSet": views.task_set(tx, scope, service, record)}


def describe_task_sets(view: View, call: Call, params: Params) -> dict[str, Any]:
    """Those that are named, or all of the service's."""
    scope = Scope(*call.scope)
    cluster = clusters.find_active(view, scope, params["cluster"])
    service = services.find(view, scope, cluster, params["service"])
    if service is None:
        raise service_names.not_found()
    if service.status == "INACTIVE":
        raise AwsError("ServiceNotActiveException", "Service was not ACTIVE.")
    _check_controller(service)
    with_tags = "TAGS" in (params.get("include") or ())
    if not params.get("taskSets"):
        return {"taskSets": views.of_service(view, scope, service, with_tags=with_tags), "failures": []}
    found: dict[str, TaskSet] = {}
    missing: list[str] = []
    for text in dict.fromkeys(params["taskSets"]):
        record = _named_set(view, scope, service, text)
        if record is None:
            missing.append(text if text.startswith("arn:") else part_arn(service.arn, "task-set", text))
        else:
            found[record.id] = record
    return {
        "taskSets": [views.task_set(view, scope, service, s, with_tags=with_tags) for s in found.values()],
        "failures": service_names.missing(missing),
    }


def _service(view: View, scope: Scope, params: Params) -> tuple[Cluster, Service]:
    cluster = clusters.find_active(view, scope, params["cluster"])
    service = services.find_active(view, scope, cluster, params["service"])
    _check_controller(service)
    return cluster, service


def _check_controller(service: Service) -> None:
    if service.controller != "EXTERNAL":
        raise invalid_parameter("Task sets are only supported for services with an EXTERNAL deployment controller.")


def _find(view: View, scope: Scope, service: Service, text: str) -> TaskSet:
    """Raises TaskSetNotFoundException."""
    record = _named_set(view, scope, service, text)
    if record is None:
        raise AwsError("TaskSetNotFoundException", "The specified task set was not found.")
    return record


def _named_set(view: View, scope: Scope, service: Service, text: str) -> TaskSet | None:
    """The service's task set that a caller means by id or ARN. Raises InvalidParameterException for another ARN."""
    name = names.local(scope, "task-set", text) or ""
    if text.startswith("arn:"):
        owner, _, name = name.partition(f"/{_PREFIX}")
        if owner != service.id:
            return None
    record = view.get(TASK_SETS, scope, name.removeprefix(_PREFIX))
    return record if record is not None and record.service == service.id else None


def _usable(record: TaskSet) -> TaskSet:
    if record.status == "DRAINING":
        raise invalid_parameter("The task set is DRAINING.")
    return record


def _scale(params: Params) -> float:
    value = float((params.get("scale") or {}).get("value", 100.0))
    if not 0 <= value <= 100:
        raise invalid_parameter("The scale of a task set must be between 0 and 100 percent.")
    return value


def _known(there: list[TaskSet], token: str | None, digest: str) -> TaskSet | None:
    """The set that was made with this token. Raises InvalidParameterException where it was made of something else."""
    known = next((s for s in there if token and s.token == token), None)
    if known is not None and known.digest != digest:
        raise invalid_parameter("Creation of task set was not idempotent.")
    return known


def _digest(params: Params) -> str:
    rest = {member: value for member, value in params.items() if member not in ("clientToken", "cluster", "service")}
    return hashlib.sha256(msgspec.json.encode(rest, order="deterministic")).hexdigest()


def _named(call: Call, params: Params) -> list[str]:
    return [params["service"]]


OPERATIONS: dict[str, Operation] = {
    "CreateTaskSet": Operation(create_task_set, resources=_named),
    "UpdateTaskSet": Operation(update_task_set, resources=_named),
    "UpdateServicePrimaryTaskSet": Operation(update_service_primary_task_set, resources=_named),
    "DeleteTaskSet": Operation(delete_task_set, resources=_named),
    "DescribeTaskSets": Operation(describe_task_sets, write=False, resources=_named),
}
