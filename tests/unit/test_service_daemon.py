"""Daemons on instances, decided."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_service_task_sets import CLUSTER, NOW, service, task

from homeport.services.ecs.model.deployment import Deployment
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import Container, Task, TaskStatus
from homeport.services.ecs.scheduling import bounds, daemon, replica, rollout
from homeport.services.ecs.scheduling.early import Early
from homeport.services.ecs.scheduling.plan import Seen, Slot
from homeport.services.ecs.scheduling.replica import Moves

PRIMARY = Deployment(id="2", service="demo/shop", revision="r", number=2, created_at=NOW, updated_at=NOW)
PRESENT, OLD = "2", "1"


def daemons(**configuration: int) -> Service:
    given = {"minimumHealthyPercent": 0, "maximumPercent": 100, **configuration}
    return replace(service(0, scheduling="DAEMON", deployment_configuration=given), controller="ECS")


def on(id: str, instance: str, owner: str = PRESENT, **fields: Any) -> Task:
    return task(id, owner, instance=instance, launch_type="EC2", **fields)


def decide(seen: Seen, primary: Deployment = PRIMARY) -> tuple[Seen, Moves]:
    seen = daemon.counted(seen).seen
    return seen, daemon.moves(seen, primary, replica.count(seen, PRIMARY.name, NOW), NOW)


def seen(slots: list[Slot], tasks: list[Task], *, draining: tuple[str, ...] = (), **configuration: int) -> Seen:
    drains = frozenset(draining) | {s.instance for s in slots if s.draining}
    return Seen(service=daemons(**configuration), slots=tuple(slots), tasks=tuple(tasks), draining=drains)


def placed(moves: Moves) -> list[str]:
    return [instance for start in moves.starts for instance in start.instances]


def stopped(moves: Moves) -> dict[str, str]:
    return {stop.task: stop.why for stop in moves.stops}


def test_each_instance_gets_one_and_those_that_are_full_come_last() -> None:
    look, moves = decide(seen([Slot("a", full=True), Slot("b"), Slot("c")], [on("1", "c")]))
    assert look.service.desired == 3
    assert placed(moves) == ["b", "a"]
    assert stopped(moves) == {}


def test_a_task_where_it_belongs_no_more_completes_no_deployment() -> None:
    look, moves = decide(seen([Slot("a"), Slot("b"), Slot("c", draining=True)], [on("1", "a"), on("2", "gone")]))
    count = replica.count(look, PRIMARY.name, NOW)
    assert look.service.desired == len(count.own) == 2
    assert stopped(moves) == {"2": "constraint"}
    assert not rollout.is_done(look, count)
    early = Early(enabled=True, percent=100, cleanup="DEFERRED")
    assert not early.met(look.service.desired, PRIMARY, count)


def test_the_desired_count_is_told_when_it_changes() -> None:
    counted = daemon.counted(seen([Slot("a"), Slot("b"), Slot("c", draining=True)], []))
    assert [(e.name, e.detail, e.message) for e in counted.events] == [
        ("SERVICE_DESIRED_COUNT_UPDATED", {"desiredCount": 2}, "")
    ]
    assert daemon.counted(Seen(service=counted.seen.service, slots=counted.seen.slots)).events == ()


def test_an_instance_takes_none_before_the_last_one_is_gone() -> None:
    stopping = on("1", "a", desired_status="STOPPED", last_status=TaskStatus.DEACTIVATING)
    _, moves = decide(seen([Slot("a")], [stopping]))
    assert placed(moves) == []
    over = on("1", "a", desired_status="STOPPED", last_status=TaskStatus.STOPPED)
    assert placed(decide(seen([Slot("a")], [over]))[1]) == ["a"]


def test_a_daemon_whose_instance_wont_do_any_more_is_stopped_and_it_is_told() -> None:
    look, moves = decide(seen([Slot("a")], [on("1", "a"), on("2", "b")]))
    assert stopped(moves) == {"2": "constraint"}
    (told,) = daemon.violated(look, moves.stops)
    assert (told.name, told.level) == ("SERVICE_DAEMON_PLACEMENT_CONSTRAINT_VIOLATED", "ERROR")
    assert told.message == "(service shop) (task 2) no longer meets the placement constraints of the service."
    assert told.detail == {"taskArns": [CLUSTER.replace(":cluster/", ":task/") + "/2"], "containerInstanceArns": ["b"]}
    assert daemon.violated(look, ()) == ()


def test_an_instance_that_drains_keeps_its_daemon_until_others_are_gone() -> None:
    one = on("1", "a")
    look, moves = decide(seen([Slot("a", draining=True, others=True)], [one]))
    assert (look.service.desired, look.tasks, stopped(moves)) == (0, (), {})
    look, moves = decide(seen([Slot("a", draining=True)], [one]))
    assert (look.service.desired, stopped(moves), placed(moves)) == (0, {"1": "scaling"}, [])


@pytest.mark.parametrize(("minimum", "count"), [(0, 4), (50, 2), (75, 1), (100, 0)])
def test_a_deployment_stops_no_more_than_the_minimum_leaves(minimum: int, count: int) -> None:
    tasks = [on(n, n, OLD) for n in "abcd"]
    _, moves = decide(seen([Slot(n) for n in "abcd"], tasks, minimumHealthyPercent=minimum))
    assert len(moves.stops) == count
    assert placed(moves) == []
    assert moves.stuck == (count == 0)


def test_older_daemons_that_dont_work_go_first() -> None:
    tasks = [on("a", "a", OLD), on("b", "b", OLD, last_status=TaskStatus.PENDING, started_at=None)]
    _, moves = decide(seen([Slot("a"), Slot("b")], tasks, minimumHealthyPercent=100))
    assert set(stopped(moves)) == {"b"}


def test_a_protected_daemon_outlives_a_deployment() -> None:
    _, moves = decide(seen([Slot("a")], [on("1", "a", OLD, protected_until=NOW + 1)]))
    assert (stopped(moves), moves.guarded) == ({}, 1)


def test_protection_is_not_for_daemons_that_are_unhealthy() -> None:
    ill = on("1", "a", OLD, protected_until=NOW + 1, containers=(Container(id="c", name="app", health="UNHEALTHY"),))
    found = replace(seen([Slot("a")], [ill]), checked={ill.definition_arn: frozenset({"app"})})
    _, moves = decide(found)
    assert (stopped(moves), moves.guarded) == ({"1": "unhealthy"}, 0)


def test_a_deployment_that_failed_starts_and_takes_nothing() -> None:
    failed = replace(PRIMARY, rollout="FAILED")
    _, moves = decide(seen([Slot("a"), Slot("b")], [on("1", "a", OLD)]), failed)
    assert (placed(moves), stopped(moves)) == ([], {})


def test_what_a_failed_deployment_finds_on_instances_that_will_not_do_goes_all_the_same() -> None:
    failed = replace(PRIMARY, rollout="FAILED")
    slots = [Slot("a"), Slot("drains", draining=True), Slot("busy", draining=True, others=True)]
    older = [on(name, name, OLD) for name in ("a", "drains", "busy", "other")]
    ill = on("ill", "b", containers=(Container(id="c", name="app", health="UNHEALTHY"),))
    found = replace(seen([*slots, Slot("b")], [*older, ill]), checked={ill.definition_arn: frozenset({"app"})})
    _, moves = decide(found, failed)
    assert stopped(moves) == {"drains": "scaling", "other": "constraint", "ill": "unhealthy"}
    assert placed(moves) == []


INSTANCES = st.sampled_from("abcdef")
SLOT = st.builds(lambda draining, others: (draining, others), st.booleans(), st.booleans())
TASK = st.tuples(INSTANCES, st.sampled_from([PRESENT, OLD]), st.sampled_from(list(TaskStatus)), st.booleans())


@given(st.dictionaries(INSTANCES, SLOT), st.dictionaries(INSTANCES, TASK), st.integers(0, 100))
def test_never_two_on_an_instance_nor_fewer_than_the_minimum(
    drawn: dict[str, Any], there: dict[str, Any], minimum: int
) -> None:
    slots = [Slot(name, draining, others) for name, (draining, others) in drawn.items()]
    tasks = [
        on(
            id,
            id,
            owner,
            last_status=status,
            desired_status="STOPPED" if stopping or status > TaskStatus.RUNNING else "RUNNING",
            started_at=NOW - 100 if status >= TaskStatus.RUNNING else None,
        )
        for id, (_, owner, status, stopping) in there.items()
    ]
    look, moves = decide(seen(slots, tasks, minimumHealthyPercent=minimum))
    unfinished = {t.instance for t in tasks if t.last_status < TaskStatus.STOPPED}
    active = {s.instance for s in slots if not s.draining}
    assert set(placed(moves)) == active - unfinished
    kept = {s.instance for s in slots if s.draining and s.others}
    assert not kept & set(stopped(moves))
    healthy = replica.count(look, PRIMARY.name, NOW).healthy
    replaced = {stop.task for stop in moves.stops if stop.task in active}
    lower = bounds.lower(len(active), look.service.deployment_configuration)
    lost = {stop.task for stop in moves.stops} - active
    failed = decide(look, replace(PRIMARY, rollout="FAILED"))[1]
    live = [t for t in look.tasks if t.desired_status == "RUNNING"]
    older = [t for t in live if t.started_by == f"ecs-svc/{OLD}" and t.id not in stopped(failed)]
    assert len(older) <= look.service.desired, "one an instance: there is never a surplus to scale in"
    assert not {t.id for t in older} & active & set(stopped(failed))
    assert not (replaced & healthy) or len(healthy - replaced - lost) >= lower
