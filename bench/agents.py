"""What connected agents cost the control plane, and how long many that come back at once wait."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from bench import cost
from bench.fleet import Plane, fleet

AGENTS, TASKS = 2_000, 10
SETTLE = 25.0  # seconds in which every agent has told its metrics once
WATCHED = 60.0  # seconds: three heartbeats and three messages of metrics of each
BACK = 200  # agents that lose their connections at once
ROUNDS = 5


@dataclass(frozen=True)
class Connected:
    """``processor``: of the control plane, in % of one core. ``messages``: a second, both ways. ``memory``: MiB for
    each agent. ``connecting``: seconds until all were connected. ``back``: of several rounds, the most seconds until
    the last of ``BACK`` agents was admitted again; ``commits`` and ``fsyncs`` of one round, the ends included."""

    processor: float
    messages: float
    memory: float
    connecting: float
    back: float
    commits: float
    fsyncs: float


def measure(agents: int = AGENTS) -> Connected:
    """About three minutes."""
    with fleet(agents) as made:
        file = made.folder / "agents.json"
        file.write_text(json.dumps(made.populate(agents * TASKS)))
        with made.plane() as plane:
            plane.rest()
            before = cost.memory([plane.pid])
            argv = [sys.executable, "-m", "bench.load", str(made.port), str(file)]
            load = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                return _watch(plane, load, agents, before)
            finally:
                load.kill()
                load.wait()


def _watch(plane: Plane, load: subprocess.Popen[str], agents: int, before: float) -> Connected:
    connecting = ask(load, "connect")["seconds"]
    time.sleep(SETTLE)
    first, began, used = ask(load, "count"), time.monotonic(), cost.processor([plane.pid])
    time.sleep(WATCHED)
    last, ended, used = ask(load, "count"), time.monotonic(), cost.processor([plane.pid]) - used
    told = {name: last.get(name, 0) - first.get(name, 0) for name in ("heartbeats", "published", "acknowledged", "cut")}
    rounds = (ended - began) / 20
    if told["cut"] or told["heartbeats"] < 2 * agents * (rounds - 1) or told["acknowledged"] < agents * (rounds - 1):
        raise SystemExit(f"not all of {agents} agents were served: {told}")
    memory = (cost.memory([plane.pid]) - before) / agents
    written = _written(plane)
    back = [ask(load, f"reconnect {BACK}")["last"] for _ in range(ROUNDS)]
    commits, fsyncs = ((b - a) / ROUNDS for a, b in zip(written, _written(plane), strict=True))
    return Connected(
        processor=used / (ended - began) * 100,
        messages=(2 * told["heartbeats"] + told["published"] + told["acknowledged"]) / (ended - began),
        memory=memory,
        connecting=connecting,
        back=max(back),
        commits=commits,
        fsyncs=fsyncs,
    )


def ask(load: subprocess.Popen[str], command: str) -> dict[str, Any]:
    assert load.stdin is not None
    assert load.stdout is not None
    load.stdin.write(command + "\n")
    load.stdin.flush()
    answer = load.stdout.readline()
    if not answer:
        raise SystemExit(f"the agents have ended with exit code {load.wait()}")
    found: dict[str, Any] = json.loads(answer)
    return found


def _written(plane: Plane) -> tuple[int, int]:
    """Commits and appends (an fsync each) so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{plane.port}/metrics") as answer:
        text = answer.read().decode()
    commits, appends = (re.search(rf"^homeport_store_{name} (\d+)$", text, re.M) for name in ("commits", "appends"))
    assert commits is not None
    assert appends is not None
    return int(commits[1]), int(appends[1])
