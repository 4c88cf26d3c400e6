"""Reading a task definition that is being registered: JSON objects with AWS's member names. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Members = dict[str, Any]
Rule = Callable[[Members], str | None]  # the definition → ECS's text where it breaks the rule
ContainerRule = Callable[[Members, Members], str | None]  # the definition and one of its containers


def containers(definition: Members) -> list[Members]:
    found: list[Members] = definition.get("containerDefinitions") or []
    return found


def names(definition: Members) -> list[str]:
    """The names of its containers."""
    return [container["name"] for container in containers(definition)]


def mode(definition: Members) -> str:
    """Its network mode: ``bridge`` where none was given."""
    return str(definition.get("networkMode") or "bridge")


def requires(definition: Members, compatibility: str) -> bool:
    """Whether its requiresCompatibilities name ``compatibility``."""
    return compatibility in (definition.get("requiresCompatibilities") or ())


def windows(definition: Members) -> bool:
    family = (definition.get("runtimePlatform") or {}).get("operatingSystemFamily") or "LINUX"
    return bool(family != "LINUX")


def part(owner: Members, member: str) -> Members:
    """A structure in ``owner``, empty where it isn't given."""
    found: Members = owner.get(member) or {}
    return found


def items(owner: Members, member: str) -> list[Any]:
    """A list in ``owner``, empty where it isn't given."""
    found: list[Any] = owner.get(member) or []
    return found


def each(rule: ContainerRule) -> Rule:
    """A rule for containers as one for the definition: what it says of the first container that breaks it."""

    def rule_of_all(definition: Members) -> str | None:
        told = (rule(definition, container) for container in containers(definition))
        return next(filter(None, told), None)

    return rule_of_all


def without_nulls(value: Any) -> Any:
    """A deep copy without the members that are null: to AWS a null is a member that wasn't given."""
    if isinstance(value, dict):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
