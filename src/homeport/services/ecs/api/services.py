"""CreateService, UpdateService, DeleteService, DescribeServices, ListServices, ListServicesByNamespace."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec.structs import replace

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs import (
    clusters,
    deployments,
    pages,
    service_configuration,
    service_effects,
    service_names,
    service_rules,
    services,
    tags,
)
from homeport.services.ecs.model.cluster import CLUSTERS, Cluster
from homeport.services.ecs.model.deployment import DEPLOYMENTS, REVISIONS, SERVICE_DEPLOYMENTS, Configuration
from homeport.services.ecs.model.service import SERVICES, Service
from homeport.services.ecs.model.task_set import TASK_SETS
from homeport.services.ecs.views import service as views
from homeport.store import Scope, Tx, View

MAX_DESCRIBED = 10  # services of one DescribeServices
DEFAULT_LISTED = 10  # services of a page where maxResults isn't given
DELETED = "The service was deleted."
_NOT_AGAIN = "Creation of service was not idempotent."


def create_service(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """The same parameters once more give the service that is there; a name is free again once its service is
    INACTIVE."""
    scope = Scope(*call.scope)
    cluster = clusters.find_active(tx, scope, params.get("cluster"))
    service_rules.check_names(params)
    digest = _digest(params)
    before = tx.get(SERVICES, scope, f"{cluster.name}/{params['serviceName']}")
    if before is not None and before.status != "INACTIVE" and services.belongs(before, cluster):
        return {"service": views.service(tx, scope, _again(before, digest))}
    _check_token(tx, scope, cluster, params)
    made = _made(tx, call, params, cluster, digest)
    if before is not None:
        service_effects.remove(tx, scope, before)
    if made.configuration is not None:
        deployments.begin(tx, scope, made, made.configuration, call.ids)
    tx.put(SERVICES, scope, made)
    return {"service": views.service(tx, scope, made)}


def _again(before: Service, digest: str) -> Service:
    if before.status == "DRAINING":
        raise invalid_parameter("Unable to Start a service that is still Draining.")
    if before.digest != digest:
        raise invalid_parameter(_NOT_AGAIN)
    return before


def _check_token(tx: Tx, scope: Scope, cluster: Cluster, params: Params) -> None:
    """A token that another service of the cluster was made with. Raises InvalidParameterException."""
    token = params.get("clientToken")
    if token and tx.count(SERVICES, scope, "token", (cluster.arn, token)):
        raise invalid_parameter(_NOT_AGAIN)


def _made(tx: Tx, call: Call, params: Params, cluster: Cluster, digest: str) -> Service:
    """The checked record."""
    fields = service_rules.of_new(params)
    configuration: Configuration | None = None
    if fields["controller"] == "ECS":
        if not params.get("taskDefinition"):
            raise invalid_parameter("TaskDefinition can not be blank.")
        configuration = service_configuration.new(tx, call, params, cluster)
    service_rules.check_whole(tx, call.scope, params, fields, configuration)
    service_rules.check_supported(params)
    service_rules.check_quota(tx, call.scope, cluster)
    return Service(
        cluster=cluster.name,
        cluster_arn=cluster.arn,
        cluster_generation=cluster.generation,
        name=params["serviceName"],
        created_at=call.now,
        created_by=call.principal.arn,
        configuration=configuration,
        tags=tags.parse(params.get("tags")),
        token=params.get("clientToken"),
        digest=digest,
        **{**fields, "rebalancing": service_rules.rebalances(params, fields, configuration)},
    )


def update_service(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Changes what is given. A deployment begins where its tasks would be others than before, or by force."""
    scope = Scope(*call.scope)
    cluster = clusters.find_active(tx, scope, params.get("cluster"))
    service_names.check(scope, params["service"])
    before = services.find_active(tx, scope, cluster, params["service"])
    fields = service_rules.of_changed(params, before)
    configuration = before.configuration
    if before.controller == "EXTERNAL":
        service_rules.check_external_update(params)
    elif configuration is not None:
        configuration = service_configuration.changed(tx, call, configuration, params, cluster)
    service_rules.check_whole(tx, call.scope, params, fields, configuration)
    service_rules.check_supported(params)
    spread = None if before.controller == "EXTERNAL" else configuration  # what its PRIMARY task set is doesn't count
    fields["rebalancing"] = service_rules.rebalances(params, fields, spread, before.rebalancing)
    after = replace(before, configuration=configuration, **fields)
    if configuration is not None and before.configuration is not None and before.controller == "ECS":
        if params.get("forceNewDeployment") or service_rules.deploys(before.configuration, configuration):
            deployments.begin(tx, scope, after, configuration, call.ids)
        elif configuration != before.configuration:
            _revise(tx, scope, after, configuration, call)
    tx.put(SERVICES, scope, after)
    return {"service": views.service(tx, scope, after)}


def _revise(tx: Tx, scope: Scope, service: Service, configuration: Configuration, call: Call) -> None:
    """Tasks that the PRIMARY deployment starts from now on have another capacity provider strategy: it goes on with a
    revision of its own, as revisions don't change."""
    primary = next((d for d in services.deployments(tx, scope, service) if d.role == "PRIMARY"), None)
    old = tx.get(REVISIONS, scope, primary.revision) if primary else None
    if primary is None or old is None:
        return
    revision = replace(old, id=call.ids.new("number"), configuration=configuration, created_at=call.now)
    tx.put(REVISIONS, scope, revision)
    tx.put(DEPLOYMENTS, scope, replace(primary, revision=revision.id))
    for going in tx.find(SERVICE_DEPLOYMENTS, scope, "open", service.id):
        if going.deployment == primary.id:
            tx.put(SERVICE_DEPLOYMENTS, scope, replace(going, target=revision.id))
        elif going.rollback is not None and going.rollback.revision == old.id:
            back = replace(going.rollback, revision=revision.id)
            tx.put(SERVICE_DEPLOYMENTS, scope, replace(going, rollback=back))
    deployments.trim(tx, scope, service.id)


def delete_service(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """The service is DRAINING until its tasks end."""
    scope = Scope(*call.scope)
    cluster = clusters.find_active(tx, scope, params.get("cluster"))
    service = services.find(tx, scope, cluster, params["service"])
    if service is None or service.status == "INACTIVE":
        raise service_names.not_found()
    if service.status == "ACTIVE":
        _check_deletable(tx, scope, service, force=bool(params.get("force")))
        service = replace(service, status="DRAINING", desired=0, deleted_at=call.now)
        for going in tx.find(SERVICE_DEPLOYMENTS, scope, "open", service.id):
            times = {"stopped_at": call.now, "finished_at": call.now, "updated_at": call.now}
            tx.put(SERVICE_DEPLOYMENTS, scope, replace(going, status="STOPPED", status_reason=DELETED, **times))
        tx.put(SERVICES, scope, service)
    return {"service": views.service(tx, scope, service)}


def _check_deletable(tx: Tx, scope: Scope, service: Service, *, force: bool) -> None:
    if force:
        return
    if service.scheduling == "REPLICA" and service.desired > 0:
        raise invalid_parameter("The service cannot be stopped while it is scaled above 0.")
    if tx.count(TASK_SETS, scope, "service", service.id):
        raise invalid_parameter("The service cannot be stopped while it has task sets. Delete them, or use force.")


def describe_services(view: View, call: Call, params: Params) -> dict[str, Any]:
    scope = Scope(*call.scope)
    cluster = clusters.find_active(view, scope, params.get("cluster"))
    wanted = list(dict.fromkeys(params["services"]))
    if not wanted:
        raise invalid_parameter("Services cannot be empty.")
    if len(wanted) > MAX_DESCRIBED:
        raise invalid_parameter(f"services can have at most {MAX_DESCRIBED} items.")
    with_tags = "TAGS" in (params.get("include") or ())
    found: dict[str, Service] = {}
    missing: list[str] = []
    for text in wanted:
        service = services.find(view, scope, cluster, text)
        if service is None:
            missing.append(service_names.arn_of(cluster, text))
        else:
            found[service.id] = service
    shown = [views.service(view, scope, service, with_tags=with_tags) for service in found.values()]
    return {"services": shown, "failures": service_names.missing(missing)}


def list_services(view: View, call: Call, params: Params) -> dict[str, Any]:
    """ACTIVE services, by name."""
    cluster = clusters.find_active(view, call.scope, params.get("cluster"))
    found = [s for s in view.find(SERVICES, call.scope, "cluster", (cluster.arn, "ACTIVE")) if _passes(s, params)]
    return _listed(call, params, found)


def _passes(service: Service, params: Params) -> bool:
    launch_type, scheduling = params.get("launchType"), params.get("schedulingStrategy")
    configuration = service.configuration
    return (
        (not launch_type or (configuration is not None and configuration.launch_type == launch_type))
        and (not scheduling or service.scheduling == scheduling)
        and params.get("resourceManagementType") != "ECS"
    )


def list_services_by_namespace(view: View, call: Call, params: Params) -> dict[str, Any]:
    """A namespace is known where it is a cluster's default. No service uses one yet."""
    answer, namespace = _listed(call, params, []), params["namespace"]
    active = view.find(CLUSTERS, call.scope, "status", "ACTIVE")
    if not any((c.service_connect_defaults or {}).get("namespace") == namespace for c in active):
        raise AwsError("NamespaceNotFoundException", "The specified namespace was not found.")
    return answer


def _listed(call: Call, params: Params, found: list[Service]) -> dict[str, Any]:
    ordered = sorted(found, key=lambda s: s.name)
    return pages.listed(
        call, params, "serviceArns", ordered, key=lambda s: s.name, answer=lambda s: s.arn, default=DEFAULT_LISTED
    )


def _digest(params: Params) -> str:
    rest = {member: value for member, value in params.items() if member not in ("clientToken", "cluster")}
    return hashlib.sha256(msgspec.json.encode(rest, order="deterministic")).hexdigest()


def _named(call: Call, params: Params) -> list[str]:
    return [params["service"]]


OPERATIONS: dict[str, Operation] = {
    "CreateService": Operation(create_service),
    "UpdateService": Operation(update_service, resources=_named),
    "DeleteService": Operation(delete_service, resources=_named),
    "DescribeServices": Operation(describe_services, write=False, resources=lambda call, params: params["services"]),
    "ListServices": Operation(list_services, write=False),
    "ListServicesByNamespace": Operation(list_services_by_namespace, write=False),
}
