"""Where tasks go: by what they need, what instances have left, and ECS's constraints and strategies."""

from homeport.services.ecs.placement.decide import choose, explain, place, refusals
from homeport.services.ecs.placement.demand import (
    INACTIVE,
    Constraint,
    Demand,
    Pick,
    Placement,
    Refusals,
    Refused,
    Strategy,
)
from homeport.services.ecs.placement.index import Index, StoreIndex
from homeport.services.ecs.placement.rules import refusal

__all__ = [
    "INACTIVE",
    "Constraint",
    "Demand",
    "Index",
    "Pick",
    "Placement",
    "Refusals",
    "Refused",
    "StoreIndex",
    "Strategy",
    "choose",
    "explain",
    "place",
    "refusal",
    "refusals",
]
