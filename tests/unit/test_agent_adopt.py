"""What an agent makes of what it finds at its start, case by case."""

from __future__ import annotations

import msgspec
import pytest
from agent_world import CLUSTER, INTERFACE, TASK, TASK_ID, container

from homeport.agent.adopt import REBOOTED, adopt
from homeport.agent.drivers import Observed
from homeport.agent.plan import Container, Facts, TaskGoal
from homeport.agent.report import Acknowledged
from homeport.agent.state import TaskRecord
from homeport.agentapi import TaskSpec

ID = f"{TASK_ID}-0"
NONE = Container()
SAVED_RUNNING = Container(state="running", present=True, running_since=5.0, signalled=8.0)
RUNS = Observed(ID, "running", pid=1, started_at=3.0)
ENDED = Observed(ID, "stopped", exit_code=7, started_at=3.0, finished_at=4.0)


def record(saved: Container = NONE, reported: str | None = None, **facts: object) -> TaskRecord:
    spec = TaskSpec("web", 1, "us-east-1", "us-east-1a", containers=(container("web"),), interface=INTERFACE)
    return TaskRecord(
        version=1,
        boot_id="boot-1",
        goal=TaskGoal(arn=TASK, cluster=CLUSTER, task_id=TASK_ID, spec=spec),
        facts=Facts(containers={"web": saved}, **facts),  # type: ignore[arg-type]
        acknowledged=Acknowledged(containers={"web": reported} if reported else {}),
    )


def found(saved: TaskRecord, seen: Observed | None, boot_id: str = "boot-1") -> Container:
    result = adopt([saved], [seen] if seen else [], [], boot_id, 100.0)
    (task,) = result.tasks
    assert not result.containers
    assert task.boot_id == boot_id
    return task.facts.containers["web"]


@pytest.mark.parametrize(
    ("saved", "seen", "state", "code", "present"),
    [
        (record(), None, "none", None, False),
        (record(), Observed(ID, "created"), "created", None, True),
        (record(), RUNS, "running", None, True),
        (record(), ENDED, "stopped", 7, True),
        (record(), Observed(ID, "lost", started_at=3.0), "lost", None, True),
        (record(Container(state="created", present=True)), None, "none", None, False),
        (record(SAVED_RUNNING), RUNS, "running", None, True),
        (record(SAVED_RUNNING), ENDED, "stopped", 7, True),
        (record(SAVED_RUNNING), None, "lost", None, False),
        (record(SAVED_RUNNING), Observed(ID, "created"), "lost", None, True),
        (record(reported="RUNNING"), None, "lost", None, False),
        (record(reported="RUNNING"), RUNS, "running", None, True),
        (record(Container(state="stopped", exit_code=1)), None, "stopped", 1, False),
        (record(Container(state="failed", error="x")), RUNS, "failed", None, True),
    ],
)
def test_a_container(saved: TaskRecord, seen: Observed | None, state: str, code: int | None, present: bool) -> None:
    c = found(saved, seen)
    assert (c.state, c.exit_code, c.present) == (state, code, present)


def test_times_of_what_runs_go_on() -> None:
    assert found(record(SAVED_RUNNING), RUNS) == SAVED_RUNNING
    assert found(record(), RUNS).running_since == 100.0


@pytest.mark.parametrize(
    ("saved", "seen", "state", "code"),
    [
        (record(SAVED_RUNNING), None, "lost", None),
        (record(SAVED_RUNNING), Observed(ID, "lost"), "lost", None),
        (record(SAVED_RUNNING), Observed(ID, "created"), "lost", None),
        (record(SAVED_RUNNING), RUNS, "lost", None),
        (record(SAVED_RUNNING), ENDED, "stopped", 7),
        (record(), Observed(ID, "created"), "created", None),
        (record(), None, "none", None),
        (record(Container(state="stopped", exit_code=1)), None, "stopped", 1),
    ],
)
def test_a_container_after_a_reboot(saved: TaskRecord, seen: Observed | None, state: str, code: int | None) -> None:
    c = found(saved, seen, "boot-2")
    assert (c.state, c.exit_code, c.signalled) == (state, code, None)


def test_a_task_after_a_reboot_has_a_reason() -> None:
    (task,) = adopt([record()], [], [], "boot-2", 100.0).tasks
    assert task.facts.failure == REBOOTED
    (task,) = adopt([record(failure="earlier")], [], [], "boot-2", 100.0).tasks
    assert task.facts.failure == "earlier"
    (task,) = adopt([record()], [], [], "boot-1", 100.0).tasks
    assert task.facts.failure is None


@pytest.mark.parametrize(
    ("saved", "spaces", "network", "netns"),
    [
        (record(), [], "none", None),
        (record(), [TASK_ID], "none", None),  # attaching again tells the namespace
        (record(network="attached", netns="/n"), [TASK_ID], "attached", "/n"),
        (record(network="attached", netns="/n"), [], "none", None),
        (record(network="detached"), [], "none", None),  # detaching again is harmless
    ],
)
def test_the_network(saved: TaskRecord, spaces: list[str], network: str, netns: str | None) -> None:
    result = adopt([saved], [], spaces, "boot-1", 100.0)
    assert (result.tasks[0].facts.network, result.tasks[0].facts.netns) == (network, netns)
    assert result.namespaces == ()


def test_what_belongs_to_no_task() -> None:
    other = "f" * 32
    over = msgspec.structs.replace(record(), finished_at=50.0)
    result = adopt([over], [RUNS, Observed(f"{other}-1", "running")], [TASK_ID, other], "boot-1", 100.0)
    assert result.tasks == ()
    assert result.finished == {TASK_ID: 50.0}
    assert result.containers == (ID, f"{other}-1")
    assert result.folders == result.namespaces == (TASK_ID, other)


def test_a_container_that_its_task_does_not_have() -> None:
    result = adopt([record()], [Observed(f"{TASK_ID}-5", "running")], [], "boot-1", 100.0)
    assert result.containers == (f"{TASK_ID}-5",)
    assert result.folders == ()  # the task's own is still needed


def test_finished_tasks_oldest_first() -> None:
    records = [
        msgspec.structs.replace(
            record(), finished_at=at, goal=msgspec.structs.replace(record().goal, task_id=f"{at:032.0f}")
        )
        for at in (30.0, 10.0, 20.0)
    ]
    assert list(adopt(records, [], [], "boot-1", 0.0).finished.values()) == [10.0, 20.0, 30.0]
