"""Services and tasks as data, for tests of what is decided about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from homeport.services.ecs.model.deployment import Configuration, Deployment
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import Container, Task, TaskStatus
from homeport.services.ecs.scheduling.plan import Seen

NOW = 1_000_000.0
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/demo"
DEFINITION = "arn:aws:ecs:us-east-1:123456789012:task-definition/web:1"
CHECKED = {DEFINITION: frozenset({"app"})}


def instance(name: str) -> str:
    return f"arn:aws:ecs:us-east-1:123456789012:container-instance/demo/{name}"


def service(desired: int = 3, minimum: int = 100, maximum: int = 200, **fields: Any) -> Service:
    """Made long ago."""
    defaults: dict[str, Any] = {
        "cluster": "demo",
        "cluster_arn": CLUSTER,
        "cluster_generation": 1,
        "name": "web",
        "created_at": NOW - 1e5,
        "created_by": "root",
        "configuration": Configuration(definition_arn=DEFINITION, launch_type="FARGATE"),
        "desired": desired,
        "deployment_configuration": {"minimumHealthyPercent": minimum, "maximumPercent": maximum},
    }
    return Service(**{**defaults, **fields})


def deployment(number: int = 2, **fields: Any) -> Deployment:
    """The PRIMARY one is the second."""
    defaults: dict[str, Any] = {
        "id": str(number),
        "service": "demo/web",
        "revision": str(number),
        "number": number,
        "created_at": NOW - 1000.0 + number,
        "updated_at": NOW,
        "role": "PRIMARY" if number == 2 else "ACTIVE",
    }
    return Deployment(**{**defaults, **fields})


def task(id: str, owner: int = 2, **fields: Any) -> Task:
    """RUNNING for five minutes: healthy where nothing checks it. ``health``: of its container; ``at``: its instance."""
    health = fields.pop("health", "UNKNOWN")
    at = fields.pop("at", None)
    defaults: dict[str, Any] = {
        "id": id,
        "cluster_arn": CLUSTER,
        "definition_arn": DEFINITION,
        "launch_type": "EC2" if at else "FARGATE",
        "group": "service:web",
        "cpu": 256,
        "memory": 512,
        "created_at": NOW - 310.0,
        "started_at": NOW - 300.0,
        "containers": (Container(id=f"c-{id}", name="app", health=health),),
        "last_status": TaskStatus.RUNNING,
        "started_by": f"ecs-svc/{owner}",
        "instance": instance(at) if at else None,
    }
    return Task(**{**defaults, **fields})


def pending(id: str, owner: int = 2, **fields: Any) -> Task:
    return task(id, owner, **{"last_status": TaskStatus.PENDING, "started_at": None, "created_at": NOW - 5, **fields})


def stopping(id: str, owner: int = 2, **fields: Any) -> Task:
    return task(id, owner, **{"last_status": TaskStatus.STOPPING, "desired_status": "STOPPED", **fields})


def ended(id: str, owner: int = 2, **fields: Any) -> Task:
    """It failed to start."""
    defaults: dict[str, Any] = {
        "last_status": TaskStatus.STOPPED,
        "desired_status": "STOPPED",
        "started_at": None,
        "stop_code": "TaskFailedToStart",
    }
    return task(id, owner, **{**defaults, **fields})


def seen(service: Service, tasks: Iterable[Task], **fields: Any) -> Seen:
    defaults: dict[str, Any] = {"deployments": (deployment(),)}
    return Seen(service=service, tasks=tuple(tasks), **{**defaults, **fields})
