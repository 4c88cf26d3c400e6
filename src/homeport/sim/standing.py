"""What the scheduler of a service could do next, by a second opinion: as long as there is something, a service that
isn't as it should be has no reason to stay so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from homeport.services.ecs.model.deployment import Configuration
from homeport.services.ecs.model.instance import Instance, Room
from homeport.services.ecs.model.service import Service, Throttle
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.sim import serving
from homeport.sim.clusters import PROVIDERS
from homeport.sim.ledger import Ledger, waits
from homeport.sim.placing import EXTERNAL_ATTRIBUTE, GROUP_ATTRIBUTE, constrains
from homeport.sim.service_book import Part, Services
from homeport.store import View

NO_ADDRESS = ("InsufficientFreeAddressesInSubnet", "InsufficientAddressCapacity")
LONGEST_SECONDS = 27 * 60.0  # between two starts that fail


def no_service_stands_still(service: Service, seconds: float, step: str) -> str:
    """Nothing of it was under way for so long, it lacks something, and ``step`` was possible all the time."""
    return f"{service.name} has stood still for {seconds:.0f} s, and could {step}"


class Standing:
    """Services as they are now."""

    def __init__(self, view: View, book: Services, ledger: Ledger) -> None:
        self._view, self._book, self._ledger = view, book, ledger

    def under_way(self, service: Service) -> bool:
        """Whether one of its tasks is about to become something else by itself: others than such that wait for room."""
        return not all(self._is_settled(task) for task in self._there(service))

    def step(self, service: Service) -> str | None:
        """The first that is possible."""
        steps = self._of_daemons(service) if service.scheduling == "DAEMON" else self._of_parts(service)
        return next(steps, None)

    def _there(self, service: Service) -> list[Task]:
        """But for those that a rebalancing started, and those that it may leave where they are."""
        there = self._book.own(service)
        if service.scheduling == "DAEMON":
            return self._book.bound(service, there)
        return [t for t in there if t.id not in service.extra]

    def _is_settled(self, task: Task) -> bool:
        if waits(task):
            return True
        lives = task.last_status == TaskStatus.RUNNING and task.desired_status == "RUNNING"
        return lives and (self._is_healthy(task) or self._is_sick(task))

    def _is_healthy(self, task: Task) -> bool:
        return serving.is_healthy(task, self._book.checked(self._view, task), self._view.now)

    def _is_sick(self, task: Task) -> bool:
        started = task.started_at is not None and task.started_at <= self._view.now
        return started and serving.fails(task, self._book.checked(self._view, task))

    def _may_go(self, task: Task, spare: int) -> bool:
        if self._is_sick(task):
            return True
        kept = task.protected_until is not None and task.protected_until > self._view.now
        return not kept and (spare > 0 or not self._is_healthy(task))

    # --- replicas and task sets -------------------------------------------------------------------------------------

    def _of_parts(self, service: Service) -> Iterator[str]:
        for task_set in self._book.sets_of(service):
            left = [t for t in self._book.own(service) if t.started_by == task_set.name]
            if task_set.status == "DRAINING" and not any(t.desired_status == "STOPPED" for t in left):
                yield f"end {task_set.id}, which drains"
        for part in self._book.parts(service):
            there = self._there(service)
            if service.controller == "EXTERNAL":
                there = [t for t in there if t.started_by == part.name]
            yield from self._of_part(service, part, there)

    def _of_part(self, service: Service, part: Part, there: list[Task]) -> Iterator[str]:
        configuration = service.deployment_configuration
        own = [t for t in there if t.started_by == part.name]
        keepers = [t for t in own if not self._is_sick(t) and not self._book.drains(t)]
        spare = sum(map(self._is_healthy, there)) - serving.lower(part.desired, configuration)
        room = serving.upper(part.desired, configuration) - len(there) - len(service.extra)
        older = [t for t in there if t.started_by != part.name] if not part.failed else []
        leaving = [t for t in own if self._book.drains(t)]
        surplus = keepers if len(keepers) > part.desired else []
        for task in (*older, *leaving, *surplus):
            if self._may_go(task, spare):
                yield f"stop {task.id}"
        if any(waits(t) and t.id not in self._book.otherwise for t in own) and not part.failed:
            yield from self._starts(service, part)
        sick = [t for t in own if self._is_sick(t)]
        well = sum(map(self._is_healthy, keepers))
        enough = well + len(own) - len(keepers) > part.desired or (room <= 0 and len(keepers) < part.desired)
        if sick and enough and not part.failed:
            yield f"replace {sick[0].id}"
        if len(keepers) < part.desired and room > 0 and not part.failed:
            yield from self._starts(service, part)

    def _starts(self, service: Service, part: Part) -> Iterator[str]:
        for instance in self._places(service, part):
            yield f"start a task on {instance}"
            return

    # --- daemons ----------------------------------------------------------------------------------------------------

    def _of_daemons(self, service: Service) -> Iterator[str]:
        instances, there = self._book.instances(self._view, service), self._there(service)
        lower = serving.lower(len(instances), service.deployment_configuration)
        spare = sum(map(self._is_healthy, there)) - lower
        for part in self._book.parts(service):
            for task in there:
                sick = task.started_by == part.name and self._is_sick(task)
                older = task.started_by != part.name and not part.failed
                if task.instance not in instances or sick or (older and self._may_go(task, spare)):
                    yield f"stop {task.id}"
            taken = {t.instance for t in self._book.own(service)}
            free = [arn for arn in self._places(service, part) if arn in instances - taken]
            if free and not part.failed:
                yield f"start a task on {free[0]}"

    # --- room -------------------------------------------------------------------------------------------------------

    def _places(self, service: Service, part: Part) -> Iterator[str]:
        """ARNs of instances that take one more task of it now."""
        members = self._book.members(self._view, part.configuration)
        if members is None or self._waits(service, part) or self._lacks_addresses(service):
            return
        for room in self._ledger.rooms.values():
            instance = self._ledger.instances.get(room.id)
            if instance is not None and self._fits(service, part.configuration, members, room, instance):
                yield room.arn

    def _waits(self, service: Service, part: Part) -> bool:
        """Whether it has to wait since starts have failed."""
        of_set = next((s.throttle for s in self._book.sets_of(service) if s.name == part.name), Throttle())
        return any(self._view.now < t.until <= self._view.now + LONGEST_SECONDS for t in (service.throttle, of_set))

    def _lacks_addresses(self, service: Service) -> bool:
        ended = [t for t in self._book.tasks(service) if t.last_status == TaskStatus.STOPPED]
        return any(code in (t.stopped_reason or "") for t in ended for code in NO_ADDRESS)

    def _fits(
        self, service: Service, asked: Configuration, members: Mapping[str, Any], room: Room, instance: Instance
    ) -> bool:
        fargate = asked.runs_on == "FARGATE"
        usable = room.open and room.connected and instance.status == "ACTIVE" and instance.fargate == fargate
        if not usable or int(members["cpu"]) > room.cpu_free or int(members["memory"]) > room.memory_free:
            return False
        zones = self._book.zones(self._view, asked)
        if zones and room.zone is not None and room.zone not in zones:
            return False
        return fargate or self._takes(service, asked, members, room, instance)

    def _takes(
        self, service: Service, asked: Configuration, members: Mapping[str, Any], room: Room, instance: Instance
    ) -> bool:
        """Whether a container instance with enough room takes the task."""
        if instance.attribute(EXTERNAL_ATTRIBUTE) is not None or instance.cluster_arn != service.cluster_arn:
            return False
        provider = next((item["capacityProvider"] for item in asked.capacity_strategy), None)
        if provider is not None and instance.attribute(GROUP_ATTRIBUTE) != PROVIDERS[provider]:
            return False
        mappings = [m for c in members["containerDefinitions"] for m in c.get("portMappings") or ()]
        ports = {m["hostPort"] for m in mappings if m.get("hostPort")}
        if ports & {*room.tcp} or constrains(service.constraints, instance):
            return False
        distinct = any(c["type"] == "distinctInstance" for c in service.constraints)
        there = [t for t in self._book.tasks(service) if t.instance == room.arn]
        return not (distinct and any(t.last_status < TaskStatus.STOPPED for t in there))
