"""What CreateCluster, UpdateCluster and PutClusterCapacityProviders accept. Pure.

Recorded texts of ECS where there are any; the others are worded in their manner.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import capacity, names

INSIGHTS = "containerInsights"
INSIGHTS_VALUES = ("enabled", "disabled", "enhanced")
MAX_NAMESPACE = 1024  # characters of a Cloud Map namespace's name or ARN
MAX_PROVIDERS = 20  # capacity providers of a cluster


def check_name(name: str) -> None:
    if not names.is_cluster_name(name):
        raise invalid_parameter("Cluster name contains invalid characters.")


def settings(asked: Sequence[dict[str, Any]], before: Mapping[str, str]) -> dict[str, str]:
    """The cluster's settings: ``before``, and what is asked for over it."""
    chosen = dict(before)
    for setting in asked:
        name, value = setting.get("name"), setting.get("value")
        if name != INSIGHTS:
            raise invalid_parameter(f"{name} should be one of [{INSIGHTS}]")
        if value not in INSIGHTS_VALUES:
            raise invalid_parameter(f"{value} should be one of [{','.join(INSIGHTS_VALUES)}]")
        chosen[INSIGHTS] = value
    return chosen


def check_configuration(configuration: dict[str, Any] | None) -> None:
    execute = (configuration or {}).get("executeCommandConfiguration") or {}
    overridden = execute.get("logging") == "OVERRIDE"
    if overridden and not execute.get("logConfiguration"):
        raise invalid_parameter("A logConfiguration must be specified when logging is OVERRIDE.")
    if not overridden and execute.get("logConfiguration"):
        raise invalid_parameter("A logConfiguration can only be specified when logging is OVERRIDE.")


def check_service_connect(defaults: dict[str, Any] | None) -> None:
    """A name is that of a namespace to be made; an ARN has to be that of one that is there, and there are none."""
    namespace = (defaults or {}).get("namespace") or ""
    if len(namespace) > MAX_NAMESPACE:
        raise invalid_parameter(f"A namespace must be at most {MAX_NAMESPACE} characters long.")
    if namespace.startswith("arn:"):
        raise AwsError("NamespaceNotFoundException", "The specified namespace was not found.")


def check_providers(providers: Sequence[str], strategy: Sequence[Mapping[str, Any]], known: Container[str]) -> None:
    """The names of a cluster's capacity providers, of those that are ``known``, and its default strategy over them."""
    if len(providers) > MAX_PROVIDERS:
        raise invalid_parameter(f"A cluster can have at most {MAX_PROVIDERS} capacity providers.")
    for provider in providers:
        if provider not in known:
            raise invalid_parameter(
                f"The specified capacity provider '{provider}' was not found. Specify a valid name or ARN and try "
                "again."
            )
    if len(set(providers)) != len(providers):
        raise invalid_parameter("The specified capacity providers contain a duplicate.")
    capacity.check(strategy, providers)


def strategy_items(strategy: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The strategy with its defaults written out."""
    return tuple({"weight": 0, "base": 0, **item} for item in strategy)
