"""Which tasks go when there are too many."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduling_world import instance, pending, task

from homeport.services.ecs.model.task import Task
from homeport.services.ecs.scheduling import scale_in
from homeport.services.ecs.scheduling.plan import Spot

ZONE = {"type": "spread", "field": "attribute:ecs.availability-zone"}
INSTANCES = {"type": "spread", "field": "instanceId"}


def choose(tasks: list[Task], number: int, *strategy: dict[str, str], **more: Any) -> list[str]:
    ids = {t.id for t in tasks}
    given = {"kept": tasks, "healthy": ids, "warming": set(), "strategy": strategy, **more}
    return [t.id for t in scale_in.choose(tasks, number, **given)]


def test_what_serves_least_goes_first() -> None:
    tasks = [task("healthy"), pending("pending"), task("sick"), task("warming")]
    chosen = choose(tasks, 4, healthy={"healthy"}, warming={"warming"})
    assert chosen == ["pending", "sick", "warming", "healthy"]


def test_the_fullest_zone_gives_first_and_there_the_fullest_instance() -> None:
    tasks = [
        task("a", at="i1", availability_zone="z1"),
        task("b", at="i2", availability_zone="z2"),
        task("c", at="i3", availability_zone="z2"),
        task("d", at="i3", availability_zone="z2"),
    ]
    assert choose(tasks, 3) == ["c", "b", "a"]


def test_fargate_keeps_zones_in_balance_and_knows_no_instances() -> None:
    tasks = [task(id, availability_zone=zone, instance=id) for id, zone in zip("abcde", "zzzyy", strict=True)]
    assert choose(tasks, 2) == ["a", "b"]
    assert Counter("zzzyy"["abcde".index(id)] for id in choose(tasks, 3)) == {"z": 2, "y": 1}


def test_tasks_that_cannot_go_count_for_balance_all_the_same() -> None:
    kept = [task(id, availability_zone="full") for id in ("p", "q", "r")]
    free = [task("x", availability_zone="full"), task("y", availability_zone="other")]
    assert choose(free, 1, kept=[*kept, *free]) == ["x"]


def test_spread_over_instances_takes_from_the_one_with_most() -> None:
    tasks = [task("a", at="i1"), task("b", at="i2"), task("c", at="i2"), task("d", at="i2")]
    assert choose(tasks, 3, INSTANCES) == ["b", "c", "a"]


def test_spread_over_an_attribute_takes_from_the_value_with_most() -> None:
    tasks = [task("a", at="i1"), task("b", at="i2"), task("c", at="i3")]
    racks = {"i1": "left", "i2": "right", "i3": "right"}
    spots = {instance(i): Spot(values={"attribute:rack": rack}) for i, rack in racks.items()}
    assert choose(tasks, 2, {"type": "spread", "field": "attribute:rack"}, spots=spots) == ["b", "a"]


@pytest.mark.parametrize(("field", "chosen"), [("cpu", ["b", "c", "a"]), ("memory", ["a", "b", "c"])])
def test_binpack_empties_the_instance_with_most_left(field: str, chosen: list[str]) -> None:
    tasks = [task("a", at="i1"), task("b", at="i2"), task("c", at="i2")]
    spots = {instance("i1"): Spot(cpu=100, memory=9000), instance("i2"): Spot(cpu=1000, memory=500)}
    assert choose(tasks, 3, {"type": "binpack", "field": field}, spots=spots) == chosen


def test_a_further_item_of_the_strategy_decides_among_equals() -> None:
    tasks = [task("a", at="i1", availability_zone="z1"), task("b", at="i2", availability_zone="z1")]
    spots = {instance("i1"): Spot(cpu=1), instance("i2"): Spot(cpu=2)}
    assert choose(tasks, 1, ZONE, {"type": "binpack", "field": "cpu"}, spots=spots) == ["b"]
    assert choose(tasks, 1, {"type": "random"}, spots=spots) == ["a"]


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["i1", "i2", "i3"])), max_size=20), st.integers(0, 25)
)
def test_each_goes_once_and_zones_end_as_even_as_they_can(places: list[tuple[str, str]], number: int) -> None:
    tasks = [task(f"{n:02}", at=at, availability_zone=zone) for n, (zone, at) in enumerate(places)]
    chosen = choose(tasks, number)
    assert len(set(chosen)) == len(chosen) == min(number, len(tasks))
    left = Counter(t.availability_zone for t in tasks if t.id not in chosen)
    touched = {t.availability_zone for t in tasks if t.id in chosen}
    most = max(left.values(), default=0)
    assert all(left[zone] >= most - 1 for zone in touched)
