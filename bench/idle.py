"""What an agent needs for tasks that do nothing but have their health checked."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

from bench import cost
from bench.harness import ALIVE, STATE, Cloud, pool, run, until
from homeport.agent.drivers.containerd import instance

TASKS = 50
INTERVAL = 10  # seconds between two checks of a container
WATCHED = 70.0  # seconds: seven checks of each
CHECK = ["/bin/sh", "-c", "exit 0"]
DIRECT = 40  # checks made directly, before and after
SETTLE = 25.0  # seconds in which all checks have begun and the starts are over


@dataclass(frozen=True)
class Idle:
    """``agent``: processor time of its own processes, in % of one core. ``beyond``: that, and what the agent's checks
    cost containerd, its shims and runc more than such made by ``ctr`` in a container of the same kind. ``check_ms``,
    ``direct_ms``: both these costs of one check, in ms of processor time; ``runc_ms``: that of ``runc exec`` alone.
    ``task_mib``: the agent's memory for each task."""

    agent: float
    beyond: float
    check_ms: float
    direct_ms: float
    runc_ms: float
    task_mib: float


def measure(cloud: Cloud) -> Idle:
    """Starts, watches and stops the tasks; about two minutes."""
    check = {"command": ["CMD", *CHECK], "interval": INTERVAL, "timeout": 5, "retries": 3}
    cloud.register("checked", [{"name": "app", "command": [ALIVE[-1]], "healthCheck": check}])
    direct = [_direct(cloud)]
    before = cost.memory(agent())
    with pool(5) as starts:
        arns = [
            arn for answer in starts.map(lambda _: cloud.start(10, "checked"), range(TASKS // 10)) for arn in answer
        ]
    until(lambda: all(s == "RUNNING" for s in cloud.statuses(arns)), 120, 0.1)
    time.sleep(SETTLE)
    began = time.monotonic(), cost.processor(agent()), cost.processor(runtime())
    time.sleep(WATCHED)
    ended = time.monotonic(), cost.processor(agent()), cost.processor(runtime())
    seconds, ours, theirs = (b - a for a, b in zip(began, ended, strict=True))
    memory = (cost.memory(agent()) - before) / TASKS
    checks = TASKS * seconds / INTERVAL
    cloud.stop(arns)
    direct.append(_direct(cloud))
    containerd, runc = (sum(costs) / len(costs) for costs in zip(*direct, strict=True))
    beyond = ours + max(0.0, theirs - checks * containerd)
    return Idle(
        agent=ours / seconds * 100,
        beyond=beyond / seconds * 100,
        check_ms=theirs / checks * 1000,
        direct_ms=containerd * 1000,
        runc_ms=runc * 1000,
        task_mib=memory,
    )


def _direct(cloud: Cloud) -> tuple[float, float]:
    """Seconds of processor time of one check made by containerd for ``ctr`` (whose own isn't counted), and by runc."""
    arn = cloud.start()[0]
    until(lambda: cloud.statuses([arn]) == ["RUNNING"], 30, 0.1)
    of = instance(STATE)
    ctr = ("ctr", "--address", of.socket, "--namespace", of.name)
    (container,) = (id for id in run(*ctr, "containers", "ls", "-q").split() if id.startswith(arn.rpartition("/")[2]))
    before = cost.processor(runtime())
    for i in range(DIRECT):
        run(*ctr, "tasks", "exec", "--exec-id", f"bench-{i}", container, *CHECK)
    containerd = cost.processor(runtime()) - before
    before = _children()
    for _ in range(DIRECT):
        run("runc", "--root", of.runc_root / of.name, "exec", container, *CHECK)
    runc = _children() - before
    cloud.stop([arn])
    return containerd / DIRECT, runc / DIRECT


def _children() -> float:
    """Seconds of processor time of all ended children of this process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def agent() -> list[int]:
    """The agent, the process that bounds the output for it, and their children of the moment."""
    own = [
        pid
        for pid, argv in cost.processes().items()
        if STATE in " ".join(argv) and ("agent" in argv or any(word.endswith("trimming.py") for word in argv))
    ]
    return [one for pid in own for one in cost.descendants(pid)]


def runtime() -> list[int]:
    """containerd and its shims; runc and what runs in containers are their children."""
    of = instance(STATE)
    return [
        pid
        for pid, argv in cost.processes().items()
        if str(of.config) in argv or (of.name in argv and "containerd-shim" in argv[0])
    ]
