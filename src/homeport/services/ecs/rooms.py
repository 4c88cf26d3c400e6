"""Finding instances, and what they have left: charged when a task is placed, given back when it is over."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from homeport.aws.operations import Principal
from homeport.core import arn
from homeport.services.ecs.model.instance import INSTANCES, POOL, ROOMS, Instance, Room, Taken
from homeport.store import Scope, Tx, View

_FARGATE = "container-instance/fargate/"


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


def in_pool(view: View, size_class: int) -> Sequence[Room]:
    """Fargate's open nodes of a size class, for ``placement.place``."""
    return view.find(ROOMS, POOL, "class", size_class)


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
    """Gives it back. No error where the instance is gone."""
    place = place_of(instance_arn)
    room = tx.get(ROOMS, *place) if place else None
    if place is None or room is None:
        return
    changed = replace(
        room,
        cpu_used=room.cpu_used - taken.cpu,
        memory_used=room.memory_used - taken.memory,
        tasks=room.tasks - 1,
        tcp=_without(room.tcp, taken.tcp),
        udp=_without(room.udp, taken.udp),
        gpus=tuple(sorted({*room.gpus, *taken.gpus})) if taken.gpus else room.gpus,
        interfaces_used=room.interfaces_used - taken.interfaces,
    )
    tx.put(ROOMS, place[0], changed)


def _with(ports: tuple[int, ...], taken: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({*ports, *taken})) if taken else ports


def _without(ports: tuple[int, ...], given_back: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(port for port in ports if port not in given_back) if given_back else ports
