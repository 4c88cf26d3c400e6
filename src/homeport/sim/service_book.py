"""The auditor's book of services: their records as committed, their tasks, and what callers asked of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from homeport.services.ec2.model import SUBNETS
from homeport.services.ecs import definitions
from homeport.services.ecs.model.deployment import (
    DEPLOYMENTS,
    REVISIONS,
    SERVICE_DEPLOYMENTS,
    Configuration,
    Deployment,
    Revision,
    ServiceDeployment,
)
from homeport.services.ecs.model.instance import Instance
from homeport.services.ecs.model.service import EVENTS, SERVICES, Service, ServiceEvent
from homeport.services.ecs.model.task import NodeStatus, Task, TaskStatus
from homeport.services.ecs.model.task_set import TASK_SETS, TaskSet
from homeport.sim import daemons, serving, sets
from homeport.sim.control import SCOPE
from homeport.sim.ledger import Ledger
from homeport.sim.scenario import CLUSTERS
from homeport.sim.service_calls import Calls
from homeport.store import Table, View

CLUSTER = CLUSTERS[0]
TABLES: tuple[Table[Any], ...] = (SERVICES, DEPLOYMENTS, REVISIONS, SERVICE_DEPLOYMENTS, TASK_SETS, EVENTS)
KINDS = frozenset(table.kind for table in TABLES)


class Part(NamedTuple):
    """What the scheduler brings to a count: a service's PRIMARY deployment, or one of its task sets. ``name`` is the
    ``startedBy`` of its tasks; ``failed``: nothing is started for it any more."""

    name: str
    desired: int
    configuration: Configuration
    failed: bool = False


class Services:
    def __init__(self, time: Callable[[], float], ledger: Ledger) -> None:
        self._time, self._ledger = time, ledger
        self.calls, self.set_calls = Calls(time), Calls(time)
        self.services: dict[str, Service] = {}  # by id, as all of these
        self.deployments: dict[str, Deployment] = {}
        self.revisions: dict[str, Revision] = {}
        self.rollouts: dict[str, ServiceDeployment] = {}
        self.sets: dict[str, TaskSet] = {}
        self.events: dict[str, dict[str, ServiceEvent]] = {}  # by service
        self.otherwise: set[str] = set()  # ids of tasks whose service had other placement constraints
        self._tasks: dict[str, dict[str, Task]] = {}  # by service
        self._checked: dict[str, frozenset[str]] = {}  # by definition
        self._steady: dict[str, float] = {}  # when it was last told
        self._changed: dict[str, float] = {}  # when a task last was

    # --- its books --------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        self.services, self.deployments, self.revisions, self.rollouts, self.sets = {}, {}, {}, {}, {}
        self.events, self._tasks, self._steady = {}, {}, {}

    def book(self, kind: str, id: str, new: Any) -> None:
        if kind == EVENTS.kind:
            self._book_event(id, new)
            return
        books: dict[str, dict[str, Any]] = {
            SERVICES.kind: self.services,
            DEPLOYMENTS.kind: self.deployments,
            REVISIONS.kind: self.revisions,
            SERVICE_DEPLOYMENTS.kind: self.rollouts,
            TASK_SETS.kind: self.sets,
        }
        old = books[kind].pop(id, None)
        if new is not None:
            books[kind][id] = new
        if kind == SERVICES.kind and old is not None and new is not None and old.constraints != new.constraints:
            self.otherwise |= self._tasks.get(id, {}).keys()

    def _book_event(self, id: str, new: ServiceEvent | None) -> None:
        if new is None:
            for events in self.events.values():
                events.pop(id, None)
            return
        self.events.setdefault(new.service, {})[id] = new
        if serving.tells_steady(new.message):
            self._steady[new.service] = max(new.at, self._steady.get(new.service, new.at))

    def book_task(self, old: Task | None, new: Task | None) -> None:
        record = new or old
        if record is None or not serving.is_served(record):
            return
        self._changed[record.id] = self._time()
        there = self._tasks.setdefault(serving.service_of(record), {})
        there.pop(record.id, None)
        if new is not None:
            there[new.id] = new

    def age(self, task: Task) -> float:
        """Seconds for which it has been as it is."""
        return self._time() - self._changed.get(task.id, 0.0)

    def forget_steady(self, service: str) -> None:
        """It is another one of the name."""
        self._steady.pop(service, None)

    def steady(self) -> dict[str, float]:
        """When each service last told that it is, by the control plane's clock."""
        return dict(self._steady)

    def tasks(self, service: Service) -> list[Task]:
        """All of its tasks that are known, also those of a service that had its name before."""
        return list(self._tasks.get(service.id, {}).values())

    def own(self, service: Service) -> list[Task]:
        """Those that aren't STOPPED."""
        names = {d.name for d in self.of(service)} | {s.name for s in self.sets_of(service)}
        return [t for t in self.tasks(service) if t.last_status < TaskStatus.STOPPED and t.started_by in names]

    def of_part(self, service: Service, name: str) -> list[Task]:
        """Those that were started for one of its deployments or task sets."""
        return [t for t in self.tasks(service) if t.started_by == name]

    def of(self, service: Service) -> list[Deployment]:
        return [d for d in self.deployments.values() if d.service == service.id]

    def primary(self, service: Service) -> Deployment | None:
        return next((d for d in self.of(service) if d.role == "PRIMARY"), None)

    def sets_of(self, service: Service) -> list[TaskSet]:
        return [s for s in self.sets.values() if s.service == service.id]

    def parts(self, service: Service) -> list[Part]:
        if service.controller == "EXTERNAL":
            going = [s for s in self.sets_of(service) if s.status != "DRAINING"]
            return [Part(s.name, sets.computed(service.desired, s.scale), s.configuration) for s in going]
        primary = self.primary(service)
        if primary is None or service.configuration is None:
            return []
        return [Part(primary.name, service.desired, service.configuration, primary.rollout == "FAILED")]

    def checked(self, view: View, task: Task) -> frozenset[str]:
        """Its essential containers with a health check."""
        known = self._checked.get(task.definition_arn)
        if known is None:
            definition = definitions.of_task(view, SCOPE, task.definition_arn)
            containers = definitions.containers(definition) if definition else []
            known = frozenset(c["name"] for c in containers if c.get("healthCheck") and c.get("essential", True))
            self._checked[task.definition_arn] = known
        return known

    def members(self, view: View, configuration: Configuration) -> Mapping[str, Any] | None:
        """Those of the definition of its tasks."""
        definition = definitions.of_task(view, SCOPE, configuration.definition_arn)
        return definition.members if definition else None

    def healthy(self, view: View, tasks: Iterable[Task]) -> set[str]:
        """Ids of those that are, and that nobody told to stop."""
        return {
            t.id
            for t in tasks
            if t.desired_status == "RUNNING" and serving.is_healthy(t, self.checked(view, t), view.now)
        }

    def unsteady(self, view: View, service: Service) -> str | None:
        """Why a service isn't steady, if it isn't."""
        if service.controller == "EXTERNAL":
            return self._unsteady_sets(view, service)
        healthy, primary = self.healthy(view, self.tasks(service)), self.primary(service)
        if service.scheduling == "DAEMON":
            there = self.bound(service, self.tasks(service))
            return daemons.unsteady(service, primary, there, healthy, self.instances(view, service))
        found = serving.unsteady(service, primary, self.tasks(service), healthy)
        return found or self._draining(service)

    def _unsteady_sets(self, view: View, service: Service) -> str | None:
        there = self.sets_of(service)
        lacks = ((s.id, self.unsteady_set(view, service, s)) for s in there)
        found = next((f"{id}: {why}" for id, why in lacks if why), None)
        return found or (None if there or not service.desired else "it has no task set")

    def unsteady_set(self, view: View, service: Service, task_set: TaskSet) -> str | None:
        own, wanted = self.of_part(service, task_set.name), sets.computed(service.desired, task_set.scale)
        unsure = {t.id for t in own if serving.unsure(t, self.checked(view, t))}
        return sets.unsteady(task_set, wanted, own, {t.id for t in own if self.drains(t)}, unsure)

    def _draining(self, service: Service) -> str | None:
        drains = sorted({t.instance or "" for t in self.own(service) if self.drains(t)})
        return f"it has tasks on {drains}, which drain" if drains else None

    def drains(self, task: Task) -> bool:
        """Whether its instance does."""
        instance = self.instance(task.instance)
        return instance is not None and instance.status == "DRAINING"

    def excused(self, view: View, service: Service, task: Task) -> bool:
        """Whether a task may be stopped though it is wanted."""
        instance = self.instance(task.instance)
        leaves = instance is not None and instance.status != "ACTIVE"
        if service.scheduling == "DAEMON" and task.instance not in self.instances(view, service):
            return True
        return service.status != "ACTIVE" or leaves or serving.fails(task, self.checked(view, task))

    def instance(self, arn: str | None) -> Instance | None:
        return self._ledger.instances.get(arn.rpartition("/")[2]) if arn else None

    def instances(self, view: View, service: Service) -> set[str]:
        """ARNs of those where a daemon belongs."""
        zones = self.zones(view, service.configuration)
        return {i.arn for i in self._ledger.instances.values() if daemons.belongs(service, i, zones)}

    def zones(self, view: View, configuration: Configuration | None) -> frozenset[str]:
        """Those of the subnets that tasks are to be in, if any are named."""
        network = configuration.network if configuration else None
        subnets = [view.get(SUBNETS, SCOPE, id) for id in network.subnets] if network else []
        return frozenset(subnet.availability_zone for subnet in subnets if subnet is not None)

    def bound(self, service: Service, tasks: Iterable[Task]) -> list[Task]:
        """Those tasks of a daemon that aren't STOPPED, nor on an instance that drains and is still used by others."""
        return [t for t in tasks if t.last_status < TaskStatus.STOPPED and not (self.drains(t) and self._used(t))]

    def _used(self, task: Task) -> bool:
        """Whether tasks that are no daemons are on its instance."""
        others = (t for t in self._ledger.there(task.instance or "") if t.node_status < NodeStatus.STOPPED)
        return any(not self._is_daemon(t) for t in others)

    def _is_daemon(self, task: Task) -> bool:
        service = self.services.get(serving.service_of(task)) if serving.is_served(task) else None
        return service is not None and service.scheduling == "DAEMON"

    def lost(self) -> str | None:
        """A service that was made, and not deleted, and isn't there."""
        for name in self.calls.names():
            service = self.services.get(f"{CLUSTER}/{name}")
            if self.calls.exists(name) and (service is None or service.status != "ACTIVE"):
                return f"{name} was acknowledged and is {service.status if service else 'gone'}"
        return None
