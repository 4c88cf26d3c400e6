"""Commands run inside a container beside its own process, bounded in time and output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Any

import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage

from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd.client import AlreadyExists, CallError, Client, FailedPrecondition, NotFound
from homeport.agent.drivers.containerd.gate import Gate
from homeport.agent.drivers.containerd.oom import Kills
from homeport.core.clock import Clock

_PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"
# Where none is given, the runtime opens /dev/null for reading, so that writing fails; where both are the same, the shim
# doesn't read what comes to the second. Both devices swallow all that is written.
_NOWHERE = ("/dev/null", "/dev/zero")
_KILLED_SECONDS = 5.0  # that a killed command has to be gone
# Commands that are begun at once, for each core: a beginning is about 50 ms of work, and waiting for it is none.
AT_ONCE = 2
_KNOWN = 256  # commands that are kept ready, of some 2 KB each


class _Spec(msgspec.Struct):
    """What is needed of a container's runtime spec."""

    process: dict[str, Any]


class Execs:
    """All commands of one driver. No more than ``AT_ONCE`` of them for each core begin at the same time."""

    def __init__(self, client: Client, kills: Kills, clock: Clock) -> None:
        self._client, self._kills, self._clock = client, kills, clock
        self._known: dict[tuple[str, tuple[str, ...]], AnyMessage] = {}
        self._gate = Gate(AT_ONCE * (os.cpu_count() or 1))

    async def run(self, task_id: str, id: str, name: str, command: Sequence[str], seconds: float) -> int | None:
        """Exit code of ``command``, run as the container's user, with its environment, limits and capabilities; None:
        it took over ``seconds`` and was killed, with all of its process group.

        Its output goes nowhere, so no amount of it fills anything. ``name`` is the run's: what an earlier agent left
        running under it is ended first. Raises CallError.
        """
        kills, code = self._kills.count(task_id, id), None
        try:
            code = await self._run(id, name, command, seconds)
        finally:
            if code != 0:
                with contextlib.suppress(OSError):
                    self._kills.failed(task_id, id, kills, self._clock.wall())
        return code

    async def _run(self, id: str, name: str, command: Sequence[str], seconds: float) -> int | None:
        client, body = self._client, await self._process(id, tuple(command))
        request = pb.ExecRequest(container_id=id, exec_id=name, spec=body, stdout=_NOWHERE[0], stderr=_NOWHERE[1])
        this = pb.TaskRequest(container_id=id, exec_id=name)
        made, pid, code = False, 0, None
        try:
            async with self._gate.passing():
                try:
                    await client.call(c.EXEC, request)
                except AlreadyExists:
                    await _end(client, this)
                    await client.call(c.EXEC, request)
                made = True
                pid = (await client.call(c.START_TASK, this)).pid
            async with asyncio.timeout(seconds):  # ours: containerd answers a deadline of the call's with any error
                code = (await client.call(c.WAIT_TASK, this, seconds + _KILLED_SECONDS)).exit_status
        except TimeoutError:
            pass
        finally:
            if made and (code is None or not await _forgotten(client, this)):
                await _end(client, this, pid)
        return code

    async def _process(self, id: str, command: tuple[str, ...]) -> AnyMessage:
        """What the runtime is told of the command. It is kept, since a health check runs again and again; what a
        container may do is settled when it is made."""
        body = self._known.pop((id, command), None)
        if body is None:
            spec = (await self._client.call(c.GET_CONTAINER, pb.ContainerId(id=id))).container.spec
            process = msgspec.json.decode(spec.value, type=_Spec).process | {"args": command, "terminal": False}
            body = AnyMessage(type_url=_PROCESS_TYPE, value=msgspec.json.encode(process))
        self._known[(id, command)] = body  # the latest is the last
        if len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]
        return body


async def _forgotten(client: Client, this: pb.TaskRequest) -> bool:
    """Forgets a run that has ended; False: it couldn't."""
    try:
        await client.call(c.DELETE_PROCESS, this)
    except NotFound:
        return True
    except CallError:
        return False
    return True


async def _end(client: Client, this: pb.TaskRequest, pid: int = 0) -> None:
    """Kills what still runs and forgets the run. ``pid`` 0: containerd is asked for it."""
    with contextlib.suppress(NotFound):
        process = (await client.call(c.GET_TASK, this)).process
        if process.status == pb.RUNNING:
            _kill_group(pid or process.pid)
            with contextlib.suppress(NotFound, FailedPrecondition):
                kill = pb.KillRequest(container_id=this.container_id, exec_id=this.exec_id, signal=signal.SIGKILL)
                await client.call(c.KILL_TASK, kill)
            with contextlib.suppress(NotFound, TimeoutError):
                async with asyncio.timeout(_KILLED_SECONDS):
                    await client.call(c.WAIT_TASK, this)
        await client.call(c.DELETE_PROCESS, this)


def _kill_group(pid: int) -> None:
    """The runtime gives each command a session of its own, so its children are in its process group."""
    with contextlib.suppress(ProcessLookupError):
        if pid and os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
