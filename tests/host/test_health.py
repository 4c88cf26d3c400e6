"""Health checks, dependencies and restarts of real tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from test_crashes import kill, ready

from support.homeport import Homeport
from support.tasks import Tasks, until

pytestmark = pytest.mark.host

IDLE = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
QUICK = {"interval": 5, "timeout": 10, "retries": 2}


Minutes = dict[Callable[[Tasks], None], "Future[None]"]


@pytest.fixture(scope="module", autouse=True)
def minutes(
    request: pytest.FixtureRequest, tasks: Tasks, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Minutes]:
    """The least ``restartAttemptPeriod`` is 60 s: what is about it goes on beside this file's other tests and is judged
    by the last ones. Where those aren't to run, nothing is begun."""
    judges = {test_an_essential_container_is_restarted, test_an_agent_that_is_killed_goes_on_with_checks_and_restarts}
    if judges.isdisjoint(getattr(item, "function", None) for item in request.session.items):
        yield {}
        return
    own = Homeport(tmp_path_factory.mktemp("minutes") / "state")
    try:
        own.up()
        own.load("test")
        with ThreadPoolExecutor() as pool:
            stories = {is_restarted: tasks, goes_on_when_killed: Tasks(own)}
            yield {story: pool.submit(story, on) for story, on in stories.items()}
    finally:
        own.down()


def shell(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "entryPoint": ["sh", "-c"], "command": [script], "stopTimeout": 2} | more


def check(script: str, **more: Any) -> dict[str, Any]:
    return {"healthCheck": {"command": ["CMD-SHELL", script], **QUICK, **more}}


def container(task: dict[str, Any], name: str) -> dict[str, Any]:
    return next(c for c in task["containers"] if c["name"] == name)


def health(tasks: Tasks, arn: str, status: str, seconds: float = 60) -> dict[str, Any]:
    """The task once its aggregate health is ``status``."""
    seen: dict[str, Any] = until(lambda: tasks.describe(arn), lambda t: t["healthStatus"] == status, seconds)
    return seen


@pytest.mark.feature("Container health checks, per container and for the task")
def test_a_task_becomes_healthy_and_unhealthy(tasks: Tasks) -> None:
    script = "touch /tmp/well; (sleep 21; rm /tmp/well) & " + IDLE
    probe = "test -e /tmp/well || { read now rest < /proc/uptime; echo $now > /proc/1/fd/1; exit 1; }"
    arn = tasks.start(
        [
            shell("app", script, **check(probe, retries=1)),
            shell("plain", IDLE),
            shell("side", IDLE, essential=False, **check("exit 1", retries=1)),
        ]
    )
    assert tasks.describe(arn)["healthStatus"] == "UNKNOWN"
    task = health(tasks, arn, "HEALTHY")
    assert container(task, "app")["healthStatus"] == "HEALTHY"
    assert container(task, "plain")["healthStatus"] == "UNKNOWN"
    task = until(
        lambda: tasks.describe(arn),
        lambda t: (container(t, "side")["healthStatus"], t["healthStatus"]) == ("UNHEALTHY", "HEALTHY"),
    )
    assert container(task, "side")["lastStatus"] == "RUNNING"  # it isn't essential
    task = health(tasks, arn, "UNHEALTHY")
    told = float(Path("/proc/uptime").read_text().split()[0]) - _times(tasks, arn, "app")[0]
    assert told < 10, "at once, not with the next regular message, after up to 20 s"
    assert task["lastStatus"] == "RUNNING", "ECS leaves a task that is unhealthy alone"
    assert tasks.stop(arn)["healthStatus"] == "UNHEALTHY"


@pytest.mark.feature("Containers wait for others to be healthy")
def test_a_container_waits_for_a_healthy_one_and_stops_before_it(tasks: Tasks) -> None:
    now = "read now rest < /proc/uptime; echo $now"
    say = f"trap '{now}; exit 0' TERM; {now}; while :; do sleep 0.05; done"
    patient = {"stopTimeout": 30}
    database = shell("database", f"(sleep 2; touch /tmp/up) & {say}", **check("test -e /tmp/up"), **patient)
    app = shell("app", say, dependsOn=[{"containerName": "database", "condition": "HEALTHY"}], **patient)
    arn = tasks.start([app, database])
    task = until(lambda: tasks.describe(arn), lambda t: container(t, "database")["lastStatus"] == "RUNNING")
    assert container(task, "app")["lastStatus"] == "PENDING"
    tasks.wait(arn, "RUNNING")
    # Health is told by another connection than RUNNING.
    until(lambda: container(tasks.describe(arn), "database")["healthStatus"], lambda s: s == "HEALTHY")
    tasks.stop(arn)
    said = {name: _times(tasks, arn, name) for name in ("app", "database")}
    # The shell says when it started, which is a while after its container has.
    assert said["app"][0] - said["database"][0] >= 3, "the first check is an interval after the start"
    assert said["app"][1] < said["database"][1], "what depends on it is stopped first"


def test_a_dependency_that_is_not_healthy_in_time_stops_the_task(tasks: Tasks) -> None:
    arn = tasks.start(
        [
            shell("database", IDLE, essential=False, startTimeout=7, **check("exit 1")),
            shell("app", IDLE, dependsOn=[{"containerName": "database", "condition": "HEALTHY"}]),
        ]
    )
    task = tasks.wait(arn, "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    reason = f"TaskDependencyError: Task dependencies cannot be resolved, taskArn: {arn}"
    assert container(task, "app")["reason"] == reason
    assert "exitCode" not in container(task, "app")


def test_a_check_that_hangs_or_floods_hurts_nobody(tasks: Tasks) -> None:
    hangs = check("sleep 7531 & sleep 7531", timeout=2, retries=1)
    floods = check("dd if=/dev/zero bs=1M count=1024; dd if=/dev/zero bs=1M count=64 >&2", timeout=20)
    arn = tasks.start([shell("hangs", IDLE, **hangs), shell("floods", IDLE, **floods), shell("app", IDLE)])
    tasks.wait(arn, "RUNNING")
    seen = health(tasks, arn, "UNHEALTHY")
    assert container(seen, "hangs")["healthStatus"] == "UNHEALTHY"
    until(lambda: container(tasks.describe(arn), "floods")["healthStatus"], lambda s: s == "HEALTHY")
    tasks.stop(arn)


@pytest.mark.feature("Restart policies: a container that ends is run again, and its task goes on")
def test_an_essential_container_is_restarted(minutes: Minutes) -> None:
    minutes[is_restarted].result()


@pytest.mark.feature("kill -9 of the agent changes nothing of health, dependencies and restarts")
def test_an_agent_that_is_killed_goes_on_with_checks_and_restarts(minutes: Minutes) -> None:
    minutes[goes_on_when_killed].result()


def is_restarted(tasks: Tasks) -> None:
    life = "echo run; echo x >> /lives; [ $(wc -l < /lives) -gt 1 ] && exit 7; sleep 61; exit 3"
    policy = {"restartPolicy": {"enabled": True, "restartAttemptPeriod": 60}}
    ignored = {"restartPolicy": {"enabled": True, "restartAttemptPeriod": 60, "ignoredExitCodes": [5]}}
    arn = tasks.start([shell("app", life, **policy), shell("side", "exit 5", essential=False, **ignored)])
    task = tasks.wait(arn, "RUNNING")
    assert until(lambda: container(tasks.describe(arn), "side").get("exitCode"), lambda c: c is not None) == 5
    task = tasks.wait(arn, "STOPPED", 90)
    assert container(task, "app")["exitCode"] == 7, "the second run was too short for another"
    assert (task["executionStoppedAt"] - task["startedAt"]).total_seconds() > 60
    assert tasks.homeport.command("logs", arn, "--container", "app", check=False).stdout.count("run") == 2


def goes_on_when_killed(tasks: Tasks) -> None:
    homeport = tasks.homeport
    life = "echo run; echo x >> /lives; [ $(wc -l < /lives) -gt 1 ] && exec sleep 600; sleep 61; exit 3"
    arn = tasks.start(
        [
            shell("app", "touch /tmp/well; " + IDLE, **check("test -e /tmp/well", retries=3)),
            shell("again", life, restartPolicy={"enabled": True, "restartAttemptPeriod": 60}),
            shell("last", IDLE, dependsOn=[{"containerName": "app", "condition": "HEALTHY"}]),
        ]
    )
    until(lambda: container(tasks.describe(arn), "app")["lastStatus"], lambda s: s == "RUNNING")
    kill(homeport, "agent")
    ready(homeport)
    began = time.monotonic()
    tasks.wait(arn, "RUNNING")
    until(lambda: container(tasks.describe(arn), "app")["healthStatus"], lambda s: s == "HEALTHY")
    kill(homeport, "agent")  # and it is away when the restart is due
    time.sleep(max(0.0, 50 - (time.monotonic() - began)))
    kill(homeport, "agent")
    ready(homeport)
    until(lambda: output(tasks, arn, "again").count("run"), lambda runs: runs == 2, 40)
    until(lambda: container(tasks.describe(arn), "again")["lastStatus"], lambda s: s == "RUNNING")
    assert health(tasks, arn, "HEALTHY")["lastStatus"] == "RUNNING"
    tasks.stop(arn)


def output(tasks: Tasks, arn: str, name: str) -> str:
    """What a container has printed to stdout."""
    folder = tasks.homeport.state / "agent" / "logs" / arn.rpartition("/")[2] / name
    return (folder / "stdout").read_text()


def _times(tasks: Tasks, arn: str, name: str) -> list[float]:
    return [float(line) for line in output(tasks, arn, name).split()]
