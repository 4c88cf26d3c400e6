"""Rules for linuxParameters. Pure."""

from __future__ import annotations

import re

from homeport.services.ecs.registration.members import Members, Rule, each, items, part

# API reference, KernelCapabilities: the valid values of ``add`` and ``drop``.
_CAPABILITY = re.compile(
    "ALL|AUDIT_CONTROL|AUDIT_WRITE|BLOCK_SUSPEND|CHOWN|DAC_OVERRIDE|DAC_READ_SEARCH|FOWNER|FSETID|IPC_LOCK|IPC_OWNER|"
    "KILL|LEASE|LINUX_IMMUTABLE|MAC_ADMIN|MAC_OVERRIDE|MKNOD|NET_ADMIN|NET_BIND_SERVICE|NET_BROADCAST|NET_RAW|SETFCAP|"
    "SETGID|SETPCAP|SETUID|SYS_ADMIN|SYS_BOOT|SYS_CHROOT|SYS_MODULE|SYS_NICE|SYS_PACCT|SYS_PTRACE|SYS_RAWIO|"
    "SYS_RESOURCE|SYS_TIME|SYS_TTY_CONFIG|SYSLOG|WAKE_ALARM"
)


def capabilities(definition: Members, container: Members) -> str | None:
    asked = part(part(container, "linuxParameters"), "capabilities")
    for capability in items(asked, "add") + items(asked, "drop"):
        if not _CAPABILITY.fullmatch(capability):
            return (
                f"Invalid setting for container '{container['name']}'. '{capability}' is not a valid Linux capability."
            )
    return None


def memory(definition: Members, container: Members) -> str | None:
    parameters, prefix = part(container, "linuxParameters"), f"Invalid setting for container '{container['name']}'."
    if parameters.get("swappiness", 0) not in range(100 + 1):
        return f"{prefix} 'swappiness' must be between 0 and 100."
    if parameters.get("maxSwap", 0) < 0:
        return f"{prefix} 'maxSwap' must not be negative."
    if parameters.get("sharedMemorySize", 1) < 1:
        return f"{prefix} 'sharedMemorySize' must be greater than 0."
    if any(tmpfs["size"] < 1 for tmpfs in items(parameters, "tmpfs")):
        return f"{prefix} The size of a tmpfs must be greater than 0."
    return None


RULES: tuple[Rule, ...] = (each(capabilities), each(memory))
