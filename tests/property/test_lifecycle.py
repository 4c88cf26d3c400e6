"""Whatever is told about a task, in whatever order and however often: it only moves forward, and it ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from homeport.agentapi import ContainerReport, TaskReport
from homeport.services.ecs import lifecycle
from homeport.services.ecs.lifecycle import DeleteInterface, FreeRoom
from homeport.services.ecs.model.task import Attachment, Container, Task, TaskStatus

NAMES = ("app", "side", "nobody")
REASONS = (None, "CannotPullContainerError: x", "OutOfMemoryError: Container killed due to memory usage", "odd")
ORDER = {"PENDING": 0, "RUNNING": 1, "STOPPED": 2}

container_reports = st.builds(
    ContainerReport,
    container_name=st.sampled_from(NAMES),
    status=st.sampled_from(("PENDING", "RUNNING", "STOPPED", "odd")),
    exit_code=st.one_of(st.none(), st.integers(0, 255)),
    reason=st.sampled_from(REASONS),
    runtime_id=st.one_of(st.none(), st.just("r")),
)
reports = st.builds(
    TaskReport,
    cluster=st.just("c"),
    task=st.just("t"),
    status=st.sampled_from(("", "PENDING", "RUNNING", "STOPPED", "odd")),
    reason=st.sampled_from(REASONS),
    containers=st.lists(container_reports, max_size=3).map(tuple),
    attachments=st.sampled_from(((), ({"attachmentArn": "x/a", "status": "ATTACHED"},))),
)
events = st.one_of(reports, st.sampled_from(("step", "step", "stop", "lose", "ack")))


def fresh(*, fargate: bool, placed: bool) -> Task:
    return Task(
        id="t",
        cluster_arn="arn:aws:ecs:r:a:cluster/c",
        definition_arn="arn:aws:ecs:r:a:task-definition/f:1",
        launch_type="FARGATE" if fargate else "EC2",
        group="g",
        cpu=1,
        memory=1,
        created_at=0.0,
        containers=(Container(id="1", name="app"), Container(id="2", name="side", essential=False)),
        attachments=(Attachment(id="a", details={"networkInterfaceId": "eni"}),) if fargate else (),
        instance="i" if placed else None,
        charged=placed,
    )


def turn(task: Task, now: float) -> Task:
    """One step, with the effects that it asks for; each of them is asked for once."""
    wanted = lifecycle.step(task, now)
    match wanted:
        case DeleteInterface():
            assert task.interface_id is not None
            return lifecycle.interface_deleted(task)
        case FreeRoom():
            assert task.charged
            return lifecycle.room_freed(task)
    return task if wanted is None else wanted


def apply(task: Task, event: TaskReport | str, now: float) -> Task:
    if isinstance(event, TaskReport):
        return lifecycle.reported(task, event, now)
    if event == "stop":
        return lifecycle.request_stop(task, "UserInitiated", "why", now)
    if event == "lose":
        return lifecycle.lose(task, now)
    return lifecycle.handed(task) if event == "ack" else turn(task, now)


def check(before: Task, after: Task, event: TaskReport | str) -> None:
    assert after.last_status >= before.last_status
    if event != "step":
        assert after.last_status == before.last_status  # only step writes it
    assert after.node_status >= before.node_status
    assert (before.desired_status, after.desired_status) != ("STOPPED", "RUNNING")
    assert after.version >= before.version
    for was, is_now in zip(before.containers, after.containers, strict=True):
        assert ORDER[is_now.status] >= ORDER[was.status]
        assert is_now.ran >= was.ran
        if was.status == "STOPPED":
            assert is_now == was
    for name in ("started_at", "stopping_at", "stopped_at", "execution_stopped_at", "stop_code", "stopped_reason"):
        if getattr(before, name) is not None:
            assert getattr(after, name) == getattr(before, name)
    if after.last_status > TaskStatus.RUNNING:
        assert after.desired_status == "STOPPED"
        assert after.stop_code
    if after.last_status == TaskStatus.RUNNING:
        assert after.started_at is not None
    if after.last_status == TaskStatus.STOPPED:
        assert after.stopped_at is not None
        assert after.interface_id is None
        assert lifecycle.gone(after)
        assert all(c.status == "STOPPED" for c in after.containers)


@given(st.lists(events, max_size=40), st.booleans(), st.booleans())
def test_any_history_moves_forward_and_ends(history: list[TaskReport | str], fargate: bool, placed: bool) -> None:
    task, now = fresh(fargate=fargate, placed=placed), 1.0
    for event in history:
        now += 1.0
        after = apply(task, event, now)
        check(task, after, event)
        task = after
    task = lifecycle.request_stop(task, "UserInitiated", "end", now)
    over = TaskReport(cluster="c", task="t", status="STOPPED")
    task = lifecycle.reported(task, over, now) if placed else task
    for _ in range(20):
        after = turn(task, now)
        check(task, after, "step")
        task = after
    assert task.last_status == TaskStatus.STOPPED
    assert not task.charged or not placed
    assert lifecycle.step(task, now) is None


@given(st.lists(reports, max_size=10))
def test_a_repeated_report_changes_nothing(history: list[TaskReport]) -> None:
    task = fresh(fargate=True, placed=True)
    for report in history:
        task = lifecycle.reported(task, report, 1.0)
        assert lifecycle.reported(task, report, 2.0) == task


@given(st.lists(reports, max_size=10))
def test_a_process_that_was_started_has_been_running(history: list[TaskReport]) -> None:
    """Whatever was told before its end: where a process ran and nothing failed to start, startedAt is set."""
    task = fresh(fargate=True, placed=True)
    for report in history:
        task = lifecycle.reported(task, report, 1.0)
    task = lifecycle.reported(task, TaskReport(cluster="c", task="t", status="STOPPED"), 1.0)
    seen = {task.last_status}
    started = any(c.ran for c in task.containers)
    failed = any(c.status == "STOPPED" and not c.ran and c.reason for c in task.containers)
    for _ in range(20):
        task = turn(task, 2.0)
        seen.add(task.last_status)
    assert (TaskStatus.RUNNING in seen) == (started and not failed)
    assert (task.started_at is not None) == (started and not failed)
