"""Changes of records in words, for a story. Pure."""

from __future__ import annotations

from homeport.services.ecs.model.deployment import Deployment, ServiceDeployment
from homeport.services.ecs.model.service import Service, ServiceEvent
from homeport.services.ecs.model.task import TASKS, Task
from homeport.store import Change


def told(change: Change) -> str:
    """Empty for what isn't told."""
    match change.new:
        case Task() as task:
            return f"store: {change.version} {_task(task)} — {change.cause}"
        case Service() as s:
            words = f"service {s.name} {s.status}, wants {s.desired} of {_definition(s)}"
            memory = f"short {s.short}, throttled until {s.throttle.until:.0f}, steady at {s.steady_at or 0:.0f}"
            return f"store: {change.version} {words} ({memory}) — {change.cause}"
        case Deployment() as d:
            counts = f"{d.failures} failures, good {d.good}"
            return f"store: {change.version} deployment {d.id} of {d.service} {d.role} {d.rollout} ({counts})"
        case ServiceDeployment() as d:
            return f"store: {change.version} service deployment {d.id} of {d.service} {d.status}"
        case ServiceEvent(message=message) if message:
            return f"store: {change.version} event: {message}"
        case None if change.key.kind == TASKS.kind:
            return f"store: task {change.key.id} forgotten"
        case _:
            return ""


def _task(task: Task) -> str:
    containers = ", ".join(f"{c.name} {c.status} {c.exit_code} {c.health}" for c in task.containers)
    wanted = f"wanted {task.desired_status}, node says {task.node_status.name}"
    owner = f" of {task.started_by}" if task.group.startswith("service:") else ""
    return f"task {task.id}{owner} {task.last_status.name} ({wanted}; {containers})"


def _definition(service: Service) -> str:
    return service.configuration.definition_arn.rpartition("/")[2] if service.configuration else "nothing"
