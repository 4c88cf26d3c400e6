"""What the service loop does to the store: sees a service, asks for the plan, carries it out. One transaction each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from homeport.core.ids import Ids
from homeport.services.ecs import effects, lifecycle, service_starts, services
from homeport.services.ecs.model.deployment import DEPLOYMENTS, REVISIONS, SERVICE_DEPLOYMENTS
from homeport.services.ecs.model.service import EVENTS, EVENTS_KEPT, INACTIVE_SECONDS, SERVICES, Service, ServiceEvent
from homeport.services.ecs.model.task import TASKS, Task, TaskStatus
from homeport.services.ecs.model.task_set import TASK_SETS
from homeport.services.ecs.scheduling import messages, throttle
from homeport.services.ecs.scheduling.plan import MOST_MOVES, Plan, Stop, Told
from homeport.services.ecs.scheduling.reconcile import reconcile
from homeport.services.ecs.service_sight import see
from homeport.services.ecs.shortage import Need, either
from homeport.store import Key, Scope, Table, Tx

SCHEDULER = "ServiceSchedulerInitiated"
SHORT_AGAIN = 60.0  # seconds after which a service without room is looked at anew, though no room told of itself


class Looked(msgspec.Struct, frozen=True):
    """``moves``: how many tasks were started, stopped or taken note of. ``more``: there is more to do at once;
    ``wake_at``: when to look again, if nothing changes before. ``need``: what found no room. ``tasks``: how many were
    looked at, with the instances that daemons belong on."""

    moves: int = 0
    more: bool = False
    wake_at: float | None = None
    need: Need | None = None
    tasks: int = 0


def look(tx: Tx, key: Key, ids: Ids, most: int = MOST_MOVES) -> Looked:
    """Does what is next for a service, in ``most`` moves at most."""
    service = tx.get(SERVICES, key.scope, key.id)
    if service is None or service.status == "INACTIVE":
        return Looked()
    seen = see(tx, key.scope, service)
    looked = carry_out(tx, key.scope, reconcile(seen, tx.now), ids, most)
    return replace(looked, tasks=len(seen.tasks) + len(seen.slots))


def carry_out(tx: Tx, scope: Scope, plan: Plan, ids: Ids, most: int = MOST_MOVES) -> Looked:
    """Whatever part of a plan's starts and stops is carried out, the rest is still right."""
    changed = _put(tx, scope, plan)
    service, told, need = plan.service, list(plan.events), None
    moves, more = 0, changed
    for start in plan.starts:
        if moves == most:
            more = True
        else:
            begun = service_starts.begin(tx, scope, service, start, most - moves, ids)
            more = more or begun.made == most - moves < start.count
            service, need, moves = begun.service, either(need, begun.need), moves + begun.made
            told += begun.told
    service = replace(service, short=need is not None, throttle=throttle.launched(service.throttle, moves, tx.now))
    more = more or len(plan.stops) > most - moves
    stops = plan.stops[: most - moves]
    service = tell(tx, scope, service, [*told, *_stop(tx, scope, service, stops)], ids)
    if service.status == "INACTIVE" and service.deleted_at is not None:
        service = replace(service, wake_at=tx.now + INACTIVE_SECONDS)
    tx.put(SERVICES, scope, service)
    times = (plan.wake_at, throttle.opens_at(service.throttle, tx.now), tx.now + SHORT_AGAIN if need else None)
    wake_at = min((t for t in times if t is not None), default=None)
    return Looked(moves + len(stops) + len(plan.noted), more, wake_at, need)


def _put(tx: Tx, scope: Scope, plan: Plan) -> bool:
    """Stores the records of a plan. Whether there was anything but the service that changed."""
    for record in plan.deployments:
        tx.put(DEPLOYMENTS, scope, record)
    for revision in plan.revisions:
        tx.put(REVISIONS, scope, revision)
    for service_deployment in plan.service_deployments:
        tx.put(SERVICE_DEPLOYMENTS, scope, service_deployment)
    for task_set in plan.task_sets:
        tx.put(TASK_SETS, scope, task_set)
    for id in plan.gone:
        tx.delete(TASK_SETS, scope, id)
    for id in plan.noted:
        task = tx.get(TASKS, scope, id)
        if task is not None:
            tx.put(TASKS, scope, replace(task, noted=True))
    return bool(plan.deployments or plan.revisions or plan.service_deployments or plan.task_sets or plan.gone)


def tell(tx: Tx, scope: Scope, service: Service, told: Iterable[Told], ids: Ids) -> Service:
    """Records events, but for those that must not be repeated yet; the oldest beyond those that are kept go."""
    for number, event in enumerate(told):
        topic = event.topic or event.message
        if event.again and 0 <= tx.now - service.told.get(topic, -event.again) < event.again:
            continue
        if event.again:
            service = replace(service, told={**service.told, topic: tx.now})
        record = ServiceEvent(
            id=ids.new("uuid"),
            service=service.id,
            number=tx.version * 1000 + number,
            at=tx.now,
            message=event.message,
            name=event.name,
            level=event.level,
            reason=event.reason,
            detail=event.detail,
        )
        tx.put(EVENTS, scope, record)
    ranked = tx.ranked(EVENTS, scope, "service", service.id).get("events", ())
    for old in [ranked[place].id for place in range(len(ranked) - EVENTS_KEPT)]:
        tx.delete(EVENTS, scope, old)
    return service


def forget(tx: Tx, key: Key) -> None:
    """Deletes an INACTIVE service whose ``wake_at`` has come, with all that was its."""
    service = tx.get(SERVICES, key.scope, key.id)
    if service is not None and service.status == "INACTIVE":
        remove(tx, key.scope, service)


def remove(tx: Tx, scope: Scope, service: Service) -> None:
    """Takes a service out of the store, with all records that are only its."""
    tx.delete(SERVICES, scope, service.id)
    for event in list(services.events(tx, scope, service)):
        tx.delete(EVENTS, scope, event.id)
    tables: tuple[Table[Any], ...] = (DEPLOYMENTS, REVISIONS, SERVICE_DEPLOYMENTS, TASK_SETS)
    for table in tables:
        for record in tx.find(table, scope, "service", service.id):
            tx.delete(table, scope, record.id)


def _stop(tx: Tx, scope: Scope, service: Service, stops: Iterable[Stop]) -> list[Told]:
    running: dict[str, list[str]] = {}
    by_zone: dict[str, list[Task]] = {}
    pending: dict[str, int] = {}
    for stop in stops:
        task = tx.get(TASKS, scope, stop.task)
        if task is None or task.desired_status == "STOPPED":
            continue
        effects.save(tx, scope, task, lifecycle.request_stop(task, SCHEDULER, stop.reason, tx.now))
        whose = _told_of(service, task)
        if stop.why == "rebalancing":
            by_zone.setdefault(task.availability_zone or "", []).append(task)
        elif task.last_status >= TaskStatus.RUNNING:
            running.setdefault(whose, []).append(task.id)
        else:
            pending[whose] = pending.get(whose, 0) + 1
    told = [Told(message=messages.stopped(whose, ids)) for whose, ids in running.items()]
    for zone, tasks in by_zone.items():
        text = messages.stopped_in(service.name, zone, [t.id for t in tasks])
        told.append(Told(message=text, name="TASKS_STOPPED", detail={"taskArns": [t.arn for t in tasks]}))
    return [*told, *(Told(message=messages.stopped_pending(whose, count)) for whose, count in pending.items())]


def _told_of(service: Service, task: Task) -> str:
    """How events about a task name its service, and its task set."""
    if service.controller != "EXTERNAL" or task.started_by is None:
        return service.name
    return messages.of_set(service.name, task.started_by)
