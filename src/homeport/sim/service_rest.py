"""What must hold of services once a world was left alone for long enough: each is as it should be, or what it lacks has
a name: its image never works, its circuit breaker gave it up, there is no room, tasks are protected, bounds forbid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from homeport.services.ecs.model.deployment import Deployment
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import Task
from homeport.sim import daemons, serving, sets
from homeport.sim.images import BAD, CRASH
from homeport.sim.invariants import name_of
from homeport.sim.ledger import Ledger
from homeport.sim.service_book import Services
from homeport.sim.standing import Standing
from homeport.store import View

RESTLESS_SECONDS = 120.0  # in which a task of a service that never is at rest comes to rest


def every_service_with_room_reaches_its_count(service: Service, lacks: str | None, why: str | None) -> str | None:
    """``lacks``: what isn't as it should be; ``why``: a reason that the world can name."""
    return f"{service.name}: {lacks}, for no reason" if lacks and why is None else None


def a_steady_service_says_so(service: Service, primary: Deployment | None) -> str | None:
    """``primary`` None: it has task sets."""
    if service.steady_at is not None and (primary is None or primary.rollout == "COMPLETED"):
        return None
    rollout = f"its deployment is {primary.rollout}" if primary else "it has task sets"
    return f"{service.name} is steady and doesn't say so; {rollout}"


def what_was_acknowledged_is_wanted(name: str, wanted: Any, asked: set[Any]) -> str | None:
    """``asked``: what callers may have asked for last, if anything."""
    return f"{name} wants {wanted}, asked were {asked}" if asked and wanted not in asked else None


class Rest:
    """Looks at all services of a world."""

    def __init__(self, view: View, book: Services, ledger: Ledger) -> None:
        self._view, self._book = view, book
        self._standing = Standing(view, book, ledger)

    def wrong(self) -> tuple[str, str] | None:
        """The name of an invariant that doesn't hold, and what is wrong."""
        for service in self._book.services.values():
            if service.status == "DRAINING":
                return name_of(serving.nothing_of_a_deleted_service_runs_on), f"{service.name} is DRAINING"
            if service.status == "INACTIVE":
                continue
            for invariant, found in (*self._of(service), *self._of_sets(service)):
                if found is not None:
                    return name_of(invariant), found
        return None

    def _of(self, service: Service) -> Iterator[tuple[Any, str | None]]:
        asked = self._book.calls.asked(service.name, "desiredCount")
        found = what_was_acknowledged_is_wanted(service.name, service.desired, asked)
        yield what_was_acknowledged_is_wanted, found
        lacks = self._book.unsteady(self._view, service)
        why = self._why(service) if lacks else None
        found = every_service_with_room_reaches_its_count(service, lacks, why)
        yield every_service_with_room_reaches_its_count, found
        if service.scheduling == "DAEMON":
            instances = self._book.instances(self._view, service)
            yield daemons.daemons_are_counted_by_instances, daemons.daemons_are_counted_by_instances(service, instances)
        primary = self._book.primary(service)
        failed = any(part.failed for part in self._book.parts(service))
        if lacks is None and not failed and not self.restless(service):
            yield a_steady_service_says_so, a_steady_service_says_so(service, primary)

    def _of_sets(self, service: Service) -> Iterator[tuple[Any, str | None]]:
        for task_set in self._book.sets_of(service):
            asked = self._book.set_calls.asked(task_set.arn(service.arn), "scale")
            found = what_was_acknowledged_is_wanted(task_set.id, task_set.scale, asked)
            yield what_was_acknowledged_is_wanted, found
            if self._book.unsteady_set(self._view, service, task_set) is None and not self.restless(service):
                yield sets.a_steady_set_says_so, sets.a_steady_set_says_so(task_set)

    def _why(self, service: Service) -> str | None:
        """Why a service may stay as it is."""
        if self.restless(service):
            return "its image never works"
        if self._standing.under_way(service) or self._standing.step(service):
            return None
        return "nothing more is possible"

    def restless(self, service: Service) -> bool:
        """Whether one of its deployments or task sets has an image that never works."""
        revisions = (self._book.revisions.get(d.revision) for d in self._book.of(service) if d.role != "INACTIVE")
        shown = [r.configuration for r in revisions if r] + [s.configuration for s in self._book.sets_of(service)]
        members = (self._book.members(self._view, configuration) for configuration in shown)
        images = {m["containerDefinitions"][0]["image"].partition(":")[0] for m in members if m}
        return not images.isdisjoint((*BAD, CRASH))

    def excuses(self, task: Task) -> bool:
        """Whether a task needn't be at rest: it is of a service that never is, and hasn't been like this for long."""
        if not serving.is_served(task):
            return False
        service = self._book.services.get(serving.service_of(task))
        if service is None or not self.restless(service):
            return False
        return self._book.age(task) < RESTLESS_SECONDS


def left(book: Services) -> list[str]:
    """Services that aren't deleted."""
    return [service.name for service in book.services.values() if service.status != "INACTIVE"]
