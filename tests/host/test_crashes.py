"""kill -9 of everything that can be killed: containers run on, the API tells the same story, nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.homeport import Homeport
from support.tasks import WEB, Tasks, until

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homeport]:
    """One for all tests after which it has to be as it was before."""
    homeport = Homeport(tmp_path_factory.mktemp("survivor") / "state")
    homeport.up()
    homeport.load("test")
    yield homeport
    homeport.down()


def processes(homeport: Any, command: str) -> list[int]:
    """Ids of this Homeport's processes that run ``command`` (``server``, ``agent``, ``containerd``)."""
    found = []
    for entry in filter(lambda p: p.name.isdigit(), Path("/proc").iterdir()):
        try:
            argv = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if Path(argv[0]).name == "setpriv" or not any(str(homeport.state) in a for a in argv):
            continue
        if command in argv or Path(argv[0]).name == command:
            found.append(int(entry.name))
    return found


def kill(homeport: Any, *commands: str) -> None:
    for command in commands:
        found = processes(homeport, command)
        assert found, f"no {command} runs"
        for pid in found:
            os.kill(pid, signal.SIGKILL)


def page(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
        return str(answer.read().decode())


def ready(homeport: Any) -> dict[str, Any]:
    """``homeport status`` once the control plane answers and its node is connected."""
    import json

    def look() -> Any:
        done = homeport.command("status", "--json", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    seen: dict[str, Any] = until(look, lambda s: s and s["nodes"] and all(n["connected"] for n in s["nodes"]), 40)
    return seen


@pytest.mark.feature("kill -9 of control plane, agent or containerd: tasks run on, with the same addresses")
@pytest.mark.parametrize("victims", ["server", "agent", "server agent", "containerd", "containerd agent"])
def test_a_running_task_survives(survivor: Homeport, victims: str) -> None:
    tasks = Tasks(survivor)
    unique = "mkdir -p /tmp/www; cat /proc/sys/kernel/random/uuid > /tmp/www/index.html"
    arn = tasks.run(f"{unique}; exec httpd -f -p 80 -h /tmp/www")
    before = tasks.wait(arn, "RUNNING")
    private, public = tasks.address(before)
    first = until(lambda: _try(page, public), bool)
    kill(survivor, *victims.split())
    assert page(public) == first, "the container answers while its keepers are dead"
    ready(survivor)
    after = tasks.describe(arn)
    assert after["lastStatus"] == "RUNNING"
    assert after["startedAt"] == before["startedAt"]
    assert tasks.address(after) == (private, public)
    assert page(public) == first, "the same process, not a new one"
    stopped = tasks.stop(arn)
    assert stopped["stopCode"] == "UserInitiated"
    another = tasks.run(WEB)
    tasks.wait(another, "RUNNING")


def _try(look: Callable[[str], str], address: str) -> str | None:
    try:
        return look(address)
    except OSError:
        return None


def test_what_stopped_while_the_agent_was_dead_is_reported_with_its_exit_code(survivor: Homeport) -> None:
    tasks = Tasks(survivor)
    arn = tasks.run("until [ -e /tmp/end ]; do sleep 0.05; done; exit 7")
    tasks.wait(arn, "RUNNING")
    supervisor = processes(survivor, "supervise")
    os.kill(supervisor[0], signal.SIGSTOP)  # nobody brings the agent back yet
    try:
        kill(survivor, "agent")
        inner = _task_pid(arn)
        Path(f"/proc/{inner}/root/tmp/end").touch()
        until(lambda: Path(f"/proc/{inner}").exists(), lambda alive: not alive)
    finally:
        os.kill(supervisor[0], signal.SIGCONT)
    task = tasks.wait(arn, "STOPPED")
    assert task["containers"][0]["exitCode"] == 7
    assert task["stopCode"] == "EssentialContainerExited"


def _task_pid(arn: str) -> int:
    """The first process of the task's one container, found by its cgroup."""
    name = arn.rpartition("/")[2]
    for entry in filter(lambda p: p.name.isdigit(), Path("/proc").iterdir()):
        try:
            numbers = (entry / "status").read_text().partition("NSpid:")[2].split("\n", 1)[0].split()
            if name in (entry / "cgroup").read_text() and numbers[-1] == "1":
                return int(entry.name)
        except OSError:
            continue
    raise AssertionError(f"no process runs in a cgroup of {name}")


@pytest.mark.feature("A node that lost its state: its tasks are told to have ended, and it takes new ones")
def test_tasks_end_with_their_agents_state(own_homeport: Callable[..., Any]) -> None:
    homeport = own_homeport()
    tasks = Tasks(homeport)
    arn = tasks.run(WEB)
    tasks.wait(arn, "RUNNING")
    (supervisor,) = processes(homeport, "supervise")
    os.kill(supervisor, signal.SIGSTOP)  # nobody brings the agent back yet
    try:
        kill(homeport, "agent")
        shutil.rmtree(homeport.state / "agent")
    finally:
        os.kill(supervisor, signal.SIGCONT)
    task = tasks.wait(arn, "STOPPED")
    assert (task["stopCode"], task["containers"][0]["lastStatus"]) == ("InfrastructureHealth", "STOPPED")
    assert task["stoppedReason"] == "The node that hosted the task has lost its state."
    with pytest.raises(AssertionError, match="no process"):
        _task_pid(arn)
    again = tasks.run(WEB)
    _, public = tasks.address(tasks.wait(again, "RUNNING"))
    assert until(lambda: _try(page, public), bool) == "page\n"


def test_restart_keeps_tasks_running(survivor: Homeport) -> None:
    tasks = Tasks(survivor)
    arn = tasks.run(WEB)
    task = tasks.wait(arn, "RUNNING")
    pid = _task_pid(arn)
    survivor.command("restart")
    assert tasks.describe(arn)["lastStatus"] == "RUNNING"
    assert _task_pid(arn) == pid
    assert tasks.address(tasks.describe(arn)) == tasks.address(task)


def test_down_keeps_tasks_on_demand_and_up_adopts_them(survivor: Homeport) -> None:
    tasks = Tasks(survivor)
    arn = tasks.run(WEB)
    task = tasks.wait(arn, "RUNNING")
    _, public = tasks.address(task)
    survivor.down("--keep-tasks")
    until(lambda: _try(page, public), lambda p: p is not None)
    survivor.up()
    assert Tasks(survivor).describe(arn)["startedAt"] == task["startedAt"]
    assert Tasks(survivor).describe(arn)["lastStatus"] == "RUNNING"


def test_reset_is_for_ephemeral_ones_only(own_homeport: Callable[..., Any]) -> None:
    kept = own_homeport(image=None)
    assert "--ephemeral" in kept.command("reset", check=False).stderr
    fresh = own_homeport("--ephemeral")
    tasks = Tasks(fresh)
    arn = tasks.run(WEB)
    tasks.wait(arn, "RUNNING")
    fresh.command("reset")
    assert tasks.ecs.list_clusters()["clusterArns"] == []
    assert tasks.ecs.list_task_definition_families()["families"] == []
    with pytest.raises(AssertionError, match="no process"):
        _task_pid(arn)


def test_a_backup_is_what_was_there(own_homeport: Callable[..., Any], tmp_path: Path) -> None:
    homeport = own_homeport(image=None)
    ecs = homeport.client("ecs")
    ecs.create_cluster(clusterName="before")
    homeport.command("backup", str(tmp_path / "copy"))
    ecs.create_cluster(clusterName="after")
    assert "homeport down" in homeport.command("restore", str(tmp_path / "copy"), check=False).stderr
    homeport.down()
    homeport.command("restore", str(tmp_path / "copy"))
    homeport.up()
    assert [arn.rpartition("/")[2] for arn in homeport.client("ecs").list_clusters()["clusterArns"]] == ["before"]
