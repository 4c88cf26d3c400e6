"""Task sets' counts and stability, decided."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from homeport.services.ecs.model.deployment import Configuration
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import Container, Task, TaskStatus
from homeport.services.ecs.model.task_set import TaskSet
from homeport.services.ecs.scheduling import task_sets
from homeport.services.ecs.scheduling.plan import Seen
from homeport.services.ecs.scheduling.task_sets import Brought, bring

NOW = 1_000_000.0
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/demo"
DEFINITION = CLUSTER.replace(":cluster/demo", ":task-definition/web:1")
CONFIGURATION = Configuration(definition_arn=DEFINITION, launch_type="FARGATE")


def service(desired: int, **fields: Any) -> Service:
    return Service(
        cluster="demo",
        cluster_arn=CLUSTER,
        cluster_generation=1,
        name="shop",
        created_at=NOW - 7200,
        created_by="root",
        configuration=None,
        controller="EXTERNAL",
        desired=desired,
        **fields,
    )


def task_set(id: str = "1", **fields: Any) -> TaskSet:
    return TaskSet(
        **{
            "id": id,
            "service": "demo/shop",
            "number": int(id),
            "configuration": CONFIGURATION,
            "created_at": NOW,
            "updated_at": NOW,
            **fields,
        }
    )


def task(id: str, owner: str = "1", **fields: Any) -> Task:
    """Running for an hour."""
    return Task(
        **{
            "id": id,
            "cluster_arn": CLUSTER,
            "definition_arn": DEFINITION,
            "launch_type": "FARGATE",
            "group": "service:shop",
            "cpu": 256,
            "memory": 512,
            "created_at": NOW - 3600,
            "started_at": NOW - 3600,
            "containers": (Container(id=id, name="app"),),
            "last_status": TaskStatus.RUNNING,
            "started_by": f"ecs-svc/{owner}",
            **fields,
        }
    )


def seen(desired: int, sets: list[TaskSet], tasks: list[Task], **fields: Any) -> Seen:
    return Seen(service=service(desired), task_sets=tuple(sets), tasks=tuple(tasks), **fields)


def starts(brought: Brought) -> dict[str, int]:
    return {start.owner: start.count for start in brought.starts}


def stops(brought: Brought) -> set[str]:
    return {stop.task for stop in brought.stops}


@pytest.mark.parametrize(
    ("desired", "scale", "count"),
    [
        (4, 100.0, 4),
        (4, 50.0, 2),
        (3, 50.0, 2),
        (1, 0.1, 1),
        (10, 0.0, 0),
        (0, 100.0, 0),
        (1000, 1.1, 11),  # 1.1 * 1000 is a little more in binary
        (100, 0.29, 1),
        (3, 33.3, 1),
        (3, 33.4, 2),
    ],
)
def test_scale_is_percent_rounded_up(desired: int, scale: float, count: int) -> None:
    assert task_sets.computed(desired, scale) == count


@given(st.integers(0, 5000), st.floats(0, 100))
def test_a_count_is_never_less_than_the_scale_asks_for_nor_a_task_more(desired: int, scale: float) -> None:
    count = task_sets.computed(desired, scale)
    assert 0 <= count <= desired
    assert desired * scale / 100 - 1e-6 <= count < desired * scale / 100 + 1 + 1e-6


def test_each_set_is_brought_to_its_own_count() -> None:
    there = [task("a"), task("b"), task("c", "2")]
    brought = bring(seen(4, [task_set("1", scale=25.0), task_set("2", scale=100.0)], there), NOW)
    assert starts(brought) == {"2": 3}
    assert stops(brought) == {"a"}


def test_a_set_that_is_deleted_stops_all_of_its_tasks_and_goes_with_the_last_of_them() -> None:
    leaving = task_set("1", status="DRAINING")
    brought = bring(seen(2, [leaving], [task("a", protected_until=NOW + 60), task("b")]), NOW)
    assert stops(brought) == {"a", "b"}
    assert brought.gone == ()
    assert not brought.steady
    stopping = task("a", desired_status="STOPPED", last_status=TaskStatus.DEPROVISIONING)
    brought = bring(seen(2, [leaving], [stopping]), NOW)
    assert stops(brought) == set()
    assert brought.gone == ()
    over = task("a", desired_status="STOPPED", last_status=TaskStatus.STOPPED)
    assert bring(seen(2, [leaving], [over]), NOW).gone == ("1",)


def test_protected_tasks_outlive_a_smaller_scale_and_it_is_told() -> None:
    there = [task("a", protected_until=NOW + 60), task("b", protected_until=NOW + 60)]
    brought = bring(seen(2, [task_set(scale=50.0, computed=1)], there), NOW)
    assert stops(brought) == set()
    assert [e.message for e in brought.events] == [
        "(service shop) was unable to reach steady state because (taskSet ecs-svc/1) was unable to scale in due to "
        "(reason 1 tasks under protection)"
    ]


def test_tasks_of_instances_that_drain_are_replaced_before_they_stop() -> None:
    one = task("a", instance="i")
    look = seen(1, [task_set(computed=1, stability="STEADY_STATE")], [one], draining=frozenset({"i"}))
    brought = bring(look, NOW)
    assert starts(brought) == {"1": 1}
    assert stops(brought) == set()
    assert brought.task_sets[0].stability == "STABILIZING"
    brought = bring(replace(look, tasks=(one, task("b"))), NOW)
    assert starts(brought) == {}
    assert stops(brought) == {"a"}


def test_a_set_is_steady_as_soon_as_ecs_says_so() -> None:
    fresh = task("a", started_at=NOW - 1)
    brought = bring(seen(1, [task_set()], [fresh]), NOW)
    assert brought.task_sets[0].stability == "STEADY_STATE"
    assert brought.task_sets[0].stability_at == NOW
    assert [(e.name, e.message) for e in brought.events] == [
        ("SERVICE_DESIRED_COUNT_UPDATED", "(service shop) updated computedDesiredCount for taskSet ecs-svc/1 to 1."),
        ("TASKSET_STEADY_STATE", "(service shop, taskSet ecs-svc/1) updated state to STEADY_STATE."),
    ]
    arn = "arn:aws:ecs:us-east-1:123456789012:task-set/demo/shop/ecs-svc/1"
    assert [e.detail.get("taskSetArns") for e in brought.events] == [[arn], [arn]]
    again = bring(seen(1, list(brought.task_sets), [fresh]), NOW + 1)
    assert again == Brought(steady=True, wake_at=NOW + 39)  # when the scheduler takes it for healthy


@pytest.mark.parametrize(
    ("there", "checked"),
    [
        ([task("a", last_status=TaskStatus.PENDING, started_at=None)], ()),
        ([task("a"), task("b", desired_status="STOPPED")], ()),
        ([task("a", instance="i")], ()),
        ([task("a")], ("app",)),
        ([], ()),
    ],
)
def test_what_keeps_a_set_from_its_steady_state(there: list[Task], checked: tuple[str, ...]) -> None:
    steady = task_set(computed=1, stability="STEADY_STATE")
    look = seen(1, [steady], there, draining=frozenset({"i"}), checked={DEFINITION: frozenset(checked)})
    brought = bring(look, NOW)
    assert not brought.steady
    assert [(s.stability, s.stability_at) for s in brought.task_sets] == [("STABILIZING", NOW)]


def test_sets_whose_tasks_never_run_wait_each_for_themselves_and_it_is_told() -> None:
    failing, well = task_set("1", computed=1), task_set("2", computed=1)
    told: list[str] = []
    at = NOW
    for _ in range(4):
        failed = task(
            "a",
            last_status=TaskStatus.STOPPED,
            desired_status="STOPPED",
            started_at=None,
            stop_code="TaskFailedToStart",
            created_at=at,
        )
        brought = bring(seen(1, [failing, well], [failed]), at)
        failing = next((s for s in brought.task_sets if s.id == "1"), failing)
        told += [e.name for e in brought.events]
        assert starts(brought)["2"] == 1
        at += 1
    assert "1" not in starts(brought)
    assert brought.wake_at == failing.throttle.until > NOW + 4
    assert told == ["SERVICE_TASK_START_IMPAIRED"]


def test_sets_share_what_a_service_may_start_in_a_minute() -> None:
    brought = bring(seen(400, [task_set("1"), task_set("2")], []), NOW)
    assert starts(brought) == {"1": 400, "2": 100}


def test_tasks_of_an_earlier_service_of_the_name_are_stopped() -> None:
    assert stops(bring(seen(1, [task_set()], [task("a"), task("b", "9")]), NOW)) == {"b"}


def test_a_service_without_sets_is_steady_only_where_it_wants_none() -> None:
    assert bring(seen(0, [], []), NOW).steady
    assert not bring(seen(1, [], []), NOW).steady


STATUSES = st.sampled_from(list(TaskStatus)[:7])
TASK = st.builds(
    lambda status, stopped, age, owner: (status, stopped, age, owner),
    STATUSES,
    st.booleans(),
    st.integers(0, 100),
    st.sampled_from("123"),
)


@given(st.integers(0, 6), st.lists(st.sampled_from([0.0, 33.3, 50.0, 100.0]), min_size=3, max_size=3), st.lists(TASK))
def test_no_set_touches_anothers_tasks_nor_leaves_its_bounds(
    desired: int, scales: list[float], drawn: list[Any]
) -> None:
    tasks = [
        task(
            str(n),
            owner,
            last_status=status,
            desired_status="STOPPED" if stopped else "RUNNING",
            started_at=NOW - age if status >= TaskStatus.RUNNING else None,
        )
        for n, (status, stopped, age, owner) in enumerate(drawn)
    ]
    sets = [task_set(str(n), scale=scale) for n, scale in enumerate(scales, 1)]
    brought = bring(seen(desired, sets, tasks), NOW)
    for one in sets:
        own = [t for t in tasks if t.started_by == one.name]
        wanted = task_sets.computed(desired, one.scale)
        live = sum(t.desired_status == "RUNNING" for t in own)
        added, taken = starts(brought).get(one.id, 0), len(stops(brought) & {t.id for t in own})
        assert not added or len(own) + added <= 2 * wanted
        assert live - taken + added >= min(wanted, live)
        assert not taken or live - taken >= wanted
