"""The auditor's book of containers: their lives on all machines, each asked whenever something happens in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from homeport.agent.drivers import ContainerPlan, Observed
from homeport.agent.state import TaskRecord
from homeport.agentapi import Dependency
from homeport.services.ecs.model.task import Container, Task
from homeport.sim import conduct, invariants
from homeport.sim.images import IMAGES, behaviour
from homeport.sim.lives import Checked, Life, Run

SAVING = 0.02  # seconds that a record takes from when it is put together until it is on disk, at most
KILL_LATEST = 2.0  # seconds that SIGKILL may be late on a machine that is well
PORT_TAKEN = "port is already allocated"
REFUSALS = frozenset(text for b in IMAGES.values() for text in (b.pull_error, b.create_error, b.start_error) if text)


class Found(Protocol):
    """Is told what an invariant has found, if anything, and the id of the task that it is about."""

    def __call__(self, invariant: Callable[..., str | None], found: str | None, task: str = "") -> None: ...


class Containers:
    """``later`` calls a function after so many seconds; ``seen`` is called HEALTH_SECONDS after a node came to know
    another health of a container: with the node, the ids of task and container, and since when it knows."""

    def __init__(
        self,
        time: Callable[[], float],
        found: Found,
        later: Callable[[float, Callable[[], None]], object],
        seen: Callable[[str, str, str, float], None],
    ) -> None:
        self._time, self._found, self._later, self._seen = time, found, later, seen
        self._lives: dict[tuple[str, str], dict[str, Life]] = {}  # (node, task id) → by name
        self._ids: dict[tuple[str, str], Life] = {}  # (node, runtime id)
        self._begun: dict[str, set[str]] = {}  # node → runtime ids of containers that were ever started
        self._volumes: dict[tuple[str, str], set[str]] = {}  # (node, task id) → that were ever made
        self._saved: dict[tuple[str, str], float] = {}  # (node, task id) → when its record was last saved
        self._well: dict[str, float] = {}  # node → since when nothing is in the way of its agent
        self.orphaned: set[str] = set()  # nodes that run, or ran, tasks that were taken from their instance
        self.health: dict[tuple[str, str], tuple[str, float]] = {}  # (task id, name) → as its node knows, since when

    def of_task(self, node: str, task_id: str) -> dict[str, Life]:
        """Every container of the task that was ever made there, by name."""
        return self._lives.get((node, task_id), {})

    def begun(self, ids: Iterable[str]) -> set[str]:
        """Those of them that were ever started, on whatever node."""
        return {id for id in ids if any(id in begun for begun in self._begun.values())}

    # --- what happens in runtimes -----------------------------------------------------------------------------------

    def created(self, node: str, plan: ContainerPlan) -> None:
        life = self._ids.setdefault((node, plan.id), Life(plan))
        self._lives.setdefault((node, plan.task_id), {})[life.name] = life

    def starting(self, node: str, id: str) -> None:
        found = invariants.a_task_runs_on_one_node(id, node, self._begun)
        self._found(invariants.a_task_runs_on_one_node, found, id.rpartition("-")[0])
        self._begun.setdefault(node, set()).add(id)
        life = self._ids[node, id]
        self._ask(conduct.a_container_starts_once, conduct.a_container_starts_once(life), life)
        found = conduct.a_container_starts_when_its_conditions_hold(life, self._others(node, life), self._time())
        self._ask(conduct.a_container_starts_when_its_conditions_hold, found, life)
        self._begin(node, life)

    def restarting(self, node: str, id: str) -> None:
        life = self._ids[node, id]
        self._ask(conduct.a_restart_is_within_its_policy, conduct.a_restart_is_within_its_policy(life), life)
        self._begin(node, life)

    def _begin(self, node: str, life: Life) -> None:
        others = self._others(node, life).values()
        found = conduct.nothing_starts_in_a_task_that_stops(life, others, self._time())
        self._ask(conduct.nothing_starts_in_a_task_that_stops, found, life)
        life.runs.append(Run(self._time()))

    def signalling(self, node: str, id: str, *, kill: bool) -> None:
        life, now = self._ids[node, id], self._time()
        found = conduct.dependents_stop_first(life, self._others(node, life).values())
        self._ask(conduct.dependents_stop_first, found, life)
        if kill:
            well = bool(life.signalled) and self._well.get(node, 0.0) < life.signalled[0] and life.killed is None
            latest = KILL_LATEST if well else float("inf")
            found = conduct.sigkill_waits_for_the_stop_timeout(life, now, latest)
            self._ask(conduct.sigkill_waits_for_the_stop_timeout, found, life)
            life.killed = now
        else:
            life.signalled.append(now)
            life.forgettable = now < self._well.get(node, 0.0)

    def removing(self, node: str, id: str) -> None:
        life = self._ids[node, id]
        self._ask(conduct.nothing_that_runs_is_removed, conduct.nothing_that_runs_is_removed(life), life)

    def ended(self, node: str, id: str, seen: Observed) -> None:
        run = self._ids[node, id].last
        if run is not None and run.ended is None:
            run.ended, run.end = self._time(), seen

    def checking(self, node: str, id: str) -> Callable[[bool, bool], None]:
        life = self._ids.get((node, id))
        run = life.last if life else None
        began = self._time()

        def ended(passed: bool, sure: bool) -> None:
            if run is not None:
                sure = sure and run.ended is None
                run.checks.append(Checked(self._time(), began - run.began, passed, sure, run.watched))

        return ended

    def volume_made(self, node: str, task_id: str, volume: str) -> None:
        made = self._volumes.setdefault((node, task_id), set())
        self._found(conduct.a_volume_is_made_once, conduct.a_volume_is_made_once(task_id, volume, made), task_id)
        made.add(volume)

    def volumes_go(self, node: str, task_id: str, containers: Collection[str]) -> None:
        """``containers``: runtime ids of all that are there."""
        found = conduct.a_volume_lasts_as_long_as_its_task(task_id, containers)
        self._found(conduct.a_volume_lasts_as_long_as_its_task, found, task_id)

    # --- what happens to agents -------------------------------------------------------------------------------------

    def saved(self, node: str, record: TaskRecord, volumes: Mapping[str, Collection[str]]) -> None:
        """The agent has written a task's record. ``volumes``: those that are there, by task."""
        task_id, now = record.goal.task_id, self._time()
        self._saved[node, task_id] = now
        lives = self.of_task(node, task_id)
        for name, known in record.facts.containers.items():
            life = lives.get(name)
            if life is not None:
                found = conduct.health_is_what_the_checks_say(life, known.health.status, known.restarts, now)
                self._ask(conduct.health_is_what_the_checks_say, found, life)
                found = conduct.restarts_are_counted(life, known.restarts, now)
                self._ask(conduct.restarts_are_counted, found, life)
            if known.health.status != self.health.get((task_id, name), ("UNKNOWN", 0.0))[0]:
                self.health[task_id, name] = (known.health.status, now)
                self._expect(node, task_id, name, now)
        if record.finished_at is not None:
            found = conduct.no_volume_outlives_its_task(task_id, volumes)
            self._found(conduct.no_volume_outlives_its_task, found, task_id)

    def _expect(self, node: str, task_id: str, name: str, now: float) -> None:
        self._later(conduct.HEALTH_SECONDS, lambda: self._seen(node, task_id, name, now))

    def agent_died(self, node: str) -> None:
        """What it hadn't saved, the next one may not know."""
        self.troubled(node, 0.0)
        for (where, task_id), lives in self._lives.items():
            if where != node:
                continue
            saved = self._saved.get((node, task_id), 0.0) - SAVING
            for run in (life.last for life in lives.values() if life.last):
                run.watched = False
                for check in run.checks:
                    check.sure = check.sure and check.at < saved

    def troubled(self, node: str, seconds: float) -> None:
        """Something is in the way of its agent for so long."""
        self._well[node] = max(self._well.get(node, 0.0), self._time() + seconds)

    def clock_set(self, node: str) -> None:
        for (where, _), life in self._ids.items():
            if where == node and life.last is not None and life.last.ended is None:
                life.last.steady = False

    # --- what the control plane is told -----------------------------------------------------------------------------

    def told(self, node: str, old: Task, new: Task, record: TaskRecord | None, ends: dict[str, Observed]) -> None:
        """The control plane has another record of a task. ``record``: the node's own; ``ends``: how its containers last
        ended, by name."""
        over = [c for before, c in zip(old.containers, new.containers, strict=True) if before.status != c.status]
        over = [c for c in over if c.status == "STOPPED"]
        lives = self.of_task(node, new.id)
        troubled = node in self._well
        for container in over:
            refusals = REFUSALS | (
                {(container.reason or "").partition(": ")[2]} if self._clashes(node, container) else set()
            )
            found = conduct.reasons_are_true(container, ends.get(container.name), refusals, troubled)
            self._found(conduct.reasons_are_true, found, new.id)
            life = lives.get(container.name)
            if life is not None and _ends_alone(container, new, lives, record):
                found = conduct.an_end_before_a_restart_is_not_told(container, life)
                self._found(conduct.an_end_before_a_restart_is_not_told, found, new.id)
            if (container.reason or "").startswith(conduct.DEPENDENCY) and record is not None and not troubled:
                self._dependency(container, new, lives, record)

    def _clashes(self, node: str, container: Container) -> bool:
        """It wanted a host port that a task has which its node's instance, by now another one, knows nothing of."""
        return node in self.orphaned and (container.reason or "").endswith(PORT_TAKEN)

    def _dependency(self, container: Container, task: Task, lives: dict[str, Life], record: TaskRecord) -> None:
        goal = record.goal
        needs = [(need, goal.container(need.container_name).start_timeout) for need in _needs(record, container)]
        failed = {c.name for c in task.containers if c.status == "STOPPED" and not c.ran}
        failed |= {spec.name for spec in goal.spec.containers if _refused(spec.image)}
        found = conduct.a_dependency_is_given_up_with_a_cause(needs, lives, failed, self._time())
        self._found(conduct.a_dependency_is_given_up_with_a_cause, found, task.id)

    def _others(self, node: str, life: Life) -> dict[str, Life]:
        return self._lives[node, life.plan.task_id]

    def _ask(self, invariant: Callable[..., str | None], found: str | None, life: Life) -> None:
        self._found(invariant, found, life.plan.task_id)


def _needs(record: TaskRecord, container: Container) -> tuple[Dependency, ...]:
    return record.goal.container(container.name).depends_on


def _refused(image: str) -> bool:
    made = behaviour(image)
    return bool(made.pull_error or made.create_error or made.start_error)


def _ends_alone(container: Container, task: Task, lives: dict[str, Life], record: TaskRecord | None) -> bool:
    """Nothing but this container's end can end its task, as far as can be seen."""
    if task.desired_status == "STOPPED" or task.lost or task.node_reason is not None or record is None:
        return False
    if record.goal.stop or record.facts.failure is not None or any(life.signalled for life in lives.values()):
        return False
    others = [c for c in task.containers if c.name != container.name and c.essential]
    return all(c.status != "STOPPED" and (c.name not in lives or lives[c.name].running) for c in others)
