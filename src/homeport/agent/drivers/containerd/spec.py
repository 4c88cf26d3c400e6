"""The OCI runtime spec of a container: the image's config merged with the container's definition as Docker does, with
Docker's defaults for everything else. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homeport.agent.cdi import NOTHING, Edits, Hook, Mount
from homeport.agent.drivers import ContainerPlan
from homeport.agent.drivers.containerd.devices import HostDevice
from homeport.agent.drivers.containerd.manifests import RunConfig
from homeport.agent.drivers.containerd.mounts import BadMount, Bind, Files, mounts
from homeport.agent.drivers.containerd.seccomp import profile
from homeport.agent.drivers.containerd.users import User
from homeport.agentapi import ContainerSpec

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOFILE = 65535  # Fargate's default, soft and hard
NO_NEW_PRIVILEGES = "no-new-privileges"  # the one of Docker's security options that there is
INIT = "/sbin/docker-init"  # where Docker puts it
_MIB = 1 << 20
_MIN_SHARES, _MAX_SHARES = 2, 262144

_DEFAULT = (
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID "
    "SYS_CHROOT"
)
DEFAULT_CAPABILITIES = frozenset(f"CAP_{name}" for name in _DEFAULT.split())
MASKED = (
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
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}


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
    init: str | None = None  # a static init on the host, to be process 1 of containers that ask for one


@dataclass(frozen=True)
class Provided:
    """What the node made or found for the container. ``devices``: also those of its GPUs. ``namespaces``: kinds
    (``pid``) and paths of those to join; others are the container's own. ``gpus``: what else they need."""

    binds: tuple[Bind, ...] = ()
    devices: tuple[HostDevice, ...] = ()
    namespaces: tuple[tuple[str, str], ...] = ()
    gpus: Edits = NOTHING


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
    terminal = ["TERM=xterm"] if spec.pseudo_terminal else []
    for entry in (DEFAULT_PATH, f"HOSTNAME={hostname}", *terminal, *(image.env or ())):
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


def _resources(spec: ContainerSpec, machine: Machine, provided: Provided) -> dict[str, Any]:
    resources: dict[str, Any] = {
        "devices": [{"allow": spec.privileged, "access": "rwm"}, *(device.rule for device in provided.devices)],
        # ECS passes 0 CPU units on as the kernel's minimum of shares.
        "cpu": {"shares": min(max(spec.cpu, _MIN_SHARES), _MAX_SHARES)},
    }
    memory: dict[str, Any] = {}
    if spec.memory:
        memory["limit"] = spec.memory * _MIB
        if machine.swap:
            memory["swap"] = (spec.memory + (spec.max_swap or 0)) * _MIB
    if spec.memory_reservation:
        memory["reservation"] = spec.memory_reservation * _MIB
    if spec.swappiness is not None and not machine.unified:  # cgroup v2 has none
        memory["swappiness"] = spec.swappiness
    return {**resources, "memory": memory} if memory else resources


def _namespaces(plan: ContainerPlan, unified: bool, joined: dict[str, str]) -> list[dict[str, str]]:
    paths = {"network": None if plan.spec.disable_networking else plan.netns, **joined}
    kinds = ["network", "pid", "ipc", "uts", "mount"] + (["cgroup"] if unified else [])
    machines = [kind for kind, mode in (("pid", plan.pid_mode), ("ipc", plan.ipc_mode)) if mode == "host"]
    kinds = [kind for kind in kinds if kind not in machines]
    return [{"type": kind, "path": path} if (path := paths.get(kind)) else {"type": kind} for kind in kinds]


def _process(
    spec: ContainerSpec, image: RunConfig, user: User, hostname: str, machine: Machine, bounding: frozenset[str]
) -> dict[str, Any]:
    # A process that isn't root starts without capabilities, and may gain those of the bounding set from files.
    effective = sorted(bounding) if user.uid == 0 else []
    args = arguments(spec, image)
    return {
        "terminal": spec.pseudo_terminal,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": [INIT, "--", *args] if spec.init else args,
        "env": environment(spec, image, hostname),
        "cwd": _directory(spec.working_directory or image.working_dir or "/"),
        "capabilities": {"bounding": sorted(bounding), "effective": effective, "permitted": effective},
        "rlimits": rlimits(spec, machine.nofile),
        "noNewPrivileges": _no_new_privileges(spec.security_options),
    }


def shares_network(plan: ContainerPlan) -> bool:
    """Whether it has the machine's network, whose settings are no container's to make."""
    return plan.network_mode == "host" and not plan.spec.disable_networking


def _no_new_privileges(options: tuple[str, ...]) -> bool:
    refused = next((option for option in options if option != NO_NEW_PRIVILEGES), None)
    if refused is not None:
        raise BadContainer(f"invalid --security-opt: {refused!r} is not supported on this node")
    return bool(options)


def _mounts(plan: ContainerPlan, files: Files, machine: Machine, provided: Provided) -> list[dict[str, Any]]:
    binds = list(provided.binds)
    if plan.spec.init:
        if machine.init is None:
            raise BadContainer("'initProcessEnabled' needs the program tini-static or docker-init on the node")
        binds.append(Bind(machine.init, INIT, read_only=True))
    try:
        return mounts(plan.spec, files, binds, plan.ipc_mode)
    except BadMount as e:
        raise BadContainer(str(e)) from None


def build(
    plan: ContainerPlan,
    image: RunConfig,
    user: User,
    hostname: str,
    files: Files,
    cgroup: str,
    machine: Machine,
    provided: Provided | None = None,
) -> dict[str, Any]:
    """The whole spec, ready for JSON. ``cgroup``: the container's ``cgroupsPath``. Raises BadContainer."""
    spec = plan.spec
    bounding = machine.capabilities
    if not spec.privileged:
        bounding = capabilities(spec.capabilities_add, spec.capabilities_drop, machine.capabilities)
    provided = provided or Provided()
    built: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "hostname": hostname,
        "root": {"path": "rootfs", "readonly": spec.readonly_root_filesystem},
        "process": _process(spec, image, user, hostname, machine, bounding),
        "mounts": _mounts(plan, files, machine, provided),
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": _namespaces(plan, machine.unified, dict(provided.namespaces)),
            "devices": [device.node for device in provided.devices],
            "resources": _resources(spec, machine, provided),
            "sysctl": {**({} if shares_network(plan) else _SYSCTLS), **spec.system_controls},
            "seccomp": None if spec.privileged else profile(machine.architecture, bounding),
            "maskedPaths": [] if spec.privileged else list(MASKED),
            "readonlyPaths": [] if spec.privileged else list(READ_ONLY),
        },
    }
    _edit(built, provided.gpus)
    return built


def _edit(built: dict[str, Any], edits: Edits) -> None:
    """Adds what GPUs need to a spec, as CDI says; their devices are there already."""
    process = built["process"]
    if edits.env:
        named = dict(entry.partition("=")[::2] for entry in (*process["env"], *edits.env))
        process["env"] = [f"{name}={value}" for name, value in named.items()]
    process["user"]["additionalGids"] += [gid for gid in edits.additional_gids if gid]
    built["mounts"] += [_mount(mount) for mount in edits.mounts]
    for hook in edits.hooks:
        built.setdefault("hooks", {}).setdefault(hook.hook_name, []).append(_hook(hook))


def _mount(mount: Mount) -> dict[str, Any]:
    kind, options = mount.type or "bind", list(mount.options)
    if kind == "bind" and not {"bind", "rbind"} & set(options):
        options.append("rbind")
    return {"destination": mount.container_path, "source": mount.host_path, "type": kind, "options": options}


def _hook(hook: Hook) -> dict[str, Any]:
    made: dict[str, Any] = {"path": hook.path, "args": list(hook.args), "env": list(hook.env)}
    return made if hook.timeout is None else {**made, "timeout": hook.timeout}


def _directory(path: str) -> str:
    if not path.startswith("/"):
        raise BadContainer(f"the working directory '{path}' is invalid, it needs to be an absolute path")
    return path
