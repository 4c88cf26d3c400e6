"""What came of a what-if question, made of what was seen while it was played. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from homeport.cost import billing
from homeport.cost.billing import Rates, Usage
from homeport.services.ecs.capacity import FARGATE, SPOT
from homeport.services.ecs.model.deployment import ServiceDeployment
from homeport.services.ecs.model.task import TaskStatus
from homeport.sim import meter
from homeport.sim.questions import Machines, Prices
from homeport.sim.watching import Watch, Watched

End = Literal["COMPLETED", "FAILED", "ROLLED_BACK", "SUPERSEDED", "IN_PROGRESS"]
DIGITS = 3  # of seconds: what is beyond is the clock's resolution
_ENDS: dict[str, End] = {
    "SUCCESSFUL": "COMPLETED",
    "ROLLBACK_SUCCESSFUL": "ROLLED_BACK",
    "ROLLBACK_FAILED": "FAILED",
}


class Lowest(msgspec.Struct, frozen=True, kw_only=True):
    """The fewest healthy tasks, first at so many seconds."""

    healthy: int
    at: float


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment of a revision (``family:number``) that began ``at``, and ended after so many ``seconds`` (None: it
    didn't). ``failed_tasks``: of it, that never started, exited or had a check that failed; ``reasons``: how many of
    these stopped for which stoppedReason."""

    revision: str
    at: float
    seconds: float | None
    end: End
    failed_tasks: int
    reasons: dict[str, int]


class Unplaced(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that found no room: at most so many at one time, first at ``since``, and for so many seconds in all.
    ``now``: some still do not. ``reasons`` are ECS's, of the instance that is nearest to having room."""

    most: int
    since: float
    seconds: float
    now: bool
    reasons: tuple[str, ...]


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What a service's tasks used ``on`` a launch type or capacity provider, counted as Fargate bills it: by the second
    of each task, a minute at least. ``usd``: None where that isn't Fargate, or has no price."""

    on: str
    task_seconds: int
    vcpu_seconds: float
    gb_seconds: float
    usd: float | None


class OfService(msgspec.Struct, frozen=True, kw_only=True):
    """``ready``: after how many seconds all its tasks were healthy first. From then on, or from the first event where
    that is earlier, ``lowest`` and ``below_minimum`` count: seconds with fewer healthy tasks than its
    minimumHealthyPercent asks for. ``running``, ``healthy`` and ``desired`` tasks are those in the end."""

    name: str
    desired: int
    running: int
    healthy: int
    minimum: int
    ready: float | None
    lowest: Lowest | None
    below_minimum: float
    rollouts: tuple[Rollout, ...]
    unplaced: Unplaced | None
    used: tuple[Used, ...]


class OfMachines(msgspec.Struct, frozen=True, kw_only=True):
    """``seconds``: of all machines of the group together, as EC2 bills them. ``there`` in the end."""

    name: str
    kind: str
    count: int
    there: int
    seconds: int
    usd: float | None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A service when a phase ends. ``steady``: seconds from its begin until ECS called it steady (0: it was all the
    time; None: it isn't). ``lowest``: the fewest healthy tasks meanwhile, as far as those count.
    ``places``: its running tasks by zone; ``most_on_one``: on one machine, at most."""

    service: str
    desired: int
    running: int
    steady: float | None
    lowest: int | None
    most_on_one: int
    places: dict[str, int]


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """From ``at`` until the next event. ``cpu`` and ``memory``: shares of all machines that are taken when it ends."""

    at: float
    what: str
    services: tuple[Place, ...]
    cpu: float
    memory: float


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. ``service``: None where it is about machines."""

    at: float
    service: str | None
    what: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``seconds`` that were played. ``usd`` is the sum of what has a price, ``unpriced`` names what hasn't."""

    seconds: float
    services: tuple[OfService, ...]
    machines: tuple[OfMachines, ...]
    phases: tuple[Phase, ...]
    timeline: tuple[Line, ...]
    prices: Prices
    usd: float
    unpriced: tuple[str, ...]


def seconds(value: float) -> float:
    return round(value, DIGITS) + 0.0  # no -0.0


def of_service(
    watched: Watched, watch: Watch, prices: Prices, began: float, event: float | None, end: float
) -> OfService:
    """``began``, ``event`` (the first) and ``end`` by the control plane's clock."""
    samples = watched.meter.samples
    judged = meter.judged(samples, event)
    first, lowest = meter.ready(samples), meter.lowest(judged)
    return OfService(
        name=watched.name,
        desired=watched.meter.wanted,
        running=watched.meter.running,
        healthy=watched.meter.healthy,
        minimum=watched.meter.least,
        ready=None if first is None else seconds(samples[first].at - began),
        lowest=None if lowest is None else Lowest(healthy=lowest.healthy, at=seconds(lowest.at - began)),
        below_minimum=seconds(sum(until - since for since, until in meter.below(judged, end))),
        rollouts=tuple(_rollout(going, watched, watch, began) for going in _in_order(watched)),
        unplaced=_unplaced(watched, began, end),
        used=tuple(_used(on, usage, prices) for on, usage in sorted(watched.spent(end).items())),
    )


def place(watched: Watched, zones: Mapping[str, str], began: float, event: float | None, at: float) -> Place:
    """Of a phase that began ``at`` seconds from the start and ends now. ``zones`` of instances, by ARN."""
    samples = meter.judged(watched.meter.samples, event)
    lowest = meter.lowest(meter.since(samples, began + at))
    there = [t.instance or "" for t in watched.meter.tasks.values() if t.last_status == TaskStatus.RUNNING]
    return Place(
        service=watched.name,
        desired=watched.meter.wanted,
        running=len(there),
        steady=None if watched.steady_at is None else seconds(max(0.0, watched.steady_at - began - at)),
        lowest=None if lowest is None else lowest.healthy,
        most_on_one=max(Counter(there).values(), default=0),
        places=dict(sorted(Counter(zones.get(arn, "?") for arn in there).items())),
    )


def below_minimum(watched: Watched, began: float, event: float | None, end: float) -> Iterable[Line]:
    """Lines of the time line that no event of the service tells."""
    name, samples = watched.name, meter.judged(watched.meter.samples, event)
    for since, until in meter.below(samples, end):
        at = next(sample for sample in reversed(samples) if sample.at <= since)
        what = f"has {at.healthy} healthy tasks and needs {at.least}"
        yield Line(at=seconds(since - began), service=name, what=what)
        if until < end:
            what = f"has as many healthy tasks as it needs again, after {until - since:.0f} s"
            yield Line(at=seconds(until - began), service=name, what=what)


def of_machines(group: Machines, there: int, times: Sequence[tuple[float, float]]) -> OfMachines:
    """``times``: from when until when each machine was there."""
    billed = sum(billing.seconds(began, ended) for began, ended in times)
    usd = None if group.price is None else round(billed * group.price / billing.HOUR, 6)
    return OfMachines(name=group.name, kind=group.kind, count=group.count, there=there, seconds=billed, usd=usd)


def total(services: Sequence[OfService], machines: Sequence[OfMachines]) -> tuple[float, tuple[str, ...]]:
    """USD, and names of what was used and has no price."""
    parts = [(used.on, used.usd) for one in services for used in one.used if used.on in (FARGATE, SPOT)]
    parts += [(group.name, group.usd) for group in machines if group.seconds]
    unpriced = dict.fromkeys(name for name, usd in parts if usd is None)
    return round(sum((usd for _, usd in parts if usd is not None), 0.0), 6), tuple(unpriced)


def _in_order(watched: Watched) -> list[ServiceDeployment]:
    return sorted(watched.rollouts.values(), key=lambda going: going.number)


def _rollout(going: ServiceDeployment, watched: Watched, watch: Watch, began: float) -> Rollout:
    end = _ENDS.get(going.status, "IN_PROGRESS")
    if going.status in ("STOPPED", "STOP_REQUESTED"):
        end = "FAILED" if going.breaker == "TRIGGERED" else "SUPERSEDED"
    over = going.finished_at if end != "IN_PROGRESS" else None
    failed = watched.failed.get(f"ecs-svc/{going.deployment}", Counter())
    return Rollout(
        revision=watch.revision(going.target),
        at=seconds(going.created_at - began),
        seconds=None if over is None else seconds(over - going.created_at),
        end=end,
        failed_tasks=failed.total(),
        reasons=dict(failed.most_common()),
    )


def _unplaced(watched: Watched, began: float, end: float) -> Unplaced | None:
    if not watched.short:
        return None
    return Unplaced(
        most=max(short.most for short in watched.short),
        since=seconds(watched.short[0].since - began),
        seconds=seconds(sum((end if short.until is None else short.until) - short.since for short in watched.short)),
        now=watched.short[-1].until is None,
        reasons=tuple(reason.what for reason in watched.reasons),
    )


def _used(on: str, usage: Usage, prices: Prices) -> Used:
    rates = _rates(on, prices)
    return Used(
        on=on,
        task_seconds=usage.seconds,
        vcpu_seconds=usage.vcpu_seconds,
        gb_seconds=usage.gb_seconds,
        usd=None if rates is None else round(billing.price(usage, rates), 6),
    )


def _rates(on: str, prices: Prices) -> Rates | None:
    if on == FARGATE:
        return Rates(vcpu=prices.vcpu, gb=prices.gb)
    if on == SPOT and prices.spot_vcpu is not None and prices.spot_gb is not None:
        return Rates(vcpu=prices.spot_vcpu, gb=prices.spot_gb)
    return None
