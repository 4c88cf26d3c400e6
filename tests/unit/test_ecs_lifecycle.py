"""The life of a task as a table: what was known, what is decided."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from homeport.agentapi import ContainerReport, NetworkBinding, TaskReport
from homeport.services.ecs import lifecycle
from homeport.services.ecs.lifecycle import DeleteInterface, FreeRoom, step
from homeport.services.ecs.model.instance import Taken
from homeport.services.ecs.model.task import Attachment, Container, NodeStatus, Task, TaskStatus

S, N = TaskStatus, NodeStatus
NOW = 1000.0
ENI = Attachment(id="a1", details={"subnetId": "subnet-1", "networkInterfaceId": "eni-1"})


def task(
    last: TaskStatus = S.PROVISIONING,
    node: NodeStatus = N.NONE,
    *containers: Container,
    fargate: bool = True,
    **more: Any,
) -> Task:
    return Task(
        id="0" * 32,
        cluster_arn="arn:aws:ecs:us-east-1:123456789012:cluster/demo",
        definition_arn="arn:aws:ecs:us-east-1:123456789012:task-definition/web:1",
        **{
            "launch_type": "FARGATE" if fargate else "EC2",
            "group": "family:web",
            "cpu": 256,
            "memory": 512,
            "created_at": 900.0,
            "containers": containers or (Container(id="c1", name="app"),),
            "attachments": (ENI,) if fargate else (),
            "last_status": last,
            "node_status": node,
            "instance": "arn:instance",
            "charged": True,
            **more,
        },
    )


def app(status: str = "PENDING", **more: Any) -> Container:
    return Container(id="c1", name="app", status=status, **more)  # type: ignore[arg-type]


def report(status: str = "", *containers: ContainerReport, **more: Any) -> TaskReport:
    return TaskReport(cluster="demo", task="t", status=status, containers=containers, **more)


def told(status: str, name: str = "app", **more: Any) -> ContainerReport:
    return ContainerReport(container_name=name, status=status, **more)


STOPPING: dict[str, Any] = {"desired_status": "STOPPED", "stop_code": "UserInitiated", "stopped_reason": "why"}
RAN: dict[str, Any] = {"started_at": 950.0}
CODE0 = app("STOPPED", ran=True, exit_code=0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # towards RUNNING
        (task(S.PROVISIONING), None),
        (task(S.PROVISIONING, N.HANDED), S.PENDING),
        (task(S.PENDING, N.HANDED), None),
        (task(S.PENDING, N.PENDING), None),
        (task(S.PENDING, N.RUNNING), S.ACTIVATING),
        (task(S.PENDING, N.RUNNING, fargate=False), S.RUNNING),
        (task(S.ACTIVATING, N.RUNNING), S.RUNNING),
        (task(S.RUNNING, N.RUNNING, **RAN), None),
        # asked to stop before it ran: only the node, or the lack of one, ends it
        (task(S.PROVISIONING, N.NONE, **STOPPING), None),
        (task(S.PROVISIONING, N.NONE, instance=None, **STOPPING), S.DEPROVISIONING),
        (task(S.PENDING, N.HANDED, **STOPPING), None),
        (task(S.PENDING, N.STOPPED, **STOPPING), S.DEPROVISIONING),
        (task(S.PENDING, N.STOPPED, fargate=False, charged=False, **STOPPING), S.STOPPED),
        (task(S.PENDING, N.HANDED, lost=True, **STOPPING), S.DEPROVISIONING),
        # asked to stop after a process was started: it has been RUNNING
        (task(S.PROVISIONING, N.STOPPED, CODE0, **STOPPING), S.PENDING),
        (task(S.PENDING, N.STOPPED, CODE0, **STOPPING), S.ACTIVATING),
        (task(S.ACTIVATING, N.STOPPED, CODE0, **STOPPING), S.RUNNING),
        (task(S.RUNNING, N.RUNNING, **RAN, **STOPPING), S.DEACTIVATING),
        # towards STOPPED
        (task(S.DEACTIVATING, N.RUNNING, **RAN, **STOPPING), S.STOPPING),
        (task(S.STOPPING, N.RUNNING, **RAN, **STOPPING), None),
        (task(S.STOPPING, N.STOPPED, **RAN, **STOPPING), S.DEPROVISIONING),
        (task(S.STOPPING, N.STOPPED, fargate=False, **RAN, **STOPPING), FreeRoom("arn:instance", Taken(256, 512))),
        (task(S.STOPPING, N.STOPPED, fargate=False, charged=False, **RAN, **STOPPING), S.STOPPED),
        (task(S.STOPPING, N.RUNNING, lost=True, **RAN, **STOPPING), S.DEPROVISIONING),
        (task(S.DEPROVISIONING, N.STOPPED, **STOPPING), DeleteInterface("eni-1")),
        (task(S.DEPROVISIONING, N.STOPPED, attachments=(), **STOPPING), FreeRoom("arn:instance", Taken(256, 512))),
        (task(S.DEPROVISIONING, N.RUNNING, attachments=(), lost=True, **STOPPING), S.STOPPED),
        (task(S.DEPROVISIONING, N.STOPPED, attachments=(), charged=False, **STOPPING), S.STOPPED),
        (task(S.STOPPED, N.STOPPED, attachments=(), **STOPPING), FreeRoom("arn:instance", Taken(256, 512))),
        (task(S.STOPPED, N.RUNNING, attachments=(), lost=True, **STOPPING), None),
        (task(S.STOPPED, N.STOPPED, attachments=(), charged=False, **STOPPING), None),
    ],
)
def test_step(before: Task, after: Any) -> None:
    turn = step(before, NOW)
    if isinstance(after, TaskStatus):
        assert isinstance(turn, Task)
        assert (turn.last_status, turn.version) == (after, before.version + 1)
    else:
        assert turn == after


def test_times_are_noted_where_they_belong() -> None:
    pending = step(task(S.PROVISIONING, N.HANDED), NOW)
    assert isinstance(pending, Task)
    assert pending.connected_at == NOW
    activating = step(task(S.PENDING, N.RUNNING), NOW)
    assert isinstance(activating, Task)
    assert (activating.attachments[0].status, activating.started_at) == ("ATTACHED", None)
    running = step(activating, NOW)
    assert isinstance(running, Task)
    assert running.started_at == NOW
    over = step(task(S.STOPPING, N.STOPPED, app("RUNNING", ran=True), **RAN, **STOPPING), NOW)
    assert isinstance(over, Task)
    assert (over.execution_stopped_at, over.containers[0].status) == (NOW, "STOPPED")
    stopped = step(task(S.DEPROVISIONING, N.STOPPED, attachments=(), charged=False, **STOPPING), NOW)
    assert isinstance(stopped, Task)
    assert (stopped.stopped_at, stopped.wake_at) == (NOW, NOW + 3600)


def test_times_that_a_node_tells_fit_into_the_life_of_the_task() -> None:
    """Its clock may be off, and a process may end before anyone noted that it was started."""
    running = task(S.RUNNING, N.RUNNING, app("RUNNING", ran=True), **RAN)
    for said, kept in ((940.0, 950.0), (960.0, 960.0), (2000.0, NOW)):
        after = lifecycle.reported(running, report("RUNNING", execution_stopped_at=said), NOW)
        assert after.execution_stopped_at == kept
    quick = step(task(S.ACTIVATING, N.STOPPED, CODE0, execution_stopped_at=980.0, **STOPPING), NOW)
    assert isinstance(quick, Task)
    assert quick.started_at == 980.0


PULL = "CannotPullContainerError: not found"


@pytest.mark.parametrize(
    ("before", "code", "reason"),
    [
        (task(S.RUNNING, N.RUNNING, CODE0, **RAN), "EssentialContainerExited", "Essential container in task exited"),
        (task(S.RUNNING, N.STOPPED, CODE0, **RAN), "EssentialContainerExited", "Essential container in task exited"),
        (task(S.PENDING, N.HANDED, app("STOPPED", reason=PULL)), "TaskFailedToStart", PULL),
        (
            task(S.PENDING, N.STOPPED, app("STOPPED", reason=PULL), fargate=False),
            "TaskFailedToStart",
            "Task failed to start",
        ),
        (task(S.PENDING, N.STOPPED), "TaskFailedToStart", "Task failed to start"),
        (task(S.PENDING, N.STOPPED, node_reason="no"), "TaskFailedToStart", "no"),
        (
            task(S.RUNNING, N.STOPPED, app("STOPPED", ran=True), node_reason="The machine was rebooted.", **RAN),
            "TerminationNotice",
            "The machine was rebooted.",
        ),
        (
            task(
                S.PENDING,
                N.HANDED,
                app("STOPPED", reason=PULL, essential=False),
                Container(id="c2", name="b", status="STOPPED", reason="ResourceInitializationError: x"),
            ),
            "TaskFailedToStart",
            "ResourceInitializationError: x",
        ),
    ],
)
def test_why_a_task_ended_by_itself(before: Task, code: str, reason: str) -> None:
    turn = step(before, NOW)
    assert isinstance(turn, Task)
    assert (turn.desired_status, turn.stop_code, turn.stopped_reason, turn.stopping_at) == (
        "STOPPED",
        code,
        reason,
        NOW,
    )
    assert turn.last_status == before.last_status


def test_a_sidecar_that_ran_does_not_make_a_failed_start_a_run() -> None:
    side = Container(id="c2", name="side", status="STOPPED", ran=True, exit_code=137)
    assert not lifecycle.ran(task(S.PENDING, N.STOPPED, app("STOPPED", reason=PULL), side))
    assert lifecycle.ran(task(S.PENDING, N.STOPPED, app("STOPPED"), side))


def test_asking_twice_to_stop_keeps_the_first_reason() -> None:
    once = lifecycle.request_stop(task(S.RUNNING), "UserInitiated", "first", NOW)
    assert lifecycle.request_stop(once, "UserInitiated", "second", NOW + 1) is once
    assert len(lifecycle.request_stop(task(), "UserInitiated", "x" * 5000, NOW).stopped_reason or "") == 1024


def test_a_lost_node_ends_what_it_had() -> None:
    lost = lifecycle.lose(task(S.RUNNING, N.RUNNING, **RAN), NOW)
    assert (lost.lost, lost.desired_status, lost.stop_code) == (True, "STOPPED", "InfrastructureHealth")
    assert lifecycle.lose(lost, NOW + 1) is lost
    asked = lifecycle.lose(task(S.RUNNING, N.RUNNING, **RAN, **STOPPING), NOW)
    assert (asked.lost, asked.stop_code) == (True, "UserInitiated")
    over = task(S.DEPROVISIONING, N.STOPPED, **STOPPING)
    assert lifecycle.lose(over, NOW) is over


def test_an_acknowledgement_counts_once() -> None:
    handed = lifecycle.handed(task())
    assert handed.node_status == N.HANDED
    assert lifecycle.handed(handed) is handed
    running = task(S.PENDING, N.RUNNING)
    assert lifecycle.handed(running) is running


def test_effects_leave_their_mark() -> None:
    assert lifecycle.interface_deleted(task()).attachments[0].status == "DELETED"
    assert lifecycle.interface_deleted(task()).interface_id is None
    assert not lifecycle.room_freed(task()).charged
    assert lifecycle.without_tags(task(tags={"a": "b"})).tags == {}


def test_a_report_is_folded_in() -> None:
    first = report(
        "RUNNING",
        told("RUNNING", runtime_id="r1", image_digest="sha256:1"),
        attachments=({"attachmentArn": "arn:x/a1", "status": "ATTACHED"},),
        pull_started_at=910.0,
        pull_stopped_at=920.0,
    )
    after = lifecycle.reported(task(S.PENDING, N.HANDED), first, NOW)
    assert after.node_status == N.RUNNING
    assert after.containers == (app("RUNNING", ran=True, runtime_id="r1", image_digest="sha256:1"),)
    assert after.attachments[0].status == "ATTACHED"
    assert (after.pull_started_at, after.pull_stopped_at, after.version) == (910.0, 920.0, 2)
    assert lifecycle.reported(after, first, NOW + 1) is after
    assert lifecycle.reported(after, report("PENDING", told("PENDING")), NOW + 1) is after
    later = lifecycle.reported(after, report("RUNNING", told("STOPPED", exit_code=3, reason="r")), NOW + 1)
    assert (later.containers[0].exit_code, later.containers[0].reason) == (3, "r")
    assert later.execution_stopped_at == NOW + 1
    assert lifecycle.reported(later, report("RUNNING", told("STOPPED", exit_code=4)), NOW + 2) is later
    over = lifecycle.reported(later, report("STOPPED", reason="x" * 2000), NOW + 3)
    assert (over.node_status, len(over.node_reason or "")) == (N.STOPPED, 1024)
    assert lifecycle.reported(over, report("RUNNING", told("RUNNING")), NOW + 4) is over


def test_where_ports_can_be_reached_is_kept_from_the_first_report() -> None:
    before = task(last_status=TaskStatus.ACTIVATING, containers=(app(),))
    bound = NetworkBinding(bind_ip="0.0.0.0", protocol="tcp", container_port=80, host_port=32768)
    after = lifecycle.reported(before, report("RUNNING", told("RUNNING", network_bindings=(bound,))), NOW)
    shown = {"bindIP": "0.0.0.0", "protocol": "tcp", "containerPort": 80, "hostPort": 32768}
    assert after.containers[0].bindings == (shown,)
    after = lifecycle.reported(after, report("STOPPED", told("STOPPED", exit_code=0)), NOW)
    assert after.containers[0].bindings == (shown,)


def test_what_a_report_does_not_know_is_ignored() -> None:
    before = task(S.PENDING, N.RUNNING, app("RUNNING", ran=True))
    odd = report("MANIFEST_PULLED", told("DEAD"), told("RUNNING", "nobody"), attachments=({"status": "ATTACHED"},))
    assert lifecycle.reported(before, odd, NOW) is before


@pytest.mark.parametrize(
    ("container", "ran"),
    [
        (told("RUNNING"), True),
        (told("STOPPED", exit_code=0), True),
        (told("STOPPED", exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage"), True),
        (told("STOPPED", exit_code=127, reason="CannotStartContainerError: no such file"), False),
        (told("STOPPED", reason=PULL), False),
        (told("STOPPED"), False),
        (told("PENDING"), False),
    ],
)
def test_which_reports_show_that_a_process_was_started(container: ContainerReport, ran: bool) -> None:
    assert lifecycle.reported(task(), report("PENDING", container), NOW).containers[0].ran is ran


def test_a_node_that_comes_back_confirms_and_changes_nothing_else() -> None:
    before = task(S.STOPPED, N.RUNNING, app("STOPPED", ran=True), lost=True, **STOPPING)
    after = lifecycle.reported(before, report("STOPPED", told("STOPPED", exit_code=1)), NOW)
    assert after == replace(before, node_status=N.STOPPED)
    assert lifecycle.reported(before, report("RUNNING"), NOW) is before
