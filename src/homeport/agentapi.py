"""The agent protocol: the one thing that control plane and agent share. Pure.

Framing, message names and members are Amazon's (ACS: ``{"type": NAME, "message": {...}}`` text frames); an instance
that registers with the attribute ``homeport.spec`` gets tasks as a typed ``spec`` of our own, and messages of our own
whose names start with ``Homeport``. Unknown types and unknown members are ignored by both sides.
"""

from __future__ import annotations  # noqa: I001 the spec's names, which are part of this protocol, are one import

from typing import Any, Literal

import msgspec

from homeport.agentspec import (
    Condition as Condition,
    ContainerSpec as ContainerSpec,
    Dependency as Dependency,
    Device as Device,
    HealthCheck as HealthCheck,
    InterfaceSpec as InterfaceSpec,
    Message as Message,
    MountPoint as MountPoint,
    NetworkBinding as NetworkBinding,
    PortMapping as PortMapping,
    RestartPolicy as RestartPolicy,
    TaskSpec as TaskSpec,
    Tmpfs as Tmpfs,
    Ulimit as Ulimit,
    Volume as Volume,
    VolumeFrom as VolumeFrom,
)

SPEC_ATTRIBUTE = "homeport.spec"  # this agent understands TaskSpec; its value is the version of the spec, "1"
NETWORK_ATTRIBUTE = "homeport.network"  # this agent builds awsvpc interfaces and enforces security groups
FARGATE_ATTRIBUTE = "homeport.fargate"  # this agent joins the Fargate pool
OVERCOMMIT_ATTRIBUTE = "homeport.overcommit."  # + cpu or memory: how many times what it has it registered

# A node's key may be copied to another machine. The agentHash of our agents ends with an id of their state folder; an
# agent whose hash isn't the one that the instance registered with last is refused with the code REPLACED.
HASH_PREFIX = "homeport-"
REPLACED = "HomeportReplacedException"

HEARTBEAT_SECONDS = 20.0  # the server's heartbeat; Amazon's agent hangs up after 60 s of silence

# --- server to agent ----------------------------------------------------------------------------------------------


class HeartbeatMessage(Message, frozen=True):
    message_id: str
    healthy: bool = True


class PayloadTask(Message, frozen=True):
    """``desired_status`` STOPPED needs no spec. A repeated payload for the same ARN changes nothing but that."""

    arn: str
    task_cluster_arn: str
    desired_status: Literal["RUNNING", "STOPPED"]
    family: str = ""
    version: str = ""
    spec: TaskSpec | None = None


class PayloadMessage(Message, frozen=True):
    cluster_arn: str
    container_instance_arn: str
    message_id: str
    seq_num: int  # a store version: an agent refuses a lower one than it has seen in a manifest
    generated_at: int = 0  # epoch milliseconds
    tasks: tuple[PayloadTask, ...] = ()


class ManifestTask(Message, frozen=True):
    task_arn: str
    task_cluster_arn: str
    desired_status: Literal["RUNNING", "STOPPED"]


class TaskManifestMessage(Message, frozen=True):
    """All tasks that the instance should have; sent after every (re)connection and before any payload."""

    cluster_arn: str
    container_instance_arn: str
    message_id: str
    timeline: int  # a store version, as seq_num
    generated_at: int = 0
    tasks: tuple[ManifestTask, ...] = ()


class TaskStopVerificationAck(Message, frozen=True):
    message_id: str
    generated_at: int = 0
    stop_tasks: tuple[ManifestTask, ...] = ()


class Rule(Message, frozen=True):
    """``protocol``: tcp, udp, icmp, ``-1`` (all) or an IP protocol number. Ports are -1 where they don't apply (icmp:
    type and code). A packet matches if its peer is in any of ``cidrs`` or is a member of any of ``groups``."""

    protocol: str
    from_port: int = -1
    to_port: int = -1
    cidrs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Group(Message, frozen=True):
    """A security group as nodes enforce it. ``members``: private addresses of every interface in the group, on whatever
    node; filled only for groups that some rule names as a peer."""

    group_id: str
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    members: tuple[str, ...] = ()


class HomeportGroupsMessage(Message, frozen=True):
    """Security groups of one VPC that changed (``complete``: all that this node needs; others are gone). Sent before a
    payload that needs them; answered with AckRequest once they are enforced. ``removed``: groups no longer needed."""

    message_id: str
    seq_num: int
    vpc_id: str
    vpc_cidr: str
    complete: bool = False
    groups: tuple[Group, ...] = ()
    removed: tuple[str, ...] = ()


# --- agent to server ----------------------------------------------------------------------------------------------


class AckRequest(Message, frozen=True):
    cluster: str
    container_instance: str
    message_id: str


class NackRequest(Message, frozen=True):
    cluster: str
    container_instance: str
    message_id: str
    reason: str = ""


class HeartbeatAckRequest(Message, frozen=True):
    message_id: str


class TaskStopVerificationMessage(Message, frozen=True):
    """Tasks that run here and that the manifest does not list as RUNNING."""

    message_id: str
    stop_candidates: tuple[ManifestTask, ...] = ()


# --- telemetry: a second websocket, in the same framing ---------------------------------------------------------------


class TelemetryMetadata(Message, frozen=True):
    """``fin``: the last of the messages that together tell of all tasks; ``idle``: there are none."""

    cluster: str = ""
    container_instance: str = ""
    message_id: str = ""
    fin: bool = False
    idle: bool = False


class ContainerHealth(Message, frozen=True):
    """``health_status`` HEALTHY, UNHEALTHY or UNKNOWN, since so many epoch seconds."""

    container_name: str
    health_status: str | None = None
    status_since: float | None = None


class TaskHealth(Message, frozen=True):
    task_arn: str
    task_definition_family: str = ""
    task_definition_version: str = ""
    containers: tuple[ContainerHealth, ...] = ()


class PublishHealthRequest(Message, frozen=True):
    metadata: TelemetryMetadata = TelemetryMetadata()
    tasks: tuple[TaskHealth, ...] = ()
    timestamp: float | None = None


class StatsSet(Message, frozen=True):
    """What was sampled since the last message: ``sum`` of ``sample_count`` values between ``min`` and ``max``."""

    min: float
    max: float
    sample_count: int
    sum: float


class RestartStatsSet(Message, frozen=True):
    restart_count: int


class ContainerMetric(Message, frozen=True):
    """``cpu_stats_set`` in percent of the whole machine (100: all of its processors), ``memory_stats_set`` in MiB; None
    where there was nothing to sample. ``restart_stats_set`` of containers with a restart policy."""

    container_name: str
    cpu_stats_set: StatsSet | None = None
    memory_stats_set: StatsSet | None = None
    restart_stats_set: RestartStatsSet | None = None


class TaskMetric(Message, frozen=True):
    task_arn: str
    task_definition_family: str = ""
    task_definition_version: str = ""
    container_metrics: tuple[ContainerMetric, ...] = ()


class PublishMetricsRequest(Message, frozen=True):
    metadata: TelemetryMetadata = TelemetryMetadata()
    task_metrics: tuple[TaskMetric, ...] = ()
    timestamp: float | None = None


class InstanceStatus(Message, frozen=True):
    """``status`` OK, IMPAIRED, INSUFFICIENT_DATA or INITIALIZING of a part of the instance, ``type``."""

    type: str = ""
    status: str = ""


class InstanceStatusMetadata(Message, frozen=True):
    cluster: str = ""
    container_instance: str = ""
    request_id: str = ""


class PublishInstanceStatusRequest(Message, frozen=True):
    metadata: InstanceStatusMetadata = InstanceStatusMetadata()
    statuses: tuple[InstanceStatus, ...] = ()
    timestamp: float | None = None


class AckPublishHealth(Message, frozen=True):
    message: str = ""


class AckPublishMetric(Message, frozen=True):
    message: str = ""


class AckPublishInstanceStatus(Message, frozen=True):
    message: str = ""


class BadRequestException(Message, frozen=True):
    """Instead of an acknowledgement: what was published makes no sense, and nothing of it is kept."""

    message: str = ""


AnyMessage = (
    HeartbeatMessage
    | PayloadMessage
    | TaskManifestMessage
    | TaskStopVerificationAck
    | HomeportGroupsMessage
    | AckRequest
    | NackRequest
    | HeartbeatAckRequest
    | TaskStopVerificationMessage
    | PublishHealthRequest
    | PublishMetricsRequest
    | PublishInstanceStatusRequest
    | AckPublishHealth
    | AckPublishMetric
    | AckPublishInstanceStatus
    | BadRequestException
)
_TYPES: dict[str, type[Message]] = {t.__name__: t for t in AnyMessage.__args__}


class _Frame(msgspec.Struct):
    type: str = ""
    message: msgspec.Raw = msgspec.Raw(b"{}")


def encode(message: Message) -> str:
    """A text frame."""
    return msgspec.json.encode({"type": type(message).__name__, "message": message}).decode()


def decode(frame: str | bytes) -> Message | None:
    """The message in a frame; None for a type that isn't known or a frame that can't be read (Amazon's agent ignores
    both and keeps the connection). HTTP header lines before it, as in that agent's telemetry, are skipped."""
    try:
        text = frame if isinstance(frame, str) else frame.decode()
        outer = msgspec.json.decode(text if text.startswith("{") else text.partition("\r\n\r\n")[2], type=_Frame)
        kind = _TYPES.get(outer.type)
        return msgspec.json.decode(outer.message, type=kind) if kind else None
    except (msgspec.DecodeError, UnicodeError):
        return None


# --- state reports (parameters of SubmitTaskStateChange) --------------------------------------------------------------


class ContainerReport(Message, frozen=True):
    """``status`` PENDING, RUNNING or STOPPED; ``exit_code`` only where one was observed. ``network_bindings`` once it
    has started."""

    container_name: str
    status: str
    runtime_id: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    image_digest: str | None = None
    network_bindings: tuple[NetworkBinding, ...] = ()


class TaskReport(Message, frozen=True):
    """Input of SubmitTaskStateChange as our agent sends it. Times are epoch seconds."""

    cluster: str
    task: str
    status: str
    reason: str | None = None
    containers: tuple[ContainerReport, ...] = ()
    attachments: tuple[dict[str, Any], ...] = ()  # {"attachmentArn", "status": "ATTACHED"}
    pull_started_at: float | None = None
    pull_stopped_at: float | None = None
    execution_stopped_at: float | None = None
