"""What the control plane is told, report by report, until it knows everything."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from agent_world import CLUSTER, INTERFACE, TASK, TASK_ID, container

from homeport.agent.actions import NETWORK, Detach, Pull, Start
from homeport.agent.drivers import Image
from homeport.agent.plan import Container, Facts, TaskGoal, TaskSeen
from homeport.agent.report import OUT_OF_MEMORY, VANISHED, Acknowledged, acknowledge, next_report, reason, runtime_id
from homeport.agentapi import ContainerReport, TaskReport, TaskSpec

IMAGE = Image(reference="web:1", digest="sha256:1")
NONE = Container()
CREATED = Container(state="created", image=IMAGE, present=True)
RUNNING = Container(state="running", image=IMAGE, present=True)
STOPPED = Container(state="stopped", image=IMAGE, present=True, exit_code=3, finished_at=50.0)
FAILED = Container(state="failed", error="CannotPullContainerError: no")
HALF_STARTED = Container(state="failed", image=IMAGE, present=True, error="CannotStartContainerError: no")

ATTACHED = ({"attachmentArn": INTERFACE.attachment_arn, "status": "ATTACHED"},)
NOTHING = Acknowledged()
KNOWN = Acknowledged(task="RUNNING", containers={"web": "RUNNING", "side": "RUNNING"}, attached=True)


def goal(stop: bool = False, network: bool = True) -> TaskGoal:
    containers = (container("web"), container("side", essential=False))
    interface = INTERFACE if network else None
    spec = TaskSpec("web", 1, "us-east-1", "us-east-1a", containers=containers, interface=interface)
    return TaskGoal(arn=TASK, cluster=CLUSTER, task_id=TASK_ID, spec=spec, stop=stop)


def reports(
    of: TaskGoal, web: Container, side: Container, known: Acknowledged = NOTHING, busy: Any = None, **facts: Any
) -> list[TaskReport]:
    """All that is told, one after the other, when nothing else happens."""
    state = Facts(containers={"web": web, "side": side}, **({"network": "attached"} | facts))
    now = TaskSeen(now=100.0, facts=state, busy=busy or {})
    told: list[TaskReport] = []
    while (report := next_report(of, now, known)) is not None:
        told.append(report)
        known = acknowledge(known, report)
        assert len(told) < 10
    return told


def brief(told: list[TaskReport]) -> list[tuple[str, dict[str, str]]]:
    return [(r.status, {c.container_name: c.status for c in r.containers}) for r in told]


def test_digests_that_others_wait_for_are_told_before_the_images_are_here() -> None:
    resolved, pulled = Container(digest="sha256:1"), Container(image=IMAGE)
    assert reports(goal(), resolved, pulled) == [], "nobody waits"
    first = msgspec.structs.replace(goal(), spec=msgspec.structs.replace(goal().spec, first=True))
    assert reports(first, NONE, NONE) == []
    told = reports(first, resolved, pulled)
    assert brief(told) == [("PENDING", {"web": "PENDING", "side": "PENDING"})]
    assert [c.image_digest for c in told[0].containers] == ["sha256:1", "sha256:1"]
    known = acknowledge(NOTHING, told[0])
    assert known.containers == {}, "none of them has been started"
    assert reports(first, pulled, pulled, known) == [], "once"
    assert brief(reports(first, RUNNING, RUNNING, known))[0] == ("RUNNING", {"web": "RUNNING", "side": "RUNNING"})
    assert brief(reports(first, resolved, FAILED, network="detached"))[-1][0] == "PENDING"


def test_nothing_is_told_before_anything_happened() -> None:
    assert reports(goal(), NONE, NONE, network="none") == []
    assert reports(goal(), NONE, NONE) == []
    assert reports(goal(), RUNNING, RUNNING, KNOWN) == []


def test_an_interface_is_told_at_once_only_where_a_pull_goes_on() -> None:
    (report,) = reports(goal(), NONE, NONE, busy={"web": Pull("web")}, pull_started_at=9.0)
    assert report == TaskReport(CLUSTER, TASK, "PENDING", attachments=ATTACHED, pull_started_at=9.0)
    (report,) = reports(goal(), RUNNING, NONE)
    assert report.attachments == ATTACHED
    (report,) = reports(goal(network=False), RUNNING, NONE, busy={"side": Pull("side")})
    assert report.attachments == ()


def test_a_task_is_running_when_all_its_containers_have_been() -> None:
    assert brief(reports(goal(), RUNNING, CREATED)) == [("PENDING", {"web": "RUNNING"})]
    assert brief(reports(goal(), RUNNING, RUNNING)) == [("RUNNING", {"web": "RUNNING", "side": "RUNNING"})]
    assert brief(reports(goal(), RUNNING, STOPPED)) == [
        ("RUNNING", {"web": "RUNNING", "side": "RUNNING"}),
        ("RUNNING", {"side": "STOPPED"}),
    ]


def test_what_was_missed_is_told_step_by_step() -> None:
    assert brief(reports(goal(), STOPPED, STOPPED, network="detached")) == [
        ("RUNNING", {"web": "RUNNING", "side": "RUNNING"}),
        ("STOPPED", {"web": "STOPPED", "side": "STOPPED"}),
    ]
    assert brief(reports(goal(stop=True), NONE, STOPPED, network="detached")) == [
        ("PENDING", {"web": "STOPPED", "side": "RUNNING"}),
        ("STOPPED", {"side": "STOPPED"}),
    ]


def test_a_task_is_stopped_only_without_process_and_address() -> None:
    assert brief(reports(goal(), STOPPED, RUNNING, KNOWN)) == [("RUNNING", {"web": "STOPPED"})]
    assert brief(reports(goal(), STOPPED, STOPPED, KNOWN)) == [("RUNNING", {"web": "STOPPED", "side": "STOPPED"})]
    detaching = {NETWORK: Detach()}
    assert reports(goal(), STOPPED, STOPPED, KNOWN, busy=detaching, network="detached")[-1].status == "RUNNING"
    assert reports(goal(stop=True), NONE, CREATED, busy={"side": Start("side")}, network="detached") == []
    assert brief(reports(goal(stop=True), NONE, NONE, network="detached")) == [
        ("STOPPED", {"web": "STOPPED", "side": "STOPPED"})
    ]
    assert brief(reports(goal(stop=True, network=False), NONE, NONE)) == [
        ("STOPPED", {"web": "STOPPED", "side": "STOPPED"})
    ]


def test_a_failed_start_is_told_when_no_process_is_left_of_it() -> None:
    assert brief(reports(goal(), RUNNING, HALF_STARTED)) == [("RUNNING", {"web": "RUNNING"})]
    assert brief(reports(goal(), RUNNING, FAILED)) == [("RUNNING", {"web": "RUNNING", "side": "STOPPED"})]
    assert brief(reports(goal(), HALF_STARTED, RUNNING)) == [("PENDING", {"side": "RUNNING"})]


def test_a_task_of_which_nothing_ran_was_never_running() -> None:
    spec = TaskSpec(
        "f", 1, "r", "z", containers=(container("web", essential=False), container("side", essential=False))
    )
    of = TaskGoal(arn=TASK, cluster=CLUSTER, task_id=TASK_ID, spec=spec)
    assert brief(reports(of, FAILED, FAILED)) == [("STOPPED", {"web": "STOPPED", "side": "STOPPED"})]


def test_what_a_report_says() -> None:
    known = Acknowledged(task="RUNNING", containers={"web": "RUNNING", "side": "RUNNING"}, attached=True)
    side = Container(state="lost", image=IMAGE, finished_at=40.0)
    facts = {"network": "detached", "failure": "why", "pull_started_at": 1.0, "pull_stopped_at": 2.0}
    assert reports(goal(), STOPPED, side, known, **facts) == [
        TaskReport(
            cluster=CLUSTER,
            task=TASK,
            status="STOPPED",
            reason="why",
            containers=(
                ContainerReport("web", "STOPPED", f"{TASK_ID}-0", exit_code=3, image_digest="sha256:1"),
                ContainerReport("side", "STOPPED", f"{TASK_ID}-1", reason=VANISHED, image_digest="sha256:1"),
            ),
            pull_started_at=1.0,
            pull_stopped_at=2.0,
            execution_stopped_at=50.0,  # of the essential one
        )
    ]


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (RUNNING, None),
        (STOPPED, None),
        (FAILED, "CannotPullContainerError: no"),
        (Container(state="stopped", exit_code=137, oom=True), OUT_OF_MEMORY),
        (Container(state="lost"), VANISHED),
    ],
)
def test_reason(one: Container, text: str | None) -> None:
    assert reason(one) == text


def test_nothing_is_told_after_stopped() -> None:
    known = Acknowledged(task="STOPPED")
    assert reports(goal(stop=True), STOPPED, STOPPED, known, network="detached") == []


def test_runtime_ids_have_no_double_dashes() -> None:
    assert [runtime_id(goal(), name) for name in ("web", "side")] == [f"{TASK_ID}-0", f"{TASK_ID}-1"]
