"""Nothing is left behind: not by tasks that come and go, not by `down`, not by a kill of everything."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.census import census, cgroups, descriptors, namespace, process, resident
from support.homeport import Homeport
from support.tasks import WEB, Tasks, until

pytestmark = pytest.mark.host

KEPT = ("server", "agent", "containerd")
FAULTS: list[dict[str, Any]] = [
    {"image": "127.0.0.1:1/nothing:here"},
    {"user": "nobody-has-this-name"},
    {"entryPoint": ["/no/such/program"]},
    {},
]


def some_lives(tasks: Tasks) -> None:
    """Tasks that run until they are stopped, that end at once, and that can't start for every reason."""
    running = [tasks.run(WEB), tasks.run("exec sleep 1000", public=False)]
    ending = [tasks.run("echo out; echo err >&2; exit 1", **fault) for fault in FAULTS]
    for arn in running:
        tasks.wait(arn, "RUNNING")
        tasks.ecs.stop_task(cluster="tests", task=arn)
    for arn in (*running, *ending):
        tasks.wait(arn, "STOPPED")


def settled(homeport: Homeport, wanted: dict[str, list[str]], seconds: float = 30) -> dict[str, list[str]]:
    """The census once it is as wanted; the last one where it doesn't get so: some of the end comes after STOPPED."""
    with contextlib.suppress(AssertionError):
        until(lambda: census(homeport), lambda seen: seen == wanted, seconds)
    return census(homeport)


def at_rest(homeport: Homeport) -> dict[str, list[str]]:
    """The census once no task's cgroup is left: they go shortly after STOPPED is told."""
    task = re.compile(r"/[0-9a-f]{32}(/|$)")
    seen: dict[str, list[str]] = until(
        lambda: census(homeport), lambda seen: not any(task.search(path) for path in seen["cgroups"])
    )
    return seen


@pytest.mark.feature("Tasks that come and go leave nothing behind")
def test_tasks_leave_nothing(own_homeport: Callable[..., Homeport]) -> None:
    homeport = own_homeport()
    tasks = Tasks(homeport)
    some_lives(tasks)  # what comes with the first task of a VPC stays: its router, its groups
    before = at_rest(homeport)
    assert before["containers"] == before["snapshots"][1:] == []
    handles = {name: descriptors(process(homeport, name)) for name in KEPT}
    for _ in range(3):
        some_lives(tasks)
    assert settled(homeport, before) == before
    after = {name: descriptors(process(homeport, name)) for name in KEPT}
    assert all(after[name] <= handles[name] + 3 for name in KEPT), (handles, after)
    assert all(resident(process(homeport, name)) < 80 for name in ("server", "agent"))
    state = homeport.state / "agent"
    assert [p for p in (state / "tasks").iterdir() if p.is_dir()] == []
    assert list((state / "network" / "tasks").iterdir()) == []


def nothing(homeport: Homeport) -> None:
    found = {kind: things for kind, things in census(homeport).items() if things}
    assert found == {}


@pytest.mark.feature("`homeport down` leaves nothing on the machine, also after a kill -9 of everything")
@pytest.mark.parametrize("killed", [False, True])
def test_down_leaves_nothing_and_up_works_again(own_homeport: Callable[..., Homeport], killed: bool) -> None:
    homeport = own_homeport()
    tasks = Tasks(homeport)
    tasks.wait(tasks.run(WEB), "RUNNING")
    if killed:
        found = [process(homeport, name) for name in ("supervise", *KEPT)]  # first: the others end with the supervisor
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    homeport.down()
    nothing(homeport)
    homeport.up()
    again = Tasks(homeport)
    again.wait(again.run(WEB), "RUNNING")
    homeport.down()
    nothing(homeport)
    assert cgroups(namespace(homeport)) == []
    assert not Path("/run", namespace(homeport)).exists()


def test_down_ends_the_own_containerd_also_after_another_was_given(own_homeport: Callable[..., Homeport]) -> None:
    homeport, other = own_homeport(), own_homeport(image=None)  # the other one is to end last
    tasks = Tasks(homeport)
    tasks.wait(tasks.run(WEB), "RUNNING")
    homeport.down("--keep-tasks")
    homeport.up("--containerd", f"/run/{namespace(other)}/containerd.sock")
    homeport.down()
    nothing(homeport)
    assert not cgroups(namespace(homeport))
    assert other.command("status").returncode == 0
