"""Where tasks go, and why they can't; which capacity provider they get."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.core.errors import AwsError
from homeport.services.ecs import capacity
from homeport.services.ecs.model.instance import Room
from homeport.services.ecs.placement import Demand, Placement, Refusals, RoomIndex, place


def room(id: str, **more: Any) -> Room:
    defaults: dict[str, Any] = {"cpu": 4096, "memory": 8192, "open": True, "connected": True, "networked": True}
    return Room(id=id, arn=f"arn:{id}", **(defaults | more))


def index(*rooms: Room) -> RoomIndex:
    classes: dict[int, list[Room]] = defaultdict(list)
    for r in rooms:
        if r.open:
            classes[r.size_class].append(r)
    return lambda size_class: classes[size_class]


def demand(**more: Any) -> Demand:
    return Demand(**{"cpu": 256, "memory": 512, "region": "us-east-1", "zones": ("us-east-1b", "us-east-1a"), **more})


@pytest.mark.parametrize(
    ("wanted", "rooms", "chosen"),
    [
        (demand(), [room("a")], ("a", "us-east-1b")),
        (demand(), [room("a", memory_used=1024), room("b")], ("b", "us-east-1b")),
        (demand(), [room("a", memory=1 << 20, cpu_used=4000), room("b")], ("b", "us-east-1b")),
        (demand(), [room("a", zone="us-east-1a")], ("a", "us-east-1a")),
        (demand(), [room("a", zone="us-east-1c"), room("b", memory=512)], ("b", "us-east-1b")),
        (demand(), [room("a", region="us-east-1")], ("a", "us-east-1b")),
        (demand(memory=8192, cpu=4096), [room("a")], ("a", "us-east-1b")),
        (demand(zones=()), [room("a")], ("a", None)),
        # one that is only silent for a moment comes after every connected one, however much room it has
        (demand(), [room("a", connected=False), room("b", memory=600)], ("b", "us-east-1b")),
        (demand(), [room("a", connected=False)], ("a", "us-east-1b")),
        (demand(architecture="ARM64"), [room("a"), room("b", memory=600, architecture="ARM64")], ("b", "us-east-1b")),
    ],
)
def test_a_place(wanted: Demand, rooms: list[Room], chosen: tuple[str, str | None]) -> None:
    found = place(wanted, index(*rooms))
    assert isinstance(found, Placement)
    assert (found.room.id, found.zone) == chosen


@pytest.mark.parametrize(
    ("wanted", "rooms", "reasons"),
    [
        (demand(), [], {}),
        (demand(), [room("a", open=False)], {}),
        (demand(cpu=8192), [room("a")], {"RESOURCE:CPU": 1}),
        (demand(memory=9000), [room("a"), room("b", memory=1)], {"RESOURCE:MEMORY": 2}),
        (demand(), [room("a", memory_used=9000)], {"RESOURCE:MEMORY": 1}),  # registered less than its tasks take
        (demand(), [room("a", zone="us-east-1c"), room("b", region="eu-west-1")], {"LOCATION": 2}),
        (demand(), [room("a", networked=False), room("b", architecture="ARM64")], {"ATTRIBUTE": 2}),
    ],
)
def test_no_place(wanted: Demand, rooms: list[Room], reasons: dict[str, int]) -> None:
    found = place(wanted, index(*rooms))
    assert isinstance(found, Refusals)
    assert found.reasons == reasons


def test_a_refusal_says_why() -> None:
    refusals = place(demand(memory=8000), index(room("a", memory=4000), room("b", cpu=1)))
    assert isinstance(refusals, Refusals)
    assert refusals.detail == "RESOURCE:MEMORY on 1 of 2, RESOURCE:CPU on 1 of 2"


@given(
    st.lists(st.tuples(st.integers(0, 4096), st.integers(0, 8192), st.booleans()), max_size=6),
    st.lists(st.tuples(st.integers(1, 2048), st.integers(1, 4096)), max_size=12),
)
def test_nothing_is_given_twice_and_a_fit_is_always_found(
    sizes: list[tuple[int, int, bool]], demands: list[tuple[int, int]]
) -> None:
    rooms = {str(i): room(str(i), cpu=c, memory=m, connected=k) for i, (c, m, k) in enumerate(sizes)}
    for cpu, memory in demands:
        found = place(demand(cpu=cpu, memory=memory), index(*rooms.values()))
        fits = [r for r in rooms.values() if r.cpu - r.cpu_used >= cpu and r.memory - r.memory_used >= memory]
        assert isinstance(found, Placement) == bool(fits)
        if isinstance(found, Placement):
            r = found.room
            assert r in fits
            rooms[r.id] = room(
                r.id,
                cpu=r.cpu,
                memory=r.memory,
                connected=r.connected,
                cpu_used=r.cpu_used + cpu,
                memory_used=r.memory_used + memory,
            )
        assert all(r.cpu_used <= r.cpu and r.memory_used <= r.memory for r in rooms.values())


BOTH = ("FARGATE", "FARGATE_SPOT")


def items(*parts: tuple[str, int, int]) -> list[dict[str, Any]]:
    return [{"capacityProvider": name, "weight": weight, "base": base} for name, weight, base in parts]


@pytest.mark.parametrize(
    ("strategy", "count", "chosen"),
    [
        (items(("FARGATE", 1, 0)), 2, ["FARGATE"] * 2),
        (items(("FARGATE", 0, 0)), 2, ["FARGATE"] * 2),
        (items(("FARGATE", 1, 0), ("FARGATE_SPOT", 3, 0)), 8, ["FARGATE"] * 2 + ["FARGATE_SPOT"] * 6),
        (items(("FARGATE", 0, 2), ("FARGATE_SPOT", 1, 0)), 5, ["FARGATE"] * 2 + ["FARGATE_SPOT"] * 3),
        (items(("FARGATE", 1, 10), ("FARGATE_SPOT", 1, 0)), 3, ["FARGATE"] * 3),
    ],
)
def test_a_strategy_splits_tasks(strategy: list[dict[str, Any]], count: int, chosen: list[str]) -> None:
    capacity.check(strategy, BOTH)
    assert sorted(capacity.split(strategy, count)) == chosen


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        (items(("FARGATE", 1, 0)) * 21, "at most 20"),
        (items(("other", 1, 0)), "not associated with the cluster"),
        (items(("FARGATE", 1001, 0)), "weight is 0 to 1000"),
        (items(("FARGATE", 1, -1)), "base 0 to 100000"),
        (items(("FARGATE", 1, 1), ("FARGATE_SPOT", 1, 1)), "with a base value defined"),
        (items(("FARGATE", 0, 1), ("FARGATE_SPOT", 0, 0)), "weight value greater than zero"),
    ],
)
def test_a_strategy_that_can_not_be_followed(strategy: list[dict[str, Any]], text: str) -> None:
    with pytest.raises(AwsError, match=text):
        capacity.check(strategy, BOTH)
