"""Amazon ECS: clusters, task definitions, tasks and the agents that run them."""

from homeport.services.ecs import explanation, interruption, service_status, status
from homeport.services.ecs.agentgw import Gateway
from homeport.services.ecs.api import SERVICE
from homeport.services.ecs.forget import forget_all
from homeport.services.ecs.locate import locate
from homeport.services.ecs.loops import TaskLoop
from homeport.services.ecs.model.capacity_provider import PROVIDERS
from homeport.services.ecs.model.cluster import CLUSTERS
from homeport.services.ecs.model.definition import DEFINITIONS, FAMILIES
from homeport.services.ecs.model.deployment import DEPLOYMENTS, REVISIONS, SERVICE_DEPLOYMENTS
from homeport.services.ecs.model.instance import INSTANCES, ROOMS
from homeport.services.ecs.model.service import EVENTS, SERVICES
from homeport.services.ecs.model.setting import SETTINGS
from homeport.services.ecs.model.task import TASKS, TOKENS, Task
from homeport.services.ecs.model.task_set import TASK_SETS
from homeport.services.ecs.model.waiting import WAITING
from homeport.services.ecs.service_loop import ServiceLoop
from homeport.services.ecs.tasks import stop_all, unfinished

TABLES = (
    *(CLUSTERS, DEFINITIONS, FAMILIES, TASKS, TOKENS, INSTANCES, ROOMS, SETTINGS, PROVIDERS, WAITING),
    *(SERVICES, REVISIONS, DEPLOYMENTS, SERVICE_DEPLOYMENTS, TASK_SETS, EVENTS),
)

__all__ = [
    "INSTANCES",
    "SERVICE",
    "SERVICES",
    "TABLES",
    "TASKS",
    "Gateway",
    "ServiceLoop",
    "Task",
    "TaskLoop",
    "explanation",
    "forget_all",
    "interruption",
    "locate",
    "service_status",
    "status",
    "stop_all",
    "unfinished",
]
