"""Records of tasks."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import Any, Literal

import msgspec
from msgspec.structs import force_setattr

from homeport.services.ecs.model.instance import Taken
from homeport.store.tables import Table

STOPPED_TASK_SECONDS = 3600.0  # how long a stopped task can be described (ECS: "at least an hour")
STOPPED_TASKS_KEPT = 100_000  # stopped tasks kept at most, of all accounts; beyond it the oldest are forgotten early
TOKEN_SECONDS = 24 * 3600.0  # how long RunTask remembers a clientToken

DesiredStatus = Literal["RUNNING", "STOPPED"]
ContainerStatus = Literal["PENDING", "RUNNING", "STOPPED"]
HealthStatus = Literal["UNKNOWN", "HEALTHY", "UNHEALTHY"]
AttachmentStatus = Literal["PRECREATED", "ATTACHED", "DELETED"]

_SHARED = ("cluster_arn", "definition_arn", "launch_type", "group", "instance", "availability_zone")
INTERFACE = "ElasticNetworkInterface"  # the type of an attachment that is a network interface


class TaskStatus(IntEnum):
    """``lastStatus``, in the only order that it ever moves."""

    PROVISIONING = 1
    PENDING = 2
    ACTIVATING = 3
    RUNNING = 4
    DEACTIVATING = 5
    STOPPING = 6
    DEPROVISIONING = 7
    STOPPED = 8


class NodeStatus(IntEnum):
    """What the task's node has told about it; only forward too. ``HANDED``: it has acknowledged the task."""

    NONE = 0
    HANDED = 1
    PENDING = 2
    RUNNING = 3
    STOPPED = 4


class Container(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A container of a task. ``id`` is a UUID, the end of its ARN. What it runs is in the task definition."""

    id: str
    name: str
    essential: bool = True
    status: ContainerStatus = "PENDING"
    ran: bool = False  # its process was started, however briefly
    runtime_id: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    image_digest: str | None = None
    health: HealthStatus = "UNKNOWN"  # as its node last told
    bindings: tuple[dict[str, Any], ...] = ()  # AWS's networkBindings, as its node told

    def __post_init__(self) -> None:
        force_setattr(self, "name", sys.intern(self.name))
        if self.image_digest is not None:
            force_setattr(self, "image_digest", sys.intern(self.image_digest))


class Attachment(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What is attached to a task. ``id`` is a UUID, the end of its ARN; ``details`` have AWS's names."""

    id: str
    type: str = INTERFACE
    status: AttachmentStatus = "PRECREATED"
    details: dict[str, str] = {}

    def __post_init__(self) -> None:
        force_setattr(self, "type", sys.intern(self.type))
        if "subnetId" in self.details:
            force_setattr(self, "details", self.details | {"subnetId": sys.intern(self.details["subnetId"])})


class Task(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A task.

    ``last_status`` is only ever written by ``lifecycle.step``, ``desired_status`` by the control plane, ``node_status``
    by what the node reports. ``cpu`` (1024 units = one vCPU) and ``memory`` (MiB) are what it takes of its node.
    ``image_digests`` are what its deployment resolved the tags of images to, by container: these manifests are run
    (version consistency), but by containers whose definition says ``versionConsistency`` disabled.
    ``instance`` is its container instance's ARN (for Fargate a node that callers never see); ``charged`` while it
    takes room there, with the fixed host ports ``tcp`` and ``udp`` and ``gpus`` besides. ``protected_until``: epoch
    seconds up to which no scale-in or deployment may stop it. ``overrides`` is a TaskOverride of AWS. Times are epoch
    seconds; ``wake_at`` is when the task loop looks at it again.
    """

    id: str
    cluster_arn: str
    definition_arn: str
    launch_type: str
    group: str
    cpu: int
    memory: int
    created_at: float
    containers: tuple[Container, ...]
    cluster_generation: int = 1  # of several clusters that had this ARN
    attachments: tuple[Attachment, ...] = ()
    last_status: TaskStatus = TaskStatus.PROVISIONING
    desired_status: DesiredStatus = "RUNNING"
    node_status: NodeStatus = NodeStatus.NONE
    node_reason: str | None = None
    instance: str | None = None
    charged: bool = False
    tcp: tuple[int, ...] = ()
    udp: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    protected_until: float | None = None
    lost: bool = False  # its node was given up while it ran
    noted: bool = False  # its service's scheduler has taken note of its end
    availability_zone: str | None = None
    capacity_provider: str | None = None
    platform_version: str | None = None
    started_by: str | None = None
    reference_id: str | None = None
    overrides: dict[str, Any] = {}
    tags: dict[str, str] = {}
    image_digests: dict[str, str] = {}
    first: bool = False  # others of its deployment wait for the digests of its images
    ephemeral_storage: int = 0  # GiB, 0 outside Fargate
    version: int = 1
    connected_at: float | None = None
    pull_started_at: float | None = None
    pull_stopped_at: float | None = None
    started_at: float | None = None
    execution_stopped_at: float | None = None
    stopping_at: float | None = None
    stopped_at: float | None = None
    stop_code: str | None = None
    stopped_reason: str | None = None
    wake_at: float | None = None

    def __post_init__(self) -> None:
        # Thousands of tasks name the same few clusters, definitions and nodes: one string each.
        for name in _SHARED:
            value = getattr(self, name)
            if value is not None and (shared := sys.intern(value)) is not value:
                force_setattr(self, name, shared)
        if self.image_digests:
            force_setattr(self, "image_digests", {n: sys.intern(digest) for n, digest in self.image_digests.items()})

    @property
    def arn(self) -> str:
        return f"{self.cluster_arn.replace(':cluster/', ':task/', 1)}/{self.id}"

    def container_arn(self, id: str) -> str:
        return f"{self.arn.replace(':task/', ':container/', 1)}/{id}"

    def protected(self, now: float) -> bool:
        """Whether it is protected from scale-in and deployments (``now``: epoch seconds)."""
        return self.protected_until is not None and self.protected_until > now

    @property
    def family(self) -> str:
        return self.definition_arn.rpartition("/")[2].rpartition(":")[0]

    @property
    def taken(self) -> Taken:
        """What it takes of its instance. Fargate's nodes don't count interfaces."""
        interfaces = int(self.launch_type != "FARGATE" and self.interface is not None)
        return Taken(self.cpu, self.memory, self.tcp, self.udp, self.gpus, interfaces)

    @property
    def interface(self) -> Attachment | None:
        """Its network interface, for awsvpc tasks that have got one."""
        return next((a for a in self.attachments if a.type == INTERFACE), None)

    @property
    def interface_id(self) -> str | None:
        """``eni-…`` of an interface that exists."""
        found = self.interface
        return found.details.get("networkInterfaceId") if found and found.status != "DELETED" else None


class RunToken(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A RunTask call that may be repeated: ``digest`` is over its other parameters."""

    token: str
    digest: str
    tasks: tuple[str, ...]  # ids
    failures: tuple[dict[str, str], ...] = ()
    wake_at: float


# What follows returns tuples: indexes that a write leaves alone are told by comparing them.


def _filters(task: Task) -> tuple[tuple[str, ...], ...]:
    """What ListTasks finds it under: (filter, value, cluster ARN, desiredStatus)."""
    cluster, desired = task.cluster_arn, task.desired_status
    found = (
        ("cluster", cluster, desired),
        ("family", task.family, cluster, desired),
        ("group", task.group, cluster, desired),
    )
    return (*found, ("startedBy", task.started_by, cluster, desired)) if task.started_by else found


def _counted(task: Task) -> bool:
    """Whether placement counts it: while it takes room of a container instance."""
    return task.charged and task.launch_type != "FARGATE"


def _uses_provider(task: Task) -> bool:
    return task.capacity_provider is not None and task.last_status < TaskStatus.STOPPED


def _service(task: Task) -> tuple[tuple[str, str], ...]:
    """The (cluster ARN, group) of the service that still has to do with it."""
    if task.group.startswith("service:") and not (task.noted and task.last_status == TaskStatus.STOPPED):
        return ((task.cluster_arn, task.group),)
    return ()


def _service_count(task: Task) -> tuple[tuple[tuple[str, str], tuple[str | None, str]], ...]:
    """What DescribeServices counts it as: RUNNING, or PENDING while it is on its way there."""
    if not task.group.startswith("service:"):
        return ()
    if task.last_status == TaskStatus.RUNNING:
        return (((task.cluster_arn, task.group), (task.started_by, "RUNNING")),)
    elif task.last_status < TaskStatus.RUNNING and task.desired_status == "RUNNING":
        return (((task.cluster_arn, task.group), (task.started_by, "PENDING")),)
    return ()


def _instance_id(task: Task) -> str:
    """The id of the instance that it has; thousands of tasks share one string."""
    return sys.intern((task.instance or "").rpartition("/")[2])


TASKS: Table[Task] = Table(
    "task",
    Task,
    id=lambda r: r.id,
    indexes={
        "cluster": lambda r: (r.cluster_arn,),
        "cluster_status": lambda r: ((r.cluster_arn, r.last_status.name),),
        "filter": _filters,
        "definition": lambda r: ((r.definition_arn, r.last_status == TaskStatus.STOPPED),),
        "service": _service,
        "attachment": lambda r: [a.id for a in r.attachments] if r.last_status < TaskStatus.STOPPED else (),
    },
    # The tasks of a (cluster, group) outside Fargate by instance id; all of them by zone; those of a cluster that
    # aren't over, by capacity provider; those of a (cluster, group) of a service by (startedBy, RUNNING or PENDING).
    counts={
        "instances": lambda r: (((r.cluster_arn, r.group), _instance_id(r)),) if _counted(r) else (),
        "zones": lambda r: (((r.cluster_arn, r.group), r.availability_zone),) if r.charged else (),
        "providers": lambda r: ((r.cluster_arn, r.capacity_provider),) if _uses_provider(r) else (),
        "services": _service_count,
    },
    global_indexes={
        "unfinished": lambda r: (True,) if r.last_status < TaskStatus.STOPPED else (),
        "instance": lambda r: (r.instance,) if r.instance and r.node_status < NodeStatus.STOPPED else (),
        "leaving": lambda r: (r.instance,) if r.charged and r.node_status == NodeStatus.STOPPED else (),  # for a moment
    },
)

TOKENS: Table[RunToken] = Table("run-task-token", RunToken, id=lambda r: r.token)
