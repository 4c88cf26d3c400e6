"""The supervisor: runs the control plane and this machine's agent, and starts again whichever ends.

It holds a lock on the run folder, so there is one per state folder. SIGTERM ends both processes (containers run on),
SIGHUP does that and then runs the program anew: an upgrade in place.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sys
from pathlib import Path

from homeport.config import Secrets, Settings, with_secrets

log = logging.getLogger("homeport.supervisor")
FIRST_DELAY, LAST_DELAY = 0.1, 5.0  # seconds before a process that ended is started again: doubles up to the last
PROVEN = 10.0  # seconds after which a process counts as well started and its delay is forgotten
GRACE = 15.0  # seconds that a process gets to end before SIGKILL
# The control plane needs no privilege: it runs without capabilities, and both end when the supervisor does.
UNPRIVILEGED = ("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")


def lock(settings: Settings) -> int | None:
    """The lock's file descriptor, or None where a supervisor already runs. Writes this process's id into it."""
    settings.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(settings.run_dir / "supervisor.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def running(settings: Settings) -> int | None:
    """The process id of the supervisor that holds the lock, None where there is none."""
    path = settings.run_dir / "supervisor.pid"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(path.read_text() or 0) or None
    else:
        return None
    finally:
        os.close(descriptor)


class Child:
    """One supervised process."""

    def __init__(self, name: str, argv: list[str], environment: dict[str, str], output: Path, privileged: bool) -> None:
        self.name, self.environment, self.output = name, environment, output
        drop = () if privileged else UNPRIVILEGED
        self.argv = ["setpriv", "--pdeathsig", "TERM", *drop, "--", *argv]

    async def run(self, stop: asyncio.Event) -> None:
        """Keeps the process running until ``stop``."""
        delay = FIRST_DELAY
        while not stop.is_set():
            born = asyncio.get_running_loop().time()
            await self._once(stop)
            if stop.is_set():
                return
            delay = FIRST_DELAY if asyncio.get_running_loop().time() - born > PROVEN else min(delay * 2, LAST_DELAY)
            try:
                await asyncio.wait_for(stop.wait(), delay)
            except TimeoutError:
                continue

    async def _once(self, stop: asyncio.Event) -> None:
        with self.output.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *self.argv, env=self.environment, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )
        log.info("%s runs as process %d", self.name, process.pid)
        ended, stopped = asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not ended.done():
            process.terminate()
            try:
                await asyncio.wait_for(asyncio.shield(ended), GRACE)
            except TimeoutError:
                process.kill()
        log.log(logging.INFO if stop.is_set() else logging.WARNING, "%s ended with %s", self.name, await ended)


def children(settings: Settings, root: Secrets, node: Secrets) -> list[Child]:
    """Control plane and agent, as the commands that anyone could type."""
    program = [sys.executable, "-m", "homeport"]
    logs = settings.path("logs")
    logs.mkdir(mode=0o700, exist_ok=True)
    server = [*program, "server", "--state", settings.state]
    agent = [*program, "agent", "--fargate", "--server", settings.endpoint, "--state", settings.state]
    return [
        Child("server", server, with_secrets(root), logs / "server.log", privileged=False),
        Child("agent", agent, with_secrets(node), logs / "agent.log", privileged=True),
    ]


async def supervise(settings: Settings, root: Secrets, node: Secrets) -> bool:
    """Runs until SIGTERM, SIGINT (returns False) or SIGHUP (returns True: run the program anew)."""
    stop, anew = asyncio.Event(), False

    def hang_up() -> None:
        nonlocal anew
        anew = True
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    async with asyncio.TaskGroup() as group:
        for child in children(settings, root, node):
            group.create_task(child.run(stop), name=f"supervise {child.name}")
    return anew
