"""What the task loop does to the store when ``lifecycle`` says so. All of it may be repeated."""

from __future__ import annotations

from msgspec.structs import replace

from homeport.services.ec2 import eni
from homeport.services.ecs import deletion, lifecycle, rooms
from homeport.services.ecs.lifecycle import DeleteInterface, Effect, FreeRoom
from homeport.services.ecs.model.task import TASKS, Task, TaskStatus
from homeport.services.ecs.model.waiting import WAITING
from homeport.store import Key, Scope, Tx


def advance(tx: Tx, key: Key) -> None:
    """Moves a task one step on, carrying out what has to be done first."""
    task = before = tx.get(TASKS, key.scope, key.id)
    if task is None or before is None:
        return
    turn = lifecycle.step(task, tx.now)
    while isinstance(turn, Effect):
        task = carry_out(tx, key.scope, task, turn)
        turn = lifecycle.step(task, tx.now)
    save(tx, key.scope, before, turn or task)


def carry_out(tx: Tx, scope: Scope, task: Task, effect: Effect) -> Task:
    match effect:
        case DeleteInterface(interface_id=id):
            eni.delete(tx, scope, id, tx.now)
            return lifecycle.interface_deleted(task)
        case FreeRoom(instance=instance, taken=taken):
            rooms.free(tx, instance, taken)
            return lifecycle.room_freed(task)


def told(tx: Tx, scope: Scope, before: Task, after: Task) -> None:
    """Stores what a node told of a task together with the status that follows from it: one change, not two."""
    if after == before:
        return
    turn = lifecycle.step(after, tx.now)
    save(tx, scope, before, replace(turn, version=before.version + 1) if isinstance(turn, Task) else after)


def save(tx: Tx, scope: Scope, before: Task, after: Task) -> None:
    """Stores a changed task; its interface is in use as soon as its attachment is, its definition no longer than it,
    and it waits for room no longer than it shall run."""
    if after == before:
        return
    tx.put(TASKS, scope, after)
    if after.desired_status == "STOPPED":
        tx.delete(WAITING, scope, after.id)
    was, now = before.interface, after.interface
    if now and now.status == "ATTACHED" and (was is None or was.status != "ATTACHED") and after.interface_id:
        eni.attached(tx, scope, after.interface_id, tx.now)
    if after.last_status == TaskStatus.STOPPED != before.last_status:
        deletion.let_go(tx, scope, after)


def forget(tx: Tx, key: Key) -> None:
    """Deletes a stopped task. The room of one whose node never came back is given back at last."""
    task = tx.get(TASKS, key.scope, key.id)
    if task is None or task.stopped_at is None:
        return
    if task.charged and task.instance:
        rooms.free(tx, task.instance, task.taken)
    tx.delete(TASKS, key.scope, key.id)
    deletion.let_go(tx, key.scope, task)
