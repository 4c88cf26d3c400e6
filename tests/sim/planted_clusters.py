"""Bugs that are planted on purpose in what concerns container instances and placement. As in ``planted``."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from msgspec.structs import replace
from planted import REST, Patch, Plant, search

from homeport.services.ecs import agentgw, agentsession, expressions, instances, placement, rooms
from homeport.services.ecs.api import run_task
from homeport.services.ecs.model.task import TASKS
from homeport.services.ecs.placement import rules
from homeport.sim.clusters import draw_cluster
from homeport.store import View

# --- rooms ------------------------------------------------------------------------------------------------------------


def _charging(patch: Patch, **changes: Any) -> None:
    charge = rooms.charge
    patch.setattr(rooms, "charge", lambda tx, room, taken: charge(tx, room, taken._replace(**changes)))


def _freeing(patch: Patch, **changes: Any) -> None:
    free = rooms.free
    patch.setattr(rooms, "free", lambda tx, arn, taken: free(tx, arn, taken._replace(**changes)))


def ports_are_not_charged(patch: Patch) -> None:
    _charging(patch, tcp=(), udp=())


def ports_are_not_given_back(patch: Patch) -> None:
    _freeing(patch, tcp=(), udp=())


def interfaces_are_not_charged(patch: Patch) -> None:
    _charging(patch, interfaces=0)


def ports_that_a_machine_keeps_are_given_back(patch: Patch) -> None:
    ports = rooms._ports
    patch.setattr(rooms, "_ports", lambda resources, name: ports(resources, name) if "CPU" in resources else ())
    registered = rooms._resources
    free = rooms.free

    def forget(tx: Any, arn: str, taken: Any) -> None:
        with Patch.context() as inner:
            inner.setattr(rooms, "_resources", lambda instance: {})
            free(tx, arn, taken)
        assert rooms._resources is registered

    patch.setattr(rooms, "free", forget)


def ports_of_tasks_that_are_over_are_forgotten(patch: Patch) -> None:
    find = View.find_global

    def overlook(self: Any, table: Any, index: str, value: Any) -> Any:
        return [] if index == "leaving" else find(self, table, index, value)

    patch.setattr(View, "find_global", overlook)


def a_repeated_call_is_charged_again(patch: Patch) -> None:
    again = run_task._again

    def charge(tx: Any, scope: Any, known: Any, digest: str) -> Any:
        for task in (tx.get(TASKS, scope, id) for id in known.tasks):
            if task is not None and task.charged:
                place = rooms.place_of(task.instance)
                room = tx.get(rooms.ROOMS, *place) if place else None
                if room is not None:
                    rooms.charge(tx, room, task.taken)
        return again(tx, scope, known, digest)

    patch.setattr(run_task, "_again", charge)


def machines_never_have_less(patch: Patch) -> None:
    of = rooms.of

    def grow(view: Any, scope: Any, instance: Any, before: Any) -> Any:
        room = of(view, scope, instance, before)
        return replace(room, memory=max(room.memory, before.memory)) if before else room

    patch.setattr(rooms, "of", grow)


# --- placement --------------------------------------------------------------------------------------------------------


def _forgetting_verdicts(patch: Patch) -> None:
    """What was judged before isn't known, and what is judged wrongly isn't known afterwards."""
    patch.setattr(rules, "_rules", cache(rules.Rules))


def distinct_instances_are_ignored(patch: Patch) -> None:
    patch.setattr(placement.Demand, "distinct", property(lambda demand: False))


def expressions_are_ignored(patch: Patch) -> None:
    _forgetting_verdicts(patch)
    patch.setattr(expressions.Expression, "matches", lambda self, subject: True)


def attributes_that_change_are_overlooked(patch: Patch) -> None:
    _forgetting_verdicts(patch)
    kind = rooms._kind
    patch.setattr(rooms, "_kind", lambda instance: kind(replace(instance, custom={})))


def ports_are_not_looked_at(patch: Patch) -> None:
    for module in (rules, placement.candidates):
        patch.setattr(module, "ports_free", lambda demand, room: True, raising=False)


def silent_instances_are_given_tasks(patch: Patch) -> None:
    change = agentgw._set_room

    def keep(tx: Any, scope: Any, id: str, **changes: Any) -> None:
        change(tx, scope, id, **changes | {"connected": True})

    patch.setattr(agentgw, "_set_room", keep)


def draining_instances_are_opened_when_they_connect(patch: Patch) -> None:
    change = agentgw._set_room

    def reopen(tx: Any, scope: Any, id: str, **changes: Any) -> None:
        change(tx, scope, id, **changes | ({"open": True} if "open" in changes else {}))

    patch.setattr(agentgw, "_set_room", reopen)


def start_task_looks_at_no_room(patch: Patch) -> None:
    patch.setattr(placement, "refusal", lambda demand, room, index: None)


def tasks_stay_with_deregistered_instances(patch: Patch) -> None:
    patch.setattr(instances.lifecycle, "lose", lambda task, now, *why: task)


# --- agents -----------------------------------------------------------------------------------------------------------


def anybody_speaks_for_an_instance(patch: Patch) -> None:
    patch.setattr(rooms, "owns", lambda principal, instance, scope: True)


def agents_are_told_of_all_tasks(patch: Patch) -> None:
    find = View.find_global

    def all_tasks(self: Any, view: Any) -> Any:
        with Patch.context() as inner:
            everything = [pair for pair in view.each(TASKS) if pair[1].instance is not None]
            inner.setattr(View, "find_global", lambda *asked: everything)
            return manifest(self, view)

    manifest = agentsession.Session._manifest
    assert find is View.find_global
    patch.setattr(agentsession.Session, "_manifest", all_tasks)


SUM, LISTS = "a room is the sum of its tasks", "a room lists the ports and gpus that are taken"
OVERDRAWN, HELD = "a room is never overdrawn", "nothing is held by two tasks"
PLACED, OWN = "a task is placed where it may", "an agent acts for its own instance"

CLUSTER_PLANTS = tuple(
    planted._replace(draw=draw_cluster)
    for planted in (
        Plant("ports are not charged", ports_are_not_charged, (LISTS,)),
        Plant("ports are not given back", ports_are_not_given_back, (LISTS,)),
        Plant("interfaces are not charged", interfaces_are_not_charged, (SUM,), seed=3),
        Plant("ports that a machine keeps are given back", ports_that_a_machine_keeps_are_given_back, (LISTS,), seed=4),
        Plant(
            "ports of tasks that are over are forgotten", ports_of_tasks_that_are_over_are_forgotten, (LISTS,), seed=65
        ),
        Plant("a repeated call is charged again", a_repeated_call_is_charged_again, (SUM,), seed=2),
        Plant("machines never have less", machines_never_have_less, ("a room is as large as its instance",), seed=2),
        Plant("distinct instances are ignored", distinct_instances_are_ignored, ("distinct instances are distinct",)),
        Plant("expressions are ignored", expressions_are_ignored, ("member of is met",)),
        Plant(
            "attributes that change are overlooked",
            attributes_that_change_are_overlooked,
            ("member of is met",),
            seed=25,
        ),
        Plant("ports are not looked at", ports_are_not_looked_at, (HELD, LISTS)),
        Plant("silent instances are given tasks", silent_instances_are_given_tasks, (PLACED,), seed=2),
        Plant("draining instances are opened", draining_instances_are_opened_when_they_connect, (PLACED,)),
        Plant(
            "StartTask looks at no room",
            start_task_looks_at_no_room,
            ("a room is never overdrawn", HELD, PLACED, LISTS),
        ),
        Plant(
            "tasks stay with deregistered instances",
            tasks_stay_with_deregistered_instances,
            (REST, "a stop has its cause"),
            seed=17,
        ),
        Plant(
            "anybody speaks for an instance",
            anybody_speaks_for_an_instance,
            (OWN, "nothing is stopped that runs", "a stop has its cause"),
            seed=1,
        ),
        Plant("agents are told of all tasks", agents_are_told_of_all_tasks, ("an agent sees its own tasks",)),
    )
)

if __name__ == "__main__":
    search(CLUSTER_PLANTS, sys.argv[1:])
