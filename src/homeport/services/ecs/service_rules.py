"""What CreateService and UpdateService accept. Texts are ECS's where they are recorded."""

from __future__ import annotations

from typing import Any

from homeport.aws.operations import Params
from homeport.core.errors import invalid_parameter
from homeport.services.ecs import capacity, definitions, names, tags
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.store import View

MAX_CLIENT_TOKEN = 36  # characters
MAX_CONSTRAINTS, MAX_STRATEGIES = 10, 5  # placement constraints and strategies of a service


def check_new(view: View, scope: tuple[str, str], cluster: Cluster, params: Params) -> None:
    """Raises what ECS answers to a CreateService that can't be, whether or not there are services."""
    if not names.is_name(params["serviceName"]):
        raise invalid_parameter("Service name contains invalid characters.")
    if len(params.get("clientToken") or "") > MAX_CLIENT_TOKEN:
        raise invalid_parameter(f"clientToken must be at most {MAX_CLIENT_TOKEN} characters long.")
    tags.parse(params.get("tags"))
    check_counts(params)
    _check_strategy(params, cluster)
    controller = (params.get("deploymentController") or {}).get("type", "ECS")
    if controller == "EXTERNAL":
        _check_external(params)
        return
    if not params.get("taskDefinition"):
        raise invalid_parameter("TaskDefinition can not be blank.")
    definition = definitions.find(view, scope, params["taskDefinition"])
    definitions.require_active(definition)
    _check_scheduling(params)
    _check_network(params, definition)
    _check_targets(params, definition)


def check_counts(params: Params) -> None:
    """The numbers of a service. Raises InvalidParameterException."""
    if (params.get("desiredCount") or 0) < 0:
        raise invalid_parameter("desiredCount must be greater than or equal to 0.")
    if (params.get("healthCheckGracePeriodSeconds") or 0) < 0:
        raise invalid_parameter("healthCheckGracePeriodSeconds must be greater than or equal to 0.")
    configuration = params.get("deploymentConfiguration") or {}
    if (configuration.get("minimumHealthyPercent") or 0) > 100:
        raise invalid_parameter("minimumHealthyPercent must be at most 100")
    for member, most in (("placementConstraints", MAX_CONSTRAINTS), ("placementStrategy", MAX_STRATEGIES)):
        if len(params.get(member) or ()) > most:
            raise invalid_parameter(f"{member} can have at most {most} items.")


def _check_strategy(params: Params, cluster: Cluster) -> None:
    strategy = params.get("capacityProviderStrategy") or []
    if strategy and params.get("launchType"):
        raise invalid_parameter("Specifying both a launch type and capacity provider strategy is not supported")
    capacity.check(strategy, cluster.capacity_providers)
    if params.get("launchType", "EC2") == "EC2" and not strategy and params.get("platformVersion"):
        raise invalid_parameter("The platform version must be null when specifying an EC2 launch type.")


def _check_external(params: Params) -> None:
    if params.get("taskDefinition"):
        raise invalid_parameter("TaskDefinition must be blank")
    if params.get("loadBalancers"):
        raise invalid_parameter("LoadBalancers must be empty or null")


def _check_scheduling(params: Params) -> None:
    if params.get("schedulingStrategy") != "DAEMON":
        if params.get("desiredCount") is None:
            raise invalid_parameter("desiredCount must be specified for the REPLICA scheduling strategy.")
        return
    prefix = "The daemon scheduling strategy does not support"
    if params.get("desiredCount") is not None:
        raise invalid_parameter(f"{prefix} a desired count for services. Remove the desired count value and try again")
    if params.get("placementStrategy"):
        raise invalid_parameter(f"{prefix} placement strategies")
    if ((params.get("deploymentConfiguration") or {}).get("maximumPercent") or 0) > 100:
        raise invalid_parameter(f"{prefix} values above 100 for maximumPercent")
    if params.get("launchType") == "FARGATE":
        raise invalid_parameter("The daemon scheduling strategy is not supported with the FARGATE launch type.")


def _check_network(params: Params, definition: TaskDefinition) -> None:
    given = (params.get("networkConfiguration") or {}).get("awsvpcConfiguration") is not None
    wanted = definitions.network_mode(definition) == "awsvpc"
    if wanted and not given:
        raise invalid_parameter("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    if given and not wanted:
        raise invalid_parameter("Network Configuration is not valid for the given networkMode of this task definition.")
    if params.get("launchType") == "FARGATE" and "FARGATE" not in definition.compatibilities:
        raise invalid_parameter("Task definition does not support launch_type FARGATE.")


def _check_targets(params: Params, definition: TaskDefinition) -> None:
    """Load balancers name a container and one of its ports."""
    containers: dict[str, dict[str, Any]] = {c["name"]: c for c in definitions.containers(definition)}
    for balancer in params.get("loadBalancers") or ():
        if balancer.get("loadBalancerName") and balancer.get("targetGroupArn"):
            raise invalid_parameter("loadBalancerName and targetGroupArn cannot both be specified")
        name, port = balancer.get("containerName"), balancer.get("containerPort")
        container = containers.get(name or "")
        if container is None:
            raise invalid_parameter(f"The container {name} does not exist in the task definition.")
        if port not in [p.get("containerPort") for p in container.get("portMappings") or ()]:
            raise invalid_parameter(f"The container {name} did not have a container port {port} defined.")
