"""Express services: not built. Each operation checks what it is given before it says so."""

from __future__ import annotations

from typing import NoReturn

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import invalid_parameter
from homeport.services.ecs import tags, unbuilt
from homeport.store import View

_FEATURE = "Express services"
_OF_DEFINITION = ("primaryContainer", "executionRoleArn", "taskRoleArn", "cpu", "memory", "cpuArchitecture")


def create_express_gateway_service(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_name("serviceName", params.get("serviceName"))
    unbuilt.check_roles(params["infrastructureRoleArn"])
    unbuilt.check_cluster(view, call, params.get("cluster"))
    tags.parse(params.get("tags"))
    _check_service(call, params)
    unbuilt.refuse(_FEATURE)


def update_express_gateway_service(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_arns(call, "service", params["serviceArn"])
    _check_service(call, params)
    unbuilt.refuse(_FEATURE)


def describe_express_gateway_service(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_arns(call, "service", params["serviceArn"])
    unbuilt.refuse(_FEATURE)


def delete_express_gateway_service(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_arns(call, "service", params["serviceArn"])
    unbuilt.refuse(_FEATURE)


def _check_service(call: Call, params: Params) -> None:
    """What the two that make or change one have in common."""
    unbuilt.check_roles(params.get("executionRoleArn"), params.get("taskRoleArn"))
    if params.get("taskDefinitionArn"):
        unbuilt.check_arns(call, "task-definition", params["taskDefinitionArn"])
        given = next((member for member in _OF_DEFINITION if params.get(member)), None)
        if given:
            raise invalid_parameter(f"{given} cannot be specified together with taskDefinitionArn.")
    port = (params.get("primaryContainer") or {}).get("containerPort", 80)
    if not 1 <= port <= 65535:
        raise invalid_parameter("containerPort must be between 1 and 65535.")
    target = params.get("scalingTarget") or {}
    if not 0 <= target.get("minTaskCount", 0) <= target.get("maxTaskCount", target.get("minTaskCount", 0)):
        raise invalid_parameter("minTaskCount must be at least 0 and at most maxTaskCount.")


OPERATIONS: dict[str, Operation] = {
    "CreateExpressGatewayService": Operation(create_express_gateway_service, write=False),
    "UpdateExpressGatewayService": Operation(update_express_gateway_service, write=False),
    "DescribeExpressGatewayService": Operation(describe_express_gateway_service, write=False),
    "DeleteExpressGatewayService": Operation(delete_express_gateway_service, write=False),
}
