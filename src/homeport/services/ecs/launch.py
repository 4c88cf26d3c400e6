"""Starting one task: its record, its place and its interface, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from homeport.core import arn
from homeport.core.errors import AwsError
from homeport.core.ids import Ids
from homeport.services.ec2 import eni
from homeport.services.ec2.model import INTERFACES, SUBNETS, NetworkInterface
from homeport.services.ecs import capacity_providers, definitions, lifecycle, needs, overrides, placement, rooms
from homeport.services.ecs.model.capacity_provider import PROVIDERS
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.instance import Room
from homeport.services.ecs.model.task import TASKS, Attachment, Container, Task
from homeport.services.ecs.model.waiting import MAX_WAITING, WAITING, WAITING_SECONDS, Network, Waiting
from homeport.services.ecs.placement import Constraint, Demand, Placement, Refusals, StoreIndex, Strategy
from homeport.store import Scope, Tx, View

NO_CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
NO_ACTIVE, EMPTY = "NO ACTIVE INSTANCES", "EMPTY CAPACITY PROVIDER"
FARGATE_STORAGE = 20  # GiB of ephemeral storage that a Fargate task has
_FARGATE_ARCHITECTURE = "X86_64"  # of Fargate's tasks that don't ask for one
_FULL = ("InsufficientFreeAddressesInSubnet", "InsufficientAddressCapacity")


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A checked wish for tasks. CPU in units, memory in MiB; ``overrides`` as ``overrides.check`` returns them,
    ``image_digests`` and ``first`` as the task has them. ``zone``: its network interface is to be in this one."""

    cluster: Cluster
    definition: TaskDefinition
    launch_type: str
    cpu: int
    memory: int
    group: str
    network: Network | None = None
    zone: str | None = None
    capacity_provider: str | None = None
    platform_version: str | None = None
    started_by: str | None = None
    reference_id: str | None = None
    constraints: tuple[Constraint, ...] = ()
    strategy: tuple[Strategy, ...] = ()
    overrides: dict[str, Any] = {}
    tags: dict[str, str] = {}
    image_digests: dict[str, str] = {}
    first: bool = False

    @property
    def fargate(self) -> bool:
        return self.launch_type == "FARGATE"


class Failure(msgspec.Struct, frozen=True):
    """Why a task wasn't made: an entry of ``failures``."""

    reason: str
    detail: str = ""
    arn: str = ""  # of the instance that refused

    def shown(self) -> dict[str, str]:
        return {member: value for member, value in msgspec.structs.asdict(self).items() if value}


def start(tx: Tx, scope: Scope, launch: Launch, ids: Ids, now: float, *, full: bool = False) -> Task | list[Failure]:
    """Makes and places one task. Without a free address it is made nevertheless, and ends, as ECS lets it; where its
    capacity provider has managed scaling, it waits for room. ``full``: its like found none in this transaction."""
    demand = demanded(tx, scope, launch)
    return attempt(tx, scope, launch, demand, ids, now, full=full) or _failures(tx, scope, launch, demand)


def explained(view: View, scope: Scope, launch: Launch, most: int) -> Sequence[tuple[Room, str | None]]:
    """What ``most`` of the instances that the task could be for say to it now: why not, or None."""
    return placement.explain(demanded(view, scope, launch), StoreIndex(view, scope), most)


def start_on(tx: Tx, scope: Scope, launch: Launch, id: str, ids: Ids, now: float) -> Task | Failure:
    """Makes one task on the container instance with this id, which the caller chose: no constraint is asked."""
    demand = demanded(tx, scope, launch)
    index = StoreIndex(tx, scope)
    room = index.room(launch.cluster.arn, id)
    assert room is not None  # the caller has found its instance
    reason = placement.refusal(demand, room, index)
    if reason is not None:
        return Failure(reason, arn=room.arn)
    placed = Placement(room, room.zone or next(iter(demand.zones), None), room.gpus[: demand.gpus])
    return settle(tx, scope, _record(launch, ids, now), launch.network, placed, ids, now)


def demanded(view: View, scope: Scope, launch: Launch) -> Demand:
    """What the task needs of an instance."""
    group = (launch.cluster.arn, launch.group)
    subnets = _by_use(view, scope, launch.network.subnets if launch.network else (), group, launch.zone)
    architecture = needs.architecture(launch.definition)
    common: dict[str, Any] = {
        "cpu": launch.cpu,
        "memory": launch.memory,
        "region": scope[1],
        "zones": tuple(dict.fromkeys(zone for _, zone in subnets)),
        "networked": launch.network is not None,
    }
    if launch.fargate:
        return Demand(architecture=architecture or _FARGATE_ARCHITECTURE, **common)
    tcp, udp = needs.host_ports(launch.definition)
    return Demand(
        architecture=architecture,
        tcp=tcp,
        udp=udp,
        gpus=needs.gpus(definitions.containers(launch.definition)),
        attributes=tuple((name, None) for name in launch.definition.requires_attributes),
        cluster=launch.cluster.arn,
        launch_type=launch.launch_type,
        provider=launch.capacity_provider,
        group=launch.group,
        constraints=launch.constraints,
        strategy=launch.strategy,
        **common,
    )


def settle(
    tx: Tx,
    scope: Scope,
    task: Task,
    network: Network | None,
    placed: Placement,
    ids: Ids,
    now: float,
    zone: str | None = None,
) -> Task:
    """Stores the task on its instance, with its interface (in the ``zone``, where one is asked for), or condemned where
    no subnet has an address left."""
    if network is not None:
        subnets = _by_use(tx, scope, network.subnets, (task.cluster_arn, task.group), zone)
        reachable = [id for id, zone in subnets if placed.room.zone in (None, zone)]
        task = _with_interface(tx, scope, task, reachable, network, ids, now)
    if task.desired_status == "RUNNING":
        task = lifecycle.placed(task, placed.room.arn, placed.zone, placed.gpus, now)
        rooms.charge(tx, placed.room, task.taken)
    tx.put(TASKS, scope, task)
    return task


def picker(ids: Ids) -> placement.Pick:
    """Chance, from the source of ids."""
    return lambda n: int(ids.new("hex"), 16) % n


def refused(scope: tuple[str, str], provider: str | None, refusals: Refusals, *, any_instance: bool) -> list[Failure]:
    """An entry for each instance that refused, or one for the capacity provider that has none."""
    found = [Failure(refused.reason, arn=refused.arn) for refused in refusals.failures]
    if found or provider is None:
        return found
    return [Failure(NO_ACTIVE if any_instance else EMPTY, arn=capacity_providers.arn_of(scope, provider))]


def attempt(
    tx: Tx, scope: Scope, launch: Launch, demand: Demand, ids: Ids, now: float, *, full: bool = False
) -> Task | None:
    """As ``start``, where nobody asks why not. ``demand``: what was ``demanded`` for it in this transaction."""
    placed = None if full else placement.choose(demand, StoreIndex(tx, scope), picker(ids))
    if placed is not None:
        return settle(tx, scope, _record(launch, ids, now), launch.network, placed, ids, now, launch.zone)
    return _wait(tx, scope, demand, launch, ids, now) if _may_wait(tx, scope, launch) else None


def _failures(view: View, scope: Scope, launch: Launch, demand: Demand) -> list[Failure]:
    explained = placement.explain(demand, StoreIndex(view, scope))
    refusals = placement.refusals(explained)
    if launch.fargate:
        return [Failure(NO_CAPACITY, refusals.detail)]
    return refused(scope, launch.capacity_provider, refusals, any_instance=bool(explained))


def _may_wait(view: View, scope: Scope, launch: Launch) -> bool:
    provider = view.get(PROVIDERS, scope, launch.capacity_provider) if launch.capacity_provider else None
    if provider is None or not provider.scales:
        return False
    return sum(view.counts(WAITING, scope, "queues", launch.cluster.arn).values()) < MAX_WAITING


def _wait(tx: Tx, scope: Scope, demand: Demand, launch: Launch, ids: Ids, now: float) -> Task:
    task = _record(launch, ids, now)
    number = tx.version * MAX_WAITING + sum(tx.counts(WAITING, scope, "queues", launch.cluster.arn).values())
    waiting = Waiting(id=task.id, number=number, demand=demand, network=launch.network, wake_at=now + WAITING_SECONDS)
    tx.put(TASKS, scope, task)
    tx.put(WAITING, scope, waiting)
    return task


def _by_use(
    view: View, scope: Scope, subnets: Sequence[str], group: tuple[str, str], zone: str | None = None
) -> list[tuple[str, str]]:
    """(subnet, zone), those of the zone with the fewest tasks of the (cluster, group) first, and of these the one with
    the fewest interfaces: that spreads tasks over zones. ``zone``: only those."""
    found = (view.get(SUBNETS, scope, id) for id in dict.fromkeys(subnets))
    known = [s for s in found if s is not None and zone in (None, s.availability_zone)]
    tasks = view.counts(TASKS, scope, "zones", group) if len(known) > 1 else {}
    known.sort(key=lambda s: (tasks.get(s.availability_zone, 0), view.count(INTERFACES, scope, "subnet", s.id)))
    return [(s.id, s.availability_zone) for s in known]


def _record(launch: Launch, ids: Ids, now: float) -> Task:
    tcp, udp = ((), ()) if launch.fargate else needs.host_ports(launch.definition)
    storage = definitions.ephemeral_storage(launch.definition) or FARGATE_STORAGE
    return Task(
        id=ids.new("hex"),
        cluster_arn=launch.cluster.arn,
        cluster_generation=launch.cluster.generation,
        definition_arn=launch.definition.arn,
        launch_type=launch.launch_type,
        group=launch.group,
        cpu=launch.cpu,
        memory=launch.memory,
        tcp=tcp,
        udp=udp,
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
        first=launch.first,
        ephemeral_storage=overrides.storage(launch.overrides, storage) if launch.fargate else 0,
    )


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
        return replace(task, availability_zone=made.availability_zone, attachments=(_attachment(attachment, made),))
    pending = Attachment(id=attachment, details={"subnetId": subnets[0]})
    task = replace(task, attachments=(pending,))
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
