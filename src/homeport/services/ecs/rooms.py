"""Finding instances, and what they have left: charged when a task is placed, given back when it is over."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from homeport.agentapi import NETWORK_ATTRIBUTE, SPEC_ATTRIBUTE
from homeport.aws.operations import Principal
from homeport.core import arn
from homeport.services.ecs.expressions import Subject
from homeport.services.ecs.model.instance import INSTANCES, POOL, ROOMS, Instance, Room, Taken
from homeport.services.ecs.model.task import TASKS, Task, TaskStatus
from homeport.store import Scope, Tx, View

REGION_ATTRIBUTE = "homeport.region"  # the one region that a Fargate node serves
ZONE_ATTRIBUTE = "ecs.availability-zone"  # the one zone that it serves; the zone of a container instance
INTERFACES_ATTRIBUTE = "homeport.max-interfaces"  # task network interfaces that it can have at once
EXTERNAL_ATTRIBUTE = "ecs.capability.external"  # a machine outside EC2

_FARGATE = "container-instance/fargate/"
_ARCHITECTURES = {"": "X86_64", "x86_64": "X86_64", "amd64": "X86_64", "arm64": "ARM64", "aarch64": "ARM64"}
MAX_GPUS = 64  # of one machine
_KIND_BYTES = 12  # of the digest: enough for as many kinds as there will ever be


def fargate_arn(scope: tuple[str, str], id: str) -> str:
    account, region = scope
    return arn.arn("ecs", region, account, _FARGATE + id)


def place_of(instance_arn: str) -> tuple[Scope, str] | None:
    """The scope and id under which an instance is kept, or None for what isn't an instance's ARN."""
    parsed = arn.parse(instance_arn)
    if parsed is None or parsed.service != "ecs" or not parsed.resource.startswith("container-instance/"):
        return None
    id = parsed.resource.rpartition("/")[2]
    return (POOL if parsed.resource.startswith(_FARGATE) else Scope(parsed.account, parsed.region)), id


def instance(view: View, instance_arn: str) -> tuple[Scope, Instance] | None:
    """An instance and its scope by ARN."""
    place = place_of(instance_arn)
    if place is None:
        return None
    found = view.get(INSTANCES, *place)
    return (place[0], found) if found is not None and found.arn == instance_arn else None


def owns(principal: Principal, instance: Instance, scope: tuple[str, str]) -> bool:
    """Whether the principal speaks for the instance: its node, or its account where no node registered it."""
    if instance.node is not None or principal.node is not None:
        return instance.node == principal.node
    return scope[0] == principal.account


def charge(tx: Tx, room: Room, taken: Taken) -> None:
    """Takes what a task placed there needs."""
    place = place_of(room.arn)
    assert place is not None  # rooms are made for instances
    changed = replace(
        room,
        cpu_used=room.cpu_used + taken.cpu,
        memory_used=room.memory_used + taken.memory,
        tasks=room.tasks + 1,
        tcp=_with(room.tcp, taken.tcp),
        udp=_with(room.udp, taken.udp),
        gpus=tuple(gpu for gpu in room.gpus if gpu not in taken.gpus),
        interfaces_used=room.interfaces_used + taken.interfaces,
    )
    tx.put(ROOMS, place[0], changed)


def free(tx: Tx, instance_arn: str, taken: Taken) -> None:
    """Gives it back, but for what the instance keeps for itself by now, or doesn't have any more. No error where the
    instance is gone."""
    place = place_of(instance_arn)
    room = tx.get(ROOMS, *place) if place else None
    if place is None or room is None:
        return
    instance = tx.get(INSTANCES, *place)
    resources = _resources(instance) if instance is not None else {}
    kept_tcp, kept_udp = _ports(resources, "PORTS"), _ports(resources, "PORTS_UDP")
    gpus = {gpu for gpu in taken.gpus if gpu in _gpus(resources)}
    changed = replace(
        room,
        cpu_used=room.cpu_used - taken.cpu,
        memory_used=room.memory_used - taken.memory,
        tasks=room.tasks - 1,
        tcp=_without(room.tcp, tuple(port for port in taken.tcp if port not in kept_tcp)),
        udp=_without(room.udp, tuple(port for port in taken.udp if port not in kept_udp)),
        gpus=tuple(sorted({*room.gpus, *gpus})) if gpus else room.gpus,
        interfaces_used=room.interfaces_used - taken.interfaces,
    )
    tx.put(ROOMS, place[0], changed)


def _with(ports: tuple[int, ...], taken: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({*ports, *taken})) if taken else ports


def _without(ports: tuple[int, ...], given_back: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(port for port in ports if port not in given_back) if given_back else ports


def of(view: View, scope: tuple[str, str], instance: Instance, before: Room | None) -> Room:
    """Its room: what it registered and is now, with what its tasks already take. ``before`` is the room that it had: it
    says how much CPU and memory and how many interfaces are taken, and whose capacity provider's it is."""
    before = before or Room(id=instance.id, arn=instance.arn, cpu=0, memory=0)
    resources = _resources(instance)
    there, leaving = tasks(view, instance), view.find_global(TASKS, "leaving", instance.arn)
    charged = [task for _, task in (*there, *leaving) if task.charged]
    taken_gpus = {gpu for task in charged for gpu in task.gpus}
    return replace(
        before,
        cpu=_integer(resources, "CPU"),
        memory=_integer(resources, "MEMORY"),
        open=instance.status == "ACTIVE" and not instance.lost,  # a lost node takes tasks again once it is connected
        connected=instance.connected,
        zone=instance.attribute(ZONE_ATTRIBUTE) or None,
        region=instance.attribute(REGION_ATTRIBUTE) or None,
        architecture=_ARCHITECTURES.get(instance.attribute("ecs.cpu-architecture") or "", "X86_64"),
        networked=None not in (instance.attribute(NETWORK_ATTRIBUTE), instance.attribute(SPEC_ATTRIBUTE)),
        cluster=instance.cluster_arn,
        launch_type=instance.launch_type,
        kind=_kind(instance),
        tcp=_with(_ports(resources, "PORTS"), tuple(port for task in charged for port in task.tcp)),
        udp=_with(_ports(resources, "PORTS_UDP"), tuple(port for task in charged for port in task.udp)),
        gpus=tuple(gpu for gpu in _gpus(resources) if gpu not in taken_gpus),
        interfaces=_limit(instance.attribute(INTERFACES_ATTRIBUTE)),
    )


def tasks(view: View, instance: Instance) -> list[tuple[Scope, Task]]:
    """Every task that is placed there and isn't known to be over."""
    return view.find_global(TASKS, "instance", instance.arn)


def counts(view: View, instance: Instance) -> tuple[int, int]:
    """(running, pending) tasks. Those that are on their way to STOPPED are neither."""
    statuses = [task.last_status for _, task in tasks(view, instance) if task.last_status <= TaskStatus.RUNNING]
    running = statuses.count(TaskStatus.RUNNING)
    return running, len(statuses) - running


def subject(view: View, scope: tuple[str, str], instance: Instance) -> Subject:
    """The instance as the cluster query language sees it. Not to be kept beyond the view."""
    return _Subject(view, scope, instance)


class _Subject:
    def __init__(self, view: View, scope: tuple[str, str], instance: Instance) -> None:
        self._view, self._scope, self._instance = view, scope, instance

    @property
    def agent_connected(self) -> bool:
        return self._instance.connected

    @property
    def agent_version(self) -> str:
        return self._instance.version_info.get("agentVersion", "")

    @property
    def ec2_instance_id(self) -> str:
        return self._instance.ec2_instance_id or ""

    @property
    def registered_at(self) -> float:
        return self._instance.registered_at

    @property
    def running_tasks_count(self) -> int:
        return counts(self._view, self._instance)[0]

    @property
    def pending_tasks_count(self) -> int:
        return counts(self._view, self._instance)[1]

    @property
    def status(self) -> str:
        return self._instance.status

    def attribute(self, name: str) -> str | None:
        return self._instance.attribute(name)

    def runs_group(self, group: str) -> bool:
        instance = self._instance
        return instance.id in self._view.counts(TASKS, self._scope, "instances", (instance.cluster_arn, group))

    def groups(self) -> Iterable[str]:
        return {task.group for _, task in tasks(self._view, self._instance)}


def _resources(instance: Instance) -> dict[str, dict[str, Any]]:
    """What it registered, by name."""
    return {resource["name"]: resource for resource in instance.resources}


def _integer(resources: Mapping[str, dict[str, Any]], name: str) -> int:
    return int(resources.get(name, {}).get("integerValue") or 0)


def _ports(resources: Mapping[str, dict[str, Any]], name: str) -> tuple[int, ...]:
    """The host ports that it reserved, in order; what is no port can't be asked for either."""
    texts = resources.get(name, {}).get("stringSetValue") or ()
    return tuple(sorted({int(text) for text in texts if text.isascii() and text.isdigit()}))


def _gpus(resources: Mapping[str, dict[str, Any]]) -> tuple[str, ...]:
    """Ids, in order; numbers from 0 where only how many there are was registered."""
    ids = resources.get("GPU", {}).get("stringSetValue")
    return tuple(sorted(set(ids))) if ids else tuple(str(n) for n in range(min(_integer(resources, "GPU"), MAX_GPUS)))


def _limit(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


def _kind(instance: Instance) -> str:
    named = {a["name"]: a.get("value") or "" for a in instance.attributes} | instance.custom
    return hashlib.blake2b(msgspec.json.encode(sorted(named.items())), digest_size=_KIND_BYTES).hexdigest()
