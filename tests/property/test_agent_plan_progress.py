"""Whatever a task looks like and whatever happens to it: its plan comes to an end, and never starts anything early."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.agent.actions import (
    NETWORK,
    REPORT,
    STATE,
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
    slot,
)
from homeport.agent.drivers import Image, Observed
from homeport.agent.health import judged
from homeport.agent.plan import (
    SIGKILL,
    Container,
    Facts,
    Retry,
    TaskGoal,
    TaskSeen,
    advance,
    again,
    ended,
    finished,
    initial,
    network_gone,
    restarted,
    settled,
    wake_at,
)
from homeport.agent.report import Acknowledged, acknowledge, next_report
from homeport.agentapi import ContainerSpec, Dependency, HealthCheck, InterfaceSpec, RestartPolicy, TaskSpec

TASK_ID = "0123456789abcdef0123456789abcdef"
TASK = f"arn:aws:ecs:us-east-1:123456789012:task/demo/{TASK_ID}"
INTERFACE = InterfaceSpec(*["x"] * 10)
CONDITIONS = ("START", "COMPLETE", "SUCCESS", "HEALTHY")


@st.composite
def specs(draw: st.DrawFn) -> TaskSpec:
    """Up to five containers that depend on earlier ones, in any order in the list."""
    containers = []
    for n in range(draw(st.integers(1, 5))):
        needs = draw(st.lists(st.tuples(st.integers(0, max(0, n - 1)), st.sampled_from(CONDITIONS)), max_size=n and 2))
        containers.append(
            ContainerSpec(
                name=f"c{n}",
                image="i",
                essential=draw(st.booleans()),
                stop_timeout=draw(st.sampled_from((0, 2, 30))),
                start_timeout=draw(st.sampled_from((0, 5))),
                health_check=draw(st.sampled_from((None, HealthCheck(("CMD", "x"), interval=5, retries=2)))),
                restart_policy=draw(st.sampled_from((None, RestartPolicy((1,), period=60)))),
                depends_on=tuple(Dependency(f"c{m}", c) for m, c in dict(needs).items()),  # type: ignore[arg-type]
            )
        )
    interface = draw(st.sampled_from((None, INTERFACE)))
    order = draw(st.permutations(containers))
    return TaskSpec("f", 1, "us-east-1", "us-east-1a", containers=tuple(order), interface=interface)


@dataclass
class Machine:
    """Carries actions out in a random order with random outcomes, and checks each."""

    goal: TaskGoal
    random: Random
    facts: Facts
    failures: int = 20  # that there will be of calls that must succeed in the end
    now: float = 0.0
    busy: dict[str, Action] = field(default_factory=dict)
    retry: dict[str, Retry] = field(default_factory=dict)
    saved: bool = False
    known: Acknowledged = field(default_factory=Acknowledged)
    started: list[str] = field(default_factory=list)

    def seen(self) -> TaskSeen:
        seen = TaskSeen(now=self.now, facts=self.facts, busy=dict(self.busy), retry=dict(self.retry), saved=self.saved)
        report = next_report(self.goal, seen, self.known) if self.saved else None
        return msgspec.structs.replace(seen, reportable=report)

    def chance(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def change(self, name: str, **changes: Any) -> None:
        before = self.facts.containers[name]
        self.facts = self.facts.with_container(name, msgspec.structs.replace(before, **changes))
        self.saved = self.saved and not (self.facts.containers[name].over and not before.over)

    def begin(self, action: Action) -> None:
        match action:
            case Fail(name, reason):
                self.change(name, state="failed", error=reason)
                self.facts = msgspec.structs.replace(self.facts, failure=reason)
                self.saved = False
                return
            case Cancel(name):
                assert isinstance(self.busy[name], Pull)
            case _:
                assert slot(action) not in self.busy
                self.check(action)
        if isinstance(action, Create):
            self.change(action.container, present=True)
        self.busy[slot(action)] = action

    def check(self, action: Action) -> None:
        containers = self.facts.containers
        match action:
            case Create(name):
                assert self.facts.network == "attached" or self.goal.spec.interface is None
                assert containers[name].image is not None
            case Start(name):
                assert name not in self.started
                spec = next(c for c in self.goal.spec.containers if c.name == name)
                for need in spec.depends_on:
                    other = containers[need.container_name]
                    assert other.started
                    assert need.condition != "HEALTHY" or (
                        other.state == "running" and other.health.status == "HEALTHY"
                    )
                    assert need.condition not in ("COMPLETE", "SUCCESS") or other.state in ("stopped", "lost")
                    assert need.condition != "SUCCESS" or other.exit_code == 0
            case Restart(name):
                assert self.saved
                assert containers[name].state == "exited"
                assert containers[name].exit_code == 0
            case Check(name):
                assert containers[name].state == "running"
            case Kill(name):
                assert containers[name].state == "running"
                for other in self.goal.spec.containers:  # reverse order
                    if any(d.container_name == name for d in other.depends_on):
                        assert containers[other.name].state != "running"
            case Remove(name):
                assert containers[name].state != "running"
                assert self.saved
            case Detach():
                assert not any(c.state == "running" for c in containers.values())
            case Report(report) if report.status == "STOPPED":
                assert not any(c.state == "running" for c in containers.values())
                assert network_gone(self.goal, self.seen())
            case _:
                pass

    def end(self, where: str) -> None:
        """A call that was under way ends, well or not."""
        action = self.busy.pop(where)
        if isinstance(action, Cancel):
            return
        if self.failures and self.chance(15) and not isinstance(action, Pull | Create | Start | Restart | Attach):
            self.failures -= 1
            self.retry[where] = again(self.retry.get(where), self.now)
            return
        self.retry.pop(where, None)
        failed = self.chance(10)
        match action:
            case Attach() if failed:
                self.facts, self.saved = msgspec.structs.replace(self.facts, failure="network"), False
            case Pull(name) | Create(name) | Start(name) | Restart(name) if failed:
                self.change(name, state="failed", error="no")
            case Attach():
                self.facts = msgspec.structs.replace(self.facts, network="attached")
            case Detach():
                self.facts = msgspec.structs.replace(self.facts, network="detached")
            case Pull(name):
                self.change(name, image=Image("i", "sha256:1"))
            case Create(name):
                self.change(name, state="created")
            case Start(name):
                self.started.append(name)
                self.change(name, state="running", running_since=self.now, started_at=self.now)
            case Restart(name):
                seen = Observed(id=name, state="running", started_at=self.now)
                self.facts = self.facts.with_container(name, restarted(self.facts.containers[name], seen, self.now))
                self.saved = False
            case Check(name):
                self.checked(name)
            case Kill(name, signal):
                self.change(name, **{"signalled" if signal is None else "killed": self.now})
                if signal == SIGKILL or self.chance(70):
                    self.exit(name, 137)
            case Remove(name):
                self.change(name, present=False)
            case RemoveTask():
                self.facts = msgspec.structs.replace(self.facts, cleaned=True)
            case Save():
                self.saved = True
            case Report(report):
                self.known = acknowledge(self.known, report)

    def exit(self, name: str, code: int) -> None:
        if self.facts.containers[name].state == "running":
            lost = self.chance(10)
            self.change(
                name, state="lost" if lost else "stopped", exit_code=None if lost else code, finished_at=self.now
            )
            after = settled(self.goal, self.facts, name, self.facts.containers[name])
            self.change(name, state=after.state)

    def checked(self, name: str) -> None:
        c = self.facts.containers[name]
        if c.state == "running":
            check = HealthCheck(("CMD", "x"), interval=5, retries=2)
            self.change(name, health=judged(c.health, check, self.chance(60), 0.0, self.now), check_due=self.now + 5)

    def world(self) -> bool:
        """Something happens: a call ends, a process ends, the task is stopped, or time passes. False: nothing can."""
        running = [n for n, c in self.facts.containers.items() if c.state == "running"]
        if running and self.chance(20):
            self.exit(self.random.choice(running), self.random.choice((0, 1)))
        elif not self.goal.stop and self.chance(5):
            self.goal = msgspec.structs.replace(self.goal, stop=True)
            self.saved = False
        elif self.busy:
            self.end(self.random.choice(sorted(self.busy)))
        elif (at := wake_at(self.goal, self.seen())) is not None:
            assert at > self.now
            self.now = at
        elif not self.goal.stop:
            self.goal = msgspec.structs.replace(self.goal, stop=True)  # it just runs: nobody waits for ever
            self.saved = False
        else:
            return False
        return True


@settings(max_examples=300)
@given(specs(), st.integers(0, 2**32))
def test_a_plan_ends_and_starts_nothing_early(spec: TaskSpec, seed: int) -> None:
    goal = TaskGoal(arn=TASK, cluster="c", task_id=TASK_ID, spec=spec)
    machine = Machine(goal, Random(seed), initial(spec))
    for _ in range(1000):
        for _ in range(50):
            action = advance(machine.goal, machine.seen())
            if action is None:
                break
            machine.begin(action)
        else:
            raise AssertionError("actions without end")
        if not machine.world():
            break
    seen = machine.seen()
    assert finished(machine.goal, seen), seen
    assert ended(machine.goal, seen)
    assert machine.known.task == "STOPPED"
    assert machine.known.containers == dict.fromkeys(seen.facts.containers, "STOPPED")
    assert not any(c.present for c in seen.facts.containers.values())
    assert not machine.busy.keys() - {NETWORK, STATE, REPORT}


@settings(max_examples=300)
@given(specs(), st.data())
def test_every_container_that_ran_was_told_running_before_stopped(spec: TaskSpec, data: st.DataObject) -> None:
    states = st.sampled_from(("none", "created", "running", "stopped", "lost", "failed"))
    goal = TaskGoal(arn=TASK, cluster="c", task_id=TASK_ID, spec=spec, stop=data.draw(st.booleans()))
    facts = initial(spec)
    for name in facts.containers:
        state = data.draw(states)
        facts = facts.with_container(name, Container(state=state, present=state not in ("none", "failed")))
    facts = msgspec.structs.replace(facts, network=data.draw(st.sampled_from(("none", "attached", "detached"))))
    seen, known = TaskSeen(now=1.0, facts=facts), Acknowledged()
    told: dict[str, list[str]] = {name: [] for name in facts.containers}
    for _ in range(5):
        report = next_report(goal, seen, known)
        if report is None:
            break
        assert not (report.status == "STOPPED" and any(c.state == "running" for c in facts.containers.values()))
        for container in report.containers:
            told[container.container_name].append(container.status)
        known = acknowledge(known, report)
    else:
        raise AssertionError("reports without end")
    for name, container in facts.containers.items():
        if container.started and told[name]:
            assert told[name][0] == "RUNNING"
        assert told[name] in ([], ["RUNNING"], ["STOPPED"], ["RUNNING", "STOPPED"])
