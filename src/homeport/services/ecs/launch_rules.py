"""Whether tasks of a definition can be what a caller asks for: checks that tasks of their own and services share."""

from __future__ import annotations

from homeport.aws.operations import Call, Params
from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ec2 import eni
from homeport.services.ecs import definitions, needs
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.waiting import Network
from homeport.store import Scope, Tx

PLATFORM_VERSION = "1.4.0"  # what LATEST stands for


def check_definition(definition: TaskDefinition, launch_type: str) -> None:
    """Whether tasks of the definition can be of the launch type at all. Raises."""
    if launch_type not in definition.compatibilities:
        raise invalid_parameter(f"Task definition does not support launch_type {launch_type}.")
    # Fargate's nodes are those of this machine; container instances are asked one by one for their architecture.
    architecture = needs.architecture(definition) if launch_type != "FARGATE" else ""
    unsupported = definitions.unsupported(definition, architecture or "X86_64", launch_type)
    if unsupported:
        raise AwsError("UnsupportedFeatureException", unsupported)


def check_platform(version: str | None) -> None:
    """Raises PlatformUnknownException for a platform version of Fargate's that there isn't."""
    if (version or "LATEST") not in ("LATEST", PLATFORM_VERSION):
        raise AwsError("PlatformUnknownException", "The specified platform does not exist.")


def network(tx: Tx, call: Call, params: Params, definition: TaskDefinition, launch_type: str) -> Network | None:
    """The networkConfiguration of the parameters, checked; None outside awsvpc. Raises InvalidParameterException."""
    wanted = (params.get("networkConfiguration") or {}).get("awsvpcConfiguration")
    if definitions.network_mode(definition) != "awsvpc":
        if wanted is not None:
            raise invalid_parameter(
                "Network Configuration is not valid for the given networkMode of this task definition."
            )
        return None
    if wanted is None:
        raise invalid_parameter("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    public = wanted.get("assignPublicIp") == "ENABLED"
    if public and launch_type != "FARGATE":
        raise invalid_parameter("Assign public IP is not supported for this launch type.")
    subnets, groups = wanted.get("subnets") or [], wanted.get("securityGroups") or []
    _, checked = eni.check(tx, Scope(*call.scope), subnets, groups, call.ids, call.now)
    return Network(tuple(subnets), checked, public=public)
