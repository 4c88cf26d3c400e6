"""Finding capacity providers, and what ties them to clusters and instances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from homeport.core import arn
from homeport.core.errors import AwsError, client_error, invalid_parameter
from homeport.services.ecs import cluster_rules, names
from homeport.services.ecs.capacity import FARGATE_PROVIDERS
from homeport.services.ecs.model.capacity_provider import PROVIDERS, CapacityProvider
from homeport.services.ecs.model.cluster import CLUSTERS, Cluster
from homeport.services.ecs.model.deployment import Configuration
from homeport.services.ecs.model.instance import INSTANCES, ROOMS, Instance
from homeport.services.ecs.model.service import SERVICES
from homeport.services.ecs.model.task import TASKS
from homeport.services.ecs.model.task_set import TASK_SETS
from homeport.store import Scope, Tx, View


def arn_of(scope: tuple[str, str], name: str) -> str:
    account, region = scope
    return arn.arn("ecs", region, account, f"capacity-provider/{name}")


def find(view: View, scope: tuple[str, str], text: str) -> CapacityProvider | None:
    """The one that a caller made and means by name or ARN; None for FARGATE and FARGATE_SPOT."""
    name = names.local(scope, "capacity-provider", text)
    return view.get(PROVIDERS, scope, name) if name is not None else None


def not_found() -> AwsError:
    return client_error("The specified capacity provider does not exist. Specify a valid name or ARN and try again.")


def named(scope: tuple[str, str], strategy: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The strategy with its defaults written out, its providers by name."""
    items = [{**item, "capacityProvider": _name(scope, item["capacityProvider"])} for item in strategy]
    return cluster_rules.strategy_items(items)


def association(
    view: View, scope: tuple[str, str], cluster: str, providers: Sequence[str], strategy: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What a cluster's record gets of these capacity providers and this default strategy, checked. ``cluster`` is an
    ARN."""
    own = [_name(scope, provider) for provider in providers]
    default = named(scope, strategy)
    records = {name: view.get(PROVIDERS, scope, name) for name in own if name not in FARGATE_PROVIDERS}
    known = {*FARGATE_PROVIDERS, *(name for name, record in records.items() if record is not None)}
    cluster_rules.check_providers(own, default, known)
    for record in records.values():
        if record is not None and record.scales:
            _check_alone(view, scope, cluster, record.name)
    return {"capacity_providers": tuple(own), "default_strategy": default}


def used(view: View, scope: tuple[str, str], cluster: Cluster, gone: Iterable[str]) -> bool:
    """Whether services of the cluster, or tasks that aren't over, use any of these capacity providers."""
    providers = frozenset(gone)
    return not view.counts(TASKS, scope, "providers", cluster.arn).keys().isdisjoint(providers) or any(
        item["capacityProvider"] in providers
        for configuration in _of_services(view, scope, cluster)
        for item in configuration.capacity_strategy
    )


def _of_services(view: View, scope: tuple[str, str], cluster: Cluster) -> Iterator[Configuration]:
    """What the cluster's services run, and their task sets."""
    for status in ("ACTIVE", "DRAINING"):
        for service in view.find(SERVICES, scope, "cluster", (cluster.arn, status)):
            if service.configuration is not None:
                yield service.configuration
            if service.controller == "EXTERNAL":
                yield from (s.configuration for s in view.find(TASK_SETS, scope, "service", service.id))


def clusters_of(view: View, scope: tuple[str, str], name: str) -> list[Cluster]:
    """The ACTIVE clusters that it is associated with."""
    return view.find(CLUSTERS, scope, "provider", name)


def of_instance(view: View, scope: tuple[str, str], instance: Instance) -> str | None:
    """The capacity provider of its cluster that it belongs to: the one over its Auto Scaling group."""
    if not instance.auto_scaling_group:
        return None
    for provider in view.find(PROVIDERS, scope, "group", instance.auto_scaling_group):
        if any(cluster.arn == instance.cluster_arn for cluster in clusters_of(view, scope, provider.name)):
            return provider.name
    return None


def tie(tx: Tx, scope: Scope, cluster: Cluster) -> None:
    """Gives the rooms of the cluster's instances their capacity providers anew."""
    for instance in tx.find(INSTANCES, scope, "cluster", cluster.arn):
        room = tx.get(ROOMS, scope, instance.id)
        if room is not None:
            tx.put(ROOMS, scope, replace(room, provider=of_instance(tx, scope, instance)))


def _name(scope: tuple[str, str], text: str) -> str:
    return names.local(scope, "capacity-provider", text) or text


def _check_alone(view: View, scope: tuple[str, str], cluster: str, name: str) -> None:
    if any(other.arn != cluster for other in clusters_of(view, scope, name)):
        raise invalid_parameter(
            f"The specified capacity provider '{name}' has managed scaling enabled and is associated with another "
            "cluster. A capacity provider with managed scaling can be associated with one cluster only."
        )
