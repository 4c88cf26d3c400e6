"""What must hold of services at every commit. As in ``invariants``: pure functions that return what is wrong, or None,
and whose name is the invariant's. They know of the scheduler's code no more than ECS's words: its records and texts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from homeport.services.ecs.model.deployment import (
    Configuration,
    Deployment,
    Revision,
    ServiceDeployment,
    ServiceDeploymentStatus,
)
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import Task, TaskStatus

UNCHECKED_SECONDS = 40.0  # after which a task without a check counts as healthy
EVENTS = 100
UNRESOLVED = 3  # tasks that fail without telling their images' digests are too many for any circuit breaker
HELD_SECONDS = 600.0
ROUNDS, HELD_LEAST = 15, 4  # starts of all tasks in so long, at most, with pauses that double from a second on
STEADY = "has reached a steady state."
STEADY_AGAIN = 6 * 3600.0  # seconds after which a service that stays steady may say so again
SCHEDULER = "ServiceSchedulerInitiated"
UNHEALTHY = "Task failed container health checks"

_RANKS: dict[ServiceDeploymentStatus, int] = {
    "PENDING": 0,
    "IN_PROGRESS": 1,
    "ROLLBACK_REQUESTED": 2,
    "ROLLBACK_IN_PROGRESS": 3,
    "STOP_REQUESTED": 4,  # also of one that is rolled back
    "SUCCESSFUL": 9,
    "STOPPED": 9,
    "ROLLBACK_SUCCESSFUL": 9,
    "ROLLBACK_FAILED": 9,
}
_STARTED = re.compile(r"\(service [^)]*\) has started (\d+) tasks(?: in \S+ to AZ Rebalance)?: (.*?)\.(?: |$)")
_STOPPED = re.compile(r"\(service [^)]*\) has stopped (\d+) running tasks(?: in \S+ due to AZ rebalancing)?: (.*?)\.$")
_TASK = re.compile(r"\(task ([0-9a-f]{32})\)")


# --- a second opinion -------------------------------------------------------------------------------------------------


def lower(desired: int, configuration: Mapping[str, Any]) -> int:
    percent: int = configuration["minimumHealthyPercent"]
    return (desired * percent + 99) // 100


def upper(desired: int, configuration: Mapping[str, Any]) -> int:
    percent: int = configuration["maximumPercent"]
    return desired * percent // 100


def threshold(desired: int, configuration: Mapping[str, Any]) -> int | None:
    """Failures at which the circuit breaker opens; None: it is off."""
    breaker = configuration.get("deploymentCircuitBreaker") or {}
    if not breaker.get("enable"):
        return None
    kind = breaker.get("thresholdConfiguration") or {"type": "BOUNDED_PERCENT", "value": 50}
    if kind["type"] == "COUNT":
        return int(kind["value"])
    share = (desired * int(kind["value"]) + 99) // 100
    return max(1, share) if kind["type"] == "UNBOUNDED_PERCENT" else min(200, max(3, share))


def with_count(service: Service, desired: int, name: str) -> Service:
    """A service that is no more than one of its task sets, or that already has the count that it will have."""
    return replace(service, desired=desired, name=name)


def is_healthy(task: Task, checked: Collection[str], now: float) -> bool:
    """``checked``: its essential containers with a health check. ``now`` by the control plane's clock: one that was set
    back by more than a task without a check takes says nothing of how long it has run."""
    if task.last_status != TaskStatus.RUNNING or task.started_at is None:
        return False
    if not checked:
        return abs(now - task.started_at) >= UNCHECKED_SECONDS
    return all(c.health == "HEALTHY" for c in task.containers if c.name in checked)


def fails(task: Task, checked: Collection[str]) -> bool:
    """Whether one of its checks says so."""
    return any(c.health == "UNHEALTHY" for c in task.containers if c.name in checked)


def unsure(task: Task, checked: Collection[str]) -> bool:
    """Whether one of its checks doesn't say that it is healthy."""
    return any(c.health != "HEALTHY" for c in task.containers if c.name in checked)


# --- bounds -----------------------------------------------------------------------------------------------------------


def never_below_the_lower_bound(service: Service, taken: Collection[str], healthy: Collection[str]) -> str | None:
    """``taken``: ids of healthy tasks that the scheduler stops in one commit, ``healthy`` those that are left."""
    least = lower(service.desired, service.deployment_configuration)
    if not taken or len(healthy) >= least:
        return None
    return f"{service.name} has {len(healthy)} healthy tasks after {sorted(taken)} were stopped, it needs {least}"


def never_above_the_upper_bound(service: Service, made: Collection[str], there: Collection[Task]) -> str | None:
    """``made``: ids of tasks that the scheduler starts in one commit; ``there``: all that aren't STOPPED."""
    most = upper(service.desired, service.deployment_configuration)
    if not made or len(there) <= most:
        return None
    return f"{service.name} has {len(there)} tasks with those just started, it may have {most}"


def no_task_is_stopped_without_need(service: Service, task: Task, wanted: int, left: int) -> str | None:
    """The scheduler stops a task of the deployment that it wants, ``task``, which is neither unhealthy nor on an
    instance that drains. ``left``: those of the deployment that it leaves; ``wanted`` so many."""
    if left >= wanted:
        return None
    return f"{service.name} wants {wanted} tasks, has {left} left and stops {task.id} ({task.stopped_reason})"


def protected_tasks_are_not_scaled_in(task: Task, now: float, *, excused: bool) -> str | None:
    """The scheduler stops ``task``. ``excused``: it is unhealthy, its instance drains, or its service is deleted."""
    if excused or task.protected_until is None or task.protected_until <= now:
        return None
    return f"{task.id} is stopped ({task.stopped_reason}), and is protected for {task.protected_until - now:.0f} s"


def only_its_own_scheduler_stops_a_task(task: Task) -> str | None:
    if task.stop_code == SCHEDULER and not task.group.startswith("service:"):
        return f"{task.id} of {task.group} is stopped by a service's scheduler"
    return None


# --- deployments ------------------------------------------------------------------------------------------------------


def exactly_one_deployment_is_primary(service: Service, shown: Collection[Deployment]) -> str | None:
    primary = [d.id for d in shown if d.role == "PRIMARY"]
    return None if len(primary) == 1 else f"{service.name} has the PRIMARY deployments {primary}"


def the_primary_deployment_is_what_was_asked_for(
    service: Service, primary: Deployment, revision: Revision | None
) -> str | None:
    if revision is not None and revision.configuration == service.configuration:
        return None
    return (
        f"{service.name} shall run {service.configuration}, and {primary.id} runs {revision and revision.configuration}"
    )


def deployments_only_go_forward(old: Deployment, new: Deployment, *, returned: bool) -> str | None:
    """``returned``: a rollback makes it PRIMARY again."""
    if returned:
        return None if old.good else f"{old.id} is returned to, and was never COMPLETED"
    ranks = {"PRIMARY": 0, "ACTIVE": 1, "INACTIVE": 2}
    if ranks[new.role] < ranks[old.role]:
        return f"{old.id} goes from {old.role} to {new.role}"
    if old.rollout != new.rollout and old.rollout != "IN_PROGRESS":
        return f"{old.id} goes from {old.rollout} to {new.rollout}"
    return None


def service_deployments_only_go_forward(old: ServiceDeployment, new: ServiceDeployment) -> str | None:
    if old.status == new.status:
        return None
    finished = _RANKS[old.status] == 9
    if finished or _RANKS[new.status] <= _RANKS[old.status]:
        return f"{old.id} goes from {old.status} to {new.status}"
    ends = {"ROLLBACK_SUCCESSFUL": ("ROLLBACK_IN_PROGRESS",), "SUCCESSFUL": ("PENDING", "IN_PROGRESS")}
    if old.status not in ends.get(new.status, (old.status,)):
        return f"{old.id} goes from {old.status} to {new.status}"
    return None


def a_revision_never_changes(old: Revision, new: Revision) -> str | None:
    if old.configuration == new.configuration and all(new.images.get(n) == d for n, d in old.images.items()):
        return None
    return f"{old.id} was {old.configuration}, {old.images} and is {new.configuration}, {new.images}"


def a_deployment_fails_only_by_its_breaker(
    service: Service, deployment: Deployment, failures: int, *, asked: bool, unresolved: bool = False
) -> str | None:
    """``failures``: all that may count, ever; ``asked``: somebody asked for a rollback; ``unresolved``: no task has
    told which versions its images' tags name, so that three failures are enough."""
    most = threshold(service.desired, service.deployment_configuration)
    if asked or (most is not None and failures >= (min(most, UNRESOLVED) if unresolved else most)):
        return None
    return f"{deployment.id} of {service.name} fails after {failures} failures, its circuit breaker allows {most}"


def a_rollback_returns_to_the_last_good_revision(
    service: Service, primary: Deployment, last_good: tuple[str, str] | None
) -> str | None:
    """``last_good``: ids of the deployment, and of the revision, that was COMPLETED last before this one."""
    if last_good == (primary.id, primary.revision):
        return None
    return f"{service.name} returns to {primary.id} with {primary.revision}, the last good one is {last_good}"


def a_rollback_ends_at_the_last_good_revision(
    ended: ServiceDeployment, primary: Deployment, revision: Revision | None
) -> str | None:
    """``ended``: ROLLBACK_SUCCESSFUL by now."""
    if ended.rollback is not None and ended.rollback.revision == primary.revision and primary.rollout == "COMPLETED":
        return None
    return f"{ended.id} is {ended.status}, and {primary.id} is {primary.rollout} with {revision and revision.id}"


# --- tasks ------------------------------------------------------------------------------------------------------------


def nothing_starts_for_what_is_over(service: Service | None, deployment: Deployment | None, task: Task) -> str | None:
    """``task`` was just made; the others as they are after this commit."""
    if service is None or service.status != "ACTIVE":
        return f"{task.id} starts for {task.group}, which is {service.status if service else 'not there'}"
    if deployment is None or deployment.role == "INACTIVE" or deployment.rollout == "FAILED":
        told = f"{deployment.role} and {deployment.rollout}" if deployment else "not there"
        return f"{task.id} starts for {task.started_by}, which is {told}"
    return None


def nothing_starts_behind_an_open_breaker(service: Service, deployment: Deployment, failures: int) -> str | None:
    """``failures``: tasks that surely count for the circuit breaker, and that the scheduler has taken note of."""
    most = threshold(service.desired, service.deployment_configuration)
    if most is None or failures < most or deployment.rollout != "IN_PROGRESS":  # it watches deployments alone
        return None
    return f"{deployment.id} of {service.name} starts a task after {failures} failures of {most} that are allowed"


def starts_that_fail_are_held_back(service: Service, deployment: Deployment, recent: int) -> str | None:
    """``recent``: its tasks of the last HELD_SECONDS, where none of all ever ran."""
    most = ROUNDS * max(service.desired, HELD_LEAST)
    return f"{deployment.id} of {service.name} has started {recent} tasks, and none ever ran" if recent > most else None


def a_task_is_what_its_revision_says(task: Task, asked: Configuration) -> str | None:
    """``asked``: of the revision, or of the task set."""
    if task.definition_arn != asked.definition_arn or task.launch_type != asked.runs_on:
        return f"{task.id} is of {task.definition_arn} on {task.launch_type}, its revision says {asked}"
    providers = {item["capacityProvider"] for item in asked.capacity_strategy} or {None}
    if task.capacity_provider not in providers:
        return f"{task.id} has the capacity provider {task.capacity_provider}, its revision has {providers}"
    return None


def tags_are_propagated(task: Task, service: Service) -> str | None:
    if service.propagate_tags == "SERVICE" and not service.tags.items() <= task.tags.items():
        return f"{task.id} has the tags {task.tags}, {service.name} has {service.tags}"
    name = task.tags.get("aws:ecs:serviceName")
    return None if name == (service.name if service.managed_tags else None) else f"{task.id} has the tags {task.tags}"


def nothing_of_a_deleted_service_runs_on(service: Service, left: Collection[Task]) -> str | None:
    """``left``: tasks of an INACTIVE service that nobody told to stop."""
    return f"{service.name} is {service.status}, and has {[t.id for t in left]}" if left else None


def counts_equal_what_runs(service: Service, shown: Mapping[str, Any], tasks: Iterable[Task]) -> str | None:
    """``shown``: AWS's Service; ``tasks``: all of the service's."""
    by_owner: dict[str, list[int]] = {}
    for task in tasks:
        count = by_owner.setdefault(task.started_by or "", [0, 0])
        count[0] += task.last_status == TaskStatus.RUNNING
        count[1] += task.last_status < TaskStatus.RUNNING and task.desired_status == "RUNNING"
    due = [sum(c[0] for c in by_owner.values()), sum(c[1] for c in by_owner.values())]
    if [shown["runningCount"], shown["pendingCount"]] != due:
        told = shown["runningCount"], shown["pendingCount"]
        return f"{service.name} shows {told} running and pending tasks, it has {due}"
    for deployment in shown["deployments"]:
        due = by_owner.get(deployment["id"], [0, 0])
        if [deployment["runningCount"], deployment["pendingCount"]] != due:
            told = deployment["runningCount"], deployment["pendingCount"]
            return f"{deployment['id']} shows {told} running and pending tasks, it has {due}"
    return None


# --- events -----------------------------------------------------------------------------------------------------------


def tells_steady(message: str) -> bool:
    """Whether it is about a service, and not about one of its task sets."""
    return message.endswith(STEADY) and "taskSet" not in message


class Told(NamedTuple):
    """What the events of one commit say of tasks: how many, and which (the first ones)."""

    number: int
    ids: tuple[str, ...]


def started(messages: Iterable[str]) -> Told:
    return _read(_STARTED, messages)


def stopped(messages: Iterable[str]) -> Told:
    return _read(_STOPPED, messages)


def _read(pattern: re.Pattern[str], messages: Iterable[str]) -> Told:
    found = [match for message in messages if (match := pattern.match(message)) is not None]
    ids = tuple(id for match in found for id in _TASK.findall(match.group(2)))
    return Told(sum(int(match.group(1)) for match in found), ids)


def what_is_started_is_told(service: str, told: Told, made: Collection[str]) -> str | None:
    if told.number == len(made) and set(told.ids) <= set(made) and (told.ids or not made):
        return None
    return f"{service} starts {sorted(made)} and tells {told}"


def what_is_stopped_is_told(service: str, told: Told, ended: Collection[str]) -> str | None:
    """``ended``: tasks that ran and that the scheduler stops."""
    if told.number == len(ended) and set(told.ids) <= set(ended) and (told.ids or not ended):
        return None
    return f"{service} stops {sorted(ended)} and tells {told}"


def at_most_a_hundred_events_are_kept(service: str, kept: int) -> str | None:
    return f"{service} has {kept} events" if kept > EVENTS else None


def a_steady_state_is_told_once(service: Service, last: float | None, now: float, *, unsteady: bool) -> str | None:
    """It is told now, and was at ``last``. ``unsteady``: it wasn't steady meanwhile."""
    if last is None or unsteady or now - last >= STEADY_AGAIN or now < last:
        return None
    return f"{service.name} tells its steady state again after {now - last:.0f} s"


def a_steady_state_is_true(service: Service, why_not: str | None) -> str | None:
    return f"{service.name} says that it is steady, and {why_not}" if why_not else None


def unsteady(
    service: Service, primary: Deployment | None, tasks: Iterable[Task], healthy: Collection[str]
) -> str | None:
    """Why a service isn't steady. ``tasks``: all of its; ``healthy``: ids. Those that a rebalancing has started beyond
    its count don't matter."""
    there = [t for t in tasks if t.last_status < TaskStatus.STOPPED and t.id not in service.extra]
    own = [t for t in there if primary is not None and t.started_by == primary.name and t.desired_status == "RUNNING"]
    if len(there) != len(own):
        return f"it has {len(there)} tasks, {len(own)} of them wanted"
    if len(own) != service.desired:
        return f"it has {len(own)} of {service.desired} tasks"
    ill = [t.id for t in own if t.id not in healthy]
    return f"{ill} aren't healthy" if ill else None


# --- whose it is ------------------------------------------------------------------------------------------------------


def is_served(task: Task) -> bool:
    """Whether it is a service's."""
    return task.group.startswith("service:")


def service_of(task: Task) -> str:
    """The id of its service."""
    return f"{task.cluster_arn.rpartition('/')[2]}/{task.group.partition(':')[2]}"
