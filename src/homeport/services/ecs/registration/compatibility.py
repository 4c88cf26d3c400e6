"""Where tasks of a definition may run, and what a container instance must be able to do for them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from homeport.services.ecs.registration import fargate
from homeport.services.ecs.registration.logs import log_driver
from homeport.services.ecs.registration.members import Members, containers, items, mode, part, requires, windows

_DOCKER = "com.amazonaws.ecs.capability."
_ECS = "ecs.capability."
_PLAIN_CPU = 10240  # units that a task may have on every instance: once ECS's limit
_NOT_EXTERNAL = ("efsVolumeConfiguration", "fsxWindowsFileServerVolumeConfiguration", "s3filesVolumeConfiguration")
_NOT_MANAGED = ("dockerVolumeConfiguration", "fsxWindowsFileServerVolumeConfiguration")


def compatibilities(definition: Members) -> tuple[str, ...]:
    """The launch types that it fits, in ECS's order. It always fits EC2."""
    kinds = {kind for volume in items(definition, "volumes") for kind in volume}
    if mode(definition) != "awsvpc":
        external = kinds.isdisjoint(_NOT_EXTERNAL) and "configuredAtLaunch" not in kinds and not windows(definition)
        return ("EXTERNAL", "EC2") if external else ("EC2",)
    fitting = ["EC2"]
    specs = any(items(container, "credentialSpecs") for container in containers(definition))
    if kinds.isdisjoint(_NOT_MANAGED) and not windows(definition) and not specs:
        fitting.append("MANAGED_INSTANCES")
    if fargate.refusal(definition) is None:
        fitting.append("FARGATE")
    return tuple(fitting)


def fits_required(definition: Members) -> str | None:
    """A rule: what the definition requires to be compatible with, it is compatible with."""
    fitting = compatibilities(definition)
    misfit = next((c for c in items(definition, "requiresCompatibilities") if c not in fitting), None)
    return None if misfit is None else f"The task definition is not compatible with {misfit}."


def required_attributes(definition: Members) -> tuple[str, ...]:
    """Names of the attributes that an instance must have; the names are those that Amazon's agent registers."""
    return tuple(
        dict.fromkeys((*_of_task(definition), *(a for c in containers(definition) for a in _of(definition, c))))
    )


def _of_task(definition: Members) -> Iterator[str]:
    network = mode(definition)
    if definition.get("taskRoleArn"):
        yield _DOCKER + ("task-iam-role-network-host" if network == "host" else "task-iam-role")
        yield _api(17)
    if network == "awsvpc":
        yield _ECS + "task-eni"
        yield _api(18)
    if (definition.get("cpu") or definition.get("memory")) and not requires(definition, "FARGATE"):
        yield _ECS + "task-cpu-mem-limit"
        if int(definition.get("cpu") or 0) > _PLAIN_CPU:
            yield _ECS + "increased-task-cpu-limit"
    if definition.get("pidMode") or definition.get("ipcMode"):
        yield _ECS + "pid-ipc-namespace-sharing"
    if definition.get("enableFaultInjection"):
        yield _ECS + "fault-injection"
    for volume in items(definition, "volumes"):
        yield from _of_volume(volume)


def _of_volume(volume: Members) -> Iterator[str]:
    if "dockerVolumeConfiguration" in volume:
        driver = volume["dockerVolumeConfiguration"].get("driver") or "local"
        yield f"{_DOCKER}docker-plugin.{driver}"
        yield _api(21)
    if "efsVolumeConfiguration" in volume:
        yield _ECS + "efs"
        if "authorizationConfig" in volume["efsVolumeConfiguration"]:
            yield _ECS + "efsAuth"
    if "fsxWindowsFileServerVolumeConfiguration" in volume:
        yield _ECS + "fsxWindowsFileServer"
    if "s3filesVolumeConfiguration" in volume:
        yield _ECS + "storage.s3-files"
    if volume.get("configuredAtLaunch"):
        yield _ECS + "storage.ebs-task-volume-attach"


def _of(definition: Members, container: Members) -> Iterator[str]:
    role = bool(definition.get("executionRoleArn"))
    yield from _of_logging(container, role)
    yield from _of_secrets(container)
    if fargate.ecr_image(container):
        yield _DOCKER + "ecr-auth"
        yield _api(19)
        if role:
            yield _ECS + "execution-role-ecr-pull"
    if container.get("privileged"):
        yield _DOCKER + "privileged-container"
    if container.get("dockerLabels") or container.get("ulimits"):
        yield _api(18)
    if container.get("memoryReservation"):
        yield _api(21)
    if "healthCheck" in container:
        yield _ECS + "container-health-check"
        yield _api(24)
    if container.get("dependsOn"):
        yield _ECS + "container-ordering"
    if part(container, "restartPolicy").get("enabled"):
        yield _ECS + "container-restart-policy"
    if any("containerPortRange" in mapping for mapping in items(container, "portMappings")):
        yield _ECS + "network.container-port-range"
    if part(container, "linuxParameters").get("initProcessEnabled"):
        yield _api(25)
    for option in items(container, "dockerSecurityOptions"):
        if option.startswith(("apparmor:", "label:")):
            yield _DOCKER + ("apparmor" if option.startswith("apparmor:") else "selinux")


def _of_logging(container: Members, role: bool) -> Iterator[str]:
    driver = log_driver(container)
    if driver:
        yield f"{_DOCKER}logging-driver.{driver}"
        yield _api(19 if driver == "awslogs" else 18)
    if driver == "awslogs" and role:
        yield _ECS + "execution-role-awslogs"
    firelens = part(container, "firelensConfiguration")
    if firelens:
        yield f"{_ECS}firelens.{firelens['type']}"
        source = part(firelens, "options").get("config-file-type")
        if source:
            yield f"{_ECS}firelens.options.config.{source}"


def _of_secrets(container: Members) -> Iterator[str]:
    if "repositoryCredentials" in container:
        yield _ECS + "private-registry-authentication.secretsmanager"
    for secret in items(container, "secrets"):
        yield f"{_ECS}secrets.{_keeper(secret)}.environment-variables"
    for secret in items(part(container, "logConfiguration"), "secretOptions"):
        yield f"{_ECS}secrets.{_keeper(secret)}.bootstrap.log-driver"
    if items(container, "environmentFiles"):
        yield _ECS + "env-files.s3"
    for spec in items(container, "credentialSpecs"):
        yield _ECS + ("gmsa-domainless" if spec.startswith("credentialspecdomainless:") else "gmsa")


def _keeper(secret: Members) -> str:
    """``asm`` for a secret in Secrets Manager, ``ssm`` for a parameter (a bare name is one of SSM's)."""
    return "asm" if ":secretsmanager:" in secret["valueFrom"] else "ssm"


def _api(minor: int) -> str:
    """The Docker remote API that a feature came with."""
    return f"{_DOCKER}docker-remote-api.1.{minor}"
