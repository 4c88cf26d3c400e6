"""Task and container as the metadata endpoint shows them: facts to AWS's shapes. Pure.

Members, their order and what is left out follow Amazon's agent and the ECS developer guide; v4 adds to v3, which adds
nothing to v2.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from homeport.agent.drivers import Mount
from homeport.agent.metadata.routes import Version
from homeport.agent.mounting import mounts
from homeport.agent.plan import Container, Facts, TaskGoal, stopping
from homeport.agent.report import runtime_id
from homeport.agentapi import ContainerSpec, InterfaceSpec

CPU_UNITS = 1024  # of a vCPU
_KNOWN = ("NONE", "PULLED", "CREATED", "RUNNING", "STOPPED")  # statuses of a container in their order
_STATES = {
    "created": "CREATED",
    "running": "RUNNING",
    "exited": "STOPPED",
    "stopped": "STOPPED",
    "lost": "STOPPED",
    "failed": "STOPPED",
}

Shape = dict[str, Any]


def task(version: Version, goal: TaskGoal, facts: Facts, *, tags: bool = False) -> Shape:
    """``/task`` of v3 and v4, ``/metadata`` of v2. ``tags``: with those that the task was started with."""
    spec = goal.spec
    known = min((_known(facts.containers[c.name]) for c in spec.containers), key=_KNOWN.index, default="NONE")
    shown: Shape = {
        "Cluster": _cluster(goal),
        "TaskARN": goal.arn,
        "Family": spec.family,
        "Revision": str(spec.revision),
        "DesiredStatus": _desired(goal, facts),
        "KnownStatus": known,
        "Containers": [container(version, goal, facts, c) for c in spec.containers],
        "Limits": _present(CPU=spec.cpu / CPU_UNITS, Memory=spec.memory),
        "PullStartedAt": _time(facts.pull_started_at),
        "PullStoppedAt": _time(facts.pull_stopped_at),
        "ExecutionStoppedAt": _time(_execution_stopped(goal, facts)),
        "AvailabilityZone": spec.availability_zone,
        "TaskTags": spec.tags if tags else None,
    }
    if version == "v4":
        shown["LaunchType"] = spec.launch_type
        shown["VPCID"] = spec.interface.vpc_id if spec.interface else None
        shown["Group"] = spec.group
    shown = _present(**shown)
    return shown | {"FaultInjectionEnabled": False} if version == "v4" else shown


def container(version: Version, goal: TaskGoal, facts: Facts, spec: ContainerSpec) -> Shape:
    """A container, as ``/v4/<id>`` shows it."""
    seen = facts.containers[spec.name]
    shown: Shape = {
        "DockerId": runtime_id(goal, spec.name),
        "Name": spec.name,
        "DockerName": _docker_name(goal, spec.name),
        "Image": spec.image,
        "ImageID": seen.image.digest if seen.image else None,
        "Labels": labels(goal, spec),
        "DesiredStatus": _desired(goal, facts),
        "KnownStatus": _known(seen),
        "ExitCode": seen.exit_code if seen.over else None,
        "Limits": {"CPU": spec.cpu, "Memory": spec.memory},
        "CreatedAt": _time(seen.created_at),
        "StartedAt": _time(seen.started_at),
        "FinishedAt": _time(seen.finished_at),
        "Type": "NORMAL",
        "Ports": _ports(facts, spec) or None,
        "Networks": _networks(version, goal, facts, spec) or None,
        "Health": _health(seen) if spec.health_check else None,
        "LogDriver": spec.log_driver or None,
        "LogOptions": spec.log_options or None,
        "Volumes": [_volume(mount) for mount in mounts(goal.spec, spec.name)] or None,
    }
    if version == "v4":
        restarts = seen.restarts if spec.restart_policy else None
        shown |= {"ContainerARN": spec.arn or None, "Snapshotter": "overlayfs", "RestartCount": restarts}
    return {name: value for name, value in shown.items() if value is not None}


def labels(goal: TaskGoal, spec: ContainerSpec) -> dict[str, str]:
    """A container's labels: the definition's, and the five that ECS sets."""
    return {
        **spec.labels,
        "com.amazonaws.ecs.cluster": goal.cluster,
        "com.amazonaws.ecs.container-name": spec.name,
        "com.amazonaws.ecs.task-arn": goal.arn,
        "com.amazonaws.ecs.task-definition-family": goal.spec.family,
        "com.amazonaws.ecs.task-definition-version": str(goal.spec.revision),
    }


def _ports(facts: Facts, spec: ContainerSpec) -> list[Shape]:
    """Where its ports are published on the machine; ranges aren't shown."""
    network = facts.networks.get(spec.name)
    return [
        _present(ContainerPort=b.container_port, Protocol=b.protocol, HostPort=b.host_port, HostIp=b.bind_ip)
        for b in (network.bindings if network else ())
        if b.container_port is not None
    ]


def _networks(version: Version, goal: TaskGoal, facts: Facts, spec: ContainerSpec) -> list[Shape]:
    if goal.spec.interface:
        return [_network(version, goal.spec.interface)]
    network = facts.networks.get(spec.name)
    if network is None:
        return []
    addresses = {"IPv4Addresses": [network.address]} if network.address else {}
    return [{"NetworkMode": goal.spec.network_mode} | addresses]


def _network(version: Version, interface: InterfaceSpec) -> Shape:
    shown: Shape = {"NetworkMode": "awsvpc", "IPv4Addresses": [interface.private_address]}
    if version != "v4":
        return shown
    prefix = interface.subnet_cidr.partition("/")[2]
    return shown | {
        "AttachmentIndex": 0,
        "MACAddress": interface.mac,
        "IPv4SubnetCIDRBlock": interface.subnet_cidr,
        "PrivateDNSName": interface.private_dns_name,
        "SubnetGatewayIpv4Address": f"{interface.gateway}/{prefix}",
    }


def _health(seen: Container) -> Shape:
    return {"status": seen.health.status} | _present(statusSince=_time(seen.health.since or None))


def _volume(mount: Mount) -> Shape:
    """Where on the machine its source is, is no task's business."""
    return {"DockerName": mount.volume.name, "Destination": mount.container_path}


def _cluster(goal: TaskGoal) -> str:
    """Its ARN on Fargate, its name elsewhere."""
    return goal.cluster if goal.spec.launch_type == "FARGATE" else goal.cluster.rpartition("/")[2]


def _docker_name(goal: TaskGoal, name: str) -> str:
    """On Fargate the container's own; elsewhere one that is unique on the machine."""
    if goal.spec.launch_type == "FARGATE":
        return name
    unique = hashlib.sha256(f"{goal.arn}/{name}".encode()).hexdigest()[:18]
    return f"ecs-{goal.spec.family}-{goal.spec.revision}-{name}-{unique}"


def _desired(goal: TaskGoal, facts: Facts) -> str:
    return "STOPPED" if stopping(goal, facts) else "RUNNING"


def _known(seen: Container) -> str:
    return _STATES.get(seen.state, "PULLED" if seen.image else "NONE")


def _execution_stopped(goal: TaskGoal, facts: Facts) -> float | None:
    ends = [facts.containers[c.name].finished_at for c in goal.spec.containers if c.essential]
    return min((end for end in ends if end is not None), default=None)


def _present(**members: Any) -> Shape:
    """Without members that are empty, as the agent leaves them out."""
    return {name: value for name, value in members.items() if value not in (None, "", 0, {})}


def _time(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, as in ``2026-01-02T03:04:05.678901Z``."""
    return None if seconds is None else timestamp(seconds)


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
