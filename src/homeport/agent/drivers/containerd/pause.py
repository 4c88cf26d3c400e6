"""The process that holds the namespaces of processes and of IPC that a task's containers share.

A process namespace ends with its process 1, and all of its processes with it; so that any container may end before
the others, process 1 is none of theirs: it waits, and what is orphaned in the namespace disappears when it ends. It
is a container of its own, with nothing in its root but this program, since the task's containers can reach its root
by way of /proc.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from pathlib import Path
from typing import Any

from homeport.agent.drivers import ContainerPlan, DriverError
from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd import leftovers
from homeport.agent.drivers.containerd.cgroups import Cgroups
from homeport.agent.drivers.containerd.client import CallError, Client, NotFound, Unavailable
from homeport.agent.drivers.containerd.instance import Instance
from homeport.agent.drivers.containerd.mounts import QUIET, mount
from homeport.agent.drivers.containerd.records import record
from homeport.agent.drivers.containerd.shared import Shared
from homeport.agent.drivers.containerd.spec import MASKED, READ_ONLY

PROGRAM = "/pause"
_NOBODY = 65534
_SIGKILL = 9

# rt_sigaction(SIGCHLD, {SIG_IGN, SA_NOCLDWAIT}, NULL, 8), then wait for signals for ever. {action} is the address of
# the sigaction that follows the code: the kernel itself then buries orphans.
_LOAD, _HEADERS = 0x400000, 64 + 56  # bytes of the ELF header and its one program header
_ACTION = struct.pack("<QQQQ", 1, 2, 0, 0)
_AMD64 = bytes.fromhex(
    "b80d000000"  # mov eax, 13 (rt_sigaction)
    "bf11000000"  # mov edi, 17 (SIGCHLD)
    "488d3519000000"  # lea rsi, [rip+25]: the sigaction
    "31d2"  # xor edx, edx
    "41ba08000000"  # mov r10d, 8
    "0f05"  # syscall
    "b822000000"  # mov eax, 34 (pause)
    "0f05"  # syscall
    "ebf7"  # jmp back to pause
    "909090909090"  # nop
)
_ARM64 = struct.pack(
    "<14I",
    0xD28010C8,  # mov x8, 134 (rt_sigaction)
    0xD2800220,  # mov x0, 17 (SIGCHLD)
    0x10000181,  # adr x1, +48: the sigaction
    0xD2800002,  # mov x2, 0
    0xD2800103,  # mov x3, 8
    0xD4000001,  # svc 0
    0xD2800928,  # mov x8, 73 (ppoll)
    0xD2800000,  # mov x0, 0
    0xD2800001,  # mov x1, 0
    0xD2800002,  # mov x2, 0
    0xD2800003,  # mov x3, 0
    0xD4000001,  # svc 0
    0x17FFFFFA,  # b back to ppoll
    0xD503201F,  # nop
)
_MACHINES = {"amd64": (62, _AMD64), "arm64": (183, _ARM64)}


def program(architecture: str) -> bytes:
    """The waiting program as a static executable. Raises KeyError for an architecture that isn't known."""
    machine, code = _MACHINES[architecture]
    size = _HEADERS + len(code) + len(_ACTION)
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, machine, 1, _LOAD + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _LOAD, _LOAD, size, size, 0x1000)
    return header + segment + code + _ACTION


def container_id(task_id: str) -> str:
    return f"{task_id}-pause"


def spec(cgroup: str) -> dict[str, Any]:
    """The OCI spec of the holder: no rights, no network, nothing writable. ``cgroup``: its ``cgroupsPath``."""
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": True},
        "process": {
            "terminal": False,
            "user": {"uid": _NOBODY, "gid": _NOBODY},
            "args": [PROGRAM],
            "cwd": "/",
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "mounts": [
            mount("/proc", "proc", *QUIET),
            mount("/dev", "tmpfs", "nosuid", "mode=755", "size=64k"),
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "network", "uts", "mount")],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
        },
    }


class Pauses:
    """The holders of an agent's tasks."""

    def __init__(self, client: Client, of: Instance, cgroups: Cgroups, architecture: str) -> None:
        self._client, self._of, self._cgroups, self._architecture = client, of, cgroups, architecture
        self._holding: Shared[int] = Shared()

    async def namespaces(self, plan: ContainerPlan) -> tuple[tuple[str, str], ...]:
        """Kinds and paths of the namespaces that the container shares with its task's others; their holder is started
        where there is none. May be repeated. Raises DriverError, CallError."""
        kinds = [kind for kind, mode in (("pid", plan.pid_mode), ("ipc", plan.ipc_mode)) if mode == "task"]
        if not kinds:
            return ()
        pid = await self._holding.run(plan.task_id, lambda: self._hold(plan.task_id))
        return tuple((kind, f"/proc/{pid}/ns/{kind}") for kind in kinds)

    async def _hold(self, task_id: str) -> int:
        id = container_id(task_id)
        with contextlib.suppress(NotFound):
            process = (await self._client.call(c.GET_TASK, pb.TaskRequest(container_id=id))).process
            if process.status == pb.RUNNING:
                return process.pid
        await self.remove(task_id)  # what a crash left halfway
        try:
            root = await asyncio.to_thread(_root, self._of, self._architecture)
        except (KeyError, OSError) as e:
            raise DriverError("CannotCreateContainerError", f"no process to hold the task's namespace: {e}") from None
        container = record(self._of, id, spec(self._cgroups.path(task_id, id)), {})
        await self._client.call(c.CREATE_CONTAINER, pb.ContainerMessage(container=container))
        mount = pb.Mount(type="bind", source=str(root), options=["rbind", "ro"])
        try:
            await self._client.call(c.CREATE_TASK, pb.CreateTaskRequest(container_id=id, rootfs=[mount]))
            return (await self._client.call(c.START_TASK, pb.TaskRequest(container_id=id))).pid
        except Unavailable:
            raise
        except CallError:
            await self.remove(task_id)
            raise

    async def remove(self, task_id: str) -> None:
        """Ends and removes the task's holder, where there is one. Raises CallError."""
        id = container_id(task_id)
        try:
            await self._client.call(c.GET_CONTAINER, pb.ContainerId(id=id))
        except NotFound:  # the record is made before and removed after everything else
            return
        request = pb.TaskRequest(container_id=id)
        with contextlib.suppress(NotFound):
            with contextlib.suppress(NotFound, c.FailedPrecondition):
                await self._client.call(c.KILL_TASK, pb.KillRequest(container_id=id, signal=_SIGKILL))
                await self._client.call(c.WAIT_TASK, request)
            await self._client.call(c.DELETE_TASK, request)
        await asyncio.to_thread(leftovers.clear, self._of, id)
        with contextlib.suppress(NotFound):
            await self._client.call(c.DELETE_CONTAINER, pb.ContainerId(id=id))


def _root(of: Instance, architecture: str) -> Path:
    """The folder that is the holders' root: made once."""
    root = of.state / "agent" / "pause"
    file = root / PROGRAM.lstrip("/")
    if not file.exists():
        for folder in ("proc", "dev"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        new = file.with_name(".new")
        new.write_bytes(program(architecture))
        new.chmod(0o755)
        os.replace(new, file)
    return root
