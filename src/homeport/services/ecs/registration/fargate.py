"""What Fargate asks of a task definition beyond the rules for all. Pure."""

from __future__ import annotations

import re

from homeport.services.ecs.registration.logs import log_driver
from homeport.services.ecs.registration.members import (
    Members,
    Rule,
    containers,
    each,
    items,
    mode,
    part,
    requires,
    windows,
)
from homeport.services.ecs.registration.sizes import fargate_size_error

LOG_DRIVERS = ("awslogs", "splunk", "awsfirelens")
MAX_TIMEOUT = 120  # seconds, of startTimeout and stopTimeout
CAPABILITIES = ("SYS_PTRACE",)  # that may be added

_ECR = re.compile(r"[0-9]{12}\.dkr[.-]ecr(-fips)?\.[a-z0-9-]+\.(amazonaws\.com(\.cn)?|on\.aws)/")
_FOREIGN_LINUX_PARAMETERS = ("sharedMemorySize", "devices", "tmpfs", "maxSwap", "swappiness")
_FOREIGN_MEMBERS = ("dockerSecurityOptions", "links")


def network_mode(definition: Members) -> str | None:
    return None if mode(definition) == "awsvpc" else "Fargate only supports network mode ‘awsvpc’."


def size(definition: Members) -> str | None:
    cpu, memory = int(definition.get("cpu") or 0), int(definition.get("memory") or 0)
    return fargate_size_error(cpu, memory, windows=windows(definition))


def execution_role(definition: Members) -> str | None:
    if definition.get("executionRoleArn"):
        return None
    if any(log_driver(container) == "awslogs" for container in containers(definition)):
        return "Fargate requires task definition to have execution role ARN to support log driver awslogs."
    if any(ecr_image(container) for container in containers(definition)):
        return "Fargate requires task definition to have execution role ARN to support ECR images."
    return None


def task_members(definition: Members) -> str | None:
    for volume in items(definition, "volumes"):
        if part(volume, "host").get("sourcePath"):
            return _foreign("sourcePath")
        for kind in ("dockerVolumeConfiguration", "fsxWindowsFileServerVolumeConfiguration"):
            if kind in volume:
                return _foreign(kind)
    if items(definition, "placementConstraints"):
        return _foreign("constraints")
    if definition.get("ipcMode"):
        return _foreign("ipcMode")
    if definition.get("pidMode") == "host":
        return "Tasks using the Fargate launch type do not support pidMode 'host'"
    return None


def container_members(definition: Members, container: Members) -> str | None:
    if container.get("privileged"):
        return "Fargate requires that the 'privileged' setting be 'false'."
    parameters = part(container, "linuxParameters")
    foreign = [name for name in _FOREIGN_LINUX_PARAMETERS if parameters.get(name) not in (None, [])]
    foreign += [name for name in _FOREIGN_MEMBERS if container.get(name)]
    foreign += [need["type"] for need in items(container, "resourceRequirements")]
    if foreign:
        return _foreign(foreign[0])
    added = items(part(parameters, "capabilities"), "add")
    refused = next((capability for capability in added if capability not in CAPABILITIES), None)
    return None if refused is None else f"{refused} is not allowed on Fargate."


def logging(definition: Members, container: Members) -> str | None:
    driver = log_driver(container)
    options = part(part(container, "logConfiguration"), "options")
    if driver == "awslogs" and not options.get("awslogs-stream-prefix"):
        return (
            "Fargate requires log configuration options to include awslogs-stream-prefix to support log driver awslogs."
        )
    if part(part(container, "firelensConfiguration"), "options").get("config-file-type", "file") != "file":
        return _foreign("a config-file-type other than file")
    if driver is None or driver in LOG_DRIVERS:
        return None
    return f"{driver} is not a valid log driver. Must be one of [{', '.join(LOG_DRIVERS)}]"


def timeouts(definition: Members, container: Members) -> str | None:
    for kind in ("start", "stop"):
        if (container.get(f"{kind}Timeout") or 0) > MAX_TIMEOUT:
            return (
                f"Tasks using the Fargate launch type must have a container {kind} timeout of less than {MAX_TIMEOUT} "
                "seconds."
            )
    return None


def ecr_image(container: Members) -> bool:
    """Whether its image lies in a private ECR registry."""
    return _ECR.match(container.get("image") or "") is not None


def _foreign(what: str) -> str:
    return f"Fargate compatible task definitions do not support {what}"


DEMANDS: tuple[Rule, ...] = (
    network_mode,
    size,
    execution_role,
    task_members,
    each(container_members),
    each(logging),
    each(timeouts),
)


def refusal(definition: Members) -> str | None:
    """ECS's text where Fargate can't run it, else None."""
    return next(filter(None, (demand(definition) for demand in DEMANDS)), None)


def demanded(definition: Members) -> str | None:
    """``refusal`` as a rule: only for definitions that require FARGATE."""
    return refusal(definition) if requires(definition, "FARGATE") else None
