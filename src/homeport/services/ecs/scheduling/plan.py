"""What the scheduler of a service sees, and what it decides. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from homeport.services.ecs.model.deployment import Deployment, Revision, ServiceDeployment
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import Task
from homeport.services.ecs.model.task_set import TaskSet

MOST_MOVES = 10  # tasks that are started or stopped in one transaction: a few milliseconds of work


class Slot(msgspec.Struct, frozen=True):
    """An instance on which a daemon belongs. ``draining``: it takes none any more, but keeps the one it has while
    ``others`` run there. ``full``: it has none and is known not to take one now."""

    instance: str  # ARN
    draining: bool = False
    others: bool = False  # tasks that are no daemons run there
    full: bool = False


class Spot(msgspec.Struct, frozen=True):
    """What scale-in asks of an instance: CPU units and MiB that are free there, and the values of the attributes that
    the service's strategy spreads by, by field (``attribute:…``)."""

    cpu: int = 0
    memory: int = 0
    values: Mapping[str, str | None] = {}


class Tagged(msgspec.Struct, frozen=True):
    """``names``: containers of a definition whose images' tags are resolved once for all tasks of a deployment.
    ``insists``: one of them says so itself, and not only by default."""

    names: frozenset[str] = frozenset()
    insists: bool = False


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One service as the store has it.

    ``deployments`` are those with a role, the newest first; ``good`` the newest one that was COMPLETED before the
    PRIMARY one, whatever its role: what a rollback returns to. ``revisions`` by id: of all these.
    ``service_deployments`` are those that aren't over. ``tasks``: every task of the service that isn't STOPPED, and
    those that are and aren't noted yet. ``checked``: by the ARN of a task definition, the names of its essential
    containers that have a health check. ``tagged``: by the ARN of the definition of a deployment of which no task ran
    yet. ``draining``: ARNs of instances that drain, as far as tasks run there. ``slots``: for DAEMON. ``spots``:
    instances with tasks by ARN, where its strategy asks for more than zones.
    """

    service: Service
    deployments: tuple[Deployment, ...] = ()
    good: Deployment | None = None
    revisions: Mapping[str, Revision] = {}
    service_deployments: tuple[ServiceDeployment, ...] = ()
    task_sets: tuple[TaskSet, ...] = ()
    tasks: tuple[Task, ...] = ()
    checked: Mapping[str, frozenset[str]] = {}
    tagged: Mapping[str, Tagged] = {}
    draining: frozenset[str] = frozenset()
    slots: tuple[Slot, ...] = ()
    spots: Mapping[str, Spot] = {}
    zones: tuple[str, ...] = ()  # availability zones that its tasks can be in, where it is rebalanced

    @property
    def primary(self) -> Deployment | None:
        return next((d for d in self.deployments if d.role == "PRIMARY"), None)


class Start(msgspec.Struct, frozen=True):
    """``count`` tasks of a deployment or task set (``owner`` is its id), in one zone, or one on each of ``instances``
    (ARNs), where the scheduler chose it. ``replaces``: how many of them are for unhealthy tasks. ``first``: others wait
    for the digests of its images."""

    owner: str
    count: int
    zone: str | None = None
    instances: tuple[str, ...] = ()
    replaces: int = 0
    first: bool = False


class Stop(msgspec.Struct, frozen=True):
    """``why``: scaling and deployments, an unhealthy task, or a rebalancing."""

    task: str  # id
    reason: str  # its stoppedReason
    why: Literal["scaling", "unhealthy", "rebalancing", "constraint"] = "scaling"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An event to record: the members of ``ServiceEvent``. ``again``: seconds in which the same message, or what has
    the same ``topic``, isn't told a second time (0: always)."""

    message: str = ""
    name: str = ""
    level: Literal["INFO", "WARN", "ERROR"] = "INFO"
    reason: str = ""
    detail: dict[str, Any] = {}
    again: float = 0.0
    topic: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about a service, in one transaction. Records stand for themselves as they shall be; those that aren't
    there stay as they are. ``noted``: ids of ended tasks that have been taken into account. ``gone``: ids of task sets
    that are no more. ``wake_at``: when time alone may change the plan (epoch seconds)."""

    service: Service
    deployments: tuple[Deployment, ...] = ()
    revisions: tuple[Revision, ...] = ()
    service_deployments: tuple[ServiceDeployment, ...] = ()
    task_sets: tuple[TaskSet, ...] = ()
    gone: tuple[str, ...] = ()
    starts: tuple[Start, ...] = ()
    stops: tuple[Stop, ...] = ()
    events: tuple[Told, ...] = ()
    noted: tuple[str, ...] = ()
    wake_at: float | None = None
