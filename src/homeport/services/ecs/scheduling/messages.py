"""What services tell in their events, in ECS's words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SHOWN_TASKS = 10  # task ids in one message, at most


def started(service: str, tasks: Sequence[str], replaced: int = 0) -> str:
    tail = f" Amazon ECS replaced {replaced} tasks due to an unhealthy status." if replaced else ""
    return f"(service {service}) has started {len(tasks)} tasks: {_ids(tasks)}.{tail}"


def stopped(service: str, tasks: Sequence[str]) -> str:
    return f"(service {service}) has stopped {len(tasks)} running tasks: {_ids(tasks)}."


def stopped_pending(service: str, count: int) -> str:
    return f"(service {service}) stopped {count} pending tasks."


def steady(service: str) -> str:
    return f"(service {service}) has reached a steady state."


def completed(service: str, deployment: str) -> str:
    return f"(service {service}) (deployment {deployment}) deployment completed."


def failed(service: str, deployment: str) -> str:
    return f"(service {service}) (deployment {deployment}) deployment failed: tasks failed to start."


def rolling_back(service: str, deployment: str) -> str:
    return f"(service {service}) rolling back to deployment {deployment}."


def impaired(service: str) -> str:
    return f"(service {service}) is unable to consistently start tasks successfully."


def unplaced(service: str, why: str) -> str:
    """``why``: the text of a ``Refusal``."""
    return f"(service {service}) {why}"


def could_not_launch(service: str, count: int, deployment: str) -> str:
    return f"(service {service}) could not launch {count} tasks for deployment {deployment}."


def launch_failed(service: str, error: str) -> str:
    return f"(service {service}) failed to launch a task with (error {error})."


def no_room_to_move(service: str) -> str:
    return (
        f"(service {service}) was unable to stop or start tasks during a deployment because of the service deployment "
        "configuration. Update the minimumHealthyPercent or maximumPercent value and try again."
    )


def protected(service: str, task_set: str, count: int) -> str:
    return (
        f"(service {service}) was unable to reach steady state because (taskSet {task_set}) was unable to scale in due "
        f"to (reason {count} tasks under protection)"
    )


def of_set(service: str, task_set: str) -> str:
    """What to say for ``service`` above where something is about one of its task sets (``ecs-svc/…``)."""
    return f"{service}, taskSet {task_set}"


def computed(service: str, task_set: str, count: int) -> str:
    return f"(service {service}) updated computedDesiredCount for taskSet {task_set} to {count}."


def set_steady(service: str, task_set: str) -> str:
    return f"(service {service}, taskSet {task_set}) updated state to STEADY_STATE."


def constraint_violated(service: str, tasks: Sequence[str]) -> str:
    """Of daemons (inferred)."""
    return f"(service {service}) {_ids(tasks)} no longer meets the placement constraints of the service."


def _balance(zones: Mapping[str, int]) -> str:
    return ", ".join(f"{count} tasks in {zone}" for zone, count in zones.items())


def balanced(service: str, zones: Mapping[str, int]) -> str:
    return f"(service {service}) is AZ balanced with {_balance(zones)}."


def unbalanced(service: str, zones: Mapping[str, int]) -> str:
    return f"(service {service}) is not AZ balanced with {_balance(zones)}. AZ Rebalancing in progress."


def started_in(service: str, zone: str, tasks: Sequence[str]) -> str:
    return f"(service {service}) has started {len(tasks)} tasks in {zone} to AZ Rebalance: {_ids(tasks)}."


def stopped_in(service: str, zone: str, tasks: Sequence[str]) -> str:
    return f"(service {service}) has stopped {len(tasks)} running tasks in {zone} due to AZ rebalancing: {_ids(tasks)}."


def not_placed_in(service: str, zone: str, *, instances: bool) -> str:
    """``instances``: it was container instances that were asked."""
    why = " because no container instance met all of its requirements" if instances else ""
    return f"(service {service}) is unable to place a task in {zone}{why}."


def rebalancing_stopped(service: str) -> str:
    return f"(service {service}) stopped AZ Rebalancing."


def in_progress(deployment: str) -> str:
    """A deployment's rolloutStateReason."""
    return f"ECS deployment {deployment} in progress."


def is_completed(deployment: str) -> str:
    """A deployment's rolloutStateReason."""
    return f"ECS deployment {deployment} completed."


FAILED_TO_START = "ECS deployment circuit breaker: tasks failed to start."


def returning(deployment: str) -> str:
    """A deployment's rolloutStateReason while a rollback goes to it; ``deployment`` is the one that it goes to."""
    return f"ECS deployment circuit breaker: rolling back to deploymentId {deployment}."


def given_up(deployment: str) -> str:
    """A deployment's rolloutStateReason once its rollback was asked for (inferred)."""
    return f"ECS deployment {deployment} stopped: a rollback was requested."


def scaling(owner: str) -> str:
    """The stoppedReason of tasks that a deployment (``ecs-svc/…``) doesn't want any more."""
    return f"Scaling activity initiated by (deployment {owner})"


UNHEALTHY = "Task failed container health checks"  # a stoppedReason
CONSTRAINT = "Task no longer meets the placement constraints of the service"  # a stoppedReason (inferred)


def _ids(tasks: Sequence[str]) -> str:
    shown = " ".join(f"(task {id})" for id in tasks[:SHOWN_TASKS])
    return f"{shown} ..." if len(tasks) > SHOWN_TASKS else shown
