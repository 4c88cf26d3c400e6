"""What is wrong with a task as it was sent. Pure."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from homeport.agent.mounting import lenders
from homeport.agentapi import TaskSpec


def defect(spec: TaskSpec, arn: str) -> str | None:
    """Why a task can't be run as it was sent, or None. The control plane has checked the same before; an agent that
    trusted it would wait for ever for a container that waits for itself."""
    if not spec.containers:
        return "UnrecognizedTaskError: Error loading task - the task has no containers"
    needs = {c.name: {*(d.container_name for d in c.depends_on), *lenders(c)} for c in spec.containers}
    if len(needs) < len(spec.containers):
        return "UnrecognizedTaskError: Error loading task - two containers have the same name"
    try:
        known = set(TopologicalSorter(needs).static_order()) == needs.keys()
    except CycleError:
        known = False
    return None if known else unresolved(arn)


def unresolved(arn: str) -> str:
    """Why a task fails that has a container whose dependencies can't be met."""
    return f"TaskDependencyError: Task dependencies cannot be resolved, taskArn: {arn}"
