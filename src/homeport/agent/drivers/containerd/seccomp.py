"""The system calls that a container may make: what Docker allows by default, as a profile of the OCI runtime spec.

The lists are in ``seccomp.json``; the few rules that look at arguments are here. Everything else fails with EPERM.
One thing is tighter: the x32 ABI, which distributions' kernels have switched off, is not let in, because its part of
the filter would cost every start 4 ms.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

_EPERM, _ENOSYS = 1, 38
_AF_VSOCK = 40
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET: new namespaces need CAP_SYS_ADMIN
_NEW_NAMESPACES = 0x7E020000
# Linux, 32-bit processes on 64-bit machines, their UNAME26 variants, and the query of the present value
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)


class _Lists(msgspec.Struct, frozen=True):
    architectures: dict[str, tuple[str, ...]]
    always: tuple[str, ...]
    by_architecture: dict[str, tuple[str, ...]]
    by_capability: dict[str, tuple[str, ...]]


@cache
def _lists() -> _Lists:
    return msgspec.json.decode((Path(__file__).parent / "seccomp.json").read_bytes(), type=_Lists)


def _allow(names: Iterable[str], *args: dict[str, Any]) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": list(names), "action": "SCMP_ACT_ALLOW"}
    return {**rule, "args": list(args)} if args else rule


def profile(architecture: str, capabilities: frozenset[str]) -> dict[str, Any] | None:
    """``linux.seccomp`` for a container with these (bounding) capabilities; None for an architecture without lists."""
    lists = _lists()
    if architecture not in lists.architectures:
        return None
    names = set(lists.always) | set(lists.by_architecture.get(architecture, ()))
    for capability in capabilities & lists.by_capability.keys():
        names.update(lists.by_capability[capability])
    rules = [_allow(sorted(names))]
    rules.append(_allow(["socket"], {"index": 0, "value": _AF_VSOCK, "op": "SCMP_CMP_NE"}))
    rules += [_allow(["personality"], {"index": 0, "value": v, "op": "SCMP_CMP_EQ"}) for v in _PERSONALITIES]
    if "clone" not in names:
        flags = 1 if architecture == "s390x" else 0
        masked = {"index": flags, "value": _NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
        rules.append(_allow(["clone"], masked))
        # clone3's flags are out of seccomp's sight: libraries fall back to clone when it doesn't exist.
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": list(lists.architectures[architecture]),
        "syscalls": rules,
    }
