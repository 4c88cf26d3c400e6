"""Records of services and of what they tell."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from homeport.services.ecs.model.deployment import Configuration
from homeport.store.tables import Table

ServiceStatus = Literal["ACTIVE", "DRAINING", "INACTIVE"]
Controller = Literal["ECS", "EXTERNAL"]
Scheduling = Literal["REPLICA", "DAEMON"]

EVENTS_KEPT = 100  # newest events of a service
INACTIVE_SECONDS = 3600.0  # how long a deleted service can be described, as deleted clusters


class Throttle(msgspec.Struct, frozen=True):
    """The scheduler's memory of starts. ``failures``: tasks in a row that never reached RUNNING, in so many ``rounds``,
    the last of which was noticed at ``since``; ``until`` when the next may be started. ``owner`` is the ``startedBy``
    of these tasks. ``started``: how many were started in the minute from ``window`` on. Times are epoch seconds."""

    failures: int = 0
    until: float = 0.0
    told: bool = False  # that tasks can't be started consistently
    window: float = 0.0
    started: int = 0
    owner: str = ""
    rounds: int = 0
    since: float = 0.0


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service. A deleted one stays, INACTIVE, for a while; a new one of its name takes its place.

    ``configuration`` is what was asked for last (of the PRIMARY deployment; None while a service with task sets has no
    primary one). ``desired`` is, for DAEMON, the number of instances that match. ``deployment_configuration``,
    ``constraints`` and ``strategy`` are AWS's members with their defaults filled in. ``digest`` is over CreateService's
    parameters. Everything from ``throttle`` on is the scheduler's memory; nobody else writes it. Times are epoch
    seconds.
    """

    cluster: str  # name
    cluster_arn: str
    cluster_generation: int
    name: str
    created_at: float
    created_by: str
    configuration: Configuration | None
    status: ServiceStatus = "ACTIVE"
    controller: Controller = "ECS"
    scheduling: Scheduling = "REPLICA"
    desired: int = 0
    deployment_configuration: dict[str, Any] = {}
    constraints: tuple[dict[str, Any], ...] = ()
    strategy: tuple[dict[str, Any], ...] = ()
    grace: int = 0  # healthCheckGracePeriodSeconds
    rebalancing: bool = False
    propagate_tags: Literal["TASK_DEFINITION", "SERVICE", "NONE"] = "NONE"
    managed_tags: bool = False
    execute_command: bool = False
    tags: dict[str, str] = {}
    token: str | None = None
    digest: str = ""
    deleted_at: float | None = None
    wake_at: float | None = None  # when an INACTIVE one is forgotten

    throttle: Throttle = Throttle()
    steady_at: float | None = None  # when the steady state was last told; None while it isn't steady
    short: bool = False  # a task that it wants has no room: it is looked at when room comes free
    told: dict[str, float] = {}  # messages that must not be repeated soon, and when each was told
    unbalanced_at: float | None = None  # since when its tasks are being evened out over zones
    extra: tuple[str, ...] = ()  # ids of tasks beyond the desired count that were started for that

    @property
    def id(self) -> str:
        return f"{self.cluster}/{self.name}"

    @property
    def arn(self) -> str:
        return f"{self.cluster_arn.replace(':cluster/', ':service/', 1)}/{self.name}"

    @property
    def group(self) -> str:
        """The group of its tasks."""
        return f"service:{self.name}"


class ServiceEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Something that a service tells: an entry of its ``events`` (without a message none), and an "ECS Service Action"
    of EventBridge where it has a ``name``, with its ``level`` (eventType), ``reason`` and what else its detail has."""

    id: str  # UUID
    service: str
    number: int  # grows from one event of a service to the next
    at: float
    message: str = ""
    name: str = ""
    level: Literal["INFO", "WARN", "ERROR"] = "INFO"
    reason: str = ""
    detail: dict[str, Any] = {}  # further members of EventBridge's detail


def part_arn(service_arn: str, kind: str, id: str) -> str:
    """The ARN of a ``service-deployment``, ``service-revision`` or ``task-set`` of a service."""
    return f"{service_arn.replace(':service/', f':{kind}/', 1)}/{id}"


def _rebalanced(service: Service) -> str | None:
    """The cluster whose instances, or FARGATE where it is the pool's, say over which zones its tasks are evened out."""
    if not service.rebalancing or service.status != "ACTIVE" or service.configuration is None:
        return None
    return "FARGATE" if service.configuration.runs_on == "FARGATE" else service.cluster_arn


SERVICES: Table[Service] = Table(
    "service",
    Service,
    id=lambda r: r.id,
    indexes={
        "cluster": lambda r: ((r.cluster_arn, r.status),),
        "daemon": lambda r: (r.cluster_arn,) if r.scheduling == "DAEMON" and r.status != "INACTIVE" else (),
        "token": lambda r: ((r.cluster_arn, r.token),) if r.token and r.status != "INACTIVE" else (),
        "definition": lambda r: (r.configuration.definition_arn,) if r.configuration and r.status != "INACTIVE" else (),
    },
    global_indexes={
        "rebalanced": lambda r: (zoned,) if (zoned := _rebalanced(r)) else (),
    },
)

EVENTS: Table[ServiceEvent] = Table(
    "service-event",
    ServiceEvent,
    id=lambda r: r.id,
    ordered={"service": lambda r: ((r.service, "events", r.number),)},
)
