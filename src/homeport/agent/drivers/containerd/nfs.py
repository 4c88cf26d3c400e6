"""NFS mounts of tasks: one for each task and volume, so that no task feels what another does or waits for.

A mount's path tells whose it is: an agent that starts anew finds it, and nothing needs counting. Whatever may wait for
a server is done by a process apart, for a bounded time: a server that doesn't answer costs a task its start, never the
agent. util-linux's mount(8) and umount(8) are told to call the kernel themselves (``-i``), so nodes need none of
nfs-common's programs; NFSv4 needs none of its services. Mounts are of the node's network namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from homeport.agent.drivers.containerd import syscalls

MOUNT_SECONDS = 30.0
LOOK_SECONDS = 10.0
_FLUSH_SECONDS = 10.0
_UNMOUNT_SECONDS = 10.0
_KILLED_SECONDS = 2.0  # a killed process that waits for the kernel is left to itself after that
_PROBE_SECONDS = 5.0
_ABORT_SECONDS, _ABORT_AGAIN = 60.0, 0.5
_PROGRAM = (sys.executable, "-I", "-S", syscalls.__file__)


class NotDone(Exception):
    """A process apart failed; ``str`` says how."""


async def run_apart(*argv: str, seconds: float) -> str:
    """The output of a command that ends with this process, and after ``seconds`` at the latest. Raises NotDone."""
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", *argv),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate()
    except TimeoutError:
        raise NotDone(f"no answer within {seconds:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILLED_SECONDS):
                    await process.wait()
    if process.returncode:
        raise NotDone(errors.decode(errors="replace").strip()[:500] or f"exit code {process.returncode}")
    return output.decode(errors="surrogateescape").strip()


def mounted(mountinfo: str, folder: Path) -> list[str]:
    """Paths of what is mounted below a folder, what covers others first. ``mountinfo``: the text of
    /proc/self/mountinfo. Pure."""
    paths = (line.split()[4] for line in mountinfo.splitlines())
    return [path for path in paths if path.startswith(f"{folder}/")][::-1]


def reason(text: str) -> str:
    """Of what mount(8) says, the kernel's part. Pure."""
    first = text.splitlines()[0] if text else text
    if "unknown filesystem type" in first:
        return "the kernel of this node has no NFS client (nfsv4)"
    return first.rpartition("mount(2) system call failed: ")[2].removeprefix("mount: ").rstrip(".")


class Mounts:
    """The NFS mounts of one agent. ``folder``: where they are, absolute; no other things are there, and nobody removes
    it with what is in it: that would be the users' files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[str, asyncio.Lock] = {}
        self._aborting: dict[str, asyncio.Task[None]] = {}

    async def mount(self, task_id: str, volume: str, source: str, options: str) -> Path:
        """Mounts it, unless it is mounted; returns where. May be repeated. Raises NotDone, OSError."""
        target = self._folder / task_id / volume
        async with self._locks.setdefault(task_id, asyncio.Lock()):
            if str(target) in self._mounted(task_id):
                return target
            self._folder.mkdir(mode=0o700, exist_ok=True)
            target.mkdir(parents=True, exist_ok=True)
            try:
                await run_apart(
                    *("mount", "-i", "-t", "nfs4", "-o", options, source, str(target)), seconds=MOUNT_SECONDS
                )
            except NotDone as error:
                raise NotDone(reason(str(error))) from None
        return target

    async def where(self, mount: Path, path: str) -> Path:
        """The folder that ``path`` is in a file system. Links in it lead nowhere else. Raises NotDone."""
        return Path(await run_apart(*_PROGRAM, "where", str(mount), path, seconds=LOOK_SECONDS))

    def killed(self, task_id: str, id: str, ended: Callable[[], bool]) -> None:
        """The task's container ``id`` got SIGKILL. What waits in it for a server that doesn't answer is made to fail
        until it has ``ended``: processes with unwritten data couldn't end."""
        if id not in self._aborting and self._mounted(task_id):
            aborting = asyncio.create_task(self._abort(task_id, ended), name=f"{id} nfs")
            self._aborting[id] = aborting
            aborting.add_done_callback(lambda _: self._aborting.pop(id, None))

    async def _abort(self, task_id: str, ended: Callable[[], bool]) -> None:
        silent = [path for path in self._mounted(task_id) if not await self._answers(path)]
        end = asyncio.get_running_loop().time() + _ABORT_SECONDS
        while silent and not ended() and asyncio.get_running_loop().time() < end:
            for path in silent:
                with contextlib.suppress(NotDone):
                    await run_apart(*_PROGRAM, "abort", path, seconds=_UNMOUNT_SECONDS)
            await asyncio.sleep(_ABORT_AGAIN)

    async def _answers(self, path: str) -> bool:
        with contextlib.suppress(NotDone):
            await run_apart("stat", "-f", path, seconds=_PROBE_SECONDS)
            return True
        return False

    async def unmount(self, task_id: str) -> None:
        """Unmounts all of a task without a process. What was written gets to the server, if that answers. Raises
        OSError."""
        folder = self._folder / task_id
        for path in self._mounted(task_id):
            await self._unmount(path)
        if left := self._mounted(task_id):
            raise OSError(f"can't unmount {left[0]}")
        for empty in (*folder.glob("*"), folder):
            with contextlib.suppress(FileNotFoundError):
                empty.rmdir()
        self._locks.pop(task_id, None)

    async def _unmount(self, path: str) -> None:
        how = "-l"
        try:
            await run_apart("sync", "-f", path, seconds=_FLUSH_SECONDS)
        except NotDone:
            how = "-fl"
        # Also one that still waits then has taken the mount away before.
        with contextlib.suppress(NotDone):
            await run_apart("umount", "-i", "-c", how, path, seconds=_UNMOUNT_SECONDS)

    async def unmount_all(self) -> None:
        """All of this agent. Raises OSError."""
        if self._folder.exists():
            for folder in self._folder.iterdir():
                await self.unmount(folder.name)
            self._folder.rmdir()

    async def close(self) -> None:
        aborting = [*self._aborting.values()]
        for task in aborting:
            task.cancel()
        await asyncio.gather(*aborting, return_exceptions=True)

    def _mounted(self, task_id: str) -> list[str]:
        return mounted(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"), self._folder / task_id)
