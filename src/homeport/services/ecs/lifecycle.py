"""The life of a task, decided. Pure.

::

    PROVISIONING → PENDING → ACTIVATING → RUNNING → DEACTIVATING → STOPPING → DEPROVISIONING → STOPPED
          │            │ never ran                                              ↑
          └────────────┴────────────────────────────────────────────────────────┘

``step`` moves a task on by one status, ``reported`` folds in what its node told, ``request_stop`` and ``lose`` are the
control plane's own reasons to end it. Nothing ever moves back. Only tasks with an interface, and Fargate's, pass
through PROVISIONING, ACTIVATING and DEPROVISIONING.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from homeport.agentapi import ContainerReport, TaskReport
from homeport.services.ecs.model.instance import Taken
from homeport.services.ecs.model.task import (
    STOPPED_TASK_SECONDS,
    Attachment,
    Container,
    HealthStatus,
    NodeStatus,
    Task,
    TaskStatus,
)

REASON_LENGTH = 1024  # characters of a reason that are kept, as ECS
LOST_REASON = "The node that hosted the task stopped answering and was given up."
FORGOTTEN_REASON = "The node that hosted the task has lost its state."
USER_REASON = "Task stopped by user"

# How the reasons of containers whose process never started begin, whatever exit code the runtime made up for them.
_NEVER_STARTED = (
    "Cannot",
    "DockerStateError",
    "DockerTimeoutError",
    "DockerClientConfigError",
    "HostConfigError",
    "InvalidVolumeError",
    "ContainerNetworkingError",
    "ResourceInitializationError",
    "TaskDependencyError",
    "TaskStoppedBeforePullBeginError",
)
_HEALTH: dict[str, HealthStatus] = {"UNKNOWN": "UNKNOWN", "HEALTHY": "HEALTHY", "UNHEALTHY": "UNHEALTHY"}
_CONTAINER_ORDER = {"PENDING": 0, "RUNNING": 1, "STOPPED": 2}
_NODE_STATUS = {"PENDING": NodeStatus.PENDING, "RUNNING": NodeStatus.RUNNING, "STOPPED": NodeStatus.STOPPED}


class DeleteInterface(msgspec.Struct, frozen=True):
    """Delete the task's network interface, then mark its attachment (``interface_deleted``)."""

    interface_id: str


class FreeRoom(msgspec.Struct, frozen=True):
    """Give back what the task took of its instance, then clear ``charged`` (``room_freed``)."""

    instance: str  # ARN
    taken: Taken


Effect = DeleteInterface | FreeRoom


def step(task: Task, now: float) -> Task | Effect | None:
    """The task one step on, or what must be done first, or None where only time, its node or a caller moves it on."""
    if task.last_status < TaskStatus.DEACTIVATING:
        if not must_stop(task):
            return _towards_running(task, now)
        if task.desired_status == "RUNNING":
            code, reason = _stop_cause(task)
            return _condemned(task, code, reason, now)
        return _out_of_running(task, now)
    return _towards_stopped(task, now)


def request_stop(task: Task, code: str, reason: str, now: float) -> Task:
    """The task with desiredStatus STOPPED; unchanged where it has that already."""
    return task if task.desired_status == "STOPPED" else _condemned(task, code, reason[:REASON_LENGTH], now)


def without_tags(task: Task) -> Task:
    """StopTask takes a task's tags away."""
    return replace(task, tags={})


def lose(task: Task, now: float, code: str = "InfrastructureHealth", reason: str = LOST_REASON) -> Task:
    """The task of a node that was given up, or that was deregistered: it ends without the node's word."""
    if task.lost or task.node_status == NodeStatus.STOPPED:
        return task
    return _changed(request_stop(task, code, reason, now), lost=True)


def placed(task: Task, instance: str, zone: str | None, gpus: tuple[str, ...], now: float) -> Task:
    """The task on its instance (an ARN). One that doesn't pass through PROVISIONING is PENDING from then on."""
    zone = task.availability_zone or zone
    task = replace(task, instance=instance, charged=True, availability_zone=zone, gpus=gpus)
    return task if provisioned(task) else replace(task, last_status=TaskStatus.PENDING, connected_at=now)


def handed(task: Task) -> Task:
    """The task once its node has acknowledged it."""
    return _changed(task, node_status=NodeStatus.HANDED) if task.node_status == NodeStatus.NONE else task


def interface_deleted(task: Task) -> Task:
    return _changed(task, attachments=tuple(_with_status(a, "DELETED") for a in task.attachments))


def room_freed(task: Task) -> Task:
    return replace(task, charged=False)


def reported(task: Task, report: TaskReport, now: float) -> Task:
    """The task with a node's report folded in. A late, repeated or out-of-order report changes nothing."""
    if task.node_status == NodeStatus.STOPPED:
        return task
    said = max(task.node_status, _NODE_STATUS.get(report.status, NodeStatus.HANDED))
    if task.last_status == TaskStatus.STOPPED:  # a lost node is back: all that matters is that it is really over
        return replace(task, node_status=said) if said == NodeStatus.STOPPED else task
    containers = _fold_containers(task.containers, report.containers)
    changes: dict[str, Any] = {
        "node_status": said,
        "containers": containers,
        "attachments": _fold_attachments(task.attachments, report.attachments),
        "pull_started_at": _first(task.pull_started_at, _within(task.created_at, report.pull_started_at, now)),
        "pull_stopped_at": _first(task.pull_stopped_at, _within(task.created_at, report.pull_stopped_at, now)),
        "execution_stopped_at": _first(
            task.execution_stopped_at, _within(task.started_at or task.created_at, report.execution_stopped_at, now)
        ),
    }
    if report.reason:
        changes["node_reason"] = report.reason[:REASON_LENGTH]
    if changes["execution_stopped_at"] is None and any(c.essential and c.ran and _over(c) for c in containers):
        changes["execution_stopped_at"] = now
    if all(getattr(task, name) == value for name, value in changes.items()):
        return task
    return _changed(task, **changes)


def health_told(task: Task, statuses: Mapping[str, str]) -> Task:
    """The task with what its node told of its containers' health, by name. A container that is over keeps the last."""
    told: Mapping[str, HealthStatus] = {name: _HEALTH[s] for name, s in statuses.items() if s in _HEALTH}
    containers = tuple(c if _over(c) else replace(c, health=told.get(c.name, c.health)) for c in task.containers)
    return task if containers == task.containers else _changed(task, containers=containers)


def ran(task: Task) -> bool:
    """Whether the task has been RUNNING: a process of it was started, and nothing that it needs failed to start."""
    if task.started_at is not None:
        return True
    return any(c.ran for c in task.containers) and _failure(task) is None


def gone(task: Task) -> bool:
    """Whether nothing of it runs any more, as far as will ever be known."""
    return task.instance is None or task.lost or task.node_status == NodeStatus.STOPPED


def must_stop(task: Task) -> bool:
    """Whether it is to end, or its end was told already: its desiredStatus may still be RUNNING then."""
    if task.desired_status == "STOPPED" or task.node_status == NodeStatus.STOPPED:
        return True
    for container in task.containers:  # noqa: SIM110 (asked more often than anything else)
        if container.status == "STOPPED" and container.essential:
            return True
    return False


def provisioned(task: Task) -> bool:
    """Whether it passes through PROVISIONING, ACTIVATING and DEPROVISIONING."""
    return task.launch_type == "FARGATE" or task.interface is not None


def _towards_running(task: Task, now: float) -> Task | None:
    running = task.node_status >= NodeStatus.RUNNING or (must_stop(task) and ran(task))
    match task.last_status:
        case TaskStatus.PROVISIONING if task.node_status >= NodeStatus.HANDED:
            return _changed(task, last_status=TaskStatus.PENDING, connected_at=now)
        case TaskStatus.PENDING if running and provisioned(task):
            attached = tuple(_with_status(a, "ATTACHED") for a in task.attachments)
            return _changed(task, last_status=TaskStatus.ACTIVATING, attachments=attached)
        case TaskStatus.PENDING | TaskStatus.ACTIVATING if running:
            # One that is over already was started before it ended.
            return _changed(task, last_status=TaskStatus.RUNNING, started_at=min(now, task.execution_stopped_at or now))
    return None


def _out_of_running(task: Task, now: float) -> Task | Effect | None:
    """A task that shall stop and has not begun to: one that ran is RUNNING first, one that didn't is through."""
    if task.last_status == TaskStatus.RUNNING:
        return _changed(task, last_status=TaskStatus.DEACTIVATING)
    handed_over = task.last_status == TaskStatus.PROVISIONING and task.node_status >= NodeStatus.HANDED
    if handed_over or ran(task):
        return _towards_running(task, now)
    return _ended(task, now) if gone(task) else None


def _towards_stopped(task: Task, now: float) -> Task | Effect | None:
    match task.last_status:
        case TaskStatus.DEACTIVATING:
            return _changed(task, last_status=TaskStatus.STOPPING)
        case TaskStatus.STOPPING:
            return _ended(task, now) if gone(task) else None
        case TaskStatus.DEPROVISIONING if task.interface_id:
            return DeleteInterface(task.interface_id)
    if room := _room(task):
        return room
    return None if task.last_status == TaskStatus.STOPPED else _stopped(task, now)


def _ended(task: Task, now: float) -> Task | Effect:
    """Its containers are over: on to taking down what was made for it. Its room is free as soon as it is STOPPED."""
    containers = tuple(c if _over(c) else replace(c, status="STOPPED") for c in task.containers)
    execution = task.execution_stopped_at or (now if task.started_at is not None else None)
    task = replace(task, containers=containers, execution_stopped_at=execution)
    if provisioned(task):
        return _changed(task, last_status=TaskStatus.DEPROVISIONING)
    return _room(task) or _stopped(task, now)


def _room(task: Task) -> FreeRoom | None:
    """What it takes of its instance, once its node has nothing of it any more."""
    if task.charged and task.instance and task.node_status == NodeStatus.STOPPED:
        return FreeRoom(task.instance, task.taken)
    return None


def _stopped(task: Task, now: float) -> Task:
    return _changed(task, last_status=TaskStatus.STOPPED, stopped_at=now, wake_at=now + STOPPED_TASK_SECONDS)


def _stop_cause(task: Task) -> tuple[str, str]:
    """stopCode and stoppedReason of a task that ends by itself."""
    if not ran(task):
        failure = _failure(task)
        detail = (failure.reason if failure else None) or task.node_reason
        return "TaskFailedToStart", detail if detail and task.launch_type == "FARGATE" else "Task failed to start"
    observed = any(c.essential and c.exit_code is not None for c in task.containers)
    if task.node_reason and not observed:  # no exit was seen: the node itself went down under it
        return "TerminationNotice", task.node_reason
    return "EssentialContainerExited", "Essential container in task exited"


def _failure(task: Task) -> Container | None:
    """A container that failed to start, an essential one if there is any."""
    failed = [c for c in task.containers if _over(c) and not c.ran and c.reason]
    return next((c for c in failed if c.essential), failed[0] if failed else None)


def _fold_containers(known: tuple[Container, ...], told: tuple[ContainerReport, ...]) -> tuple[Container, ...]:
    by_name = {r.container_name: r for r in told}
    return tuple(_fold_container(c, by_name[c.name]) if c.name in by_name else c for c in known)


def _fold_container(known: Container, told: ContainerReport) -> Container:
    if _over(known):
        return known
    over = told.status == "STOPPED"
    forward = _CONTAINER_ORDER.get(told.status, 0) > _CONTAINER_ORDER[known.status]
    return replace(
        known,
        status=told.status if forward else known.status,
        ran=known.ran or told.status == "RUNNING" or (over and _exited(told)),
        runtime_id=known.runtime_id or told.runtime_id,
        image_digest=known.image_digest or told.image_digest,
        bindings=known.bindings or tuple(map(msgspec.to_builtins, told.network_bindings)),
        exit_code=told.exit_code if over else known.exit_code,
        reason=(told.reason[:REASON_LENGTH] if told.reason else None) if over else known.reason,
    )


def _exited(told: ContainerReport) -> bool:
    return told.exit_code is not None and not (told.reason or "").startswith(_NEVER_STARTED)


def _fold_attachments(known: tuple[Attachment, ...], told: tuple[dict[str, Any], ...]) -> tuple[Attachment, ...]:
    ids = {str(t.get("attachmentArn", "")).rpartition("/")[2] for t in told if t.get("status") == "ATTACHED"}
    return tuple(_with_status(a, "ATTACHED") if a.id in ids and a.status == "PRECREATED" else a for a in known)


def _with_status(attachment: Attachment, status: Any) -> Attachment:
    return attachment if attachment.status == status else replace(attachment, status=status)


def _over(container: Container) -> bool:
    return container.status == "STOPPED"


def _first(known: float | None, told: float | None) -> float | None:
    return told if known is None else known


def _within(first: float, told: float | None, now: float) -> float | None:
    """A time that a node told, by the control plane's clock: not before what came before it, not in the future."""
    return None if told is None else min(max(told, first), now)


def _condemned(task: Task, code: str, reason: str, now: float) -> Task:
    return _changed(task, desired_status="STOPPED", stop_code=code, stopped_reason=reason, stopping_at=now)


def _changed(task: Task, **changes: Any) -> Task:
    return replace(task, version=task.version + 1, **changes)
