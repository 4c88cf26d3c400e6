"""What a task definition may ask of ECS that Homeport's nodes can't do yet. Pure.

Registration accepts and keeps all of it; running such a task is refused with the reason, never done half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from homeport.services.ecs.registration.members import Members, containers

LOG_DRIVERS = ("awslogs", "json-file")  # both are kept as log files on the node


def unsupported(members: Members, architecture: str = "X86_64") -> str | None:
    """What RunTask answers for a definition's members that ask for more than nodes of this ``architecture`` (a
    ``cpuArchitecture`` of ECS) can do, else None."""
    what = next(_missing(members, architecture), None)
    return f"Homeport does not support {what} yet." if what else None


def _missing(members: Members, architecture: str) -> Iterator[str]:
    for member in ("proxyConfiguration", "volumes", "ephemeralStorage", "pidMode", "ipcMode", "inferenceAccelerators"):
        if members.get(member):
            yield f"'{member}'"
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


def _linux_parameters(container: Members) -> bool:
    return any(value for name, value in (container.get("linuxParameters") or {}).items() if name != "capabilities")


_CONTAINER: tuple[tuple[Callable[[Members], bool], str], ...] = (
    *(
        (_has(member), f"'{member}'")
        for member in (
            "healthCheck",
            "secrets",
            "mountPoints",
            "volumesFrom",
            "firelensConfiguration",
            "extraHosts",
            "dnsServers",
            "dnsSearchDomains",
            "links",
            "resourceRequirements",
            "credentialSpecs",
            "interactive",
            "pseudoTerminal",
            "repositoryCredentials",
            "privileged",
            "dockerSecurityOptions",
            "hostname",
            "disableNetworking",
        )
    ),
    (lambda container: bool((container.get("restartPolicy") or {}).get("enabled")), "'restartPolicy'"),
    (_linux_parameters, "'linuxParameters' other than capabilities"),
    (_log_driver, "this log driver"),
    (_log_secrets, "'secretOptions' of a log configuration"),
)
