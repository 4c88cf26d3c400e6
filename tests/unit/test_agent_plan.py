"""The agent's decisions, case by case: what is wanted and seen, and the one action that follows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from agent_world import CLUSTER, INTERFACE, TASK, TASK_ID, container

from homeport.agent import plan
from homeport.agent.actions import (
    NETWORK,
    REPORT,
    STATE,
    Action,
    Attach,
    Cancel,
    Create,
    Detach,
    Fail,
    Kill,
    Pull,
    Remove,
    RemoveTask,
    Report,
    Save,
    Start,
    slot,
)
from homeport.agent.actions import (
    TASK as TASK_SLOT,
)
from homeport.agent.defect import defect
from homeport.agent.drivers import Image, Observed
from homeport.agent.plan import (
    Container,
    Facts,
    Retry,
    TaskGoal,
    TaskSeen,
    advance,
    again,
    fold,
    initial,
    wake_at,
)
from homeport.agentapi import ContainerSpec, TaskReport, TaskSpec, VolumeFrom

IMAGE = Image(reference="web:1", digest="sha256:1")
NONE = Container()
PULLED = Container(image=IMAGE)
CREATED = Container(state="created", image=IMAGE, present=True)
RUNNING = Container(state="running", image=IMAGE, present=True, running_since=100.0)
SIGNALLED = Container(state="running", image=IMAGE, present=True, running_since=100.0, signalled=1000.0)
KILLED = Container(state="running", image=IMAGE, present=True, running_since=100.0, signalled=900.0, killed=1000.0)
STOPPED = Container(state="stopped", image=IMAGE, present=True, running_since=100.0, exit_code=0)
BAD_EXIT = Container(state="stopped", image=IMAGE, present=True, running_since=100.0, exit_code=1)
REMOVED = Container(state="stopped", image=IMAGE, exit_code=0)
FAILED = Container(state="failed", error="CannotPullContainerError: no")
HALF_STARTED = Container(state="failed", image=IMAGE, present=True, error="CannotStartContainerError: no")
LOST = Container(state="lost", image=IMAGE, present=True, running_since=100.0)
REPORTABLE = TaskReport(cluster=CLUSTER, task=TASK, status="RUNNING")
UNMET = f"TaskDependencyError: Task dependencies cannot be resolved, taskArn: {TASK}"

WEB = (container("web", stop_timeout=30),)
PAIR = (container("web"), container("side", essential=False))


def chain(condition: str, start_timeout: int = 0) -> tuple[ContainerSpec, ...]:
    """``app`` depends on ``init``."""
    first = container("init", essential=False, start_timeout=start_timeout)
    return container("app", after=(("init", condition),)), first


def borrower(name: str, lender: str) -> ContainerSpec:
    """``name`` sees the volumes of ``lender``."""
    return msgspec.structs.replace(container(name), volumes_from=(VolumeFrom(lender),))


def goal(containers: tuple[ContainerSpec, ...], stop: bool = False, network: bool = True) -> TaskGoal:
    interface = INTERFACE if network else None
    spec = TaskSpec("web", 1, "us-east-1", "us-east-1a", containers=containers, interface=interface)
    return TaskGoal(arn=TASK, cluster=CLUSTER, task_id=TASK_ID, spec=spec, stop=stop)


def first(containers: tuple[ContainerSpec, ...]) -> TaskGoal:
    made = goal(containers)
    return msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, first=True))


def seen(*containers: Container, of: TaskGoal, facts: dict[str, Any] | None = None, **more: Any) -> TaskSeen:
    names = [spec.name for spec in of.spec.containers]
    known = Facts(containers=dict(zip(names, containers, strict=True)), **({"network": "attached"} | (facts or {})))
    return TaskSeen(**({"now": 1000.0, "facts": known} | more))


Case = tuple[str, TaskGoal, TaskSeen, Action | None]


def case(
    name: str,
    of: TaskGoal,
    *containers: Container,
    then: Action | None,
    facts: dict[str, Any] | None = None,
    **more: Any,
) -> Case:
    return name, of, seen(*containers, of=of, facts=facts, **more), then


UNATTACHED = {"network": "none"}
UNSAVED: dict[str, Any] = {"saved": False, "busy": {STATE: Save()}}
NO_DISK = {STATE: Retry(1, 1001.0)}
GONE = {"network": "detached"}
RUN, STOP, RUN_PAIR, STOP_PAIR = goal(WEB), goal(WEB, stop=True), goal(PAIR), goal(PAIR, stop=True)

RAISING = [
    case("first the network", RUN, NONE, then=Attach(), facts=UNATTACHED),
    case("the image beside it", RUN, NONE, then=Pull("web"), facts=UNATTACHED, busy={NETWORK: Attach()}),
    case("no container without network", RUN, PULLED, then=None, facts=UNATTACHED, busy={NETWORK: Attach()}),
    case("no container before the task is on disk", RUN, PULLED, then=None, saved=False, busy={STATE: Save()}),
    case("create", RUN, PULLED, then=Create("web")),
    case("start", RUN, CREATED, then=Start("web")),
    case("one call at a time", RUN, CREATED, then=None, busy={"web": Start("web")}),
    case("it runs", RUN, RUNNING, then=None),
    case("no network is made again for what runs", RUN, RUNNING, then=None, facts=UNATTACHED),
    case("no network where none is wanted", goal(WEB, network=False), PULLED, then=Create("web"), facts=UNATTACHED),
    case("containers beside each other", RUN_PAIR, NONE, NONE, then=Pull("side"), busy={"web": Pull("web")}),
    case("not before the retry", RUN, CREATED, then=None, retry={"web": Retry(1, 1000.5)}),
    case("at the retry", RUN, CREATED, then=Start("web"), retry={"web": Retry(1, 1000.0)}),
]
SAVING = [
    case("save first", RUN, NONE, then=Save(), saved=False),
    case("report", RUN, RUNNING, then=Report(REPORTABLE), reportable=REPORTABLE),
    case("one report at a time", RUN, RUNNING, then=None, reportable=REPORTABLE, busy={REPORT: Report(REPORTABLE)}),
    case("save again later", RUN, RUNNING, then=None, saved=False, retry=NO_DISK),
]
BORROW = goal((borrower("app", "init"), container("init", essential=False)))
ORDER = [
    case("volumes of another: pulled beside it", BORROW, NONE, NONE, then=Pull("app")),
    case("volumes of another: waits", BORROW, PULLED, PULLED, then=None, busy={"init": Create("init")}),
    case("volumes of another: once they are made", BORROW, PULLED, CREATED, then=Create("app")),
    case("START: prepared beside it", goal(chain("START")), NONE, RUNNING, then=Pull("app")),
    case("START: created beside it", goal(chain("START")), PULLED, CREATED, then=Create("app")),
    case("START: waits", goal(chain("START")), CREATED, CREATED, then=None, busy={"init": Start("init")}),
    case("START: met", goal(chain("START")), CREATED, RUNNING, then=Start("app")),
    case("START: met by one that is over", goal(chain("START")), CREATED, BAD_EXIT, then=Start("app")),
    case("START: broken", goal(chain("START")), CREATED, FAILED, then=Fail("app", UNMET)),
    case("COMPLETE: not even pulled", goal(chain("COMPLETE")), NONE, RUNNING, then=None),
    case("COMPLETE: pulled where its digest is waited for", first(chain("COMPLETE")), NONE, RUNNING, then=Pull("app")),
    case("COMPLETE: pulled, and no more", first(chain("COMPLETE")), PULLED, RUNNING, then=None),
    case("COMPLETE: met", goal(chain("COMPLETE")), NONE, BAD_EXIT, then=Pull("app")),
    case("COMPLETE: met by a lost one", goal(chain("COMPLETE")), NONE, LOST, then=Pull("app")),
    case("COMPLETE: broken", goal(chain("COMPLETE")), NONE, FAILED, then=Fail("app", UNMET)),
    case("COMPLETE: in time", goal(chain("COMPLETE", 901)), NONE, RUNNING, then=None),
    case("COMPLETE: too late", goal(chain("COMPLETE", 900)), NONE, RUNNING, then=Fail("app", UNMET)),
    case("SUCCESS: met", goal(chain("SUCCESS")), NONE, STOPPED, then=Pull("app")),
    case("SUCCESS: broken", goal(chain("SUCCESS")), NONE, BAD_EXIT, then=Fail("app", UNMET)),
    case("SUCCESS: broken by a lost one", goal(chain("SUCCESS")), NONE, LOST, then=Fail("app", UNMET)),
    case("HEALTHY: not yet", goal(chain("HEALTHY")), NONE, RUNNING, then=Fail("app", UNMET)),
]
LOWERING = [
    case("signal", STOP, RUNNING, then=Kill("web")),
    case("wait", STOP, SIGNALLED, then=None, now=1029.9),
    case("kill", STOP, SIGNALLED, then=Kill("web", 9), now=1030.0),
    case("wait for the kill", STOP, KILLED, then=None, now=1009.9),
    case("kill again", STOP, KILLED, then=Kill("web", 9), now=1010.0),
    case("one signal at a time", STOP, RUNNING, then=None, busy={"web": Kill("web")}),
    case("give up a pull", STOP, NONE, then=Cancel("web"), busy={"web": Pull("web")}),
    case("given up once", STOP, NONE, then=Detach(), busy={"web": Cancel("web")}),
    case("wait for a create", STOP, PULLED, then=None, busy={"web": Create("web")}),
    case("wait for a start", STOP, CREATED, then=None, busy={"web": Start("web")}),
    case("an essential end stops the others", RUN_PAIR, STOPPED, RUNNING, then=Kill("side")),
    case("an essential failure too", RUN_PAIR, FAILED, RUNNING, then=Kill("side")),
    case("an essential loss too", RUN_PAIR, LOST, RUNNING, then=Kill("side")),
    case("a non-essential end does not", RUN_PAIR, RUNNING, STOPPED, then=None),
    case("a failure of the task does", RUN_PAIR, RUNNING, STOPPED, then=Kill("web"), facts={"failure": "x"}),
    case("dependents first", goal(chain("START"), stop=True), RUNNING, RUNNING, then=Kill("app")),
    case("then the others", goal(chain("START"), stop=True), SIGNALLED, RUNNING, then=None),
    case("when they are over", goal(chain("START"), stop=True), STOPPED, RUNNING, then=Kill("init")),
    case(
        "not while one is being started",
        goal(chain("START"), stop=True),
        CREATED,
        RUNNING,
        then=None,
        busy={"app": Start("app")},
    ),
    # What an agent that is killed in between finds is a task that goes on, and a dependency that is met.
    case("not before it is known why", goal(chain("COMPLETE")), FAILED, RUNNING, then=None, **UNSAVED),
    case("but for what ends the task itself", STOP, RUNNING, then=Kill("web"), **UNSAVED),
    case("nor while it can't be saved", RUN_PAIR, STOPPED, RUNNING, then=Kill("side"), saved=False, retry=NO_DISK),
]
CLEANING = [
    case("not while something runs", STOP_PAIR, STOPPED, SIGNALLED, then=None),
    case("remove", STOP, STOPPED, then=Remove("web")),
    case("not before the exit code is on disk", STOP, STOPPED, then=Detach(), saved=False, busy={STATE: Save()}),
    case("the network beside it", STOP, STOPPED, then=Detach(), busy={"web": Remove("web")}),
    case("not under a created one", STOP, CREATED, then=None, busy={"web": Remove("web")}),
    case("the network last touched", STOP, REMOVED, then=Detach()),
    case("an attach under way", STOP, NONE, then=None, facts=UNATTACHED, busy={NETWORK: Attach()}),
    case("what may have been attached", STOP, NONE, then=Detach(), facts=UNATTACHED),
    case("the task's own", STOP, REMOVED, then=RemoveTask(), facts=GONE),
    case("not before its containers", STOP, STOPPED, then=None, facts=GONE, busy={"web": Remove("web")}),
    case("once", STOP, REMOVED, then=None, facts=GONE, busy={TASK_SLOT: RemoveTask()}),
    case("nothing is left", STOP, REMOVED, then=None, facts=GONE | {"cleaned": True}),
    case("without a network", goal(WEB, stop=True, network=False), REMOVED, then=RemoveTask(), facts=UNATTACHED),
    case("a failed start at once", goal(chain("START")), NONE, HALF_STARTED, then=Fail("app", UNMET)),
    case("and its process", RUN_PAIR, RUNNING, HALF_STARTED, then=Remove("side")),
    case("but saved", RUN_PAIR, RUNNING, HALF_STARTED, then=None, saved=False, busy={STATE: Save()}),
]


@pytest.mark.parametrize(
    ("of", "now", "then"),
    [pytest.param(*c[1:], id=c[0]) for c in [*RAISING, *SAVING, *ORDER, *LOWERING, *CLEANING]],
)
def test_advance(of: TaskGoal, now: TaskSeen, then: Action | None) -> None:
    assert advance(of, now) == then


@pytest.mark.parametrize(
    ("of", "now", "at"),
    [
        (RUN, seen(RUNNING, of=RUN), None),
        (STOP, seen(SIGNALLED, of=STOP), 1030.0),
        (STOP, seen(KILLED, of=STOP), 1010.0),
        (STOP, seen(SIGNALLED, of=STOP, now=1030.0, busy={"web": Kill("web", 9)}), None),
        (STOP, seen(RUNNING, of=STOP, retry={"web": Retry(1, 1002.0), REPORT: Retry(3, 1001.0)}), 1001.0),
        (goal(chain("COMPLETE", 950)), seen(NONE, RUNNING, of=goal(chain("COMPLETE", 950))), 1050.0),
        (goal(chain("COMPLETE", 0)), seen(NONE, RUNNING, of=goal(chain("COMPLETE", 0))), None),
        (goal(chain("COMPLETE", 950)), seen(RUNNING, STOPPED, of=goal(chain("COMPLETE", 950))), None),
        (goal(chain("START", 950)), seen(CREATED, CREATED, of=goal(chain("START", 950))), None),
    ],
)
def test_wake_at(of: TaskGoal, now: TaskSeen, at: float | None) -> None:
    assert wake_at(of, now) == at


@pytest.mark.parametrize(
    ("containers", "why"),
    [
        (WEB, None),
        (chain("START"), None),
        ((), "UnrecognizedTaskError: Error loading task - the task has no containers"),
        (
            (container("a"), container("a")),
            "UnrecognizedTaskError: Error loading task - two containers have the same name",
        ),
        ((container("a", after=(("a", "START"),)),), UNMET),
        ((container("a", after=(("b", "START"),)), container("b", after=(("a", "START"),))), UNMET),
        ((container("a", after=(("z", "START"),)),), UNMET),
        ((borrower("a", "b"), container("b")), None),
        ((borrower("a", "b"), borrower("b", "a")), UNMET),
        ((borrower("a", "z"),), UNMET),
    ],
)
def test_defect(containers: tuple[ContainerSpec, ...], why: str | None) -> None:
    assert defect(goal(containers).spec, TASK) == why


@pytest.mark.parametrize(
    ("before", "look", "after"),
    [
        (NONE, None, NONE),
        (CREATED, None, CREATED),
        (STOPPED, None, STOPPED),
        (RUNNING, None, msgspec.structs.replace(RUNNING, state="lost", present=False)),
        (RUNNING, Observed("i", "created"), RUNNING),
        (STOPPED, Observed("i", "running"), STOPPED),
        (FAILED, Observed("i", "running"), FAILED),
        (PULLED, Observed("i", "created"), CREATED),
        (
            CREATED,
            Observed("i", "running", started_at=5.0),
            msgspec.structs.replace(CREATED, state="running", started_at=5.0, running_since=77.0),
        ),
        (
            msgspec.structs.replace(RUNNING, started_at=5.0),
            Observed("i", "stopped", exit_code=137, started_at=6.0, finished_at=9.0, oom=True),
            msgspec.structs.replace(RUNNING, state="stopped", started_at=5.0, finished_at=9.0, exit_code=137, oom=True),
        ),
    ],
)
def test_fold(before: Container, look: Observed | None, after: Container) -> None:
    assert fold(before, look, 77.0) == after


def test_again() -> None:
    retry, delays = None, []
    for _ in range(30):
        retry = again(retry, 50.0)
        delays.append(retry.at - 50.0)
    assert delays[:3] == [0.25, 0.375, 0.5625]
    assert delays[-1] == plan.RETRY_MOST
    assert retry is not None
    assert retry.failures == 30


def test_slots() -> None:
    assert [slot(a) for a in (Attach(), Detach(), RemoveTask(), Save(), Report(REPORTABLE))] == [
        NETWORK,
        NETWORK,
        TASK_SLOT,
        STATE,
        REPORT,
    ]
    assert {
        slot(a) for a in (Pull("c"), Create("c"), Start("c"), Kill("c"), Remove("c"), Cancel("c"), Fail("c", ""))
    } == {"c"}


@pytest.mark.parametrize(
    ("of", "now", "over", "left"),
    [
        (RUN, seen(RUNNING, of=RUN), False, True),
        (STOP, seen(RUNNING, of=STOP), False, True),
        (STOP, seen(CREATED, of=STOP, busy={"web": Start("web")}), False, True),
        (STOP, seen(HALF_STARTED, of=STOP), False, True),
        (STOP, seen(CREATED, of=STOP), True, True),
        (STOP, seen(REMOVED, of=STOP, facts={"cleaned": True}), True, False),
    ],
)
def test_ended_and_finished(of: TaskGoal, now: TaskSeen, over: bool, left: bool) -> None:
    assert plan.ended(of, now) == over
    assert plan.finished(of, now) == (not left)


def test_initial() -> None:
    facts = initial(goal(PAIR).spec, "why")
    assert facts == Facts(containers={"web": NONE, "side": NONE}, failure="why")
