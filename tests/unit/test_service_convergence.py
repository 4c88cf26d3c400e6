"""Task sets and daemons in any order of events, decided by the whole scheduler: when it is quiet, all is as wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_service_daemon import PRIMARY, daemons
from test_service_task_sets import NOW, service, task, task_set

from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.scheduling import bounds, task_sets
from homeport.services.ecs.scheduling.plan import Plan, Seen, Slot, Start
from homeport.services.ecs.scheduling.reconcile import reconcile

QUIET = 200  # looks, a minute apart, in which everything comes to rest


class World:
    """Carries out plans at once. Tasks run when they are told to, and end when they are told to."""

    def __init__(self, look: Seen) -> None:
        self.look, self.now, self.made = look, NOW, 0

    def step(self, seconds: float = 60.0) -> Plan:
        self.now += seconds
        plan = reconcile(self.look, self.now)
        ids = {s.id for s in plan.task_sets}
        kept = [s for s in self.look.task_sets if s.id not in ids and s.id not in plan.gone]
        known = {d.id: d for d in (*self.look.deployments, *plan.deployments)}
        stopped = {stop.task for stop in plan.stops}
        tasks = [_stopping(t) if t.id in stopped else t for t in self.look.tasks if t.id not in plan.noted]
        tasks += [task for start in plan.starts for task in self._started(start)]
        self.look = replace(
            self.look,
            service=plan.service,
            task_sets=(*kept, *plan.task_sets),
            deployments=tuple(d for d in known.values() if d.role != "INACTIVE"),
            tasks=tuple(tasks),
        )
        return plan

    def happens(self, number: int, to: Callable[[Task], Task]) -> None:
        if self.look.tasks:
            victim = self.look.tasks[number % len(self.look.tasks)]
            self.look = replace(self.look, tasks=tuple(to(t) if t is victim else t for t in self.look.tasks))

    def rest(self) -> None:
        """Nothing happens any more but what was asked for."""
        for _ in range(QUIET):
            self.look = replace(self.look, tasks=tuple(_on(t, self.now) for t in self.look.tasks))
            plan = self.step()
            at_rest = all((t.desired_status, t.last_status) == ("RUNNING", TaskStatus.RUNNING) for t in self.look.tasks)
            if at_rest and not plan.starts and not plan.stops:
                return
        raise AssertionError("it never comes to rest")

    def _started(self, start: Start) -> list[Task]:
        made = []
        for place in range(start.count):
            self.made += 1
            where = start.instances[place] if start.instances else None
            fields: dict[str, Any] = {"last_status": TaskStatus.PENDING, "started_at": None, "created_at": self.now}
            made.append(task(f"new{self.made}", start.owner, instance=where, **fields))
        return made


def _stopping(one: Task) -> Task:
    return replace(one, desired_status="STOPPED", stopping_at=NOW)


def _on(one: Task, now: float) -> Task:
    """A task one step on."""
    if one.desired_status == "STOPPED":
        return replace(one, last_status=TaskStatus.STOPPED)
    return replace(one, last_status=TaskStatus.RUNNING, started_at=one.started_at or now)


def _dies(one: Task) -> Task:
    return replace(one, desired_status="STOPPED", last_status=TaskStatus.STOPPED, stop_code="EssentialContainerExited")


def _fails(one: Task) -> Task:
    if one.last_status >= TaskStatus.RUNNING:
        return one
    return replace(one, desired_status="STOPPED", last_status=TaskStatus.STOPPED, stop_code="TaskFailedToStart")


EVENT = st.tuples(st.sampled_from(["runs", "dies", "fails", "look", "scale", "desired", "delete"]), st.integers(0, 9))


@settings(max_examples=60)
@given(st.lists(EVENT, max_size=30))
def test_every_task_set_ends_at_its_count(events: list[tuple[str, int]]) -> None:
    world = World(Seen(service=service(3), task_sets=(task_set("1"), task_set("2", scale=50.0))))
    for what, number in events:
        sets = world.look.task_sets
        match what:
            case "runs":
                world.happens(number, lambda t: _on(t, world.now))
            case "dies":
                world.happens(number, _dies)
            case "fails":
                world.happens(number, _fails)
            case "desired":
                world.look = replace(world.look, service=replace(world.look.service, desired=number))
            case "scale" if sets:
                changed = replace(sets[number % len(sets)], scale=number * 10.0)
                world.look = replace(world.look, task_sets=(changed, *(s for s in sets if s.id != changed.id)))
            case "delete" if sets and number > 6:
                leaving = replace(sets[number % len(sets)], status="DRAINING")
                world.look = replace(world.look, task_sets=(leaving, *(s for s in sets if s.id != leaving.id)))
            case _:
                world.step(1.0)
        before = world.look.tasks
        live = Counter(t.started_by for t in before if t.last_status < TaskStatus.STOPPED)
        for start in world.step(0.0).starts:
            one = next(s for s in world.look.task_sets if s.id == start.owner)
            wanted = task_sets.computed(world.look.service.desired, one.scale)
            assert live[one.name] + start.count <= 2 * wanted
    world.rest()
    desired = world.look.service.desired
    there = Counter(t.started_by for t in world.look.tasks)
    assert {s.name: there[s.name] for s in world.look.task_sets} == {
        s.name: task_sets.computed(desired, s.scale) for s in world.look.task_sets
    }
    assert sum(there.values()) == sum(s.computed for s in world.look.task_sets)
    assert {s.stability for s in world.look.task_sets} <= {"STEADY_STATE"}
    assert all(s.status != "DRAINING" for s in world.look.task_sets)


SLOTS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["active", "drains", "busy"]), max_size=4)
CHANGE = st.tuples(st.sampled_from(["runs", "dies", "fails", "look", "deploy"]), st.integers(0, 9), SLOTS)


@settings(max_examples=60)
@given(st.lists(CHANGE, max_size=20), st.sampled_from([0, 50, 75]))
def test_every_instance_ends_with_its_daemon(events: list[tuple[str, int, dict[str, str]]], minimum: int) -> None:
    world = World(Seen(service=daemons(minimumHealthyPercent=minimum), deployments=(replace(PRIMARY, id="1"),)))
    for what, number, kinds in events:
        slots = tuple(Slot(n, draining=kind != "active", others=kind == "busy") for n, kind in kinds.items())
        world.look = replace(world.look, slots=slots, draining=frozenset(s.instance for s in slots if s.draining))
        match what:
            case "runs":
                world.happens(number, lambda t: _on(t, world.now))
            case "dies":
                world.happens(number, _dies)
            case "fails":
                world.happens(number, _fails)
            case "deploy":
                older = tuple(replace(d, role="ACTIVE") for d in world.look.deployments)
                newer = replace(PRIMARY, id=str(int(world.look.deployments[0].id) + 1), number=world.made + 9)
                world.look = replace(world.look, deployments=(newer, *older))
        world.step(1.0)
        there = Counter(t.instance for t in world.look.tasks if t.last_status < TaskStatus.STOPPED)
        assert max(there.values(), default=0) <= 1
    world.rest()
    primary = next(d for d in world.look.deployments if d.role == "PRIMARY")
    active = {s.instance for s in world.look.slots if not s.draining}
    kept = {s.instance for s in world.look.slots if s.draining and s.others}
    own = {t.instance for t in world.look.tasks if t.started_by == primary.name}
    assert active <= own
    assert {t.instance for t in world.look.tasks} <= active | kept
    assert world.look.service.desired == len(active)
    assert bounds.upper(len(active), world.look.service.deployment_configuration) == len(active)
