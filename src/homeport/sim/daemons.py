"""What must hold of DAEMON services. As in ``serving``: pure functions that return what is wrong, or None, and whose
name is the invariant's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from homeport.services.ecs.model.deployment import Deployment
from homeport.services.ecs.model.instance import Instance
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.sim.placing import constrains
from homeport.sim.rules import ZONE


def belongs(service: Service, instance: Instance, zones: Collection[str]) -> bool:
    """Whether one of its tasks belongs there: the instance is ACTIVE, the service's constraints hold, and it has a
    subnet in that zone. ``zones``: of its subnets, where it has any."""
    usable = instance.status == "ACTIVE" and not instance.lost and not instance.fargate
    if zones and instance.attribute(ZONE) not in zones:
        return False
    return usable and instance.cluster_arn == service.cluster_arn and not constrains(service.constraints, instance)


def there_is_one_daemon_on_an_instance(service: Service, there: Iterable[Task]) -> str | None:
    """``there``: its tasks that aren't STOPPED. What still stops is one too."""
    twice = sorted(arn for arn, count in Counter(t.instance for t in there if t.instance).items() if count > 1)
    return f"{service.name} has more than one task on {twice}" if twice else None


def a_daemon_starts_where_it_belongs(service: Service, task: Task, instances: Collection[str]) -> str | None:
    """``instances``: ARNs of those where its tasks belong. What has no address fails before it is anywhere."""
    failed = task.instance is None and task.desired_status == "STOPPED"
    return None if failed or task.instance in instances else f"{task.id} of {service.name} starts on {task.instance}"


def daemons_are_counted_by_instances(service: Service, instances: Collection[str]) -> str | None:
    """At rest. ``instances`` as above."""
    if service.desired == len(instances):
        return None
    return f"{service.name} shows {service.desired} as its desired count, there are {sorted(instances)}"


def unsteady(
    service: Service,
    primary: Deployment | None,
    there: Iterable[Task],
    healthy: Collection[str],
    instances: Collection[str],
) -> str | None:
    """Why it isn't steady. ``there``: its tasks that aren't STOPPED, but for those that an instance may keep while it
    drains."""
    there = list(there)
    own = [t for t in there if primary is not None and t.started_by == primary.name and t.desired_status == "RUNNING"]
    if len(there) != len(own):
        return f"it has {len(there)} tasks, {len(own)} of them wanted"
    if sorted(t.instance or "" for t in own) != sorted(instances):
        return f"it has tasks on {sorted(t.instance or '' for t in own)}, and belongs on {sorted(instances)}"
    ill = [t.id for t in own if t.last_status != TaskStatus.RUNNING or t.id not in healthy]
    return f"{ill} aren't healthy" if ill else None
