"""Which capacity provider each task of a call gets. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from homeport.core.errors import invalid_parameter

FARGATE, SPOT = FARGATE_PROVIDERS = ("FARGATE", "FARGATE_SPOT")
MAX_ITEMS = 20  # capacity providers in a strategy
_WEIGHTS, _BASES = range(1000 + 1), range(100_000 + 1)

Strategy = Sequence[Mapping[str, Any]]  # AWS's CapacityProviderStrategyItems, the providers by name


def check(strategy: Strategy, associated: Container[str]) -> None:
    """Raises InvalidParameterException for a strategy that a cluster with these providers can't follow."""
    if len(strategy) <= MAX_ITEMS and any(item["capacityProvider"] not in associated for item in strategy):
        raise invalid_parameter(
            "The specified capacity provider strategy cannot contain a capacity provider that is not associated with "
            "the cluster. Associate the capacity provider with the cluster and try again."
        )
    check_items(strategy)


def check_items(strategy: Strategy) -> None:
    """Raises InvalidParameterException for a strategy that no cluster can follow."""
    if len(strategy) > MAX_ITEMS:
        raise invalid_parameter(f"A capacity provider strategy can have at most {MAX_ITEMS} capacity providers.")
    names = [item["capacityProvider"] for item in strategy]
    if len(set(names)) != len(names):
        raise invalid_parameter("The specified capacity provider strategy contains a duplicate capacity provider.")
    if len({name in FARGATE_PROVIDERS for name in names}) > 1:
        raise invalid_parameter(
            "The specified capacity provider strategy cannot contain a mix of Fargate and Auto Scaling group capacity "
            "providers. Specify capacity providers of one kind and try again."
        )
    _check_numbers(strategy)


def _check_numbers(strategy: Strategy) -> None:
    if any((i.get("weight") or 0) not in _WEIGHTS or (i.get("base") or 0) not in _BASES for i in strategy):
        raise invalid_parameter("A capacity provider's weight is 0 to 1000 and its base 0 to 100000.")
    if sum(bool(item.get("base")) for item in strategy) > 1:
        raise invalid_parameter(
            "There are multiple capacity providers in the specified capacity provider strategy with a base value "
            "defined"
        )
    if len(strategy) > 1 and not any(item.get("weight") for item in strategy):
        raise invalid_parameter(
            "There are no capacity providers in the capacity provider strategy with a weight value greater than zero"
        )


def split(strategy: Strategy, count: int) -> list[str]:
    """The provider of each of ``count`` tasks: first the base, then whichever is furthest behind its weight."""
    return list(more(strategy, {}, count))


def more(strategy: Strategy, there: Mapping[str, int], count: int) -> Iterator[str]:
    """The provider of each of ``count`` further tasks, where so many are on each already."""
    weights = {i["capacityProvider"]: int(i.get("weight") or 0) or int(len(strategy) == 1) for i in strategy}
    bases = {i["capacityProvider"]: int(i.get("base") or 0) for i in strategy}
    held = {name: min(there.get(name, 0), base) for name, base in bases.items()}
    given = {name: there.get(name, 0) - held[name] for name in weights}
    total = sum(weights.values())
    for _ in range(count):
        provider = next((name for name, base in bases.items() if held[name] < base), None)
        if provider is not None:
            held[provider] += 1
        else:
            placed = sum(given.values()) + 1
            provider = max(weights, key=lambda name: weights[name] * placed / total - given[name])
            given[provider] += 1
        yield provider
