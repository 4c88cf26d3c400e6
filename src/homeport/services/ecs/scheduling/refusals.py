"""Which of the reasons of a cluster's instances is told, where a task finds no place. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from homeport.services.ecs.model.instance import Room
from homeport.services.ecs.placement import demand

TAIL = "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
NO_MATCH = "was unable to place a task because no container instance met all of its requirements."

# What is missing on an instance that has all else comes first: it is the closest (inferred).
_ORDER = (demand.CPU, demand.MEMORY, demand.GPU, demand.PORTS, demand.ENI, demand.AGENT, demand.DISTINCT)
_LATER = (demand.MEMBER_OF, demand.LOCATION, demand.ATTRIBUTE)
_TEXTS = {
    demand.CPU: "has insufficient CPU units available.",
    demand.MEMORY: "has insufficient memory available.",
    demand.PORTS: "is already using a port required by your task.",
    demand.ATTRIBUTE: "is missing an attribute required by your task.",
}


class Refusal(msgspec.Struct, frozen=True):
    """``text`` goes on after the service's name; ``reason`` is that of EventBridge's event."""

    text: str
    reason: str


FARGATE = Refusal(
    "was unable to place a task. Reason: Capacity is unavailable at this time. Please try again later or in a "
    f"different availability zone. {TAIL}",
    "RESOURCE:FARGATE",
)
_WAITING = Refusal(
    "was unable to place tasks in your cluster because the tasks provisioning capacity limit was exceeded.",
    "PROVISIONING CAPACITY LIMIT",
)


def nearest(explained: Sequence[tuple[Room, str | None]], *, provider: bool, waits: bool) -> Refusal:
    """``explained``: why each instance that the task could be for refuses it. ``provider``: they are those of a
    capacity provider; ``waits``: one that starts more of them, but as many tasks wait for that already as may."""
    if waits:
        return _WAITING
    refused = [(room, reason) for room, reason in explained if reason not in (None, demand.INACTIVE)]
    if not refused and provider:
        text = "was unable to reach steady state. Reason: No Container Instances were found in your capacity provider."
        return Refusal(text, "EMPTY CAPACITY PROVIDER")
    if not refused:
        text = f"{NO_MATCH} Reason: No Container Instances were found in your cluster. {TAIL}"
        return Refusal(text, "NO ACTIVE INSTANCES")
    room, reason = min(refused, key=lambda r: (_place(r[1] or ""), -_left(r[0], r[1] or ""), r[0].id))
    what = _TEXTS.get(reason or "", f'encountered error "{(reason or "").removesuffix(".")}".')
    return Refusal(f"{NO_MATCH} The closest matching (container-instance {room.id}) {what} {TAIL}", reason or "")


def _place(reason: str) -> int:
    order = (*_ORDER, *_LATER)
    return order.index(reason) if reason in order else len(order)


def _left(room: Room, reason: str) -> int:
    return room.memory_free if reason == demand.MEMORY else room.cpu_free
