"""StartTask."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import invalid_parameter
from homeport.services.ecs import clusters, definitions, launch, launch_rules, names
from homeport.services.ecs.api import launching
from homeport.services.ecs.launch import Failure
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.instance import INSTANCES, Instance
from homeport.services.ecs.model.task import Task
from homeport.services.ecs.views.task import task_view
from homeport.store import Scope, Tx, View

MAX_INSTANCES = 10  # container instances per call
MAX_STARTED_BY = 36  # characters


def start_task(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Starts a task on each of the given container instances, which are asked for no placement constraint."""
    scope = Scope(*call.scope)
    asked = params["containerInstances"]
    if not asked:
        raise invalid_parameter("Container instances cannot be empty.")
    if len(asked) > MAX_INSTANCES:
        raise invalid_parameter(f"Container instances can have at most {MAX_INSTANCES} items.")
    cluster = clusters.find_active(tx, scope, params.get("cluster"))
    definition = definitions.find(tx, scope, params["taskDefinition"])
    definitions.require_active(definition)
    launching.check_plain(params, MAX_STARTED_BY)
    started = _started(tx, call, params, cluster, definition)
    return {
        "tasks": [task_view(tx, scope, s) for s in started if isinstance(s, Task)],
        "failures": [s.shown() for s in started if isinstance(s, Failure)],
    }


def _started(tx: Tx, call: Call, params: Params, cluster: Cluster, definition: TaskDefinition) -> list[Task | Failure]:
    scope = Scope(*call.scope)
    found = [(text, _instance(tx, scope, cluster, text)) for text in params["containerInstances"]]
    launch_types = {instance.launch_type for _, instance in found if instance is not None} or {"EC2"}
    for launch_type in sorted(launch_types):
        launch_rules.check_definition(definition, launch_type)
    wish = launching.wish(tx, call, params, cluster, definition, min(launch_types))
    started: list[Task | Failure] = []
    for text, instance in found:
        if instance is None:
            started.append(Failure("MISSING", arn=_arn(cluster, text)))
        elif instance.status != "ACTIVE":
            started.append(Failure("INACTIVE", arn=instance.arn))
        else:
            own = replace(wish, launch_type=instance.launch_type)
            started.append(launch.start_on(tx, scope, own, instance.id, call.ids, call.now))
    return started


def _instance(view: View, scope: Scope, cluster: Cluster, text: str) -> Instance | None:
    """The cluster's instance that a caller means by id or ARN."""
    name = names.local(scope, "container-instance", text)
    found = view.get(INSTANCES, scope, name.rpartition("/")[2]) if name else None
    return found if found is not None and found.cluster_arn == cluster.arn and text in (found.id, found.arn) else None


def _arn(cluster: Cluster, text: str) -> str:
    return text if text.startswith("arn:") else f"{cluster.arn.replace(':cluster/', ':container-instance/', 1)}/{text}"


OPERATIONS = {
    "StartTask": Operation(
        start_task, resources=lambda call, params: [params["taskDefinition"], *params["containerInstances"]]
    )
}
