"""RegisterTaskDefinition, DescribeTaskDefinition, ListTaskDefinitions, ListTaskDefinitionFamilies,
DeregisterTaskDefinition, DeleteTaskDefinitions."""

from __future__ import annotations

from typing import Any

import msgspec

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import AwsError, client_error, invalid_parameter
from homeport.services.ecs import definitions, deletion, names, pages, tags
from homeport.services.ecs.model.definition import (
    DEFINITIONS,
    FAMILIES,
    MAX_REVISIONS,
    Family,
    TaskDefinition,
)
from homeport.services.ecs.registration import compatibility
from homeport.services.ecs.registration.register import prepared
from homeport.services.ecs.views import definition as views
from homeport.store import Scope, Tx, View

MAX_DELETED = 10  # task definitions per DeleteTaskDefinitions
_UNKNOWN = "The specified task definition does not exist. Specify a valid account, family, revision and try again."
_ACTIVE = "The specified task definition is still in ACTIVE status. Please deregister the target and try again."


def register_task_definition(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    members = prepared({member: value for member, value in params.items() if member != "tags"})
    name = members["family"]
    family = tx.get(FAMILIES, call.scope, name) or Family(name=name, highest_revision=0, newest_active=None)
    if family.highest_revision >= MAX_REVISIONS:
        raise AwsError("LimitExceededException", f"A family can have at most {MAX_REVISIONS} revisions.")
    revision = family.highest_revision + 1
    record = TaskDefinition(
        family=name,
        revision=revision,
        arn=definitions.arn_of(call.scope, f"{name}:{revision}"),
        status="ACTIVE",
        members=members,
        requires_attributes=compatibility.required_attributes(members),
        compatibilities=compatibility.compatibilities(members),
        registered_at=call.now,
        registered_by=call.principal.arn,
        tags=tags.parse(params.get("tags")),
    )
    tx.put(DEFINITIONS, call.scope, record)
    tx.put(
        FAMILIES,
        call.scope,
        msgspec.structs.replace(family, highest_revision=revision, newest_active=revision, active=family.active + 1),
    )
    return {"taskDefinition": views.definition(record), "tags": tags.view(record.tags)}


def describe_task_definition(view: View, call: Call, params: Params) -> dict[str, Any]:
    record = definitions.lookup(view, call.scope, params["taskDefinition"])
    if record is None:
        raise client_error("Unable to describe task definition.")
    tagged = "TAGS" in (params.get("include") or ())
    return {"taskDefinition": views.definition(record), "tags": tags.view(record.tags) if tagged else []}


def list_task_definitions(view: View, call: Call, params: Params) -> dict[str, Any]:
    """``familyPrefix`` is a whole family name here; ``status`` is ACTIVE unless said otherwise."""
    status, family = params.get("status") or "ACTIVE", params.get("familyPrefix")
    if family:
        found = view.find(DEFINITIONS, call.scope, "family_status", (family, status))
    else:
        found = view.find(DEFINITIONS, call.scope, "status", status)
    descending = params.get("sort") == "DESC"
    return pages.listed(
        call,
        params,
        "taskDefinitionArns",
        reversed(found) if descending else found,
        key=DEFINITIONS.id,
        answer=lambda record: record.arn,
        descending=descending,
    )


def list_task_definition_families(view: View, call: Call, params: Params) -> dict[str, Any]:
    """``familyPrefix`` is a prefix here. Families of which every revision was deleted are in no list."""
    prefix, status = params.get("familyPrefix") or "", params.get("status") or "ALL"
    found = (f for f in view.all(FAMILIES, call.scope) if f.name.startswith(prefix) and _listed(f, status))
    return pages.listed(call, params, "families", found, key=lambda f: f.name, answer=lambda f: f.name)


def deregister_task_definition(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """The revision becomes INACTIVE. What runs goes on; nothing new may use it."""
    _require_revision(call.scope, params["taskDefinition"])
    record = definitions.lookup(tx, call.scope, params["taskDefinition"])
    if record is None:
        raise client_error("The specified task definition does not exist.")
    if record.status != "ACTIVE":
        raise client_error("The specified task definition is inactive.")
    record = msgspec.structs.replace(record, status="INACTIVE", deregistered_at=call.now)
    tx.put(DEFINITIONS, call.scope, record)
    family = tx.get(FAMILIES, call.scope, record.family)
    assert family is not None  # it is made with its first revision and never deleted
    tx.put(FAMILIES, call.scope, _without(tx, call.scope, family, record.revision))
    return {"taskDefinition": views.definition(record)}


def delete_task_definitions(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """INACTIVE revisions become DELETE_IN_PROGRESS, and are gone once no task runs with them. Each that can't be
    deleted is a failure of its own; one that is being deleted already is answered as it is."""
    wanted = list(dict.fromkeys(params["taskDefinitions"]))
    if not wanted:
        raise invalid_parameter("Task definitions cannot be empty.")
    if len(wanted) > MAX_DELETED:
        raise invalid_parameter(f"taskDefinitions can have at most {MAX_DELETED} items.")
    deleted: dict[str, dict[str, Any]] = {}
    failures = []
    for text in wanted:
        _require_revision(call.scope, text)
        record = definitions.lookup(tx, call.scope, text)
        if record is None or record.status == "ACTIVE":
            arn = record.arn if record else _arn(call, text)
            failures.append({"arn": arn, "reason": _ACTIVE if record else _UNKNOWN})
            continue
        if record.status == "INACTIVE":
            record = deletion.request(tx, Scope(*call.scope), record)
        deleted[record.arn] = views.definition(record)
    return {"taskDefinitions": list(deleted.values()), "failures": failures}


def _require_revision(scope: tuple[str, str], text: str) -> None:
    name = names.local(scope, "task-definition", text)
    if name is not None and ":" not in name:
        raise client_error("The specified task definition must have a revision: family:revision.")


def _without(view: View, scope: tuple[str, str], family: Family, revision: int) -> Family:
    """The family after this ACTIVE revision became INACTIVE."""
    newest = family.newest_active
    if newest == revision:
        active = view.find(DEFINITIONS, scope, "family_status", (family.name, "ACTIVE"))
        newest = active[-1].revision if active else None
    return msgspec.structs.replace(family, newest_active=newest, active=family.active - 1, inactive=family.inactive + 1)


def _listed(family: Family, status: str) -> bool:
    match status:
        case "ACTIVE":
            return family.active > 0
        case "INACTIVE":
            return family.active == 0 and family.inactive > 0
    return family.active + family.inactive > 0


def _named(call: Call, params: Params) -> list[str]:
    """The task definition that a call is about, for the authorise step."""
    return [_arn(call, params["taskDefinition"])]


def _all_named(call: Call, params: Params) -> list[str]:
    return [_arn(call, text) for text in params["taskDefinitions"]]


def _arn(call: Call, text: str) -> str:
    return text if text.startswith("arn:") else definitions.arn_of(call.scope, text)


def _new(call: Call, params: Params) -> list[str]:
    return [definitions.arn_of(call.scope, f"{params['family']}:*")]


OPERATIONS: dict[str, Operation] = {
    "RegisterTaskDefinition": Operation(register_task_definition, resources=_new),
    "DescribeTaskDefinition": Operation(describe_task_definition, write=False),
    "ListTaskDefinitions": Operation(list_task_definitions, write=False),
    "ListTaskDefinitionFamilies": Operation(list_task_definition_families, write=False),
    "DeregisterTaskDefinition": Operation(deregister_task_definition, resources=_named),
    "DeleteTaskDefinitions": Operation(delete_task_definitions, resources=_all_named),
}
