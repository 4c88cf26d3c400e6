"""A task of five containers, each of which waits for the start of the one before; the same five under Compose."""

from __future__ import annotations

import json
import os
import shlex
import time
from pathlib import Path
from typing import Any

from rich.progress import track

from bench.harness import IMAGE, STATE, Cloud, alive_at, docker_alive_at, median, run

LENGTH = 5
COMPOSE = shlex.split(os.environ.get("HOMEPORT_BENCH_COMPOSE", "docker compose"))
PROJECT = "homeport-chain"
# They hear SIGTERM, since a chain is stopped one after the other. The last alone makes the file that is looked for.
IDLE = ["sh", "-c", 'trap "exit 0" TERM; sleep 600 & wait']
LAST = ["sh", "-c", f": > /tmp/alive; {IDLE[-1]}"]


def measure(cloud: Cloud, n: int) -> tuple[float, float]:
    """Medians in ms of RunTask → process of the last container alive, ``compose up -d`` → the same; in turns."""
    cloud.register("chain", _containers(), cpu=2048, memory=4096)
    file = Path(STATE).with_name("compose.json")
    file.write_text(json.dumps({"services": _services()}))
    compose = [*COMPOSE, "--project-name", PROJECT, "--file", str(file)]
    ours, theirs = [], []
    for i in track(range(n + 1), "five containers in a chain", transient=True):
        began = time.time()
        arn = cloud.start(family="chain")[0]
        alive = alive_at(arn) - began
        cloud.stop([arn])
        began = time.time()
        run(*compose, "up", "--detach")
        composed = docker_alive_at(f"{PROJECT}-c{LENGTH}-1") - began
        run(*compose, "down", "--timeout", "0")
        if i >= 1:  # the first warms caches on both sides
            ours.append(alive * 1000)
            theirs.append(composed * 1000)
    return median(ours), median(theirs)


def version() -> str:
    return run(*COMPOSE, "version", "--short").strip()


def _containers() -> list[dict[str, Any]]:
    found = []
    for i in range(1, LENGTH + 1):
        before = [{"containerName": f"c{i - 1}", "condition": "START"}] if i > 1 else []
        command = LAST if i == LENGTH else IDLE
        found.append({"name": f"c{i}", "dependsOn": before, "entryPoint": command[:2], "command": command[2:]})
    return found


def _services() -> dict[str, dict[str, Any]]:
    found = {}
    for i in range(1, LENGTH + 1):
        before = {f"c{i - 1}": {"condition": "service_started"}} if i > 1 else {}
        command = LAST if i == LENGTH else IDLE
        found[f"c{i}"] = {
            "image": IMAGE,
            "depends_on": before,
            "entrypoint": command[:2],
            "command": command[2:],
            "mem_limit": "512m",
            "cpus": 0.25,
        }
    return found
