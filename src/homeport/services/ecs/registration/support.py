"""What a task definition may ask of ECS that Homeport's nodes can't do yet, by launch type. Pure.

Registration accepts and keeps all of it; running such a task is refused with the reason, never done half.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from homeport.services.ecs.registration.members import Members, containers, items, part

MODES = {"pidMode": ("task",), "ipcMode": ("task", "none")}  # on Fargate; on container instances ``host`` too
LOG_DRIVERS = ("awslogs", "json-file")  # both are kept as log files on the node

_NO_SECRETS = "there is no Secrets Manager and no Parameter Store to read from"
_TASK = {
    "proxyConfiguration": "nodes have no App Mesh proxy that its traffic could be sent through",
    "inferenceAccelerators": "nodes have none",
    "enableFaultInjection": "nodes can't disturb the network of a task",
}
_VOLUME = {
    "s3filesVolumeConfiguration": "there is no S3 Files service to mount from",
    "fsxWindowsFileServerVolumeConfiguration": "only Windows mounts them, and all nodes run Linux",
    "configuredAtLaunch": "there is no EBS to make the volume",
}
_CONTAINER = {
    "secrets": _NO_SECRETS,
    "firelensConfiguration": "nodes have no FireLens that sends output to its log router",
    "credentialSpecs": "they are for Windows and Active Directory, which nodes have nothing to do with",
    "repositoryCredentials": _NO_SECRETS,
}


class Lack(NamedTuple):
    """``what`` nodes can't do, and ``why``."""

    what: str
    why: str


def unsupported(members: Members, architecture: str = "X86_64", launch_type: str = "FARGATE") -> str | None:
    """What RunTask answers for a definition's members that ask for more than nodes of this ``architecture`` (a
    ``cpuArchitecture`` of ECS) can do for tasks of the ``launch_type``, else None."""
    lack = next(_missing(members, architecture, launch_type), None)
    return f"Homeport does not support {lack.what} yet: {lack.why}." if lack else None


def _missing(members: Members, architecture: str, launch_type: str) -> Iterator[Lack]:
    own = launch_type != "FARGATE"  # the caller's own machines, whose processes and network its tasks may see
    for member, why in _TASK.items():
        if members.get(member):
            yield Lack(f"'{member}'", why)
    for mode in ("pidMode", "ipcMode"):
        if members.get(mode) not in (None, *MODES[mode], *(("host",) if own else ())):
            yield Lack(f"'{mode}' {members[mode]}", "its tasks would see the processes of the machine and other tasks")
    for volume in items(members, "volumes"):
        for asked, lack in _volume(volume):
            if asked:
                yield Lack(f"{lack.what} (volume '{volume['name']}')", lack.why)
    yield from _platform(part(members, "runtimePlatform"), architecture)
    isolation = part(members, "trustedExecutionConfiguration").get("isolationMode", "SHARED")
    if isolation != "SHARED":
        yield Lack(f"the isolation mode {isolation}", "tasks of a node share its kernel")
    for container in containers(members):
        if container.get("links") and not own:
            why = "they need the network mode bridge, which only container instances have"
            yield Lack(f"'links' (container '{container['name']}')", why)
        for lack in (*_container(container), *_devices(container, own)):
            yield Lack(f"{lack.what} (container '{container['name']}')", lack.why)


def _platform(platform: Members, architecture: str) -> Iterator[Lack]:
    family, wanted = platform.get("operatingSystemFamily", "LINUX"), platform.get("cpuArchitecture", architecture)
    if family != "LINUX":
        yield Lack(f"the operating system family {family}", "all nodes run Linux")
    if wanted != architecture:
        yield Lack(f"the CPU architecture {wanted} on this machine", f"it is {architecture}")


def _container(container: Members) -> Iterator[Lack]:
    for member, why in _CONTAINER.items():
        if container.get(member):
            yield Lack(f"'{member}'", why)
    for option in items(container, "dockerSecurityOptions"):
        if option != "no-new-privileges":
            yield Lack(f"the security option {option}", "nodes know no other than no-new-privileges")
    log = part(container, "logConfiguration")
    driver = log.get("logDriver", LOG_DRIVERS[0])
    if driver not in LOG_DRIVERS:
        yield Lack(f"the log driver {driver}", f"nodes have only {' and '.join(LOG_DRIVERS)}")
    if log.get("secretOptions"):
        yield Lack("'secretOptions' of a log configuration", _NO_SECRETS)


def _devices(container: Members, own: bool) -> Iterator[Lack]:
    for need in items(container, "resourceRequirements"):
        if need.get("type") != "GPU":
            yield Lack(f"the resource requirement {need.get('type')}", "nodes hand out no accelerators but GPUs")
        elif not own:
            yield Lack("GPUs on Fargate", "only container instances have them, as in ECS")
        elif need.get("sharingStrategy"):
            yield Lack("a 'sharingStrategy' of GPUs", "nodes give each GPU to one container")


def _volume(volume: Members) -> Iterator[tuple[Any, Lack]]:
    for kind, why in _VOLUME.items():
        yield volume.get(kind), Lack(f"'{kind}'", why)
    access = part(part(volume, "efsVolumeConfiguration"), "authorizationConfig").get("accessPointId")
    yield access, Lack("EFS access points", "there is no EFS that knows their folders and users")
    docker = part(volume, "dockerVolumeConfiguration")
    why = "the driver 'local' makes folders, binds of folders and tmpfs"
    yield not _mounted(docker, part(docker, "driverOpts")), Lack("these 'driverOpts' of volumes", why)


def _mounted(docker: Members, options: Members) -> bool:
    """Whether nodes mount what the options ask for: folders and file systems in memory."""
    if not options:
        return True
    kind, bind = options.get("type", "none"), {"bind", "rbind"} & set(options.get("o", "").split(","))
    return docker.get("driver", "local") == "local" and (kind == "tmpfs" or (kind == "none" and bool(bind)))
