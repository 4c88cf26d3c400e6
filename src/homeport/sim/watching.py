"""What is seen of a question's services while it is played: every commit of the control plane, and nothing else.

Times are the control plane's; ``report`` makes seconds from the start of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from homeport.cost import billing
from homeport.cost.billing import Usage
from homeport.services.ecs.model.deployment import Deployment, Revision, ServiceDeployment
from homeport.services.ecs.model.instance import ROOMS, Instance, Room
from homeport.services.ecs.model.service import Service, ServiceEvent
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.scheduling.messages import UNHEALTHY
from homeport.sim.meter import Meter
from homeport.store import Change, View

_FAILED = ("TaskFailedToStart", "EssentialContainerExited")  # stop codes of tasks that ended by themselves
_REFUSED = ("SERVICE_TASK_PLACEMENT_FAILURE", "SERVICE_TASK_CONFIGURATION_FAILURE")  # names of events
_SERVICE = re.compile(r"^\(service ([^),]+)[^)]*\) ")
_TASKS = re.compile(r":(?: \(task [0-9a-f]{32}\))+(?: \.\.\.)?")
_DEPLOYMENT = re.compile(r"(?:deployment )?(ecs-svc/\d+)")
_INSTANCE = re.compile(r"\(container-instance (\w+)\)")
_ID = re.compile(r"\b(?:subnet|eni|sg|vpc)-[0-9a-f]+|\b[0-9a-f]{32}\b")
_TAIL = re.compile(r" For more information.*$")


class Entry(NamedTuple):
    """A line of the time line; ``service`` is "" for what is about the cluster."""

    at: float
    service: str
    what: str


class Short(NamedTuple):
    """While tasks of a service found no room: how many at most at one time. ``until``: None while that lasts."""

    since: float
    until: float | None
    most: int


class Watched:
    """A service. ``used`` is what its tasks that are over used, by launch type or capacity provider."""

    def __init__(self, name: str) -> None:
        self.name, self.meter = name, Meter()
        self.steady_at: float | None = None  # since when it is
        self.rollouts: dict[str, ServiceDeployment] = {}
        self.failed: dict[str, Counter[str]] = {}  # tasks, by their deployment (``ecs-svc/…``) and stoppedReason
        self.short: list[Short] = []
        self.reasons: list[Entry] = []  # why tasks found no room, each once
        self.used: dict[str, Usage] = {}

    def spent(self, now: float) -> dict[str, Usage]:
        """``used``, with what tasks that aren't over used until now."""
        found = dict(self.used)
        for task in self.meter.tasks.values():
            _add(found, task, now)
        return found

    def ended(self, task: Task, now: float) -> None:
        _add(self.used, task, task.stopped_at or now)
        if task.stop_code in _FAILED or task.stopped_reason == UNHEALTHY:
            self.failed.setdefault(task.started_by or "", Counter())[_ID.sub("…", task.stopped_reason or "")] += 1

    def count_short(self, short: bool, now: float) -> None:
        """``short``: a task that its scheduler wants has no room."""
        last = self.short[-1] if self.short else None
        going = last if last is not None and last.until is None else None
        if not short:
            if going is not None:
                self.short[-1] = going._replace(until=now)
            return
        missing = max(1, self.meter.wanted - len(self.meter.live))
        if going is None:
            self.short.append(Short(now, None, missing))
        elif missing > going.most:
            self.short[-1] = going._replace(most=missing)


def _add(to: dict[str, Usage], task: Task, until: float) -> None:
    if task.pull_started_at is not None:
        on = task.capacity_provider or task.launch_type
        used = billing.of_task(task.cpu, task.memory, task.pull_started_at, until)
        to[on] = to.get(on, Usage()) + used


class Watch:
    """``checked``: the essential containers with a health check, by the ARN of a task definition, as its caller keeps
    it; ``names`` of instances, by ARN."""

    def __init__(self, services: Sequence[str], checked: Mapping[str, tuple[str, ...]]) -> None:
        self.names: dict[str, str] = {}
        self.services = {name: Watched(name) for name in services}
        self.entries: list[Entry] = []
        self._checked = checked
        self._away: set[str] = set()  # ARNs of instances that aren't there
        self._dead: set[str] = set()  # ids of tasks that went with them
        self._revisions: dict[str, str] = {}  # what revisions, and deployments, run: family:revision
        self._short: set[str] = set()  # services
        self._draining: set[str] = set()  # ARNs of instances that tasks are still on

    def revision(self, id: str) -> str:
        """``family:revision`` of a service revision, or of a deployment, by its name."""
        return self._revisions.get(id, id)

    def see(self, view: View, changes: Sequence[Change]) -> None:
        now = view.now
        for watched in self.services.values():
            watched.meter.advance(now)
        touched: dict[str, None] = {}
        for change in changes:
            match change.new if change.new is not None else change.old:
                case Task() as task:
                    touched[self._task(task, change, now)] = None
                case Service() as service if change.new is not None:
                    self._service(service, now)
                    touched[service.name] = None
                case Revision() as revision if change.new is not None:
                    self._revisions[revision.id] = revision.configuration.definition_arn.rpartition("/")[2]
                case Deployment() as deployment:
                    self._revisions[deployment.name] = self.revision(deployment.revision)
                case ServiceDeployment() as going if change.new is not None:
                    self.services[going.service.partition("/")[2]].rollouts[going.id] = going
                case ServiceEvent() as event if change.new is not None:
                    self._event(event)
                case Instance() as instance if change.new is not None:
                    self._instance(view, change, instance)
                case Room() as room if change.new is not None:
                    self._room(room, now)
        for name in touched:
            watched = self.services[name]
            watched.meter.mark(now)
            watched.count_short(name in self._short, now)

    def left(self, arn: str, now: float) -> None:
        """An instance isn't there any more, whatever ECS makes of that."""
        self._away.add(arn)
        for watched in self.services.values():
            watched.meter.advance(now)
            for task in [task for task in watched.meter.tasks.values() if task.instance == arn]:
                self._dead.add(task.id)
                self._see(watched, task, now)
            watched.meter.mark(now)

    def back(self, arn: str) -> None:
        """It is there again; what ran on it isn't."""
        self._away.discard(arn)

    def _task(self, task: Task, change: Change, now: float) -> str:
        name = task.group.partition(":")[2]
        watched = self.services[name]
        if change.new is None:
            return name  # forgotten long after it stopped
        before = change.old.last_status if change.old is not None else None
        if task.last_status == TaskStatus.STOPPED and before != TaskStatus.STOPPED:
            watched.ended(task, now)
        self._see(watched, task, now)
        return name

    def _see(self, watched: Watched, task: Task, now: float) -> None:
        there = task.instance not in self._away and task.id not in self._dead
        watched.meter.see(task, self._checked.get(task.definition_arn, ()), now, there=there)

    def _service(self, service: Service, now: float) -> None:
        watched = self.services[service.name]
        watched.meter.ask(service.desired, service.deployment_configuration)
        if service.steady_at is None:
            watched.steady_at = None
        elif watched.steady_at is None:  # it is told again every few hours
            watched.steady_at = now
        (self._short.add if service.short else self._short.discard)(service.name)

    def _event(self, event: ServiceEvent) -> None:
        if not event.message:
            return
        name, what = event.service.partition("/")[2], self._words(event.message)
        self.entries.append(Entry(event.at, name, what))
        watched = self.services[name]
        if event.name in _REFUSED and what not in [reason.what for reason in watched.reasons]:
            watched.reasons.append(Entry(event.at, name, what))

    def _words(self, message: str) -> str:
        """A service's message without ids, which mean nothing to who reads it later."""
        text = _TAIL.sub("", _TASKS.sub("", _SERVICE.sub("", message)))
        text = _DEPLOYMENT.sub(lambda found: self.revision(found[1]), text)
        names = {arn.rpartition("/")[2]: name for arn, name in self.names.items()} if "-instance" in text else {}
        return _INSTANCE.sub(lambda found: f"({names.get(found[1], found[1])})", text).rstrip(".")

    def _instance(self, view: View, change: Change, instance: Instance) -> None:
        before = change.old.status if change.old is not None else None
        if instance.status == "DRAINING" and before != "DRAINING":
            self._draining.add(instance.arn)
            room = view.get(ROOMS, change.key.scope, instance.id)
            if room is not None:
                self._room(room, view.now)
        elif instance.status != "DRAINING":
            self._draining.discard(instance.arn)
        if instance.lost and not (change.old is not None and change.old.lost):
            name = self.names.get(instance.arn, instance.id)
            self.entries.append(Entry(view.now, "", f"{name} is given up: its tasks are lost"))

    def _room(self, room: Room, now: float) -> None:
        if room.arn in self._draining and not room.tasks:
            self._draining.discard(room.arn)
            self.entries.append(Entry(now, "", f"{self.names.get(room.arn, room.id)} is drained: no task is left"))
