"""Fargate Spot taking a task's capacity back: provoked by ``homeport interrupt``, for no Homeport runs out of it."""

from __future__ import annotations

from homeport.core.errors import invalid_parameter
from homeport.services.ecs import capacity, effects, lifecycle
from homeport.services.ecs.model.task import Task
from homeport.store import Scope, Tx

REASON = "Your Spot Task was interrupted."


def interrupt(tx: Tx, scope: Scope, task: Task) -> Task:
    """Asks the task to stop as an interruption does: its containers get SIGTERM, then their stopTimeout (at most two
    minutes on Fargate). Raises InvalidParameterException for a task that isn't on Fargate Spot, or stops already."""
    if task.capacity_provider != capacity.SPOT:
        provider = task.capacity_provider or f"the launch type {task.launch_type}"
        raise invalid_parameter(f"Only tasks on {capacity.SPOT} can be interrupted; this one runs on {provider}.")
    if task.desired_status == "STOPPED":
        raise invalid_parameter(f"The task stops already: {task.stopped_reason}")
    interrupted = lifecycle.request_stop(task, "SpotInterruption", REASON, tx.now)
    effects.save(tx, scope, task, interrupted)
    return interrupted
