"""The figures of the first screen: starts, bursts, the call, start-up, memory, loop delay; Docker side by side."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import agents, chain, cost, cycles, harness, idle, many, memory, placement, services, stored
from bench.harness import Cloud, alive_at, docker_alive_at, docker_remove, docker_start, homeport, median, until
from homeport.sim import speed

Row = tuple[str, str, str, bool]
ON_A_MACHINE = ("starts", "chain", "idle", "cycles", "killed", "updated")  # with an agent, containers and Docker
ALONE = ("stores", "agents", "memory", "placement", "many", "simulated")
GROUPS = {"services": ("killed", "updated", "many", "simulated")}
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


def resident() -> tuple[int, int]:
    """Resident MiB of the control plane and of the agent."""
    status = json.loads(homeport("status", "--json"))
    return status["control_plane"]["resident_bytes"] >> 20, round(max(map(cost.resident, harness.processes("agent"))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=15, help="repetitions of each single measurement")
    parser.add_argument("--cycles", type=int, default=1000, help="tasks that start and stop to see what grows")
    parser.add_argument("--tasks", type=int, default=1_000_000, help="RUNNING tasks whose memory is measured")
    parser.add_argument("--placed", type=int, default=1_000_000, help="tasks that are placed, one after the other")
    parser.add_argument("--only", nargs="+", choices=[*ON_A_MACHINE, *ALONE, *GROUPS], help="some of the figures")
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    done = measure(options)
    rows = [row for rows, _ in done for row in rows]
    figures = {name: value for _, found in done for name, value in found.items()}
    show(rows)
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": harness.machine(), "rows": rows, **figures}, indent=2))


def measure(options: argparse.Namespace) -> list[Part]:
    only = options.only or (*ON_A_MACHINE, *ALONE)
    chosen = {part for name in only for part in GROUPS.get(name, (name,))}
    found: list[Part] = []
    if not chosen.isdisjoint(ON_A_MACHINE):
        with machine() as cloud:
            parts: dict[str, Callable[[], Part]] = {
                "starts": lambda: starts(cloud, options.n),
                "chain": lambda: chained(cloud, options.n),
                "idle": lambda: idling(cloud),
                "cycles": lambda: coming_and_going(cloud, options.cycles),
                "killed": lambda: killed(cloud, options.n),
                "updated": lambda: updated(cloud),
            }
            found += [parts[name]() for name in ON_A_MACHINE if name in chosen]
    alone: dict[str, Callable[[], Part]] = {
        "stores": stores,
        "agents": connected,
        "memory": lambda: remembered(options.tasks),
        "placement": lambda: placed(options.placed),
        "many": steady,
        "simulated": simulated,
    }
    return found + [part() for name, part in alone.items() if name in chosen]


@contextlib.contextmanager
def machine() -> Iterator[Cloud]:
    """A Homeport that is up, with the image that Docker has too."""
    image = harness.archive("test")
    homeport("up", "--detach", "--port", str(stored.free_port()))
    try:
        homeport("image", "load", str(image))
        stored.load_into_docker(image)
        yield Cloud()
    finally:
        homeport("down")


def starts(cloud: Cloud, n: int) -> Part:
    alive, call, docker = single(cloud, n)
    ours, theirs = burst(cloud, 50)
    plane, agent = resident()
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


def connected() -> Part:
    seen = agents.measure()
    each = f"{seen.processor:.0f} % ({seen.messages:.0f} messages/s, {seen.memory * 1024:.0f} KiB for each agent)"
    back = f"{seen.back:.2f} s ({seen.commits:.0f} commits in {seen.fsyncs:.0f} fsyncs)"
    return [
        row("2,000 agents with heartbeats, metrics of 10 tasks each", each, seen.processor, 50, "% of a core"),
        row(f"{agents.BACK} of them reconnect at once: all admitted", back, seen.back, 2, "s"),
    ], {"agents": asdict(seen)}


def remembered(tasks: int) -> Part:
    seen = memory.measure(tasks)
    kib = seen.all / 1024
    parts = ", ".join(f"{name} {size:,.0f}" for name, size in seen.parts.items())
    what = f"control plane for each of {seen.tasks:,} stored RUNNING tasks"
    return [row(what, f"{kib:.1f} KiB (bytes: {parts})", kib, 6, "KiB")], {"memory": asdict(seen)}


def placed(tasks: int) -> Part:
    seen = placement.measure(placement.MANY, tasks)
    growth = f"{seen.few_us:.0f} → {seen.many_us:.0f} µs"
    return [
        row("placing among 10,000 instances, decision alone", f"{seen.alone:.0f}/s", seen.many_us, 100, "µs each"),
        row("the same through the store", f"{seen.stored:.0f}/s", 1e6 / seen.stored, 333, "µs each"),
        row("a decision among 100 → 10,000 instances", growth, seen.growth, 2),
    ], {"placement": asdict(seen)}


def killed(cloud: Cloud, n: int) -> Part:
    ours, theirs = services.killed(cloud, n)
    what = "killed container of a service → replacement alive / docker run -d"
    return [row(what, f"{ours:.0f} / {theirs:.0f} ms", ours / theirs, 1.0)], {
        "replaced_ms": ours,
        "beside_docker_ms": theirs,
    }


def updated(cloud: Cloud) -> Part:
    seen = services.updated(cloud, 3)
    what = f"rolling update of a service of {services.COUNT} tasks, 100/200 %, a check every 5 s"
    told = f"{seen.seconds:.1f} s ({seen.least} healthy or more, {seen.most} tasks or fewer)"
    return [row(what, told, seen.seconds, 10, "s")], {"update": asdict(seen)}


def steady() -> Part:
    seen = many.measure()
    what = f"{seen.services:,} services x {many.TASKS} tasks on {many.NODES} nodes, until steady: control plane"
    rise = f"{seen.rise:.1f} s of processor time (in {seen.seconds:.0f} s, {seen.memory:.0f} MiB)"
    idle = f"{seen.beyond:.2f} % ({seen.idle:.1f} % with all of them, {seen.empty:.1f} % with the nodes alone)"
    return [
        row(what, rise, seen.rise, 30, "s"),
        row("what these services cost while nothing happens", idle, seen.beyond, 2, "% of a core"),
    ], {"many": asdict(seen)}


def simulated() -> Part:
    seen = speed.measure()
    what = f"simulated seconds of 100 nodes, {seen.tasks:,} tasks, faults on, in one of processor time"
    return [row(what, f"{seen.times:,.0f}", 1000 / seen.times, 1, "s for 1,000")], {"simulated": seen._asdict()}


def row(what: str, seen: str, value: float, bar: float, unit: str = "") -> Row:
    return what, seen, f"{value:.2f} ≤ {bar:g}" if not unit else f"≤ {bar:g} {unit}", value <= bar


def show(rows: list[Row]) -> None:
    table = Table("what", "measured", "bar", "", title=harness.machine())
    for what, seen, bar, good in rows:
        table.add_row(what, seen, bar, "ok" if good else "MISSED")
    Console().print(table)


if __name__ == "__main__":
    main()
