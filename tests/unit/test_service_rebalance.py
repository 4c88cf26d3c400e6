"""Tasks that are evened out over zones, decided."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_service_task_sets import NOW, service, task

from homeport.services.ecs.model.deployment import Deployment
from homeport.services.ecs.model.service import Throttle
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.scheduling import bounds, rebalance, replica
from homeport.services.ecs.scheduling.plan import Seen, Start
from homeport.services.ecs.scheduling.rebalance import Shift
from homeport.services.ecs.scheduling.reconcile import reconcile

ZONES = ("a", "b", "c")
PRIMARY = Deployment(
    id="1", service="demo/shop", revision="r", number=1, created_at=NOW, updated_at=NOW, rollout="COMPLETED", good=True
)


def seen(counts: dict[str, int], *extra: Task, maximum: int = 200, **fields: Any) -> Seen:
    """A steady service with so many tasks in each zone, called a0, a1 …, and tasks that were started to even it out."""
    tasks = [task(f"{zone}{n}", availability_zone=zone) for zone, count in counts.items() for n in range(count)]
    one = replace(
        service(len(tasks)),
        controller="ECS",
        rebalancing=True,
        deployment_configuration={"maximumPercent": maximum, "minimumHealthyPercent": 100},
        extra=tuple(t.id for t in extra),
        **{"unbalanced_at": NOW if extra else None, "steady_at": NOW, **fields},
    )
    return Seen(service=one, deployments=(PRIMARY,), tasks=(*tasks, *extra), zones=tuple(counts))


def step(look: Seen, now: float = NOW) -> Shift:
    hidden = rebalance.hide(look, now)
    counted = replica.count(hidden.seen, PRIMARY.name, now)
    return rebalance.shift(hidden.seen, counted, hidden.extra, now)


def starts(shift: Shift) -> dict[str | None, int]:
    return {start.zone: start.count for start in shift.starts}


@pytest.mark.parametrize(
    ("counts", "maximum", "wanted"),
    [
        ({"a": 2, "b": 2, "c": 1}, 200, {}),
        ({"a": 1, "b": 1, "c": 0}, 200, {}),
        ({"a": 2, "b": 0, "c": 0}, 200, {"b": 1}),
        ({"a": 3, "b": 1, "c": 1}, 200, {"b": 1}),
        ({"a": 9, "b": 0, "c": 0}, 200, {"b": 3, "c": 3}),
        ({"a": 9, "b": 0, "c": 0}, 125, {"b": 1, "c": 1}),  # the upper bound leaves room for two
        ({"a": 4, "b": 0}, 110, {}),
        ({"a": 0, "b": 0}, 200, {}),
        ({"a": 4}, 200, {}),
    ],
)
def test_what_is_started_where(counts: dict[str, int], maximum: int, wanted: dict[str, int]) -> None:
    assert starts(step(seen(counts, maximum=maximum))) == wanted


def test_a_service_that_is_held_back_starts_nothing_in_other_zones_either() -> None:
    assert starts(step(seen({"a": 3, "b": 1}, throttle=Throttle(rounds=3, until=NOW + 2)))) == {}
    assert starts(step(seen({"a": 3, "b": 1}, throttle=Throttle(rounds=3, until=NOW)))) == {"b": 1}


def test_it_is_told_when_it_begins_and_when_it_is_through() -> None:
    begun = step(seen({"a": 3, "b": 1, "c": 1}))
    assert [(e.name, e.level, e.message) for e in begun.events] == [
        (
            "SERVICE_REBALANCING_STARTED",
            "INFO",
            "(service shop) is not AZ balanced with 3 tasks in a, 1 tasks in b, 1 tasks in c. AZ Rebalancing in "
            "progress.",
        )
    ]
    assert begun.seen.service.unbalanced_at == NOW
    again = step(seen({"a": 3, "b": 1}, unbalanced_at=NOW - 9))
    assert (again.events, again.seen.service.unbalanced_at) == ((), NOW - 9)
    done = step(seen({"a": 2, "b": 2, "c": 1}, unbalanced_at=NOW - 9))
    assert [(e.name, e.message) for e in done.events] == [
        (
            "SERVICE_REBALANCING_COMPLETED",
            "(service shop) is AZ balanced with 2 tasks in a, 2 tasks in b, 1 tasks in c.",
        )
    ]
    assert done.seen.service.unbalanced_at is None


def test_nothing_is_stopped_before_what_was_started_is_healthy() -> None:
    fresh = task("x", availability_zone="b", started_at=NOW - 39)
    look = seen({"a": 3, "b": 1}, fresh)
    assert step(look).stops == ()
    assert rebalance.hide(look, NOW).changes_at == NOW + 1
    done = step(look, NOW + 1)
    assert [(stop.task[0], stop.why) for stop in done.stops] == [("a", "rebalancing")]
    assert done.seen.service.extra == ()


def test_it_is_not_steady_while_what_is_too_many_still_stops() -> None:
    plan = reconcile(seen({"a": 2, "b": 0}, task("new", availability_zone="b"), steady_at=None), NOW)
    assert len(plan.stops) == 1
    assert plan.service.steady_at is None
    assert not any("steady state" in told.message for told in plan.events)


def test_protected_tasks_are_neither_counted_on_nor_stopped() -> None:
    look = seen({"a": 3, "b": 0})
    guarded = [replace(t, protected_until=NOW + 9) for t in look.tasks]
    assert starts(step(replace(look, tasks=tuple(guarded)))) == {}
    fresh = task("x", availability_zone="b")
    look = seen({"a": 3, "b": 0}, fresh)
    tasks = [replace(t, protected_until=NOW + 9) if t.id in ("a0", "a1") else t for t in look.tasks]
    assert [stop.task for stop in step(replace(look, tasks=tuple(tasks))).stops] == ["a2"]


def test_extra_tasks_go_themselves_where_nothing_else_may() -> None:
    look = seen({"a": 3, "b": 0}, task("x", availability_zone="b"))
    tasks = [replace(t, protected_until=NOW + 9) if t.id != "x" else t for t in look.tasks]
    assert [(stop.task, stop.why) for stop in step(replace(look, tasks=tuple(tasks))).stops] == [("x", "scaling")]
    none = replace(look, service=replace(look.service, desired=0), tasks=look.tasks[-1:])
    assert [stop.task for stop in step(none).stops] == ["x"]


def test_a_protected_extra_task_is_kept_until_it_may_go() -> None:
    """As any other that is too many."""
    look = seen({"a": 0, "b": 0}, task("x", availability_zone="b", protected_until=NOW + 9), desired=0)
    plan = reconcile(look, NOW)
    assert (plan.stops, plan.service.extra) == ((), ())
    after = replace(look, service=plan.service)
    assert [stop.task for stop in reconcile(after, NOW + 9).stops] == ["x"]
    held = reconcile(after, NOW)
    assert (held.stops, held.wake_at) == ((), NOW + 9)


@pytest.mark.parametrize(
    "change",
    [
        {"service": {"rebalancing": False}},
        {"deployment": {"rollout": "IN_PROGRESS"}},
        {"extra": {"started_by": "ecs-svc/9"}},
        {"extra": {"instance": "drains"}},
    ],
)
def test_what_can_not_go_on_is_given_up(change: dict[str, dict[str, Any]]) -> None:
    fresh = task("x", availability_zone="b", **change.get("extra", {}))
    look = seen({"a": 3, "b": 1}, fresh)
    look = replace(
        look,
        service=replace(look.service, **change.get("service", {})),
        deployments=(replace(PRIMARY, **change.get("deployment", {})),),
        draining=frozenset({"drains"}),
    )
    hidden = rebalance.hide(look, NOW)
    assert [(e.name, e.message) for e in hidden.events] == [
        ("SERVICE_REBALANCING_STOPPED", "(service shop) stopped AZ Rebalancing.")
    ]
    assert (hidden.seen.service.extra, hidden.seen.service.unbalanced_at) == ((), None)
    assert hidden.seen.tasks == look.tasks


def test_what_waits_for_room_in_its_zone_is_not_taken_for_a_task_once_it_is_given_up() -> None:
    """It would be one of the desired ones, though there may be room for another in any zone."""
    waits = task("x", availability_zone="b", instance=None, last_status=TaskStatus.PROVISIONING, started_at=None)
    look = seen({"a": 2, "b": 0}, waits, maximum=150)
    sick = replace(look.tasks[0], containers=(replace(look.tasks[0].containers[0], health="UNHEALTHY"),))
    look = replace(look, tasks=(sick, *look.tasks[1:]), checked={sick.definition_arn: frozenset({"app"})})
    plan = reconcile(look, NOW)
    assert [(stop.task, stop.why) for stop in plan.stops] == [("x", "scaling")]
    assert [told.name for told in plan.events] == ["SERVICE_REBALANCING_STOPPED"]
    stopped = tuple(replace(t, desired_status="STOPPED") if t.id == "x" else t for t in look.tasks)
    after = reconcile(replace(look, service=plan.service, tasks=stopped), NOW)
    assert (after.service.extra, after.events) == ((), ())
    guarded = replace(look, tasks=tuple(replace(t, protected_until=NOW + 9) if t.id == "x" else t for t in look.tasks))
    plan = reconcile(guarded, NOW)
    assert (plan.stops, plan.service.extra, plan.wake_at) == ((), ("x",), NOW + 9)
    plan = reconcile(replace(guarded, service=plan.service), NOW + 1)
    assert (plan.stops, plan.events) == ((), ())
    assert [stop.task for stop in reconcile(replace(guarded, service=plan.service), NOW + 9).stops] == ["x"]


def test_an_extra_task_that_ended_is_forgotten_and_counted_as_any_other() -> None:
    over = task("x", availability_zone="b", last_status=TaskStatus.STOPPED, desired_status="STOPPED")
    hidden = rebalance.hide(seen({"a": 3, "b": 1}, over), NOW)
    assert hidden.seen.service.extra == ()
    assert over in hidden.seen.tasks
    assert hidden.events == ()


def test_replacements_keep_to_the_upper_bound_beside_extra_tasks() -> None:
    fresh = task("x", availability_zone="b")
    look = seen({"a": 3, "b": 1}, fresh, maximum=125)
    hidden = rebalance.hide(look, NOW)
    counted = replica.count(hidden.seen, PRIMARY.name, NOW)
    assert rebalance.fit(hidden.seen, (Start("1", 1),), counted, hidden.extra) == ()
    assert rebalance.fit(hidden.seen, (Start("1", 1),), counted, ()) == (Start("1", 1),)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(110, 200))
def test_it_ends_even_within_its_bounds(drawn: list[int], maximum: int) -> None:
    """Everything that is asked for happens at once; the whole of the scheduler decides."""
    look = seen({"abcd"[n]: count for n, count in enumerate(drawn)}, maximum=maximum)
    desired, made = look.service.desired, 0
    upper = bounds.upper(desired, look.service.deployment_configuration)
    before = Counter(t.availability_zone for t in look.tasks)
    for round in range(100):
        plan = reconcile(look, NOW + round)
        if not plan.starts and not plan.stops:
            break
        gone = {stop.task for stop in plan.stops}
        new = []
        for start in plan.starts:
            for _ in range(start.count):
                made += 1
                new.append(task(f"new{made:02}", availability_zone=start.zone))
        look = replace(
            look,
            service=replace(plan.service, extra=(*plan.service.extra, *(t.id for t in new))),
            tasks=(*(t for t in look.tasks if t.id not in gone), *new),
        )
        assert desired <= len(look.tasks) <= max(upper, desired)
    else:
        raise AssertionError("it never ends")
    counts = [sum(t.availability_zone == zone for t in look.tasks) for zone in look.zones]
    assert len(look.tasks) == desired
    assert upper == desired or max(counts) - min(counts) <= 1
    after = Counter(t.availability_zone for t in look.tasks)
    assert made == sum(max(0, after[zone] - before[zone]) for zone in look.zones)


@pytest.mark.parametrize(("maximum", "given_up"), [(150, True), (200, False)])
def test_extra_tasks_do_not_keep_unhealthy_ones_from_being_replaced(maximum: int, given_up: bool) -> None:
    extra = task("new", availability_zone="b", last_status=TaskStatus.PENDING, started_at=None)
    look = seen({"a": 2, "b": 0}, extra, maximum=maximum)
    ill = tuple(replace(t, containers=(replace(t.containers[0], health="UNHEALTHY"),)) for t in look.tasks[:2])
    look = replace(look, tasks=(*ill, extra), checked={ill[0].definition_arn: frozenset({"app"})})
    plan = reconcile(look, NOW)
    assert (plan.service.extra == ()) == given_up
    assert len(plan.stops) == (1 if given_up else 0), "one at a time where no replacement can start first"
    assert sum(start.count for start in plan.starts) == (0 if given_up else 1)
