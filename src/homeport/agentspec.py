"""A task as its node shall run it: the ``spec`` of the agent protocol, and the base of its messages. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

Condition = Literal["START", "COMPLETE", "SUCCESS", "HEALTHY"]


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """Base of all messages and their parts: camelCase on the wire, defaults left out. None refers to itself."""


class Dependency(Message, frozen=True):
    container_name: str
    condition: Condition


class Ulimit(Message, frozen=True):
    name: str
    soft: int
    hard: int


class HealthCheck(Message, frozen=True):
    """``command`` as in a task definition (``CMD`` or ``CMD-SHELL`` first); times in seconds."""

    command: tuple[str, ...]
    interval: int = 30
    timeout: int = 5
    retries: int = 3
    start_period: int = 0


class RestartPolicy(Message, frozen=True):
    """An enabled restart policy. ``period``: seconds that the container must have run to be restarted."""

    ignored_exit_codes: tuple[int, ...] = ()
    period: int = 300


class MountPoint(Message, frozen=True):
    volume: str
    container_path: str
    read_only: bool = False


class VolumeFrom(Message, frozen=True):
    container: str
    read_only: bool = False


class Tmpfs(Message, frozen=True):
    """``size`` in MiB."""

    container_path: str
    size: int
    options: tuple[str, ...] = ()


class Device(Message, frozen=True):
    host_path: str
    container_path: str = ""
    permissions: tuple[str, ...] = ()  # read, write, mknod; none means all


class ExtraHost(Message, frozen=True):
    """A line of /etc/hosts."""

    hostname: str
    ip_address: str


class PortMapping(Message, frozen=True):
    """A port of the container, or (``container_port_range``, ``first-last``) several. ``host_port`` 0: one that is free
    on the instance, which the node chooses. ``protocol`` tcp or udp."""

    container_port: int = 0
    host_port: int = 0
    protocol: str = "tcp"
    container_port_range: str = ""


class Volume(Message, frozen=True):
    """A volume of the task. ``kind``: ``task`` (an empty folder that goes with the task), ``host`` (``path`` on the
    machine), ``shared`` (a named folder that stays; ``autoprovision`` makes it), ``efs`` (``path`` is the file
    system's root directory). ``driver_opts``: those of the driver, for ``task`` and ``shared``."""

    name: str
    kind: Literal["task", "host", "shared", "efs"] = "task"
    path: str = ""
    autoprovision: bool = False
    driver: str = ""
    file_system_id: str = ""
    encrypted: bool = False  # what goes to and from an EFS file system shall be
    driver_opts: dict[str, str] = {}


class ContainerSpec(Message, frozen=True):
    """A container as the node shall run it: overrides merged, nothing left to look up but the image.

    ``entry_point`` and ``command`` None mean the image's own. ``cpu`` is a share (relative weight), ``memory`` a hard
    limit and ``memory_reservation`` a soft one in MiB, 0 for none. ``stop_timeout`` in seconds.
    """

    name: str
    image: str
    image_digest: str = ""  # of the manifest to run, whatever the image's tag names by now; "" for what it names
    arn: str = ""
    essential: bool = True
    entry_point: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: dict[str, str] = {}
    user: str | None = None
    working_directory: str | None = None
    cpu: int = 0
    memory: int = 0
    memory_reservation: int = 0
    stop_timeout: int = 30
    start_timeout: int = 0
    depends_on: tuple[Dependency, ...] = ()
    readonly_root_filesystem: bool = False
    capabilities_add: tuple[str, ...] = ()
    capabilities_drop: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    system_controls: dict[str, str] = {}
    labels: dict[str, str] = {}
    health_check: HealthCheck | None = None
    restart_policy: RestartPolicy | None = None
    mount_points: tuple[MountPoint, ...] = ()
    volumes_from: tuple[VolumeFrom, ...] = ()
    environment_files: tuple[str, ...] = ()  # ARNs of S3 objects
    privileged: bool = False
    init: bool = False  # an init process as pid 1
    shared_memory: int = 0  # MiB of /dev/shm, 0 for the default of 64
    tmpfs: tuple[Tmpfs, ...] = ()
    devices: tuple[Device, ...] = ()
    gpus: tuple[str, ...] = ()  # ids of those that are its own
    max_swap: int | None = None  # MiB of swap besides ``memory``
    swappiness: int | None = None  # 0 to 100
    log_driver: str = ""  # as its definition has it, with its options
    log_options: dict[str, str] = {}
    interactive: bool = False  # standard input never ends
    pseudo_terminal: bool = False
    security_options: tuple[str, ...] = ()
    disable_networking: bool = False  # no interface but loopback
    hostname: str = ""  # "" for the task's
    extra_hosts: tuple[ExtraHost, ...] = ()
    dns_servers: tuple[str, ...] = ()  # instead of the machine's
    dns_search_domains: tuple[str, ...] = ()  # instead of the machine's
    ports: tuple[PortMapping, ...] = ()
    links: tuple[str, ...] = ()  # ``container`` or ``container:alias``, in the network mode bridge


class NetworkBinding(Message, frozen=True):
    """Where a container's port can be reached on its instance: AWS's ``networkBindings``. One port, or (as texts
    ``first-last``) a range of them."""

    bind_ip: str = msgspec.field(name="bindIP")
    protocol: str
    container_port: int | None = None
    host_port: int | None = None
    container_port_range: str | None = None
    host_port_range: str | None = None


class InterfaceSpec(Message, frozen=True):
    """A task's network interface. Addresses are dotted quads, ``*_cidr`` have a prefix length."""

    attachment_arn: str
    eni_id: str
    mac: str
    vpc_id: str
    vpc_cidr: str
    subnet_id: str
    subnet_cidr: str
    private_address: str
    gateway: str
    private_dns_name: str
    public_address: str | None = None
    groups: tuple[str, ...] = ()


class TaskSpec(Message, frozen=True):
    """A task as the node shall run it. ``cpu`` (1024 units = one vCPU) and ``memory`` (MiB) are hard limits over all of
    its containers, 0 for none. ``network_mode``: awsvpc, bridge, host or none. ``first``: others wait for the digests
    of its images, so they are told as soon as they are known."""

    family: str
    revision: int
    region: str
    availability_zone: str
    group: str = ""
    tags: dict[str, str] = {}  # that the task was started with
    launch_type: str = "FARGATE"
    cpu: int = 0
    memory: int = 0
    containers: tuple[ContainerSpec, ...] = ()
    interface: InterfaceSpec | None = None
    volumes: tuple[Volume, ...] = ()
    pid_mode: str = ""  # "task": one process namespace for all containers; "host": the machine's
    ipc_mode: str = ""  # "task": one namespace of System V IPC, queues, /dev/shm for all; "host"; "none": no /dev/shm
    ephemeral_storage: int = 0  # GiB, 0 for no limit of its own
    network_mode: str = "awsvpc"
    first: bool = False

    @property
    def networked(self) -> bool:
        """Whether its node must make a network for it before its containers are made."""
        return self.interface is not None or self.network_mode in ("bridge", "host")
