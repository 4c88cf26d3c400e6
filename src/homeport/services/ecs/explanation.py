"""Why a task can run on which instances: what ``homeport explain`` shows."""

from __future__ import annotations

from typing import Any

from homeport.core.errors import invalid_parameter
from homeport.services.ecs import (
    clusters,
    definitions,
    launch,
    overrides,
    placement,
    placement_rules,
    service_launch,
    service_status,
    status,
)
from homeport.services.ecs.launch import Launch
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.instance import Room
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task import Task
from homeport.services.ecs.model.waiting import WAITING, Network
from homeport.services.ecs.placement import Demand, StoreIndex
from homeport.store import Scope, View


def explain(view: View, scope: Scope, what: str, cluster: str | None, launch_type: str | None) -> dict[str, Any]:
    """Instance by instance, what fits and what refuses now. ``what``: a task (its ARN, or how its id begins), a task
    definition, which is asked for in ``cluster`` and ``launch_type``, or a service: its next task, on the first
    capacity provider of its strategy. Where a name is a definition's and a service's, ``cluster/name`` is the service.
    Raises AwsError where there is none of these.

    A task is asked for by its definition's constraints; those of the call are known only while it waits.
    """
    if "/" in what and (named := service_status.named(view, what)) is not None:
        return _of_service(view, *named)
    tasks = status.found(view, what)
    definition = None if what.startswith("arn:") and tasks else definitions.lookup(view, scope, what)
    if definition is not None:
        demand = _of_definition(view, scope, definition, cluster, launch_type)
        return _answer(view, scope, definition.arn, demand, None)
    if not tasks and (named := service_status.named(view, what)) is not None:
        return _of_service(view, *named)
    if len(tasks) != 1:
        raise invalid_parameter(
            f"{len(tasks)} tasks start with {what!r}."
            if tasks
            else f"No task, task definition or service is named {what!r}."
        )
    task_scope, task = tasks[0]
    return _answer(view, task_scope, task.arn, _of_task(view, task_scope, task), task)


def _of_definition(
    view: View, scope: Scope, definition: TaskDefinition, cluster: str | None, launch_type: str | None
) -> Demand:
    """Without a launch type that of its requiresCompatibilities, else EC2."""
    required = definition.members.get("requiresCompatibilities") or ["EC2"]
    wanted = launch_type or ("FARGATE" if "FARGATE" in required else str(required[0]))
    if wanted not in definition.compatibilities:
        raise invalid_parameter(f"Task definition does not support launch_type {wanted}.")
    found = clusters.find_active(view, scope, cluster)
    network = Network((), ()) if definitions.network_mode(definition) == "awsvpc" else None
    cpu, memory = overrides.reserved(definitions.containers(definition), {})
    size = definitions.task_cpu(definition) or cpu, definitions.task_memory(definition) or memory
    return _demand(view, scope, found, definition, wanted, size, network, f"family:{definition.family}", None)


def _of_service(view: View, scope: Scope, service: Service) -> dict[str, Any]:
    configuration = service.configuration
    definition = definitions.of_task(view, scope, configuration.definition_arn) if configuration else None
    cluster = clusters.newest(view, scope, service.cluster)
    if configuration is None or definition is None or cluster is None:
        raise invalid_parameter("The service starts no tasks of its own: it has task sets, or its definition is gone.")
    strategy = configuration.capacity_strategy
    wish = service_launch.wish(
        cluster,
        service,
        definition,
        configuration,
        started_by="",
        provider=strategy[0]["capacityProvider"] if strategy else None,
        images={},
    )
    return _answer(view, scope, service.arn, launch.demanded(view, scope, wish), None)


def _of_task(view: View, scope: Scope, task: Task) -> Demand:
    waiting = view.get(WAITING, scope, task.id)
    if waiting is not None:
        return waiting.demand
    definition = definitions.of_task(view, scope, task.definition_arn)
    cluster = clusters.newest(view, scope, task.cluster_arn.rpartition("/")[2])
    if definition is None or cluster is None:
        raise invalid_parameter("The task's definition or its cluster is gone.")
    networked = definitions.network_mode(definition) == "awsvpc"
    subnets = tuple(a.details["subnetId"] for a in task.attachments if "subnetId" in a.details)
    network = Network(subnets, ()) if networked else None
    size = task.cpu, task.memory
    return _demand(
        view, scope, cluster, definition, task.launch_type, size, network, task.group, task.capacity_provider
    )


def _demand(
    view: View,
    scope: Scope,
    cluster: Cluster,
    definition: TaskDefinition,
    launch_type: str,
    size: tuple[int, int],
    network: Network | None,
    group: str,
    provider: str | None,
) -> Demand:
    wish = Launch(
        cluster=cluster,
        definition=definition,
        launch_type=launch_type,
        cpu=size[0],
        memory=size[1],
        group=group,
        network=network,
        capacity_provider=provider,
        constraints=placement_rules.constraints(definition.members.get("placementConstraints") or (), ()),
    )
    return launch.demanded(view, scope, wish)


def _answer(view: View, scope: Scope, what: str, demand: Demand, task: Task | None) -> dict[str, Any]:
    rooms = placement.explain(demand, StoreIndex(view, scope))
    return {
        "what": what,
        "launch_type": demand.launch_type or "FARGATE",
        "needs": {"cpu": demand.cpu, "memory": demand.memory, "tcp": list(demand.tcp), "udp": list(demand.udp)},
        "instances": [
            _instance(room, reason, task is not None and task.instance == room.arn) for room, reason in rooms
        ],
    }


def _instance(room: Room, reason: str | None, here: bool) -> dict[str, Any]:
    return {
        "id": room.id,
        "arn": room.arn,
        "fits": reason is None,
        "reason": reason,
        "here": here,
        "cpu_free": room.cpu_free,
        "memory_free": room.memory_free,
        "zone": room.zone,
        "tasks": room.tasks,
    }
