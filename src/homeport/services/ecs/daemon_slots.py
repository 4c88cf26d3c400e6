"""The instances that a DAEMON service's tasks belong on."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from homeport.services.ecs import clusters, definitions, launch, rooms, service_launch, services
from homeport.services.ecs.model.deployment import Configuration
from homeport.services.ecs.model.instance import INSTANCES, Instance
from homeport.services.ecs.model.service import SERVICES, Service
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.placement import StoreIndex, rules
from homeport.services.ecs.scheduling.plan import MOST_MOVES, Slot
from homeport.store import Scope, View


def slots(
    view: View, scope: Scope, service: Service, configuration: Configuration, tasks: Iterable[Task]
) -> tuple[Slot, ...]:
    """Those of the cluster's instances that meet its constraints, by id, and those with one of its ``tasks`` that
    drain. Costs a look at every instance of the cluster: a set of attributes is judged once."""
    cluster = clusters.newest(view, scope, service.cluster)
    definition = definitions.of_task(view, scope, configuration.definition_arn)
    if cluster is None or definition is None:
        return ()
    wish = service_launch.wish(cluster, service, definition, configuration, started_by="", provider=None, images={})
    # Its own task is no reason against the instance that it is on.
    wish = replace(wish, constraints=tuple(c for c in wish.constraints if c.type != "distinctInstance"))
    demand, index = launch.demanded(view, scope, wish), StoreIndex(view, scope)
    asked = rules.rules(demand)
    there = {t.instance for t in tasks if t.last_status < TaskStatus.STOPPED}
    found: list[Slot] = []
    free = 0
    for room in index.everywhere(cluster.arn):
        if room.open:
            if rules.candidate(demand, room) and rules.unsuited(demand, asked, room, index) is None:
                full = False
                if free < MOST_MOVES and room.arn not in there:  # no more than so many are started at a time
                    full = rules.reason(demand, asked, room, index) is not None
                    free += not full
                found.append(Slot(room.arn, full=full))
        elif room.arn in there:
            instance = view.get(INSTANCES, scope, room.id)
            if instance is not None and instance.status == "DRAINING":
                found.append(Slot(room.arn, draining=True, others=_busy(view, instance)))
    return tuple(found)


def _busy(view: View, instance: Instance) -> bool:
    """Whether tasks that are no daemons run there."""
    return any(not _is_daemon(view, scope, task) for scope, task in rooms.tasks(view, instance))


def _is_daemon(view: View, scope: Scope, task: Task) -> bool:
    id = services.id_of(task)
    service = view.get(SERVICES, scope, id) if id else None
    return service is not None and service.scheduling == "DAEMON"
