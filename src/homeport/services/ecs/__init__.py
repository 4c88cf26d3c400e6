"""Amazon ECS: clusters, task definitions, tasks and the agents that run them."""

from homeport.services.ecs import status
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
from homeport.services.ecs.model.task import TASKS, TOKENS
from homeport.services.ecs.model.waiting import WAITING
from homeport.services.ecs.tasks import stop_all, unfinished

TABLES = (CLUSTERS, DEFINITIONS, FAMILIES, TASKS, TOKENS, INSTANCES, ROOMS, SETTINGS, PROVIDERS, WAITING)

__all__ = [
    "INSTANCES",
    "SERVICE",
    "TABLES",
    "TASKS",
    "Gateway",
    "TaskLoop",
    "forget_all",
    "locate",
    "status",
    "stop_all",
    "unfinished",
]
