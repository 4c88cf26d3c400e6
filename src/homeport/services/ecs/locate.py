"""Records by ARN, for ``homeport story``."""

from __future__ import annotations

from homeport.core import arn
from homeport.services.ecs import clusters, rooms
from homeport.services.ecs.model.cluster import CLUSTERS
from homeport.services.ecs.model.definition import DEFINITIONS, definition_id
from homeport.services.ecs.model.instance import INSTANCES
from homeport.services.ecs.model.task import TASKS
from homeport.store import Scope, View


def locate(view: View, text: str) -> tuple[Scope, str, str] | None:
    """(scope, kind, id) of the record that an ARN names, whether it still exists or not; None for other texts."""
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
    return None
