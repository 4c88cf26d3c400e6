"""What must hold when a deployment completes. As in ``serving``: pure functions that return what is wrong, or None, and
whose name is the invariant's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from homeport.services.ecs.model.deployment import Deployment
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import Task, TaskStatus


class Criteria(NamedTuple):
    """Early success criteria: ``percent`` of the desired count healthy, for ``bake`` seconds; ``blocking``: and nothing
    older left."""

    percent: int
    bake: float
    blocking: bool


def criteria(service: Service) -> Criteria | None:
    given = service.deployment_configuration.get("earlySuccessCriteria") or {}
    if not given.get("enable"):
        return None
    bake = 60.0 * service.deployment_configuration.get("bakeTimeInMinutes", 0)
    return Criteria(given["healthyPercent"], bake, given["sourceServiceRevisionCleanup"] == "BLOCKING")


def unmet(
    service: Service, asked: Criteria, primary: Deployment, there: Iterable[Task], healthy: Collection[str]
) -> str | None:
    """Why they aren't met. ``there``: tasks of all deployments that aren't STOPPED; ``healthy``: ids."""
    there = [t for t in there if t.last_status < TaskStatus.STOPPED and t.id not in service.extra]
    well = sum(t.started_by == primary.name and t.id in healthy for t in there)
    needed = (service.desired * asked.percent + 99) // 100
    if well < needed:
        return f"{well} of its tasks are healthy, {needed} have to be"
    older = [t.id for t in there if t.started_by != primary.name]
    return f"{older} are still there" if older and asked.blocking else None


def a_deployment_completes_when_it_may(
    primary: Deployment, asked: Criteria | None, why_not: str | None, baked: float
) -> str | None:
    """``why_not``: what it lacks; ``baked``: seconds since it last lacked something."""
    if why_not is not None:
        return f"{primary.id} is COMPLETED, and {why_not}"
    if asked is not None and baked < asked.bake - 1.0:
        return f"{primary.id} is COMPLETED after {baked:.0f} s of {asked.bake:.0f} s bake time"
    return None


class Unmet:
    """When deployments last lacked something: by the control plane's clock, which may be set, and really."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._last: dict[str, tuple[float, float]] = {}

    def note(self, deployment: str, now: float) -> None:
        self._last[deployment] = (now, self._time())

    def seconds(self, deployment: str, now: float) -> float:
        """Since then, by the clock that says more."""
        last = self._last.get(deployment)
        return max(now - last[0], self._time() - last[1]) if last else float("inf")
