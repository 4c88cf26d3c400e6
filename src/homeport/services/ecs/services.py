"""Finding services and what belongs to them."""

from __future__ import annotations

from collections.abc import Iterator

from homeport.core.errors import AwsError
from homeport.services.ecs import names, service_names
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.deployment import DEPLOYMENTS, Deployment
from homeport.services.ecs.model.service import EVENTS, SERVICES, Service, ServiceEvent
from homeport.services.ecs.model.task import TASKS, Task
from homeport.store import Scope, View


def find(view: View, scope: tuple[str, str], cluster: Cluster, text: str) -> Service | None:
    """The cluster's service, of whatever status, that ``text`` names by name or ARN. Raises InvalidParameterException
    for what can't be the name or ARN of one."""
    service_names.check(scope, text)
    name = names.local(scope, "service", text)
    if name is None:
        return None
    named_cluster, _, name = name.rpartition("/")
    if named_cluster and named_cluster != cluster.name:
        return None
    service = view.get(SERVICES, scope, f"{cluster.name}/{name}")
    return service if service is not None and belongs(service, cluster) else None


def find_active(view: View, scope: tuple[str, str], cluster: Cluster, text: str) -> Service:
    """The same; raises ServiceNotFoundException, or ServiceNotActiveException for one that was deleted."""
    service = find(view, scope, cluster, text)
    if service is None:
        raise service_names.not_found()
    if service.status != "ACTIVE":
        raise AwsError("ServiceNotActiveException", "Service was not ACTIVE.")
    return service


def by_arn(view: View, scope: tuple[str, str], arn: str) -> Service | None:
    """The service, of whatever status, with this ARN."""
    service = view.get(SERVICES, scope, arn.partition("/")[2])
    return service if service is not None and service.arn == arn else None


def belongs(service: Service, cluster: Cluster) -> bool:
    """Whether it is of this cluster, and not of a deleted one of the same name."""
    return (service.cluster_arn, service.cluster_generation) == (cluster.arn, cluster.generation)


def id_of(task: Task) -> str | None:
    """The id of the record of the service that a task belongs to; None for a standalone task."""
    kind, _, name = task.group.partition(":")
    return f"{task.cluster_arn.rpartition('/')[2]}/{name}" if kind == "service" else None


def tasks(view: View, scope: Scope, service: Service) -> list[Task]:
    """Those that its scheduler still has to do with: all but STOPPED ones that it has taken note of."""
    return view.find(TASKS, scope, "service", (service.cluster_arn, service.group))


def counts(view: View, scope: Scope, service: Service) -> dict[str, tuple[int, int]]:
    """(running, pending) tasks by ``startedBy`` (``ecs-svc/…``)."""
    found: dict[str, tuple[int, int]] = {}
    for (owner, status), count in view.counts(TASKS, scope, "services", (service.cluster_arn, service.group)).items():
        running, pending = found.get(owner or "", (0, 0))
        found[owner or ""] = (running + count, pending) if status == "RUNNING" else (running, pending + count)
    return found


def deployments(view: View, scope: Scope, service: Service) -> list[Deployment]:
    """Those that DescribeServices shows: the PRIMARY one, then the others, the newest first."""
    return sorted(view.find(DEPLOYMENTS, scope, "shown", service.id), key=lambda d: (d.role != "PRIMARY", -d.number))


def events(view: View, scope: Scope, service: Service) -> Iterator[ServiceEvent]:
    """What it told, the newest first."""
    ranked = view.ranked(EVENTS, scope, "service", service.id).get("events", ())
    return (ranked[place] for place in range(len(ranked) - 1, -1, -1))
