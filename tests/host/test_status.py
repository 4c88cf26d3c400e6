"""``homeport status TASK``: in a terminal, piped, and for scripts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.tasks import Tasks, until
from support.terminal import terminal

pytestmark = pytest.mark.host

BUSY = {"name": "busy", "entryPoint": ["sh", "-c"], "command": ["while :; do :; done"], "stopTimeout": 2}
DONE = {"name": "done", "essential": False, "entryPoint": ["sh", "-c"], "command": ["exit 0"]}
NEEDS = {"dependsOn": [{"containerName": "done", "condition": "SUCCESS"}]}


@pytest.fixture
def running(tasks: Tasks) -> Any:
    arn = tasks.start([{**BUSY, **NEEDS, "memory": 64}, DONE])
    tasks.wait(arn, "RUNNING")
    yield arn
    tasks.stop(arn)


@pytest.mark.feature("homeport status TASK: containers, dependencies, health, processor and memory live")
def test_a_snapshot(tasks: Tasks, running: str) -> None:
    lines = tasks.homeport.command("status", running.rpartition("/")[2][:12]).stdout.splitlines()
    assert running.rpartition("/")[2] in lines[0]
    assert "RUNNING since" in lines[0]
    busy, done, whole = (line.split("\t") for line in lines[1:])
    assert busy[:5] == ["busy", "RUNNING", "UNKNOWN", "done SUCCESS", ""]
    assert busy[7].endswith(" of 64 MiB")
    assert done[:5] == ["(done)", "STOPPED", "UNKNOWN", "", "0"]
    assert whole[0] == "TASK"
    assert whole[6].endswith(" of 0.25")


def test_figures_for_scripts(tasks: Tasks, running: str) -> None:
    told = json.loads(tasks.homeport.command("status", running, "--json").stdout)
    assert told["task"]["taskArn"] == running
    assert list(told["usage"]) == ["busy"]
    used = told["usage"]["busy"]
    assert 0.05 < used["vcpu"] < 0.6, "the limit of the task is a quarter of a processor"
    assert 0 < used["memory_bytes"] < used["memory_limit_bytes"] == 64 * 2**20
    assert used["processes"] == 1


def test_a_terminal_is_refreshed_until_the_task_stops(tasks: Tasks) -> None:
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    arn = tasks.start([{**BUSY, "command": [script], "stopTimeout": 30}])
    until(lambda: tasks.homeport.command("logs", arn, check=False).stdout, lambda text: "ready" in text)
    with terminal(tasks.homeport, "status", arn) as window:
        window.until("RUNNING")
        tasks.stop(arn)
        window.ended()
    shown = window.shown
    last = shown[shown.rindex("CONTAINER") :]
    assert "STOPPED" in last
    assert " 7 " in last
    assert "UserInitiated: test" in shown


def test_what_names_no_task_is_said(tasks: Tasks) -> None:
    done = tasks.homeport.command("status", "nothing", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "No task starts with 'nothing'" in done.stderr
