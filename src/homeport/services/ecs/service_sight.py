"""Seeing a service: all that its scheduler decides by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from homeport.services.ecs import daemon_slots, definitions, deployments, rooms, service_zones, services
from homeport.services.ecs.model.deployment import REVISIONS, SERVICE_DEPLOYMENTS, Deployment, Revision
from homeport.services.ecs.model.instance import INSTANCES, ROOMS
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.model.task_set import TASK_SETS
from homeport.services.ecs.scheduling.plan import Seen, Slot, Spot, Tagged
from homeport.store import Scope, View

ENDED_AT_ONCE = 100  # ended tasks that are taken note of in one transaction


def see(view: View, scope: Scope, service: Service) -> Seen:
    shown = services.deployments(view, scope, service)
    good = deployments.candidate(view, scope, service.id)
    wanted = {d.revision for d in (*shown, *((good,) if good else ()))}
    revisions = {id: r for id in wanted if (r := view.get(REVISIONS, scope, id)) is not None}
    tasks = _tasks(view, scope, service)
    instances = {t.instance for t in tasks if t.instance and t.launch_type != "FARGATE"}
    return Seen(
        service=service,
        deployments=tuple(shown),
        good=good,
        revisions=revisions,
        service_deployments=tuple(view.find(SERVICE_DEPLOYMENTS, scope, "open", service.id)),
        task_sets=tuple(view.find(TASK_SETS, scope, "service", service.id)),
        tasks=tasks,
        checked={arn: _checked(view, scope, arn) for arn in {t.definition_arn for t in tasks}},
        tagged=_tagged(view, scope, (*shown, *((good,) if good else ())), revisions),
        draining=_draining(view, scope, service, instances),
        slots=_slots(view, scope, service, shown, revisions, tasks),
        zones=_zones(view, scope, service, shown, revisions),
        spots=_spots(view, scope, service, instances),
    )


def _slots(
    view: View,
    scope: Scope,
    service: Service,
    shown: Iterable[Deployment],
    revisions: Mapping[str, Revision],
    tasks: Iterable[Task],
) -> tuple[Slot, ...]:
    primary = next((d for d in shown if d.role == "PRIMARY"), None)
    revision = revisions.get(primary.revision) if primary else None
    if service.scheduling != "DAEMON" or revision is None:
        return ()
    return daemon_slots.slots(view, scope, service, revision.configuration, tasks)


def _zones(
    view: View, scope: Scope, service: Service, shown: Iterable[Deployment], revisions: Mapping[str, Revision]
) -> tuple[str, ...]:
    primary = next((d for d in shown if d.role == "PRIMARY"), None)
    revision = revisions.get(primary.revision) if primary else None
    if not service.rebalancing or primary is None or revision is None or primary.rollout != "COMPLETED":
        return ()
    return service_zones.zones(view, scope, service, revision.configuration)


def _tasks(view: View, scope: Scope, service: Service) -> tuple[Task, ...]:
    """Those that aren't over, and as many as can be taken note of now of those that are."""
    found = services.tasks(view, scope, service)
    ended = [t for t in found if t.last_status == TaskStatus.STOPPED]
    if len(ended) <= ENDED_AT_ONCE:
        return tuple(found)
    return (*(t for t in found if t.last_status < TaskStatus.STOPPED), *islice(ended, ENDED_AT_ONCE))


def _checked(view: View, scope: Scope, definition_arn: str) -> frozenset[str]:
    definition = definitions.of_task(view, scope, definition_arn)
    containers = definitions.containers(definition) if definition else []
    return frozenset(c["name"] for c in containers if c.get("healthCheck") and c.get("essential", True))


def _tagged(
    view: View, scope: Scope, made: Iterable[Deployment], revisions: Mapping[str, Revision]
) -> dict[str, Tagged]:
    """See ``Seen.tagged``."""
    fresh = (revisions.get(d.revision) for d in made if not d.ran)
    arns = {revision.configuration.definition_arn for revision in fresh if revision is not None}
    found = {arn: definitions.of_task(view, scope, arn) for arn in arns}
    return {arn: _tags(definitions.containers(d)) for arn, d in found.items() if d is not None}


def _tags(containers: Iterable[Mapping[str, Any]]) -> Tagged:
    wanted = [c for c in containers if c.get("versionConsistency") != "disabled" and "@" not in c["image"]]
    insists = any(c.get("versionConsistency") == "enabled" for c in wanted)
    return Tagged(frozenset(c["name"] for c in wanted), insists)


def _draining(view: View, scope: Scope, service: Service, instances: Iterable[str]) -> frozenset[str]:
    if not view.count(INSTANCES, scope, "cluster_status", (service.cluster_arn, "DRAINING")):
        return frozenset()
    return frozenset(arn for arn in instances if _drains(view, scope, arn))


def _drains(view: View, scope: Scope, instance_arn: str) -> bool:
    instance = view.get(INSTANCES, scope, instance_arn.rpartition("/")[2])
    return instance is not None and instance.status == "DRAINING"


def _spots(view: View, scope: Scope, service: Service, instances: Iterable[str]) -> dict[str, Spot]:
    fields = [str(i.get("field")) for i in service.strategy if str(i.get("field", "")).startswith("attribute:")]
    fields = [field for field in fields if field != f"attribute:{rooms.ZONE_ATTRIBUTE}"]
    if not fields and not any(item.get("type") == "binpack" for item in service.strategy):
        return {}
    found: dict[str, Spot] = {}
    for arn in instances:
        id = arn.rpartition("/")[2]
        room, instance = view.get(ROOMS, scope, id), view.get(INSTANCES, scope, id)
        if room is not None and instance is not None:
            values = {field: instance.attribute(field.removeprefix("attribute:")) for field in fields}
            found[arn] = Spot(room.cpu_free, room.memory_free, values)
    return found
