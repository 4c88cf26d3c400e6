"""The auditor: keeps books of its own on what the control plane commits and what machines do, and holds both against
the invariants at the moment that something changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from homeport.agent.drivers import Observed
from homeport.agent.link import Replaced
from homeport.agentapi import InterfaceSpec, PayloadMessage, TaskManifestMessage, decode
from homeport.services.ec2.model import INTERFACES, NetworkInterface
from homeport.services.ecs.agentgw import HOLD_SECONDS, LOST_SECONDS
from homeport.services.ecs.model.instance import INSTANCES, ROOMS
from homeport.services.ecs.model.task import TASKS, Task, TaskStatus
from homeport.sim import conduct, invariants, placing, service_book, serving
from homeport.sim.containers import Containers
from homeport.sim.control import Witness
from homeport.sim.ledger import Ledger
from homeport.sim.machine import Fabric, Machine
from homeport.sim.service_book import Services
from homeport.sim.service_judge import Judge
from homeport.sim.telling import told
from homeport.store import Change, Table, View
from homeport.store.journal import Commit

_ABOUT_TASKS = ('{"type":"PayloadMessage"', '{"type":"TaskManifestMessage"')


class Violation(msgspec.Struct, frozen=True):
    """``at`` in simulated seconds; ``task``: the id of the task that it is about, where it is about one."""

    invariant: str
    text: str
    at: float
    task: str = ""


class Auditor(Witness):
    """The control plane's and the machines' witness. ``violation`` is the first one; ``found`` is called at it.
    ``later`` calls a function after so many seconds. ``clear``: whether nothing was in the way of what a node tells of
    health, all the time since then."""

    def __init__(
        self,
        time: Callable[[], float],
        later: Callable[[float, Callable[[], None]], object],
        found: Callable[[], None],
        clear: Callable[[str, float], bool],
        *,
        tell: bool = False,
    ) -> None:
        self._time, self._found, self._clear = time, found, clear
        self.containers = Containers(time, self._check, later, self._health)
        self.ledger = Ledger(self._check)
        self.services = Services(time, self.ledger)
        self.judge = Judge(self.services, self.ledger, self._check, time)
        self._tell, self._history = tell, hashlib.blake2b(digest_size=16)
        self.violation: Violation | None = None
        self.story: list[str] = []  # only where ``tell``
        self.over = False  # from here on everything is only being taken down
        self.commits = self.made = 0  # durable commits, tasks
        self.machines: dict[str, Machine] = {}
        self.fabric: Fabric | None = None
        self.version = 0
        self.tasks: dict[str, Task] = {}
        self.interfaces: dict[str, NetworkInterface] = {}
        self._made: dict[str, set[str]] = {}
        self.wanted: dict[str, int] = {}  # startedBy of each RunTask call → count
        self.acknowledged: dict[str, bool] = {}  # ARNs that RunTask answered → StopTask answered too
        self.asked: set[str] = set()  # ARNs that StopTask was called for, answered or not
        self.given_up: set[str] = set()  # ARNs of instances that DeregisterContainerInstance was called for, with force
        self.doubted: set[str] = set()  # nodes that others pretend to be: what is told of their tasks may be wrong
        self._furthest: dict[str, TaskStatus] = {}  # that callers were told
        self._heard: dict[str, float] = {}

    # --- what it is told --------------------------------------------------------------------------------------------

    def happened(self, what: str) -> None:
        if self.over:
            return
        self._history.update(f"{self._time():.6f} {what}\n".encode())
        if self._tell:
            self._line(what)

    def _line(self, what: str) -> None:
        self.story.append(f"{self._time():10.4f}  {what}")

    def durable(self, commits: Sequence[Commit]) -> None:
        self.commits += len(commits)
        for commit in commits:
            for write in commit.writes:
                self._history.update(b"%d %s " % (commit.version, write.key.id.encode()) + (write.new or b"-"))

    @property
    def digest(self) -> str:
        return self._history.hexdigest()

    def heard(self, node: str) -> None:
        self._heard[node] = self._time()

    def opened(self, view: View) -> None:
        """The control plane has loaded its journal."""
        self._load(view)
        for arn, stopped in self.acknowledged.items():
            id = arn.rpartition("/")[2]
            found = invariants.nothing_acknowledged_is_lost(arn, self.tasks.get(id), stopped)
            self._check(invariants.nothing_acknowledged_is_lost, found, id)
        found = self.services.lost()
        self._check(invariants.nothing_acknowledged_is_lost, found)

    def staged(self, view: View, changes: Sequence[Change]) -> None:
        self.judge.before(view, changes)
        if view.version == self.version + 1:
            self.version = view.version
            for change in changes:
                self._book(change.key.kind, change.key.id, change.new)
        else:  # commits were undone since the last
            self._load(view)
        for change in changes:
            if change.key.kind == TASKS.kind:
                self._task(change.old, change.new, view.now)
            elif change.key.kind == INTERFACES.kind and change.old is None:
                self._interface(change.new)
            if self._tell and (line := told(change)):
                self._line(line)
        self.ledger.judge(view, changes)
        self.judge.judge(view, changes)

    def catch_up(self, view: View) -> None:
        """What was undone, and followed by no other commit, isn't known otherwise."""
        if view.version != self.version:
            self._load(view)

    def answered(self, tasks: Sequence[Mapping[str, Any]], before: Mapping[str, TaskStatus]) -> None:
        """A caller was given these tasks; ``before`` is ``told()`` from when it called."""
        for task in tasks:
            arn, status = task["taskArn"], TaskStatus[task["lastStatus"]]
            least = before.get(arn, TaskStatus.PROVISIONING)
            found = invariants.answers_only_go_forward(arn, least, status)
            self._check(invariants.answers_only_go_forward, found, arn.rpartition("/")[2])
            self._furthest[arn] = max(status, self._furthest.get(arn, status))
            self._shown(task)

    def _shown(self, task: Mapping[str, Any]) -> None:
        known = self.tasks.get(task["taskArn"].rpartition("/")[2])
        essential = {c.name for c in known.containers if c.essential} if known else set()
        healths = {c["healthStatus"] for c in task["containers"] if c["name"] in essential}
        if healths:
            found = conduct.a_tasks_health_is_that_of_its_containers(task["healthStatus"], healths)
            self._check(conduct.a_tasks_health_is_that_of_its_containers, found, task["taskArn"].rpartition("/")[2])

    def told(self) -> dict[str, TaskStatus]:
        """The furthest status of each task that any caller was given."""
        return dict(self._furthest)

    # --- machines ---------------------------------------------------------------------------------------------------

    def attaching(self, node: str, task_id: str, interface: InterfaceSpec) -> None:
        found = invariants.no_address_is_attached_twice(interface, self.nodes(), HOLD_SECONDS)
        self._check(invariants.no_address_is_attached_twice, found, task_id)

    def obeyed(self, node: str, operation: str, params: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """A node's call was answered with success."""
        changed = [answer.get("containerInstance"), *answer.get("containerInstances", ())]
        arns = [instance["containerInstanceArn"] for instance in changed if instance]
        if operation.startswith("Submit"):
            task = self.tasks.get(str(params.get("task", "")).rpartition("/")[2])
            arns.append(task.instance if task else None)
            for change in params.get("attachments", ()):
                id = change["attachmentArn"].rpartition("/")[2]
                arns += [t.instance for t in self.tasks.values() if any(a.id == id for a in t.attachments)]
        for arn in arns:
            self.admitted(node, arn or "")

    def admitted(self, node: str, arn: str) -> None:
        """A node was let speak for an instance."""
        instance = self.ledger.instances.get(arn.rpartition("/")[2])
        found = placing.an_agent_acts_for_its_own_instance(node, instance)
        self._check(placing.an_agent_acts_for_its_own_instance, found)

    def sent(self, node: str, arn: str, frame: str) -> None:
        """The control plane sends something to a node."""
        if not frame.startswith(_ABOUT_TASKS):
            return
        message = decode(frame)
        told: list[str] = []
        if isinstance(message, PayloadMessage):
            told = [task.arn for task in message.tasks]
        elif isinstance(message, TaskManifestMessage):
            told = [task.task_arn for task in message.tasks]
        found = placing.an_agent_sees_its_own_tasks(node, arn, told, self.tasks)
        self._check(placing.an_agent_sees_its_own_tasks, found)

    def agent_failed(self, node: str, error: BaseException) -> None:
        if node.partition(" ")[0] in self.doubted and _only(error, Replaced):
            return
        self.fail("no agent ends by itself", f"{node}: {error!r}")

    def server_failed(self, error: BaseException) -> None:
        self.fail("the control plane never fails", repr(error))

    def nodes(self) -> Iterator[invariants.Node]:
        assert self.fabric is not None
        for name in (name for name in self.machines if name not in self.doubted):
            heard = self._time() - self._heard.get(name, 0.0)
            groups, interfaces = self.fabric.groups.get(name, {}), self.fabric.interfaces.get(name, {})
            yield invariants.Node(name, heard, groups, interfaces)

    def giving_up(self, arn: str) -> None:
        """An instance is deregistered by force: what runs there goes on for a while, and nobody's instance has it."""
        self.given_up.add(arn)
        self.containers.orphaned.add(self.ledger.nodes.get(arn, ""))

    def machine_of(self, task: Task) -> Machine | None:
        """The task's node."""
        return self.machines.get(self.ledger.nodes.get(task.instance or "", ""))

    def running(self) -> set[str]:
        return {id for machine in self.machines.values() for id in machine.runtime.running()}

    # --- judging ----------------------------------------------------------------------------------------------------

    def fail(self, invariant: str, text: str, task: str = "") -> None:
        if self.violation is None and not self.over:
            self.violation = Violation(invariant, text, self._time(), task)
            self.happened(f"VIOLATED: {invariant}: {text}")
            self._found()

    def _check(self, invariant: Callable[..., str | None], found: str | None, task: str = "") -> None:
        if found is not None and not self._in_doubt(invariant, task):
            self.fail(invariants.name_of(invariant), found, task)

    def _in_doubt(self, invariant: Callable[..., str | None], task_id: str) -> bool:
        """Where several say that they are a node, what they tell isn't what each of them knows."""
        task = self.tasks.get(task_id)
        machine = self.machine_of(task) if task and self.doubted else None
        return machine is not None and machine.name in self.doubted and invariant.__module__ != placing.__name__

    def _task(self, old: Task | None, new: Task | None, now: float) -> None:
        if new is None:
            assert old is not None
            found = invariants.a_stopped_task_is_kept_for_an_hour(old, now)
            self._check(invariants.a_stopped_task_is_kept_for_an_hour, found, old.id)
            self.acknowledged.pop(old.arn, None)
            return
        if old is None:
            self.made += 1
            if serving.is_served(new):
                return
            made, count = self._made[new.started_by or ""], self.wanted.get(new.started_by or "", 0)
            found = invariants.run_task_makes_no_more_than_it_is_asked_for(made, count)
            self._check(invariants.run_task_makes_no_more_than_it_is_asked_for, found, new.id)
            return
        for law in (
            invariants.statuses_only_go_forward,
            invariants.a_stop_is_for_good,
            invariants.a_task_stays_where_it_was_placed,
            invariants.an_exit_code_is_told_once,
        ):
            self._check(law, law(old, new), new.id)
        if old.desired_status != new.desired_status and new.instance is not None:
            patience = LOST_SECONDS if new.launch_type == "FARGATE" else float("inf")
            found = invariants.a_stop_has_its_cause(new, self._causes(new), patience)
            self._check(invariants.a_stop_has_its_cause, found, new.id)
        self._against_runtimes(old, new)

    def _causes(self, task: Task) -> invariants.Causes:
        machine = self.machine_of(task)
        heard = self._time() - self._heard.get(machine.name, 0.0) if machine else float("inf")
        rebooted = machine is not None and machine.boots > 1
        return invariants.Causes(
            task.arn in self.asked, self.ends(task), rebooted, heard, task.instance in self.given_up
        )

    def _against_runtimes(self, old: Task, new: Task) -> None:
        runtimes = [machine.runtime for machine in self.machines.values()]
        ids = invariants.runtime_ids(new)
        running = {id for id in ids if any(runtime.runs(id) for runtime in runtimes)}
        found = invariants.nothing_is_stopped_that_runs(new, running)
        self._check(invariants.nothing_is_stopped_that_runs, found, new.id)
        found = invariants.exit_codes_are_true(new, self.ends(new))
        self._check(invariants.exit_codes_are_true, found, new.id)
        found = invariants.what_is_running_was_started(new, self.containers.begun(ids))
        self._check(invariants.what_is_running_was_started, found, new.id)
        if old.containers != new.containers and (machine := self.machine_of(new)) is not None:
            ends = machine.runtime.ends
            by_name = {c.name: ends[id] for c, id in zip(new.containers, ids, strict=True) if id in ends}
            self.containers.told(machine.name, old, new, machine.records.find(new.id), by_name)

    def ends(self, task: Task) -> dict[str, Observed]:
        """How the task's containers last ended, on whatever node."""
        runtimes = [machine.runtime for machine in self.machines.values()]
        return {id: r.ends[id] for id in invariants.runtime_ids(task) for r in runtimes if id in r.ends}

    def _health(self, node: str, task_id: str, name: str, since: float) -> None:
        """A node has known the health of a container for as long as it may take to be seen, if it still is the same."""
        task, (known, changed) = self.tasks.get(task_id), self.containers.health[task_id, name]
        if task is None or task.lost or changed != since or not self._clear(node, since):
            return
        shown = next(c for c in task.containers if c.name == name)
        if shown.status != "STOPPED" and task.last_status < TaskStatus.STOPPED:
            found = conduct.health_is_seen_in_time(name, known, shown.health)
            self._check(conduct.health_is_seen_in_time, found, task_id)

    def _interface(self, new: NetworkInterface) -> None:
        found = invariants.no_address_is_given_twice(new, self.interfaces.values())
        self._check(invariants.no_address_is_given_twice, found)
        found = invariants.no_address_is_reused_before_it_is_free(new, self.nodes(), HOLD_SECONDS)
        self._check(invariants.no_address_is_reused_before_it_is_free, found)

    # --- its books --------------------------------------------------------------------------------------------------

    def _load(self, view: View) -> None:
        self.version = view.version
        self.tasks, self.interfaces, self._made = {}, {}, {}
        self.ledger.clear()
        self.services.clear()
        self.judge.clear()
        tables: tuple[Table[Any], ...] = (TASKS, INSTANCES, ROOMS, INTERFACES, *service_book.TABLES)
        for table in tables:
            for _, record in view.each(table):
                self._book(table.kind, table.id(record), record)

    def _book(self, kind: str, id: str, new: Any) -> None:
        if kind == TASKS.kind:
            old = self.tasks.pop(id, None)
            self.ledger.book_task(old, new)
            self.services.book_task(old, new)
            if new is not None:
                self.tasks[id] = new
                self._made.setdefault(new.started_by or "", set()).add(id)
        elif kind in (INSTANCES.kind, ROOMS.kind):
            self.ledger.book(kind, id, new)
        elif kind in service_book.KINDS:
            self.services.book(kind, id, new)
        elif kind == INTERFACES.kind:
            self.interfaces.pop(id, None)
            if new is not None:
                self.interfaces[id] = new


def _only(error: BaseException, kind: type[BaseException]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_only(one, kind) for one in error.exceptions)
    return isinstance(error, kind)
