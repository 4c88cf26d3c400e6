"""Finding tasks, and stopping all of them."""

from __future__ import annotations

from homeport.aws.operations import Principal
from homeport.core import arn
from homeport.core.errors import AwsError, access_denied, invalid_parameter
from homeport.services.ecs import effects, lifecycle, names, rooms
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.task import TASKS, Task
from homeport.store import Scope, Tx, View


def not_found() -> AwsError:
    return invalid_parameter("The referenced task was not found.")


def find(view: View, scope: tuple[str, str], cluster: Cluster, text: str) -> Task | None:
    """The cluster's task that ``text`` names by id or ARN. Raises InvalidParameterException for an ARN of something
    else."""
    name = names.local(scope, "task", text)
    if name is None:
        return None
    named_cluster, _, id = name.rpartition("/")
    task = view.get(TASKS, scope, id)
    if task is None or (named_cluster and named_cluster != cluster.name):
        return None
    return task if belongs(task, cluster) else None


def of_node(view: View, scope: tuple[str, str], principal: Principal, text: str) -> tuple[Scope, Task]:
    """The task, with its scope: it must be on an instance of the caller's. A node's tasks are of any account and
    region; a bare id is of ``scope``. Raises InvalidParameterException, AccessDeniedException."""
    place = arn.parse(text)
    found_in = Scope(place.account, place.region) if place else Scope(*scope)
    task = view.get(TASKS, found_in, text.rpartition("/")[2])
    if task is None:
        raise not_found()
    found = rooms.instance(view, task.instance) if task.instance else None
    if found is None or not rooms.owns(principal, found[1], found_in):
        raise access_denied(f"The task {task.arn} does not run on an instance of {principal.arn}.")
    return found_in, task


def belongs(task: Task, cluster: Cluster) -> bool:
    """Whether it runs in this cluster, and not in a deleted one of the same name."""
    return (task.cluster_arn, task.cluster_generation) == (cluster.arn, cluster.generation)


def arn_of(cluster: Cluster, text: str) -> str:
    """The ARN that a caller's id or ARN of a task stands for."""
    return text if text.startswith("arn:") else f"{cluster.arn.replace(':cluster/', ':task/', 1)}/{text}"


def service_of(task: Task) -> str | None:
    """The name of the service that it belongs to; None for a standalone task. (No other task can have such a group.)"""
    kind, _, name = task.group.partition(":")
    return name if kind == "service" else None


def stop_all(tx: Tx, reason: str) -> int:
    """Asks every unfinished task to stop; returns how many were asked."""
    asked = 0
    for scope, task in unfinished_tasks(tx):
        stopping = lifecycle.request_stop(task, "UserInitiated", reason, tx.now)
        effects.save(tx, scope, task, stopping)
        asked += stopping is not task
    return asked


def unfinished(view: View, *, reached: bool = False) -> int:
    """How many tasks are not STOPPED yet; ``reached``: without those on machines whose agent isn't connected."""
    found = unfinished_tasks(view)
    return sum(_reached(view, task) for _, task in found) if reached else len(found)


def _reached(view: View, task: Task) -> bool:
    """Whether somebody is there to stop it."""
    if task.instance is None:
        return True
    found = rooms.instance(view, task.instance)
    return found is not None and found[1].connected


def unfinished_tasks(view: View) -> list[tuple[Scope, Task]]:
    return view.find_global(TASKS, "unfinished", True)
