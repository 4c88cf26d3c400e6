"""What the control plane is told about a task, as data. Pure.

Reports are the difference between what is known and what was acknowledged, one step forward at a time: a container
that started and ended before anyone could tell is first reported RUNNING, then STOPPED.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from homeport.agent.actions import Pull
from homeport.agent.plan import Container, Facts, TaskGoal, TaskSeen, ended, network_gone
from homeport.agentapi import ContainerReport, TaskReport

_STEPS = ("PENDING", "RUNNING", "STOPPED")
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
VANISHED = "ContainerVanishedError: The runtime lost the container; its exit code is unknown"


class Acknowledged(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the control plane has confirmed: status of the task and of its containers (absent: PENDING), whether it
    knows that the interface is attached, and of which containers it knows the images' digests ahead of their start."""

    task: str = "PENDING"
    containers: dict[str, str] = {}
    attached: bool = False
    resolved: tuple[str, ...] = ()


def next_report(goal: TaskGoal, seen: TaskSeen, known: Acknowledged) -> TaskReport | None:
    """The next report to send, or None when the control plane knows everything.

    A change is reported at once; the interface travels with the next change, unless a pull keeps that waiting.
    STOPPED is said of a task only once nothing of it runs and its addresses are free on this node.
    """
    if known.task == "STOPPED":
        return None
    facts, over = seen.facts, ended(goal, seen)
    containers = tuple(
        _container(goal, facts, name, status)
        for name, c in facts.containers.items()
        if (status := _next(known.containers.get(name, "PENDING"), _target(c, over), c.started)) is not None
    )
    containers = (*containers, *_early(goal, facts, known, {c.container_name for c in containers}))
    status = _task_status(goal, seen, known, containers)
    pulling = any(isinstance(action, Pull) for action in seen.busy.values())
    attached = goal.spec.interface is not None and facts.network == "attached" and not known.attached
    if not containers and status == known.task and not (attached and pulling):
        return None
    return TaskReport(
        cluster=goal.cluster,
        task=goal.arn,
        status=status,
        reason=facts.failure,  # from the first report on: a container's end alone tells another story
        containers=containers,
        attachments=_attachments(goal) if attached else (),
        pull_started_at=facts.pull_started_at,
        pull_stopped_at=facts.pull_stopped_at,
        execution_stopped_at=_execution_stopped_at(goal, facts, over),
    )


def acknowledge(known: Acknowledged, report: TaskReport) -> Acknowledged:
    """What is known after the control plane has taken (or for good refused) a report."""
    return Acknowledged(
        task=report.status,
        containers={**known.containers, **{c.container_name: c.status for c in report.containers if _moved(c)}},
        attached=known.attached or bool(report.attachments),
        resolved=(*known.resolved, *(c.container_name for c in report.containers if not _moved(c))),
    )


def reason(container: Container) -> str | None:
    """ECS's ``reason`` of a container: ``<ErrorName>: <text>``."""
    if container.error is not None:
        return container.error
    if container.oom:
        return OUT_OF_MEMORY
    return VANISHED if container.state == "lost" else None


def runtime_id(goal: TaskGoal, name: str) -> str:
    """The runtime's id of a container: ``<task id>-<number>``, as on Fargate."""
    return f"{goal.task_id}-{[c.name for c in goal.spec.containers].index(name)}"


def _target(c: Container, over: bool) -> str:
    if c.state == "failed" and c.present and not over:
        return "PENDING"  # a process may be left of the failed start
    if c.over or over:
        return "STOPPED"
    return "RUNNING" if c.started else "PENDING"


def _next(known: str, target: str, through_running: bool) -> str | None:
    """The status to report next on the way from ``known`` to ``target``; None: nothing new. Never backwards."""
    if _STEPS.index(target) <= _STEPS.index(known):
        return None
    return "RUNNING" if known == "PENDING" and through_running else target


def _task_status(goal: TaskGoal, seen: TaskSeen, known: Acknowledged, now: tuple[ContainerReport, ...]) -> str:
    facts = seen.facts.containers
    all_started = any(c.started for c in facts.values()) and all(  # one that isn't essential may have failed to
        facts[spec.name].started or (facts[spec.name].over and not spec.essential) for spec in goal.spec.containers
    )
    stopped = ended(goal, seen) and network_gone(goal, seen)
    target = (
        "STOPPED" if stopped and all(c.status == "STOPPED" for c in now) else "RUNNING" if all_started else "PENDING"
    )
    return _next(known.task, target, all_started) or known.task


def _early(goal: TaskGoal, facts: Facts, known: Acknowledged, told: Collection[str]) -> Iterator[ContainerReport]:
    """Containers that are still PENDING, of images that others wait to know the digests of."""
    if goal.spec.first:
        for name, c in facts.containers.items():
            if name not in (*told, *known.containers, *known.resolved) and _digest(c) is not None:
                yield _container(goal, facts, name, "PENDING")


def _moved(told: ContainerReport) -> bool:
    return told.status != "PENDING"


def _digest(container: Container) -> str | None:
    return container.image.digest if container.image else container.digest


def _container(goal: TaskGoal, facts: Facts, name: str, status: str) -> ContainerReport:
    c, stopped = facts.containers[name], status == "STOPPED"
    return ContainerReport(
        container_name=name,
        status=status,
        runtime_id=runtime_id(goal, name) if c.started or c.state == "created" else None,
        exit_code=c.exit_code if stopped else None,
        reason=reason(c) if stopped else None,
        image_digest=_digest(c),
        network_bindings=facts.networks[name].bindings if c.started and name in facts.networks else (),
    )


def _attachments(goal: TaskGoal) -> tuple[dict[str, str], ...]:
    interface = goal.spec.interface
    return ({"attachmentArn": interface.attachment_arn, "status": "ATTACHED"},) if interface else ()


def _execution_stopped_at(goal: TaskGoal, facts: Facts, over: bool) -> float | None:
    essential = (facts.containers[spec.name] for spec in goal.spec.containers if spec.essential)
    return min((c.finished_at for c in essential if (c.over or over) and c.finished_at is not None), default=None)
