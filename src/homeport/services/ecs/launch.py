"""Starting one task: its record, its place and its interface, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from homeport.core import arn
from homeport.core.errors import AwsError
from homeport.core.ids import Ids
from homeport.services.ec2 import eni
from homeport.services.ec2.model import INTERFACES, SUBNETS, NetworkInterface
from homeport.services.ecs import definitions, lifecycle, overrides, placement, rooms
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.instance import Room
from homeport.services.ecs.model.task import TASKS, Attachment, Container, Task
from homeport.store import Scope, Tx

NO_CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
FARGATE_STORAGE = 20  # GiB of ephemeral storage that a Fargate task has
_FULL = ("InsufficientFreeAddressesInSubnet", "InsufficientAddressCapacity")


class Network(msgspec.Struct, frozen=True):
    """A checked awsvpcConfiguration."""

    subnets: tuple[str, ...]
    groups: tuple[str, ...]
    public: bool = False


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A checked wish for tasks. CPU in units, memory in MiB; ``overrides`` as ``overrides.check`` returns them,
    ``image_digests`` as the task has them."""

    cluster: Cluster
    definition: TaskDefinition
    launch_type: str
    cpu: int
    memory: int
    group: str
    network: Network | None = None
    capacity_provider: str | None = None
    platform_version: str | None = None
    started_by: str | None = None
    reference_id: str | None = None
    overrides: dict[str, Any] = {}
    tags: dict[str, str] = {}
    image_digests: dict[str, str] = {}


class Failure(msgspec.Struct, frozen=True):
    """Why a task wasn't made: an entry of ``failures``."""

    reason: str
    detail: str = ""


def start(tx: Tx, scope: Scope, launch: Launch, ids: Ids, now: float) -> Task | Failure:
    """Makes and places one Fargate task. Without a free address it is made nevertheless, and ends, as ECS lets it."""
    subnets = _by_use(tx, scope, launch.network.subnets if launch.network else ())
    platform = launch.definition.members.get("runtimePlatform") or {}
    demand = placement.Demand(
        cpu=launch.cpu,
        memory=launch.memory,
        region=scope[1],
        zones=tuple(dict.fromkeys(zone for _, zone in subnets)),
        architecture=platform.get("cpuArchitecture") or "X86_64",
        networked=launch.network is not None,
    )
    placed = placement.place(demand, placement.StoreIndex(tx, scope), lambda n: int(ids.new("hex"), 16) % n)
    if isinstance(placed, placement.Refusals):
        return Failure(NO_CAPACITY, placed.detail)
    task = _record(launch, ids, now)
    if launch.network is not None:
        reachable = [id for id, zone in subnets if placed.room.zone in (None, zone)]
        task = _with_interface(tx, scope, task, reachable, launch.network, ids, now)
    if task.desired_status == "RUNNING":
        task = _placed(tx, task, placed.room)
    tx.put(TASKS, scope, task)
    return task


def _by_use(tx: Tx, scope: Scope, subnets: Sequence[str]) -> list[tuple[str, str]]:
    """(subnet, zone), the one with the fewest interfaces first: that spreads tasks over zones."""
    found = (tx.get(SUBNETS, scope, id) for id in dict.fromkeys(subnets))
    known = [subnet for subnet in found if subnet is not None]
    known.sort(key=lambda s: tx.count(INTERFACES, scope, "subnet", s.id))
    return [(s.id, s.availability_zone) for s in known]


def _record(launch: Launch, ids: Ids, now: float) -> Task:
    return Task(
        id=ids.new("hex"),
        cluster_arn=launch.cluster.arn,
        cluster_generation=launch.cluster.generation,
        definition_arn=launch.definition.arn,
        launch_type=launch.launch_type,
        group=launch.group,
        cpu=launch.cpu,
        memory=launch.memory,
        created_at=now,
        containers=tuple(
            Container(id=ids.new("uuid"), name=c["name"], essential=c.get("essential", True))
            for c in definitions.containers(launch.definition)
        ),
        capacity_provider=launch.capacity_provider,
        platform_version=launch.platform_version,
        started_by=launch.started_by,
        reference_id=launch.reference_id,
        overrides=launch.overrides,
        tags=launch.tags,
        image_digests=launch.image_digests,
        ephemeral_storage=overrides.storage(
            launch.overrides, definitions.ephemeral_storage(launch.definition) or FARGATE_STORAGE
        ),
    )


def _placed(tx: Tx, task: Task, room: Room) -> Task:
    rooms.charge(tx, room, task.taken)
    return msgspec.structs.replace(task, instance=room.arn, charged=True)


def _with_interface(
    tx: Tx, scope: Scope, task: Task, subnets: Sequence[str], network: Network, ids: Ids, now: float
) -> Task:
    """The task with an interface in the first subnet that has an address left, or condemned where none has."""
    attachment = ids.new("uuid")
    cause = ""
    for subnet in subnets:
        try:
            made = eni.create(
                tx,
                scope,
                subnet_id=subnet,
                groups=network.groups,
                public=network.public,
                description=arn.arn("ecs", scope[1], scope[0], f"attachment/{attachment}"),
                ids=ids,
                now=now,
            )
        except AwsError as error:
            if error.code not in _FULL:
                raise
            cause = cause or _no_address(subnet, error.code, public=network.public)
            continue
        return msgspec.structs.replace(
            task, availability_zone=made.availability_zone, attachments=(_attachment(attachment, made),)
        )
    pending = Attachment(id=attachment, details={"subnetId": subnets[0]})
    task = msgspec.structs.replace(task, attachments=(pending,))
    return lifecycle.request_stop(task, "TaskFailedToStart", cause, now)


def _attachment(id: str, made: NetworkInterface) -> Attachment:
    details = {
        "subnetId": made.subnet_id,
        "networkInterfaceId": made.id,
        "macAddress": made.mac,
        "privateDnsName": made.private_dns_name,
        "privateIPv4Address": made.private_address,
    }
    return Attachment(id=id, details=details)


def _no_address(subnet: str, code: str, *, public: bool) -> str:
    how = " with public IP assignment enabled" if public else ""
    return f"Unexpected EC2 error while attempting to Create Network Interface{how} in subnet '{subnet}': {code}"
