"""What an agent does next for one task. Pure: from what is wanted and what is seen to one action.

A task has several *slots* in each of which one call may be under way: one per container, one for the network, one for
the task as a whole, one for its state file and one for its reports. ``advance`` returns an action for a free slot, or
None when nothing can be begun now; ``wake_at`` says when time alone would change that. So independent containers start
side by side, an image is fetched while the network is made, and still every decision is one small function of data.

Facts only move forward: a container that is over stays over, and so a task that began to stop stays stopping.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from homeport.agent import health
from homeport.agent.actions import (
    HEALTH,
    NETWORK,
    REPORT,
    STATE,
    TASK,
    Action,
    Attach,
    Cancel,
    Check,
    Create,
    Detach,
    Fail,
    Kill,
    Pull,
    Remove,
    RemoveTask,
    Report,
    Restart,
    Save,
    Start,
)
from homeport.agent.defect import unresolved
from homeport.agent.drivers import Image, Observed
from homeport.agent.health import Health
from homeport.agent.mounting import lenders
from homeport.agent.network import ContainerNetwork
from homeport.agentapi import ContainerSpec, Dependency, TaskReport, TaskSpec

SIGKILL = 9
KILL_AGAIN = 10.0  # seconds after which a SIGKILL that had no effect is repeated
RETRY_FIRST, RETRY_FACTOR, RETRY_MOST = 0.25, 1.5, 30.0  # seconds; what failed and must succeed is tried again

State = Literal["none", "created", "running", "exited", "stopped", "lost", "failed"]
_RANK: dict[State, int] = {"none": 0, "created": 1, "running": 2, "exited": 2, "stopped": 3, "lost": 3, "failed": 3}


class Container(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Facts about one container. ``state`` is the runtime's, with ``none`` before, ``failed`` for one that could not be
    pulled, created or started (``error`` says why) and ``exited`` for one that has ended and will be restarted; it has
    been ``restarts`` times. ``digest``: what its image's name stands for, where that had to be told before it is here.
    ``present``: the runtime may hold something of it. ``*_at`` are epoch seconds;
    ``running_since``, ``check_due`` (the next health check), ``signalled`` (stop signal sent) and ``killed`` (SIGKILL
    last sent) are monotonic seconds, which Linux counts from boot for all processes, so they outlive the agent."""

    state: State = "none"
    image: Image | None = None
    digest: str | None = None
    present: bool = False
    created_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    oom: bool = False
    error: str | None = None
    running_since: float | None = None
    signalled: float | None = None
    killed: float | None = None
    restarts: int = 0
    health: Health = Health()
    check_due: float | None = None

    @property
    def over(self) -> bool:
        return _RANK[self.state] == 3

    @property
    def started(self) -> bool:
        """It has been RUNNING, however briefly."""
        return self.state in ("running", "exited", "stopped", "lost")


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a task on this node; what is saved. ``failure``: why the task as a whole cannot go on.
    ``cleaned``: nothing of it is left in the runtime."""

    containers: dict[str, Container]
    network: Literal["none", "attached", "detached"] = "none"
    netns: str | None = None
    networks: dict[str, ContainerNetwork] = {}  # of containers that don't share one interface
    failure: str | None = None
    pull_started_at: float | None = None
    pull_stopped_at: float | None = None
    cleaned: bool = False

    def with_container(self, name: str, container: Container) -> Facts:
        return msgspec.structs.replace(self, containers={**self.containers, name: container})


class TaskGoal(msgspec.Struct, frozen=True, kw_only=True):
    """What the control plane wants: the task running, or (``stop``) stopped."""

    arn: str
    cluster: str
    task_id: str
    spec: TaskSpec
    stop: bool = False

    def container(self, name: str) -> ContainerSpec:
        return next(c for c in self.spec.containers if c.name == name)


class Retry(msgspec.Struct, frozen=True):
    """A call that failed ``failures`` times in a row and is not repeated before ``at`` (monotonic seconds)."""

    failures: int
    at: float


class TaskSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What is known now. ``busy``: the action under way in a slot. ``saved``: everything that must outlive the agent is
    on disk. ``reportable`` is the next report to send, if any (see ``report.next_report``)."""

    now: float
    facts: Facts
    busy: dict[str, Action] = {}
    retry: dict[str, Retry] = {}
    saved: bool = True
    reportable: TaskReport | None = None


def advance(goal: TaskGoal, seen: TaskSeen) -> Action | None:
    """The next action for the task, in a slot that is free; None: wait for an event or until ``wake_at``."""
    if not seen.saved and _free(seen, STATE):
        return Save()
    if seen.reportable is not None and _free(seen, REPORT):
        return Report(seen.reportable)
    return _stop(goal, seen) if stopping(goal, seen.facts) else _run(goal, seen)


def wake_at(goal: TaskGoal, seen: TaskSeen) -> float | None:
    """When to look again if nothing happens before (monotonic seconds, later than ``seen.now``)."""
    times = [retry.at for retry in seen.retry.values()]
    if stopping(goal, seen.facts):
        for spec in goal.spec.containers:
            c = seen.facts.containers[spec.name]
            if c.state == "running" and c.signalled is not None:
                times.append(_kill_at(spec, c, c.signalled))
    else:
        for spec in goal.spec.containers:
            c = seen.facts.containers[spec.name]
            if not c.started:
                times += [t for d in spec.depends_on if (t := _gives_up_at(goal, seen.facts, d)) is not None]
            if (due := check_due(spec, c)) is not None:
                times.append(due)
    return min((t for t in times if t > seen.now), default=None)


def stopping(goal: TaskGoal, facts: Facts) -> bool:
    """The task is on its way to STOPPED: asked to, failed, an essential container ended, or all did."""
    if goal.stop or facts.failure is not None:
        return True
    containers = facts.containers
    if any(spec.essential and containers[spec.name].over for spec in goal.spec.containers):
        return True
    return all(c.over for c in containers.values())


def ended(goal: TaskGoal, seen: TaskSeen) -> bool:
    """The task is stopping, nothing of it runs and nothing of it can start any more."""
    return stopping(goal, seen.facts) and not any(
        c.state == "running" or (c.state == "failed" and c.present) or isinstance(seen.busy.get(name), _RAISING)
        for name, c in seen.facts.containers.items()
    )


def network_gone(goal: TaskGoal, seen: TaskSeen) -> bool:
    return not goal.spec.networked or (seen.facts.network == "detached" and NETWORK not in seen.busy)


def finished(goal: TaskGoal, seen: TaskSeen) -> bool:
    """Nothing of the task is left on this node."""
    return ended(goal, seen) and seen.facts.cleaned


def initial(spec: TaskSpec, failure: str | None = None) -> Facts:
    return Facts(containers={c.name: Container() for c in spec.containers}, failure=failure)


def fold(container: Container, seen: Observed | None, now: float) -> Container:
    """The container after a look at the runtime (None: it isn't there). A look that is older than what is known
    changes nothing. ``now``: monotonic seconds."""
    if seen is None:
        if container.state == "running":
            return msgspec.structs.replace(container, state="lost", present=False)
        return container
    if container.state == "exited" or _RANK[seen.state] <= _RANK[container.state]:
        return container
    return msgspec.structs.replace(
        container,
        state=seen.state,
        present=True,
        started_at=container.started_at or seen.started_at,
        finished_at=seen.finished_at,
        exit_code=seen.exit_code,
        oom=seen.oom,
        running_since=now if container.running_since is None and seen.state != "created" else container.running_since,
    )


def settled(goal: TaskGoal, facts: Facts, name: str, container: Container) -> Container:
    """The container after it was looked at: one that has ended is ``exited`` where its restart policy has it run again,
    which keeps the task alive even where it is essential.

    As in ECS: not after an ignored exit code, and only if it ran for at least the policy's period.
    """
    policy = goal.container(name).restart_policy
    if container.state != "stopped" or policy is None or stopping(goal, facts.with_container(name, _ALIVE)):
        return container
    if container.exit_code is None or container.exit_code in policy.ignored_exit_codes:
        return container
    if container.started_at is None or container.finished_at is None:
        return container
    ran = container.finished_at - container.started_at
    return msgspec.structs.replace(container, state="exited") if ran >= policy.period else container


def restarted(container: Container, seen: Observed, now: float) -> Container:
    """The container once it runs again; what is known of its run before is past. ``now``: monotonic seconds."""
    return Container(
        state="running",
        image=container.image,
        present=True,
        created_at=container.created_at,
        started_at=seen.started_at,
        running_since=now,
        restarts=container.restarts + 1,
    )


def check_due(spec: ContainerSpec, c: Container) -> float | None:
    """When the container's next health check is due (monotonic seconds); None: none is made of it."""
    check = spec.health_check
    if check is None or not health.checked(check) or c.state != "running" or c.running_since is None:
        return None
    return c.check_due if c.check_due is not None else c.running_since + check.interval


def again(retry: Retry | None, now: float) -> Retry:
    """When to repeat a call that just failed."""
    failures = retry.failures + 1 if retry else 1
    return Retry(failures, now + min(RETRY_MOST, RETRY_FIRST * RETRY_FACTOR ** min(failures - 1, 20)))


_ALIVE = Container(state="running")
_RAISING = (Pull, Create, Start, Restart)  # calls after which a container may be closer to running


def _run(goal: TaskGoal, seen: TaskSeen) -> Action | None:
    facts = seen.facts
    unmade = any(c.state == "none" for c in facts.containers.values())
    if goal.spec.networked and facts.network == "none" and unmade and _free(seen, NETWORK):
        return Attach()
    for spec in goal.spec.containers:
        action = _bring_up(goal, seen, spec) or _check(seen, spec)
        if action is not None:
            return action
    return None


def _check(seen: TaskSeen, spec: ContainerSpec) -> Action | None:
    due = check_due(spec, seen.facts.containers[spec.name])
    return Check(spec.name) if due is not None and due <= seen.now and _free(seen, spec.name + HEALTH) else None


def _bring_up(goal: TaskGoal, seen: TaskSeen, spec: ContainerSpec) -> Action | None:
    c = seen.facts.containers[spec.name]
    if not _free(seen, spec.name):
        return None
    if c.state == "failed" and c.present and seen.saved:
        return Remove(spec.name)  # a start that failed may have left a process
    if c.state == "exited":
        return Restart(spec.name) if seen.saved else None
    if c.over or c.state == "running":
        return None
    needs = [(d.condition, _dependency(goal, seen, d)) for d in spec.depends_on]
    if any(state == "broken" for _, state in needs):
        return Fail(spec.name, unresolved(goal.arn))
    met = all(state == "met" for _, state in needs)
    if c.state == "created":
        return Start(spec.name) if met else None
    if any(state == "waiting" and condition != "START" for condition, state in needs):
        # As Amazon's agent by default, what waits for an end isn't even pulled before, but for its digest.
        return Pull(spec.name) if goal.spec.first and c.image is None else None
    if c.image is None:
        return Pull(spec.name)
    if not seen.saved or (goal.spec.networked and seen.facts.network != "attached"):
        return None
    made = all(seen.facts.containers[lender].state != "none" for lender in lenders(spec))
    return Create(spec.name) if made else None


def _dependency(goal: TaskGoal, seen: TaskSeen, need: Dependency) -> Literal["met", "waiting", "broken"]:
    c = seen.facts.containers[need.container_name]
    if c.state == "failed":
        return "broken"
    if need.condition == "START":
        return "met" if c.started else "waiting"
    if need.condition == "HEALTHY":
        if c.over or not health.checked(goal.container(need.container_name).health_check):
            return "broken"  # it can't become healthy any more
        if c.state == "running" and c.health.status == "HEALTHY":
            return "met"
    elif c.over:
        return "met" if need.condition == "COMPLETE" or c.exit_code == 0 else "broken"
    gives_up = _gives_up_at(goal, seen.facts, need)
    return "broken" if gives_up is not None and seen.now >= gives_up else "waiting"


def _gives_up_at(goal: TaskGoal, facts: Facts, need: Dependency) -> float | None:
    """``startTimeout`` of the container that is waited for, counted from its start."""
    c = facts.containers[need.container_name]
    if need.condition == "START" or c.over or c.running_since is None:
        return None
    timeout = goal.container(need.container_name).start_timeout
    return c.running_since + timeout if timeout else None


def _stop(goal: TaskGoal, seen: TaskSeen) -> Action | None:
    for spec in goal.spec.containers:
        action = _bring_down(goal, seen, spec)
        if action is not None:
            return action
    return _clean_up(goal, seen)


def _bring_down(goal: TaskGoal, seen: TaskSeen, spec: ContainerSpec) -> Action | None:
    c = seen.facts.containers[spec.name]
    if isinstance(seen.busy.get(spec.name), Pull):
        return Cancel(spec.name)
    if c.state != "running" or not _free(seen, spec.name) or _needed(goal, seen, spec.name):
        return None
    if c.signalled is None:
        known = seen.saved or STATE in seen.retry or (spec.essential and not spec.restart_policy)
        # An agent that starts and doesn't know of the stop would restart it, or start what waited for its end.
        return Kill(spec.name) if known else None
    return Kill(spec.name, SIGKILL) if seen.now >= _kill_at(spec, c, c.signalled) else None


def _needed(goal: TaskGoal, seen: TaskSeen, name: str) -> bool:
    """A container that depends on it still runs, or is just being started."""
    return any(
        seen.facts.containers[other.name].state == "running" or isinstance(seen.busy.get(other.name), Start | Restart)
        for other in goal.spec.containers
        if any(d.container_name == name for d in other.depends_on)
    )


def _kill_at(spec: ContainerSpec, c: Container, signalled: float) -> float:
    return signalled + spec.stop_timeout if c.killed is None else c.killed + KILL_AGAIN


def _clean_up(goal: TaskGoal, seen: TaskSeen) -> Action | None:
    facts = seen.facts
    if any(c.state == "running" or isinstance(seen.busy.get(n), _RAISING) for n, c in facts.containers.items()):
        return None
    present = [name for name, c in facts.containers.items() if c.present]
    for name in present:
        if seen.saved and _free(seen, name):
            return Remove(name)
    unstarted = any(facts.containers[name].state in ("created", "failed") for name in present)
    if not unstarted and not network_gone(goal, seen):  # a created container's process sits in the namespace
        return Detach() if _free(seen, NETWORK) else None
    if not present and not facts.cleaned and _free(seen, TASK):
        return RemoveTask()
    return None


def _free(seen: TaskSeen, where: str) -> bool:
    retry = seen.retry.get(where)
    return where not in seen.busy and (retry is None or retry.at <= seen.now)
