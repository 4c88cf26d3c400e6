"""How fast services may start tasks."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scheduling_world import NOW, deployment, ended, seen, service, task

from homeport.services.ecs.model.service import Throttle
from homeport.services.ecs.scheduling import throttle
from homeport.services.ecs.scheduling.reconcile import reconcile

OWNER = "ecs-svc/2"
ONE_IN_A_ROW = 27 * 60.0


@pytest.mark.parametrize(
    ("rounds", "seconds"), [(0, 0), (1, 0), (2, 1), (3, 2), (5, 8), (10, 256), (12, 1024), (13, 1620), (999, 1620)]
)
def test_waits_double_up_to_ecs_ceiling(rounds: int, seconds: float) -> None:
    assert throttle.delay(rounds) == seconds


def failing(memory: Throttle, now: float, made: float) -> Throttle:
    return throttle.noted(memory, OWNER, [ended("a", created_at=made)], now)


def test_each_round_that_fails_makes_the_next_wait_longer() -> None:
    memory, now, waits = Throttle(), NOW, []
    for _ in range(6):
        made, now = now, now + 5
        memory = failing(memory, now, made)
        waits.append(memory.until - now)
        now = memory.until
    assert waits == [0, 1, 2, 4, 8, 16]
    assert (memory.failures, memory.rounds) == (6, 6)


def test_tasks_that_were_started_together_are_one_round() -> None:
    memory = throttle.noted(Throttle(), OWNER, [ended(id, created_at=NOW - 5) for id in "abc"], NOW)
    memory = failing(memory, NOW + 1, NOW - 5)
    assert (memory.failures, memory.rounds) == (4, 1)
    assert failing(memory, NOW + 2, NOW).rounds == 2


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({}, True),
        ({"started_at": NOW - 1, "stop_code": "EssentialContainerExited"}, False),  # it ran, however briefly
        ({"stop_code": "ServiceSchedulerInitiated"}, False),
        ({"stop_code": "UserInitiated"}, False),
        ({"stop_code": "InfrastructureHealth"}, False),
        ({"noted": True}, False),
    ],
)
def test_only_tasks_that_never_ran_count(fields: dict[str, object], counts: bool) -> None:
    memory = throttle.noted(Throttle(), OWNER, [ended("a", **fields)], NOW)
    assert memory.failures == int(counts)


def test_a_task_that_runs_ends_it_but_not_one_that_ran_before() -> None:
    memory = Throttle(owner=OWNER, failures=9, rounds=9, since=NOW, until=NOW + 128, told=True)
    assert throttle.noted(memory, OWNER, [task("a", started_at=NOW - 1)], NOW + 1) == memory
    assert throttle.noted(memory, OWNER, [task("a", started_at=NOW + 1)], NOW + 1) == Throttle(owner=OWNER, since=NOW)


def test_another_deployment_begins_anew_within_the_same_minute() -> None:
    memory = Throttle(owner=OWNER, failures=9, rounds=9, since=NOW, until=NOW + 128, told=True, window=NOW, started=7)
    assert throttle.noted(memory, "ecs-svc/3", [], NOW) == Throttle(owner="ecs-svc/3", window=NOW, started=7)


def test_no_more_than_five_hundred_are_started_in_a_minute() -> None:
    memory, begun = Throttle(), 0
    for second in range(120):
        now = NOW + second
        number = throttle.allowed(memory, 100, now)
        memory = throttle.launched(memory, number, now)
        begun += number
        if second == 59:
            assert begun == 500
            assert throttle.opens_at(memory, now) == NOW + 60
    assert begun == 1000


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 600)), max_size=60))
def test_the_quota_of_a_minute_holds_from_window_to_window(steps: list[tuple[float, int]]) -> None:
    memory, now, log = Throttle(), NOW, []
    for seconds, wanted in steps:
        now += seconds
        number = throttle.allowed(memory, wanted, now)
        memory = throttle.launched(memory, number, now)
        log.append((memory.window, number))
    windows = {window for window, _ in log}
    assert all(sum(n for window, n in log if window == w) <= 500 for w in windows)
    ordered = sorted(windows - {0.0})
    assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(ordered))


def test_a_launch_that_goes_wrong_is_tried_again_after_a_second_at_least() -> None:
    memory = throttle.refused(Throttle(), NOW)
    assert (memory.until, throttle.allowed(memory, 1, NOW), throttle.opens_at(memory, NOW)) == (NOW + 1, 0, NOW + 1)
    for _ in range(20):
        memory = throttle.refused(memory, NOW)
    assert memory.until == NOW + ONE_IN_A_ROW


def test_a_clock_that_is_set_back_does_not_lengthen_the_wait() -> None:
    memory = Throttle(rounds=13, until=NOW + ONE_IN_A_ROW, window=NOW, started=500)
    assert throttle.allowed(memory, 1, NOW) == 0
    assert throttle.allowed(memory, 1, NOW - 3600) == 1
    assert throttle.opens_at(memory, NOW - 3600) is None


def test_it_is_told_once_that_tasks_cannot_be_started() -> None:
    memory = Throttle(owner=OWNER, rounds=2, failures=2, since=NOW - 10)
    plan = reconcile(seen(service(1, throttle=memory), [ended("a", created_at=NOW - 5)]), NOW)
    told = [e for e in plan.events if e.name == "SERVICE_TASK_START_IMPAIRED"]
    assert [(e.message, e.level) for e in told] == [
        ("(service web) is unable to consistently start tasks successfully.", "WARN")
    ]
    assert (plan.starts, plan.wake_at) == ((), NOW + 2)
    later = seen(plan.service, [ended("b", created_at=NOW + 2)], deployments=(deployment(),))
    again = reconcile(later, NOW + 5)
    assert [e for e in again.events if e.name == "SERVICE_TASK_START_IMPAIRED"] == []
    assert again.service.throttle.until == NOW + 5 + 4
    ran = replace(later, service=again.service, tasks=(task("c", started_at=NOW + 6),))
    assert not reconcile(ran, NOW + 6).service.throttle.told
