"""The end of a service that was deleted: all of its tasks are stopped, whatever protects them. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from homeport.services.ecs.lifecycle import must_stop
from homeport.services.ecs.model.task import TaskStatus
from homeport.services.ecs.scheduling import messages
from homeport.services.ecs.scheduling.plan import Plan, Seen, Stop

NOBODY = "ecs-svc/none"  # what no task's startedBy is


def plan(seen: Seen, ended: tuple[str, ...]) -> Plan:
    """The service is INACTIVE as soon as all of its tasks are on their way out. ``ended``: ids of STOPPED ones."""
    live = [t for t in seen.tasks if not must_stop(t)]
    stops = tuple(Stop(t.id, messages.scaling(t.started_by or NOBODY)) for t in live)
    if live or any(t.last_status < TaskStatus.STOPPING for t in seen.tasks):
        sets = tuple(replace(s, status="DRAINING") for s in seen.task_sets if s.status != "DRAINING")
        return Plan(service=seen.service, task_sets=sets, stops=stops, noted=ended)
    return Plan(
        service=replace(seen.service, status="INACTIVE", short=False),
        deployments=tuple(replace(d, role="INACTIVE") for d in seen.deployments),
        gone=tuple(s.id for s in seen.task_sets),
        noted=ended,
    )
