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
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import harness, stored
from bench.harness import Cloud, alive_at, docker_alive_at, docker_remove, docker_start, homeport, median, until

Row = tuple[str, str, str, bool]


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


def startup(tasks: int, n: int) -> tuple[float, int, float]:
    """Of a control plane on a state with ``tasks`` stored tasks: median seconds to the first answered ListClusters, its
    resident MiB then, and the p99 of its loop delay in ms under a light load."""
    times: list[float] = []
    resident, delay = 0, 0.0
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
                resident = harness_resident(process.pid)
                delay = quantile(f"http://127.0.0.1:{port}/metrics", 0.99) * 1000
            finally:
                process.terminate()
                process.wait()
    return median(times), resident, delay


def harness_resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024  # type: ignore[index]


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
    return status["control_plane"]["resident_bytes"] >> 20, max(map(harness_resident, harness.processes("agent")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=15, help="repetitions of each single measurement")
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    port = stored.free_port()
    image = harness.archive("test")
    homeport("up", "--detach", "--port", str(port))
    try:
        homeport("image", "load", str(image))
        stored.load_into_docker(image)
        cloud = Cloud()
        rows, figures = measure(cloud, options.n)
    finally:
        homeport("down")
    show(rows)
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": harness.machine(), "rows": rows, **figures}, indent=2))


def measure(cloud: Cloud, n: int) -> tuple[list[Row], dict[str, float]]:
    alive, call, docker = single(cloud, n)
    ours, theirs = burst(cloud, 50)
    plane, agent = memory()
    start, resident, _ = startup(1_000, 5)
    _, _, delay = startup(100_000, 1)
    rows = [
        row("RunTask → process alive / docker run -d", f"{alive:.0f} / {docker:.0f} ms", alive / docker, 0.45),
        row("50 tasks RUNNING / 50 docker run -d", f"{ours:.2f} / {theirs:.2f} s", ours / theirs, 0.5),
        row("RunTask call", f"{call:.1f} ms", call, 10, "ms"),
        row("start on 1,000 stored tasks", f"{start:.2f} s", start, 1.0, "s"),
        row("resident: control plane with 1,000 stored tasks", f"{resident} MiB", resident, 80, "MiB"),
        row("resident: control plane after these runs", f"{plane} MiB", plane, 80, "MiB"),
        row("resident: agent after these runs", f"{agent} MiB", agent, 80, "MiB"),
        row("loop delay p99, 100,000 stored tasks", f"≤ {delay:.0f} ms", delay, 50, "ms"),
    ]
    names = (
        "alive_ms",
        "docker_ms",
        "burst_s",
        "docker_burst_s",
        "call_ms",
        "start_s",
        "resident_mib",
        "agent_mib",
        "delay_ms",
    )
    return rows, dict(zip(names, (alive, docker, ours, theirs, call, start, resident, agent, delay), strict=True))


def row(what: str, seen: str, value: float, bar: float, unit: str = "") -> Row:
    return what, seen, f"{value:.2f} ≤ {bar:g}" if not unit else f"≤ {bar:g} {unit}", value <= bar


def show(rows: list[Row]) -> None:
    table = Table("what", "measured", "bar", "", title=harness.machine())
    for what, seen, bar, good in rows:
        table.add_row(what, seen, bar, "ok" if good else "MISSED")
    Console().print(table)


if __name__ == "__main__":
    main()
