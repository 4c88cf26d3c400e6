"""A service whose container is killed, and one that is updated, on a real machine."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from rich.progress import track

from bench import harness
from bench.harness import Cloud, alive_at, docker_alive_at, docker_remove, docker_start, median, until

COUNT = 10  # tasks of the service that is updated
SCRIPT = 'trap "exit 0" TERM; sleep 600 & wait'  # hears SIGTERM
CHECK = {"command": ["CMD", "/bin/true"], "interval": 5, "timeout": 2, "retries": 3}  # as often as ECS allows


@dataclass(frozen=True)
class Update:
    """Medians of seconds from UpdateService until the deployment is COMPLETED and only its tasks are left. ``least``:
    healthy tasks that there were at any look, at least; ``most``: tasks, of whatever status."""

    seconds: float
    least: int
    most: int


def killed(cloud: Cloud, n: int) -> tuple[float, float]:
    """Medians in ms: a killed process of a service of one task → the process of its replacement alive; ``docker run
    -d`` → alive; in turns."""
    cloud.service("killed", "alive", 1)
    (arn,) = _running(cloud, "killed", 1)
    ours, theirs = [], []
    for i in track(range(n + 1), "killed containers", transient=True):
        alive_at(arn)
        victims = harness.in_cgroup(arn.rpartition("/")[2])
        began = time.time()
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        arn = _another(cloud, "killed", arn)
        replaced = alive_at(arn) - began
        began = time.time()
        container = docker_start()
        started = docker_alive_at(container) - began
        docker_remove([container])
        if i >= 1:  # the first warms caches on both sides
            ours.append(replaced * 1000)
            theirs.append(started * 1000)
        _running(cloud, "killed", 1)
    cloud.end("killed")
    return median(ours), median(theirs)


def updated(cloud: Cloud, n: int) -> Update:
    """A service of ``COUNT`` tasks whose health is checked, updated to another revision."""
    _revision(cloud, 0)
    cloud.service("updated", "updated", COUNT)
    _completed(cloud, "updated")
    seen = []
    for i in track(range(1, n + 1), "rolling updates", transient=True):
        _revision(cloud, i)
        began = time.monotonic()
        cloud.ecs.update_service(cluster="bench", service="updated", taskDefinition="updated")
        least, most = _completed(cloud, "updated")
        seen.append(Update(time.monotonic() - began, least, most))
    cloud.end("updated")
    return Update(median(u.seconds for u in seen), min(u.least for u in seen), max(u.most for u in seen))


def _revision(cloud: Cloud, number: int) -> None:
    environment = [{"name": "REVISION", "value": str(number)}]
    container = {"name": "app", "command": [SCRIPT], "healthCheck": CHECK, "environment": environment}
    cloud.register("updated", [container])


def _completed(cloud: Cloud, name: str) -> tuple[int, int]:
    """Waits for a service's PRIMARY deployment to be all there is; the fewest healthy and the most tasks meanwhile."""
    healthy, there = [], []

    def look() -> bool:
        deployments = _deployments(cloud, name)
        arns = cloud.tasks(name) + cloud.tasks(name, "STOPPED")
        tasks = [t for t in cloud.describe(arns) if t["lastStatus"] != "STOPPED"]
        good = [t for t in tasks if t["lastStatus"] == "RUNNING" and t["healthStatus"] == "HEALTHY"]
        healthy.append(len(good))
        there.append(len(tasks))
        of_it = {t["startedBy"] for t in tasks} == {deployments[0]["id"]}
        return [d["rolloutState"] for d in deployments] == ["COMPLETED"] and of_it and len(tasks) == COUNT

    until(look, 120, 0.1)
    return min(healthy), max(there)


def _deployments(cloud: Cloud, name: str) -> list[dict[str, Any]]:
    (service,) = cloud.ecs.describe_services(cluster="bench", services=[name])["services"]
    found: list[dict[str, Any]] = service["deployments"]
    return found


def _running(cloud: Cloud, name: str, count: int) -> list[str]:
    """Its tasks, once so many run and no other."""
    found: list[str] = []

    def look() -> bool:
        found[:] = cloud.tasks(name)
        return len(found) == count and set(cloud.statuses(found)) == {"RUNNING"}

    until(look, 60, 0.05)
    return found


def _another(cloud: Cloud, name: str, old: str) -> str:
    """The task that took the place of one."""
    found: list[str] = []

    def look() -> bool:
        found[:] = [arn for arn in cloud.tasks(name) if arn != old]
        return bool(found)

    until(look, 30, 0.01)
    return found[0]
