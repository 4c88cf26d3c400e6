"""Rules for a container's own settings. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from homeport.services.ecs.names import is_name
from homeport.services.ecs.registration.members import Members, Rule, each, items, mode, part
from homeport.services.ecs.registration.sizes import MIN_MEMORY

RESTART_SECONDS = range(60, 1800 + 1)
MAX_EXIT_CODES = 50
MIN_TIMEOUT = 2  # seconds, of startTimeout and stopTimeout

_IMAGE = re.compile(r"[A-Za-z0-9_:./#-]{1,255}(@sha256:[0-9a-f]{64})?")
_USER = re.compile(r"[A-Za-z0-9_.][^:\s]*(:[A-Za-z0-9_.][^:\s]*)?")
_SECURITY_OPTION = re.compile(r"no-new-privileges|apparmor:.+|label:.+|credentialspec:.+")
_SYSCTL_IPC = (
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "fs.mqueue.*",
)
_HEALTH_RANGES = {
    "interval": range(5, 300 + 1),
    "timeout": range(2, 60 + 1),
    "retries": range(1, 10 + 1),
    "startPeriod": range(300 + 1),
}


def name(definition: Members, container: Members) -> str | None:
    if not container.get("name"):
        return "Container.name should not be null or empty."
    return None if is_name(container["name"]) else "Container.name contains invalid characters."


def image(definition: Members, container: Members) -> str | None:
    if not container.get("image"):
        return "Container.image should not be null or empty."
    return None if _IMAGE.fullmatch(container["image"]) else "Container.image contains invalid characters."


def memory(definition: Members, container: Members) -> str | None:
    hard, soft, limit = container.get("memory"), container.get("memoryReservation"), int(definition.get("memory") or 0)
    if hard is None and soft is None and not limit:
        return _invalid(container, "At least one of 'memory' or 'memoryReservation' must be specified.")
    for member, value in (("memory", hard), ("memoryReservation", soft)):
        if value is not None and value < MIN_MEMORY:
            return _invalid(container, f"'{member}' must be at least {MIN_MEMORY} MiB.")
    if hard is not None and soft is not None and hard < soft:
        return _invalid(container, "'memory' must be greater than or equal to 'memoryReservation'.")
    for member, value in (("memory", hard), ("memoryReservation", soft)):
        if limit and value is not None and value > limit:
            return greater_than_task(container, member)
    return None


def cpu(definition: Members, container: Members) -> str | None:
    return _invalid(container, "'cpu' must not be negative.") if (container.get("cpu") or 0) < 0 else None


def environment(definition: Members, container: Members) -> str | None:
    if all(variable.get("name") for variable in items(container, "environment")):
        return None
    return _invalid(container, "An environment variable must have a name.")


def ulimits(definition: Members, container: Members) -> str | None:
    seen: set[str] = set()
    for ulimit in items(container, "ulimits"):
        soft, hard = ulimit["softLimit"], ulimit["hardLimit"]
        # -1 stands for no limit.
        if hard != -1 and (soft > hard or soft == -1):
            return f"Soft limit exceeds hard limit for ulimit {ulimit['name']}"
        if ulimit["name"] in seen:
            return f"The ulimit {ulimit['name']} is set more than once."
        seen.add(ulimit["name"])
    return None


def restart_policy(definition: Members, container: Members) -> str | None:
    policy = part(container, "restartPolicy")
    if policy.get("restartAttemptPeriod", RESTART_SECONDS[0]) not in RESTART_SECONDS:
        return (
            f"the 'restartAttemptPeriod' setting for container '{container['name']}' must be between "
            f"{RESTART_SECONDS[0]} and {RESTART_SECONDS[-1]}"
        )
    if len(items(policy, "ignoredExitCodes")) > MAX_EXIT_CODES:
        return f"the 'ignoredExitCodes' setting for container '{container['name']}' can have at most {MAX_EXIT_CODES}"
    return None


def health_check(definition: Members, container: Members) -> str | None:
    check = part(container, "healthCheck")
    if "healthCheck" in container and not items(check, "command"):
        return _invalid(container, "The health check's 'command' must not be empty.")
    for member, allowed in _HEALTH_RANGES.items():
        if member in check and check[member] not in allowed:
            return _invalid(container, f"The health check's '{member}' must be between {allowed[0]} and {allowed[-1]}.")
    return None


def timeouts(definition: Members, container: Members) -> str | None:
    for kind in ("start", "stop"):
        if container.get(f"{kind}Timeout", MIN_TIMEOUT) < MIN_TIMEOUT:
            return f"Granular {kind} timeout on container '{container['name']}' must be at least {MIN_TIMEOUT} seconds."
    return None


def fits_network_mode(definition: Members, container: Members) -> str | None:
    if mode(definition) != "awsvpc":
        return None
    if container.get("disableNetworking"):
        return "Disable Networking is not supported on container when networkMode=awsvpc."
    if container.get("dnsServers"):
        return "DNS servers are not supported on container when networkMode=awsvpc."
    if container.get("extraHosts"):
        return "Extra hosts are not supported when networkMode=awsvpc."
    return "Hostname is not supported on container when networkMode=awsvpc." if container.get("hostname") else None


def user(definition: Members, container: Members) -> str | None:
    if not container.get("user") or _USER.fullmatch(container["user"]):
        return None
    return _invalid(container, "'user' must be user, user:group, uid, uid:gid, user:gid or uid:group.")


def system_controls(definition: Members, container: Members) -> str | None:
    for control in items(container, "systemControls"):
        namespace = control.get("namespace") or ""
        network, ipc = namespace.startswith("net."), any(fnmatchcase(namespace, known) for known in _SYSCTL_IPC)
        if not control.get("value"):
            return _invalid(container, f"The system control '{namespace}' must have a value.")
        if not network and not ipc:
            return _invalid(container, f"'{namespace}' is not a valid namespace of 'systemControls'.")
        if network and mode(definition) == "host":
            return _invalid(container, f"The system control '{namespace}' is not supported when networkMode=host.")
        if ipc and definition.get("ipcMode") == "host":
            return _invalid(container, f"The system control '{namespace}' is not supported when ipcMode=host.")
    return None


def security_options(definition: Members, container: Members) -> str | None:
    for option in items(container, "dockerSecurityOptions"):
        if not _SECURITY_OPTION.fullmatch(option):
            return _invalid(container, f"'{option}' is not a valid docker security option.")
    return None


def credential_specs(definition: Members, container: Members) -> str | None:
    if len(items(container, "credentialSpecs")) > 1:
        return _invalid(container, "Only one credential spec can be specified.")
    return None


def devices_required(definition: Members, container: Members) -> str | None:
    for need in items(container, "resourceRequirements"):
        value = need.get("value") or ""
        if need.get("sharingStrategy") == {}:
            return _invalid(container, "The 'sharingStrategy' of a resource requirement must not be empty.")
        if need["type"] == "GPU" and "sharingStrategy" not in need and not (value.isdecimal() and int(value) > 0):
            return _invalid(container, "The 'value' of a GPU resource requirement must be a number of GPUs.")
        if need["type"] == "NeuronDevice" and value != "ALL":
            return _invalid(container, "The 'value' of a NeuronDevice resource requirement must be ALL.")
    return None


def greater_than_task(container: Mapping[str, Any], member: str) -> str:
    """ECS's text, at registration and at RunTask."""
    return f"The '{member}' setting for container '{container['name']}' is greater than for the task."


def _invalid(container: Members, text: str) -> str:
    return f"Invalid setting for container '{container['name']}'. {text}"


NAMES: tuple[Rule, ...] = (each(name),)
RULES: tuple[Rule, ...] = tuple(
    each(rule)
    for rule in (
        image,
        memory,
        cpu,
        environment,
        ulimits,
        restart_policy,
        health_check,
        timeouts,
        fits_network_mode,
        user,
        system_controls,
        security_options,
        credential_specs,
        devices_required,
    )
)
