"""What must hold of container instances, of what is placed on them, and of what their agents say. As in ``invariants``:
pure functions that return what is wrong, or None, and whose name is the invariant's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from homeport.services.ecs.model.instance import Instance, Room
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.sim.rules import RULES, SERVED_RULES, Seen

EXTERNAL_ATTRIBUTE = "ecs.capability.external"
GROUP_ATTRIBUTE = "homeport.auto-scaling-group"

# --- rooms ------------------------------------------------------------------------------------------------------------


def a_room_is_as_large_as_its_instance(room: Room, instance: Instance) -> str | None:
    registered = {resource["name"]: resource.get("integerValue") for resource in instance.resources}
    size = {"CPU": room.cpu, "MEMORY": room.memory}
    due = {name: registered.get(name) for name in size}
    return None if size == due else f"{room.arn} has {size}, and registered {due}"


def a_room_lists_the_ports_and_gpus_that_are_taken(
    room: Room, instance: Instance, tasks: Collection[Task]
) -> str | None:
    """``tasks``: those that are charged there."""
    for name, listed, taken in (
        ("PORTS", room.tcp, (port for t in tasks for port in t.tcp)),
        ("PORTS_UDP", room.udp, (port for t in tasks for port in t.udp)),
    ):
        due = sorted({*map(int, _registered(instance, name)), *taken})
        if list(listed) != due:
            return f"{room.arn} has the {name} {list(listed)} taken, it should have {due}"
    free = sorted(set(_registered(instance, "GPU")) - {gpu for task in tasks for gpu in task.gpus})
    return None if list(room.gpus) == free else f"{room.arn} has the GPUs {list(room.gpus)}, free are {free}"


def _registered(instance: Instance, name: str) -> list[str]:
    resource: Mapping[str, Any] = next((r for r in instance.resources if r["name"] == name), {})
    return list(resource.get("stringSetValue") or ())


def nothing_is_held_by_two_tasks(arn: str, tasks: Iterable[Task]) -> str | None:
    """``tasks``: those that are charged on one instance."""
    held = Counter(thing for t in tasks for thing in _things(t))
    twice = sorted(thing for thing, count in held.items() if count > 1)
    return f"{arn} has given {', '.join(twice)} to two tasks" if twice else None


def _things(task: Task) -> list[str]:
    return [*(f"tcp {p}" for p in task.tcp), *(f"udp {p}" for p in task.udp), *task.gpus]


def what_a_task_asks_for_is_charged(task: Task, members: Mapping[str, Any]) -> str | None:
    """``members``: its definition's. Of a task that was just placed on a container instance."""
    mappings = [m for c in members["containerDefinitions"] for m in c.get("portMappings") or ()]
    if members.get("networkMode") not in (None, "bridge", "host"):
        mappings = []
    for protocol, taken in (("tcp", task.tcp), ("udp", task.udp)):
        due = sorted({m["hostPort"] for m in mappings if m.get("hostPort") and m.get("protocol", "tcp") == protocol})
        if sorted(taken) != due:
            return f"it takes the {protocol} ports {sorted(taken)}, its definition asks for {due}"
    if not task.charged:
        return "it is placed and takes nothing"
    return None


# --- placement --------------------------------------------------------------------------------------------------------


def a_task_is_placed_where_it_may(task: Task, instance: Instance | None, groups: Mapping[str, str]) -> str | None:
    """At the moment that it gets its instance. ``groups``: the Auto Scaling group of each capacity provider."""
    if instance is None:
        return f"it is placed on {task.instance}, which isn't there"
    if instance.fargate != (task.launch_type == "FARGATE"):
        return f"a task of {task.launch_type} is placed on {instance.arn}"
    if instance.fargate:
        return None
    if instance.status != "ACTIVE":
        return f"it is placed on {instance.arn}, which is {instance.status}"
    if not instance.connected:
        return f"it is placed on {instance.arn}, which isn't connected"
    kind = "EC2" if instance.attribute(EXTERNAL_ATTRIBUTE) is None else "EXTERNAL"
    if (instance.cluster_arn, kind) != (task.cluster_arn, task.launch_type):
        return f"a task of {task.launch_type} is placed on {kind} {instance.arn}"
    wanted = groups.get(task.capacity_provider or "")
    if wanted is not None and instance.attribute(GROUP_ATTRIBUTE) != wanted:
        return f"a task of {task.capacity_provider} is placed on {instance.arn}"
    return None


def constrains(constraints: Iterable[Mapping[str, Any]], instance: Instance) -> str | None:
    """The first memberOf expression of a service that keeps its tasks away from there."""
    attributes = {a["name"]: a.get("value") or "" for a in instance.attributes} | instance.custom
    nobody: frozenset[str] = frozenset()
    seen = Seen(attributes, instance.ec2_instance_id or "", instance.connected, nobody, nobody)
    expressions = (c["expression"] for c in constraints if c["type"] == "memberOf")
    return next((e for e in expressions if not SERVED_RULES[e](seen)), None)


def a_service_keeps_to_its_constraints(
    task: Task, constraints: Iterable[Mapping[str, Any]], instance: Instance, others: Iterable[Task]
) -> str | None:
    """``task`` was just placed for a service with these; ``others``: all on its instance."""
    constraints = list(constraints)
    broken = constrains(constraints, instance)
    if broken is not None:
        return f"{task.id} is placed where {broken!r} doesn't hold"
    if any(c["type"] == "distinctInstance" for c in constraints):
        return distinct_instances_are_distinct(task, others)
    return None


def distinct_instances_are_distinct(task: Task, others: Iterable[Task]) -> str | None:
    """``task`` was placed with distinctInstance; ``others``: all on its instance."""
    for other in others:
        same = other.id != task.id and other.group == task.group and other.cluster_arn == task.cluster_arn
        if same and other.desired_status == "RUNNING" and other.last_status <= TaskStatus.RUNNING:
            return f"it and {other.id}, both of {task.group}, are on {task.instance}"
    return None


def member_of_is_met(expression: str, seen: Seen) -> str | None:
    """``seen``: the instance that a task with this constraint was placed on."""
    return None if RULES[expression](seen) else f"it is placed where {expression!r} doesn't hold: {seen}"


def a_task_is_placed_once(old: Task, new: Task) -> str | None:
    """Never charged again once it isn't any more, nor elsewhere."""
    if old.instance is not None and not old.charged and new.charged:
        return f"it is charged again on {new.instance}"
    return None


# --- agents -----------------------------------------------------------------------------------------------------------


def an_agent_acts_for_its_own_instance(node: str, instance: Instance | None) -> str | None:
    """``node`` was let do something as, with, or on a task of this instance."""
    if instance is None or instance.node == node:
        return None
    return f"{node} was let act for {instance.arn} of {instance.node}"


def an_agent_sees_its_own_tasks(node: str, arn: str, told: Iterable[str], tasks: Mapping[str, Task]) -> str | None:
    """``told``: ARNs of tasks that were sent to an agent as the instance ``arn``; ``tasks`` by id."""
    for task_arn in told:
        task = tasks.get(task_arn.rpartition("/")[2])
        if task is not None and task.instance != arn:
            return f"{node} is told, as {arn}, of {task_arn}, which is on {task.instance}"
    return None


# --- at rest ----------------------------------------------------------------------------------------------------------


def nothing_waits_for_an_empty_instance(task: Task, empty: Collection[Room]) -> str | None:
    """``task`` waits in PROVISIONING for room; ``empty``: connected, open rooms of its capacity provider that nothing
    is placed in, and that it could run in."""
    return f"{task.id} waits, and {next(iter(empty)).arn} is empty" if empty else None
