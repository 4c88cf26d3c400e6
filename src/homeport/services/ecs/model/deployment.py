"""Records of what services roll out: revisions, deployments and service deployments."""

from __future__ import annotations

import sys
from typing import Any, Literal

import msgspec
from msgspec.structs import force_setattr

from homeport.services.ecs.model.waiting import Network
from homeport.store.tables import Table

Role = Literal["PRIMARY", "ACTIVE", "INACTIVE"]
RolloutState = Literal["IN_PROGRESS", "COMPLETED", "FAILED"]
ServiceDeploymentStatus = Literal[
    "PENDING",
    "IN_PROGRESS",
    "SUCCESSFUL",
    "STOP_REQUESTED",
    "STOPPED",
    "ROLLBACK_REQUESTED",
    "ROLLBACK_IN_PROGRESS",
    "ROLLBACK_SUCCESSFUL",
    "ROLLBACK_FAILED",
]
FINISHED: frozenset[ServiceDeploymentStatus] = frozenset(
    ("SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED")
)
KEPT_SECONDS = 90 * 86_400.0  # how long what is over can be described, as ECS
KEPT = 100  # deployments of a service, and as many service deployments and revisions, at most


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What the tasks of a service revision or a task set are.

    ``launch_type`` is None where ``capacity_strategy`` (AWS's items, providers by name) says where they run.
    ``network`` is the checked ``network_configuration``, which is as AWS has it. ``members``: further members with
    AWS's names and values (loadBalancers, serviceRegistries, volumeConfigurations …), answered as they were given.
    """

    definition_arn: str
    launch_type: str | None = None
    capacity_strategy: tuple[dict[str, Any], ...] = ()
    platform_version: str | None = None  # as it was asked for: LATEST, or a number; None outside Fargate
    network: Network | None = None
    network_configuration: dict[str, Any] | None = None
    members: dict[str, Any] = {}

    def __post_init__(self) -> None:
        force_setattr(self, "definition_arn", sys.intern(self.definition_arn))

    @property
    def runs_on(self) -> str:
        """The launch type of its tasks: FARGATE, EC2 or EXTERNAL."""
        if self.launch_type is not None:
            return self.launch_type
        fargate = self.capacity_strategy and self.capacity_strategy[0]["capacityProvider"].startswith("FARGATE")
        return "FARGATE" if fargate else "EC2"


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """A service revision: never changed, but for ``images``, the digest of each container's image, by its name. They
    are filled in from the first task of the revision that tells them (version consistency). ``service`` is the id of
    a service's record. It is forgotten with its deployment."""

    id: str  # 19 digits
    service: str
    configuration: Configuration
    created_at: float
    images: dict[str, str] = {}


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a service's ``deployments``: the tasks of one revision, whose ``startedBy`` is ``ecs-svc/<id>``.

    ``role`` is AWS's ``status``. ``number`` grows from one of a service to the next. ``failed_tasks`` have failed in a
    row; ``failures`` is what the circuit breaker counts, which may be told not to set it back. ``ran``: one of its
    tasks has been RUNNING. ``healthy``: ids of its tasks that were healthy at the last look, while there are failures
    to set back. ``good``: it is COMPLETED, so that a rollback may return to it. ``returned``: the last look made it
    PRIMARY again; it completes in a later one, so that both are told. ``met_at``: since when its early success criteria
    are met (epoch seconds).
    """

    id: str  # 19 digits
    service: str
    revision: str
    number: int
    created_at: float
    updated_at: float
    role: Role = "PRIMARY"
    rollout: RolloutState = "IN_PROGRESS"
    rollout_reason: str = ""
    failed_tasks: int = 0
    failures: int = 0
    ran: bool = False
    healthy: tuple[str, ...] = ()
    good: bool = False
    returned: bool = False
    met_at: float | None = None
    wake_at: float | None = None  # when it is forgotten

    @property
    def name(self) -> str:
        """As ``deployments[].id`` and ``startedBy`` have it."""
        return f"ecs-svc/{self.id}"


class Rollback(msgspec.Struct, frozen=True, kw_only=True):
    """``revision``: the id of that which is returned to."""

    reason: str
    started_at: float
    revision: str


class ServiceDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """A service deployment: from ``sources`` (ids of revisions) to ``target``, carried out by ``deployment`` (and, in a
    rollback, by the deployment that is returned to). ``configuration`` is the deploymentConfiguration of its time.
    ``failure_count`` and ``threshold`` are the circuit breaker's last; ``breaker`` its status. ``counts``: once it is
    over, the (requested, running, pending) tasks that it left, by revision."""

    id: str
    service: str
    number: int
    deployment: str
    target: str
    sources: tuple[str, ...]
    created_at: float
    updated_at: float
    configuration: dict[str, Any]
    status: ServiceDeploymentStatus = "PENDING"
    status_reason: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    stopped_at: float | None = None
    rollback: Rollback | None = None
    breaker: Literal["DISABLED", "MONITORING", "MONITORING_COMPLETE", "TRIGGERED"] = "DISABLED"
    failure_count: int = 0
    threshold: int = 0
    succeeded_early: bool = False  # by its early success criteria, before all of it was done
    counts: dict[str, tuple[int, int, int]] = {}
    wake_at: float | None = None  # when it is forgotten


REVISIONS: Table[Revision] = Table(
    "service-revision",
    Revision,
    id=lambda r: r.id,
    indexes={"service": lambda r: (r.service,), "definition": lambda r: (r.configuration.definition_arn,)},
)

DEPLOYMENTS: Table[Deployment] = Table(
    "deployment",
    Deployment,
    id=lambda r: r.id,
    indexes={"service": lambda r: (r.service,), "shown": lambda r: (r.service,) if r.role != "INACTIVE" else ()},
    ordered={"good": lambda r: ((r.service, "good", r.number),) if r.good else ()},
)

SERVICE_DEPLOYMENTS: Table[ServiceDeployment] = Table(
    "service-deployment",
    ServiceDeployment,
    id=lambda r: r.id,
    indexes={"service": lambda r: (r.service,), "open": lambda r: (r.service,) if r.status not in FINISHED else ()},
)
