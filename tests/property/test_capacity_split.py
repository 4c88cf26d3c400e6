"""Capacity provider strategies share any number of tasks as their base and weights say."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from homeport.services.ecs import capacity


@st.composite
def strategies(draw: st.DrawFn) -> list[dict[str, Any]]:
    count = draw(st.integers(1, 6))
    weights = draw(st.lists(st.integers(0, 1000), min_size=count, max_size=count))
    base = draw(st.integers(0, count))  # whose base it is; count: nobody's
    bases = [draw(st.integers(1, 50)) if at == base else 0 for at in range(count)]
    if count > 1 and not any(weights):
        weights[0] = 1
    return [
        {"capacityProvider": f"p{at}", "weight": weight, "base": base}
        for at, (weight, base) in enumerate(zip(weights, bases, strict=True))
    ]


@given(strategies(), st.integers(0, 200))
def test_base_first_then_by_weight(strategy: list[dict[str, Any]], count: int) -> None:
    capacity.check(strategy, [item["capacityProvider"] for item in strategy])
    chosen = capacity.split(strategy, count)
    assert len(chosen) == count
    base = next((item for item in strategy if item["base"]), None)
    taken = min(base["base"], count) if base else 0
    assert chosen[:taken] == [base["capacityProvider"]] * taken if base else True
    rest, total = chosen[taken:], sum(item["weight"] for item in strategy)
    for item in strategy if total else ():
        due = len(rest) * item["weight"] / total
        # Nobody is more than a task ahead; who is behind can be so by what the others are ahead.
        assert rest.count(item["capacityProvider"]) < due + 1
        assert item["weight"] or item["capacityProvider"] not in rest


@given(strategies(), st.integers(0, 100))
def test_the_first_tasks_do_not_depend_on_how_many_there_are(strategy: list[dict[str, Any]], count: int) -> None:
    assert capacity.split(strategy, 100)[:count] == capacity.split(strategy, count)
