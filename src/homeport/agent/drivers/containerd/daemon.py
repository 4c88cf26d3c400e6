"""Our own containerd: a detached process that outlives the agent, started from the installed binary."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from homeport.agent.drivers import DriverError
from homeport.agent.drivers.containerd import leftovers, syscalls, trimmer
from homeport.agent.drivers.containerd.cgroups import Cgroups
from homeport.agent.drivers.containerd.client import Client
from homeport.agent.drivers.containerd.instance import Instance, config_text
from homeport.agent.drivers.containerd.machine import capabilities

START_SECONDS = 20.0  # it boots in 30 ms on an idle machine
STOP_SECONDS = 10.0

# The pid is written, and the process moved out of the agent's cgroups, before containerd runs: a service manager that
# stops the agent must not find containerd and its shims in the agent's unit.
_LAUNCH = 'echo $$ >"$1"; config=$2; shift 2; for f; do echo $$ >"$f"; done 2>/dev/null; exec containerd -c "$config"'


def running_pid(of: Instance) -> int | None:
    """The pid of our containerd if it runs. A pid that now belongs to another program is not ours."""
    try:
        pid = int(of.pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if str(of.config).encode() in command.split(b"\0") else None


@contextlib.contextmanager
def _locked(of: Instance) -> Iterator[None]:
    """One process at a time starts or stops it: the agent and ``homeport image load`` may both want it."""
    of.run.mkdir(mode=0o711, exist_ok=True)
    with open(of.run / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _launch(of: Instance) -> None:
    binary = shutil.which("containerd")
    if binary is None:
        raise DriverError("ContainerRuntimeError", "containerd is not installed")
    of.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    of.config.write_text(config_text(of, "CAP_SYS_RESOURCE" in capabilities()))
    of.pid_file.unlink(missing_ok=True)
    homes = Cgroups(of.name).runtime_homes()
    with open(of.log, "ab") as log:
        subprocess.run(
            ["setsid", "--fork", "sh", "-c", _LAUNCH, "sh", str(of.pid_file), str(of.config), *homes],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            check=True,
        )


def _launch_once(of: Instance) -> None:
    with _locked(of):
        if running_pid(of) is None:
            _launch(of)


async def ensure(of: Instance) -> None:
    """Returns when containerd answers, having started it if it is ours and doesn't run. Raises DriverError."""
    client = Client(str(of.socket), of.name)
    try:
        if await client.answers(5.0 if running_pid(of) else 0.5):
            return
        if of.external:
            raise DriverError("ContainerRuntimeError", f"no containerd answers on {of.socket}")
    finally:
        await client.close()
    await asyncio.to_thread(_launch_once, of)
    await _wait_for_answer(of)


async def _wait_for_answer(of: Instance) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_SECONDS
    client = Client(str(of.socket), of.name)
    try:
        while not (of.socket.exists() and await client.answers()):
            if loop.time() > deadline or _died(of):
                raise DriverError("ContainerRuntimeTimeoutError", f"containerd did not start: {_last_line(of.log)}")
            await asyncio.sleep(0.01)
    finally:
        await client.close()


def _died(of: Instance) -> bool:
    """Whether it was launched and has ended."""
    text = of.pid_file.read_text().strip() if of.pid_file.exists() else ""
    if not text:
        return False
    try:
        state = Path(f"/proc/{text}/stat").read_text().rpartition(")")[2].split()[0]
        command = Path(f"/proc/{text}/cmdline").read_bytes()
    except OSError:
        return True
    # The command line of a process that is just becoming another program is empty, as is that of a dead one.
    return state in "ZX" or (bool(command) and str(of.config).encode() not in command.split(b"\0"))


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip()[-500:] for line in reversed(lines) if line.strip()), "it said nothing")


def stop_containerd(of: Instance) -> None:
    """Stops our own containerd, if it runs, and removes its folder in /run when no container is left there.

    Containers that still run keep running: their shims hold them for the next start. An external containerd is left
    alone. Returns when the process is gone.
    """
    if not of.run.exists():
        return
    with _locked(of):
        pid = None if of.external else running_pid(of)
        if pid is not None:
            _end(pid)
        of.pid_file.unlink(missing_ok=True)
        containers = of.runc_root / of.name
        if containers.exists() and any(containers.iterdir()):
            return
        trimmer.stop(of)
        leftovers.end_shims(of)  # of containers that a crash left half-made
        _remove_run_folder(of)
    Cgroups(of.name).remove_all()


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        watch = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(watch, signal.SIGTERM)
            if not _ended(watch, STOP_SECONDS):
                signal.pidfd_send_signal(watch, signal.SIGKILL)
                _ended(watch, STOP_SECONDS)
        finally:
            os.close(watch)


def _ended(watch: int, seconds: float) -> bool:
    return bool(select.select([watch], [], [], seconds)[0])


def _remove_run_folder(of: Instance) -> None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        target = line.split()[1]
        if target.startswith(f"{of.run}/"):
            syscalls.unmount(target)
    shutil.rmtree(of.run, ignore_errors=True)
