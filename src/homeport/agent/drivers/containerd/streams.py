"""Where a container's standard streams lead: files that its shim appends to, a terminal, an input that never ends."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from homeport.agent.drivers.containerd import logs, observed
from homeport.agent.drivers.containerd.instance import Instance
from homeport.agentapi import ContainerSpec

INTERACTIVE, TERMINAL = "interactive", "terminal"  # words of a container's label


@dataclass(frozen=True)
class Streams:
    """As containerd takes them: paths or URIs, "" for none."""

    stdin: str
    stdout: str
    stderr: str
    terminal: bool


def label(spec: ContainerSpec) -> str:
    """What its record has to say of them, for whoever starts it again; "" where they are as usual."""
    asked = ((INTERACTIVE, spec.interactive), (TERMINAL, spec.pseudo_terminal))
    return " ".join(word for word, wanted in asked if wanted)


def streams(of: Instance, labels: Mapping[str, str]) -> Streams:
    """The streams of a container by the labels of its record. Makes its input. Raises OSError."""
    task_id, container = labels[observed.TASK], labels[observed.CONTAINER]
    asked = labels.get(observed.STREAMS, "").split()
    output = logs.paths(of.state, task_id, container)
    stdin = str(_input(of, task_id, container)) if INTERACTIVE in asked else ""
    if TERMINAL in asked:
        return Streams(stdin, _appended(output["stdout"]), "", terminal=True)
    return Streams(stdin, str(output["stdout"]), str(output["stderr"]), terminal=False)


def _input(of: Instance, task_id: str, container: str) -> Path:
    """A pipe that nobody writes to and whose other end the shim holds open: reading from it waits."""
    path = of.task(task_id) / "stdin" / container
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    return path


def _appended(path: Path) -> str:
    """A program of the shim's that writes what comes from a terminal to the end of a file; the shim itself would
    write over the file's beginning when the container is started again. It gets the terminal's output as descriptor
    3 and is ready when it closes 5; it ends with the terminal, whatever becomes of us."""
    script = f"cd /; exec 5>&- 4<&-; exec cat <&3 3<&- >>{shlex.quote(str(path))}"
    return f"binary:///bin/sh?-c={quote(script, safe='')}"
