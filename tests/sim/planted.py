"""Bugs that are planted on purpose, one at a time, in the shipped code: the simulator must find each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from homeport.agent import adopt, node, plan, report, runner
from homeport.agent.network.fake import FakeNetwork
from homeport.services.ec2 import eni
from homeport.services.ec2.model import INTERFACES
from homeport.services.ecs import agentgw, agentsession, groupcast, lifecycle, loops, placement, rooms
from homeport.services.ecs.api import run_task
from homeport.services.ecs.model.task import TASKS
from homeport.store import Store, store

Patch = pytest.MonkeyPatch


class Plant(NamedTuple):
    """``found``: the invariants that it may violate, by name."""

    name: str
    plant: Callable[[Patch], None]
    found: tuple[str, ...]


# --- the control plane ------------------------------------------------------------------------------------------------


def stopped_without_the_nodes_word(patch: Patch) -> None:
    patch.setattr(lifecycle, "gone", lambda task: True)


def room_is_never_given_back(patch: Patch) -> None:
    patch.setattr(rooms, "free", lambda tx, instance, cpu, memory: None)


def room_is_not_looked_at(patch: Patch) -> None:
    patch.setattr(placement, "refusal", lambda demand, room: None)


def reports_are_believed_in_any_order(patch: Patch) -> None:
    fold = lifecycle._fold_container

    def believe(known: Any, told: Any) -> Any:
        return msgspec.structs.replace(fold(known, told), status=told.status)

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
    begin, sent = agentsession.Session.__init__, {}

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
        return msgspec.structs.replace(adopt.adopt(*found), tasks=())

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
        return msgspec.structs.replace(told, exit_code=0 if told.exit_code is not None else None)

    patch.setattr(report, "_container", lie)


def stopped_is_reported_before_it_is_so(patch: Patch) -> None:
    patch.setattr(report, "ended", lambda goal, seen: goal.stop)


def groups_are_acknowledged_before_they_are_enforced(patch: Patch) -> None:
    enforce = FakeNetwork.groups

    async def later(self: Any, message: Any) -> None:
        asyncio.get_running_loop().call_later(60.0, lambda: asyncio.ensure_future(enforce(self, message)))

    patch.setattr(FakeNetwork, "groups", later)


REST, LOST = "everything comes to rest", "nothing acknowledged is lost"
RULES = "every node enforces the rules"
REUSED = ("no address is reused before it is free", "no address is attached twice", "no address is given twice")

PLANTS = (
    Plant("stopped without the node's word", stopped_without_the_nodes_word, ("nothing is stopped that runs",)),
    Plant("room is never given back", room_is_never_given_back, ("a room is the sum of its tasks",)),
    Plant("room is not looked at", room_is_not_looked_at, ("a room is never overdrawn",)),
    Plant("reports are believed in any order", reports_are_believed_in_any_order, ("statuses only go forward",)),
    Plant(
        "stopped tasks are soon forgotten", stopped_tasks_are_soon_forgotten, ("a stopped task is kept for an hour",)
    ),
    Plant(
        "a repeated RunTask runs again",
        a_repeated_run_task_runs_again,
        ("run task makes no more than it is asked for",),
    ),
    Plant("unfinished work is not resumed", unfinished_work_is_not_resumed, (REST,)),
    Plant("addresses are not held", addresses_are_not_held, REUSED),
    Plant("addresses are free before every node knows", addresses_are_free_before_every_node_knows, REUSED),
    Plant("tasks are sent to every node", tasks_are_sent_to_every_node, ("a task runs on one node", *REUSED)),
    Plant("nodes are given up too soon", nodes_are_given_up_too_soon, ("a stop has its cause",)),
    Plant("rules that change are not sent", rules_that_change_are_not_sent, (RULES, *REUSED)),
    Plant("a stop is sent only once", a_stop_is_sent_only_once, (REST,)),
    Plant("answers before it is durable", answers_before_it_is_durable, (LOST, "answers only go forward")),
    Plant("a failed append is not undone", a_failed_append_is_not_undone, (LOST,)),
    Plant("acknowledges before it is on disk", acknowledges_before_it_is_on_disk, (REST,)),
    Plant("nothing is adopted", nothing_is_adopted, (REST, "nothing is stopped that runs")),
    Plant("SIGKILL is never sent", sigkill_is_never_sent, (REST,)),
    Plant("interfaces are left behind", interfaces_are_left_behind, (*REUSED, RULES, "nothing is left")),
    Plant("exit codes are made up", exit_codes_are_made_up, ("exit codes are true",)),
    Plant("stopped is reported too early", stopped_is_reported_before_it_is_so, ("nothing is stopped that runs",)),
    Plant("groups are acknowledged too early", groups_are_acknowledged_before_they_are_enforced, REUSED),
)
