"""What a containerd that was killed in the middle of a task's creation leaves and does not clean up itself: a bundle
folder that makes the next creation fail, a shim that nothing knows, a container in runc's state."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from homeport.agent.drivers.containerd import syscalls
from homeport.agent.drivers.containerd.instance import Instance

_RUNC_SECONDS = 10.0


def _bundles(of: Instance, id: str) -> list[Path]:
    if of.external:
        return []
    return [top / "io.containerd.runtime.v2.task" / of.name / id for top in (of.run / "state", of.folder / "root")]


def clear(of: Instance, id: str) -> None:
    """Removes all of it for a container that containerd has no task for. Costs nothing where nothing is left."""
    bundles = [path for path in _bundles(of, id) if path.exists()]
    state = of.runc_root / of.name / id
    if not bundles and not state.exists():
        return
    end_shims(of, id)
    if state.exists():
        command = ["runc", "--root", str(of.runc_root / of.name), "delete", "--force", id]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=_RUNC_SECONDS, check=False)
        shutil.rmtree(state, ignore_errors=True)
    for bundle in bundles:
        with contextlib.suppress(OSError):
            syscalls.unmount(str(bundle / "rootfs"))
        shutil.rmtree(bundle, ignore_errors=True)


def clear_all(of: Instance) -> None:
    """``clear`` for every container that runc knows of ours: for a containerd that can't be asked any more."""
    state = of.runc_root / of.name
    for path in sorted(state.iterdir()) if state.exists() else ():
        clear(of, path.name)


def end_shims(of: Instance, id: str | None = None) -> None:
    """Kills the shims of one of our containers, or all of ours."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            ours = "containerd-shim" in words[0] and _option(words, "-namespace") == of.name
            if ours and id in (None, _option(words, "-id")):
                os.kill(int(path.parent.name), signal.SIGKILL)


def _option(words: list[str], name: str) -> str:
    """The value that follows an option on a command line."""
    return words[words.index(name) + 1] if name in words[:-1] else ""
