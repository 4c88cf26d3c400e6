"""The supervisor: runs the control plane and this machine's agent, and starts again whichever ends.

One that fails at the first start would fail again: then the supervisor ends, and `homeport up` says why.

It holds a lock on the run folder, so there is one per state folder. SIGTERM ends both processes (containers run on),
SIGHUP does that and then runs the program anew: an upgrade in place.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from homeport.config import Secrets, Settings, with_secrets

log = logging.getLogger("homeport.supervisor")
FIRST_DELAY, LAST_DELAY = 0.1, 5.0  # seconds before a process that ended is started again: doubles up to the last
PROVEN = 10.0  # seconds after which a process counts as well started and its delay is forgotten
LOCK_ATTEMPTS = 10  # 20 ms apart
NODE_ENDED = 5  # exit code of an agent that would only disturb: another one has its node's key
GRACE = 15.0  # seconds that a process gets to end before SIGKILL
# The control plane needs no privilege: it runs without capabilities, and both end when the supervisor does.
UNPRIVILEGED = ("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")


def lock(settings: Settings) -> int | None:
    """The lock's file descriptor, or None where a supervisor already runs. Writes this process's id into it."""
    for attempt in range(LOCK_ATTEMPTS):
        if attempt:
            time.sleep(0.02)  # `running` in another process holds it for a moment
        settings.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(_lock_file(settings), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _take(descriptor) and _is_at(_lock_file(settings), descriptor):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor
        os.close(descriptor)
    return None


def remove_run_folder(settings: Settings) -> None:
    """Removes sockets and process ids, unless a supervisor runs (again)."""
    try:
        descriptor = os.open(_lock_file(settings), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        shutil.rmtree(settings.run_dir, ignore_errors=True)
        return
    if _take(descriptor):
        shutil.rmtree(settings.run_dir, ignore_errors=True)
    os.close(descriptor)


def _lock_file(settings: Settings) -> Path:
    return settings.run_dir / "supervisor.pid"


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """False where `down` removed the file between its opening and its locking."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def running(settings: Settings) -> int | None:
    """The process id of the supervisor that holds the lock, None where there is none."""
    try:
        descriptor = os.open(_lock_file(settings), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return None if _take(descriptor) else int(os.pread(descriptor, 32, 0) or 0) or None
    finally:
        os.close(descriptor)


class CannotStart(Exception):
    """A process ended with an error of its own before it was ``PROVEN`` once; its log says why."""


class Child:
    """One supervised process. ``final``: the exit code after which it isn't started again."""

    def __init__(
        self,
        name: str,
        argv: list[str],
        environment: dict[str, str],
        output: Path,
        privileged: bool,
        final: int | None = None,
    ) -> None:
        self.name, self.environment, self.output, self.final = name, environment, output, final
        drop = () if privileged else UNPRIVILEGED
        self.argv = ["setpriv", "--pdeathsig", "TERM", *drop, "--", *argv]

    async def run(self, stop: asyncio.Event, *, started_before: bool) -> None:
        """Keeps the process running until ``stop``. Raises CannotStart where it fails and ``started_before`` isn't
        set: a signal is no failure, since it comes from somebody else."""
        delay, proven = FIRST_DELAY, started_before
        while not stop.is_set():
            born = asyncio.get_running_loop().time()
            code = await self._once(stop)
            if stop.is_set():
                return
            lasted = asyncio.get_running_loop().time() - born > PROVEN
            proven = proven or lasted
            if code > 0 and (not proven or code == self.final):
                raise CannotStart(f"{self.name} ended with exit code {code}")
            delay = FIRST_DELAY if lasted else min(delay * 2, LAST_DELAY)
            try:
                await asyncio.wait_for(stop.wait(), delay)
            except TimeoutError:
                continue

    async def _once(self, stop: asyncio.Event) -> int:
        """The exit code; negative: ended by that signal."""
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
        code = await ended
        log.log(logging.INFO if stop.is_set() else logging.WARNING, "%s ended with %s", self.name, code)
        return code


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


def node(settings: Settings, key: Secrets) -> Child:
    """The agent of a machine that has joined a control plane elsewhere."""
    logs = settings.path("logs")
    logs.mkdir(mode=0o700, exist_ok=True)
    argv = [sys.executable, "-m", "homeport", "agent", "--state", settings.state]
    return Child("agent", argv, with_secrets(key), logs / "agent.log", privileged=True, final=NODE_ENDED)


async def supervise(children: Sequence[Child], *, started_before: bool = False) -> bool:
    """Runs until SIGTERM, SIGINT (returns False) or SIGHUP (returns True: run the program anew). ``started_before``: it
    has run on this machine, so whatever fails is tried again for ever. Raises CannotStart, with nothing running."""
    stop, anew = asyncio.Event(), False

    def hang_up() -> None:
        nonlocal anew
        anew = True
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    running = [
        asyncio.create_task(child.run(stop, started_before=started_before), name=f"supervise {child.name}")
        for child in children
    ]
    await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
    stop.set()  # the others end in good order
    await asyncio.wait(running)
    for task in running:
        task.result()
    return anew
