"""Amazon ECS: clusters, task definitions, tasks and the agents that run them."""

from homeport.services.ecs import explanation, interruption, status
from homeport.services.ecs.agentgw import Gateway
from homeport.services.ecs.api import SERVICE
from homeport.services.ecs.forget import forget_all
from homeport.services.ecs.locate import locate
from homeport.services.ecs.loops import TaskLoop
from homeport.services.ecs.model.capacity_provider import PROVIDERS
from homeport.services.ecs.model.cluster import CLUSTERS
from homeport.services.ecs.model.definition import DEFINITIONS, FAMILIES
from homeport.services.ecs.model.instance import INSTANCES, ROOMS
from homeport.services.ecs.model.setting import SETTINGS
from homeport.services.ecs.model.task import TASKS, TOKENS, Task
from homeport.services.ecs.model.waiting import WAITING
from homeport.services.ecs.tasks import stop_all, unfinished

TABLES = (CLUSTERS, DEFINITIONS, FAMILIES, TASKS, TOKENS, INSTANCES, ROOMS, SETTINGS, PROVIDERS, WAITING)

__all__ = [
    "INSTANCES",
    "SERVICE",
    "TABLES",
    "TASKS",
    "Gateway",
    "Task",
    "TaskLoop",
    "explanation",
    "forget_all",
    "interruption",
    "locate",
    "status",
    "stop_all",
    "unfinished",
]
