"""Managed daemons: not built. Each operation checks what it is given before it says so."""

from __future__ import annotations

from typing import NoReturn

from homeport.aws.operations import Call, Operation, Params
from homeport.core.errors import client_error, invalid_parameter
from homeport.services.ecs import tags, unbuilt
from homeport.store import View

MAX_BAKE_MINUTES = 1440
_FEATURE = "managed daemons"


def create_daemon(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_name("daemonName", params["daemonName"])
    if params.get("clusterArn"):
        unbuilt.check_arns(call, "cluster", params["clusterArn"])
    unbuilt.check_cluster(view, call, params.get("clusterArn"))
    tags.parse(params.get("tags"))
    _check_daemon(call, params)
    unbuilt.refuse(_FEATURE)


def update_daemon(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_arns(call, "daemon", params["daemonArn"])
    _check_daemon(call, params)
    unbuilt.refuse(_FEATURE)


def delete_daemon(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_arns(call, "daemon", params["daemonArn"])
    unbuilt.refuse(_FEATURE)


def describe_daemon(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_arns(call, "daemon", params["daemonArn"])
    unbuilt.refuse(_FEATURE)


def list_daemons(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    if params.get("clusterArn"):
        unbuilt.check_arns(call, "cluster", params["clusterArn"])
        unbuilt.check_cluster(view, call, params["clusterArn"])
    unbuilt.check_arns(call, "capacity-provider", *params.get("capacityProviderArns") or ())
    unbuilt.check_page(call, params)
    unbuilt.refuse(_FEATURE)


def list_daemon_deployments(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_arns(call, "daemon", params["daemonArn"])
    unbuilt.check_page(call, params)
    unbuilt.refuse(_FEATURE)


def describe_daemon_deployments(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_some("daemonDeploymentArns", params["daemonDeploymentArns"])
    unbuilt.check_arns(call, "daemon-deployment", *params["daemonDeploymentArns"])
    unbuilt.refuse(_FEATURE)


def describe_daemon_revisions(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_some("daemonRevisionArns", params["daemonRevisionArns"])
    unbuilt.check_arns(call, "daemon-revision", *params["daemonRevisionArns"])
    unbuilt.refuse(_FEATURE)


def register_daemon_task_definition(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_name("family", params["family"])
    if not params["containerDefinitions"]:
        raise client_error("Container definitions cannot be empty.")
    unbuilt.check_roles(params.get("taskRoleArn"), params.get("executionRoleArn"))
    tags.parse(params.get("tags"))
    unbuilt.refuse(_FEATURE, declared=False)


def describe_daemon_task_definition(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    _check_definition(call, params["daemonTaskDefinition"])
    unbuilt.refuse(_FEATURE, declared=False)


def list_daemon_task_definitions(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    unbuilt.check_name("family", params.get("family"))
    if params.get("family") and params.get("familyPrefix"):
        raise invalid_parameter("family and familyPrefix cannot both be specified.")
    unbuilt.check_page(call, params)
    unbuilt.refuse(_FEATURE, declared=False)


def delete_daemon_task_definition(view: View, call: Call, params: Params) -> NoReturn:
    """Not supported."""
    _check_definition(call, params["daemonTaskDefinition"])
    unbuilt.refuse(_FEATURE, declared=False)


def _check_daemon(call: Call, params: Params) -> None:
    """What CreateDaemon and UpdateDaemon have in common."""
    unbuilt.check_arns(call, "daemon-task-definition", params["daemonTaskDefinitionArn"])
    if not params["capacityProviderArns"]:
        raise invalid_parameter("capacityProviderArns cannot be empty.")
    unbuilt.check_arns(call, "capacity-provider", *params["capacityProviderArns"])
    minutes = (params.get("deploymentConfiguration") or {}).get("bakeTimeInMinutes") or 0
    if not 0 <= minutes <= MAX_BAKE_MINUTES:
        raise invalid_parameter(f"bakeTimeInMinutes must be between 0 and {MAX_BAKE_MINUTES}.")


def _check_definition(call: Call, text: str) -> None:
    """``family``, ``family:revision`` or an ARN."""
    if text.startswith("arn:"):
        unbuilt.check_arns(call, "daemon-task-definition", text)
        return
    family, colon, revision = text.partition(":")
    unbuilt.check_name("The family of a daemon task definition", family)
    if colon and not (revision.isascii() and revision.isdigit()):
        raise invalid_parameter(f"Invalid revision number. Number: {revision}")


OPERATIONS: dict[str, Operation] = {
    "CreateDaemon": Operation(create_daemon, write=False),
    "UpdateDaemon": Operation(update_daemon, write=False),
    "DeleteDaemon": Operation(delete_daemon, write=False),
    "DescribeDaemon": Operation(describe_daemon, write=False),
    "ListDaemons": Operation(list_daemons, write=False),
    "ListDaemonDeployments": Operation(list_daemon_deployments, write=False),
    "DescribeDaemonDeployments": Operation(describe_daemon_deployments, write=False),
    "DescribeDaemonRevisions": Operation(describe_daemon_revisions, write=False),
    "RegisterDaemonTaskDefinition": Operation(register_daemon_task_definition, write=False),
    "DescribeDaemonTaskDefinition": Operation(describe_daemon_task_definition, write=False),
    "ListDaemonTaskDefinitions": Operation(list_daemon_task_definitions, write=False),
    "DeleteDaemonTaskDefinition": Operation(delete_daemon_task_definition, write=False),
}
