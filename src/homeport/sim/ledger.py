"""The auditor's book of container instances: what they have, what is placed on them, and whose they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

import msgspec

from homeport.services.ecs import definitions
from homeport.services.ecs.model.instance import INSTANCES, ROOMS, Instance, Room
from homeport.services.ecs.model.task import NodeStatus, Task, TaskStatus
from homeport.sim import invariants, placing
from homeport.sim.clusters import PROVIDERS
from homeport.sim.control import SCOPE
from homeport.sim.rules import Seen
from homeport.store import Change, View


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks of placement. ``started``: by StartTask, which is told where."""

    expressions: tuple[str, ...] = ()
    distinct: bool = False
    started: bool = False


class Found(Protocol):
    """Is told what an invariant has found, if anything, and the id of the task that it is about."""

    def __call__(self, invariant: Callable[..., str | None], found: str | None, task: str = "") -> None: ...


class Ledger:
    def __init__(self, found: Found) -> None:
        self._found = found
        self.rooms: dict[str, Room] = {}  # by id, as all of these
        self.instances: dict[str, Instance] = {}
        self._charged: dict[str, dict[str, Task]] = {}  # tasks by their instance
        self._there: dict[str, dict[str, Task]] = {}  # the same, also of those that are over
        self.nodes: dict[str, str] = {}  # ARN → node; of every instance that there ever was
        self.wishes: dict[str, Wish] = {}  # by ``startedBy``

    # --- its books --------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        self.rooms, self.instances, self._charged, self._there = {}, {}, {}, {}

    def book_task(self, old: Task | None, new: Task | None) -> None:
        if old is not None and old.instance is not None:
            for book in (self._charged, self._there):
                book.get(_id(old.instance), {}).pop(old.id, None)
        if new is not None and new.instance is not None:
            self._there.setdefault(_id(new.instance), {})[new.id] = new
            if new.charged:
                self._charged.setdefault(_id(new.instance), {})[new.id] = new

    def book(self, kind: str, id: str, new: Any) -> None:
        book: dict[str, Any] = self.rooms if kind == ROOMS.kind else self.instances
        book.pop(id, None)
        if new is not None:
            book[id] = new
            if kind == INSTANCES.kind:
                self.nodes[new.arn] = new.node or ""

    def there(self, arn: str) -> list[Task]:
        """All tasks on an instance, also those that are over."""
        return list(self._there.get(_id(arn), {}).values())

    def empty_for(self, view: View, task: Task) -> list[Room]:
        """Rooms in which nothing is, and that a waiting task could be in as well as anywhere; none where it asks for
        more than size and ports."""
        definition = definitions.of_task(view, SCOPE, task.definition_arn)
        wish = self.wishes.get(task.started_by or "", Wish())
        if definition is None or wish.expressions or task.gpus or task.attachments:
            return []
        choosy = definition.members.get("placementConstraints") or definition.members.get("networkMode") == "awsvpc"
        return [] if choosy else [room for room in self.rooms.values() if self._suits(task, room)]

    def _suits(self, task: Task, room: Room) -> bool:
        instance = self.instances.get(room.id)
        if instance is None or room.tasks or placing.a_task_is_placed_where_it_may(task, instance, PROVIDERS):
            return False
        free = not {*task.tcp} & {*room.tcp} and not {*task.udp} & {*room.udp}
        return free and task.cpu <= room.cpu and task.memory <= room.memory

    def _distinct(self, task: Task) -> bool:
        return self.wishes.get(task.started_by or "", Wish()).distinct

    # --- judging ----------------------------------------------------------------------------------------------------

    def judge(self, view: View, changes: Iterable[Change]) -> None:
        """After all changes of a commit are booked."""
        changes, touched = list(changes), dict[str, None]()
        placed = {c.new.id for c in changes if isinstance(c.new, Task) and _is_placed(c.old, c.new)}
        for change in changes:
            if change.key.kind == ROOMS.kind:
                touched[change.key.id] = None
                if change.new is not None:
                    found = invariants.a_room_is_never_overdrawn(change.new, change.old)
                    self._found(invariants.a_room_is_never_overdrawn, found)
            elif change.key.kind == INSTANCES.kind:
                touched[change.key.id] = None
            elif isinstance(change.new, Task):
                touched[_id(change.new.instance or "")] = None
                if change.new.id in placed:
                    self._placed(view, change.new, placed)
                elif change.old is not None:
                    found = placing.a_task_is_placed_once(change.old, change.new)
                    self._found(placing.a_task_is_placed_once, found, change.new.id)
        for id in touched:
            self._room(id)

    def _room(self, id: str) -> None:
        room, instance = self.rooms.get(id), self.instances.get(id)
        if room is None or instance is None:
            return
        tasks = self._charged.get(id, {}).values()
        found = invariants.a_room_is_the_sum_of_its_tasks(room, tasks)
        self._found(invariants.a_room_is_the_sum_of_its_tasks, found)
        found = placing.a_room_is_as_large_as_its_instance(room, instance)
        self._found(placing.a_room_is_as_large_as_its_instance, found)
        if not instance.fargate:
            found = placing.a_room_lists_the_ports_and_gpus_that_are_taken(room, instance, tasks)
            self._found(placing.a_room_lists_the_ports_and_gpus_that_are_taken, found)
            found = placing.nothing_is_held_by_two_tasks(room.arn, tasks)
            self._found(placing.nothing_is_held_by_two_tasks, found)

    def _placed(self, view: View, task: Task, together: Collection[str]) -> None:
        """``together``: ids of all that were placed in one commit, in whatever order."""
        instance = self.instances.get(_id(task.instance or ""))
        found = placing.a_task_is_placed_where_it_may(task, instance, PROVIDERS)
        self._found(placing.a_task_is_placed_where_it_may, found, task.id)
        definition = definitions.of_task(view, SCOPE, task.definition_arn)
        if instance is None or instance.fargate or definition is None:
            return
        found = placing.what_a_task_asks_for_is_charged(task, definition.members)
        self._found(placing.what_a_task_asks_for_is_charged, found, task.id)
        wish = self.wishes.get(task.started_by or "", Wish())
        if wish.started:
            return
        there = self._there[instance.id].values()
        if wish.distinct:
            others = [other for other in there if other.id not in together or self._distinct(other)]
            found = placing.distinct_instances_are_distinct(task, others)
            self._found(placing.distinct_instances_are_distinct, found, task.id)
        asked = [c["expression"] for c in definition.members.get("placementConstraints") or ()]
        seen = _seen(instance, [other for other in there if other.id != task.id], view.now)
        for expression in (*asked, *wish.expressions):
            self._found(placing.member_of_is_met, placing.member_of_is_met(expression, seen), task.id)


def _is_placed(old: Task | None, new: Task) -> bool:
    return new.instance is not None and (old is None or old.instance is None)


def _seen(instance: Instance, others: list[Task], now: float) -> Seen:
    attributes = {a["name"]: a.get("value") or "" for a in instance.attributes} | instance.custom
    surely = {t.group for t in others if t.last_status == TaskStatus.RUNNING and t.desired_status == "RUNNING"}
    maybe = {t.group for t in others if t.node_status < NodeStatus.STOPPED}
    id = instance.ec2_instance_id or ""
    return Seen(attributes, id, instance.connected, frozenset(surely), frozenset(maybe))


def waits(task: Task) -> bool:
    """Whether the task waits in PROVISIONING for an instance of its capacity provider."""
    return task.instance is None and task.desired_status == "RUNNING" and task.capacity_provider in PROVIDERS


def _id(instance_arn: str) -> str:
    return instance_arn.rpartition("/")[2]
