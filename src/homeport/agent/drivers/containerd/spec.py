"""The OCI runtime spec of a container: the image's config merged with the container's definition as Docker does, with
Docker's defaults for everything else. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homeport.agent.drivers import ContainerPlan
from homeport.agent.drivers.containerd.manifests import RunConfig
from homeport.agent.drivers.containerd.seccomp import profile
from homeport.agent.drivers.containerd.users import User
from homeport.agentapi import ContainerSpec

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOFILE = 65535  # Fargate's default, soft and hard
_MIB = 1 << 20
_MIN_SHARES, _MAX_SHARES = 2, 262144

_DEFAULT = (
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID "
    "SYS_CHROOT"
)
DEFAULT_CAPABILITIES = frozenset(f"CAP_{name}" for name in _DEFAULT.split())
_MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class BadContainer(ValueError):
    """A container that can't be run; ``str`` says why, in Docker's words."""


@dataclass(frozen=True)
class Machine:
    """What the node is: decides parts of every spec. ``nofile``: the hard limit of open files that this process may
    give, None for any. ``capabilities``: those that the kernel knows and this process may give."""

    architecture: str
    unified: bool  # cgroup v2
    swap: bool  # swap can be limited
    capabilities: frozenset[str]
    nofile: int | None = None


@dataclass(frozen=True)
class Files:
    """Generated files on the host that are mounted over the image's."""

    resolv_conf: str
    hosts: str
    hostname: str


def arguments(spec: ContainerSpec, image: RunConfig) -> list[str]:
    """Entry point and command. Raises BadContainer.

    An entry point of the definition drops the image's command too, as in Docker.
    """
    if spec.entry_point is not None:
        args = [*spec.entry_point, *(spec.command or ())]
    else:
        args = [*(image.entrypoint or ()), *(spec.command if spec.command is not None else image.cmd or ())]
    if not args:
        raise BadContainer("no command specified")
    return args


def environment(spec: ContainerSpec, image: RunConfig, hostname: str) -> list[str]:
    """``NAME=value``: Docker's defaults, then the image's, then the definition's; the last of a name wins."""
    merged: dict[str, str] = {}
    for entry in (DEFAULT_PATH, f"HOSTNAME={hostname}", *(image.env or ())):
        name, _, value = entry.partition("=")
        merged[name] = value
    merged.update(spec.environment)
    return [f"{name}={value}" for name, value in merged.items()]


def capabilities(add: tuple[str, ...], drop: tuple[str, ...], known: frozenset[str]) -> frozenset[str]:
    """Docker's rules: ``ALL`` in ``add`` gives all but those dropped, ``ALL`` in ``drop`` only those added."""
    added, dropped = {_capability(name) for name in add}, {_capability(name) for name in drop}
    if "CAP_ALL" in added:
        return (known - dropped) | (added & known)
    if "CAP_ALL" in dropped:
        return frozenset(added - {"CAP_ALL"}) & known
    return ((DEFAULT_CAPABILITIES | added) - dropped) & known


def _capability(name: str) -> str:
    upper = name.upper()
    return upper if upper.startswith("CAP_") else f"CAP_{upper}"


def rlimits(spec: ContainerSpec, highest: int | None) -> list[dict[str, Any]]:
    """Process limits. The default for open files is lowered to what this process may give; an explicit one is not."""
    default = NOFILE if highest is None else min(NOFILE, highest)
    limits = {"RLIMIT_NOFILE": (default, default)}
    limits.update({f"RLIMIT_{u.name.upper()}": (u.soft, u.hard) for u in spec.ulimits})
    return [{"type": kind, "soft": _unlimited(s), "hard": _unlimited(h)} for kind, (s, h) in limits.items()]


def _unlimited(value: int) -> int:
    return (1 << 64) - 1 if value < 0 else value


def _mounts(files: Files, read_only: bool) -> list[dict[str, Any]]:
    def mount(target: str, kind: str, *options: str) -> dict[str, Any]:
        return {"destination": target, "type": kind, "source": kind, "options": list(options)}

    def file(target: str, source: str) -> dict[str, Any]:
        options = ["rbind", "rprivate", "ro" if read_only else "rw"]
        return {"destination": target, "type": "bind", "source": source, "options": options}

    quiet = ("nosuid", "noexec", "nodev")
    return [
        mount("/proc", "proc", *quiet),
        mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        mount("/sys", "sysfs", *quiet, "ro"),
        mount("/sys/fs/cgroup", "cgroup", *quiet, "relatime", "ro"),
        mount("/dev/mqueue", "mqueue", *quiet),
        mount("/dev/shm", "tmpfs", *quiet, "mode=1777", "size=65536k"),  # noqa: S108 a path inside the container
        file("/etc/resolv.conf", files.resolv_conf),
        file("/etc/hosts", files.hosts),
        file("/etc/hostname", files.hostname),
    ]


def _resources(spec: ContainerSpec, swap: bool) -> dict[str, Any]:
    resources: dict[str, Any] = {
        "devices": [{"allow": False, "access": "rwm"}],
        # ECS passes 0 CPU units on as the kernel's minimum of shares.
        "cpu": {"shares": min(max(spec.cpu, _MIN_SHARES), _MAX_SHARES)},
    }
    memory: dict[str, Any] = {}
    if spec.memory:
        memory["limit"] = spec.memory * _MIB
        if swap:
            memory["swap"] = spec.memory * _MIB
    if spec.memory_reservation:
        memory["reservation"] = spec.memory_reservation * _MIB
    return {**resources, "memory": memory} if memory else resources


def _namespaces(plan: ContainerPlan, unified: bool) -> list[dict[str, str]]:
    network = {"type": "network", "path": plan.netns} if plan.netns else {"type": "network"}
    kinds = ["pid", "ipc", "uts", "mount"] + (["cgroup"] if unified else [])
    return [network, *({"type": kind} for kind in kinds)]


def build(
    plan: ContainerPlan, image: RunConfig, user: User, hostname: str, files: Files, cgroup: str, machine: Machine
) -> dict[str, Any]:
    """The whole spec, ready for JSON. ``cgroup``: the container's ``cgroupsPath``. Raises BadContainer."""
    spec = plan.spec
    bounding = capabilities(spec.capabilities_add, spec.capabilities_drop, machine.capabilities)
    # A process that isn't root starts without capabilities, and may gain those of the bounding set from files.
    effective = sorted(bounding) if user.uid == 0 else []
    return {
        "ociVersion": "1.0.2",
        "hostname": hostname,
        "root": {"path": "rootfs", "readonly": spec.readonly_root_filesystem},
        "process": {
            "terminal": False,
            "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
            "args": arguments(spec, image),
            "env": environment(spec, image, hostname),
            "cwd": _directory(spec.working_directory or image.working_dir or "/"),
            "capabilities": {"bounding": sorted(bounding), "effective": effective, "permitted": effective},
            "rlimits": rlimits(spec, machine.nofile),
            "noNewPrivileges": False,
        },
        "mounts": _mounts(files, spec.readonly_root_filesystem),
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": _namespaces(plan, machine.unified),
            "resources": _resources(spec, machine.swap),
            "sysctl": {
                "net.ipv4.ip_unprivileged_port_start": "0",
                "net.ipv4.ping_group_range": "0 2147483647",
                **spec.system_controls,
            },
            "seccomp": profile(machine.architecture, bounding),
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READ_ONLY),
        },
    }


def _directory(path: str) -> str:
    if not path.startswith("/"):
        raise BadContainer(f"the working directory '{path}' is invalid, it needs to be an absolute path")
    return path
