"""Deployments on plain records: circuit breaker, rollback, early success, and what service deployments show of it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from homeport.services.ecs import deployments
from homeport.services.ecs.model.deployment import (
    DEPLOYMENTS,
    KEPT,
    KEPT_SECONDS,
    REVISIONS,
    SERVICE_DEPLOYMENTS,
    Deployment,
    ServiceDeploymentStatus,
)
from homeport.services.ecs.model.service import SERVICES
from homeport.services.ecs.model.task import Container, TaskStatus
from homeport.services.ecs.scheduling import breaker, messages, rollout
from homeport.services.ecs.scheduling.breaker import Breaker
from homeport.services.ecs.scheduling.early import Early
from homeport.services.ecs.scheduling.replica import Count
from homeport.store import Key
from support import rollouts
from support.rollouts import ROLLING, SCOPE, RolloutWorld, definition, task


def statuses(world: RolloutWorld) -> list[ServiceDeploymentStatus]:
    return [made.status for made in world.rollouts()]


# --- the circuit breaker's numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "value", "desired", "threshold"),
    [
        ("BOUNDED_PERCENT", 50, 0, 3),
        ("BOUNDED_PERCENT", 50, 1, 3),
        ("BOUNDED_PERCENT", 50, 6, 3),
        ("BOUNDED_PERCENT", 50, 7, 4),
        ("BOUNDED_PERCENT", 50, 25, 13),
        ("BOUNDED_PERCENT", 50, 400, 200),
        ("BOUNDED_PERCENT", 50, 800, 200),
        ("BOUNDED_PERCENT", 1, 1000, 10),
        ("BOUNDED_PERCENT", 100, 5, 5),
        ("UNBOUNDED_PERCENT", 50, 800, 400),
        ("UNBOUNDED_PERCENT", 50, 1, 1),
        ("UNBOUNDED_PERCENT", 34, 3, 2),
        ("UNBOUNDED_PERCENT", 50, 0, 0),
        ("COUNT", 7, 0, 7),
        ("COUNT", 7, 1000, 7),
    ],
)
def test_the_threshold(type: Any, value: int, desired: int, threshold: int) -> None:
    assert Breaker(enabled=True, type=type, value=value).threshold(desired) == threshold


def test_what_a_configuration_says_of_the_breaker() -> None:
    assert breaker.configured({}) == Breaker()
    assert breaker.configured({"deploymentCircuitBreaker": {"enable": True, "rollback": False}}) == Breaker(
        enabled=True, rollback=False, resets=True, type="BOUNDED_PERCENT", value=50
    )
    whole = {
        "enable": True,
        "rollback": True,
        "resetOnHealthyTask": False,
        "thresholdConfiguration": {"type": "COUNT", "value": 4},
    }
    assert breaker.configured({"deploymentCircuitBreaker": whole}) == Breaker(
        enabled=True, rollback=True, resets=False, type="COUNT", value=4
    )


@pytest.mark.parametrize(
    ("settings", "failures", "desired", "trips"),
    [
        (Breaker(enabled=True), 2, 1, False),
        (Breaker(enabled=True), 3, 1, True),
        (Breaker(enabled=True), 4, 1, True),
        (Breaker(enabled=False), 1000, 1, False),
        (Breaker(enabled=True, type="UNBOUNDED_PERCENT"), 0, 0, False),
        (Breaker(enabled=True, type="UNBOUNDED_PERCENT"), 1, 0, True),
    ],
)
def test_when_it_trips(settings: Breaker, failures: int, desired: int, trips: bool) -> None:
    assert settings.trips(failures, desired) is trips


NEW = Deployment(id="1", service="demo/web", revision="r", number=1, created_at=0.0, updated_at=0.0)
FAILED: dict[str, Any] = {
    "last_status": TaskStatus.STOPPED,
    "started_at": None,
    "stop_code": "TaskFailedToStart",
    "desired_status": "STOPPED",
}
UNHEALTHY: dict[str, Any] = {
    "last_status": TaskStatus.STOPPED,
    "stop_code": "ServiceSchedulerInitiated",
    "stopped_reason": messages.UNHEALTHY,
}


@pytest.mark.parametrize(
    ("before", "tasks", "healthy", "resets", "after"),
    [
        pytest.param({}, [FAILED, FAILED], "", True, (2, 2, False, ()), id="each that never ran"),
        pytest.param({}, [{**FAILED, "noted": True}], "", True, (0, 0, False, ()), id="each once"),
        pytest.param({}, [{**FAILED, "stop_code": "UserInitiated"}], "", True, (0, 0, False, ()), id="not by a user"),
        pytest.param({}, [{**UNHEALTHY, "started_at": None}], "", True, (0, 0, False, ()), id="not by the scheduler"),
        pytest.param({}, [{}], "", True, (0, 0, True, ()), id="one runs"),
        pytest.param({"ran": True}, [FAILED], "", True, (1, 0, True, ()), id="once one ran, only health counts"),
        pytest.param({}, [UNHEALTHY, UNHEALTHY], "", True, (2, 2, True, ()), id="replaced for its health"),
        pytest.param(
            {}, [{**UNHEALTHY, "stopped_reason": "Scaling"}], "", True, (0, 0, True, ()), id="not what scales in"
        ),
        pytest.param(
            {"failures": 2, "failed_tasks": 2}, [], "a", True, (0, 0, False, ()), id="a healthy one ends the row"
        ),
        pytest.param({"failures": 2, "failed_tasks": 2}, [], "a", False, (0, 2, False, ()), id="the count may be kept"),
        pytest.param(
            {"failures": 2, "failed_tasks": 2, "healthy": ("a",)},
            [],
            "a",
            True,
            (2, 2, False, ("a",)),
            id="one that was healthy before doesn't",
        ),
        pytest.param(
            {"failures": 2, "failed_tasks": 2, "healthy": ("a", "b")},
            [],
            "b",
            True,
            (2, 2, False, ("b",)),
            id="one that is healthy no more may be again",
        ),
        pytest.param(
            {"failures": 2, "failed_tasks": 2}, [FAILED], "a", True, (1, 1, False, ("a",)), id="then it counts anew"
        ),
    ],
)
def test_what_counts_as_a_failure(
    before: dict[str, Any], tasks: list[dict[str, Any]], healthy: str, resets: bool, after: Any
) -> None:
    made = [task(str(n), **fields) for n, fields in enumerate(tasks)]
    found = breaker.counted(replace(NEW, **before), made, frozenset(healthy), Breaker(enabled=True, resets=resets))
    assert (found.failed_tasks, found.failures, found.ran, found.healthy) == after


# --- deployments that succeed ----------------------------------------------------------------------------------------


def test_the_first_deployment_completes() -> None:
    world = RolloutWorld(2)
    assert statuses(world) == ["PENDING"]
    world.look()
    assert statuses(world) == ["IN_PROGRESS"]
    assert world.primary.rollout_reason == f"ECS deployment {world.primary.name} in progress."
    for one in world.tasks():
        world.run(one)
    world.look()
    assert world.primary.rollout == "IN_PROGRESS", "they run, but aren't healthy yet"
    for one in world.tasks():
        world.heal(one)
    world.look()
    done = world.primary
    assert (done.rollout, done.rollout_reason) == ("COMPLETED", f"ECS deployment {done.name} completed.")
    (made,) = world.rollouts()
    assert (made.status, made.sources, made.target) == ("SUCCESSFUL", (), done.revision)
    assert made.started_at == made.finished_at == world.now
    assert made.wake_at == world.now + KEPT_SECONDS
    assert made.counts == {done.revision: (2, 2, 0)}
    assert made.breaker == "DISABLED"
    assert world.told()[-2:] == [
        f"(service web) (deployment {done.name}) deployment completed.",
        "(service web) has reached a steady state.",
    ]


def test_a_deployment_of_no_tasks_completes_at_once() -> None:
    world = RolloutWorld(0)
    world.look()
    assert (world.primary.rollout, statuses(world)) == ("COMPLETED", ["SUCCESSFUL"])


def test_an_update_takes_over_from_what_was() -> None:
    world = RolloutWorld(2)
    world.settle()
    first = world.primary
    world.update(2)
    world.look()
    shown = [(d.role, d.rollout) for d in world.deployments()]
    assert shown == [("ACTIVE", "COMPLETED"), ("PRIMARY", "IN_PROGRESS")]
    world.settle()
    assert [(d.role, d.rollout) for d in world.deployments()] == [("INACTIVE", "COMPLETED"), ("PRIMARY", "COMPLETED")]
    made = world.rollouts()[-1]
    assert (made.status, made.sources) == ("SUCCESSFUL", (first.revision,))
    assert world.deployments()[0].wake_at is not None


def test_a_newer_deployment_stops_an_older_one() -> None:
    world = RolloutWorld(2)
    world.settle()
    world.update(2)
    world.update(3)  # in the same second
    assert statuses(world) == ["SUCCESSFUL", "STOP_REQUESTED", "PENDING"]
    world.look()
    assert statuses(world) == ["SUCCESSFUL", "STOPPED", "IN_PROGRESS"]
    stopped = world.rollouts()[1]
    assert stopped.stopped_at == stopped.finished_at == world.now
    assert stopped.status_reason == deployments.SUPERSEDED
    assert [d.role for d in world.deployments()] == ["ACTIVE", "INACTIVE", "PRIMARY"], "the one without tasks is gone"
    world.settle()
    assert {t.definition_arn for t in world.tasks()} == {definition(3)}
    assert statuses(world) == ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]


# --- deployments that fail -------------------------------------------------------------------------------------------


def test_a_failed_deployment_goes_back_to_the_one_that_completed() -> None:
    world = RolloutWorld(2, **rollouts.breaker())
    world.settle()
    good, kept = world.primary, {t.id for t in world.tasks()}
    world.update(2)
    states = []
    for _ in range(12):
        world.look()
        states.append(statuses(world)[-1])
        for one in world.tasks():
            if one.last_status < TaskStatus.RUNNING or one.desired_status == "STOPPED":
                world.end(one)
        world.now += 60
    assert list(dict.fromkeys(states)) == ["IN_PROGRESS", "ROLLBACK_IN_PROGRESS", "ROLLBACK_SUCCESSFUL"]
    bad = world.deployments()[-1]
    assert (bad.role, bad.rollout, bad.rollout_reason) == ("INACTIVE", "FAILED", messages.FAILED_TO_START)
    assert world.primary.id == good.id
    assert (world.primary.rollout, world.primary.good) == ("COMPLETED", True)
    assert {t.id for t in world.tasks()} == kept, "those that were well have been left alone"
    assert world.service.configuration is not None
    assert world.service.configuration.definition_arn == definition(1)
    made = world.rollouts()[-1]
    assert made.status_reason == rollout.ROLLED_BACK
    assert made.rollback is not None
    assert (made.rollback.revision, made.rollback.reason) == (good.revision, rollout.ROLLED_BACK)
    assert (made.breaker, made.failure_count, made.threshold) == ("TRIGGERED", 4, 3)
    assert made.target == bad.revision
    assert made.finished_at is not None
    assert made.stopped_at is None
    failed = world.told().index(f"(service web) (deployment {bad.name}) deployment failed: tasks failed to start.")
    assert world.told()[failed + 1] == f"(service web) rolling back to deployment {good.name}."


def test_the_deployment_that_is_returned_to_says_so_and_is_no_candidate_until_it_completes() -> None:
    world = RolloutWorld(1, minimumHealthyPercent=0, maximumPercent=100, **_breaker_only())
    world.settle()
    good = world.primary
    world.update(2)
    _until(world, lambda: statuses(world)[-1] == "ROLLBACK_IN_PROGRESS", bad=2)
    back = world.primary
    assert back.id == good.id
    assert back.rollout_reason == f"ECS deployment circuit breaker: rolling back to deploymentId {good.name}."
    assert (back.rollout, back.good, back.failures, back.failed_tasks, back.ran) == ("IN_PROGRESS", False, 0, 0, False)
    assert deployments.candidate(world.tx(), SCOPE, "demo/web") is None
    assert world.tasks(back), "its tasks were all gone, so new ones are started"
    world.settle()
    assert (world.primary.rollout, statuses(world)[-1]) == ("COMPLETED", "ROLLBACK_SUCCESSFUL")
    assert deployments.candidate(world.tx(), SCOPE, "demo/web") is None, "the PRIMARY one is none"


def test_a_rollback_that_fails_too_ends_it() -> None:
    world = RolloutWorld(1, minimumHealthyPercent=0, maximumPercent=100, **_breaker_only())
    world.settle()
    world.update(2)
    world.settle(1, 2)
    assert world.tasks() == []
    assert (world.primary.rollout, statuses(world)[-1]) == ("FAILED", "ROLLBACK_FAILED")
    made = world.rollouts()[-1]
    assert made.status_reason == rollout.NOT_ROLLED_BACK
    assert made.rollback is not None
    before = world.made
    world.settle()
    assert world.made == before, "it starts nothing more"


def test_the_first_deployment_ever_that_fails_has_nothing_to_return_to() -> None:
    world = RolloutWorld(1, **rollouts.breaker())
    world.settle(1)
    assert (world.primary.rollout, statuses(world)) == ("FAILED", ["ROLLBACK_FAILED"])
    (made,) = world.rollouts()
    assert (made.status_reason, made.rollback, made.breaker) == (rollout.NO_CANDIDATE, None, "TRIGGERED")
    assert world.made == 3
    world.update(2)
    world.settle()
    assert (world.primary.rollout, statuses(world)) == ("COMPLETED", ["ROLLBACK_FAILED", "SUCCESSFUL"])


def test_without_rollback_it_stays_as_it_is() -> None:
    world = RolloutWorld(2, **rollouts.breaker(rollback=False))
    world.settle()
    kept = {t.id for t in world.tasks()}
    world.update(2)
    world.settle(2)
    assert (world.primary.rollout, world.primary.rollout_reason) == ("FAILED", messages.FAILED_TO_START)
    assert {t.id for t in world.tasks()} == kept
    made = world.rollouts()[-1]
    assert (made.status, made.status_reason, made.breaker) == ("STOPPED", rollout.STOPPED, "TRIGGERED")
    assert made.stopped_at == made.finished_at is not None
    world.update(3)
    world.settle()
    assert {t.definition_arn for t in world.tasks()} == {definition(3)}
    assert [d.role for d in world.deployments()] == ["INACTIVE", "INACTIVE", "PRIMARY"]


@pytest.mark.parametrize("desired", [1, 0])
def test_a_service_that_failed_can_be_scaled_in(desired: int) -> None:
    world = RolloutWorld(3, **rollouts.breaker(rollback=False))
    world.settle()
    world.update(2)
    world.settle(2)
    assert len(world.tasks()) == 3
    world.update(desired=desired)
    world.settle(2)
    assert [t.definition_arn for t in world.tasks()] == [definition(1)] * desired
    assert world.primary.rollout == "FAILED"


def test_without_a_breaker_it_goes_on_for_ever() -> None:
    world = RolloutWorld(1)
    world.settle(1, rounds=40)
    assert (world.primary.rollout, statuses(world)) == ("IN_PROGRESS", ["IN_PROGRESS"])
    assert world.primary.failed_tasks > 3


def test_tasks_that_run_but_are_unhealthy_trip_it() -> None:
    world = RolloutWorld(1, **rollouts.breaker(thresholdConfiguration={"type": "COUNT", "value": 2}))
    world.settle()
    good = world.primary
    world.update(2)
    for _ in range(8):
        world.look()
        for one in world.tasks():
            if one.desired_status == "STOPPED":
                world.end(one)
            elif one.last_status < TaskStatus.RUNNING:
                world.run(one)
            elif one.definition_arn == definition(2):
                world.heal(one, "UNHEALTHY")
    assert world.primary.id == good.id
    assert world.rollouts()[-1].failure_count == 2
    assert world.rollouts()[-1].status_reason == rollout.ROLLED_BACK


def test_the_newest_that_completed_is_returned_to() -> None:
    world = RolloutWorld(1, **rollouts.breaker())
    for number in (1, 2):
        world.update(number)
        world.settle()
    second = world.primary
    for bad in (3, 4):
        world.update(bad)
        world.settle(bad)
        assert world.primary.id == second.id
        assert {t.definition_arn for t in world.tasks()} == {definition(2)}
    assert statuses(world)[-2:] == ["ROLLBACK_SUCCESSFUL"] * 2


def test_an_update_in_the_middle_of_a_rollback_takes_over() -> None:
    world = RolloutWorld(1, minimumHealthyPercent=0, maximumPercent=100, **_breaker_only())
    world.settle()
    world.update(2)
    _until(world, lambda: statuses(world)[-1] == "ROLLBACK_IN_PROGRESS", bad=2)
    world.update(3)
    assert statuses(world)[-2:] == ["STOP_REQUESTED", "PENDING"]
    world.look()
    assert statuses(world)[-2:] == ["STOPPED", "IN_PROGRESS"]
    assert world.rollouts()[-2].rollback is not None
    world.settle()
    assert (world.primary.rollout, statuses(world)[-1]) == ("COMPLETED", "SUCCESSFUL")
    assert {t.definition_arn for t in world.tasks()} == {definition(3)}


def test_one_whose_rollback_was_cut_short_is_no_candidate() -> None:
    world = RolloutWorld(1, minimumHealthyPercent=0, maximumPercent=100, **_breaker_only())
    world.settle()
    world.update(2)
    _until(world, lambda: statuses(world)[-1] == "ROLLBACK_IN_PROGRESS", bad=2)
    world.update(3)
    world.settle(1, 3)
    assert (world.primary.rollout, statuses(world)[-1]) == ("FAILED", "ROLLBACK_FAILED")
    assert world.rollouts()[-1].status_reason == rollout.NO_CANDIDATE


def test_the_latest_desired_count_and_configuration_decide() -> None:
    world = RolloutWorld(20, **rollouts.breaker())
    world.look()
    for one in world.tasks()[:5]:
        world.end(one)
    world.look()
    assert (world.primary.rollout, world.rollouts()[0].threshold) == ("IN_PROGRESS", 10)
    world.update(desired=8)
    world.look()
    assert (world.primary.rollout, world.rollouts()[0].threshold) == ("FAILED", 4)


def test_a_running_count_is_shown_while_it_goes_on() -> None:
    world = RolloutWorld(4, **rollouts.breaker())
    world.look()
    for one in world.tasks()[:2]:
        world.end(one)
    world.look()
    (made,) = world.rollouts()
    assert (made.breaker, made.failure_count, made.threshold) == ("MONITORING", 2, 3)
    world.settle()
    (made,) = world.rollouts()
    assert (made.breaker, made.failure_count) == ("MONITORING_COMPLETE", 0)


# --- asked to stop -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [False, True])
def test_a_rollback_that_is_asked_for(begun: bool) -> None:
    world = RolloutWorld(2)
    world.settle()
    good = world.primary
    world.update(2)
    if begun:
        world.look()
        for one in world.tasks():
            if one.last_status < TaskStatus.RUNNING:
                world.run(one)
        world.look()
    world.stop()
    world.look()
    made = world.rollouts()[-1]
    assert (made.status, made.status_reason) == ("ROLLBACK_IN_PROGRESS", rollout.REQUESTED)
    assert world.primary.id == good.id
    assert world.deployments()[-1].rollout == "FAILED"
    world.settle()
    assert statuses(world)[-1] == "ROLLBACK_SUCCESSFUL"
    assert {t.definition_arn for t in world.tasks()} == {definition(1)}


def test_a_rollback_that_is_asked_for_of_the_first_deployment() -> None:
    world = RolloutWorld(2)
    world.look()
    world.stop()
    world.look()
    (made,) = world.rollouts()
    assert (made.status, made.status_reason) == ("ROLLBACK_FAILED", rollout.NO_CANDIDATE)
    assert (world.primary.rollout, world.primary.role) == ("FAILED", "PRIMARY")


# --- early success --------------------------------------------------------------------------------------------------


def early(percent: int, cleanup: str, minutes: int = 0, **more: Any) -> dict[str, Any]:
    criteria = {"enable": True, "healthyPercent": percent, "sourceServiceRevisionCleanup": cleanup}
    return {**ROLLING, "earlySuccessCriteria": criteria, "bakeTimeInMinutes": minutes, **more}


def test_what_a_configuration_says_of_early_success() -> None:
    assert Early.configured({}) == Early()
    off = {"earlySuccessCriteria": {"enable": False, "healthyPercent": 10}, "bakeTimeInMinutes": 5}
    assert Early.configured(off) == Early(), "the bake time is of the criteria"
    assert Early.configured(early(80, "DEFERRED", 2)) == Early(enabled=True, percent=80, cleanup="DEFERRED", bake=120.0)
    assert Early.configured({"earlySuccessCriteria": {"enable": True}}) == Early(enabled=True)


@pytest.mark.parametrize(
    ("percent", "cleanup", "healthy", "others", "leaving", "met"),
    [
        (100, "BLOCKING", 4, 0, None, True),
        (100, "BLOCKING", 3, 0, None, False),
        (60, "BLOCKING", 3, 0, None, True),
        (60, "BLOCKING", 2, 0, None, False),
        (60, "BLOCKING", 3, 1, None, False),
        (60, "DEFERRED", 3, 1, None, True),
        (60, "BLOCKING", 3, 0, "ecs-svc/0", False),
        (60, "DEFERRED", 3, 0, "ecs-svc/0", True),
        (60, "BLOCKING", 3, 0, "ecs-svc/1", True),
        (0, "DEFERRED", 0, 4, None, True),
    ],
)
def test_when_it_is_good_enough(
    percent: int, cleanup: Any, healthy: int, others: int, leaving: str | None, met: bool
) -> None:
    own = tuple(task(str(n)) for n in range(4))
    counted = Count(
        own=own,
        others=tuple(task(f"o{n}", "ecs-svc/0") for n in range(others)),
        stopping=(task("s", leaving),) if leaving else (),
        healthy=frozenset(t.id for t in own[:healthy]),
    )
    criteria = Early(enabled=True, percent=percent, cleanup=cleanup)
    assert criteria.met(4, NEW, counted) is met


def test_unhealthy_tasks_are_not_good_enough() -> None:
    own = (task("a"), task("b"))
    counted = Count(own=own, others=(), stopping=(), healthy=frozenset("ab"), leaving=frozenset("b"))
    assert not Early(enabled=True, percent=100).met(2, NEW, counted)


@pytest.mark.parametrize("cleanup", ["BLOCKING", "DEFERRED"])
def test_a_deployment_that_succeeds_early(cleanup: str) -> None:
    world = RolloutWorld(4, **early(50, cleanup, minimumHealthyPercent=50))
    world.settle()
    world.update(2)
    world.look()
    new = [t for t in world.tasks() if t.definition_arn == definition(2)]
    for one in new[:2]:
        world.run(one)
    for one in new[:2]:
        world.heal(world.task(one.id))
    world.look()
    left = [t for t in world.tasks() if t.desired_status == "STOPPED"]
    assert left, "older tasks go"
    if cleanup == "BLOCKING":
        assert world.primary.rollout == "IN_PROGRESS"
        for _ in range(3):
            for one in world.tasks():
                if one.desired_status == "STOPPED":
                    world.end(one)
            world.look()
    assert world.primary.rollout == "COMPLETED"
    made = world.rollouts()[-1]
    assert (made.status, made.succeeded_early) == ("SUCCESSFUL", True)
    assert made.counts[world.primary.revision][:2] == (4, 2)
    world.settle()
    assert len(world.tasks()) == 4, "the rest follows"
    assert {t.definition_arn for t in world.tasks()} == {definition(2)}


def test_good_enough_must_last_for_the_bake_time() -> None:
    world = RolloutWorld(2, **early(50, "DEFERRED", 10, minimumHealthyPercent=50))
    world.look()
    first, second = world.tasks()
    world.run(first)
    world.heal(world.task(first.id))
    plan = world.look()
    assert world.primary.met_at == world.now
    assert plan.wake_at == world.now + 600.0
    world.now += 300.0
    world.heal(world.task(first.id), "UNHEALTHY")
    world.look()
    assert world.primary.met_at is None, "it begins anew"
    world.run(second)
    world.heal(world.task(second.id))
    world.now += 400.0
    world.look()
    assert world.primary.rollout == "IN_PROGRESS"
    world.now += 599.0
    world.look()
    assert (world.primary.rollout, statuses(world)) == ("IN_PROGRESS", ["IN_PROGRESS"])
    world.now += 1.0
    world.look()
    assert (world.primary.rollout, statuses(world)) == ("COMPLETED", ["SUCCESSFUL"])


def test_a_bake_time_ends_with_its_criteria_and_knows_no_future() -> None:
    world = RolloutWorld(2, **early(50, "DEFERRED", 10, minimumHealthyPercent=50))
    world.look()
    world.run(world.tasks()[0])
    world.heal(world.tasks()[0])
    world.look()
    world.now -= 500.0  # the clock was set back
    world.look()
    assert world.primary.met_at == world.now
    world.update(deployment_configuration=ROLLING)
    world.now += 601.0
    plan = world.look()
    assert (world.primary.met_at, world.primary.rollout) == (None, "IN_PROGRESS")
    assert plan.wake_at is None


def test_what_is_wholly_done_is_not_early() -> None:
    world = RolloutWorld(2, **early(50, "BLOCKING", minimumHealthyPercent=50))
    world.look()
    for one in world.tasks():
        world.run(one)
        world.heal(world.task(one.id))
    world.look()
    assert (statuses(world), world.rollouts()[0].succeeded_early) == (["SUCCESSFUL"], False)


# --- version consistency --------------------------------------------------------------------------------------------


def test_the_first_task_that_tells_decides_for_all() -> None:
    world = RolloutWorld(2)
    world.look()
    first, second = world.tasks()
    world.run(second, "sha256:b")
    world.run(first, "sha256:a")
    world.look()
    assert world.revision(world.primary).images == {"app": "sha256:a"}
    for one in (first, second):
        world.heal(world.task(one.id))
    world.end(world.task(first.id))
    world.look()
    (new,) = [t for t in world.tasks() if t.id not in (first.id, second.id)]
    assert new.image_digests == {"app": "sha256:a"}
    world.run(new, "sha256:c")
    world.look()
    assert world.revision(world.primary).images == {"app": "sha256:a"}, "what is known stays"
    world.update(1)
    world.look()
    assert world.revision(world.primary).images == {}, "a forced deployment resolves again"


def test_each_container_is_resolved_by_itself() -> None:
    world = RolloutWorld(1)
    world.look()
    (only,) = world.tasks()
    both = (Container(id="1", name="a", image_digest="sha256:a"), Container(id="2", name="b"))
    world.put(only, containers=both)
    world.look()
    assert world.revision(world.primary).images == {"a": "sha256:a"}
    world.put(only, containers=(both[0], replace(both[1], image_digest="sha256:b")))
    world.look()
    assert world.revision(world.primary).images == {"a": "sha256:a", "b": "sha256:b"}


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_only_so_much_history_is_kept() -> None:
    world = RolloutWorld(0, **rollouts.breaker())
    world.settle()
    world.update(desired=1)
    world.settle()
    first = world.primary
    for _ in range(KEPT + 20):
        world.update(2)
        world.settle(2)
        assert world.primary.id == first.id
    assert len(world.deployments()) <= KEPT + 1
    assert len(world.rollouts()) <= KEPT + 1
    assert len(world.tx().find(REVISIONS, SCOPE, "service", "demo/web")) <= KEPT + 1
    assert world.revision(world.primary)


def test_what_is_over_is_forgotten_in_time_but_not_the_one_to_return_to() -> None:
    world = RolloutWorld(1, **rollouts.breaker())
    world.settle()
    first = world.primary
    for number in (2, 3):
        world.update(number)
        world.settle()
    world.update(4, deployment_configuration=ROLLING)  # goes on for ever
    for _ in range(20):
        world.look()
        for one in world.tasks():
            if one.definition_arn == definition(3):
                world.put(one, last_status=TaskStatus.STOPPED, desired_status="STOPPED", stop_code="UserInitiated")
    third = world.deployments()[2]
    assert [d.role for d in world.deployments()] == ["INACTIVE"] * 3 + ["PRIMARY"]
    world.now += KEPT_SECONDS
    for record in world.deployments():
        deployments.forget(world.tx(), Key(*SCOPE, DEPLOYMENTS.kind, record.id))
    assert [d.id for d in world.deployments()] == [third.id, world.primary.id]
    assert world.deployments()[0].wake_at == world.now + KEPT_SECONDS
    assert world.tx().get(REVISIONS, SCOPE, first.revision) is None
    for made in world.rollouts():
        deployments.forget_service_deployment(world.tx(), Key(*SCOPE, SERVICE_DEPLOYMENTS.kind, made.id))
    assert statuses(world) == ["IN_PROGRESS"]
    deployments.forget(world.tx(), Key(*SCOPE, DEPLOYMENTS.kind, first.id))  # twice


# --- records that aren't there -------------------------------------------------------------------------------------


def test_a_service_without_deployments_is_left_alone() -> None:
    world = RolloutWorld(1)
    seen = replace(world.seen(), deployments=(), service_deployments=(), tasks=())
    assert rollout.note(seen, 0.0).events == ()
    assert rollout.advance(seen, Count(own=(), others=(), stopping=()), 0.0).seen == seen
    assert rollout.wakes_at(seen) is None


@pytest.mark.parametrize("rollback", [False, True])
def test_deployments_go_on_where_their_service_deployment_was_lost(rollback: bool) -> None:
    world = RolloutWorld(1, **rollouts.breaker(rollback=rollback))
    world.settle()
    good = world.primary
    world.update(2)
    for made in world.rollouts():
        world.tx().delete(SERVICE_DEPLOYMENTS, SCOPE, made.id)
    world.settle(2)
    assert (world.primary.id == good.id) is rollback
    world.update(3)
    for made in world.rollouts():
        world.tx().delete(SERVICE_DEPLOYMENTS, SCOPE, made.id)
    world.settle()
    assert world.primary.rollout == "COMPLETED"


def test_a_deleted_service_deploys_no_more() -> None:
    world = RolloutWorld(1)
    world.tx().put(SERVICES, SCOPE, replace(world.service, status="DRAINING"))
    assert world.look().service_deployments == ()


def _breaker_only() -> dict[str, Any]:
    return {"deploymentCircuitBreaker": rollouts.breaker()["deploymentCircuitBreaker"]}


def _until(world: RolloutWorld, true: Any, *, bad: int) -> None:
    """Looks until it is so; tasks of the ``bad`` definition fail to start, and what shall stop does."""
    for _ in range(40):
        world.look()
        if true():
            return
        for one in world.tasks():
            if one.desired_status == "STOPPED" or one.definition_arn == definition(bad):
                world.end(one)
        world.now += 60.0
    raise AssertionError("it never was")
