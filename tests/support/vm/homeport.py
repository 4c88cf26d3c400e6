"""Homeport in a test machine, for clients outside it."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from support.homeport import Homeport
from support.vm import API, Machine, say

PACKAGES, FOLDER = "/opt/packages", "/opt/homeport"
STARTS = 3  # attempts of what must be ready within a minute
# The programs that `make setup` installs, here of packages that were installed outside the machine.
_INSTALL = f"""
set -e
install() {{
	printf '#!/bin/sh\\nexport PYTHONPATH={FOLDER}/site:{PACKAGES} PYTHONDONTWRITEBYTECODE=1\\n' >/usr/local/bin/$1
	printf 'exec python3 -m %s "$@"\\n' $2 >>/usr/local/bin/$1
	chmod +x /usr/local/bin/$1
}}
install homeport homeport
install aws awscli
"""


class GuestHomeport(Homeport):
    """As a Homeport on this machine, but its commands run in the test machine. Clients reach it through a port here.
    ``state``: its folder there."""

    def __init__(self, machine: Machine, state: str = "/var/lib/homeport") -> None:
        super().__init__(Path(state))
        self.machine, self.port = machine, API
        machine.run(_INSTALL)

    def command(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs ``homeport ARGV``; what didn't start within a minute is started again. That may be too short for an
        emulated processor of a busy machine, and the next time its disk is in memory."""
        done = self._command(*argv)
        for _ in range(STARTS - 1):
            if done.returncode == 0 or "didn't start" not in done.stderr:
                break
            say(f"homeport {argv[0]}: {done.stderr.strip()}")
            done = self._command(*argv)
        assert not check or done.returncode == 0, (
            f"homeport {shlex.join(argv)} exited with {done.returncode}:\n{done.stdout}{done.stderr}{self.tails()}"
        )
        return done

    def _command(self, *argv: str) -> subprocess.CompletedProcess[str]:
        line = f"homeport {shlex.join(argv)} --state {self.state}"
        answer = self.machine.run(f"{line} 2>/tmp/stderr; code=$?; echo; echo $code; cat /tmp/stderr")
        parts = re.fullmatch(r"(.*)\n(\d+)\n(.*)", answer, re.DOTALL)
        assert parts, answer
        output, code, errors = parts.groups()
        return subprocess.CompletedProcess(argv, int(code), output, errors)

    def load(self, image: str) -> None:
        self.command("image", "load", f"{FOLDER}/{image}.tar")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.machine.port}"

    def shell(self, script: str, seconds: float = 120) -> str:
        """Output of a script in a shell where ``homeport env`` was pasted."""
        exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in self.environment.items())
        return self.machine.run(f"{exports}\n{script}", seconds)

    def tails(self) -> str:
        return self.machine.run(f"tail -n 30 {self.state}/logs/*.log", check=False)
