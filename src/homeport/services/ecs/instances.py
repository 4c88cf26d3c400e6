"""Container instances of clusters: finding them, what runs there, and their end."""

from __future__ import annotations

from msgspec.structs import replace

from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import effects, lifecycle, names, rooms
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.instance import INSTANCES, ROOMS, Instance
from homeport.services.ecs.model.task import TASKS
from homeport.store import Key, Tx, View

KEPT_SECONDS = 3600.0  # how long a deregistered instance can still be described, as deleted clusters
DEREGISTERED_REASON = "Container instance deregistration forced by user"


def not_found() -> AwsError:
    return invalid_parameter("The referenced container instance was not found.")


def find(view: View, scope: tuple[str, str], cluster: Cluster, text: str) -> Instance | None:
    """The cluster's instance, of whatever status, that ``text`` names by id or ARN. Raises InvalidParameterException
    for an ARN of something else."""
    name = names.local(scope, "container-instance", text)
    if name is None:
        return None
    named_cluster, _, id = name.rpartition("/")
    if named_cluster and named_cluster != cluster.name:
        return None
    instance = view.get(INSTANCES, scope, id)
    return instance if instance is not None and belongs(instance, cluster) else None


def find_registered(view: View, scope: tuple[str, str], cluster: Cluster, text: str) -> Instance:
    """The same; raises InvalidParameterException where there is none, or only one that was deregistered."""
    instance = find(view, scope, cluster, text)
    if instance is None:
        raise not_found()
    if instance.status == "INACTIVE":
        raise invalid_parameter("The referenced container instance is inactive.")
    return instance


def belongs(instance: Instance, cluster: Cluster) -> bool:
    """Whether it is of this cluster, and not of a deleted one of the same name, which left none but inactive ones."""
    left_over = instance.deregistered_at is not None and instance.deregistered_at < cluster.created_at
    return instance.cluster_arn == cluster.arn and not left_over


def of_cluster(view: View, scope: tuple[str, str], cluster: Cluster, status: str | None = None) -> list[Instance]:
    """Those with this status, by id; without one all but INACTIVE ones."""
    if status is not None:
        return view.find(INSTANCES, scope, "cluster_status", (cluster.arn, status))
    return [i for i in view.find(INSTANCES, scope, "cluster", cluster.arn) if i.status != "INACTIVE"]


def arn_of(cluster: Cluster, text: str) -> str:
    """The ARN that a caller's id or ARN of an instance stands for."""
    return text if text.startswith("arn:") else f"{cluster.arn.replace(':cluster/', ':container-instance/', 1)}/{text}"


def deregister(tx: Tx, scope: tuple[str, str], instance: Instance) -> Instance:
    """The instance as INACTIVE. What runs there is nobody's any more: its tasks are over as far as the cluster knows,
    though their containers go on until their agent is told otherwise. Tasks of services are replaced elsewhere by
    their scheduler, which sees them stop."""
    for task_scope, task in rooms.tasks(tx, instance):
        orphan = lifecycle.lose(task, tx.now, "UserInitiated", DEREGISTERED_REASON)
        effects.save(tx, task_scope, task, lifecycle.room_freed(orphan))
    for task_scope, task in tx.find_global(TASKS, "leaving", instance.arn):
        tx.put(TASKS, task_scope, lifecycle.room_freed(task))
    tx.delete(ROOMS, scope, instance.id)
    inactive = replace(
        instance,
        status="INACTIVE",
        tags={},
        token=None,
        deregistered_at=tx.now,
        wake_at=tx.now + KEPT_SECONDS,
        version=instance.version + 1,
    )
    tx.put(INSTANCES, scope, inactive)
    return inactive


def forget(tx: Tx, key: Key) -> None:
    """Deletes a deregistered instance whose ``wake_at`` has come."""
    instance = tx.get(INSTANCES, key.scope, key.id)
    if instance is not None and instance.status == "INACTIVE":
        tx.delete(INSTANCES, key.scope, key.id)
