"""CreateCapacityProvider, UpdateCapacityProvider, DeleteCapacityProvider, DescribeCapacityProviders and
PutClusterCapacityProviders."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import AwsError, client_error, invalid_parameter
from homeport.services.ecs import capacity_providers, clusters, names, pages, provider_rules, tags
from homeport.services.ecs.capacity import FARGATE_PROVIDERS
from homeport.services.ecs.model.capacity_provider import PROVIDERS, CapacityProvider
from homeport.services.ecs.model.cluster import CLUSTERS
from homeport.services.ecs.views import capacity_provider as views
from homeport.services.ecs.views import cluster as cluster_views
from homeport.store import Scope, Tx, View

MAX_DESCRIBED = 100  # capacity providers that one DescribeCapacityProviders may name
PAGE = 10  # of DescribeCapacityProviders, at most and by default


def create_capacity_provider(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """The same call again gives the provider that is there."""
    name = params["name"]
    provider_rules.check_name(name)
    given = provider_rules.only_groups(params)
    provider_rules.check_group(given["autoScalingGroupArn"])
    known = tx.get(PROVIDERS, call.scope, name)
    made = CapacityProvider(
        name=name,
        arn=capacity_providers.arn_of(call.scope, name),
        group_arn=given["autoScalingGroupArn"],
        attachment=known.attachment if known else call.ids.new("uuid"),
        created_at=known.created_at if known else call.now,
        tags=tags.parse(params.get("tags")),
        **provider_rules.settings(given),
    )
    if known is not None and known != made:
        raise client_error(
            "The specified capacity provider already exists. To change the configuration of an existing capacity "
            "provider, update the capacity provider."
        )
    if any(other.name != name for other in tx.find(PROVIDERS, call.scope, "group", made.group)):
        raise invalid_parameter(
            "The specified Auto Scaling group ARN is already being used by another capacity provider. Specify a "
            "unique Auto Scaling group ARN and try again."
        )
    tx.put(PROVIDERS, call.scope, made)
    return {"capacityProvider": views.capacity_provider(made)}


def update_capacity_provider(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    before = _own(tx, call, params["name"], "updated")
    given = provider_rules.only_groups(params)
    after = replace(before, updated=True, **provider_rules.settings(given, before))
    if after.scales and len(capacity_providers.clusters_of(tx, call.scope, before.name)) > 1:
        raise invalid_parameter(
            "Managed scaling can't be enabled for a capacity provider that is associated with several clusters."
        )
    tx.put(PROVIDERS, call.scope, after)
    return {"capacityProvider": views.capacity_provider(after)}


def delete_capacity_provider(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """It must not be associated with a cluster."""
    if params.get("cluster"):
        clusters.find_active(tx, call.scope, params["cluster"])
    record = _own(tx, call, params["capacityProvider"], "deleted")
    if users := capacity_providers.clusters_of(tx, call.scope, record.name):
        raise client_error(
            f"The capacity provider cannot be deleted because it is associated with cluster: {users[0].name}. Remove "
            "the capacity provider from the cluster and try again."
        )
    tx.delete(PROVIDERS, call.scope, record.name)
    return {"capacityProvider": views.deleted(record)}


def describe_capacity_providers(view: View, call: Call, params: Params) -> dict[str, Any]:
    """Those that are named, or all: FARGATE and FARGATE_SPOT with them."""
    asked = list(dict.fromkeys(params.get("capacityProviders") or ()))
    if len(asked) > MAX_DESCRIBED:
        raise invalid_parameter(f"capacityProviders can have at most {MAX_DESCRIBED} items.")
    found: dict[str, dict[str, Any]] = {}
    failures = []
    with_tags = "TAGS" in (params.get("include") or ())
    for text in asked or _all(view, call, params):
        name = names.local(call.scope, "capacity-provider", text)
        record = view.get(PROVIDERS, call.scope, name) if name else None
        if name in FARGATE_PROVIDERS:
            found[name] = views.fargate(call.scope, name)
        elif record is not None:
            found[record.name] = views.capacity_provider(record, with_tags=with_tags)
        else:
            failures.append({"arn": _arns(call, text)[0], "reason": "MISSING"})
    page = pages.listed(
        call,
        params,
        "capacityProviders",
        [found[name] for name in sorted(found)],
        key=lambda provider: str(provider["name"]),
        answer=lambda provider: provider,
        most=PAGE,
        default=PAGE,
    )
    return {**page, "failures": failures}


def put_cluster_capacity_providers(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Replaces the cluster's capacity providers and its default strategy."""
    scope = Scope(*call.scope)
    before = clusters.find_active(tx, scope, params["cluster"])
    providers, strategy = params["capacityProviders"], params["defaultCapacityProviderStrategy"]
    changes = capacity_providers.association(tx, scope, before.arn, providers, strategy)
    gone = set(before.capacity_providers) - set(changes["capacity_providers"])
    if capacity_providers.used(tx, scope, before, gone):
        raise AwsError("ResourceInUseException", "The specified capacity provider is in use and cannot be removed.")
    after = replace(before, **changes)
    tx.put(CLUSTERS, scope, after)
    capacity_providers.tie(tx, scope, after)
    return {"cluster": cluster_views.cluster(tx, scope, after, ("ATTACHMENTS", "SETTINGS"))}


def _own(view: View, call: Call, text: str, done: str) -> CapacityProvider:
    """One that a caller made. Raises where there is none, or where it is AWS's own."""
    if names.local(call.scope, "capacity-provider", text) in FARGATE_PROVIDERS:
        raise invalid_parameter(
            f"The capacity providers FARGATE and FARGATE_SPOT are reserved by ECS and can't be {done}."
        )
    record = capacity_providers.find(view, call.scope, text)
    if record is None:
        raise capacity_providers.not_found()
    return record


def _all(view: View, call: Call, params: Params) -> list[str]:
    if params.get("cluster"):
        return list(clusters.find_active(view, call.scope, params["cluster"]).capacity_providers)
    return [*FARGATE_PROVIDERS, *(record.name for record in view.all(PROVIDERS, call.scope))]


def _arns(call: Call, *texts: str) -> list[str]:
    return [t if t.startswith("arn:") else capacity_providers.arn_of(call.scope, t) for t in texts]


OPERATIONS: dict[str, Operation] = {
    "CreateCapacityProvider": Operation(create_capacity_provider, resources=lambda c, p: _arns(c, p["name"])),
    "UpdateCapacityProvider": Operation(update_capacity_provider, resources=lambda c, p: _arns(c, p["name"])),
    "DeleteCapacityProvider": Operation(
        delete_capacity_provider, resources=lambda c, p: _arns(c, p["capacityProvider"])
    ),
    "DescribeCapacityProviders": Operation(
        describe_capacity_providers,
        write=False,
        resources=lambda c, p: _arns(c, *(p.get("capacityProviders") or ())),
    ),
    "PutClusterCapacityProviders": Operation(
        put_cluster_capacity_providers, resources=lambda call, params: [params["cluster"]]
    ),
}
