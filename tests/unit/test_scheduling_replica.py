"""What a REPLICA service starts and stops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scheduling_world import CHECKED, NOW, deployment, instance, pending, seen, service, stopping, task

from homeport.services.ecs.model.service import Service, Throttle
from homeport.services.ecs.model.task import Container, NodeStatus, Task, TaskStatus
from homeport.services.ecs.scheduling import bounds, messages, replica
from homeport.services.ecs.scheduling.plan import Seen, Start, Stop


def moves(look: Seen, now: float = NOW) -> replica.Moves:
    primary = look.primary
    assert primary is not None
    return replica.moves(look, primary, replica.count(look, primary.name, now), now)


def started(found: replica.Moves) -> int:
    return sum(start.count for start in found.starts)


def stopped(found: replica.Moves) -> list[str]:
    return [stop.task for stop in found.stops]


def old(*ids: str, **fields: Any) -> list[Task]:
    return [task(id, 1, **fields) for id in ids]


@pytest.mark.parametrize(
    ("desired", "minimum", "maximum", "starts", "stops"),
    [
        (4, 50, 100, 0, 2),  # the reference's examples
        (2, 75, 100, 0, 0),
        (4, 100, 200, 4, 0),
        (3, 100, 125, 0, 0),
        (4, 50, 200, 4, 2),
        (3, 50, 150, 1, 1),
        (1, 0, 100, 0, 1),
        (10, 90, 110, 1, 1),
    ],
)
def test_a_deployment_begins_within_the_bounds(
    desired: int, minimum: int, maximum: int, starts: int, stops: int
) -> None:
    found = moves(seen(service(desired, minimum, maximum), old(*map(str, range(desired)))))
    assert (started(found), len(found.stops)) == (starts, stops)
    assert found.stuck == (starts + stops == 0)


def test_all_missing_tasks_are_started() -> None:
    assert moves(seen(service(3), [])).starts == (Start("2", 3),)
    assert moves(seen(service(3), [task("a"), pending("b")])).starts == (Start("2", 1),)
    assert moves(seen(service(0), [])).starts == ()


def test_stopping_tasks_occupy_room() -> None:
    look = seen(service(2, 100, 150), [task("a"), stopping("b"), stopping("c")])
    assert started(moves(look)) == 0
    assert started(moves(replace(look, tasks=look.tasks[:2]))) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"containers": (Container(id="c", name="app", status="STOPPED", exit_code=137),)},
        {"node_status": NodeStatus.STOPPED},
        {"desired_status": "STOPPED"},
    ],
)
def test_a_killed_task_is_replaced_at_the_report_of_it(fields: dict[str, Any]) -> None:
    assert moves(seen(service(1), [task("a", **fields)])) == replica.Moves(starts=(Start("2", 1),))


def test_a_task_that_never_ran_is_replaced_once_its_end_is_noted() -> None:
    failed = (Container(id="c", name="app", status="STOPPED", reason="CannotPullContainerError: no"),)
    assert moves(seen(service(1), [pending("a", containers=failed)])).starts == ()
    over = pending("a", desired_status="STOPPED", stop_code="TaskFailedToStart")
    assert moves(seen(service(1), [over])).starts == ()
    assert moves(seen(service(2), [over])).starts == (Start("2", 1),)
    unwanted = replace(over, stop_code="ServiceSchedulerInitiated")
    assert moves(seen(service(1), [unwanted])).starts == (Start("2", 1),)


def test_a_container_that_is_not_essential_may_end() -> None:
    over = Container(id="c", name="init", status="STOPPED", exit_code=0, essential=False)
    there = task("a")
    assert moves(seen(service(1), [replace(there, containers=(*there.containers, over))])) == replica.Moves()


def test_older_tasks_go_as_new_ones_get_healthy() -> None:
    tasks = [*old("a", "b", "c"), task("x"), task("y", started_at=NOW - 39), pending("z")]
    found = moves(seen(service(3), tasks))
    assert found.stops == (Stop("a", "Scaling activity initiated by (deployment ecs-svc/2)"),)
    assert len(moves(seen(service(3), tasks), NOW + 1).stops) == 2


def test_what_does_not_serve_goes_first_the_oldest_of_the_rest_then() -> None:
    tasks = [
        task("new-healthy", 1, created_at=NOW - 50),
        task("old-healthy", 1, created_at=NOW - 90),
        task("warming", 1, started_at=NOW - 10),
        pending("pending", 1),
    ]
    assert stopped(moves(seen(service(4, 0), tasks))) == ["pending", "warming", "old-healthy", "new-healthy"]


def test_tasks_that_are_about_to_be_healthy_are_not_given_up_for_such_as_are_not_yet() -> None:
    warming = old("a", "b", started_at=NOW - 39)
    assert stopped(moves(seen(service(2), warming))) == []
    assert stopped(moves(seen(service(2), [*warming, pending("x"), pending("y")]))) == []
    assert stopped(moves(seen(service(2), [*warming, task("x", started_at=NOW - 1), pending("y")]))) == ["a"]


def test_several_older_deployments_end_together() -> None:
    deployments = (deployment(3, role="PRIMARY"), deployment(2, role="ACTIVE"), deployment(1))
    tasks = [*old("a", "b"), *(pending(id, 2) for id in ("p", "q"))]
    found = moves(seen(service(2), tasks, deployments=deployments))
    assert stopped(found) == ["p", "q"]  # none of them keeps the service up
    assert started(found) == 0  # there is no room yet
    tasks = [*old("a", "b"), *(pending(id, 3) for id in ("x", "y"))]
    assert moves(seen(service(2), tasks, deployments=deployments)) == replica.Moves()


def test_a_failed_deployment_starts_nothing_and_takes_nothing_away() -> None:
    failed = (deployment(rollout="FAILED"), deployment(1))
    look = seen(service(3), [*old("a", "b", "c"), task("x")], deployments=failed)
    assert moves(look) == replica.Moves()
    assert stopped(moves(replace(look, service=service(2, 100)))) == ["a"]  # but what is too many goes
    assert stopped(moves(replace(look, service=service(0, 100)))) == ["x", "a", "b", "c"]


# --- health ---------------------------------------------------------------------------------------------------------


def checked(tasks: list[Task], **fields: Any) -> Seen:
    return seen(service(**{"desired": 2, **fields}), tasks, checked=CHECKED)


def test_an_unhealthy_task_is_replaced_first_where_the_maximum_allows() -> None:
    sick, well = task("sick", health="UNHEALTHY"), task("well", health="HEALTHY")
    found = moves(checked([sick, well]))
    assert found == replica.Moves(starts=(Start("2", 1, replaces=1),))
    assert moves(checked([sick, well, pending("new")])) == replica.Moves()
    assert moves(checked([sick, well, task("new")])) == replica.Moves()  # it isn't healthy yet
    found = moves(checked([sick, well, task("new", health="HEALTHY")]))
    assert found == replica.Moves(stops=(Stop("sick", messages.UNHEALTHY, "unhealthy"),))


def test_where_the_maximum_does_not_allow_it_unhealthy_ones_go_one_at_a_time() -> None:
    sick = [task(id, health="UNHEALTHY") for id in "ab"]
    assert stopped(moves(checked(sick, maximum=100))) == ["a"]
    assert moves(checked([stopping("a"), sick[1]], maximum=100)) == replica.Moves()
    found = moves(checked([sick[1]], maximum=100))
    assert (started(found), stopped(found)) == (1, [])


def test_a_replacement_that_is_unhealthy_too_ends_one_of_both() -> None:
    tasks = [task("well", health="HEALTHY"), *(task(id, health="UNHEALTHY") for id in "ab")]
    found = moves(checked(tasks))
    assert (started(found), stopped(found)) == (1, ["a"])


def test_checks_are_forgiven_during_the_grace_period() -> None:
    sick = [task("a", health="UNHEALTHY", started_at=NOW - 60), task("b", health="HEALTHY")]
    assert moves(checked(sick, grace=61)) == replica.Moves()
    assert started(moves(checked(sick, grace=60))) == 1
    assert stopped(moves(checked(sick, desired=1, grace=61))) == ["a"]  # but there are too many of them


def test_a_clock_that_is_set_back_keeps_no_task_from_being_healthy() -> None:
    look = seen(service(1), [*old("a"), task("x")])
    assert stopped(moves(look, NOW - 3600)) == ["a"]


# --- draining -------------------------------------------------------------------------------------------------------


def test_pending_tasks_on_a_draining_instance_stop_at_once() -> None:
    tasks = [pending("a", at="i1"), task("b", at="i2")]
    found = moves(seen(service(2, 100, 100), tasks, draining=frozenset({instance("i1")})))
    assert (started(found), stopped(found)) == (0, ["a"])


@pytest.mark.parametrize(
    ("minimum", "maximum", "starts", "stops"), [(100, 200, 2, 0), (50, 100, 0, 1), (50, 200, 2, 1)]
)
def test_running_tasks_on_a_draining_instance_are_replaced_within_the_bounds(
    minimum: int, maximum: int, starts: int, stops: int
) -> None:
    drained = [task(id, at="i1") for id in "ab"]
    found = moves(seen(service(2, minimum, maximum), drained, draining=frozenset({instance("i1")})))
    assert (started(found), len(found.stops)) == (starts, stops)


def test_draining_for_ever_is_told() -> None:
    drained = [task(id, at="i1") for id in "ab"]
    assert moves(seen(service(2, 100, 100), drained, draining=frozenset({instance("i1")}))).stuck


def test_they_go_once_their_replacements_are_healthy() -> None:
    tasks = [task("a", at="i1"), task("b", at="i1"), task("x", at="i2"), task("y", at="i2", started_at=NOW - 3)]
    found = moves(seen(service(2), tasks, draining=frozenset({instance("i1")})))
    assert (started(found), stopped(found)) == (0, ["a"])


# --- protection -----------------------------------------------------------------------------------------------------


def test_protected_tasks_are_spared_by_scale_in() -> None:
    tasks = [task("a", protected_until=NOW + 1), task("b"), task("c")]
    assert stopped(moves(seen(service(1), tasks))) == ["b", "c"]
    found = moves(seen(service(0), tasks))
    assert (stopped(found), found.guarded) == (["b", "c"], 1)
    assert len(moves(seen(service(0), tasks), NOW + 1).stops) == 3


def test_protected_tasks_hold_up_a_deployment() -> None:
    tasks = [*old("a", protected_until=NOW + 60), *old("b"), task("x"), task("y")]
    found = moves(seen(service(2), tasks))
    assert (stopped(found), found.guarded, found.stuck) == (["b"], 1, False)


def test_an_unhealthy_task_is_not_protected() -> None:
    tasks = [task("a", 1, health="UNHEALTHY", protected_until=NOW + 60), task("x", health="HEALTHY")]
    assert stopped(moves(checked(tasks, desired=1))) == ["a"]


# --- what others left -----------------------------------------------------------------------------------------------


def test_tasks_of_an_earlier_service_of_the_name_stop_and_count_for_nothing() -> None:
    tasks = [task("a", 7, created_at=NOW - 2e5), stopping("b", 7, created_at=NOW - 2e5)]
    found = moves(seen(service(1, 100, 100), tasks))
    assert (started(found), stopped(found)) == (1, ["a"])


def test_tasks_of_a_deployment_that_is_no_more_are_replaced_within_the_bounds() -> None:
    assert stopped(moves(seen(service(1), [task("a", 7), pending("x")]))) == []
    assert stopped(moves(seen(service(1), [task("a", 7), task("x")]))) == ["a"]


def test_a_throttled_service_starts_nothing() -> None:
    found = moves(seen(service(1, throttle=Throttle(until=NOW + 1)), []))
    assert found.starts == ()
    assert started(moves(seen(service(600, throttle=Throttle(window=NOW, started=100)), []))) == 400


# --- any order of events --------------------------------------------------------------------------------------------


@dataclass
class Model:
    """A service that is moved on by its scheduler, and by what happens to its tasks."""

    service: Service
    owner: int = 2
    now: float = NOW
    made: int = 0
    tasks: dict[str, Task] = field(default_factory=dict)

    def look(self) -> Seen:
        deployments = tuple(
            deployment(n, role="PRIMARY" if n == self.owner else "ACTIVE") for n in range(self.owner, 0, -1)
        )
        return seen(self.service, self.tasks.values(), deployments=deployments, draining=frozenset({instance("bad")}))

    def decide(self) -> bool:
        """One look, held against the bounds; whether anything was to be done."""
        look = self.look()
        primary = look.primary
        assert primary is not None
        before = replica.count(look, primary.name, self.now)
        found = replica.moves(look, primary, before, self.now)
        configuration = self.service.deployment_configuration
        upper = bounds.upper(self.service.desired, configuration)
        lower = bounds.lower(self.service.desired, configuration)
        number = started(found)
        assert number == 0 or before.occupied + number <= upper
        gone = set(stopped(found))
        assert len(gone) == len(found.stops)
        lost = before.healthy & gone
        assert not lost or len(before.healthy) - len(lost) >= lower
        for _ in range(number):
            self.made += 1
            at = "good" if self.made % 2 else "other"
            self.tasks[f"t{self.made}"] = pending(f"t{self.made}", self.owner, created_at=self.now, at=at)
        for id in gone:
            self.change(id, desired_status="STOPPED")
        return bool(number or gone)

    def change(self, id: str, **fields: Any) -> None:
        self.tasks[id] = replace(self.tasks[id], **fields)

    def happen(self, what: str, which: int) -> None:
        ids = sorted(self.tasks)
        id = ids[which % len(ids)] if ids else ""
        match what:
            case "runs" if id and self.tasks[id].last_status < TaskStatus.RUNNING:
                self.change(id, last_status=TaskStatus.RUNNING, started_at=self.now)
            case "ends" if id:
                del self.tasks[id]
            case "drains" if id:
                self.change(id, instance=instance("bad"))
            case "dies" if id:
                self.change(id, node_status=NodeStatus.STOPPED)
            case "time":
                self.now += 20.0
            case "scales":
                self.service = replace(self.service, desired=which % 7)
            case "deploys":
                self.owner += 1

    def settle(self) -> None:
        """Everything goes well from here on."""
        for _ in range(400):
            busy = self.decide()
            for id, there in list(self.tasks.items()):
                if there.desired_status == "STOPPED" or there.node_status == NodeStatus.STOPPED:
                    busy = True
                    del self.tasks[id]
                elif there.last_status < TaskStatus.RUNNING:
                    busy = True
                    self.change(id, last_status=TaskStatus.RUNNING, started_at=self.now)
            self.now += 20.0
            if not busy and all(t.started_at and self.now > t.started_at + 80 for t in self.tasks.values()):
                return
        raise AssertionError("it never comes to rest")


EVENTS = st.tuples(
    st.sampled_from(["runs", "runs", "runs", "ends", "drains", "dies", "time", "time", "scales", "deploys"]),
    st.integers(0, 20),
)


@given(
    minimum=st.sampled_from([0, 50, 66, 100]),
    maximum=st.sampled_from([100, 150, 200]),
    desired=st.integers(0, 6),
    events=st.lists(EVENTS, max_size=40),
)
def test_the_bounds_are_kept_whatever_happens_and_it_comes_to_rest(
    minimum: int, maximum: int, desired: int, events: list[tuple[str, int]]
) -> None:
    model = Model(service(desired, minimum, maximum))
    for what, which in events:
        model.decide()
        model.happen(what, which)
    model.settle()
    look = model.look()
    primary = look.primary
    assert primary is not None
    count = replica.count(look, primary.name, model.now)
    done = len(count.own) == model.service.desired and not count.others and not count.failing
    assert done or replica.moves(look, primary, count, model.now).stuck
