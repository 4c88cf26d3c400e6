"""ECS's operations: one module per resource, one function per operation."""

from homeport.aws.operations import Service
from homeport.services.ecs.api import agent, clusters, instances, run_task, tags, task_definitions, tasks

SERVICE = Service(
    "ecs",
    {
        **clusters.OPERATIONS,
        **task_definitions.OPERATIONS,
        **run_task.OPERATIONS,
        **tasks.OPERATIONS,
        **tags.OPERATIONS,
        **instances.OPERATIONS,
        **agent.OPERATIONS,
    },
)
