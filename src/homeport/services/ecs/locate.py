"""Records by ARN, for ``homeport story``."""

from __future__ import annotations

from typing import Any

from homeport.core import arn
from homeport.services.ecs import clusters, rooms, service_status
from homeport.services.ecs.model.cluster import CLUSTERS
from homeport.services.ecs.model.definition import DEFINITIONS, definition_id
from homeport.services.ecs.model.deployment import DEPLOYMENTS, REVISIONS, SERVICE_DEPLOYMENTS
from homeport.services.ecs.model.instance import INSTANCES
from homeport.services.ecs.model.service import SERVICES
from homeport.services.ecs.model.task import TASKS
from homeport.services.ecs.model.task_set import TASK_SETS
from homeport.store import Scope, Table, View

_PARTS = {  # of services: the last part of the ARN is the record's id
    "service-deployment": SERVICE_DEPLOYMENTS.kind,
    "service-revision": REVISIONS.kind,
}
_OWNER = "ecs-svc/"  # how a deployment's and a task set's name begin


def locate(view: View, text: str) -> tuple[Scope, str, str] | None:
    """(scope, kind, id) of the record that an ARN names, or the name of a deployment or task set (``ecs-svc/…``), which
    has none. What an ARN names needn't exist any more. None for other texts."""
    if text.startswith(_OWNER):
        return _owner(view, text)
    parsed = arn.parse(text)
    if parsed is None or parsed.service != "ecs":
        return None
    scope = Scope(parsed.account, parsed.region)
    kind, _, name = parsed.resource.partition("/")
    match kind:
        case "task":
            return scope, TASKS.kind, name.rpartition("/")[2]
        case "cluster":
            cluster = clusters.newest(view, scope, name)
            return (scope, CLUSTERS.kind, CLUSTERS.id(cluster)) if cluster else None
        case "task-definition":
            family, _, revision = name.partition(":")
            return (scope, DEFINITIONS.kind, definition_id(family, int(revision))) if revision.isdigit() else None
        case "container-instance":
            place = rooms.place_of(text)
            return (place[0], INSTANCES.kind, place[1]) if place else None
        case "service":
            found = service_status.named(view, text) if "/" not in name else None
            return scope, SERVICES.kind, found[1].id if found else name
        case "task-set":
            return scope, TASK_SETS.kind, name.rpartition("/")[2].removeprefix(_OWNER)
    return (scope, _PARTS[kind], name.rpartition("/")[2]) if kind in _PARTS else None


def _owner(view: View, text: str) -> tuple[Scope, str, str] | None:
    id = text.removeprefix(_OWNER)
    tables: tuple[Table[Any], ...] = (DEPLOYMENTS, TASK_SETS)
    found = ((scope, table.kind, id) for table in tables for scope, record in view.each(table) if record.id == id)
    return next(found, None)
