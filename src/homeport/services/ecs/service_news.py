"""Which services a change means something to: what doesn't change a decision wakes nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from homeport.services.ecs import services
from homeport.services.ecs.lifecycle import must_stop
from homeport.services.ecs.model.deployment import DEPLOYMENTS, SERVICE_DEPLOYMENTS
from homeport.services.ecs.model.instance import INSTANCES, Instance, Room
from homeport.services.ecs.model.service import SERVICES
from homeport.services.ecs.model.task import TASKS, Container, NodeStatus, Task, TaskStatus
from homeport.services.ecs.model.task_set import TASK_SETS
from homeport.services.ecs.rooms import ZONE_ATTRIBUTE
from homeport.store import Change, Key, View

# Within so long after a look, more is waited for: tasks that are healthy or tell their images, which deployments wait
# for; and tasks that merely run, which nothing waits for.
GATHER_SECONDS, RUNNING_SECONDS = 0.25, 1.0
_PHASES = {  # of lastStatus, as far as the scheduler tells them apart
    TaskStatus.PROVISIONING: 0,
    TaskStatus.PENDING: 0,
    TaskStatus.ACTIVATING: 0,
    TaskStatus.RUNNING: 1,
    TaskStatus.DEACTIVATING: 2,
    TaskStatus.STOPPING: 3,
    TaskStatus.DEPROVISIONING: 3,
    TaskStatus.STOPPED: 4,
}


def touched(view: View, change: Change) -> Iterator[Key]:
    """The services to look at; of rooms ``freer`` tells."""
    scope, record = change.key.scope, change.new or change.old
    match change.key.kind:
        case SERVICES.kind:
            yield change.key
        case TASKS.kind:
            id = services.id_of(record)
            if id is not None and matters(change.old, change.new):
                yield Key(*scope, SERVICES.kind, id)
            if _left(change.old, change.new):
                yield from _daemons_left(view, change)
        case TASK_SETS.kind | DEPLOYMENTS.kind | SERVICE_DEPLOYMENTS.kind:
            yield Key(*scope, SERVICES.kind, record.service)
        case INSTANCES.kind if _state(change.old) != _state(change.new):
            for task_scope, task in view.find_global(TASKS, "instance", record.arn):
                if (id := services.id_of(task)) is not None:
                    yield Key(*task_scope, SERVICES.kind, id)
            for service in view.find(SERVICES, scope, "daemon", record.cluster_arn):
                yield Key(*scope, SERVICES.kind, service.id)
            if _zone(change.old) != _zone(change.new):
                for at, service in view.find_global(SERVICES, "rebalanced", record.cluster_arn or "FARGATE"):
                    yield Key(*at, SERVICES.kind, service.id)


def _left(old: Task | None, new: Task | None) -> bool:
    """Whether a task's instance has nothing of it any more."""
    if old is None or old.instance is None or old.node_status == NodeStatus.STOPPED:
        return False
    return new is None or new.node_status == NodeStatus.STOPPED


def _daemons_left(view: View, change: Change) -> Iterator[Key]:
    """Daemons stay on an instance that drains until the last other task is gone."""
    scope, task = change.key.scope, change.old
    instance = view.get(INSTANCES, scope, task.instance.rpartition("/")[2])
    if instance is not None and instance.status == "DRAINING":
        for service in view.find(SERVICES, scope, "daemon", instance.cluster_arn):
            yield Key(*scope, SERVICES.kind, service.id)


def matters(old: Task | None, new: Task | None) -> bool:
    """Whether a task's change may change what its service's scheduler decides."""
    if new is None:
        return old is not None and not old.noted
    return old is None or _facts(old) != _facts(new)


def patience(change: Change) -> float:
    """For how long after a look (seconds) what changed can wait for the next one: tasks that come up are mostly not
    alone. Nothing else can."""
    old, new = change.old, change.new
    if change.key.kind != TASKS.kind or old is None or new is None or must_stop(new):
        return 0.0
    if (old.instance, old.protected_until) != (new.instance, new.protected_until):
        return 0.0
    containers = list(zip(old.containers, new.containers, strict=True))
    if any(now.health == "UNHEALTHY" != was.health for was, now in containers):
        return 0.0
    if any(now.health != was.health or _told(new, now) != _told(old, was) for was, now in containers):
        return GATHER_SECONDS
    return RUNNING_SECONDS


def of_room(old: Room | None, new: Room | None) -> Literal["freer", "joined"] | None:
    """What is new to services without room: there is more, or another task, which some ask for."""
    if freer(old, new):
        return "freer"
    return "joined" if old and new and new.open and new.tasks > old.tasks else None


def freer(old: Room | None, new: Room | None) -> bool:
    """Whether a room has more in it than before, or is another by its attributes."""
    if new is None or not new.open:
        return False
    if old is None or not old.open or new.connected > old.connected or _kind(new) != _kind(old):
        return True
    return any(now > before for now, before in zip(_free(new), _free(old), strict=True))


def _facts(task: Task) -> tuple[Any, ...]:
    return (
        task.desired_status,
        _PHASES[task.last_status],
        task.node_status == NodeStatus.STOPPED,
        task.instance,
        task.protected_until,
        *((c.status == "STOPPED", c.health, _told(task, c)) for c in task.containers),
    )


def _told(task: Task, container: Container) -> str | None:
    """The digest that a container tells; none where it was told which image to run."""
    return None if container.name in task.image_digests else container.image_digest


def _state(instance: Any) -> tuple[Any, ...] | None:
    if instance is None:
        return None
    return (instance.status, instance.lost, instance.connected, instance.attributes, instance.custom)


def _zone(instance: Instance | None) -> str | None:
    """The zone that an instance adds to those that tasks can be in."""
    usable = instance is not None and instance.status == "ACTIVE" and not instance.lost
    return instance.attribute(ZONE_ATTRIBUTE) if instance is not None and usable else None


def _kind(room: Room) -> tuple[Any, ...]:
    return (room.kind, room.provider, room.zone, room.region, room.networked, room.architecture, room.launch_type)


def _free(room: Room) -> tuple[int, ...]:
    return (room.cpu_free, room.memory_free, -len(room.tcp), -len(room.udp), len(room.gpus), -room.interfaces_used)
