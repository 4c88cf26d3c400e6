"""PutAttributes, DeleteAttributes and ListAttributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import attributes, clusters, instances, pages, rooms
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.instance import INSTANCES, ROOMS, Instance
from homeport.store import Scope, Tx, View

MAX_ATTRIBUTES = 10  # attributes of one PutAttributes or DeleteAttributes


class _Listed(NamedTuple):
    """An attribute of an instance; ``key`` is in the order of instances and names."""

    key: str
    arn: str
    attribute: Mapping[str, Any]


def put_attributes(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """All of them, or none where one is refused."""
    targets = _targets(tx, call, params)
    put: dict[str, dict[str, str]] = {}
    for instance, attribute in targets:
        name, value = attributes.custom(attribute["name"], attribute.get("value") or "")
        put.setdefault(instance.id, {})[name] = value
    for instance in {instance.id: instance for instance, _ in targets}.values():
        _save(tx, Scope(*call.scope), instance, attributes.put(instance.custom, put[instance.id]))
    return {"attributes": [_shown(attribute, instance.arn) for instance, attribute in targets]}


def delete_attributes(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """By name. One that isn't there is no error; one that is given with another value than it has stays."""
    targets = _targets(tx, call, params)
    gone: dict[str, set[str]] = {}
    for instance, attribute in targets:
        attributes.check_name(attribute["name"])
        if "value" not in attribute or instance.custom.get(attribute["name"]) == attribute["value"]:
            gone.setdefault(instance.id, set()).add(attribute["name"])
    for instance in {instance.id: instance for instance, _ in targets}.values():
        left = {name: v for name, v in instance.custom.items() if name not in gone.get(instance.id, ())}
        _save(tx, Scope(*call.scope), instance, left)
    return {"attributes": [_shown(attribute, instance.arn) for instance, attribute in targets]}


def list_attributes(view: View, call: Call, params: Params) -> dict[str, Any]:
    """Built-in and custom ones, by instance and name."""
    cluster = clusters.find_active(view, call.scope, params.get("cluster"))
    name, value = params.get("attributeName") or None, params.get("attributeValue")
    if value is not None and not name:
        raise invalid_parameter("attributeName must be specified when attributeValue is.")
    found = (
        listed
        for listed in _listed(instances.of_cluster(view, call.scope, cluster), name)
        if value in (None, listed.attribute.get("value") or "")
    )
    return pages.listed(
        call, params, "attributes", found, key=lambda i: i.key, answer=lambda i: _shown(i.attribute, i.arn)
    )


def _listed(some: Iterable[Instance], name: str | None) -> Iterable[_Listed]:
    for instance in some:
        for attribute in sorted(attributes.shown(instance, name), key=lambda a: str(a["name"])):
            yield _Listed(f"{instance.id} {attribute['name']}", instance.arn, attribute)


def _shown(attribute: Mapping[str, Any], target: str) -> dict[str, Any]:
    value = {"value": attribute["value"]} if attribute.get("value") else {}
    return {"name": attribute["name"], "targetId": target, **value}


def _targets(view: View, call: Call, params: Params) -> list[tuple[Instance, Mapping[str, Any]]]:
    """Each attribute of the call with its instance. Raises TargetNotFoundException."""
    cluster = clusters.find_active(view, call.scope, params.get("cluster"))
    sent = params["attributes"]
    if not sent:
        raise invalid_parameter("Attributes cannot be empty.")
    if len(sent) > MAX_ATTRIBUTES:
        raise invalid_parameter(f"attributes can have at most {MAX_ATTRIBUTES} items.")
    return [(_target(view, call, cluster, attribute), attribute) for attribute in sent]


def _target(view: View, call: Call, cluster: Cluster, attribute: Mapping[str, Any]) -> Instance:
    text = attribute.get("targetId")
    if not text:
        raise invalid_parameter("A targetId must be specified for each attribute.")
    if not text.startswith("arn:") and not attribute.get("targetType"):
        raise invalid_parameter("A targetType must be specified where the targetId is not a full ARN.")
    instance = instances.find(view, call.scope, cluster, text)
    if instance is None or instance.status == "INACTIVE":
        raise AwsError("TargetNotFoundException", f"The specified target {text[:256]} was not found.")
    return instance


def _save(tx: Tx, scope: Scope, instance: Instance, custom: dict[str, str]) -> None:
    if custom == instance.custom:
        return
    after = replace(instance, custom=custom, version=instance.version + 1)
    tx.put(INSTANCES, scope, after)
    tx.put(ROOMS, scope, rooms.of(tx, scope, after, tx.get(ROOMS, scope, after.id)))


def _named(call: Call, params: Params) -> list[str]:
    return [attribute["targetId"] for attribute in params["attributes"] if attribute.get("targetId")]


OPERATIONS = {
    "PutAttributes": Operation(put_attributes, resources=_named),
    "DeleteAttributes": Operation(delete_attributes, resources=_named),
    "ListAttributes": Operation(list_attributes, write=False),
}
