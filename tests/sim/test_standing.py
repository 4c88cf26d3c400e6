"""What a service could do next, by the simulator's second opinion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from test_service_invariants import (
    DEFINITION,
    DRAINING,
    FAILED,
    FORMER,
    INSTANCE,
    OLD,
    OTHER,
    R1,
    SECOND,
    SERVICE,
    SET,
    TASK,
)

from homeport.server import TABLES
from homeport.services.ecs.model.definition import DEFINITIONS, TaskDefinition
from homeport.services.ecs.model.deployment import DEPLOYMENTS, REVISIONS
from homeport.services.ecs.model.instance import INSTANCES, ROOMS, Room
from homeport.services.ecs.model.service import SERVICES, Service, Throttle
from homeport.services.ecs.model.task import Task
from homeport.services.ecs.model.task_set import TASK_SETS
from homeport.sim.control import SCOPE
from homeport.sim.ledger import Ledger
from homeport.sim.loop import SimClock, SimLoop, run
from homeport.sim.service_book import Services
from homeport.sim.standing import Standing, no_service_stands_still
from homeport.store import Store, Tx, View
from homeport.store.memory import MemoryJournal

EPOCH = 1000.0
ROOM = Room(
    id="a",
    arn="arn/a",
    cpu=1024,
    memory=1024,
    open=True,
    connected=True,
    cluster=SERVICE.cluster_arn,
    launch_type="EC2",
)
FULL = replace(ROOM, cpu_used=1000)
CHECKED = {"name": "app", "image": "web:1", "healthCheck": {"command": ["CMD", "/check"]}}
WELL = [replace(t, containers=(replace(t.containers[0], health="HEALTHY"),)) for t in (TASK, OTHER)]
SICK = [replace(t, containers=(replace(t.containers[0], health="UNHEALTHY"),)) for t in (TASK, OTHER)]
OLDER = replace(WELL[0], id="0" * 31 + "3", started_by=FORMER.started_by)
THIRD = replace(WELL[0], id="0" * 31 + "4")
WAITING = replace(OTHER, instance=None, capacity_provider="spare", last_status=0, started_at=None)
DAEMON = replace(SERVICE, scheduling="DAEMON")
LEAVING = replace(INSTANCE, status="DRAINING")
EXTERNAL = replace(SERVICE, controller="EXTERNAL", configuration=None)


def standing(
    service: Service,
    tasks: Sequence[Task],
    *,
    room: Room = ROOM,
    instance: Any = INSTANCE,
    records: Sequence[Any] = (OLD, SECOND),
) -> Standing:
    definition = TaskDefinition(
        family="web",
        revision=1,
        arn=DEFINITION,
        status="ACTIVE",
        members={"containerDefinitions": [CHECKED], "cpu": "256", "memory": "512"},
        requires_attributes=(),
        compatibilities=("EC2",),
        registered_at=0.0,
        registered_by="",
    )
    ledger = Ledger(lambda *found: None)
    book = Services(lambda: 0.0, ledger)
    ledger.book(ROOMS.kind, room.id, room)
    ledger.book(INSTANCES.kind, instance.id, instance)
    for table, record in ((SERVICES, service), (REVISIONS, R1)):
        book.book(table.kind, record.id, record)
    for record in records:
        book.book((DEPLOYMENTS if record in (OLD, SECOND, FAILED) else TASK_SETS).kind, record.id, record)
    for task in tasks:
        ledger.book_task(None, task)
        book.book_task(None, task)
    return Standing(_view(definition), book, ledger)


def _view(definition: TaskDefinition) -> View:
    loop = SimLoop()

    async def stored() -> View:
        store = Store(MemoryJournal(), TABLES, SimClock(loop, EPOCH))
        await store.open()

        def put(tx: Tx) -> None:
            tx.put(DEFINITIONS, SCOPE, definition)

        await store.update(put, "test")
        return store.view()

    return run(stored(), loop)


@pytest.mark.parametrize(
    ("service", "tasks", "more", "step"),
    [
        (SERVICE, WELL, {}, None),
        (SERVICE, WELL[:1], {}, "start a task"),
        (SERVICE, WELL[:1], {"room": FULL}, None),
        (SERVICE, WELL[:1], {"room": replace(ROOM, connected=False)}, None),
        (SERVICE, WELL[:1], {"instance": LEAVING}, None),
        (SERVICE, WELL[:1], {"records": (FAILED,)}, None),
        (replace(SERVICE, throttle=Throttle(until=EPOCH + 60)), WELL[:1], {}, None),
        (replace(SERVICE, desired=1), WELL, {}, "stop"),
        (replace(SERVICE, desired=1), [replace(t, protected_until=EPOCH + 1) for t in WELL], {}, None),
        (SERVICE, [*WELL, OLDER], {}, f"stop {OLDER.id}"),
        (SERVICE, [*WELL, replace(OLDER, protected_until=EPOCH + 1)], {}, None),
        (SERVICE, [WELL[0], OLDER], {"room": FULL}, None),  # the older one is needed until there is room
        (SERVICE, SICK, {}, "start a task"),
        (SERVICE, SICK, {"room": FULL}, None),
        (SERVICE, [*WELL, replace(SICK[0], id="5")], {"room": FULL}, "replace 5"),
        (SERVICE, [*WELL, THIRD], {"instance": LEAVING, "room": FULL}, "stop"),
        (SERVICE, [WELL[0], WAITING], {"room": FULL}, None),
        (SERVICE, [WELL[0], WAITING], {}, "start a task"),
        (DAEMON, [], {}, "start a task"),
        (DAEMON, [], {"room": FULL}, None),
        (DAEMON, WELL[:1], {}, None),
        (DAEMON, SICK[:1], {}, "stop"),
        (DAEMON, WELL[:1], {"instance": LEAVING}, "stop"),
        (DAEMON, [WELL[0], replace(OTHER, group="family:job", started_by=None)], {"instance": LEAVING}, None),
        (EXTERNAL, WELL, {"records": (SET,)}, None),
        (EXTERNAL, WELL[:1], {"records": (SET,)}, "start a task"),
        (EXTERNAL, WELL, {"records": (replace(SET, scale=50.0),)}, "stop"),
        (EXTERNAL, WELL, {"records": (DRAINING,)}, f"end {SET.id}"),
    ],
)
def test_the_next_step(service: Service, tasks: list[Task], more: dict[str, Any], step: str | None) -> None:
    found = standing(service, tasks, **more).step(service)
    assert (found or "nothing").startswith(step or "nothing"), found


def test_what_is_under_way() -> None:
    assert not standing(SERVICE, [*WELL, SICK[0]]).under_way(SERVICE)
    assert not standing(SERVICE, [WAITING]).under_way(SERVICE)
    assert standing(SERVICE, [TASK]).under_way(SERVICE)  # it may become healthy
    assert standing(SERVICE, [replace(WELL[0], desired_status="STOPPED")]).under_way(SERVICE)


def test_standing_still_is_told_with_the_step() -> None:
    assert no_service_stands_still(SERVICE, 30.0, "stop 1") == "web has stood still for 30 s, and could stop 1"
