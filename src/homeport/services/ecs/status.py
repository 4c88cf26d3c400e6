"""What ``homeport status`` shows of nodes, services and tasks."""

from __future__ import annotations

from typing import Any

from homeport.agentapi import OVERCOMMIT_ATTRIBUTE
from homeport.core import arn
from homeport.services.ec2.model import INTERFACES
from homeport.services.ecs import definitions, metrics, service_status
from homeport.services.ecs.metrics import Metrics
from homeport.services.ecs.model.instance import INSTANCES, ROOMS, Instance, Room
from homeport.services.ecs.model.task import TASKS, NodeStatus, Task, TaskStatus
from homeport.services.ecs.views.task import task_view
from homeport.store import Scope, View

OVERCOMMIT = ("cpu", "memory")  # which resources a node may register more of than it has
SHOWN_TASKS = SHOWN_SERVICES = 1000  # that are listed at most


def status(view: View) -> dict[str, Any]:
    """``nodes`` with what they registered (CPU units, MiB) and what their tasks take of it; ``services`` that are
    not INACTIVE; ``tasks`` that are not STOPPED."""
    rooms = ((instance, view.get(ROOMS, scope, instance.id)) for scope, instance in view.each(INSTANCES))
    tasks = view.find_global(TASKS, "unfinished", True)[:SHOWN_TASKS]
    return {
        "nodes": [_node(instance, room) for instance, room in rooms if room is not None],
        "services": service_status.listed(view, SHOWN_SERVICES),
        "tasks": [_task(view, scope, task) for scope, task in tasks],
    }


def _node(instance: Instance, room: Room) -> dict[str, Any]:
    multiples = {name: _number(instance.attribute(f"{OVERCOMMIT_ATTRIBUTE}{name}")) for name in OVERCOMMIT}
    return {
        "id": instance.node or instance.id,
        "arn": instance.arn,
        "fargate": instance.fargate,
        "status": "LOST" if instance.lost else instance.status,
        "connected": instance.connected,
        "capacity": {"cpu": room.cpu, "memory": room.memory},
        "used": {"cpu": room.cpu_used, "memory": room.memory_used},
        "overcommit": multiples if all(multiples.values()) else None,
        "tasks": room.tasks,
    }


def _task(view: View, scope: Scope, task: Task) -> dict[str, Any]:
    interface = view.get(INTERFACES, scope, task.interface_id) if task.interface_id else None
    return {
        "id": task.id,
        "arn": task.arn,
        "cluster": task.cluster_arn.rpartition("/")[2],
        "definition": task.definition_arn.rpartition("/")[2],
        "last_status": task.last_status.name,
        "desired_status": task.desired_status,
        "stopped_reason": task.stopped_reason,
        "since": task.started_at or task.created_at,
        "address": interface.private_address if interface else None,
        "public_address": interface.public_address if interface else None,
    }


def found(view: View, text: str) -> list[tuple[Scope, Task]]:
    """The tasks whose ARN this is, or whose id starts so."""
    parsed = arn.parse(text)
    if parsed is not None:
        scope = Scope(parsed.account, parsed.region)
        task = view.get(TASKS, scope, text.rpartition("/")[2])
        return [(scope, task)] if task is not None and task.arn == text else []
    return [(scope, task) for scope, task in view.each(TASKS) if text and task.id.startswith(text)]


def task_status(view: View, scope: Scope, task: Task, used: Metrics) -> dict[str, Any]:
    """``task`` is what DescribeTasks answers; ``depends_on`` and ``essential`` have what its definition says of each
    container, ``public_address`` is None where it has none, ``metrics`` what its agent last measured, if anything."""
    use = used.of(scope, task)
    definition = definitions.of_task(view, scope, task.definition_arn)
    containers = definitions.containers(definition) if definition else []
    return {
        "task": task_view(view, scope, task),
        "depends_on": {
            c["name"]: [f"{d['containerName']} {d['condition']}" for d in c.get("dependsOn") or ()] for c in containers
        },
        "essential": {c.name: c.essential for c in task.containers},
        "public_address": _task(view, scope, task)["public_address"],
        "metrics": metrics.shown(use) if use else None,
    }


def readable(kind: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
    """A stored record as people read it: statuses by name."""
    if body is None or kind != TASKS.kind:
        return body
    enums = {"last_status": TaskStatus, "node_status": NodeStatus}
    return body | {name: enum(body[name]).name for name, enum in enums.items() if name in body}


def _number(text: str | None) -> float | None:
    """What a node multiplied its real resources with before it registered them, where it says so."""
    try:
        return float(text) if text else None
    except ValueError:
        return None
