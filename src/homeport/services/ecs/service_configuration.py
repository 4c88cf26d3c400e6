"""What the tasks of a service are, read from the parameters of CreateService, UpdateService and CreateTaskSet, and
checked."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from homeport.aws.operations import Call, Params
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import capacity, capacity_providers, definitions, launch_rules
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.deployment import Configuration
from homeport.store import Tx

MEMBERS = (
    "loadBalancers",
    "serviceRegistries",
    "serviceConnectConfiguration",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
    "gatewayConnectors",
    "monitoring",
)


def new(tx: Tx, call: Call, params: Params, cluster: Cluster) -> Configuration:
    """Of a new service or task set. Without a launch type or strategy the cluster's default strategy is taken, or EC2.
    Raises AwsError."""
    definition = definitions.find(tx, call.scope, params["taskDefinition"])
    definitions.require_active(definition)
    launch_type, strategy = _capacity(call, params, cluster)
    configuration = Configuration(
        definition_arn=definition.arn,
        launch_type=launch_type,
        capacity_strategy=strategy,
        platform_version=params.get("platformVersion"),
        network_configuration=params.get("networkConfiguration"),
        members=_members(params),
    )
    return _checked(tx, call, configuration, definition, params.get("platformVersion"))


def changed(tx: Tx, call: Call, before: Configuration, params: Params, cluster: Cluster) -> Configuration:
    """What UpdateService makes of a configuration: ``before`` itself where it changes nothing. A definition that isn't
    ACTIVE any more stays where none is given. Raises AwsError."""
    if params.get("taskDefinition"):
        definition = definitions.find(tx, call.scope, params["taskDefinition"])
        definitions.require_active(definition)
    else:
        found = definitions.of_task(tx, call.scope, before.definition_arn)
        if found is None:
            raise AwsError("ClientException", "TaskDefinition not found.")
        definition = found
    changes: dict[str, Any] = {"definition_arn": definition.arn}
    if params.get("capacityProviderStrategy"):
        strategy = _strategy(call, params, cluster)
        changes |= {"launch_type": None, "capacity_strategy": strategy}
    elif params.get("capacityProviderStrategy") is not None and before.capacity_strategy:
        changes |= {"launch_type": before.runs_on, "capacity_strategy": ()}  # an empty one takes it away (inferred)
    if params.get("networkConfiguration") is not None:
        changes["network_configuration"] = params["networkConfiguration"]
    if given := _members(params):
        changes["members"] = {**before.members, **given}
    after = replace(before, **changes)
    if params.get("platformVersion"):
        after = replace(after, platform_version=params["platformVersion"])
    elif after.runs_on != before.runs_on:
        after = replace(after, platform_version=None)
    if after == before:
        return before
    return _checked(tx, call, after, definition, params.get("platformVersion"))


def _checked(
    tx: Tx, call: Call, configuration: Configuration, definition: TaskDefinition, version: str | None
) -> Configuration:
    """With the checked network, and the platform version where there are any. ``version``: what the call gives."""
    runs_on = configuration.runs_on
    if runs_on != "FARGATE" and version:
        raise invalid_parameter("The platform version must be null when specifying an EC2 launch type.")
    params = {"networkConfiguration": configuration.network_configuration}
    network = launch_rules.network(tx, call, params, definition, runs_on)
    if runs_on != "FARGATE":
        launch_rules.check_definition(definition, runs_on)
        return replace(configuration, network=network, platform_version=None)
    launch_rules.check_platform(version)
    launch_rules.check_definition(definition, runs_on)
    size = definitions.task_cpu(definition), definitions.task_memory(definition)
    if error := definitions.fargate_size_error(*size):
        raise invalid_parameter(error)
    return replace(configuration, network=network, platform_version=configuration.platform_version or "LATEST")


def _capacity(call: Call, params: Params, cluster: Cluster) -> tuple[str | None, tuple[dict[str, Any], ...]]:
    """The launch type, or the capacity provider strategy."""
    launch_type = params.get("launchType")
    if launch_type == "MANAGED_INSTANCES":
        raise AwsError("UnsupportedFeatureException", "Homeport does not support Amazon ECS Managed Instances.")
    if params.get("capacityProviderStrategy"):
        if launch_type:
            raise invalid_parameter("Specifying both a launch type and capacity provider strategy is not supported")
        return None, _strategy(call, params, cluster)
    if not launch_type and cluster.default_strategy and params.get("schedulingStrategy") != "DAEMON":
        return None, cluster.default_strategy
    return launch_type or "EC2", ()


def _strategy(call: Call, params: Params, cluster: Cluster) -> tuple[dict[str, Any], ...]:
    strategy = capacity_providers.named(call.scope, params["capacityProviderStrategy"])
    capacity.check(strategy, cluster.capacity_providers)
    return strategy


def _members(params: Params) -> dict[str, Any]:
    return {member: params[member] for member in MEMBERS if params.get(member) is not None}
