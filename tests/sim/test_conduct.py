"""The invariants of containers, on lives that violate them and on lives that don't."""

from __future__ import annotations

from typing import Any

import pytest

from homeport.agent.drivers import ContainerPlan, Image, Observed
from homeport.agent.report import OUT_OF_MEMORY, VANISHED
from homeport.agentapi import Condition, ContainerSpec, Dependency, HealthCheck, RestartPolicy
from homeport.services.ecs.model.task import Container
from homeport.sim import conduct as law
from homeport.sim.lives import Checked, Life, Run, healths

TASK = "0" * 31 + "1"
CHECK = HealthCheck(("CMD", "/check"), interval=5, timeout=2, retries=2)
OVER = Container(id="1", name="app", status="STOPPED", exit_code=9)


def life(name: str = "app", *runs: Run, **more: Any) -> Life:
    spec = ContainerSpec(name=name, image=f"{name}:1", **more)
    return Life(ContainerPlan(f"{TASK}-0", TASK, spec, Image(f"{name}:1", "sha256:1")), list(runs))


def ran(seconds: float, code: int | None, **more: Any) -> Run:
    state: Any = "lost" if code is None else "stopped"
    return Run(0.0, seconds, Observed(id="", state=state, exit_code=code), **more)


def checked(*results: bool, age: float = 100.0) -> list[Checked]:
    return [Checked(10.0, age, passed) for passed in results]


def test_it_starts_once_and_again_only_by_its_policy() -> None:
    assert law.a_container_starts_once(life()) is None
    assert law.a_container_starts_once(life("app", ran(5, 0)))
    policy = RestartPolicy((4,), 60)
    assert law.a_restart_is_within_its_policy(life("app", ran(70, 9), restart_policy=policy)) is None
    assert law.a_restart_is_within_its_policy(life("app", ran(70, 9)))
    assert law.a_restart_is_within_its_policy(life("app", ran(59, 9), restart_policy=policy))
    assert law.a_restart_is_within_its_policy(life("app", ran(70, 4), restart_policy=policy))
    assert law.a_restart_is_within_its_policy(life("app", ran(70, None), restart_policy=policy))
    assert law.a_restart_is_within_its_policy(life("app", Run(0.0), restart_policy=policy))
    assert law.a_restart_is_within_its_policy(life("app", ran(5, 9, steady=False), restart_policy=policy)) is None


@pytest.mark.parametrize(
    ("condition", "other", "holds"),
    [
        ("START", life("db"), False),
        ("START", life("db", Run(0.0)), True),
        ("COMPLETE", life("db", Run(0.0)), False),
        ("COMPLETE", life("db", ran(5, 3)), True),
        ("COMPLETE", life("db", ran(5, 3), Run(6.0)), False),
        ("SUCCESS", life("db", ran(5, 3)), False),
        ("SUCCESS", life("db", ran(5, 0)), True),
        ("HEALTHY", life("db", Run(0.0), health_check=CHECK), False),
        ("HEALTHY", life("db", Run(0.0, checks=checked(True)), health_check=CHECK), True),
        ("HEALTHY", life("db", Run(0.0, checks=checked(True, False, False)), health_check=CHECK), False),
        ("HEALTHY", life("db", ran(20, 0, checks=checked(True)), health_check=CHECK), False),
        ("HEALTHY", life("db", ran(20, 0, checks=checked(True)), Run(30.0), health_check=CHECK), False),
    ],
)
def test_it_starts_when_its_conditions_hold(condition: Condition, other: Life, holds: bool) -> None:
    app = life(depends_on=(Dependency("db", condition),))
    assert (law.a_container_starts_when_its_conditions_hold(app, {"db": other}, 100.0) is None) == holds
    assert law.a_container_starts_when_its_conditions_hold(app, {}, 100.0)


def test_dependents_stop_first_and_nothing_starts_any_more() -> None:
    db, app = life("db", Run(0.0)), life("app", Run(1.0), depends_on=(Dependency("db", "START"),))
    assert law.dependents_stop_first(db, [app, db])
    assert law.dependents_stop_first(app, [app, db]) is None
    app.runs[0].ended = 5.0
    assert law.dependents_stop_first(db, [app, db]) is None
    app.signalled.append(4.0)
    assert law.nothing_starts_in_a_task_that_stops(life(), [app], 10.0)
    assert law.nothing_starts_in_a_task_that_stops(life(), [app], 4.1) is None
    app.forgettable = True
    assert law.nothing_starts_in_a_task_that_stops(life(), [app], 10.0) is None
    assert law.nothing_that_runs_is_removed(db)
    assert law.nothing_that_runs_is_removed(app) is None


def test_sigkill_waits_for_the_stop_timeout_and_no_longer() -> None:
    app = life("app", Run(0.0), stop_timeout=10)
    assert law.sigkill_waits_for_the_stop_timeout(app, 10.0, 2.0)
    app.signalled.append(5.0)
    assert law.sigkill_waits_for_the_stop_timeout(app, 14.0, 2.0)
    assert law.sigkill_waits_for_the_stop_timeout(app, 15.0, 2.0) is None
    assert law.sigkill_waits_for_the_stop_timeout(app, 35.0, 2.0)
    assert law.sigkill_waits_for_the_stop_timeout(app, 35.0, float("inf")) is None


def test_volumes_last_as_long_as_their_task() -> None:
    assert law.a_volume_is_made_once(TASK, "data", {"data"})
    assert law.a_volume_is_made_once(TASK, "data", {"other"}) is None
    assert law.a_volume_lasts_as_long_as_its_task(TASK, [f"{TASK}-1"])
    assert law.a_volume_lasts_as_long_as_its_task(TASK, ["2-1"]) is None
    assert law.no_volume_outlives_its_task(TASK, {TASK: {"data"}})
    assert law.no_volume_outlives_its_task(TASK, {"2": {"data"}}) is None


def test_health_follows_from_the_checks() -> None:
    assert healths(CHECK, []) == {"UNKNOWN"}
    assert healths(CHECK, checked(False)) == {"UNKNOWN"}
    assert healths(CHECK, checked(False, False)) == {"UNHEALTHY"}
    assert healths(CHECK, checked(True, False)) == {"HEALTHY"}
    assert healths(CHECK, checked(False, False, True)) == {"HEALTHY"}
    slow = HealthCheck(("CMD", "/check"), retries=1, start_period=60)
    assert healths(slow, checked(False, age=30.0)) == {"UNKNOWN"}
    assert healths(slow, checked(False)) == {"UNHEALTHY"}
    assert healths(slow, [*checked(True, age=30.0), *checked(False, age=40.0)]) == {"UNHEALTHY"}
    assert healths(slow, checked(False, age=60.5)) == {"UNKNOWN", "UNHEALTHY"}
    assert healths(CHECK, [*checked(False), Checked(10.0, 50.0, passed=False, sure=False)]) == {"UNKNOWN", "UNHEALTHY"}


def test_health_is_what_the_checks_say() -> None:
    app = life("app", Run(0.0, checks=checked(True)), health_check=CHECK)
    assert law.health_is_what_the_checks_say(app, "HEALTHY", 0, 50.0) is None
    assert law.health_is_what_the_checks_say(app, "UNKNOWN", 0, 50.0)
    app.runs.append(Run(60.0))
    assert law.health_is_what_the_checks_say(app, "HEALTHY", 0, 60.1) is None
    assert law.health_is_what_the_checks_say(app, "HEALTHY", 1, 60.1)
    assert law.health_is_what_the_checks_say(app, "UNKNOWN", 1, 60.1) is None
    assert law.health_is_what_the_checks_say(life(), "HEALTHY", 0, 70.0)


def test_health_is_seen() -> None:
    assert law.health_is_seen_in_time("app", "HEALTHY", "UNKNOWN")
    assert law.health_is_seen_in_time("app", "HEALTHY", "HEALTHY") is None
    assert law.a_tasks_health_is_that_of_its_containers("HEALTHY", {"UNHEALTHY", "HEALTHY"})
    assert law.a_tasks_health_is_that_of_its_containers("UNHEALTHY", {"HEALTHY"})
    assert law.a_tasks_health_is_that_of_its_containers("HEALTHY", {"UNKNOWN"})
    assert law.a_tasks_health_is_that_of_its_containers("UNKNOWN", {"UNKNOWN", "HEALTHY"}) is None
    assert law.a_tasks_health_is_that_of_its_containers("UNHEALTHY", {"UNHEALTHY", "UNKNOWN"}) is None


def test_restarts_are_counted() -> None:
    twice = life("app", ran(5, 0), Run(10.0))
    assert law.restarts_are_counted(twice, 1, 50.0) is None
    assert law.restarts_are_counted(twice, 0, 10.1) is None
    assert law.restarts_are_counted(twice, 0, 50.0)
    assert law.restarts_are_counted(twice, 2, 50.0)


def test_an_end_before_a_restart_is_not_told() -> None:
    policy = RestartPolicy((), 60)
    assert law.an_end_before_a_restart_is_not_told(OVER, life("app", ran(70, 9), restart_policy=policy))
    assert law.an_end_before_a_restart_is_not_told(OVER, life("app", ran(50, 9), restart_policy=policy)) is None
    assert law.an_end_before_a_restart_is_not_told(OVER, life("app", ran(70, 9))) is None


@pytest.mark.parametrize(
    ("reason", "end", "true"),
    [
        (None, Observed(id="", state="stopped", exit_code=9), True),
        (None, Observed(id="", state="stopped", exit_code=9, oom=True), False),
        (OUT_OF_MEMORY, Observed(id="", state="stopped", exit_code=9, oom=True), True),
        (OUT_OF_MEMORY, Observed(id="", state="stopped", exit_code=9), False),
        (VANISHED, Observed(id="", state="lost"), True),
        (VANISHED, Observed(id="", state="stopped", exit_code=9), False),
        ("CannotPullContainerError: no such image", None, True),
        ("CannotPullContainerError: something else", None, False),
        ("DockerTimeoutError: no answer", None, False),
        ("TaskDependencyError: Task dependencies", None, True),
        ("bad luck", None, False),
    ],
)
def test_reasons_are_true(reason: str | None, end: Observed | None, true: bool) -> None:
    over = Container(id="1", name="app", status="STOPPED", exit_code=9, reason=reason)
    assert (law.reasons_are_true(over, end, {"no such image"}, False) is None) == true


@pytest.mark.parametrize(
    ("condition", "timeout", "other", "cause"),
    [
        ("START", 5, life("db", Run(0.0)), False),
        ("COMPLETE", 0, life("db", Run(0.0)), False),
        ("COMPLETE", 50, life("db", Run(0.0)), True),
        ("SUCCESS", 0, life("db", ran(5, 1)), True),
        ("SUCCESS", 0, life("db", ran(5, 0)), False),
        ("HEALTHY", 0, life("db", ran(5, 0)), True),
        ("HEALTHY", 200, life("db", Run(0.0)), False),
    ],
)
def test_a_dependency_is_given_up_with_a_cause(condition: Condition, timeout: int, other: Life, cause: bool) -> None:
    needs = [(Dependency("db", condition), timeout)]
    assert (law.a_dependency_is_given_up_with_a_cause(needs, {"db": other}, (), 100.0) is None) == cause
    assert law.a_dependency_is_given_up_with_a_cause(needs, {"db": other}, {"db"}, 100.0) is None
