"""ECS's operations: one module per resource, one function per operation."""

from homeport.aws.operations import Service
from homeport.services.ecs.api import (
    account_settings,
    agent,
    capacity_providers,
    clusters,
    daemons,
    execute_command,
    express_services,
    gateways,
    instances,
    run_task,
    service_deployments,
    services,
    tags,
    task_definitions,
    task_protection,
    task_sets,
    tasks,
)

SERVICE = Service(
    "ecs",
    {
        **clusters.OPERATIONS,
        **capacity_providers.OPERATIONS,
        **task_definitions.OPERATIONS,
        **run_task.OPERATIONS,
        **tasks.OPERATIONS,
        **tags.OPERATIONS,
        **instances.OPERATIONS,
        **agent.OPERATIONS,
        **account_settings.OPERATIONS,
        **execute_command.OPERATIONS,
        **task_protection.OPERATIONS,
        **services.OPERATIONS,
        **task_sets.OPERATIONS,
        **service_deployments.OPERATIONS,
        **daemons.OPERATIONS,
        **express_services.OPERATIONS,
        **gateways.OPERATIONS,
    },
)
