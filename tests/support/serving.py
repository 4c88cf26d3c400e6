"""What of a service really serves, seen from its containers and not from any API, and a control plane or agent that is
killed at every step of a deployment."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

from botocore.exceptions import BotoCoreError

from support.census import namespace, process
from support.services import Services
from support.tasks import until

READY = "/tmp/ready"  # the file that a container makes when it serves
SERVE = f": > {READY}; exec sleep 1000"
CHECK = {"command": ["CMD", "test", "-e", READY], "interval": 5, "timeout": 30, "retries": 2}
_TASK = re.compile(r"/([0-9a-f]{32})(?:[/-]|$)")


class Probe:
    """Looks at the processes of all tasks every few milliseconds, for as long as the context lasts.

    ``least``: the fewest tasks that served at any look since ``begin``; ``most``: the most that had a process. What did
    not serve then belongs to others, and counts for neither.
    """

    def __init__(self, homeport: Any) -> None:
        self._name = namespace(homeport)
        self._of: dict[int, str | None] = {}  # the task of each process
        self._ready: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.serving: set[str] = set()
        self._running: set[str] = set()
        self._others: set[str] = set()
        self.least, self.most = 1 << 30, 0

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def begin(self) -> None:
        self._others = self._running - self.serving
        self.least, self.most = len(self.serving), 0

    def processes(self, task: str) -> list[int]:
        """Those of a task."""
        return [pid for pid, of in list(self._of.items()) if of == task]

    def _run(self) -> None:
        while not self._over.wait(0.01):
            self._look()

    def _look(self) -> None:
        there = _processes() & _processes()  # one list takes its time: only what is in both was there at one moment
        self._of = {pid: task for pid, task in self._of.items() if pid in there}
        self._of |= {pid: self._task(pid) for pid in there - self._of.keys()}
        self._ready &= there
        tasks = {pid: task for pid, task in self._of.items() if task is not None}
        self._ready |= {pid for pid in tasks.keys() - self._ready if Path(f"/proc/{pid}/root{READY}").exists()}
        self._running = set(tasks.values()) - self._others
        self.serving = {tasks[pid] for pid in self._ready & tasks.keys()} - self._others
        self.least, self.most = min(self.least, len(self.serving)), max(self.most, len(self._running))

    def _task(self, pid: int) -> str | None:
        try:
            cgroup = Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            return None
        found = _TASK.search(cgroup) if self._name in cgroup else None
        return found[1] if found else None


def _processes() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def kill_at_every_step(services: Services, done: Callable[[], bool], seconds: float = 100) -> int:
    """Kills the control plane, the agent, or both, in turns, whenever anything of the cluster's tasks and services has
    changed, until it is ``done``; how many times."""
    victims = itertools.cycle((("server",), ("agent",), ("server", "agent")))
    before: Any = None
    kills = 0
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not done after {kills} kills: {before}"
        seen = picture(services)
        if seen == before:
            time.sleep(0.02)
            continue
        before = seen
        for victim in next(victims):
            with contextlib.suppress(AssertionError, ProcessLookupError):  # it isn't back yet from the last time
                os.kill(process(services.homeport, victim), signal.SIGKILL)
        kills += 1
    return kills


def answered(call: Callable[[], Any]) -> Any:
    """What a call that may be repeated is answered with, as soon as there is somebody to answer."""
    found: list[Any] = []

    def ask() -> bool:
        try:
            found.append(call())
        except BotoCoreError:
            return False
        return True

    until(ask, bool, 40)
    return found[-1]


def picture(services: Services) -> Any:
    """What the API says of all tasks and services, without times."""
    tasks = [
        (t["taskArn"], t["lastStatus"], t["desiredStatus"], t["healthStatus"])
        for t in answered(lambda: all_tasks(services))
    ]
    listed = answered(lambda: services.ecs.list_services(cluster=services.cluster))["serviceArns"]
    shown = answered(lambda: services.ecs.describe_services(cluster=services.cluster, services=listed))["services"]
    parts = [(p["id"], p["status"]) for s in shown for p in (*s.get("deployments", ()), *s.get("taskSets", ()))]
    return sorted(tasks), sorted(parts)


def all_tasks(services: Services) -> list[dict[str, Any]]:
    """Every task of the cluster that is known, stopped ones too."""
    ecs, cluster = services.ecs, services.cluster
    pages = [ecs.get_paginator("list_tasks").paginate(cluster=cluster, desiredStatus=d) for d in ("RUNNING", "STOPPED")]
    found: list[dict[str, Any]] = []
    for page in chain.from_iterable(pages):
        if page["taskArns"]:
            found += ecs.describe_tasks(cluster=cluster, tasks=page["taskArns"])["tasks"]
    return found
