"""The auditor's judgement of services: of each commit that does something to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from homeport.services.ecs import definitions
from homeport.services.ecs.model.deployment import (
    DEPLOYMENTS,
    REVISIONS,
    SERVICE_DEPLOYMENTS,
    Deployment,
    Revision,
    ServiceDeployment,
)
from homeport.services.ecs.model.service import EVENTS, SERVICES, Service
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.model.task_set import TASK_SETS, TaskSet
from homeport.services.ecs.views import service as views
from homeport.sim import daemons, early, placing, serving, sets, versions
from homeport.sim.control import SCOPE
from homeport.sim.early import Unmet
from homeport.sim.ledger import Ledger
from homeport.sim.service_book import KINDS, Services
from homeport.store import Change, View

SHOWN_EVERY = 5  # commits: between two that are asked how services are shown


class Found(Protocol):
    """Is told what an invariant has found, if anything, and the id of the task that it is about."""

    def __call__(self, invariant: Callable[..., str | None], found: str | None, task: str = "") -> None: ...


class Judge:
    def __init__(self, book: Services, ledger: Ledger, found: Found, time: Callable[[], float]) -> None:
        self._book, self._ledger, self._found, self._time = book, ledger, found, time
        self._before: dict[str, float] = {}  # when services' steady states were last told, before this commit
        self._told: set[str] = set()  # ids of services that ever were steady
        self._unsteady: set[str] = set()  # ids of services that haven't been steady all the time since
        self._returned: dict[str, set[str]] = {}  # tasks by deployment that it had when it was last returned to
        self._failures: dict[str, set[str]] = {}  # tasks by deployment that may have counted for its circuit breaker
        self._unmet = Unmet(time)
        self.deployed = 0
        self.lacking: dict[str, int] = {}  # services that aren't steady: number of commits that did something to them

    def clear(self) -> None:
        """Commits may have been undone."""
        self._unsteady.update(self._told)

    def before(self, view: View, changes: Sequence[Change]) -> None:
        """Before the changes of a commit are booked."""
        for change in changes:
            old, new = change.old, change.new
            if change.key.kind == SERVICES.kind and (old is None or new is None or old.created_at != new.created_at):
                self._book.forget_steady(change.key.id)
            elif old is None or new is None:
                self.deployed += change.key.kind == DEPLOYMENTS.kind and old is None
                if change.key.kind == TASK_SETS.kind and new is None:
                    self._gone(old)
            elif change.key.kind == DEPLOYMENTS.kind:
                self._deployment(old, new)
            elif change.key.kind == SERVICE_DEPLOYMENTS.kind:
                found = serving.service_deployments_only_go_forward(old, new)
                self._found(serving.service_deployments_only_go_forward, found)
            elif change.key.kind == REVISIONS.kind:
                self._found(serving.a_revision_never_changes, serving.a_revision_never_changes(old, new))
            elif change.key.kind == TASK_SETS.kind:
                self._found(sets.a_draining_task_set_stays_so, sets.a_draining_task_set_stays_so(old, new))
        self._before = self._book.steady()

    def _gone(self, task_set: TaskSet) -> None:
        service = self._book.services.get(task_set.service)
        if service is not None and service.status == "ACTIVE":
            there = [t for t in self._book.own(service) if t.started_by == task_set.name]
            found = sets.a_set_that_goes_leaves_nothing(task_set, there)
            self._found(sets.a_set_that_goes_leaves_nothing, found)

    def _deployment(self, old: Deployment, new: Deployment) -> None:
        service = self._book.services.get(new.service)
        returned = new.role == "PRIMARY" != old.role
        found = serving.deployments_only_go_forward(old, new, returned=returned)
        self._found(serving.deployments_only_go_forward, found)
        if service is not None and returned:
            good = [d for d in self._book.of(service) if d.rollout == "COMPLETED" and d.role != "PRIMARY"]
            best = max(good, key=lambda d: d.number, default=None)
            last = (best.id, best.revision) if best else None
            found = serving.a_rollback_returns_to_the_last_good_revision(service, new, last)
            self._found(serving.a_rollback_returns_to_the_last_good_revision, found)
            self._returned[new.id] = {t.id for t in self._book.of_part(service, new.name)}
            self._failures[new.id] = set()
            self._unsteady.add(service.id)

    def judge(self, view: View, changes: Sequence[Change]) -> None:
        """After all changes of a commit are booked."""
        touched: dict[str, _Commit] = {}
        for change in changes:
            kind, record = change.key.kind, change.new or change.old
            if isinstance(record, Task):
                self._found(
                    serving.only_its_own_scheduler_stops_a_task, serving.only_its_own_scheduler_stops_a_task(record)
                )
                if serving.is_served(record):
                    touched.setdefault(serving.service_of(record), _Commit()).task(change.old, change.new)
            elif kind == SERVICES.kind:
                touched.setdefault(change.key.id, _Commit())
            elif kind in KINDS:
                touched.setdefault(record.service, _Commit()).record(kind, change.old, change.new)
        for id, commit in touched.items():
            service = self._book.services.get(id)
            for task in commit.made:
                self._made(view, service, task)
            if service is not None:
                self._judge(view, service, commit)

    def _judge(self, view: View, service: Service, commit: _Commit) -> None:
        self._may_fail(commit)
        why_not = self._book.unsteady(view, service) if service.status == "ACTIVE" else None
        self._stands(service, why_not)
        self._tells(view, service, commit, why_not)
        if service.status == "INACTIVE":
            left = [t for t in self._book.own(service) if t.desired_status == "RUNNING"]
            found = serving.nothing_of_a_deleted_service_runs_on(service, left)
            self._found(serving.nothing_of_a_deleted_service_runs_on, found)
        if service.status == "ACTIVE":
            if service.controller == "EXTERNAL":
                self._sets(view, service, commit)
            else:
                self._rolls(view, service, commit, why_not)
            if commit.made or commit.stopped:
                self._moves(view, service, commit)
        for old, task in commit.stopped:
            excused = self._book.excused(view, service, old) or self._leaves(service, old)
            found = serving.protected_tasks_are_not_scaled_in(old, view.now, excused=excused)
            self._found(serving.protected_tasks_are_not_scaled_in, found, task.id)
        for task in commit.changed:
            found = versions.a_container_runs_its_version(task)
            self._found(versions.a_container_runs_its_version, found, task.id)
        if view.version % SHOWN_EVERY == 0:
            self._shown(view, service)

    def _leaves(self, service: Service, task: Task) -> bool:
        """Whether a task set is given up, with whatever it has."""
        return service.controller == "EXTERNAL" and task.started_by not in {p.name for p in self._book.parts(service)}

    def _stands(self, service: Service, why_not: str | None) -> None:
        if why_not is None:
            self.lacking.pop(service.id, None)
        else:
            self.lacking[service.id] = self.lacking.get(service.id, 0) + 1

    def _shown(self, view: View, service: Service) -> None:
        shown, tasks = views.service(view, SCOPE, service), self._book.tasks(service)
        found = serving.counts_equal_what_runs(service, shown, tasks)
        self._found(serving.counts_equal_what_runs, found)
        if service.controller == "EXTERNAL":
            found = sets.sets_are_shown_as_they_are(service, shown["taskSets"], tasks)
            self._found(sets.sets_are_shown_as_they_are, found)

    # --- what the scheduler starts and stops in one commit ----------------------------------------------------------

    def _moves(self, view: View, service: Service, commit: _Commit) -> None:
        own = self._book.own(service)
        if service.scheduling == "DAEMON":
            self._daemons_move(view, service, commit, own)
        elif service.controller == "ECS":
            self._bounds(view, service, commit, own)
        for part in self._book.parts(service):
            if service.controller == "EXTERNAL":
                of_set = [t for t in own if t.started_by == part.name]
                meant = commit.of(part.name)
                self._bounds(
                    view, serving.with_count(service, part.desired, f"{service.name}, {part.name}"), meant, of_set
                )
            if service.scheduling == "REPLICA":
                self._needless(view, service, commit, part.name, part.desired, own)

    def _bounds(self, view: View, service: Service, commit: _Commit, there: list[Task]) -> None:
        made = [task.id for task in commit.made]
        found = serving.never_above_the_upper_bound(service, made, there)
        self._found(serving.never_above_the_upper_bound, found)
        taken = self._book.healthy(view, (old for old, _ in commit.stopped))
        found = serving.never_below_the_lower_bound(service, taken, self._book.healthy(view, there))
        self._found(serving.never_below_the_lower_bound, found, next(iter(sorted(taken)), ""))

    def _needless(self, view: View, service: Service, commit: _Commit, name: str, wanted: int, own: list[Task]) -> None:
        for old, task in commit.stopped:
            if task.started_by == name and not self._book.excused(view, service, old):
                left = [t for t in own if t.started_by == name and t.desired_status == "RUNNING"]
                found = serving.no_task_is_stopped_without_need(service, task, wanted, len(left))
                self._found(serving.no_task_is_stopped_without_need, found, task.id)

    def _daemons_move(self, view: View, service: Service, commit: _Commit, own: list[Task]) -> None:
        instances, primary = self._book.instances(view, service), self._book.primary(service)
        found = daemons.there_is_one_daemon_on_an_instance(service, own)
        self._found(daemons.there_is_one_daemon_on_an_instance, found)
        for task in commit.made:
            found = daemons.a_daemon_starts_where_it_belongs(service, task, instances)
            self._found(daemons.a_daemon_starts_where_it_belongs, found, task.id)
        placed = [t for t in own if t.instance in instances]
        taken = self._book.healthy(view, (old for old, _ in commit.stopped if old.instance in instances))
        found = serving.never_below_the_lower_bound(service, taken, self._book.healthy(view, placed))
        self._found(serving.never_below_the_lower_bound, found, next(iter(sorted(taken)), ""))
        for old, task in commit.stopped:
            if primary is not None and old.started_by == primary.name and not self._book.excused(view, service, old):
                found = serving.no_task_is_stopped_without_need(service, task, 1, 0)
                self._found(serving.no_task_is_stopped_without_need, found, task.id)

    # --- deployments and task sets ----------------------------------------------------------------------------------

    def _rolls(self, view: View, service: Service, commit: _Commit, why_not: str | None) -> None:
        shown = self._book.of(service)
        found = serving.exactly_one_deployment_is_primary(service, shown)
        self._found(serving.exactly_one_deployment_is_primary, found)
        primary = self._book.primary(service)
        if primary is None:
            return
        revision = self._book.revisions.get(primary.revision)
        found = serving.the_primary_deployment_is_what_was_asked_for(service, primary, revision)
        self._found(serving.the_primary_deployment_is_what_was_asked_for, found)
        self._completes(view, service, primary, commit, why_not)
        asked = any(old.status == "ROLLBACK_REQUESTED" for old, _ in commit.rollouts)
        for old, new in commit.deployments:
            if new.rollout == "FAILED" != old.rollout:
                failures = len(self._failures.get(new.id, ()))
                unresolved = self._is_unresolved(view, new)
                found = serving.a_deployment_fails_only_by_its_breaker(
                    service, new, failures, asked=asked, unresolved=unresolved
                )
                self._found(serving.a_deployment_fails_only_by_its_breaker, found)
        for _, ended in commit.rollouts:
            if ended.status == "ROLLBACK_SUCCESSFUL":
                found = serving.a_rollback_ends_at_the_last_good_revision(ended, primary, revision)
                self._found(serving.a_rollback_ends_at_the_last_good_revision, found)

    def _completes(
        self, view: View, service: Service, primary: Deployment, commit: _Commit, why_not: str | None
    ) -> None:
        criteria = early.criteria(service)
        if criteria is not None:
            taken = {old.id: old for old, _ in commit.stopped}  # it was met by what is scaled in at the same time, too
            there = [taken.get(t.id, t) for t in self._book.own(service)]
            if service.scheduling == "DAEMON":  # its count follows its instances in the next look
                there = self._book.bound(service, there)
                service = serving.with_count(service, len(self._book.instances(view, service)), service.name)
            leaving = {t.id for t in there if self._book.excused(view, service, t)}
            why_not = early.unmet(service, criteria, primary, there, self._book.healthy(view, there) - leaving)
        done = any(
            new.id == primary.id and new.rollout == "COMPLETED" != old.rollout for old, new in commit.deployments
        )
        if done:
            baked = self._unmet.seconds(primary.id, view.now)
            found = early.a_deployment_completes_when_it_may(primary, criteria, why_not, baked)
            self._found(early.a_deployment_completes_when_it_may, found)
        if why_not is not None:
            self._unmet.note(primary.id, view.now)

    def _sets(self, view: View, service: Service, commit: _Commit) -> None:
        there = self._book.sets_of(service)
        found = sets.at_most_one_task_set_is_primary(service, there)
        self._found(sets.at_most_one_task_set_is_primary, found)
        for task_set in commit.steadied:
            why_not = self._book.unsteady_set(view, service, task_set)
            found = sets.a_set_is_steady_when_it_says_so(task_set, why_not)
            self._found(sets.a_set_is_steady_when_it_says_so, found)

    def _may_fail(self, commit: _Commit) -> None:
        """Notes tasks that may count for the circuit breaker of their deployment."""
        for task in commit.ended:
            if task.started_at is None or task.stopped_reason == serving.UNHEALTHY:
                self._failures.setdefault(_owner(task), set()).add(task.id)

    # --- tasks that are made ----------------------------------------------------------------------------------------

    def _made(self, view: View, service: Service | None, task: Task) -> None:
        deployment, task_set = self._book.deployments.get(_owner(task)), self._book.sets.get(_owner(task))
        if service is not None and service.controller == "EXTERNAL":
            found = sets.nothing_starts_for_a_set_that_is_over(service, task_set, task)
            self._found(sets.nothing_starts_for_a_set_that_is_over, found, task.id)
            if task_set is not None:
                found = serving.a_task_is_what_its_revision_says(task, task_set.configuration)
                self._found(serving.a_task_is_what_its_revision_says, found, task.id)
            self._placed(service, task)
            return
        found = serving.nothing_starts_for_what_is_over(service, deployment, task)
        self._found(serving.nothing_starts_for_what_is_over, found, task.id)
        revision = self._book.revisions.get(deployment.revision) if deployment else None
        if service is not None and deployment is not None and revision is not None:
            self._deployed(view, service, deployment, revision, task)
            self._placed(service, task)

    def _deployed(self, view: View, service: Service, deployment: Deployment, revision: Revision, task: Task) -> None:
        found = serving.a_task_is_what_its_revision_says(task, revision.configuration)
        self._found(serving.a_task_is_what_its_revision_says, found, task.id)
        self._found(serving.tags_are_propagated, serving.tags_are_propagated(task, service), task.id)
        recent = self._recent(service, deployment, view.now)
        found = serving.starts_that_fail_are_held_back(service, deployment, recent)
        self._found(serving.starts_that_fail_are_held_back, found, task.id)
        failed = self._surely_failed(service, deployment)
        found = serving.nothing_starts_behind_an_open_breaker(service, deployment, failed)
        self._found(serving.nothing_starts_behind_an_open_breaker, found, task.id)
        names = self._resolved(view, task.definition_arn)
        before = [t for t in self._book.of_part(service, deployment.name) if t.id != task.id]
        found = versions.tasks_of_a_deployment_run_one_version(task, before, names)
        self._found(versions.tasks_of_a_deployment_run_one_version, found, task.id)
        found = versions.only_what_is_consistent_is_resolved(task, names)
        self._found(versions.only_what_is_consistent_is_resolved, found, task.id)

    def _resolved(self, view: View, definition_arn: str) -> frozenset[str]:
        definition = definitions.of_task(view, SCOPE, definition_arn)
        return versions.resolved(definitions.containers(definition) if definition else ())

    def _is_unresolved(self, view: View, deployment: Deployment) -> bool:
        revision = self._book.revisions.get(deployment.revision)
        if revision is None:
            return False
        return not self._resolved(view, revision.configuration.definition_arn) <= revision.images.keys()

    def _placed(self, service: Service, task: Task) -> None:
        instance = self._book.instance(task.instance)
        if instance is not None and not instance.fargate:
            others = [t for t in self._ledger.there(instance.arn) if t.id != task.id]
            found = placing.a_service_keeps_to_its_constraints(task, service.constraints, instance, others)
            self._found(placing.a_service_keeps_to_its_constraints, found, task.id)

    def _recent(self, service: Service, deployment: Deployment, now: float) -> int:
        """Its tasks of the last while, where none of all ever ran."""
        tasks = self._book.of_part(service, deployment.name)
        if deployment.ran or any(t.started_at is not None for t in tasks):
            return 0
        return sum(t.created_at > now - serving.HELD_SECONDS for t in tasks)

    def _surely_failed(self, service: Service, deployment: Deployment) -> int:
        """Tasks of a deployment none of which ever ran, that the scheduler knows to have failed to start."""
        before = self._returned.get(deployment.id, ())
        tasks = self._book.of_part(service, deployment.name)
        if deployment.ran or any(t.started_at is not None for t in tasks):
            return 0
        return sum(t.noted and t.stop_code == "TaskFailedToStart" and t.id not in before for t in tasks)

    # --- events -----------------------------------------------------------------------------------------------------

    def _tells(self, view: View, service: Service, commit: _Commit, why_not: str | None) -> None:
        made = [task.id for task in commit.made]
        found = serving.what_is_started_is_told(service.name, serving.started(commit.messages), made)
        self._found(serving.what_is_started_is_told, found)
        ran = [task.id for old, task in commit.stopped if old.last_status >= TaskStatus.RUNNING]
        found = serving.what_is_stopped_is_told(service.name, serving.stopped(commit.messages), ran)
        self._found(serving.what_is_stopped_is_told, found)
        kept = len(self._book.events.get(service.id, ()))
        found = serving.at_most_a_hundred_events_are_kept(service.name, kept)
        self._found(serving.at_most_a_hundred_events_are_kept, found)
        if any(map(serving.tells_steady, commit.messages)):
            found = serving.a_steady_state_is_true(service, why_not)
            self._found(serving.a_steady_state_is_true, found)
            last, unsteady = self._before.get(service.id), service.id in self._unsteady
            found = serving.a_steady_state_is_told_once(service, last, view.now, unsteady=unsteady)
            self._found(serving.a_steady_state_is_told_once, found)
            self._unsteady.discard(service.id)
            self._told.add(service.id)
        if why_not is not None or commit.stopped:
            self._unsteady.add(service.id)


class _Commit:
    """What one commit does to a service. ``stopped``: (before, now) of tasks that the scheduler stops; ``steadied``:
    task sets that are STEADY_STATE from now on."""

    def __init__(self) -> None:
        self.made: list[Task] = []
        self.changed: list[Task] = []
        self.stopped: list[tuple[Task, Task]] = []
        self.ended: list[Task] = []
        self.messages: list[str] = []
        self.deployments: list[tuple[Deployment, Deployment]] = []
        self.rollouts: list[tuple[ServiceDeployment, ServiceDeployment]] = []
        self.steadied: list[TaskSet] = []

    def task(self, old: Task | None, new: Task | None) -> None:
        if new is None:
            return
        if old is None:
            self.made.append(new)
            return
        self.changed.append(new)
        if old.desired_status == "RUNNING" != new.desired_status and new.stop_code == serving.SCHEDULER:
            self.stopped.append((old, new))
        if new.last_status == TaskStatus.STOPPED != old.last_status:
            self.ended.append(new)

    def record(self, kind: str, old: Any, new: Any) -> None:
        if kind == EVENTS.kind:
            if old is None:
                self.messages.append(new.message)
        elif old is not None and new is not None:
            if kind == DEPLOYMENTS.kind:
                self.deployments.append((old, new))
            elif kind == SERVICE_DEPLOYMENTS.kind:
                self.rollouts.append((old, new))
            elif kind == TASK_SETS.kind and new.stability == "STEADY_STATE" != old.stability:
                self.steadied.append(new)

    def of(self, name: str) -> _Commit:
        """What it starts and stops for one task set."""
        part = _Commit()
        part.made = [t for t in self.made if t.started_by == name]
        part.stopped = [(old, new) for old, new in self.stopped if new.started_by == name]
        return part


def _owner(task: Task) -> str:
    """The id of the deployment or task set that it was started for."""
    return (task.started_by or "").rpartition("/")[2]
