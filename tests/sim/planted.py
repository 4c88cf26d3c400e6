"""Bugs that are planted on purpose, one at a time, in the shipped code: the simulator must find each of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection, Iterable
from operator import attrgetter
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from homeport.agent import adopt, health, node, plan, report, runner, telemetry
from homeport.agent.drivers.fake import FakeRuntime
from homeport.agent.network.fake import FakeNetwork
from homeport.services.ec2 import eni
from homeport.services.ec2.model import INTERFACES
from homeport.services.ecs import agentgw, agentsession, groupcast, lifecycle, loops, rooms
from homeport.services.ecs.api import run_task
from homeport.services.ecs.model.instance import Room
from homeport.services.ecs.model.task import TASKS
from homeport.sim.scenario import Scenario, draw
from homeport.sim.world import play
from homeport.store import Store, store

SEARCHED = 200  # seeds

Patch = pytest.MonkeyPatch


class Plant(NamedTuple):
    """``found``: the invariants that it may violate, by name. ``seed``: one whose world, as ``draw`` makes it, finds
    it, so that tests needn't search; ``python tests/sim/planted.py`` searches anew once worlds go another way."""

    name: str
    plant: Callable[[Patch], None]
    found: tuple[str, ...]
    seed: int = 0
    draw: Callable[[int], Scenario] = draw


# --- the control plane ------------------------------------------------------------------------------------------------


def stopped_without_the_nodes_word(patch: Patch) -> None:
    patch.setattr(lifecycle, "gone", lambda task: True)


def room_is_never_given_back(patch: Patch) -> None:
    patch.setattr(rooms, "free", lambda tx, instance, taken: None)


def room_is_not_looked_at(patch: Patch) -> None:
    for left, has in (("cpu_free", "cpu"), ("memory_free", "memory")):
        patch.setattr(Room, left, property(attrgetter(has)))


def reports_are_believed_in_any_order(patch: Patch) -> None:
    fold = lifecycle._fold_container

    def believe(known: Any, told: Any) -> Any:
        return replace(fold(known, told), status=told.status)

    patch.setattr(lifecycle, "_fold_container", believe)


def stopped_tasks_are_soon_forgotten(patch: Patch) -> None:
    patch.setattr(lifecycle, "STOPPED_TASK_SECONDS", 60.0)


def a_repeated_run_task_runs_again(patch: Patch) -> None:
    patch.setattr(run_task, "_known_token", lambda tx, scope, token: None)


def unfinished_work_is_not_resumed(patch: Patch) -> None:
    async def load(self: Any) -> None:
        return

    patch.setattr(loops.TaskLoop, "_load", load)


def addresses_are_not_held(patch: Patch) -> None:
    patch.setattr(eni, "delete", lambda tx, scope, id, now: tx.delete(INTERFACES, scope, id))


def addresses_are_free_before_every_node_knows(patch: Patch) -> None:
    patch.setattr(agentgw.Gateway, "_floor", lambda self: self._seen)


def tasks_are_sent_to_every_node(patch: Patch) -> None:
    hand_out = agentgw.Gateway._hand_out

    def to_all(self: Any, change: Any) -> None:
        hand_out(self, change)
        if change.key.kind == TASKS.kind:
            for session in self._sessions.values():
                session.task_changed(change)

    patch.setattr(agentgw.Gateway, "_hand_out", to_all)


def nodes_are_given_up_too_soon(patch: Patch) -> None:
    patch.setattr(agentgw, "LOST_SECONDS", 20.0)


def rules_that_change_are_not_sent(patch: Patch) -> None:
    patch.setattr(groupcast.Groupcast, "touch", lambda self, group_ids: False)


def a_stop_is_sent_only_once(patch: Patch) -> None:
    begin = agentsession.Session.__init__
    sent: dict[Any, Any] = {}

    def remember(self: Any, *args: Any) -> None:
        begin(self, *args)
        self._sent = sent.setdefault(self._store, {})

    patch.setattr(agentsession.Session, "__init__", remember)


# --- the store --------------------------------------------------------------------------------------------------------


def answers_before_it_is_durable(patch: Patch) -> None:
    async def at_once(self: Any, version: int) -> None:
        return

    patch.setattr(Store, "_settled", at_once)


def a_failed_append_is_not_undone(patch: Patch) -> None:
    patch.setattr(store, "restore", lambda touched: None)


# --- the agent --------------------------------------------------------------------------------------------------------


def acknowledges_before_it_is_on_disk(patch: Patch) -> None:
    async def durable(self: Any) -> None:
        return

    patch.setattr(runner.TaskRunner, "durable", durable)


def nothing_is_adopted(patch: Patch) -> None:
    def forget(*found: Any) -> adopt.Adoption:
        return replace(adopt.adopt(*found), tasks=())

    patch.setattr(node, "adopt", forget)


def sigkill_is_never_sent(patch: Patch) -> None:
    patch.setattr(plan, "_kill_at", lambda spec, c, signalled: float("inf"))


def interfaces_are_left_behind(patch: Patch) -> None:
    async def detach(self: Any, task_id: str) -> None:
        return

    patch.setattr(FakeNetwork, "detach", detach)


def exit_codes_are_made_up(patch: Patch) -> None:
    tell = report._container

    def lie(*args: Any) -> Any:
        told = tell(*args)
        return replace(told, exit_code=0 if told.exit_code is not None else None)

    patch.setattr(report, "_container", lie)


def stopped_is_reported_before_it_is_so(patch: Patch) -> None:
    patch.setattr(report, "ended", lambda goal, seen: goal.stop)


def groups_are_acknowledged_before_they_are_enforced(patch: Patch) -> None:
    enforce = FakeNetwork.groups

    async def later(self: Any, message: Any) -> None:
        asyncio.get_running_loop().call_later(60.0, lambda: asyncio.ensure_future(enforce(self, message)))

    patch.setattr(FakeNetwork, "groups", later)


# --- what the agent does with containers ------------------------------------------------------------------------------


def dependencies_are_not_waited_for(patch: Patch) -> None:
    patch.setattr(plan, "_dependency", lambda goal, seen, need: "met")


def _needing(patch: Patch, condition: str, instead: Any) -> None:
    dependency = plan._dependency

    def judge(goal: Any, seen: Any, need: Any) -> Any:
        return dependency(goal, seen, replace(need, condition=instead) if need.condition == condition else need)

    patch.setattr(plan, "_dependency", judge)


def health_is_not_waited_for(patch: Patch) -> None:
    _needing(patch, "HEALTHY", "START")


def any_end_is_a_success(patch: Patch) -> None:
    _needing(patch, "SUCCESS", "COMPLETE")


def start_timeouts_are_ignored(patch: Patch) -> None:
    patch.setattr(plan, "_gives_up_at", lambda goal, facts, need: None)


def start_timeouts_are_too_short(patch: Patch) -> None:
    gives_up = plan._gives_up_at

    def soon(goal: Any, facts: Any, need: Any) -> float | None:
        at = gives_up(goal, facts, need)
        return None if at is None else at - goal.container(need.container_name).start_timeout / 2

    patch.setattr(plan, "_gives_up_at", soon)


def all_stop_at_once(patch: Patch) -> None:
    patch.setattr(plan, "_needed", lambda goal, seen, name: False)


def stop_timeouts_are_ignored(patch: Patch) -> None:
    patch.setattr(plan, "_kill_at", lambda spec, c, signalled: signalled + 30.0)


def sigkill_comes_at_once(patch: Patch) -> None:
    patch.setattr(plan, "_kill_at", lambda spec, c, signalled: signalled + 1.0)


def a_stop_is_not_written_down_first(patch: Patch) -> None:
    bring_down = plan._bring_down
    patch.setattr(plan, "_bring_down", lambda goal, seen, spec: bring_down(goal, replace(seen, saved=True), spec))


def _checking(patch: Patch, **changes: Any) -> None:
    judged = health.judged
    patch.setattr(health, "judged", lambda known, check, *more: judged(known, replace(check, **changes), *more))


def one_failed_check_is_enough(patch: Patch) -> None:
    _checking(patch, retries=1)


def start_periods_are_ignored(patch: Patch) -> None:
    _checking(patch, start_period=0)


def health_outlives_a_restart(patch: Patch) -> None:
    again = plan.restarted
    for module in (runner, adopt):
        patch.setattr(module, "restarted", lambda c, seen, now: replace(again(c, seen, now), health=c.health))


def restarts_are_not_counted(patch: Patch) -> None:
    again = plan.restarted
    for module in (runner, adopt):
        patch.setattr(module, "restarted", lambda c, seen, now: replace(again(c, seen, now), restarts=c.restarts))


def nothing_is_restarted(patch: Patch) -> None:
    for module in (runner, adopt):
        patch.setattr(module, "settled", lambda goal, facts, name, container: container)


def _restarting(patch: Patch, **changes: Any) -> None:
    settled = plan.settled

    def settle(goal: Any, facts: Any, name: str, container: Any) -> Any:
        specs = tuple(
            replace(c, restart_policy=replace(c.restart_policy, **changes)) if c.restart_policy else c
            for c in goal.spec.containers
        )
        return settled(replace(goal, spec=replace(goal.spec, containers=specs)), facts, name, container)

    for module in (runner, adopt):
        patch.setattr(module, "settled", settle)


def restarts_do_not_wait_for_their_period(patch: Patch) -> None:
    _restarting(patch, period=0)


def ignored_exit_codes_are_not_ignored(patch: Patch) -> None:
    _restarting(patch, ignored_exit_codes=())


def out_of_memory_is_not_told(patch: Patch) -> None:
    tell = report.reason
    patch.setattr(report, "reason", lambda c: tell(replace(c, oom=False)))


def changes_of_health_wait_for_the_next_message(patch: Patch) -> None:
    patch.setattr(telemetry.Telemetry, "changed", lambda self, task_id: None)


def only_the_first_health_is_kept(patch: Patch) -> None:
    fold = lifecycle.health_told

    def once(task: Any, told: Any) -> Any:
        known = {c.name for c in task.containers if c.health != "UNKNOWN"}
        return fold(task, {name: status for name, status in told.items() if name not in known})

    patch.setattr(lifecycle, "health_told", once)


def volumes_are_left_behind(patch: Patch) -> None:
    patch.setattr(FakeRuntime, "remove_task", lambda self, task_id: self.task_folders.discard(task_id))


def volumes_go_when_an_agent_starts(patch: Patch) -> None:
    def forget(*found: Any) -> adopt.Adoption:
        adopted = adopt.adopt(*found)
        return replace(adopted, folders=tuple(record.goal.task_id for record in adopted.tasks))

    patch.setattr(node, "adopt", forget)


FORGOTTEN = "a stopped task is forgotten in the end"
REST, LOST = "everything comes to rest", "nothing acknowledged is lost"
RULES = "every node enforces the rules"
CONDITIONS, CHECKS = "a container starts when its conditions hold", "health is what the checks say"
KILLS, SEEN = "sigkill waits for the stop timeout", "health is seen in time"
POLICY, SHOWN = "a restart is within its policy", "health is shown"
LASTS, TOLD = "a volume lasts as long as its task", "every end is told"
REUSED = ("no address is reused before it is free", "no address is attached twice", "no address is given twice")

PLANTS = (
    Plant("stopped without the node's word", stopped_without_the_nodes_word, ("nothing is stopped that runs",)),
    Plant("room is never given back", room_is_never_given_back, ("a room is the sum of its tasks",)),
    Plant("room is not looked at", room_is_not_looked_at, ("a room is never overdrawn",), seed=3),
    Plant(
        "reports are believed in any order", reports_are_believed_in_any_order, ("statuses only go forward",), seed=3
    ),
    Plant(
        "stopped tasks are soon forgotten", stopped_tasks_are_soon_forgotten, ("a stopped task is kept for an hour",)
    ),
    Plant(
        "a repeated RunTask runs again",
        a_repeated_run_task_runs_again,
        ("run task makes no more than it is asked for",),
        seed=3,
    ),
    Plant("unfinished work is not resumed", unfinished_work_is_not_resumed, (REST, FORGOTTEN), seed=1),
    Plant("addresses are not held", addresses_are_not_held, REUSED, seed=1),
    Plant("addresses are free before every node knows", addresses_are_free_before_every_node_knows, REUSED, seed=1),
    Plant(
        "tasks are sent to every node",
        tasks_are_sent_to_every_node,
        ("an agent sees its own tasks", "a task runs on one node"),
    ),
    Plant("nodes are given up too soon", nodes_are_given_up_too_soon, ("a stop has its cause",), seed=1),
    Plant("rules that change are not sent", rules_that_change_are_not_sent, (RULES, *REUSED), seed=1),
    Plant("a stop is sent only once", a_stop_is_sent_only_once, (REST,), seed=54),
    Plant(
        "answers before it is durable", answers_before_it_is_durable, (LOST, TOLD, "answers only go forward"), seed=3
    ),
    Plant("a failed append is not undone", a_failed_append_is_not_undone, (LOST,), seed=11),
    Plant("acknowledges before it is on disk", acknowledges_before_it_is_on_disk, (REST,), seed=25),
    Plant("nothing is adopted", nothing_is_adopted, (REST, LASTS, "nothing is stopped that runs"), seed=1),
    Plant("SIGKILL is never sent", sigkill_is_never_sent, (REST,), seed=1),
    Plant("interfaces are left behind", interfaces_are_left_behind, (*REUSED, RULES, "nothing is left")),
    Plant("exit codes are made up", exit_codes_are_made_up, ("exit codes are true",)),
    Plant("stopped is reported too early", stopped_is_reported_before_it_is_so, ("nothing is stopped that runs",)),
    Plant("groups are acknowledged too early", groups_are_acknowledged_before_they_are_enforced, REUSED, seed=20),
    Plant("dependencies are not waited for", dependencies_are_not_waited_for, (CONDITIONS,)),
    Plant("health is not waited for", health_is_not_waited_for, (CONDITIONS,)),
    Plant("any end is a success", any_end_is_a_success, (CONDITIONS,), seed=10),
    Plant("start time-outs are ignored", start_timeouts_are_ignored, (REST,), seed=1),
    Plant("start time-outs are too short", start_timeouts_are_too_short, ("a dependency is given up with a cause",)),
    Plant("all stop at once", all_stop_at_once, ("dependents stop first",)),
    Plant("stop time-outs are ignored", stop_timeouts_are_ignored, (KILLS,), seed=1),
    Plant("SIGKILL comes at once", sigkill_comes_at_once, (KILLS,), seed=1),
    Plant(
        "a stop is not written down first",
        a_stop_is_not_written_down_first,
        ("nothing starts in a task that stops",),
        seed=557,
    ),
    Plant("one failed check is enough", one_failed_check_is_enough, (CHECKS,), seed=1),
    Plant("start periods are ignored", start_periods_are_ignored, (CHECKS,), seed=2),
    Plant("health outlives a restart", health_outlives_a_restart, (CHECKS,), seed=13),
    Plant("restarts are not counted", restarts_are_not_counted, ("restarts are counted", CHECKS), seed=13),
    Plant("nothing is restarted", nothing_is_restarted, ("an end before a restart is not told",), seed=14),
    Plant("restarts don't wait for their period", restarts_do_not_wait_for_their_period, (POLICY,)),
    Plant("ignored exit codes aren't ignored", ignored_exit_codes_are_not_ignored, (POLICY,), seed=4),
    Plant("out of memory is not told", out_of_memory_is_not_told, ("reasons are true",), seed=4),
    Plant("changes of health wait", changes_of_health_wait_for_the_next_message, (SEEN,)),
    Plant("only the first health is kept", only_the_first_health_is_kept, (SEEN, SHOWN), seed=3),
    Plant("volumes are left behind", volumes_are_left_behind, ("no volume outlives its task",)),
    Plant("volumes go when an agent starts", volumes_go_when_an_agent_starts, (LASTS, "a volume is made once"), seed=1),
)


def search(plants: Iterable[Plant], names: Collection[str]) -> None:
    """Prints the seed that finds each of them first; of those with these names, or of all."""
    for planted in (one for one in plants if not names or one.name in names):
        with pytest.MonkeyPatch.context() as patch:
            planted.plant(patch)
            found = ((seed, play(planted.draw(seed)).violation) for seed in range(SEARCHED))
            first = next(((seed, violation) for seed, violation in found if violation is not None), None)
        if first is None:
            print(f"{planted.name}: not found in {SEARCHED} seeds", flush=True)
        else:
            known = "" if first[1].invariant in planted.found else ", which isn't what it should violate"
            print(f"{planted.name}: seed {first[0]}: {first[1].invariant}{known}", flush=True)


if __name__ == "__main__":
    search(PLANTS, sys.argv[1:])
