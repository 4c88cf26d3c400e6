"""The invariants of services, each on a history that violates it and on the nearest one that doesn't."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from homeport.services.ecs.model.deployment import Configuration, Deployment, Revision, Rollback, ServiceDeployment
from homeport.services.ecs.model.instance import Instance
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import Container, Task, TaskStatus
from homeport.services.ecs.model.task_set import TaskSet
from homeport.sim import daemons, early, placing, service_rest, serving, sets, versions
from homeport.sim.early import Criteria, Unmet
from homeport.sim.serving import Told

NOW = 1000.0
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/default"
DEFINITION = "arn:aws:ecs:us-east-1:123456789012:task-definition/web:1"
WEB = Configuration(definition_arn=DEFINITION, launch_type="EC2")
SERVICE = Service(
    cluster="default",
    cluster_arn=CLUSTER,
    cluster_generation=1,
    name="web",
    created_at=0.0,
    created_by="arn:aws:iam::123456789012:root",
    configuration=WEB,
    desired=2,
    deployment_configuration={"maximumPercent": 200, "minimumHealthyPercent": 100},
)
BREAKER = {**SERVICE.deployment_configuration, "deploymentCircuitBreaker": {"enable": True, "rollback": True}}
BROKEN = replace(SERVICE, deployment_configuration=BREAKER)
GONE = replace(SERVICE, status="INACTIVE")
FIRST = Deployment(
    id="1", service=SERVICE.id, revision="r1", number=1, created_at=0.0, updated_at=0.0, rollout="COMPLETED", good=True
)
OLD = replace(FIRST, role="ACTIVE")
SECOND = replace(FIRST, id="2", revision="r2", number=2, rollout="IN_PROGRESS", good=False)
FAILED = replace(SECOND, rollout="FAILED")
R1 = Revision(id="r1", service=SERVICE.id, configuration=WEB, created_at=0.0, images={"app": "sha256:1"})
ROLLOUT = ServiceDeployment(
    id="d",
    service=SERVICE.id,
    number=2,
    deployment="2",
    target="r2",
    sources=("r1",),
    created_at=0.0,
    updated_at=0.0,
    configuration={},
    status="IN_PROGRESS",
)
BACK = Rollback(reason="why", started_at=0.0, revision="r1")
TASK = Task(
    id="0" * 31 + "1",
    cluster_arn=CLUSTER,
    definition_arn=DEFINITION,
    launch_type="EC2",
    group="service:web",
    cpu=256,
    memory=512,
    created_at=900.0,
    started_at=910.0,
    started_by=SECOND.name,
    containers=(Container(id="1", name="app", status="RUNNING"),),
    instance="arn/a",
    last_status=TaskStatus.RUNNING,
)
OTHER = replace(TASK, id="0" * 31 + "2")
PENDING = replace(TASK, last_status=TaskStatus.PENDING, started_at=None)
STOPPING = replace(TASK, desired_status="STOPPED", stop_code=serving.SCHEDULER)
FORMER = replace(TASK, started_by=FIRST.name)
SET = TaskSet(
    id="2", service=SERVICE.id, number=1, configuration=WEB, created_at=0.0, updated_at=0.0, stability="STEADY_STATE"
)
DRAINING = replace(SET, status="DRAINING")
INSTANCE = Instance(id="a", arn="arn/a", cluster_arn=CLUSTER, node="node0", registered_at=0.0, custom={"stack": "prod"})
STACK = {"type": "memberOf", "expression": "attribute:stack exists"}
DISTINCT = {"type": "distinctInstance"}


def pinned(digest: str | None, told: str | None = None, task: Task = TASK) -> Task:
    """``digest``: that it has to run, ``told``: that it runs."""
    digests = {"app": digest} if digest else {}
    return replace(task, image_digests=digests, containers=(replace(TASK.containers[0], image_digest=told),))


def shown(running: int, pending: int = 0) -> dict[str, Any]:
    return {"runningCount": running, "pendingCount": pending, "deployments": []}


def shown_set(running: int, computed: int) -> dict[str, Any]:
    counts = {"runningCount": running, "pendingCount": 0, "computedDesiredCount": computed}
    return {"id": SET.name, "status": "ACTIVE", "scale": {"value": 50.0}, **counts}


def protected(task: Task, until: float) -> Task:
    return replace(task, protected_until=until)


class Case(NamedTuple):
    law: Callable[..., str | None]
    wrong: tuple[Any, ...]
    right: tuple[Any, ...]
    named: Mapping[str, Any] = MappingProxyType({})  # arguments of both


MANY = 15 * 4 + 1
CASES = [
    Case(serving.never_below_the_lower_bound, (SERVICE, {"1"}, {"2"}), (SERVICE, {"1"}, {"2", "3"})),
    Case(serving.never_below_the_lower_bound, (SERVICE, {"1"}, set()), (SERVICE, set(), set())),
    Case(serving.never_above_the_upper_bound, (SERVICE, ["1"], [TASK] * 5), (SERVICE, ["1"], [TASK] * 4)),
    Case(serving.never_above_the_upper_bound, (SERVICE, ["1"], [TASK] * 5), (SERVICE, [], [TASK] * 5)),
    Case(serving.no_task_is_stopped_without_need, (SERVICE, TASK, 2, 1), (SERVICE, TASK, 2, 2)),
    Case(
        serving.protected_tasks_are_not_scaled_in,
        (protected(TASK, NOW + 1), NOW),
        (protected(TASK, NOW), NOW),
        {"excused": False},
    ),
    Case(serving.protected_tasks_are_not_scaled_in, (protected(TASK, NOW + 1), NOW), (TASK, NOW), {"excused": False}),
    Case(serving.only_its_own_scheduler_stops_a_task, (replace(STOPPING, group="family:web"),), (STOPPING,)),
    Case(serving.exactly_one_deployment_is_primary, (SERVICE, [FIRST, SECOND]), (SERVICE, [OLD, SECOND])),
    Case(serving.exactly_one_deployment_is_primary, (SERVICE, []), (SERVICE, [FIRST])),
    Case(
        serving.the_primary_deployment_is_what_was_asked_for,
        (SERVICE, FIRST, replace(R1, configuration=replace(WEB, definition_arn="another"))),
        (SERVICE, FIRST, R1),
    ),
    Case(serving.deployments_only_go_forward, (OLD, FIRST), (FIRST, OLD), {"returned": False}),
    Case(serving.deployments_only_go_forward, (FAILED, SECOND), (SECOND, FAILED), {"returned": False}),
    Case(serving.deployments_only_go_forward, (FAILED, SECOND), (OLD, FIRST), {"returned": True}),
    Case(
        serving.service_deployments_only_go_forward,
        (replace(ROLLOUT, status="SUCCESSFUL"), ROLLOUT),
        (ROLLOUT, replace(ROLLOUT, status="SUCCESSFUL")),
    ),
    Case(
        serving.service_deployments_only_go_forward,
        (ROLLOUT, replace(ROLLOUT, status="ROLLBACK_SUCCESSFUL")),
        (replace(ROLLOUT, status="ROLLBACK_IN_PROGRESS"), replace(ROLLOUT, status="ROLLBACK_SUCCESSFUL")),
    ),
    Case(
        serving.a_revision_never_changes,
        (R1, replace(R1, images={"app": "sha256:2"})),
        (R1, replace(R1, images={"app": "sha256:1", "side": "sha256:2"})),
    ),
    Case(serving.a_deployment_fails_only_by_its_breaker, (BROKEN, FAILED, 2), (BROKEN, FAILED, 3), {"asked": False}),
    Case(
        serving.a_deployment_fails_only_by_its_breaker,
        (replace(BROKEN, desired=10), FAILED, 4),
        (replace(BROKEN, desired=10), FAILED, 5),
        {"asked": False},
    ),
    Case(serving.a_deployment_fails_only_by_its_breaker, (SERVICE, FAILED, 9), (BROKEN, FAILED, 9), {"asked": False}),
    Case(
        serving.a_rollback_returns_to_the_last_good_revision,
        (SERVICE, FIRST, ("0", "r0")),
        (SERVICE, FIRST, ("1", "r1")),
    ),
    Case(
        serving.a_rollback_ends_at_the_last_good_revision,
        (replace(ROLLOUT, rollback=BACK), SECOND, R1),
        (replace(ROLLOUT, rollback=BACK), FIRST, R1),
    ),
    Case(serving.nothing_starts_for_what_is_over, (GONE, SECOND, TASK), (SERVICE, SECOND, TASK)),
    Case(serving.nothing_starts_for_what_is_over, (SERVICE, FAILED, TASK), (SERVICE, OLD, TASK)),
    Case(serving.nothing_starts_for_what_is_over, (SERVICE, None, TASK), (SERVICE, FIRST, TASK)),
    Case(serving.nothing_starts_behind_an_open_breaker, (BROKEN, SECOND, 3), (BROKEN, SECOND, 2)),
    Case(serving.nothing_starts_behind_an_open_breaker, (BROKEN, SECOND, 3), (SERVICE, SECOND, 3)),
    Case(serving.starts_that_fail_are_held_back, (SERVICE, SECOND, MANY), (SERVICE, SECOND, MANY - 1)),
    Case(serving.a_task_is_what_its_revision_says, (replace(TASK, launch_type="FARGATE"), WEB), (TASK, WEB)),
    Case(serving.a_task_is_what_its_revision_says, (replace(TASK, capacity_provider="spare"), WEB), (TASK, WEB)),
    Case(
        serving.tags_are_propagated,
        (TASK, replace(SERVICE, propagate_tags="SERVICE", tags={"team": "a"})),
        (replace(TASK, tags={"team": "a"}), replace(SERVICE, propagate_tags="SERVICE", tags={"team": "a"})),
    ),
    Case(
        serving.tags_are_propagated,
        (TASK, replace(SERVICE, managed_tags=True)),
        (replace(TASK, tags={"aws:ecs:serviceName": "web"}), replace(SERVICE, managed_tags=True)),
    ),
    Case(serving.nothing_of_a_deleted_service_runs_on, (GONE, [TASK]), (GONE, [])),
    Case(serving.counts_equal_what_runs, (SERVICE, shown(1, 1), [TASK]), (SERVICE, shown(1), [TASK])),
    Case(serving.counts_equal_what_runs, (SERVICE, shown(1), [TASK, PENDING]), (SERVICE, shown(1, 1), [TASK, PENDING])),
    Case(serving.what_is_started_is_told, ("web", Told(2, ("1",)), ["1"]), ("web", Told(1, ("1",)), ["1"])),
    Case(serving.what_is_started_is_told, ("web", Told(1, ("2",)), ["1"]), ("web", Told(0, ()), [])),
    Case(serving.what_is_stopped_is_told, ("web", Told(0, ()), ["1"]), ("web", Told(1, ("1",)), ["1"])),
    Case(serving.at_most_a_hundred_events_are_kept, ("web", 101), ("web", 100)),
    Case(
        serving.a_steady_state_is_told_once, (SERVICE, 900.0, NOW), (SERVICE, NOW - 6 * 3600, NOW), {"unsteady": False}
    ),
    Case(serving.a_steady_state_is_told_once, (SERVICE, 900.0, NOW), (SERVICE, None, NOW), {"unsteady": False}),
    Case(serving.a_steady_state_is_true, (SERVICE, "it has 1 of 2 tasks"), (SERVICE, None)),
    Case(daemons.there_is_one_daemon_on_an_instance, (SERVICE, [TASK, STOPPING]), (SERVICE, [TASK])),
    Case(
        daemons.there_is_one_daemon_on_an_instance,
        (SERVICE, [TASK, OTHER]),
        (SERVICE, [TASK, replace(OTHER, instance="arn/b")]),
    ),
    Case(daemons.a_daemon_starts_where_it_belongs, (SERVICE, TASK, {"arn/b"}), (SERVICE, TASK, {"arn/a", "arn/b"})),
    Case(daemons.daemons_are_counted_by_instances, (SERVICE, {"arn/a"}), (SERVICE, {"arn/a", "arn/b"})),
    Case(
        sets.at_most_one_task_set_is_primary,
        (SERVICE, [replace(SET, status="PRIMARY")] * 2),
        (SERVICE, [replace(SET, status="PRIMARY"), SET]),
    ),
    Case(sets.a_draining_task_set_stays_so, (DRAINING, SET), (SET, DRAINING)),
    Case(sets.nothing_starts_for_a_set_that_is_over, (SERVICE, DRAINING, TASK), (SERVICE, SET, TASK)),
    Case(sets.nothing_starts_for_a_set_that_is_over, (GONE, SET, TASK), (SERVICE, SET, TASK)),
    Case(sets.a_set_that_goes_leaves_nothing, (DRAINING, [STOPPING]), (DRAINING, [])),
    Case(sets.a_set_is_steady_when_it_says_so, (SET, "it has 1 of 2 tasks"), (SET, None)),
    Case(sets.a_steady_set_says_so, (replace(SET, stability="STABILIZING"),), (SET,)),
    Case(sets.sets_are_shown_as_they_are, (SERVICE, [shown_set(1, 2)], [TASK]), (SERVICE, [shown_set(1, 1)], [TASK])),
    Case(sets.sets_are_shown_as_they_are, (SERVICE, [shown_set(1, 1)], []), (SERVICE, [shown_set(0, 1)], [])),
    Case(
        versions.tasks_of_a_deployment_run_one_version,
        (pinned(None), [pinned(None, "sha256:1")], {"app"}),
        (pinned("sha256:1"), [pinned(None, "sha256:1")], {"app"}),
    ),
    Case(
        versions.tasks_of_a_deployment_run_one_version,
        (pinned("sha256:2"), [pinned("sha256:1")], {"app"}),
        (pinned(None), [pinned(None, "sha256:1")], set()),
    ),
    Case(
        versions.only_what_is_consistent_is_resolved, (pinned("sha256:1"), set()), (pinned("sha256:1"), {"app", "side"})
    ),
    Case(versions.a_container_runs_its_version, (pinned("sha256:1", "sha256:2"),), (pinned("sha256:1", "sha256:1"),)),
    Case(early.a_deployment_completes_when_it_may, (SECOND, None, "it has 1 of 2 tasks", 9e9), (SECOND, None, None, 0)),
    Case(
        early.a_deployment_completes_when_it_may,
        (SECOND, Criteria(50, 60.0, True), None, 30.0),
        (SECOND, Criteria(50, 60.0, True), None, 60.0),
    ),
    Case(
        service_rest.every_service_with_room_reaches_its_count,
        (SERVICE, "it has 1 of 2 tasks", None),
        (SERVICE, "it has 1 of 2 tasks", "nothing more is possible"),
    ),
    Case(service_rest.a_steady_service_says_so, (SERVICE, FIRST), (replace(SERVICE, steady_at=NOW), FIRST)),
    Case(
        service_rest.a_steady_service_says_so,
        (replace(SERVICE, steady_at=NOW), SECOND),
        (replace(SERVICE, steady_at=NOW), None),
    ),
    Case(service_rest.what_was_acknowledged_is_wanted, ("web", 2, {3}), ("web", 2, {2, 3})),
    Case(service_rest.what_was_acknowledged_is_wanted, ("web", 2, {3}), ("web", 2, set())),
    Case(
        placing.a_service_keeps_to_its_constraints,
        (TASK, [STACK], replace(INSTANCE, custom={}), []),
        (TASK, [STACK], INSTANCE, [OTHER]),
    ),
    Case(
        placing.a_service_keeps_to_its_constraints,
        (TASK, [DISTINCT], INSTANCE, [OTHER]),
        (TASK, [DISTINCT], INSTANCE, [replace(OTHER, group="service:other")]),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.law.__name__)
def test_it_is_violated_and_kept(case: Case) -> None:
    assert case.law(*case.wrong, **case.named)
    assert case.law(*case.right, **case.named) is None


def test_who_asks_and_who_is_excused() -> None:
    assert serving.a_deployment_fails_only_by_its_breaker(SERVICE, FAILED, 0, asked=True) is None
    ten = replace(BROKEN, desired=10)
    assert serving.a_deployment_fails_only_by_its_breaker(ten, FAILED, 3, asked=False, unresolved=True) is None
    assert serving.a_deployment_fails_only_by_its_breaker(ten, FAILED, 2, asked=False, unresolved=True)
    assert serving.protected_tasks_are_not_scaled_in(protected(TASK, NOW + 1), NOW, excused=True) is None
    assert serving.a_steady_state_is_told_once(SERVICE, 900.0, NOW, unsteady=True) is None
    assert daemons.a_daemon_starts_where_it_belongs(SERVICE, replace(STOPPING, instance=None), {"arn/a"}) is None


NOT_LAWS = {serving.unsteady, daemons.unsteady, sets.unsteady, early.unmet}


@pytest.mark.parametrize("module", [serving, daemons, sets, versions, early, service_rest], ids=lambda m: m.__name__)
def test_no_invariant_is_left_out(module: ModuleType) -> None:
    functions = {f for _, f in inspect.getmembers(module, inspect.isfunction) if f.__module__ == module.__name__}
    laws = {f for f in functions if inspect.get_annotations(f).get("return") == "str | None"}
    assert laws - NOT_LAWS - {case.law for case in CASES} == set()


# --- what they go by --------------------------------------------------------------------------------------------------


def test_bounds_and_thresholds_are_ecs_s() -> None:
    assert [serving.lower(desired, {"minimumHealthyPercent": 50}) for desired in (1, 3, 4)] == [1, 2, 2]
    assert [serving.upper(desired, {"maximumPercent": 150}) for desired in (1, 3, 4)] == [1, 4, 6]
    assert [serving.threshold(desired, BREAKER) for desired in (1, 25, 400, 800)] == [3, 13, 200, 200]
    percent = {"thresholdConfiguration": {"type": "UNBOUNDED_PERCENT", "value": 50}, "enable": True}
    assert serving.threshold(800, {"deploymentCircuitBreaker": percent}) == 400
    assert [sets.computed(1000, scale) for scale in (1.1, 33.3, 100.0, 0.0)] == [11, 333, 1000, 0]
    assert sets.computed(3, 50.0) == 2


def test_what_healthy_is() -> None:
    checked = {"app"}
    healthy = replace(TASK, containers=(replace(TASK.containers[0], health="HEALTHY"),))
    assert serving.is_healthy(healthy, checked, 911.0)
    assert not serving.is_healthy(TASK, checked, NOW)
    assert [serving.unsure(*of) for of in ((TASK, checked), (healthy, checked), (TASK, ()))] == [True, False, False]
    assert [serving.is_healthy(TASK, (), at) for at in (949.0, 950.0)] == [False, True]
    assert not serving.is_healthy(PENDING, (), NOW)


def test_when_a_service_is_steady() -> None:
    both, well = [TASK, OTHER], {TASK.id, OTHER.id}
    assert serving.unsteady(SERVICE, SECOND, both, well) is None
    assert serving.unsteady(SERVICE, SECOND, both, {TASK.id})
    assert serving.unsteady(SERVICE, SECOND, [TASK], well)
    assert serving.unsteady(SERVICE, SECOND, [*both, replace(FORMER, id="3")], well)
    assert serving.unsteady(SERVICE, SECOND, [OTHER, STOPPING], well)
    extra = replace(SERVICE, extra=("3",))
    assert serving.unsteady(extra, SECOND, [*both, replace(TASK, id="3")], well) is None


def test_when_a_daemon_is_steady() -> None:
    elsewhere = replace(OTHER, instance="arn/b")
    both, well = [TASK, elsewhere], {TASK.id, OTHER.id}
    assert daemons.unsteady(SERVICE, SECOND, both, well, {"arn/a", "arn/b"}) is None
    assert daemons.unsteady(SERVICE, SECOND, both, well, {"arn/a"})
    assert daemons.unsteady(SERVICE, SECOND, [TASK], well, {"arn/a", "arn/b"})
    assert daemons.unsteady(SERVICE, SECOND, both, {TASK.id}, {"arn/a", "arn/b"})
    assert daemons.unsteady(SERVICE, SECOND, [TASK, replace(FORMER, instance="arn/b")], well, {"arn/a", "arn/b"})


def test_where_daemons_belong() -> None:
    service = replace(SERVICE, constraints=(STACK,))
    assert daemons.belongs(service, INSTANCE, ())
    for change in ({"status": "DRAINING"}, {"cluster_arn": "another"}, {"custom": {}}, {"lost": True}):
        assert not daemons.belongs(service, replace(INSTANCE, **change), ())
    zoned = replace(INSTANCE, custom={"stack": "", "ecs.availability-zone": "us-east-1a"})
    assert daemons.belongs(service, zoned, {"us-east-1a"})
    assert not daemons.belongs(service, zoned, {"us-east-1b"})


def test_when_a_task_set_is_steady() -> None:
    assert sets.unsteady(SET, 1, [TASK], (), ()) is None
    assert sets.unsteady(SET, 2, [TASK], (), ())
    assert sets.unsteady(SET, 1, [PENDING], (), ())
    assert sets.unsteady(SET, 1, [TASK], {TASK.id}, ())
    assert sets.unsteady(SET, 1, [TASK], (), {TASK.id})
    assert sets.unsteady(SET, 1, [STOPPING], (), ())
    assert sets.unsteady(DRAINING, 0, [], (), ())


def test_when_early_success_criteria_are_met() -> None:
    asked = Criteria(50, 0.0, True)
    assert early.unmet(SERVICE, asked, SECOND, [TASK], {TASK.id}) is None
    assert early.unmet(SERVICE, asked, SECOND, [TASK], set())
    assert early.unmet(SERVICE, asked, SECOND, [FORMER], {FORMER.id})
    assert early.unmet(SERVICE, asked, SECOND, [TASK, replace(FORMER, id="3")], {TASK.id})
    assert (
        early.unmet(SERVICE, asked._replace(blocking=False), SECOND, [TASK, replace(FORMER, id="3")], {TASK.id}) is None
    )
    given = {"enable": True, "healthyPercent": 75, "sourceServiceRevisionCleanup": "DEFERRED"}
    configured = {**BREAKER, "earlySuccessCriteria": given, "bakeTimeInMinutes": 3}
    assert early.criteria(replace(SERVICE, deployment_configuration=configured)) == Criteria(75, 180.0, False)
    assert early.criteria(SERVICE) is None


def test_bake_time_is_what_the_clock_says_that_says_more() -> None:
    time = [0.0]
    unmet = Unmet(lambda: time[0])
    assert unmet.seconds("2", NOW) == float("inf")
    unmet.note("2", NOW)
    time[0] = 10.0
    assert unmet.seconds("2", NOW - 600) == 10.0  # the clock was set back
    assert unmet.seconds("2", NOW + 70) == 70.0


def test_versions_are_resolved_but_where_they_may_be_any() -> None:
    containers = [{"name": "a", "image": "web:1"}, {"name": "b", "image": "web@sha256:1"}]
    assert versions.resolved([*containers, {"name": "c", "image": "web", "versionConsistency": "disabled"}]) == {"a"}


def test_events_are_read() -> None:
    text = f"(service web) has started 2 tasks: (task {TASK.id}) (task {OTHER.id}). Amazon ECS replaced 1 tasks due"
    assert serving.started([text, "(service web) has reached a steady state."]) == Told(2, (TASK.id, OTHER.id))
    assert serving.stopped([f"(service web) has stopped 1 running tasks: (task {TASK.id})."]) == Told(1, (TASK.id,))
    assert serving.tells_steady("(service web) has reached a steady state.")
    assert not serving.tells_steady("(service web, taskSet ecs-svc/2) has reached a steady state.")
