"""What must always hold. Each is a pure function that returns what is wrong, or None; its name is the invariant's.

Those of the first part are checked at every commit, those of the second at every start of the control plane or answer
of it, those of the third when the world has come to rest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from homeport.agent.drivers import Observed
from homeport.agentapi import Group, InterfaceSpec
from homeport.services.ec2.model import NetworkInterface
from homeport.services.ecs.model.instance import Room
from homeport.services.ecs.model.task import STOPPED_TASK_SECONDS, NodeStatus, Task, TaskStatus

_CONTAINER = ("PENDING", "RUNNING", "STOPPED")


def name_of(invariant: Callable[..., object]) -> str:
    return invariant.__name__.replace("_", " ")


def runtime_ids(task: Task) -> list[str]:
    """Its containers as their runtime calls them."""
    return [f"{task.id}-{number}" for number in range(len(task.containers))]


# --- at every commit ------------------------------------------------------------------------------------------------


def statuses_only_go_forward(old: Task, new: Task) -> str | None:
    if new.last_status < old.last_status:
        return f"lastStatus goes from {old.last_status.name} to {new.last_status.name}"
    if new.node_status < old.node_status:
        return f"the node's word goes from {old.node_status.name} to {new.node_status.name}"
    for before, after in zip(old.containers, new.containers, strict=True):
        if _CONTAINER.index(after.status) < _CONTAINER.index(before.status):
            return f"container {after.name} goes from {before.status} to {after.status}"
    return None


def a_stop_is_for_good(old: Task, new: Task) -> str | None:
    if old.desired_status == "STOPPED" and new.desired_status != "STOPPED":
        return "desiredStatus goes back to RUNNING"
    if old.stop_code is not None and (old.stop_code, old.stopped_reason) != (new.stop_code, new.stopped_reason):
        return f"its reason changes from {old.stop_code} to {new.stop_code}"
    return None


def a_task_stays_where_it_was_placed(old: Task, new: Task) -> str | None:
    moved = old.instance is not None and new.instance != old.instance
    return f"it moves from {old.instance} to {new.instance}" if moved else None


def an_exit_code_is_told_once(old: Task, new: Task) -> str | None:
    for before, after in zip(old.containers, new.containers, strict=True):
        if before.status == "STOPPED" and before.exit_code != after.exit_code:
            return f"the exit code of {after.name} changes from {before.exit_code} to {after.exit_code}"
    return None


def a_stopped_task_is_kept_for_an_hour(old: Task, now: float) -> str | None:
    """``old`` is deleted at ``now``, by the control plane's wall clock."""
    if old.stopped_at is None:
        return f"it is forgotten while it is {old.last_status.name}"
    kept = now - old.stopped_at
    return f"it is forgotten after {kept:.0f} s" if kept < STOPPED_TASK_SECONDS else None


class Causes(NamedTuple):
    """What may end a task. ``asked``: StopTask was called; ``ended``: runtime ids of containers that are over;
    ``rebooted``: its node was, some time; ``heard``: seconds since the control plane last got a word of its node;
    ``given_up``: its instance was deregistered by force."""

    asked: bool
    ended: Collection[str]
    rebooted: bool
    heard: float
    given_up: bool = False


def a_stop_has_its_cause(task: Task, causes: Causes, patience: float) -> str | None:
    """``task`` was just told to stop. ``patience``: seconds after which a silent node may be given up."""
    essential = [id for c, id in zip(task.containers, runtime_ids(task), strict=True) if c.essential]
    match task.stop_code:
        case "UserInitiated" if not (causes.asked or causes.given_up):
            return "it is stopped by a user, and none asked for it"
        case "EssentialContainerExited" if not any(id in causes.ended for id in essential):
            return "it is stopped for an essential container's end, and all of them run"
        case "TerminationNotice" if not causes.rebooted:
            return f"it is stopped with its machine ({task.stopped_reason}), which never went down"
        case "InfrastructureHealth" if causes.heard < patience and not causes.given_up:
            return f"its node is given up, and was heard {causes.heard:.1f} s ago"
    return None


def run_task_makes_no_more_than_it_is_asked_for(made: Collection[str], count: int) -> str | None:
    return f"{len(made)} tasks were made where {count} were asked for" if len(made) > count else None


def nothing_is_stopped_that_runs(task: Task, running: Collection[str]) -> str | None:
    """``running``: runtime ids of containers, on whatever node. Nobody knows what a lost node does."""
    if task.lost:
        return None
    if task.last_status == TaskStatus.STOPPED and any(id in running for id in runtime_ids(task)):
        return "it is STOPPED and runs"
    for container, id in zip(task.containers, runtime_ids(task), strict=True):
        if container.status == "STOPPED" and id in running:
            return f"its container {container.name} is STOPPED and runs"
    return None


def what_is_running_was_started(task: Task, begun: Collection[str]) -> str | None:
    for container, id in zip(task.containers, runtime_ids(task), strict=True):
        if container.ran and id not in begun:
            return f"its container {container.name} is said to have run, and was never started"
    return None


def exit_codes_are_true(task: Task, ends: Mapping[str, Observed]) -> str | None:
    """``ends``: how containers ended, by runtime id."""
    for container, id in zip(task.containers, runtime_ids(task), strict=True):
        real = ends[id].exit_code if id in ends else None
        if container.exit_code is not None and container.exit_code != real:
            return f"{container.name} ended with {real}, {container.exit_code} was reported"
    return None


def a_room_is_never_overdrawn(room: Room, before: Room | None = None) -> str | None:
    """``before``: what it was. A machine may come back with less than its tasks take; then it gets no more of them."""
    had = before or Room(id=room.id, arn=room.arn, cpu=0, memory=0)
    for what, used, was, limit in (
        ("CPU", room.cpu_used, had.cpu_used, room.cpu),
        ("MiB", room.memory_used, had.memory_used, room.memory),
        ("interfaces", room.interfaces_used, had.interfaces_used, room.interfaces or None),
        ("tasks", room.tasks, had.tasks, None),
    ):
        if used < 0:
            return f"{room.arn} has given more than all: {used} {what} are taken"
        if limit is not None and used > limit and used > was:
            return f"{room.arn} now gives {used} of {limit} {what}"
    return None


def a_room_is_the_sum_of_its_tasks(room: Room, tasks: Collection[Task]) -> str | None:
    """``tasks``: those that are charged there."""
    taken = (room.cpu_used, room.memory_used, room.interfaces_used, room.tasks)
    due = (*(sum(getattr(t.taken, name) for t in tasks) for name in ("cpu", "memory", "interfaces")), len(tasks))
    return None if taken == due else f"{room.arn} has given {taken}, its tasks take {due}"


class Node(NamedTuple):
    """What a node enforces and holds, whatever the control plane knows. ``heard``: seconds since the control plane last
    got a word of it."""

    name: str
    heard: float
    groups: Mapping[str, Group]
    interfaces: Mapping[str, InterfaceSpec]


def no_address_is_given_twice(new: NetworkInterface, others: Iterable[NetworkInterface]) -> str | None:
    """``others``: every interface that there is."""
    for other in others:
        if other.id == new.id:
            continue
        if other.vpc_id == new.vpc_id and other.private_address == new.private_address:
            return f"{new.id} and {other.id} both have {new.private_address}"
        if new.public_address and other.public_address == new.public_address:
            return f"{new.id} and {other.id} both have {new.public_address}"
    return None


def no_address_is_reused_before_it_is_free(new: NetworkInterface, nodes: Iterable[Node], hold: float) -> str | None:
    """``new`` was just made. No node may still route its addresses or let one through, unless it has been silent for
    ``hold`` seconds."""
    for node in nodes:
        if node.heard > hold:
            continue
        for group in _let_through(node):
            if new.private_address in group.members:
                return f"{node.name} still takes {new.private_address} for a member of {group.group_id}"
        for task, held in node.interfaces.items():
            if held.private_address == new.private_address or (held.public_address or "-") == new.public_address:
                return f"{node.name} still has the addresses of {new.id} for the task {task}"
    return None


def _let_through(node: Node) -> list[Group]:
    """The groups whose members reach an interface of the node, or are reached by one."""
    own = {id for interface in node.interfaces.values() for id in interface.groups}
    rules = [r for id in own if id in node.groups for r in (*node.groups[id].ingress, *node.groups[id].egress)]
    return [node.groups[id] for id in {id for rule in rules for id in rule.groups} if id in node.groups]


# --- at machines ----------------------------------------------------------------------------------------------------


def a_task_runs_on_one_node(container: str, node: str, others: Mapping[str, Collection[str]]) -> str | None:
    """``container`` is about to start on ``node``; ``others``: what was ever started, by node."""
    task = container.rpartition("-")[0]
    for other, begun in others.items():
        if other != node and any(id.rpartition("-")[0] == task for id in begun):
            return f"{container} starts on {node}, and containers of the task were started on {other}"
    return None


def no_address_is_attached_twice(new: InterfaceSpec, nodes: Iterable[Node], hold: float) -> str | None:
    for node in nodes:
        for task, held in node.interfaces.items():
            if node.heard > hold or held.eni_id == new.eni_id:
                continue
            if held.private_address == new.private_address or (held.public_address or "-") == new.public_address:
                return f"{new.eni_id} is attached with an address that {node.name} has for the task {task}"
    return None


# --- across crashes, and to callers ---------------------------------------------------------------------------------


def nothing_acknowledged_is_lost(arn: str, task: Task | None, stopped: bool) -> str | None:
    """``task``: the record of an acknowledged RunTask whose hour isn't over; ``stopped``: a StopTask was too."""
    if task is None:
        return f"{arn} was acknowledged and is gone"
    if stopped and task.desired_status != "STOPPED":
        return f"StopTask of {arn} was acknowledged, and its desiredStatus is {task.desired_status}"
    return None


def answers_only_go_forward(arn: str, before: TaskStatus, answered: TaskStatus) -> str | None:
    """``before``: the furthest status that any answer gave before this call was made."""
    went_back = answered < before
    return f"{arn} was answered to be {before.name} and now to be {answered.name}" if went_back else None


# --- at rest --------------------------------------------------------------------------------------------------------


def every_end_is_told(task: Task, ends: Mapping[str, Observed]) -> str | None:
    """Of a task that is STOPPED, and whose node wasn't lost."""
    for container, id in zip(task.containers, runtime_ids(task), strict=True):
        end = ends.get(id)
        if end is not None and end.exit_code != container.exit_code:
            return f"{task.id}: {container.name} ended with {end.exit_code}, and {container.exit_code} is told"
    return None


def everything_comes_to_rest(
    task: Task, running: Collection[str], on_its_node: Collection[str], *, orphan: bool = False
) -> str | None:
    """``running``: runtime ids of running containers anywhere, ``on_its_node`` on the task's own node. ``orphan``: its
    instance was deregistered by force."""
    attachments = {attachment.status for attachment in task.attachments}
    if task.last_status == TaskStatus.STOPPED:
        if "ATTACHED" in attachments:
            return f"{task.id} is STOPPED, and its interface attached"
        if task.node_status != NodeStatus.STOPPED and task.instance is not None and not orphan:
            return f"{task.id} is STOPPED, and its node never said so"
        return f"{task.id} is STOPPED and runs" if any(id in running for id in runtime_ids(task)) else None
    if task.last_status != TaskStatus.RUNNING or task.desired_status != "RUNNING":
        return f"{task.id} hangs in {task.last_status.name}, wanted {task.desired_status}"
    if attachments != ({"ATTACHED"} if attachments or task.launch_type == "FARGATE" else set()):
        return f"{task.id} is RUNNING, and its interface {attachments}"
    for container, id in zip(task.containers, runtime_ids(task), strict=True):
        if (container.status == "RUNNING") != (id in on_its_node):
            where = "runs" if id in on_its_node else "doesn't run"
            return f"{task.id}: {container.name} is {container.status} and {where} on its node"
    return None


def health_is_shown(task: Task, known: Mapping[tuple[str, str], tuple[str, float]]) -> str | None:
    """``known``: health as nodes know it, by ids of task and container's name."""
    for container in task.containers:
        health, _ = known.get((task.id, container.name), ("UNKNOWN", 0.0))
        if container.status == "RUNNING" and container.health != health:
            return f"{task.id}: {container.name} is shown {container.health}, its node knows it to be {health}"
    return None


def every_node_enforces_the_rules(
    node: str, enforced: Mapping[str, Group], direct: Iterable[Group], peers: Iterable[Group]
) -> str | None:
    """``direct``: the groups of the node's interfaces as the API has them, ``peers``: those that their rules name."""
    for group in direct:
        has = enforced.get(group.group_id)
        if has is None or (has.ingress, has.egress) != (group.ingress, group.egress):
            return f"{node} enforces {has} where it should {group}"
    for group in peers:
        has = enforced.get(group.group_id)
        if has is None or has.members != group.members:
            return f"{node} takes {has} for the group {group}"
    return None


def nothing_is_left(what: str, left: Collection[object]) -> str | None:
    return f"{what}: {sorted(map(str, left))[:5]}" if left else None
