"""Rules for a task definition as a whole. Pure.

Texts in single sentences with ``Container.``, ``Fargate``, ``Invalid …`` are recorded from ECS; where none is recorded
the wording is ours, in the manner of its neighbours.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from homeport.services.ecs.names import is_name
from homeport.services.ecs.registration.members import (
    Members,
    Rule,
    containers,
    items,
    mode,
    names,
    part,
    requires,
    windows,
)
from homeport.services.ecs.registration.sizes import CPU_RANGE

MAX_CONTAINERS = 10
MAX_BYTES = 65536  # ECS service quotas: "Task definition size limit", 64 KiB
MAX_CONSTRAINTS = 10
MAX_EXPRESSION = 2000
EPHEMERAL_GIB = range(21, 200 + 1)


def family(definition: Members) -> str | None:
    name = definition.get("family")
    if not name:
        return "Family should not be null or empty."
    return None if is_name(name) else "Family contains invalid characters."


def has_containers(definition: Members) -> str | None:
    return None if containers(definition) else "Container list cannot be empty."


def few_containers(definition: Members) -> str | None:
    if len(containers(definition)) > MAX_CONTAINERS:
        return f"Task definition cannot have more than {MAX_CONTAINERS} container definitions."
    return None


def small(definition: Members) -> str | None:
    length = len(msgspec.json.encode(definition))
    return f"Actual length: '{length}'. Max allowed length is '{MAX_BYTES}' bytes." if length > MAX_BYTES else None


def unique_containers(definition: Members) -> str | None:
    seen: set[str] = set()
    for name in names(definition):
        if name in seen:
            return f"Container.name must be unique: '{name}' is used more than once."
        seen.add(name)
    return None


def essential_container(definition: Members) -> str | None:
    if any(container.get("essential", True) for container in containers(definition)):
        return None
    return "Task definition doesn't have any essential container"


def no_inference_accelerators(definition: Members) -> str | None:
    asked = (need["type"] for container in containers(definition) for need in items(container, "resourceRequirements"))
    if definition.get("inferenceAccelerators") or "InferenceAccelerator" in asked:
        return "Unsupported field 'inferenceAccelerators'"
    return None


def cpu_in_range(definition: Members) -> str | None:
    """Fargate has its own table; elsewhere any size between 0.125 and 192 vCPU."""
    if "cpu" not in definition or requires(definition, "FARGATE") or int(definition["cpu"]) in CPU_RANGE:
        return None
    return f"Invalid 'cpu' setting for task. 'cpu' must be between {CPU_RANGE[0]} and {CPU_RANGE[-1]} units."


def memory_positive(definition: Members) -> str | None:
    if "memory" in definition and int(definition["memory"]) < 1:
        return "Invalid 'memory' setting for task. 'memory' must be greater than 0."
    return None


def cpu_suffices(definition: Members) -> str | None:
    total, limit = sum(c.get("cpu") or 0 for c in containers(definition)), int(definition.get("cpu") or 0)
    if limit and total > limit:
        return f"The 'cpu' of all containers, {total} units, is greater than the 'cpu' of the task, {limit} units."
    return None


def memory_suffices(definition: Members) -> str | None:
    limit = int(definition.get("memory") or 0)
    total = sum(c.get("memoryReservation") or c.get("memory") or 0 for c in containers(definition))
    if limit and total > limit:
        return f"The memory of all containers, {total} MiB, is greater than the 'memory' of the task, {limit} MiB."
    return None


def ephemeral_storage(definition: Members) -> str | None:
    if "ephemeralStorage" not in definition:
        return None
    if not requires(definition, "FARGATE"):
        return "Tasks using the EC2 launch type do not support EphemeralStorage"
    size = definition["ephemeralStorage"]["sizeInGiB"]
    if size < EPHEMERAL_GIB[0]:
        return f"EphemeralStorage size should be at least {EPHEMERAL_GIB[0]}"
    return f"EphemeralStorage size should be at most {EPHEMERAL_GIB[-1]}" if size > EPHEMERAL_GIB[-1] else None


def placement_constraints(definition: Members) -> str | None:
    constraints = items(definition, "placementConstraints")
    if len(constraints) > MAX_CONSTRAINTS:
        return f"Task definition cannot have more than {MAX_CONSTRAINTS} placement constraints."
    for constraint in constraints:
        if constraint.get("type") != "memberOf":
            return "Invalid placement constraint type. Only 'memberOf' is supported in a task definition."
        if not 1 <= len(constraint.get("expression") or "") <= MAX_EXPRESSION:
            return f"A placement constraint's expression must have 1 to {MAX_EXPRESSION} characters."
    return None


def proxy(definition: Members) -> str | None:
    configuration = part(definition, "proxyConfiguration")
    if not configuration:
        return None
    if mode(definition) != "awsvpc":
        return "Proxy configuration is only supported when networkMode=awsvpc."
    if configuration["containerName"] not in names(definition):
        return f"Invalid 'proxyConfiguration' setting. Unknown container: '{configuration['containerName']}'"
    return None


def platform(definition: Members) -> str | None:
    if not windows(definition):
        return None
    if part(definition, "runtimePlatform").get("cpuArchitecture") == "ARM64":
        return "The cpuArchitecture ARM64 is not supported with a Windows operatingSystemFamily."
    if mode(definition) in ("host", "none"):
        return f"Windows task definitions do not support networkMode={mode(definition)}."
    return None


def trusted_execution(definition: Members) -> str | None:
    configuration = part(definition, "trustedExecutionConfiguration")
    if configuration.get("isolationMode") != "CONFIDENTIAL_SANDBOX":
        return None
    try:
        policy = base64.b64decode(configuration.get("attestationPolicy") or "", validate=True)
    except (binascii.Error, ValueError):
        policy = b""
    return None if policy else "The isolation mode CONFIDENTIAL_SANDBOX requires a base64-encoded 'attestationPolicy'."


FIRST: tuple[Rule, ...] = (family, has_containers, few_containers, small)
NAMES: tuple[Rule, ...] = (unique_containers,)
RULES: tuple[Rule, ...] = (
    essential_container,
    no_inference_accelerators,
    cpu_in_range,
    memory_positive,
    cpu_suffices,
    memory_suffices,
    ephemeral_storage,
    placement_constraints,
    proxy,
    platform,
    trusted_execution,
)
