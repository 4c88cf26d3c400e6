"""TagResource, UntagResource, ListTagsForResource."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from homeport.aws.operations import Call, Operation, Params
from homeport.core import arn
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import capacity_providers, clusters, definitions, services, tags
from homeport.services.ecs.model.capacity_provider import PROVIDERS
from homeport.services.ecs.model.cluster import CLUSTERS, Cluster
from homeport.services.ecs.model.definition import DEFINITIONS
from homeport.services.ecs.model.instance import INSTANCES, Instance
from homeport.services.ecs.model.service import SERVICES, Service
from homeport.services.ecs.model.task import TASKS
from homeport.services.ecs.model.task_set import TASK_SETS, TaskSet
from homeport.store import Table, Tx, View


class _Kind(NamedTuple):
    """A kind of resource that has tags: its table, and how its record is found by ARN."""

    table: Table[Any]
    find: Callable[[View, tuple[str, str], str], Any]


def _by_last_part(table: Table[Any]) -> Callable[[View, tuple[str, str], str], Any]:
    """For ARNs that end in the record's id."""

    def find(view: View, scope: tuple[str, str], text: str) -> Any:
        record = view.get(table, scope, text.rpartition("/")[2])
        return record if record is not None and record.arn == text else None

    return find


def _active_cluster(view: View, scope: tuple[str, str], text: str) -> Cluster:
    record = clusters.find(view, scope, text)
    if record is None:
        raise clusters.not_found()
    if record.status != "ACTIVE":
        raise invalid_parameter("The specified cluster is inactive. Specify an active cluster and try again.")
    return record


def _registered_instance(view: View, scope: tuple[str, str], text: str) -> Instance | None:
    record: Instance | None = _by_last_part(INSTANCES)(view, scope, text)
    return record if record is not None and record.status != "INACTIVE" else None


def _service(view: View, scope: tuple[str, str], text: str) -> Service | None:
    record = services.by_arn(view, scope, text)
    return record if record is not None and record.status != "INACTIVE" else None


def _task_set(view: View, scope: tuple[str, str], text: str) -> TaskSet | None:
    record = view.get(TASK_SETS, scope, text.rpartition("/")[2])
    service = view.get(SERVICES, scope, record.service) if record is not None else None
    return record if record is not None and service is not None and record.arn(service.arn) == text else None


_KINDS: dict[str, _Kind] = {
    "cluster": _Kind(CLUSTERS, _active_cluster),
    "task-definition": _Kind(DEFINITIONS, definitions.lookup),
    "task": _Kind(TASKS, _by_last_part(TASKS)),
    "container-instance": _Kind(INSTANCES, _registered_instance),
    "capacity-provider": _Kind(PROVIDERS, capacity_providers.find),
    "service": _Kind(SERVICES, _service),
    "task-set": _Kind(TASK_SETS, _task_set),
}
_UNBUILT = ("daemon", "daemon-task-definition", "gateway")  # have tags too, but there are none


def tag_resource(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Merges the tags into those that are there."""
    kind, record = _resource(tx, call, params)
    merged = tags.merge(record.tags, tags.parse(params["tags"]))
    tx.put(kind.table, call.scope, msgspec.structs.replace(record, tags=merged))
    return {}


def untag_resource(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    kind, record = _resource(tx, call, params)
    left = tags.remove(record.tags, params["tagKeys"])
    tx.put(kind.table, call.scope, msgspec.structs.replace(record, tags=left))
    return {}


def list_tags_for_resource(view: View, call: Call, params: Params) -> dict[str, Any]:
    return {"tags": tags.view(_resource(view, call, params)[1].tags)}


def _resource(view: View, call: Call, params: Params) -> tuple[_Kind, Any]:
    """The record that resourceArn names, and its kind. Raises InvalidParameterException for what isn't an ARN of a
    resource with tags, and AWS's error where there is none (any more)."""
    text = params["resourceArn"]
    parsed = arn.parse(text)
    name = parsed.resource.partition("/")[0] if parsed is not None and parsed.service == "ecs" else ""
    kind = _KINDS.get(name)
    if parsed is None or (kind is None and name not in _UNBUILT):
        raise invalid_parameter(f"Invalid resource ARN: {text}")
    if parsed.region != call.region or parsed.partition != arn.partition(call.region):
        raise invalid_parameter("Invalid Region in ARN")
    if name == "service" and parsed.resource.count("/") == 1:
        raise invalid_parameter("Long arn format must be used for tagging operations")
    record = kind.find(view, call.scope, text) if kind is not None and parsed.account == call.account else None
    if kind is None or record is None:
        raise _none(call, name)
    return kind, record


def _none(call: Call, kind: str) -> AwsError:
    if kind == "cluster":
        return clusters.not_found()
    if call.operation == "ListTagsForResource":  # it alone has no error of its own for that
        return invalid_parameter(
            f"The specified {kind.replace('-', ' ')} does not exist. Specify a valid ARN and try again."
        )
    return AwsError("ResourceNotFoundException", "The specified resource is not found.")


def _named(call: Call, params: Params) -> list[str]:
    return [params["resourceArn"]]


OPERATIONS: dict[str, Operation] = {
    "TagResource": Operation(tag_resource, resources=_named),
    "UntagResource": Operation(untag_resource, resources=_named),
    "ListTagsForResource": Operation(list_tags_for_resource, write=False, resources=_named),
}
