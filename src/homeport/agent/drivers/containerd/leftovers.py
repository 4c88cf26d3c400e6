"""What a containerd that was killed in the middle of a task's creation leaves and does not clean up itself: a bundle
folder that makes the next creation fail, a shim that nothing knows, a container in runc's state."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from homeport.agent.drivers.containerd import syscalls
from homeport.agent.drivers.containerd.instance import Instance

_RUNC_SECONDS = 10.0
_CLEANUP_SECONDS = 6.0  # containerd gives itself five
_QUIET_SECONDS = 0.3
_PAUSE = 0.03


def _bundles(of: Instance, id: str) -> list[Path]:
    if of.external:
        return []
    return [top / "io.containerd.runtime.v2.task" / of.name / id for top in (of.run / "state", of.folder / "root")]


def clear(of: Instance, id: str) -> None:
    """Removes all of it for a container that containerd has no task for."""
    bundles = [path for path in _bundles(of, id) if path.exists()]
    state = of.runc_root / of.name / id
    if not bundles and not state.exists() and not any(_shims(of, id)):
        return
    settle(of, id)
    if state.exists():
        command = ["runc", "--root", str(of.runc_root / of.name), "delete", "--force", id]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=_RUNC_SECONDS, check=False)
        shutil.rmtree(state, ignore_errors=True)
    for bundle in bundles:
        with contextlib.suppress(OSError):
            syscalls.unmount(str(bundle / "rootfs"))
        shutil.rmtree(bundle, ignore_errors=True)


def settle(of: Instance, id: str) -> None:
    """Ends the shim of a creation that nobody waits for any more, as after the agent's death, and waits while
    containerd cleans up after it: it would take what is created next for what it cleans up. That is done when no shim
    has run for a moment."""
    deadline = time.monotonic() + _CLEANUP_SECONDS
    quiet_since = time.monotonic()
    while time.monotonic() < min(deadline, quiet_since + _QUIET_SECONDS):
        if end_shims(of, id):
            quiet_since = time.monotonic()
        time.sleep(_PAUSE)


def clear_all(of: Instance) -> None:
    """``clear`` for every container that runc knows of ours: for a containerd that can't be asked any more."""
    state = of.runc_root / of.name
    for path in sorted(state.iterdir()) if state.exists() else ():
        clear(of, path.name)


def end_shims(of: Instance, id: str | None = None) -> int:
    """Kills the shims of one of our containers, or all of ours. Returns how many there were."""
    shims = list(_shims(of, id))
    for pid in shims:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return len(shims)


def _shims(of: Instance, id: str | None) -> Iterator[int]:
    """Processes of shims, those that containerd starts to clean up among them."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            ours = "containerd-shim" in words[0] and _option(words, "-namespace") == of.name
            if ours and id in (None, _option(words, "-id")):
                yield int(path.parent.name)


def _option(words: list[str], name: str) -> str:
    """The value that follows an option on a command line."""
    return words[words.index(name) + 1] if name in words[:-1] else ""
