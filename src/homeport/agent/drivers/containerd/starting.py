"""Starting a container's process, also where an earlier try was cut off at its worst moment.

A created container's process waits until somebody reads from a pipe in runc's state; ``runc start`` does, and removes
the pipe. Killed in between, as when its containerd is, it leaves a process that has gone on and a pipe that says that
it has not: the next ``runc start`` waits at the pipe for ever, and the container's shim with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import msgspec

from homeport.agent.drivers import Observed
from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd import logs, observed
from homeport.agent.drivers.containerd.client import Client
from homeport.agent.drivers.containerd.instance import Instance

_USUAL_SECONDS = 1.0  # in which a process is started, mostly; then it is looked at why it isn't
_BROKEN, _LAST_BYTES = b"write exec fifo ", 200  # how runc begins to tell of it, and where that is in each stream
_WAITS = [b"runc", b"init"]  # the command line of a process that waits to be started


class _State(msgspec.Struct):
    init_process_pid: int


async def start_task(client: Client, of: Instance, id: str) -> int:
    """The process's id on the machine. Raises CallError."""
    call = asyncio.ensure_future(client.call(c.START_TASK, pb.TaskRequest(container_id=id)))
    try:
        while not (await asyncio.wait({call}, timeout=_USUAL_SECONDS))[0]:
            await asyncio.to_thread(release, of.runc_root / of.name / id)
        return int((await call).pid)
    finally:
        call.cancel()


def cut_off(of: Instance, found: Observed) -> bool:
    """Whether a process ended because its start was cut off while it told that it goes on: runc's own part of it ends
    with 1 then and says so, and ``runc start`` has left the pipe."""
    if (found.state, found.exit_code) != ("stopped", 1):
        return False
    return (of.runc_root / of.name / found.id / "exec.fifo").exists() and _BROKEN in _said(of, found)


def _said(of: Instance, found: Observed) -> bytes:
    """The last of a container's output."""
    paths = logs.paths(of.state, found.labels[observed.TASK], found.labels[observed.CONTAINER])
    with contextlib.suppress(OSError):
        return b"".join(path.read_bytes()[-_LAST_BYTES:] for path in paths.values())
    return b""


def release(state: Path) -> bool:
    """Lets a ``runc start`` go on that waits for a process which has gone on itself. Whether there was one.
    ``state``: the container's folder in runc's state."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        pid = msgspec.json.decode((state / "state.json").read_bytes(), type=_State).init_process_pid
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[:2] == _WAITS or words == [b""]:  # it waits for its start, or it is over, which runc sees itself
            return False
        pipe = os.open(state / "exec.fifo", os.O_WRONLY | os.O_NONBLOCK)  # fails where nobody reads
        try:
            os.write(pipe, b"0")
        finally:
            os.close(pipe)
        return True
    return False
