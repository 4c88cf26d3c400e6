"""What CreateService and UpdateService accept. Texts are ECS's where they are recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeport.aws.operations import Params
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import (
    clusters,
    definitions,
    deployment_rules,
    names,
    placement_rules,
    service_configuration,
    service_links,
    tags,
)
from homeport.services.ecs.model.cluster import Cluster
from homeport.services.ecs.model.deployment import Configuration
from homeport.services.ecs.model.service import SERVICES, Service
from homeport.store import View

MAX_CLIENT_TOKEN = 36  # characters
MAX_SERVICES = 5000  # of a cluster: a quota
MAX_TASKS = 5000  # of a service: a quota
MAX_GRACE = 2_147_483_647  # seconds
_DAEMON = "The daemon scheduling strategy does not support"
_BY_TASK_SET = "Create a task set to trigger a new deployment."
_ZONE = "attribute:ecs.availability-zone"
_NEW_TASKS = tuple(m for m in service_configuration.MEMBERS if m != "monitoring")  # whose change starts a deployment
_NOT_YET = {
    "loadBalancers": "load balancers",
    "serviceRegistries": "service registries",
    "volumeConfigurations": "volumes set at launch",
    "vpcLatticeConfigurations": "VPC Lattice",
    "gatewayConnectors": "gateway connectors",
    "enableExecuteCommand": "ECS Exec",
}


def check_names(params: Params) -> None:
    """Raises InvalidParameterException."""
    if not names.is_name(params["serviceName"]):
        raise invalid_parameter("Service name contains invalid characters.")
    if len(params.get("clientToken") or "") > MAX_CLIENT_TOKEN:
        raise invalid_parameter(f"clientToken must be at most {MAX_CLIENT_TOKEN} characters long.")
    tags.parse(params.get("tags"))


def of_new(params: Params) -> dict[str, Any]:
    """The fields of a new service's record that need nothing but themselves, checked. Raises AwsError."""
    controller = (params.get("deploymentController") or {}).get("type", "ECS")
    scheduling = params.get("schedulingStrategy") or "REPLICA"
    daemon = scheduling == "DAEMON"
    if controller == "CODE_DEPLOY":
        _check_code_deploy(params)
    if controller == "EXTERNAL":
        _check_external(params, daemon=daemon)
    _check_counts(params, daemon=daemon)
    if not daemon and params.get("desiredCount") is None:
        raise invalid_parameter("desiredCount must be specified for the REPLICA scheduling strategy.")
    given = params.get("deploymentConfiguration") or {}
    return {
        "controller": controller,
        "scheduling": scheduling,
        "desired": params.get("desiredCount") or 0,
        "deployment_configuration": deployment_rules.of_new(given, daemon=daemon, external=controller == "EXTERNAL"),
        "constraints": tuple(params.get("placementConstraints") or ()),
        "strategy": tuple(params.get("placementStrategy") or ()),
        "grace": params.get("healthCheckGracePeriodSeconds") or 0,
        "propagate_tags": params.get("propagateTags") or "NONE",
        "managed_tags": bool(params.get("enableECSManagedTags")),
        "execute_command": bool(params.get("enableExecuteCommand")),
    }


def of_changed(params: Params, before: Service) -> dict[str, Any]:
    """The same of a service that is changed: what isn't given stays."""
    daemon = before.scheduling == "DAEMON"
    _check_counts(params, daemon=daemon)
    controller = (params.get("deploymentController") or {}).get("type", before.controller)
    if controller != before.controller:
        raise AwsError("UnsupportedFeatureException", "Homeport does not support changing the deployment controller.")
    configuration = before.deployment_configuration
    if params.get("deploymentConfiguration") is not None:
        given = params["deploymentConfiguration"]
        configuration = deployment_rules.of_changed(configuration, given, daemon=daemon)
    fields: dict[str, Any] = {"deployment_configuration": configuration, "scheduling": before.scheduling}
    for member, field in _PLAIN.items():
        given = params.get(member)
        value = getattr(before, field) if given is None else given
        fields[field] = tuple(value) if isinstance(value, list) else value
    return fields


_PLAIN = {
    "desiredCount": "desired",
    "placementConstraints": "constraints",
    "placementStrategy": "strategy",
    "healthCheckGracePeriodSeconds": "grace",
    "propagateTags": "propagate_tags",
    "enableECSManagedTags": "managed_tags",
    "enableExecuteCommand": "execute_command",
}


def _check_counts(params: Params, *, daemon: bool) -> None:
    desired = params.get("desiredCount")
    if daemon and desired is not None:
        raise invalid_parameter(f"{_DAEMON} a desired count for services. Remove the desired count value and try again")
    if daemon and params.get("capacityProviderStrategy"):
        raise invalid_parameter(f"{_DAEMON} capacity provider strategies")
    if daemon and params.get("placementStrategy"):
        raise invalid_parameter(f"{_DAEMON} placement strategies")
    if (desired or 0) < 0:
        raise invalid_parameter("desiredCount must be greater than or equal to 0.")
    if (desired or 0) > MAX_TASKS:
        raise invalid_parameter(f"desiredCount must be at most {MAX_TASKS}.")
    if not 0 <= (params.get("healthCheckGracePeriodSeconds") or 0) <= MAX_GRACE:
        raise invalid_parameter("healthCheckGracePeriodSeconds must be greater than or equal to 0.")


def _check_code_deploy(params: Params) -> None:
    if not params.get("loadBalancers"):
        raise invalid_parameter("the service requires an Application Load Balancer or Network Load Balancer")
    raise AwsError("UnsupportedFeatureException", "Homeport does not support the CODE_DEPLOY deployment controller.")


def _check_external(params: Params, *, daemon: bool) -> None:
    if params.get("taskDefinition"):
        raise invalid_parameter("TaskDefinition must be blank")
    if params.get("loadBalancers"):
        raise invalid_parameter("LoadBalancers must be empty or null")
    if daemon:
        raise invalid_parameter(f"{_DAEMON} the EXTERNAL deployment controller")


def check_external_update(params: Params) -> None:
    """What the task sets of a service say isn't the service's to change. Raises InvalidParameterException."""
    set_by_task_sets = {
        "taskDefinition": "task definition",
        "networkConfiguration": "network configuration",
        "platformVersion": "platform version",
        "capacityProviderStrategy": "capacity provider strategy",
        "loadBalancers": "load balancers",
        "serviceRegistries": "service registries",
        "serviceConnectConfiguration": "Service Connect configuration",
        "volumeConfigurations": "volume configurations",
    }
    for member, what in set_by_task_sets.items():
        if params.get(member):
            raise invalid_parameter(
                f"Unable to update {what} on services with an EXTERNAL deployment controller. {_BY_TASK_SET}"
            )
    if params.get("forceNewDeployment"):
        raise invalid_parameter(
            f"Unable to force a new deployment on services with an EXTERNAL deployment controller. {_BY_TASK_SET}"
        )


def check_whole(
    view: View,
    scope: tuple[str, str],
    params: Params,
    fields: Mapping[str, Any],
    configuration: Configuration | None,
) -> None:
    """What a service's members say together, all defaults filled in. Raises InvalidParameterException."""
    definition = definitions.of_task(view, scope, configuration.definition_arn) if configuration else None
    of_definition = definition.members.get("placementConstraints") or () if definition else ()
    placement_rules.constraints(of_definition, fields["constraints"])
    placement_rules.strategies(fields["strategy"])
    if configuration is not None and configuration.runs_on == "FARGATE":
        for field, what in (("constraints", "constraints"), ("strategy", "strategies")):
            if fields[field]:
                raise invalid_parameter(f"Placement {what} are not supported with FARGATE launch type.")
        if fields.get("scheduling") == "DAEMON":
            raise invalid_parameter("The daemon scheduling strategy is not supported with the FARGATE launch type.")
    if params.get("role"):
        _check_role(params, configuration)
    if definition is not None and configuration is not None:
        service_links.check_targets(params.get("loadBalancers") or (), definition, configuration.runs_on)
        connect, cluster = params.get("serviceConnectConfiguration"), params.get("cluster")
        if connect:
            service_links.check_connect(connect, definition, _namespace(view, scope, cluster))


def _check_role(params: Params, configuration: Configuration | None) -> None:
    """A role of the caller's is for a load balancer of tasks without interfaces of their own; all else is done in the
    service-linked role."""
    linked = configuration is None or configuration.network is not None or params.get("serviceRegistries")
    if linked or len(params.get("loadBalancers") or ()) > 1:
        raise invalid_parameter("You cannot specify an IAM role for services that require a service linked role.")
    if not params.get("loadBalancers"):
        raise invalid_parameter("IAM roles are only valid for services configured to use load balancers.")


def _namespace(view: View, scope: tuple[str, str], cluster: str | None) -> str | None:
    defaults = clusters.find_active(view, scope, cluster).service_connect_defaults
    return defaults["namespace"] if defaults else None


def check_supported(params: Params) -> None:
    """Raises UnsupportedFeatureException for what isn't built; empty and disabled values are no more than kept."""
    deployment_rules.check_supported(params.get("deploymentConfiguration") or {})
    if (params.get("serviceConnectConfiguration") or {}).get("enabled"):
        raise AwsError("UnsupportedFeatureException", "Homeport does not support Service Connect yet.")
    for member, what in _NOT_YET.items():
        if params.get(member):
            raise AwsError("UnsupportedFeatureException", f"Homeport does not support {what} yet.")


def check_quota(view: View, scope: tuple[str, str], cluster: Cluster) -> None:
    """Raises InvalidParameterException where a cluster has all the services that it can have."""
    there = sum(view.count(SERVICES, scope, "cluster", (cluster.arn, s)) for s in ("ACTIVE", "DRAINING"))
    if there >= MAX_SERVICES:
        raise invalid_parameter(f"The maximum number of services for this cluster has been reached: {MAX_SERVICES}.")


def deploys(before: Configuration, after: Configuration) -> bool:
    """Whether the change is one that ECS starts a deployment for."""
    if (before.definition_arn, before.platform_version) != (after.definition_arn, after.platform_version):
        return True
    if before.network != after.network:
        return True
    return any((before.members.get(m) or None) != (after.members.get(m) or None) for m in _NEW_TASKS)


def rebalances(
    params: Params, fields: Mapping[str, Any], configuration: Configuration | None, before: bool | None = None
) -> bool:
    """availabilityZoneRebalancing: what is asked for, else what it was ``before``, else ENABLED; in all cases only
    where the service can be rebalanced. Raises InvalidParameterException where it is asked for and can't be."""
    asked = params.get("availabilityZoneRebalancing")
    obstacle = _obstacle(params, fields, configuration)
    if asked == "ENABLED" and obstacle:
        raise invalid_parameter(f"Availability Zone rebalancing is not supported for services with {obstacle}.")
    wanted = asked == "ENABLED" if asked else before is not False
    return wanted and obstacle is None


def _obstacle(params: Params, fields: Mapping[str, Any], configuration: Configuration | None) -> str | None:
    if configuration is None:
        return "an EXTERNAL deployment controller"
    if fields.get("scheduling") == "DAEMON":
        return "the DAEMON scheduling strategy"
    if configuration.runs_on == "EXTERNAL":
        return "the EXTERNAL launch type"
    if fields["deployment_configuration"]["maximumPercent"] <= 100:
        return "a maximumPercent of 100"
    first = next(iter(fields["strategy"]), None)
    if first is not None and (first.get("type"), first.get("field")) != ("spread", _ZONE):
        return "a placement strategy that does not spread over Availability Zones first"
    if any("ecs.availability-zone" in (c.get("expression") or "") for c in fields["constraints"]):
        return "a placement constraint on the Availability Zone"
    if any(b.get("loadBalancerName") for b in params.get("loadBalancers") or ()):
        return "a Classic Load Balancer"
    return None
