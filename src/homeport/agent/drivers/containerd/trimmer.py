"""The process that bounds containers' output (``trimming``), beside containerd: one per Homeport, whatever becomes of
the agent. Running agents bring it back where it was killed."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from homeport.agent.drivers.containerd import logs, trimming
from homeport.agent.drivers.containerd.cgroups import Cgroups
from homeport.agent.drivers.containerd.instance import Instance

_LOOK_SECONDS = 5.0
_STOP_SECONDS = 10.0


def _lock(of: Instance) -> Path:
    """Locked for as long as the process runs, from before its start; its pid is in it."""
    return of.run / "trimmer"


def _free(file: IO[str]) -> bool:
    """Whether nobody held the lock, which then is ours until the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def ensure(of: Instance) -> None:
    """Starts it unless it runs. Raises OSError."""
    with open(_lock(of), "a+") as file:
        if not _free(file):
            return
        file.truncate(0)
        program = [sys.executable, "-I", "-S", trimming.__file__]
        watched = [str(path) for path in (logs.top(of.state), of.tasks, _lock(of), of.log)]
        subprocess.run(
            ["setsid", "--fork", *program, *watched, *Cgroups(of.name).runtime_homes()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(file.fileno(),),  # with it the lock
            cwd="/",
            check=True,
        )


async def keep(of: Instance) -> None:
    """Has it running until cancelled."""
    while True:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            await asyncio.to_thread(ensure, of)
        await asyncio.sleep(_LOOK_SECONDS)


def stop(of: Instance) -> None:
    """Ends it, if it runs; returns when it is gone."""
    if not _lock(of).exists():
        return
    with open(_lock(of), "a+") as file:
        deadline = time.monotonic() + _STOP_SECONDS
        while not _free(file) and time.monotonic() < deadline:
            file.seek(0)
            if pid := file.read():  # it writes that first
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.01)
