from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from homeport.agent.drivers.usage import Cpu, Memory, Usage
from homeport.agent.plan import Container, Facts, TaskGoal
from homeport.agent.state import VERSION, FileRecords, TaskRecord
from homeport.agentapi import ContainerSpec, RestartPolicy, TaskSpec
from homeport.cli.task_status import COLUMNS, figures, headline, processors, restarts, rows, telling
from homeport.config import Settings

MIB = 1 << 20
ARN = "arn:aws:ecs:us-east-1:123456789012:"
TASK: dict[str, Any] = {
    "taskArn": f"{ARN}task/demo/0123",
    "clusterArn": f"{ARN}cluster/demo",
    "taskDefinitionArn": f"{ARN}task-definition/web:3",
    "lastStatus": "RUNNING",
    "desiredStatus": "RUNNING",
    "healthStatus": "HEALTHY",
    "cpu": "256",
    "memory": "512",
    "createdAt": 1.0,
    "startedAt": 2.0,
    "containers": [
        {
            "name": "app",
            "lastStatus": "RUNNING",
            "healthStatus": "HEALTHY",
            "memory": "128",
            "image": "httpd:2.4",
            "networkInterfaces": [{"privateIpv4Address": "172.31.0.5"}],
        },
        {
            "name": "init",
            "lastStatus": "STOPPED",
            "healthStatus": "UNKNOWN",
            "exitCode": 0,
            "image": "busybox",
            "networkInterfaces": [],
        },
    ],
}
ANSWER: dict[str, Any] = {
    "task": TASK,
    "depends_on": {"app": ["init SUCCESS"], "init": []},
    "essential": {"app": True, "init": False},
    "public_address": "198.18.0.9",
    "restarts": {"app": 2},
}


def usage(at: float, seconds: float, memory: int = 0, **detail: int) -> Usage:
    return Usage(
        read_at=at, cpu=Cpu(total=int(seconds * 1e9)), memory=Memory(memory, None, 512 * MIB, None, detail), processes=3
    )


def cells(**changes: Any) -> list[dict[str, str]]:
    look = {"app": usage(10, 1)}, {"app": usage(12, 1.5, 40 * MIB, inactive_file=8 * MIB)}
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows(ANSWER | changes, *look)]


def test_a_row_for_each_container_and_one_for_the_task() -> None:
    app, init, whole = cells()
    assert (app["CONTAINER"], app["STATUS"], app["HEALTH"], app["NEEDS"]) == (
        "app",
        "RUNNING",
        "HEALTHY",
        "init SUCCESS",
    )
    assert (app["EXIT"], app["RESTARTS"]) == ("", "2")
    assert (app["VCPU"], app["MEMORY"], app["PIDS"]) == ("0.25", "32.0 of 128 MiB", "3")
    assert (init["CONTAINER"], init["EXIT"], init["RESTARTS"], init["VCPU"], init["MEMORY"]) == (
        "(init)",
        "0",
        "",
        "",
        "",
    )
    assert (whole["CONTAINER"], whole["VCPU"], whole["MEMORY"]) == (
        "TASK",
        "0.25 of 0.25",
        "32.0 of 512 MiB",
    )


def test_a_stopped_task_says_why_and_uses_nothing() -> None:
    app = TASK["containers"][0] | {"lastStatus": "STOPPED", "exitCode": 137, "reason": "OutOfMemoryError: x"}
    stopped = TASK | {
        "lastStatus": "STOPPED",
        "desiredStatus": "STOPPED",
        "stoppedAt": 3.0,
        "stopCode": "EssentialContainerExited",
        "stoppedReason": "Essential container in task exited",
        "containers": [app],
    }
    (row,) = [dict(zip(COLUMNS, r, strict=True)) for r in rows(ANSWER | {"task": stopped}, {}, {})]
    assert (row["STATUS"], row["EXIT"], row["VCPU"]) == ("STOPPED: OutOfMemoryError: x", "137", "")
    line = headline(ANSWER | {"task": stopped})
    assert line.endswith("\nEssentialContainerExited: Essential container in task exited")


@pytest.mark.parametrize(
    ("last", "desired", "shown"),
    [("RUNNING", "RUNNING", "RUNNING since"), ("PENDING", "RUNNING", "PENDING → RUNNING since")],
)
def test_the_headline(last: str, desired: str, shown: str) -> None:
    line = headline(ANSWER | {"task": TASK | {"lastStatus": last, "desiredStatus": desired}})
    for part in ("Task 0123", "web:3", "cluster demo", shown, "health HEALTHY", "172.31.0.5, 198.18.0.9"):
        assert part in line


def test_columns_that_say_nothing_are_left_out_of_a_terminal() -> None:
    first, second = ("app", "PENDING", "UNKNOWN") + ("",) * 7, ("b", "PENDING", "UNKNOWN", "app START") + ("",) * 6
    assert telling([first]) == (("CONTAINER", "STATUS"), [("app", "PENDING")])
    assert telling([first, second])[1] == [("app", "PENDING", ""), ("b", "PENDING", "app START")]


def test_rates_need_two_looks() -> None:
    assert processors({}, {"a": usage(1, 1)}) == {}
    assert processors({"a": usage(1, 1)}, {"a": usage(1, 1)}) == {}
    assert processors({"a": usage(1, 1)}, {"a": usage(3, 5)}) == {"a": 2.0}
    assert processors({"a": usage(1, 9)}, {"a": usage(3, 1)}) == {"a": 0.0}, "a restarted container counts anew"


def test_memory_leaves_out_what_the_kernel_can_drop() -> None:
    assert usage(0, 0, 100, inactive_file=30).memory.resident == 70
    assert usage(0, 0, 100, inactive_file=1, total_inactive_file=40).memory.resident == 60
    assert usage(0, 0, 100).memory.resident == 100
    assert usage(0, 0, 10, inactive_file=30).memory.resident == 0


def test_figures() -> None:
    assert figures({"a": usage(1, 1)}, {"a": usage(3, 2, 100)}) == {
        "a": {
            "vcpu": 0.5,
            "cpu_nanoseconds": 2_000_000_000,
            "memory_bytes": 100,
            "memory_limit_bytes": 512 * MIB,
            "processes": 3,
        }
    }


def test_restarts_are_those_that_the_agent_wrote_down(tmp_path: Path) -> None:
    policy = ContainerSpec(name="app", image="i", restart_policy=RestartPolicy())
    spec = TaskSpec("web", 1, "us-east-1", "us-east-1a", containers=(policy, ContainerSpec(name="init", image="i")))
    goal = TaskGoal(arn=TASK["taskArn"], cluster="demo", task_id="0123", spec=spec)
    facts = Facts(containers={"app": Container(restarts=3), "init": Container()})
    record = TaskRecord(version=VERSION, boot_id="b", goal=goal, facts=facts)
    settings = Settings(state=str(tmp_path), instance="00000000")
    assert restarts(settings, "0123") == {}
    asyncio.run(FileRecords(tmp_path / "agent").save(record))
    assert restarts(settings, "0123") == {"app": 3}
    (tmp_path / "agent" / "tasks" / "0123.json").write_text("{")
    assert restarts(settings, "0123") == {}
