"""Bugs that are planted on purpose in what concerns services: scheduler, deployments, breaker, throttle, and what the
store and agents do for them. As in ``planted``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace
from planted import Patch, Plant, search

from homeport.agent import runner
from homeport.services.ecs import (
    deployments,
    service_launch,
    service_loop,
    service_news,
    service_sight,
    service_starts,
    services,
    shortage,
)
from homeport.services.ecs.api import services as api
from homeport.services.ecs.model.service import Throttle
from homeport.services.ecs.model.task import Task
from homeport.services.ecs.scheduling import (
    bounds,
    breaker,
    consistency,
    daemon,
    down,
    health,
    messages,
    reconcile,
    replica,
    rollout,
    scale_in,
    task_sets,
    throttle,
)
from homeport.services.ecs.scheduling.early import Early
from homeport.sim.rollouts import draw_services

# --- the scheduler ----------------------------------------------------------------------------------------------------


def the_upper_bound_is_too_high(patch: Patch) -> None:
    upper = bounds.upper
    patch.setattr(bounds, "upper", lambda desired, configuration: upper(desired, configuration) + 1)


def the_lower_bound_is_ignored(patch: Patch) -> None:
    patch.setattr(bounds, "lower", lambda desired, configuration: 0)


def the_lower_bound_is_rounded_down(patch: Patch) -> None:
    patch.setattr(bounds, "lower", lambda desired, c: desired * c.get("minimumHealthyPercent", 100) // 100)


def a_task_is_healthy_as_soon_as_it_runs(patch: Patch) -> None:
    patch.setattr(health, "UNCHECKED_SECONDS", 0.0)


def health_checks_do_not_matter(patch: Patch) -> None:
    healthy = health.healthy
    patch.setattr(health, "healthy", lambda task, checked, now: healthy(task, frozenset(), now))


def older_tasks_are_left_alone(patch: Patch) -> None:
    let_go = replica._Stopping._let_go

    def keep(self: Any, task: Any) -> None:
        if task.started_by == self._primary.name:
            let_go(self, task)

    patch.setattr(replica._Stopping, "_let_go", keep)


def protection_does_not_matter(patch: Patch) -> None:
    patch.setattr(Task, "protected", lambda self, now: False)


def nothing_is_ever_scaled_in(patch: Patch) -> None:
    patch.setattr(replica._Stopping, "_scale_in", lambda self, keepers: None)


def one_too_many_is_scaled_in(patch: Patch) -> None:
    choose = scale_in.choose
    patch.setattr(scale_in, "choose", lambda free, number, **more: choose(free, number + 1, **more))


def draining_instances_are_not_seen(patch: Patch) -> None:
    patch.setattr(service_sight, "_drains", lambda *of: False)


def unhealthy_tasks_are_never_replaced(patch: Patch) -> None:
    patch.setattr(replica._Stopping, "_replace_unhealthy", lambda self, *of: None)


def a_deleted_service_runs_on(patch: Patch) -> None:
    plan = down.plan

    def leave(seen: Any, ended: Any) -> Any:
        return replace(plan(replace(seen, tasks=()), ended), stops=(), noted=ended)

    patch.setattr(down, "plan", leave)


def tasks_belong_to_no_deployment(patch: Patch) -> None:
    wish = service_launch.wish
    patch.setattr(service_launch, "wish", lambda *of, **more: wish(*of, **{**more, "started_by": "ecs-svc/0"}))


def tags_are_forgotten(patch: Patch) -> None:
    patch.setattr(service_launch, "_tags", lambda service, definition: {})


def what_is_started_is_miscounted(patch: Patch) -> None:
    started = messages.started
    patch.setattr(messages, "started", lambda service, ids, *more: started(service, [*ids, *ids[:1]], *more))


# --- what it is woken by ----------------------------------------------------------------------------------------------


def time_alone_wakes_nobody(patch: Patch) -> None:
    patch.setattr(service_loop.ServiceLoop, "_remember", lambda self, key, at: None)


def the_end_of_a_task_wakes_nobody(patch: Patch) -> None:
    touched = service_news.touched

    def deaf(view: Any, change: Any) -> Any:
        return () if change.key.kind == "task" else touched(view, change)

    patch.setattr(service_news, "touched", deaf)


def freed_room_is_offered_to_nobody(patch: Patch) -> None:
    patch.setattr(shortage.Shortage, "offer", lambda self, key, room, **more: False)


# --- daemons and task sets --------------------------------------------------------------------------------------------


def a_daemon_does_not_wait_for_the_older_ones_end(patch: Patch) -> None:
    moves = daemon.moves

    def at_once(seen: Any, primary: Any, count: Any, now: float) -> Any:
        return moves(seen, primary, replace(count, stopping=()), now)

    patch.setattr(daemon, "moves", at_once)


def daemons_stay_where_they_belong_no_more(patch: Patch) -> None:
    decide = daemon._Stopping.decide

    def stay(self: Any, active: Any) -> None:
        decide(self, active | {t.instance for t in (*self._count.own, *self._count.others)})

    patch.setattr(daemon._Stopping, "decide", stay)


def a_share_of_a_task_is_no_task(patch: Patch) -> None:
    patch.setattr(task_sets, "computed", lambda desired, scale: int(desired * scale / 100))


def a_task_set_that_goes_keeps_its_tasks(patch: Patch) -> None:
    patch.setattr(task_sets, "_drained", lambda task_set, own: task_sets._Step(task_set=None if not own else task_set))


def a_task_set_is_steady_before_all_run(patch: Patch) -> None:
    patch.setattr(task_sets, "_steady", lambda seen, wanted, now: len(seen.tasks) == wanted)


# --- steady states and events -----------------------------------------------------------------------------------------


def it_is_steady_before_it_is_healthy(patch: Patch) -> None:
    def done(seen: Any, counted: Any) -> bool:
        return len(counted.own) == seen.service.desired and not counted.others and not counted.stopping

    patch.setattr(rollout, "is_done", done)


def it_is_done_while_older_tasks_stop(patch: Patch) -> None:
    is_done = rollout.is_done
    patch.setattr(rollout, "is_done", lambda seen, counted: is_done(seen, replace(counted, others=(), stopping=())))


def a_steady_state_is_told_at_every_look(patch: Patch) -> None:
    patch.setattr(reconcile, "STEADY_AGAIN", 0.0)


def a_steady_state_is_never_told(patch: Patch) -> None:
    patch.setattr(reconcile, "_steady", lambda service, steady, now: (replace(service, steady_at=None), []))


# --- deployments ------------------------------------------------------------------------------------------------------


def the_former_deployment_stays_primary(patch: Patch) -> None:
    begin = deployments.begin

    def both(tx: Any, scope: Any, service: Any, *more: Any) -> Any:
        before = services.deployments(tx, scope, service)
        made = begin(tx, scope, service, *more)
        for deployment in before:
            tx.put(deployments.DEPLOYMENTS, scope, deployment)
        return made

    patch.setattr(deployments, "begin", both)


def the_breaker_opens_too_early(patch: Patch) -> None:
    patch.setattr(breaker.Breaker, "threshold", lambda self, desired: 1)


def the_breaker_never_opens(patch: Patch) -> None:
    patch.setattr(breaker.Breaker, "trips", lambda self, failures, desired: False)


def a_breaker_that_is_off_opens(patch: Patch) -> None:
    def trips(self: Any, failures: int, desired: int) -> bool:
        return failures >= max(1, self.threshold(desired))

    patch.setattr(breaker.Breaker, "trips", trips)


def bake_time_is_not_waited_for(patch: Patch) -> None:
    _early(patch, bake=0.0)


def early_success_needs_nobody(patch: Patch) -> None:
    _early(patch, percent=0)


def early_success_leaves_older_tasks(patch: Patch) -> None:
    _early(patch, cleanup="DEFERRED")


def _early(patch: Patch, **fields: Any) -> None:
    configured = Early.configured
    patch.setattr(Early, "configured", staticmethod(lambda given: replace(configured(given), **fields)))


def versions_are_not_resolved(patch: Patch) -> None:
    patch.setattr(service_launch, "_pinned", lambda definition, images: {})


def versions_are_resolved_again(patch: Patch) -> None:
    filled = consistency._filled

    def again(revision: Any, tasks: Any) -> Any:
        return filled(replace(revision, images={}), tasks) if tasks else revision

    patch.setattr(consistency, "_filled", again)


def agents_run_what_the_tag_names(patch: Patch) -> None:
    spec = runner.TaskRunner._spec
    patch.setattr(runner.TaskRunner, "_spec", lambda self, name: replace(spec(self, name), image_digest=""))


def a_failed_deployment_goes_on(patch: Patch) -> None:
    moves = replica.moves

    def on(seen: Any, primary: Any, *more: Any) -> Any:
        return moves(seen, replace(primary, rollout="IN_PROGRESS"), *more)

    patch.setattr(replica, "moves", on)


def a_rollback_returns_to_the_first_good_one(patch: Patch) -> None:
    def first(view: Any, scope: Any, service_id: str) -> Any:
        ranked = view.ranked(deployments.DEPLOYMENTS, scope, "good", service_id).get("good", ())
        return next((d for d in ranked if d.role != "PRIMARY"), None)

    patch.setattr(deployments, "candidate", first)


def a_rollback_keeps_the_configuration(patch: Patch) -> None:
    back = rollout._back

    def keep(seen: Any, *more: Any) -> Any:
        rolled = back(seen, *more)
        service = replace(rolled.seen.service, configuration=seen.service.configuration)
        return replace(rolled, seen=replace(rolled.seen, service=service))

    patch.setattr(rollout, "_back", keep)


def a_rollback_ends_as_a_success(patch: Patch) -> None:
    over = rollout._over

    def again(seen: Any, going: Any, status: Any, now: float) -> Any:
        return over(seen, going, "SUCCESSFUL" if status == "ROLLBACK_SUCCESSFUL" else status, now)

    patch.setattr(rollout, "_over", again)


# --- the throttle -----------------------------------------------------------------------------------------------------


def the_throttle_never_opens(patch: Patch) -> None:
    patch.setattr(throttle, "delay", lambda rounds: 1e6)
    patch.setattr(throttle, "CEILING_SECONDS", 1e9)


def starts_that_fail_are_not_held_back(patch: Patch) -> None:
    patch.setattr(throttle, "delay", lambda rounds: 0.0)


def a_new_deployment_inherits_the_throttle(patch: Patch) -> None:
    noted = throttle.noted

    def inherit(known: Throttle, owner: str, own: Any, now: float) -> Throttle:
        return noted(replace(known, owner=owner), owner, own, now)

    patch.setattr(throttle, "noted", inherit)
    patch.setattr(throttle, "delay", lambda rounds: 6 * 3600.0 if rounds > 1 else 0.0)
    patch.setattr(throttle, "CEILING_SECONDS", 1e9)


# --- counts, operations, tasks ----------------------------------------------------------------------------------------


def pending_tasks_are_not_counted(patch: Patch) -> None:
    counts = services.counts
    patch.setattr(services, "counts", lambda *of: {owner: (running, 0) for owner, (running, _) in counts(*of).items()})


def an_update_of_the_count_is_lost(patch: Patch) -> None:
    changed = api.service_rules.of_changed

    def lose(params: Any, before: Any) -> Any:
        fields = changed(params, before)
        return {**fields, "desired": before.desired} if params.get("taskDefinition") else fields

    patch.setattr(api.service_rules, "of_changed", lose)


def a_deleted_service_drains_for_ever(patch: Patch) -> None:
    plan = down.plan
    patch.setattr(down, "plan", lambda seen, ended: replace(plan(seen, ended), service=seen.service))


def one_provider_is_as_good_as_another(patch: Patch) -> None:
    providers = service_starts._providers
    patch.setattr(service_starts, "_providers", lambda *of: [None for _ in providers(*of)])


BELOW, ABOVE = "never below the lower bound", "never above the upper bound"
COUNT, STEADY = "every service with room reaches its count", "a steady state is true"
PRIMARY, OVER = "exactly one deployment is primary", "nothing starts for what is over"
SAYS_SO, FORWARD = "a steady service says so", "service deployments only go forward"
GOOD, ASKED = "a rollback returns to the last good revision", "the primary deployment is what was asked for"
STILL, DONE = "no service stands still", "a deployment completes when it may"
VERSION = "tasks of a deployment run one version"
DELETED, BREAKER = "nothing of a deleted service runs on", "a deployment fails only by its breaker"


def _plant(plant: Callable[[Patch], None], *found: str, seed: int = 0) -> Plant:
    return Plant(plant.__name__.replace("_", " "), plant, found, seed, draw_services)


SERVICE_PLANTS = (
    _plant(the_upper_bound_is_too_high, ABOVE),
    _plant(the_lower_bound_is_ignored, BELOW),
    _plant(the_lower_bound_is_rounded_down, BELOW, seed=2),
    _plant(a_task_is_healthy_as_soon_as_it_runs, BELOW, STEADY),
    _plant(health_checks_do_not_matter, BELOW, STEADY, STILL),
    _plant(older_tasks_are_left_alone, COUNT, STILL, seed=1),
    _plant(a_deleted_service_runs_on, DELETED),
    _plant(a_deleted_service_drains_for_ever, DELETED),
    _plant(tasks_belong_to_no_deployment, OVER),
    _plant(tags_are_forgotten, "tags are propagated"),
    _plant(what_is_started_is_miscounted, "what is started is told"),
    _plant(time_alone_wakes_nobody, COUNT, STILL, SAYS_SO, seed=1),
    _plant(the_end_of_a_task_wakes_nobody, COUNT, STILL, DELETED),
    _plant(it_is_steady_before_it_is_healthy, STEADY),
    _plant(it_is_done_while_older_tasks_stop, STEADY),
    _plant(a_steady_state_is_told_at_every_look, "a steady state is told once"),
    _plant(a_steady_state_is_never_told, SAYS_SO, seed=1),
    _plant(the_former_deployment_stays_primary, PRIMARY),
    _plant(the_breaker_opens_too_early, BREAKER, seed=4),
    _plant(the_breaker_never_opens, "nothing starts behind an open breaker", seed=2),
    _plant(a_failed_deployment_goes_on, OVER),
    _plant(a_rollback_returns_to_the_first_good_one, GOOD, seed=2),
    _plant(a_rollback_keeps_the_configuration, ASKED, seed=2),
    _plant(a_rollback_ends_as_a_success, FORWARD, seed=2),
    _plant(a_new_deployment_inherits_the_throttle, COUNT, STILL, seed=4),
    _plant(pending_tasks_are_not_counted, "counts equal what runs"),
    _plant(an_update_of_the_count_is_lost, "what was acknowledged is wanted", seed=3),
    _plant(one_provider_is_as_good_as_another, "a task is what its revision says"),
    _plant(protection_does_not_matter, "protected tasks are not scaled in"),
    _plant(nothing_is_ever_scaled_in, STILL),
    _plant(one_too_many_is_scaled_in, "no task is stopped without need", seed=2),
    _plant(draining_instances_are_not_seen, STILL, STEADY, seed=8),
    _plant(freed_room_is_offered_to_nobody, STILL, seed=8),
    _plant(starts_that_fail_are_not_held_back, "starts that fail are held back", seed=6),
    _plant(unhealthy_tasks_are_never_replaced, STILL, seed=7),
    _plant(a_breaker_that_is_off_opens, BREAKER, seed=4),
    _plant(a_daemon_does_not_wait_for_the_older_ones_end, "there is one daemon on an instance", seed=4),
    _plant(daemons_stay_where_they_belong_no_more, STILL, STEADY, DONE, seed=6),
    _plant(a_share_of_a_task_is_no_task, STILL, STEADY, "sets are shown as they are", seed=4),
    _plant(a_task_set_that_goes_keeps_its_tasks, STILL, seed=17),
    _plant(a_task_set_is_steady_before_all_run, "a set is steady when it says so", STEADY, seed=4),
    _plant(bake_time_is_not_waited_for, DONE, seed=1),
    _plant(early_success_needs_nobody, DONE),
    _plant(early_success_leaves_older_tasks, DONE),
    _plant(versions_are_not_resolved, VERSION),
    _plant(versions_are_resolved_again, "a revision never changes"),
    _plant(agents_run_what_the_tag_names, "a container runs its version", seed=2),
)


if __name__ == "__main__":
    search(SERVICE_PLANTS, sys.argv[1:])
