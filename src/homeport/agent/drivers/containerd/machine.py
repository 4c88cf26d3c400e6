"""What this node can give to containers."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

from homeport.agent.drivers.containerd.cgroups import Cgroups
from homeport.agent.drivers.containerd.manifests import this_machine
from homeport.agent.drivers.containerd.spec import Machine

# by bit number, as in linux/capability.h
_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)


def capability_names(mask: int) -> frozenset[str]:
    """Names of the bits of a capability mask."""
    return frozenset(f"CAP_{name}" for bit, name in enumerate(_CAPABILITIES.split()) if mask >> bit & 1)


def capabilities() -> frozenset[str]:
    """Those that this process has, and so may give: a container manager's container often lacks some."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return capability_names(int(line.split()[1], 16))
    return frozenset()


def detect(cgroups: Cgroups) -> Machine:
    """This node."""
    has = capabilities()
    highest = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return Machine(
        architecture=this_machine().architecture,
        unified=cgroups.unified,
        swap=cgroups.swap_accounting(),
        capabilities=has,
        init=shutil.which("tini-static") or shutil.which("docker-init"),
        nofile=None if "CAP_SYS_RESOURCE" in has or highest == resource.RLIM_INFINITY else highest,
    )
