"""Homeport in a test machine, for clients outside it."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from support.homeport import Homeport
from support.vm import API, Machine

PACKAGES, FOLDER = "/opt/packages", "/opt/homeport"
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
    """As a Homeport on this machine, but its commands run in the test machine. Clients reach it through a port here."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(Path("/var/lib/homeport"))
        self.machine, self.port = machine, API
        machine.run(_INSTALL)

    def command(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs ``homeport ARGV``."""
        line = f"homeport {shlex.join(argv)}"
        answer = self.machine.run(f"{line} 2>/tmp/stderr; code=$?; echo; echo $code; cat /tmp/stderr")
        parts = re.fullmatch(r"(.*)\n(\d+)\n(.*)", answer, re.DOTALL)
        assert parts, answer
        output, code, errors = parts.groups()
        done = subprocess.CompletedProcess(argv, int(code), output, errors)
        assert not check or done.returncode == 0, f"{line} exited with {code}:\n{output}{errors}{self.tails()}"
        return done

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
