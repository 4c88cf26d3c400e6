"""A running Homeport for tests that go through its public surface with real clients."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("HOMEPORT_CACHE") or "/var/cache/homeport")  # as scripts/image has it
PROGRAM = [sys.executable, "-m", "homeport"]


class Homeport:
    """One Homeport: its state folder, how to command it, how to call it. ``prefix``: of its command lines, to run it
    elsewhere than here."""

    def __init__(self, state: Path, prefix: Sequence[str] = ()) -> None:
        self.state, self.prefix = state, tuple(prefix)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.environment: dict[str, str] = {}

    def command(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs ``homeport ARGV --state STATE``."""
        done = subprocess.run(
            [*self.prefix, *PROGRAM, *argv, "--state", str(self.state)], capture_output=True, text=True, timeout=120
        )
        if check and done.returncode:
            raise AssertionError(
                f"homeport {shlex.join(argv)} exited with {done.returncode}:\n{done.stdout}{done.stderr}{self.tails()}"
            )
        return done

    def up(self, *flags: str) -> None:
        self.command("up", "--detach", "--port", str(self.port), *flags)
        lines = self.command("env").stdout.splitlines()
        self.environment = dict(shlex.split(line.removeprefix("export "))[0].split("=", 1) for line in lines)

    def down(self, *flags: str) -> None:
        self.command("down", *flags)

    def load(self, image: str) -> None:
        self.command("image", "load", str(archive(image)))

    @property
    def endpoint(self) -> str:
        return self.environment["AWS_ENDPOINT_URL"]

    @property
    def access_key(self) -> str:
        return self.environment["AWS_ACCESS_KEY_ID"]

    @property
    def secret_key(self) -> str:
        return self.environment["AWS_SECRET_ACCESS_KEY"]

    @property
    def subnet(self) -> str:
        return self.environment["ECS_SUBNETS"]

    @property
    def web_group(self) -> str:
        return self.environment["ECS_SECURITY_GROUP"]

    def client(self, service: str, region: str = "us-east-1", **options: Any) -> Any:
        """A boto3 client that does not retry, so that tests see every answer."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.endpoint,
            aws_access_key_id=options.pop("access_key", self.access_key),
            aws_secret_access_key=options.pop("secret_key", self.secret_key),
            config=Config(retries={"total_max_attempts": 1}, read_timeout=30),
            **options,
        )

    def tails(self) -> str:
        """The last lines of every log, for a failing test's message."""
        logs = sorted((self.state / "logs").glob("*.log"))
        return "".join(f"\n--- {log.name}\n{log.read_text()[-3000:]}" for log in logs)


@cache
def archive(image: str) -> Path:
    """The archive of a test image, built from Debian's packages once per machine and version of its recipe."""
    done = subprocess.run([ROOT / "scripts" / "image", image], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip())
