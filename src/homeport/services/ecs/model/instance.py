"""Records of container instances, and of Fargate's nodes, which are container instances that callers never see."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from homeport.store import Scope
from homeport.store.tables import Table

InstanceStatus = Literal["REGISTERING", "ACTIVE", "DRAINING", "DEREGISTERING", "INACTIVE", "REGISTRATION_FAILED"]

POOL = Scope("-", "-")  # where Fargate's nodes are kept: they serve every account and region


class Taken(NamedTuple):
    """What one task takes of its instance: CPU in units, memory in MiB, host ports by protocol, GPUs by id, number of
    network interfaces."""

    cpu: int
    memory: int
    tcp: tuple[int, ...] = ()
    udp: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    interfaces: int = 0


class PartHealth(msgspec.Struct, frozen=True, gc=False):
    """OK, IMPAIRED, INSUFFICIENT_DATA or INITIALIZING, as the agent has told since then."""

    status: str
    since: float


class Instance(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A container instance.

    ``node`` is the id of the node whose key registered it, None where an account's own key did. ``attributes`` and
    ``resources`` are what it registered, with AWS's member names; ``custom`` are the attributes that callers put, or
    that its agent brought at its first registration. ``silent_since`` is when its connection ended, None while it has
    one; ``lost`` once it has been silent for so long that its tasks were given up (Fargate's nodes only).
    ``health`` is that of its parts by AWS's InstanceHealthCheckType. ``token`` is the clientToken of its latest
    registration. ``wake_at``: when an INACTIVE one is forgotten.
    """

    id: str
    arn: str
    cluster_arn: str  # "" in the Fargate pool
    node: str | None
    registered_at: float
    status: InstanceStatus = "ACTIVE"
    status_reason: str | None = None
    launch_type: str = "EC2"  # EXTERNAL for machines outside EC2, FARGATE in the pool
    ec2_instance_id: str | None = None  # i-…, mi-… for EXTERNAL
    auto_scaling_group: str | None = None  # name of the group that it was started in: ties it to a capacity provider
    agent_update: str | None = None  # agentUpdateStatus
    attributes: tuple[dict[str, Any], ...] = ()
    custom: dict[str, str] = {}
    resources: tuple[dict[str, Any], ...] = ()
    version_info: dict[str, str] = {}
    tags: dict[str, str] = {}
    health: dict[str, PartHealth] = {}
    token: str | None = None
    version: int = 1
    connections: int = 0  # how often it has connected; every connection is a version of the store
    silent_since: float | None = None
    lost: bool = False
    deregistered_at: float | None = None
    wake_at: float | None = None

    @property
    def fargate(self) -> bool:
        return not self.cluster_arn

    @property
    def connected(self) -> bool:
        return self.connections > 0 and self.silent_since is None

    def attribute(self, name: str) -> str | None:
        """An attribute's value ("" where it has none), or None where it hasn't the attribute."""
        if name in self.custom:
            return self.custom[name]
        return next((a.get("value") or "" for a in self.attributes if a["name"] == name), None)


class Lot(NamedTuple):
    """Instances between which only what they have left, and what runs there, makes a difference."""

    cluster: str
    launch_type: str
    provider: str | None
    region: str | None
    zone: str | None
    kind: str


class Shape(NamedTuple):
    """What the rooms of a lot are kept apart by, so that placement needn't pass by those that can't do.

    ``cpu`` is the number of binary digits of the free CPU units: a demand for a power of two, as nearly all are, fits
    all of a shape or none. ``gpus`` are free ones; ``interface``: one more network interface can be had.
    """

    connected: bool
    cpu: int
    gpus: int
    interface: bool


class Room(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What an instance has and what its tasks take: the small record that placement reads and charges.

    CPU in units (1024 = one vCPU), memory in MiB. ``open``: tasks may be placed here. ``zone`` and ``region`` where the
    node serves only that one; ``architecture`` as in ``cpuArchitecture``. ``tcp`` and ``udp`` are the host ports that
    can't be had any more, the reserved ones with them, in order; ``gpus`` those that are free. ``cluster`` is an ARN,
    "" in the Fargate pool. ``kind`` is the same for instances with the same attributes (a digest): what one of a kind
    answers to an expression over attributes, all do. ``rooms.of`` derives it all from an instance. It is written
    with every placement, so what isn't there isn't stored.
    """

    id: str
    arn: str
    cpu: int
    memory: int
    cpu_used: int = 0
    memory_used: int = 0
    tasks: int = 0
    open: bool = False
    connected: bool = False
    zone: str | None = None
    region: str | None = None
    architecture: str = "X86_64"
    networked: bool = False  # it can build awsvpc interfaces
    cluster: str = ""
    launch_type: str = "FARGATE"
    provider: str | None = None  # the cluster's capacity provider that it belongs to
    kind: str = ""
    tcp: tuple[int, ...] = ()
    udp: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    interfaces: int = 0  # task network interfaces that it can have at once, 0 for no limit
    interfaces_used: int = 0

    @property
    def cpu_free(self) -> int:
        free = self.cpu - self.cpu_used
        return free if free > 0 else 0

    @property
    def memory_free(self) -> int:
        free = self.memory - self.memory_used
        return free if free > 0 else 0

    @property
    def lot(self) -> Lot:
        return Lot(self.cluster, self.launch_type, self.provider, self.region, self.zone, self.kind)

    @property
    def shape(self) -> Shape:
        interface = not self.interfaces or self.interfaces_used < self.interfaces
        return Shape(self.connected, self.cpu_free.bit_length(), len(self.gpus), interface)


def _with_launch_type(body: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 didn't say: its instances outside the Fargate pool had no tasks yet."""
    return {"launch_type": "EC2" if body["cluster_arn"] else "FARGATE"} | body


INSTANCES: Table[Instance] = Table(
    "container-instance",
    Instance,
    id=lambda r: r.id,
    indexes={
        "cluster": lambda r: (r.cluster_arn,),
        "cluster_status": lambda r: ((r.cluster_arn, r.status),),
        "token": lambda r: (r.token,) if r.token else (),
    },
    global_indexes={
        "arn": lambda r: (r.arn,),
        "node": lambda r: (r.node,) if r.node else (),
    },
    schema=2,
    upgrades={1: _with_launch_type},
)


ROOMS: Table[Room] = Table(
    "container-instance-room",
    Room,
    id=lambda r: r.id,
    indexes={"cluster": lambda r: (r.cluster,)},
    ordered={
        "memory": lambda r: ((r.lot, r.shape, (r.memory_free, r.cpu_free)),) if r.open else (),
        "cpu": lambda r: ((r.lot, r.shape, (r.cpu_free, r.memory_free)),) if r.open else (),
    },
    counts={"lots": lambda r: ((r.cluster, r.lot),) if r.open else ()},
)
