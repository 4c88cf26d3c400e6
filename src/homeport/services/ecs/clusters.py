"""Finding clusters, and what is counted in them."""

from __future__ import annotations

from collections import Counter

import msgspec

from homeport.core import arn
from homeport.core.errors import AwsError
from homeport.services.ecs import names
from homeport.services.ecs.model.cluster import CLUSTERS, Cluster
from homeport.services.ecs.model.instance import INSTANCES
from homeport.services.ecs.model.service import SERVICES, ServiceStatus
from homeport.services.ecs.model.task import TASKS, TaskStatus
from homeport.store import View

DEFAULT = "default"  # the cluster that is meant where none is named
KEPT_SECONDS = 3600.0  # how long a deleted cluster can still be described


class ClusterCounts(msgspec.Struct, frozen=True):
    """How much of each a cluster holds. ``pending`` are tasks on their way to RUNNING, ``ending`` those on their way to
    STOPPED; stopped ones don't count. ``services`` are ACTIVE ones, ``draining`` those that were deleted but have tasks
    still."""

    instances: int = 0
    running: int = 0
    pending: int = 0
    ending: int = 0
    services: int = 0
    draining: int = 0


_PENDING = (TaskStatus.PROVISIONING, TaskStatus.PENDING, TaskStatus.ACTIVATING)
_ENDING = (TaskStatus.DEACTIVATING, TaskStatus.STOPPING, TaskStatus.DEPROVISIONING)
_REGISTERED = ("ACTIVE", "DRAINING")  # container instances that belong to the cluster still


def cluster_arn(scope: tuple[str, str], name: str) -> str:
    account, region = scope
    return arn.arn("ecs", region, account, f"cluster/{name}")


def not_found() -> AwsError:
    return AwsError("ClusterNotFoundException", "Cluster not found.")


def newest(view: View, scope: tuple[str, str], name: str) -> Cluster | None:
    """The cluster of that name: of several, only the last made can be ACTIVE."""
    return max(view.find(CLUSTERS, scope, "name", name), key=lambda c: c.generation, default=None)


def find(view: View, scope: tuple[str, str], name_or_arn: str | None) -> Cluster | None:
    """The ACTIVE cluster, or else one that was deleted less than ``KEPT_SECONDS`` ago. Raises
    InvalidParameterException for an ARN of something else."""
    name = names.local(scope, "cluster", name_or_arn or DEFAULT)
    cluster = newest(view, scope, name) if name is not None else None
    return None if cluster is None or expired(cluster, view.now) else cluster


def find_active(view: View, scope: tuple[str, str], name_or_arn: str | None) -> Cluster:
    """The ACTIVE cluster that a caller means (None: ``default``). Raises ClusterNotFoundException."""
    cluster = find(view, scope, name_or_arn)
    if cluster is None or cluster.status != "ACTIVE":
        raise not_found()
    return cluster


def expired(cluster: Cluster, now: float) -> bool:
    """Whether it was deleted so long ago that it is forgotten."""
    return cluster.deleted_at is not None and now - cluster.deleted_at >= KEPT_SECONDS


def counts(view: View, scope: tuple[str, str], arn: str) -> ClusterCounts:
    """What the cluster holds, by the indexes alone."""

    def tasks(*statuses: TaskStatus) -> int:
        return sum(view.count(TASKS, scope, "cluster_status", (arn, status.name)) for status in statuses)

    return ClusterCounts(
        instances=sum(view.count(INSTANCES, scope, "cluster_status", (arn, status)) for status in _REGISTERED),
        running=tasks(TaskStatus.RUNNING),
        pending=tasks(*_PENDING),
        ending=tasks(*_ENDING),
        services=view.count(SERVICES, scope, "cluster", (arn, "ACTIVE")),
        draining=view.count(SERVICES, scope, "cluster", (arn, "DRAINING")),
    )


def launch_types(view: View, scope: tuple[str, str], arn: str) -> tuple[Counter[str], Counter[str]]:
    """How many tasks of each launch type run, and how many are pending. Reads each of those tasks."""

    def tasks(*statuses: TaskStatus) -> Counter[str]:
        found = (view.find(TASKS, scope, "cluster_status", (arn, status.name)) for status in statuses)
        return Counter(task.launch_type for some in found for task in some)

    return tasks(TaskStatus.RUNNING), tasks(*_PENDING)


def service_launch_types(view: View, scope: tuple[str, str], arn: str, status: ServiceStatus) -> Counter[str]:
    """How many services of a status run tasks of each launch type; those with task sets alone aren't of any."""
    found = view.find(SERVICES, scope, "cluster", (arn, status))
    return Counter(service.configuration.runs_on for service in found if service.configuration is not None)
