"""ListServiceDeployments, DescribeServiceDeployments, DescribeServiceRevisions, StopServiceDeployment,
ContinueServiceDeployment.

They are those of ACTIVE services: ECS deletes a service's deployments and revisions with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from msgspec.structs import replace

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import clusters, names, pages, service_names, services
from homeport.services.ecs.model.deployment import (
    FINISHED,
    REVISIONS,
    SERVICE_DEPLOYMENTS,
    Revision,
    ServiceDeployment,
)
from homeport.services.ecs.model.service import SERVICES, Service
from homeport.services.ecs.views import service_deployment as views
from homeport.store import Scope, Table, Tx, View

R = TypeVar("R", ServiceDeployment, Revision)

MAX_DESCRIBED = 20  # of one call
DEFAULT_LISTED = 20  # deployments of a page where maxResults isn't given


def list_service_deployments(view: View, call: Call, params: Params) -> dict[str, Any]:
    """The newest first."""
    cluster = clusters.find_active(view, call.scope, params.get("cluster"))
    service_names.check(call.scope, params["service"])
    created = params.get("createdAt") or {}
    after, before = created.get("after", float("-inf")), created.get("before", float("inf"))
    if after > before:
        raise invalid_parameter("createdAt: 'after' must not be later than 'before'.")
    service = services.find(view, call.scope, cluster, params["service"])
    found: list[ServiceDeployment] = []
    if service is not None and service.status == "ACTIVE":
        statuses = params.get("status")
        found = [
            made
            for made in view.find(SERVICE_DEPLOYMENTS, call.scope, "service", service.id)
            if after <= made.created_at <= before and (not statuses or made.status in statuses)
        ]
        found.sort(key=_place, reverse=True)
    answer = pages.listed(
        call,
        params,
        "serviceDeployments",
        found,
        key=_place,
        answer=lambda made: views.brief(service, made) if service else {},
        default=DEFAULT_LISTED,
        descending=True,
    )
    if service is None or service.status != "ACTIVE":
        raise service_names.not_found()
    return answer


def describe_service_deployments(view: View, call: Call, params: Params) -> dict[str, Any]:
    scope = Scope(*call.scope)
    return _described(
        view,
        call,
        params["serviceDeploymentArns"],
        "service-deployment",
        SERVICE_DEPLOYMENTS,
        "serviceDeployments",
        lambda service, made: views.whole(view, scope, service, made),
    )


def describe_service_revisions(view: View, call: Call, params: Params) -> dict[str, Any]:
    scope = Scope(*call.scope)
    return _described(
        view,
        call,
        params["serviceRevisionArns"],
        "service-revision",
        REVISIONS,
        "serviceRevisions",
        lambda service, made: views.revision(view, scope, service, made),
    )


def stop_service_deployment(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Asks for the rollback to the deployment that completed last. One that stops or goes back already goes on so;
    one that is over can't be stopped."""
    if params.get("stopType") == "ABORT":
        text = "ECS StopServiceDeployment API with ABORT stopType is not supported."
        raise AwsError("UnsupportedFeatureException", text)
    service, made = _named_deployment(tx, call, params)
    if made.status in FINISHED:
        text = f"The service deployment is in the {made.status} state and can not be stopped."
        raise AwsError("ConflictException", text)
    if made.status in ("PENDING", "IN_PROGRESS"):
        asked = replace(made, status="ROLLBACK_REQUESTED", updated_at=call.now)
        tx.put(SERVICE_DEPLOYMENTS, Scope(*call.scope), asked)
    return {"serviceDeploymentArn": views.arn_of(service, made)}


def continue_service_deployment(view: View, call: Call, params: Params) -> NoReturn:
    """Rolling deployments pause nowhere, so there is no hook of this id."""
    _named_deployment(view, call, params)
    raise invalid_parameter(f"The service deployment is not paused at a lifecycle hook with the ID {params['hookId']}.")


def _described(
    view: View,
    call: Call,
    arns: list[str],
    kind: str,
    table: Table[R],
    member: str,
    shown: Callable[[Service, R], dict[str, Any]],
) -> dict[str, Any]:
    wanted = list(dict.fromkeys(arns))
    if not 1 <= len(wanted) <= MAX_DESCRIBED:
        raise invalid_parameter(f"You must specify 1 to {MAX_DESCRIBED} ARNs.")
    for text in wanted:
        names.check_arn(call.scope, kind, text)
    found = {text: _part(view, call, kind, table, text) for text in wanted}
    missing = [text for text, part in found.items() if part is None]
    return {
        member: [shown(*part) for part in found.values() if part is not None],
        "failures": service_names.missing(missing),
    }


def _part(view: View, call: Call, kind: str, table: Table[R], text: str) -> tuple[Service, R] | None:
    """What an ARN names, with its service; None where there is no such thing, or the service was deleted."""
    path = names.local(call.scope, kind, text) or ""
    owner, _, id = path.rpartition("/")
    service = view.get(SERVICES, call.scope, owner)
    found = view.get(table, call.scope, id)
    if service is None or service.status != "ACTIVE" or found is None or found.service != service.id:
        return None
    return service, found


def _named_deployment(view: View, call: Call, params: Params) -> tuple[Service, ServiceDeployment]:
    text = params["serviceDeploymentArn"]
    names.check_arn(call.scope, "service-deployment", text)
    found = _part(view, call, "service-deployment", SERVICE_DEPLOYMENTS, text)
    if found is None:
        raise AwsError("ServiceDeploymentNotFoundException", "The service deployment was not found.")
    return found


def _place(made: ServiceDeployment) -> str:
    return f"{made.number:020d}"


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
    "StopServiceDeployment": Operation(stop_service_deployment, resources=_named),
    "ContinueServiceDeployment": Operation(continue_service_deployment, write=False, resources=_named),
}
