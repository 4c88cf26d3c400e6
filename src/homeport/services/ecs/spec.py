"""What a node is told to run: a task, its definition and its interface as one ``TaskSpec``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec.structs import replace

from homeport.agentapi import (
    ContainerSpec,
    Dependency,
    Device,
    HealthCheck,
    InterfaceSpec,
    MountPoint,
    RestartPolicy,
    TaskSpec,
    Tmpfs,
    Ulimit,
    Volume,
    VolumeFrom,
)
from homeport.agentspec import ExtraHost, PortMapping
from homeport.core import arn
from homeport.services.ec2.model import NetworkInterface
from homeport.services.ecs import definitions, needs, overrides
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.task import Task

RESTART_PERIOD = 300  # seconds that a container must have run to be restarted, where its policy says nothing else
_REMEMBERED = 1000  # definitions
_PLAIN: dict[str, tuple[TaskDefinition, dict[str, tuple[ContainerSpec, bool]]]] = {}  # by ARN
STOP_TIMEOUT = 30  # seconds between SIGTERM and SIGKILL where a container says nothing else


def task_spec(
    task: Task, definition: TaskDefinition, interface: NetworkInterface | None, facts: Mapping[str, str]
) -> TaskSpec:
    """The task as its node shall run it. ``facts`` are ``ec2.eni.spec_facts`` of the interface."""
    cpu, memory = overrides.size(task.overrides, definitions.task_cpu(definition), definitions.task_memory(definition))
    parsed = arn.parse(task.cluster_arn)
    arns = {c.name: task.container_arn(c.id) for c in task.containers}
    return TaskSpec(
        family=definition.family,
        revision=definition.revision,
        region=parsed.region if parsed else "",
        availability_zone=task.availability_zone or "",
        group=task.group,
        tags=task.tags,
        launch_type=task.launch_type,
        cpu=cpu,
        memory=memory,
        containers=_containers(task, definition, arns),
        interface=interface_spec(task, interface, facts) if interface else None,
        volumes=tuple(volume_spec(v) for v in definition.members.get("volumes") or ()),
        pid_mode=definition.members.get("pidMode") or "",
        ipc_mode=definition.members.get("ipcMode") or "",
        ephemeral_storage=task.ephemeral_storage,
        network_mode=definitions.network_mode(definition),
        first=task.first,
    )


def _containers(task: Task, definition: TaskDefinition, arns: Mapping[str, str]) -> tuple[ContainerSpec, ...]:
    made = _without_gpus(task, definition, arns)
    if not task.gpus:
        return made
    shares = needs.shared_out(task.gpus, definitions.containers(definition))
    return tuple(replace(spec, gpus=shares.get(spec.name, ())) for spec in made)


def _without_gpus(task: Task, definition: TaskDefinition, arns: Mapping[str, str]) -> tuple[ContainerSpec, ...]:
    if task.overrides:
        merged = [overrides.merged(c, task.overrides) for c in definitions.containers(definition)]
        return tuple(container_spec(c, arns.get(c["name"], ""), task.image_digests) for c in merged)
    plain = _plain(definition)
    return tuple(
        replace(spec, arn=arns.get(name, ""), image_digest=task.image_digests.get(name, "") if pinned else "")
        for name, (spec, pinned) in plain.items()
    )


def _plain(definition: TaskDefinition) -> dict[str, tuple[ContainerSpec, bool]]:
    """Its containers as no task changes them, and whether their images are pinned. Made once for many tasks."""
    known, plain = _PLAIN.get(definition.arn, (None, {}))
    if known is not definition:
        containers = definitions.containers(definition)
        plain = {c["name"]: (container_spec(c), c.get("versionConsistency") != "disabled") for c in containers}
        if len(_PLAIN) >= _REMEMBERED:
            _PLAIN.clear()
        _PLAIN[definition.arn] = (definition, plain)
    return plain


def container_spec(container: Mapping[str, Any], arn: str = "", digests: Mapping[str, str] = {}) -> ContainerSpec:
    """A container definition, overrides merged, as its node shall run it. ``arn``: the task's container's own.
    ``digests``: see ``Task.image_digests``."""
    ulimits = tuple(Ulimit(u["name"], u["softLimit"], u["hardLimit"]) for u in container.get("ulimits") or ())
    linux = container.get("linuxParameters") or {}
    capabilities = linux.get("capabilities") or {}
    log = container.get("logConfiguration") or {}
    return ContainerSpec(
        name=container["name"],
        image=container["image"],
        image_digest="" if container.get("versionConsistency") == "disabled" else digests.get(container["name"], ""),
        arn=arn,
        essential=container.get("essential", True),
        entry_point=_words(container.get("entryPoint")),
        command=_words(container.get("command")),
        environment={e["name"]: e.get("value") or "" for e in container.get("environment") or ()},
        environment_files=tuple(f["value"] for f in container.get("environmentFiles") or ()),
        user=container.get("user") or None,
        working_directory=container.get("workingDirectory") or None,
        cpu=int(container.get("cpu") or 0),
        memory=int(container.get("memory") or 0),
        memory_reservation=int(container.get("memoryReservation") or 0),
        stop_timeout=_seconds(container.get("stopTimeout"), STOP_TIMEOUT),
        start_timeout=_seconds(container.get("startTimeout"), 0),
        depends_on=dependencies(container),
        readonly_root_filesystem=bool(container.get("readonlyRootFilesystem")),
        capabilities_add=tuple(capabilities.get("add") or ()),
        capabilities_drop=tuple(capabilities.get("drop") or ()),
        ulimits=ulimits,
        system_controls={s["namespace"]: s.get("value") or "" for s in container.get("systemControls") or ()},
        labels=dict(container.get("dockerLabels") or {}),
        health_check=health_check(container.get("healthCheck")),
        restart_policy=restart_policy(container.get("restartPolicy") or {}),
        mount_points=tuple(
            MountPoint(m["sourceVolume"], m["containerPath"], bool(m.get("readOnly")))
            for m in container.get("mountPoints") or ()
        ),
        volumes_from=tuple(
            VolumeFrom(v["sourceContainer"], bool(v.get("readOnly"))) for v in container.get("volumesFrom") or ()
        ),
        init=bool(linux.get("initProcessEnabled")),
        shared_memory=int(linux.get("sharedMemorySize") or 0),
        tmpfs=tuple(
            Tmpfs(t["containerPath"], t["size"], tuple(t.get("mountOptions") or ())) for t in linux.get("tmpfs") or ()
        ),
        devices=tuple(
            Device(d["hostPath"], d.get("containerPath") or "", tuple(d.get("permissions") or ()))
            for d in linux.get("devices") or ()
        ),
        max_swap=linux.get("maxSwap"),
        swappiness=linux.get("swappiness"),
        log_driver=log.get("logDriver") or "",
        log_options=dict(log.get("options") or {}),
        privileged=bool(container.get("privileged")),
        interactive=bool(container.get("interactive")),
        pseudo_terminal=bool(container.get("pseudoTerminal")),
        security_options=tuple(container.get("dockerSecurityOptions") or ()),
        disable_networking=bool(container.get("disableNetworking")),
        hostname=container.get("hostname") or "",
        extra_hosts=tuple(ExtraHost(h["hostname"], h["ipAddress"]) for h in container.get("extraHosts") or ()),
        dns_servers=tuple(container.get("dnsServers") or ()),
        dns_search_domains=tuple(container.get("dnsSearchDomains") or ()),
        ports=tuple(port_mapping(p) for p in container.get("portMappings") or ()),
        links=tuple(container.get("links") or ()),
    )


def dependencies(container: Mapping[str, Any]) -> tuple[Dependency, ...]:
    """What it waits for: its ``dependsOn``, and the start of what it links to."""
    given = tuple(Dependency(d["containerName"], d["condition"]) for d in container.get("dependsOn") or ())
    named = {d.container_name for d in given}
    linked = dict.fromkeys(link.partition(":")[0] for link in container.get("links") or ())
    return given + tuple(Dependency(name, "START") for name in linked if name not in named)


def port_mapping(mapping: Mapping[str, Any]) -> PortMapping:
    return PortMapping(
        container_port=int(mapping.get("containerPort") or 0),
        host_port=int(mapping.get("hostPort") or 0),
        protocol=mapping.get("protocol") or "tcp",
        container_port_range=mapping.get("containerPortRange") or "",
    )


def volume_spec(volume: Mapping[str, Any]) -> Volume:
    """A volume of the definition. Without a configuration it is an empty folder that goes with the task."""
    name: str = volume["name"]
    if efs := volume.get("efsVolumeConfiguration"):
        encrypted = efs.get("transitEncryption") == "ENABLED"
        root = efs.get("rootDirectory") or "/"
        return Volume(name, "efs", root, file_system_id=efs["fileSystemId"], encrypted=encrypted)
    if docker := volume.get("dockerVolumeConfiguration"):
        kind: Literal["shared", "task"] = "shared" if docker.get("scope") == "shared" else "task"
        return Volume(
            name,
            kind,
            autoprovision=bool(docker.get("autoprovision")),
            driver=docker.get("driver") or "",
            driver_opts=dict(docker.get("driverOpts") or {}),
        )
    if path := (volume.get("host") or {}).get("sourcePath"):
        return Volume(name, "host", path)
    return Volume(name)


def health_check(check: Mapping[str, Any] | None) -> HealthCheck | None:
    if not check or not check.get("command"):
        return None
    times = {member: check.get(member) for member in ("interval", "timeout", "retries")}
    given = {member: int(value) for member, value in times.items() if value is not None}
    return HealthCheck(tuple(check["command"]), start_period=int(check.get("startPeriod") or 0), **given)


def restart_policy(policy: Mapping[str, Any]) -> RestartPolicy | None:
    """None where it isn't enabled."""
    if not policy.get("enabled"):
        return None
    period = _seconds(policy.get("restartAttemptPeriod"), RESTART_PERIOD)
    return RestartPolicy(tuple(policy.get("ignoredExitCodes") or ()), period)


def interface_spec(task: Task, interface: NetworkInterface, facts: Mapping[str, str]) -> InterfaceSpec:
    return InterfaceSpec(
        attachment_arn=interface.description,
        eni_id=interface.id,
        mac=interface.mac,
        vpc_id=interface.vpc_id,
        vpc_cidr=facts["vpc_cidr"],
        subnet_id=interface.subnet_id,
        subnet_cidr=facts["subnet_cidr"],
        private_address=interface.private_address,
        gateway=facts["gateway"],
        private_dns_name=interface.private_dns_name,
        public_address=interface.public_address,
        groups=interface.groups,
    )


def _words(words: list[str] | None) -> tuple[str, ...] | None:
    """None and an empty list both mean the image's own."""
    return tuple(words) if words else None


def _seconds(value: int | None, default: int) -> int:
    return default if value is None else int(value)
