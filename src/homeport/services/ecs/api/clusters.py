"""CreateCluster, UpdateCluster, UpdateClusterSettings, DescribeClusters, ListClusters, DeleteCluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import account_settings, capacity_providers, cluster_rules, clusters, pages, tags
from homeport.services.ecs.model.cluster import CLUSTERS, Cluster
from homeport.services.ecs.views import cluster as views
from homeport.store import Tx, View

MAX_DESCRIBED = 100  # clusters of one DescribeClusters
_IN_FULL = ("CONFIGURATIONS", "SETTINGS", "TAGS")  # what the answers of CreateCluster and DeleteCluster include


def create_cluster(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """A name that an ACTIVE cluster has gives that cluster, unchanged."""
    name = params.get("clusterName") or clusters.DEFAULT
    cluster_rules.check_name(name)
    fields = _fields(tx, call, params)
    before = clusters.newest(tx, call.scope, name)
    if before is None or before.status != "ACTIVE":
        _forget_expired(tx, call)
        before = Cluster(
            name=name,
            generation=before.generation + 1 if before else 1,
            arn=clusters.cluster_arn(call.scope, name),
            status="ACTIVE",
            created_at=call.now,
            **fields,
        )
        tx.put(CLUSTERS, call.scope, before)
    return {"cluster": views.cluster(tx, call.scope, before, _IN_FULL)}


def describe_clusters(view: View, call: Call, params: Params) -> dict[str, Any]:
    asked = list(dict.fromkeys(params.get("clusters") or [clusters.DEFAULT]))
    if len(asked) > MAX_DESCRIBED:
        raise invalid_parameter(f"Clusters cannot be more than {MAX_DESCRIBED}.")
    found: dict[str, dict[str, Any]] = {}
    failures = []
    for text in asked:
        record = clusters.find(view, call.scope, text)
        if record is None:
            failures.append({"arn": _arn(call, text), "reason": "MISSING"})
        elif record.arn not in found:
            found[record.arn] = views.cluster(view, call.scope, record, params.get("include") or ())
    return {"clusters": list(found.values()), "failures": failures}


def list_clusters(view: View, call: Call, params: Params) -> dict[str, Any]:
    """ACTIVE clusters, by name."""
    active = sorted(view.find(CLUSTERS, call.scope, "status", "ACTIVE"), key=lambda c: c.name)
    return pages.listed(call, params, "clusterArns", active, key=lambda c: c.name, answer=lambda c: c.arn)


def delete_cluster(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """The cluster becomes INACTIVE; it must be empty."""
    record = clusters.find_active(tx, call.scope, params["cluster"])
    counts = clusters.counts(tx, call.scope, record.arn)
    if counts.instances:
        raise AwsError(
            "ClusterContainsContainerInstancesException",
            "The Cluster cannot be deleted while Container Instances are active or draining.",
        )
    if counts.services or counts.draining:
        raise AwsError("ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.")
    if counts.running or counts.pending or counts.ending:
        raise AwsError("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
    _forget_expired(tx, call)
    record = msgspec.structs.replace(record, status="INACTIVE", deleted_at=call.now, tags={})
    tx.put(CLUSTERS, call.scope, record)
    return {"cluster": views.cluster(tx, call.scope, record, _IN_FULL)}


def update_cluster(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Changes what is given; an empty namespace takes the default away."""
    record = clusters.find_active(tx, call.scope, params["cluster"])
    configuration = params.get("configuration", record.configuration)
    cluster_rules.check_configuration(configuration)
    defaults = params.get("serviceConnectDefaults", record.service_connect_defaults)
    if defaults != record.service_connect_defaults:
        cluster_rules.check_service_connect(defaults)
    record = msgspec.structs.replace(
        record,
        settings=cluster_rules.settings(params.get("settings") or [], record.settings),
        configuration=configuration,
        service_connect_defaults=_defaults(defaults),
    )
    tx.put(CLUSTERS, call.scope, record)
    return {"cluster": views.cluster(tx, call.scope, record, _IN_FULL)}


def update_cluster_settings(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    record = clusters.find_active(tx, call.scope, params["cluster"])
    if not params["settings"]:
        raise invalid_parameter("Settings cannot be empty.")
    settings = cluster_rules.settings(params["settings"], record.settings)
    record = msgspec.structs.replace(record, settings=settings)
    tx.put(CLUSTERS, call.scope, record)
    return {"cluster": views.cluster(tx, call.scope, record, _IN_FULL)}


def _fields(view: View, call: Call, params: Params) -> dict[str, Any]:
    """The members of CreateCluster as the record's fields, checked. What it doesn't set, account settings do."""
    configuration = params.get("configuration")
    arn = clusters.cluster_arn(call.scope, params.get("clusterName") or clusters.DEFAULT)
    providers, strategy = params.get("capacityProviders") or [], params.get("defaultCapacityProviderStrategy") or []
    cluster_rules.check_configuration(configuration)
    cluster_rules.check_service_connect(params.get("serviceConnectDefaults"))
    insights = account_settings.effective(view, call.scope, call.principal.arn, account_settings.INSIGHTS).value
    return {
        "settings": cluster_rules.settings(params.get("settings") or [], {cluster_rules.INSIGHTS: insights}),
        "configuration": configuration,
        **capacity_providers.association(view, call.scope, arn, providers, strategy),
        "service_connect_defaults": _defaults(params.get("serviceConnectDefaults")),
        "tags": tags.parse(params.get("tags")),
    }


def _defaults(asked: dict[str, Any] | None) -> dict[str, Any] | None:
    return asked if asked and asked["namespace"] else None


def _forget_expired(tx: Tx, call: Call) -> None:
    """Clusters that were deleted long ago; done where clusters come and go, so the kept ones stay few."""
    for record in tx.find(CLUSTERS, call.scope, "status", "INACTIVE"):
        if clusters.expired(record, call.now):
            tx.delete(CLUSTERS, call.scope, CLUSTERS.id(record))


def _arn(call: Call, text: str) -> str:
    return text if text.startswith("arn:") else clusters.cluster_arn(call.scope, text)


def _named(member: str) -> Callable[[Call, Params], list[str]]:
    """The cluster that a call is about, for the authorise step."""

    def resources(call: Call, params: Params) -> list[str]:
        return [_arn(call, params.get(member) or clusters.DEFAULT)]

    return resources


def _described(call: Call, params: Params) -> list[str]:
    return [_arn(call, text) for text in params.get("clusters") or [clusters.DEFAULT]]


OPERATIONS: dict[str, Operation] = {
    "CreateCluster": Operation(create_cluster, resources=_named("clusterName")),
    "UpdateCluster": Operation(update_cluster, resources=_named("cluster")),
    "UpdateClusterSettings": Operation(update_cluster_settings, resources=_named("cluster")),
    "DescribeClusters": Operation(describe_clusters, write=False, resources=_described),
    "ListClusters": Operation(list_clusters, write=False),
    "DeleteCluster": Operation(delete_cluster, resources=_named("cluster")),
}
