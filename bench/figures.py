"""The figures of the first screen: starts, bursts, the call, start-up, memory, loop delay; Docker side by side."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import chain, cost, cycles, harness, idle, stored
from bench.harness import Cloud, alive_at, docker_alive_at, docker_remove, docker_start, homeport, median, until

Row = tuple[str, str, str, bool]
PARTS = ("starts", "chain", "idle", "cycles", "stores")
Part = tuple[list[Row], dict[str, Any]]


def single(cloud: Cloud, n: int) -> tuple[float, float, float]:
    """Medians in ms of RunTask → alive, the RunTask call, docker run -d → alive; in turns, on one machine."""
    ours, calls, theirs = [], [], []
    for i in track(range(n + 2), "one task at a time", transient=True):
        began = time.time()
        arn = cloud.start()[0]
        called = time.time() - began
        alive = alive_at(arn) - began
        cloud.stop([arn])
        began = time.time()
        container = docker_start()
        docker_alive = docker_alive_at(container) - began
        docker_remove([container])
        if i >= 2:  # the first two warm caches on both sides
            ours.append(alive * 1000)
            calls.append(called * 1000)
            theirs.append(docker_alive * 1000)
    return median(ours), median(calls), median(theirs)


def burst(cloud: Cloud, count: int) -> tuple[float, float]:
    """Seconds until ``count`` tasks are RUNNING by the API; for as many ``docker run -d``, the better of 8 and 16."""
    began = time.monotonic()
    with harness.pool(5) as pool:
        arns = [arn for answer in pool.map(cloud.start, [10] * (count // 10)) for arn in answer]
    until(lambda: all(s == "RUNNING" for s in cloud.statuses(arns)), 120, 0.05)
    ours = time.monotonic() - began
    cloud.stop(arns)
    best = float("inf")
    for flight in (8, 16):
        began = time.monotonic()
        with harness.pool(flight) as pool:
            containers = list(pool.map(lambda _: docker_start(), range(count)))
        best = min(best, time.monotonic() - began)
        docker_remove(containers)
    return ours, best


def startup(tasks: int, n: int) -> tuple[float, float, float]:
    """Of a control plane on a state with ``tasks`` stored tasks: median seconds to the first answered ListClusters, its
    resident MiB then, and the p99 of its loop delay in ms under a light load."""
    times: list[float] = []
    resident, delay = 0.0, 0.0
    with stored.state(tasks) as (folder, port, key):
        for _ in range(n):
            began = time.monotonic()
            environment = {**os.environ, "HOMEPORT_ACCESS_KEY": key[0], "HOMEPORT_SECRET_KEY": key[1]}
            argv = [sys.executable, "-m", "homeport", "server", "--state", str(folder), "--port", str(port)]
            process = subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL)
            try:
                ecs = stored.client(port, key)
                until(lambda: stored.answers(ecs), 120, 0.005)  # noqa: B023 (called at once)
                times.append(time.monotonic() - began)
                for _ in range(300):
                    ecs.list_tasks(cluster="bench", maxResults=100)
                    time.sleep(0.01)
                resident = cost.resident(process.pid)
                delay = quantile(f"http://127.0.0.1:{port}/metrics", 0.99) * 1000
            finally:
                process.terminate()
                process.wait()
    return median(times), resident, delay


def quantile(url: str, q: float) -> float:
    """A quantile of the loop delay from the histogram at /metrics (the upper bound of its bucket, seconds)."""
    with urllib.request.urlopen(url) as answer:
        text = answer.read().decode()
    buckets = [
        (float(b), int(c)) for b, c in re.findall(r'homeport_loop_delay_seconds_bucket{le="([0-9.e-]+)"} (\d+)', text)
    ]
    total = int(re.search(r'le="\+Inf"} (\d+)', text)[1])  # type: ignore[index]
    return next((bound for bound, count in buckets if count >= q * total), float("inf"))


def memory() -> tuple[int, int]:
    """Resident MiB of the control plane and of the agent."""
    status = json.loads(homeport("status", "--json"))
    return status["control_plane"]["resident_bytes"] >> 20, round(max(map(cost.resident, harness.processes("agent"))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=15, help="repetitions of each single measurement")
    parser.add_argument("--cycles", type=int, default=1000, help="tasks that start and stop to see what grows")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="some of the figures")
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    port = stored.free_port()
    image = harness.archive("test")
    homeport("up", "--detach", "--port", str(port))
    try:
        homeport("image", "load", str(image))
        stored.load_into_docker(image)
        cloud = Cloud()
        rows, figures = measure(cloud, options)
    finally:
        homeport("down")
    show(rows)
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": harness.machine(), "rows": rows, **figures}, indent=2))


def measure(cloud: Cloud, options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    parts: dict[str, Callable[[], Part]] = {
        "starts": lambda: starts(cloud, options.n),
        "chain": lambda: chained(cloud, options.n),
        "idle": lambda: idling(cloud),
        "cycles": lambda: coming_and_going(cloud, options.cycles),
        "stores": stores,
    }
    done = [parts[name]() for name in options.only or parts]
    return [row for rows, _ in done for row in rows], {k: v for _, figures in done for k, v in figures.items()}


def starts(cloud: Cloud, n: int) -> Part:
    alive, call, docker = single(cloud, n)
    ours, theirs = burst(cloud, 50)
    plane, agent = memory()
    return [
        row("RunTask → process alive / docker run -d", f"{alive:.0f} / {docker:.0f} ms", alive / docker, 0.45),
        row("50 tasks RUNNING / 50 docker run -d", f"{ours:.2f} / {theirs:.2f} s", ours / theirs, 0.5),
        row("RunTask call", f"{call:.1f} ms", call, 10, "ms"),
        row("resident: control plane after these runs", f"{plane} MiB", plane, 80, "MiB"),
        row("resident: agent after these runs", f"{agent} MiB", agent, 80, "MiB"),
    ], {
        "alive_ms": alive,
        "docker_ms": docker,
        "burst_s": ours,
        "docker_burst_s": theirs,
        "call_ms": call,
        "agent_mib": agent,
    }


def chained(cloud: Cloud, n: int) -> Part:
    ours, theirs = chain.measure(cloud, n)
    what = f"5 containers in a START chain / compose {chain.version()} up -d"
    return [row(what, f"{ours:.0f} / {theirs:.0f} ms", ours / theirs, 0.5)], {"chain_ms": ours, "compose_ms": theirs}


def idling(cloud: Cloud) -> Part:
    seen = idle.measure(cloud)
    checks = (
        f"{seen.agent:.1f} % (a check {seen.check_ms:.0f} ms; by ctr {seen.direct_ms:.0f}, runc {seen.runc_ms:.0f})"
    )
    return [
        row("agent with 50 checked tasks, beyond the checks", checks, seen.beyond, 2, "% of a core"),
        row("agent's memory for each of these tasks", f"{seen.task_mib:.2f} MiB", seen.task_mib, 1.5, "MiB"),
    ], {"idle": asdict(seen)}


def coming_and_going(cloud: Cloud, count: int) -> Part:
    seen = cycles.measure(cloud, count)
    memory = ", ".join(f"{name} {kib:.1f}" for name, kib in seen.memory.items())
    grown = ", ".join(f"{kind} {was} → {now}" for kind, (was, now) in seen.grown.items())
    return [
        row(f"{seen.cycles} start-stop cycles: what became more", grown or "nothing", len(seen.grown), 0, "kinds"),
        row(
            "their memory a cycle (stopped tasks are kept for an hour), KiB",
            memory,
            max(seen.memory["agent"], seen.memory["containerd"]),
            2,
            "KiB",
        ),
    ], {"cycles": asdict(seen)}


def stores() -> Part:
    start, resident, _ = startup(1_000, 5)
    _, _, delay = startup(100_000, 1)
    return [
        row("start on 1,000 stored tasks", f"{start:.2f} s", start, 1.0, "s"),
        row("resident: control plane with 1,000 stored tasks", f"{resident:.0f} MiB", resident, 80, "MiB"),
        row("loop delay p99, 100,000 stored tasks", f"≤ {delay:.0f} ms", delay, 50, "ms"),
    ], {"start_s": start, "resident_mib": round(resident), "delay_ms": delay}


def row(what: str, seen: str, value: float, bar: float, unit: str = "") -> Row:
    return what, seen, f"{value:.2f} ≤ {bar:g}" if not unit else f"≤ {bar:g} {unit}", value <= bar


def show(rows: list[Row]) -> None:
    table = Table("what", "measured", "bar", "", title=harness.machine())
    for what, seen, bar, good in rows:
        table.add_row(what, seen, bar, "ok" if good else "MISSED")
    Console().print(table)


if __name__ == "__main__":
    main()
