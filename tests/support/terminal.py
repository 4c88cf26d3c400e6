"""The command line in a terminal, as a person sees it."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from support.homeport import PROGRAM, Homeport
from support.tasks import until


class Terminal:
    """``shown``: everything that was written to it."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor, self._process = descriptor, process
        self.shown = ""

    def until(self, text: str) -> None:
        """Waits until the text is there."""
        until(self._read, lambda shown: text in shown)

    def ended(self, seconds: float = 90) -> None:
        """Waits until the program has ended well."""
        until(self._read, lambda shown: shown.endswith("\0"), seconds)
        assert self._process.wait(60) == 0

    def _read(self) -> str:
        try:
            self.shown += os.read(self._descriptor, 65536).decode(errors="replace")
        except OSError:  # the other end is closed
            self.shown += "\0"
        return self.shown


@contextmanager
def terminal(homeport: Homeport, *argv: str) -> Iterator[Terminal]:
    """Runs ``homeport ARGV`` in a terminal of 200 columns and 50 lines."""
    primary, secondary = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "50"}
    command = [*PROGRAM, *argv, "--state", str(homeport.state)]
    process = subprocess.Popen(command, stdin=secondary, stdout=secondary, stderr=secondary, env=environment)
    os.close(secondary)
    try:
        yield Terminal(primary, process)
    finally:
        process.kill()
        process.wait()
        os.close(primary)
