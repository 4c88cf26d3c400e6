"""Gateways: not built. Each operation checks what it is given before it says so."""

from __future__ import annotations

from typing import NoReturn

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import invalid_parameter
from homeport.services.ecs import service_names, tags, unbuilt
from homeport.store import View

_FEATURE = "gateways"


def create_gateway(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_name("name", params["name"])
    tags.parse(params.get("tags"))
    _check_gateway(params)
    unbuilt.refuse(_FEATURE)


def update_gateway(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_name_or_arn(call, "gateway", params["gateway"])
    _check_gateway(params)
    unbuilt.refuse(_FEATURE)


def delete_gateway(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_name_or_arn(call, "gateway", params["gateway"])
    unbuilt.refuse(_FEATURE)


def describe_gateway(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_name_or_arn(call, "gateway", params["gateway"])
    unbuilt.refuse(_FEATURE)


def describe_gateway_resources(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_name_or_arn(call, "gateway", params["gateway"])
    unbuilt.check_page(call, params)
    unbuilt.refuse(_FEATURE)


def list_gateways(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    for name in params.get("names") or ():
        unbuilt.check_name("The name of a gateway", name)
    unbuilt.check_page(call, params)
    unbuilt.refuse(_FEATURE)


def associate_gateway_with_cluster(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_name_or_arn(call, "gateway", params["gateway"])
    unbuilt.check_cluster(view, call, params["cluster"])
    unbuilt.refuse(_FEATURE)


def disassociate_gateway_from_cluster(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_name_or_arn(call, "gateway", params["gateway"])
    unbuilt.check_cluster(view, call, params["cluster"])
    unbuilt.refuse(_FEATURE)


def list_gateway_cluster_associations(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_name_or_arn(call, "gateway", params.get("gateway"))
    unbuilt.check_name_or_arn(call, "cluster", params.get("cluster"))
    unbuilt.check_page(call, params)
    unbuilt.refuse(_FEATURE)


def list_gateway_routes(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_name_or_arn(call, "gateway", params.get("gateway"))
    unbuilt.check_name_or_arn(call, "cluster", params.get("cluster"))
    if params.get("service") is not None:
        service_names.check(call.scope, params["service"])
    unbuilt.check_page(call, params)
    unbuilt.refuse(_FEATURE)


def describe_gateway_route(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_arns(call, "gateway-route", params["gatewayRouteArn"])
    unbuilt.refuse(_FEATURE)


def _check_gateway(params: Params) -> None:
    """What the two that make or change one have in common. A configuration is one of several kinds."""
    unbuilt.check_roles(params.get("infrastructureRoleArn"))
    if "configuration" in params and len(params["configuration"]) != 1:
        raise invalid_parameter("Exactly one kind of configuration must be specified.")


OPERATIONS: dict[str, Operation] = {
    "CreateGateway": Operation(create_gateway, write=False),
    "UpdateGateway": Operation(update_gateway, write=False),
    "DeleteGateway": Operation(delete_gateway, write=False),
    "DescribeGateway": Operation(describe_gateway, write=False),
    "DescribeGatewayResources": Operation(describe_gateway_resources, write=False),
    "ListGateways": Operation(list_gateways, write=False),
    "AssociateGatewayWithCluster": Operation(associate_gateway_with_cluster, write=False),
    "DisassociateGatewayFromCluster": Operation(disassociate_gateway_from_cluster, write=False),
    "ListGatewayClusterAssociations": Operation(list_gateway_cluster_associations, write=False),
    "ListGatewayRoutes": Operation(list_gateway_routes, write=False),
    "DescribeGatewayRoute": Operation(describe_gateway_route, write=False),
}
