"""What ``placementConstraints`` and ``placementStrategy`` may be. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from homeport.core.errors import invalid_parameter
from homeport.services.ecs import expressions
from homeport.services.ecs.placement import Constraint, Strategy

MAX_CONSTRAINTS = 10  # of the task definition and the call together
MAX_STRATEGIES = 5
_RESOURCES = ("cpu", "memory")
_INSTANCE_FIELDS = ("instanceId", "host")
_ATTRIBUTE = "attribute:"

Items = Iterable[Mapping[str, Any]]


def constraints(of_definition: Items, of_call: Items) -> tuple[Constraint, ...]:
    """Those of the task definition, then those of the call, checked. Raises InvalidParameterException."""
    given = [*of_definition, *of_call]
    if len(given) > MAX_CONSTRAINTS:
        raise invalid_parameter(f"Maximum number of constraints is {MAX_CONSTRAINTS}")
    return tuple(map(_constraint, given))


def strategies(given: Items) -> tuple[Strategy, ...]:
    """Raises InvalidParameterException."""
    checked = tuple(map(_strategy, given))
    if len(checked) > MAX_STRATEGIES:
        raise invalid_parameter(f"Maximum number of strategies is {MAX_STRATEGIES}")
    return checked


def _constraint(given: Mapping[str, Any]) -> Constraint:
    kind, expression = given.get("type"), given.get("expression") or ""
    match kind:
        case "distinctInstance":
            if expression:
                raise invalid_parameter("distinctInstance expression should not be specified")
            return Constraint("distinctInstance")
        case "memberOf":
            if not expression:
                raise invalid_parameter("memberOf expression should be specified")
            expressions.parse(expression)
            return Constraint("memberOf", expression)
    raise invalid_parameter("A placement constraint must have a type, distinctInstance or memberOf.")


def _strategy(given: Mapping[str, Any]) -> Strategy:
    kind, field = given.get("type"), given.get("field") or ""
    match kind:
        case "random":
            if field:
                raise invalid_parameter("random placement strategy field should not be specified")
            return Strategy("random")
        case "binpack":
            if field.lower() not in _RESOURCES:
                raise invalid_parameter("The field of a binpack placement strategy must be cpu or memory.")
            return Strategy("binpack", field.lower())
        case "spread":
            return Strategy("spread", _spread_field(field))
    raise invalid_parameter("A placement strategy must have a type, random, spread or binpack.")


def _spread_field(field: str) -> str:
    known = next((name for name in _INSTANCE_FIELDS if name.lower() == field.lower()), None)
    if known is not None:
        return known
    if field.startswith(_ATTRIBUTE) and len(field) > len(_ATTRIBUTE):
        return field
    raise invalid_parameter(
        "The field of a spread placement strategy must be instanceId, host, or attribute: followed by the name of an "
        "attribute."
    )
