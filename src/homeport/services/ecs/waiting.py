"""Tasks that wait for room: tried again when rooms change, given up in time. Each function is one transaction's."""

from __future__ import annotations

from msgspec.structs import replace

from homeport.core.ids import Ids
from homeport.services.ecs import effects, launch, lifecycle, placement
from homeport.services.ecs.model.task import TASKS
from homeport.services.ecs.model.waiting import WAITING, Queue, Waiting
from homeport.services.ecs.placement import Demand, StoreIndex
from homeport.store import Key, Scope, Tx, View

SLICE = 25  # tasks placed in one transaction: a few milliseconds of work


def any_in(view: View, scope: Scope, queue: Queue) -> bool:
    """Whether tasks of the cluster wait for this capacity provider."""
    cluster, provider = queue
    return provider in view.counts(WAITING, scope, "queues", cluster)


def serve(tx: Tx, scope: Scope, queue: Queue, ids: Ids) -> bool:
    """Places waiting tasks, the oldest first; one that finds no room holds up none but its like. True where there may
    be room for more."""
    refused: set[Demand] = set()
    placed = 0
    cluster, provider = queue
    line = tx.ranked(WAITING, scope, "queue", cluster).get(provider, ())
    for waiting in tuple(line):
        if placed == SLICE:
            return True
        if waiting.demand in refused:
            continue
        if _place(tx, scope, waiting, ids):
            placed += 1
        else:
            refused.add(waiting.demand)
    return False


def expire(tx: Tx, key: Key) -> None:
    """Gives up a task whose time is over."""
    waiting, task = tx.get(WAITING, key.scope, key.id), tx.get(TASKS, key.scope, key.id)
    if waiting is None or task is None:
        return
    reason = f"TaskFailedToStart: {_reason(tx, key.scope, waiting)}"
    effects.save(tx, key.scope, task, lifecycle.request_stop(task, "TaskFailedToStart", reason, tx.now))


def _place(tx: Tx, scope: Scope, waiting: Waiting, ids: Ids) -> bool:
    placed = placement.choose(waiting.demand, StoreIndex(tx, scope), launch.picker(ids))
    task = tx.get(TASKS, scope, waiting.id)
    if placed is None or task is None:
        return False
    tx.delete(WAITING, scope, waiting.id)
    launch.settle(tx, scope, replace(task, version=task.version + 1), waiting.network, placed, ids, tx.now)
    return True


def _reason(tx: Tx, scope: Scope, waiting: Waiting) -> str:
    """The reason that most of the capacity provider's instances give."""
    reasons = [reason or "AGENT" for _, reason in placement.explain(waiting.demand, StoreIndex(tx, scope))]
    if not reasons:
        return launch.EMPTY
    active = [reason for reason in reasons if reason != placement.INACTIVE]
    return max(active, key=active.count).removesuffix(".") if active else launch.NO_ACTIVE
