"""Everything that an agent can be told, and what it found out about its machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from homeport.agent import cdi

PUBLISH_SECONDS = 20.0  # as Amazon's agent


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``state``: the folder of this Homeport (the agent's own is ``agent`` in it). ``instance``: 8 hex characters that
    tell apart what several Homeports own on one machine. ``endpoint``: URL of the control plane. ``region``: the one
    that calls are signed for; a node serves all zones unless ``zone`` restricts it. ``overcommit_*``: how many times
    its cores and memory a Fargate node advertises. ``retry_most``: seconds between attempts to reach a control plane
    that stays away (Amazon's agent: 2 minutes). ``pull_behavior``: ``always`` asks a registry anew what a tag names.
    ``task_endpoints``: tasks' SDKs are pointed to the control plane. ``efs``: what stands for EFS file systems by
    their ids, in the words of ``efs.target``. ``pin``: of the control plane's public key over TLS. ``external``: a
    machine outside EC2, as ECS Anywhere has them. ``auto_scaling_group``: the name of the one that it belongs to.
    ``attributes``: of its own, by name. ``reserved_memory``: MiB that tasks don't get. ``publish``: seconds between
    two messages of what its containers use. ``cdi_folders``: of the files that describe the machine's GPUs."""

    state: str
    instance: str
    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    cluster: str = "default"
    fargate: bool = False
    zone: str | None = None
    overcommit_cpu: float = 16
    overcommit_memory: float = 2
    public_pool: str = ""
    containerd: str | None = None
    s3_folder: str | None = None
    s3_endpoint: str | None = None
    pull_behavior: Literal["always", "once", "prefer-cached"] = "once"
    task_endpoints: bool = True
    retry_most: float = 120.0
    efs: dict[str, str] = {}
    pin: str | None = None
    external: bool = False
    auto_scaling_group: str | None = None
    attributes: dict[str, str] = {}
    reserved_memory: int = 0
    publish: float = PUBLISH_SECONDS
    cdi_folders: tuple[str, ...] = cdi.FOLDERS

    @property
    def folder(self) -> Path:
        return Path(self.state, "agent")

    @property
    def buckets(self) -> Path:
        """The folder whose folders stand for S3 buckets: ``s3_folder``, else ``s3`` in the state."""
        return Path(self.s3_folder or Path(self.state, "s3"))

    def __repr__(self) -> str:
        return f"AgentSettings(endpoint={self.endpoint!r}, state={self.state!r}, fargate={self.fargate})"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The machine. ``memory`` in MiB; ``architecture`` is ECS's word, x86_64 or arm64; a reboot changes ``boot_id``;
    ``gpus`` are ids."""

    cores: int
    memory: int
    architecture: str
    boot_id: str
    agent_version: str = ""
    runtime_version: str = ""
    gpus: tuple[str, ...] = ()
