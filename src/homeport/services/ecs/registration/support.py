"""What a task definition may ask of ECS that Homeport's nodes can't do yet. Pure.

Registration accepts and keeps all of it; running such a task is refused with the reason, never done half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from homeport.services.ecs.registration.members import Members, containers, items, part

MODES = {"pidMode": ("task",), "ipcMode": ("task", "none")}
LOG_DRIVERS = ("awslogs", "json-file")  # both are kept as log files on the node


def unsupported(members: Members, architecture: str = "X86_64") -> str | None:
    """What RunTask answers for a definition's members that ask for more than nodes of this ``architecture`` (a
    ``cpuArchitecture`` of ECS) can do, else None."""
    what = next(_missing(members, architecture), None)
    return f"Homeport does not support {what} yet." if what else None


def _missing(members: Members, architecture: str) -> Iterator[str]:
    for member in ("proxyConfiguration", "inferenceAccelerators"):
        if members.get(member):
            yield f"'{member}'"
    for mode in ("pidMode", "ipcMode"):
        if members.get(mode) not in (None, *MODES[mode]):
            yield f"'{mode}' {members[mode]}"
    for volume in items(members, "volumes"):
        for part_of, what in _volume(volume):
            if part_of:
                yield f"{what} (volume '{volume['name']}')"
    if members.get("enableFaultInjection"):
        yield "fault injection"
    platform = members.get("runtimePlatform") or {}
    if platform.get("operatingSystemFamily", "LINUX") != "LINUX":
        yield f"the operating system family {platform['operatingSystemFamily']}"
    if platform.get("cpuArchitecture", architecture) != architecture:
        yield f"the CPU architecture {platform['cpuArchitecture']} on this machine"
    isolation = (members.get("trustedExecutionConfiguration") or {}).get("isolationMode", "SHARED")
    if isolation != "SHARED":
        yield f"the isolation mode {isolation}"
    for container in containers(members):
        for asked, what in _CONTAINER:
            if asked(container):
                yield f"{what} (container '{container['name']}')"


def _has(member: str) -> Callable[[Members], bool]:
    return lambda container: bool(container.get(member))


def _log_driver(container: Members) -> bool:
    return (container.get("logConfiguration") or {}).get("logDriver", LOG_DRIVERS[0]) not in LOG_DRIVERS


def _log_secrets(container: Members) -> bool:
    return bool((container.get("logConfiguration") or {}).get("secretOptions"))


def _volume(volume: Members) -> Iterator[tuple[Any, str]]:
    for kind in ("s3filesVolumeConfiguration", "fsxWindowsFileServerVolumeConfiguration", "configuredAtLaunch"):
        yield volume.get(kind), f"'{kind}'"
    yield part(part(volume, "efsVolumeConfiguration"), "authorizationConfig").get("accessPointId"), "EFS access points"
    docker = part(volume, "dockerVolumeConfiguration")
    yield not _mounted(docker, part(docker, "driverOpts")), "these 'driverOpts' of volumes"


def _mounted(docker: Members, options: Members) -> bool:
    """Whether nodes mount what the options ask for: folders and file systems in memory."""
    if not options:
        return True
    kind, bind = options.get("type", "none"), {"bind", "rbind"} & set(options.get("o", "").split(","))
    return docker.get("driver", "local") == "local" and (kind == "tmpfs" or (kind == "none" and bool(bind)))


def _security_options(container: Members) -> bool:
    return any(option != "no-new-privileges" for option in items(container, "dockerSecurityOptions"))


_CONTAINER: tuple[tuple[Callable[[Members], bool], str], ...] = (
    *(
        (_has(member), f"'{member}'")
        for member in (
            "secrets",
            "firelensConfiguration",
            "links",
            "resourceRequirements",
            "credentialSpecs",
            "repositoryCredentials",
        )
    ),
    (_security_options, "these 'dockerSecurityOptions'"),
    (_log_driver, "this log driver"),
    (_log_secrets, "'secretOptions' of a log configuration"),
)
