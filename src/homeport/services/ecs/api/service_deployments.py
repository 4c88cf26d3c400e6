"""ListServiceDeployments, DescribeServiceDeployments, DescribeServiceRevisions, StopServiceDeployment,
ContinueServiceDeployment.

Deployments and revisions are a service's, and there are no services yet.
"""

from __future__ import annotations

from typing import Any, NoReturn

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import clusters, names, pages, service_names
from homeport.store import View

MAX_DESCRIBED = 20  # of one call
DEFAULT_LISTED = 20  # deployments of a page where maxResults isn't given


def list_service_deployments(view: View, call: Call, params: Params) -> NoReturn:
    """Finds no such service."""
    clusters.find_active(view, call.scope, params.get("cluster"))
    service_names.check(call.scope, params["service"])
    created = params.get("createdAt") or {}
    if created.get("after", 0.0) > created.get("before", float("inf")):
        raise invalid_parameter("createdAt: 'after' must not be later than 'before'.")
    none: list[str] = []
    pages.listed(call, params, "serviceDeployments", none, key=str, answer=str, default=DEFAULT_LISTED)
    raise service_names.not_found()


def describe_service_deployments(view: View, call: Call, params: Params) -> dict[str, Any]:
    """Each is MISSING."""
    failures = _missing(call, "service-deployment", params["serviceDeploymentArns"])
    return {"serviceDeployments": [], "failures": failures}


def describe_service_revisions(view: View, call: Call, params: Params) -> dict[str, Any]:
    """Each is MISSING."""
    return {"serviceRevisions": [], "failures": _missing(call, "service-revision", params["serviceRevisionArns"])}


def stop_service_deployment(view: View, call: Call, params: Params) -> NoReturn:
    """Finds no such deployment."""
    if params.get("stopType") == "ABORT":
        raise invalid_parameter("The stop type ABORT is not supported. Specify ROLLBACK.")
    _no_deployment(call, params)


def continue_service_deployment(view: View, call: Call, params: Params) -> NoReturn:
    """Finds no such deployment."""
    _no_deployment(call, params)


def _no_deployment(call: Call, params: Params) -> NoReturn:
    names.check_arn(call.scope, "service-deployment", params["serviceDeploymentArn"])
    raise AwsError("ServiceDeploymentNotFoundException", "The service deployment was not found.")


def _missing(call: Call, kind: str, arns: list[str]) -> list[dict[str, str]]:
    wanted = list(dict.fromkeys(arns))
    if not 1 <= len(wanted) <= MAX_DESCRIBED:
        raise invalid_parameter(f"You must specify 1 to {MAX_DESCRIBED} ARNs.")
    for text in wanted:
        names.check_arn(call.scope, kind, text)
    return service_names.missing(wanted)


def _named(call: Call, params: Params) -> list[str]:
    return [params["serviceDeploymentArn"]]


OPERATIONS: dict[str, Operation] = {
    "ListServiceDeployments": Operation(
        list_service_deployments, write=False, resources=lambda call, params: [params["service"]]
    ),
    "DescribeServiceDeployments": Operation(
        describe_service_deployments, write=False, resources=lambda call, params: params["serviceDeploymentArns"]
    ),
    "DescribeServiceRevisions": Operation(
        describe_service_revisions, write=False, resources=lambda call, params: params["serviceRevisionArns"]
    ),
    "StopServiceDeployment": Operation(stop_service_deployment, write=False, resources=_named),
    "ContinueServiceDeployment": Operation(continue_service_deployment, write=False, resources=_named),
}
