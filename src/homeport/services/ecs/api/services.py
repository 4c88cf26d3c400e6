"""CreateService, UpdateService, DeleteService, DescribeServices, ListServices, ListServicesByNamespace.

There are no services yet: the answers are those of ECS where there is none, and CreateService makes none.
"""

from __future__ import annotations

from typing import Any, NoReturn

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import clusters, definitions, pages, service_names, service_rules
from homeport.services.ecs.model.cluster import CLUSTERS
from homeport.store import View

MAX_DESCRIBED = 10  # services of one DescribeServices
DEFAULT_LISTED = 10  # services of a page where maxResults isn't given


def create_service(view: View, call: Call, params: Params) -> NoReturn:
    """Checks what it is given and answers that there are no services yet."""
    cluster = clusters.find_active(view, call.scope, params.get("cluster"))
    service_rules.check_new(view, call.scope, cluster, params)
    raise AwsError("UnsupportedFeatureException", "Homeport does not support services yet.")


def update_service(view: View, call: Call, params: Params) -> NoReturn:
    """Checks what it is given and finds no such service."""
    clusters.find_active(view, call.scope, params.get("cluster"))
    service_names.check(call.scope, params["service"])
    service_rules.check_counts(params)
    if params.get("taskDefinition"):
        definitions.require_active(definitions.find(view, call.scope, params["taskDefinition"]))
    raise service_names.not_found()


def delete_service(view: View, call: Call, params: Params) -> NoReturn:
    """Finds no such service."""
    clusters.find_active(view, call.scope, params.get("cluster"))
    service_names.check(call.scope, params["service"])
    raise service_names.not_found()


def describe_services(view: View, call: Call, params: Params) -> dict[str, Any]:
    """Each is MISSING."""
    cluster = clusters.find_active(view, call.scope, params.get("cluster"))
    wanted = list(dict.fromkeys(params["services"]))
    if not wanted:
        raise invalid_parameter("Services cannot be empty.")
    if len(wanted) > MAX_DESCRIBED:
        raise invalid_parameter(f"services can have at most {MAX_DESCRIBED} items.")
    for text in wanted:
        service_names.check(call.scope, text)
    return {
        "services": [],
        "failures": service_names.missing([service_names.arn_of(cluster, text) for text in wanted]),
    }


def list_services(view: View, call: Call, params: Params) -> dict[str, Any]:
    """None."""
    clusters.find_active(view, call.scope, params.get("cluster"))
    return _none(call, params)


def list_services_by_namespace(view: View, call: Call, params: Params) -> dict[str, Any]:
    """A namespace is known where it is a cluster's default."""
    answer, namespace = _none(call, params), params["namespace"]
    active = view.find(CLUSTERS, call.scope, "status", "ACTIVE")
    if not any((c.service_connect_defaults or {}).get("namespace") == namespace for c in active):
        raise AwsError("NamespaceNotFoundException", "The specified namespace was not found.")
    return answer


def _named(call: Call, params: Params) -> list[str]:
    return [params["service"]]


def _none(call: Call, params: Params) -> dict[str, Any]:
    none: list[str] = []
    return pages.listed(call, params, "serviceArns", none, key=str, answer=str, default=DEFAULT_LISTED)


OPERATIONS: dict[str, Operation] = {
    "CreateService": Operation(create_service, write=False),
    "UpdateService": Operation(update_service, write=False, resources=_named),
    "DeleteService": Operation(delete_service, write=False, resources=_named),
    "DescribeServices": Operation(describe_services, write=False, resources=lambda call, params: params["services"]),
    "ListServices": Operation(list_services, write=False),
    "ListServicesByNamespace": Operation(list_services_by_namespace, write=False),
}
