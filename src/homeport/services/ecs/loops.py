"""The task loop: what changed is stepped, what is due is forgotten or deleted. It decides nothing itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from homeport.core.clock import Clock
from homeport.core.ids import Ids
from homeport.services.ecs import deletion, deployments, effects, instances, lifecycle, service_effects, waiting
from homeport.services.ecs.deadlines import Deadlines
from homeport.services.ecs.model.definition import DEFINITIONS
from homeport.services.ecs.model.deployment import DEPLOYMENTS, SERVICE_DEPLOYMENTS
from homeport.services.ecs.model.instance import INSTANCES
from homeport.services.ecs.model.service import SERVICES
from homeport.services.ecs.model.task import STOPPED_TASKS_KEPT, TASKS, TOKENS, Task, TaskStatus
from homeport.services.ecs.model.waiting import WAITING
from homeport.services.ecs.waiting_loop import WaitingLoop
from homeport.store import Key, Store, StoreClosed, Table, Tx, Watch

log = logging.getLogger("homeport.ecs.loops")

SLICE = 25  # tasks stepped in one commit: a few milliseconds of work, and one fsync
LOADED = 500  # records looked at in one go at start
RETRY_SECONDS = 1.0  # before writing again to a store whose disk is full
LONGEST_SLEEP = 10.0  # seconds between looks at the deadlines: a clock that was set is noticed by then


_WAKING: tuple[Table[Any], ...] = (
    TASKS,
    TOKENS,
    DEFINITIONS,
    INSTANCES,
    WAITING,
    SERVICES,
    DEPLOYMENTS,
    SERVICE_DEPLOYMENTS,
)  # records with a ``wake_at``
_DUE: dict[str, Callable[[Tx, Key], None]] = {
    TASKS.kind: effects.forget,
    TOKENS.kind: lambda tx, key: tx.delete(TOKENS, key.scope, key.id),
    DEFINITIONS.kind: deletion.look,
    INSTANCES.kind: instances.forget,
    WAITING.kind: waiting.expire,
    SERVICES.kind: service_effects.forget,
    DEPLOYMENTS.kind: deployments.forget,
    SERVICE_DEPLOYMENTS.kind: deployments.forget_service_deployment,
}


class TaskLoop:
    """Moves tasks on and forgets stopped ones. ``kept`` is how many of these there may be."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, *, kept: int = STOPPED_TASKS_KEPT) -> None:
        self._store, self._clock, self._kept = store, clock, kept
        self._dirty: dict[Key, None] = {}
        self._some = asyncio.Event()
        self._deadlines = {table.kind: Deadlines() for table in _WAKING}
        self._stopped = self._deadlines[TASKS.kind]
        self._waiting = WaitingLoop(store, clock, ids)

    async def run(self) -> None:
        """For ever."""
        async with self._store.watch(*self._deadlines) as watch, asyncio.TaskGroup() as group:
            await self._load()
            group.create_task(self._collect(watch), name="task loop: changes")
            group.create_task(self._step(), name="task loop: steps")
            group.create_task(self._forget(), name="task loop: deadlines")
            group.create_task(self._waiting.run(), name="task loop: waiting tasks")

    async def _load(self) -> None:
        """What was left undone when the process last ended, and all deadlines."""
        view = self._store.view()
        for table in _WAKING:
            for number, (scope, record) in enumerate(view.each(table)):
                key = Key(*scope, table.kind, table.id(record))
                self._remember(key, record)
                if table is TASKS and _undone(record):
                    self._note(key)
                if number % LOADED == 0:
                    await self._clock.sleep(0)

    async def _collect(self, watch: Watch) -> None:
        while True:
            for change in await watch.changes():
                if change.key.kind == TASKS.kind and change.new is not None and _goes_on(change.new, change.at):
                    self._note(change.key)
                self._remember(change.key, change.new)

    def _note(self, key: Key) -> None:
        self._dirty[key] = None
        self._some.set()

    def _remember(self, key: Key, record: Any) -> None:
        self._deadlines[key.kind].set(key, None if record is None else record.wake_at)

    async def _step(self) -> None:
        while True:
            await self._some.wait()
            keys = list(self._dirty)[:SLICE]
            for key in keys:
                del self._dirty[key]
            if not self._dirty:
                self._some.clear()
            await self._advance(keys)
            await self._clock.sleep(0)  # what changes nothing doesn't wait for the journal: others get their turn

    async def _advance(self, keys: list[Key]) -> None:
        def advance(tx: Tx) -> None:
            for key in keys:
                effects.advance(tx, key)

        try:
            await self._store.update(advance, "ecs: task loop")
        except StoreClosed:
            await self._clock.sleep(RETRY_SECONDS)
            self._dirty = dict.fromkeys([*keys, *self._dirty])
            self._some.set()
        except Exception:
            # One task that can't be stepped must not hold up the others, nor end the control plane again and again.
            if len(keys) == 1:
                log.exception("a task can't be moved on", extra={"task": keys[0].id})
                return
            for key in keys:
                await self._advance([key])

    async def _forget(self) -> None:
        while True:
            now = self._clock.wall()
            await self._delete([key for d in self._deadlines.values() for key in d.due(now, SLICE)])
            await self._delete(self._stopped.earliest(min(SLICE, max(0, len(self._stopped) - self._kept))))
            await self._clock.sleep(self._pause())

    def _pause(self) -> float:
        """Until the next deadline by the wall clock as it is now; nothing longer, since that clock may be set."""
        if len(self._stopped) > self._kept:
            return 0.0
        times = [t for d in self._deadlines.values() if (t := d.next()) is not None]
        return max(0.0, min([LONGEST_SLEEP, *(t - self._clock.wall() for t in times)]))

    async def _delete(self, keys: list[Key]) -> None:
        def delete(tx: Tx) -> None:
            for key in keys:
                _DUE[key.kind](tx, key)

        if not keys:
            return
        try:
            await self._store.update(delete, "ecs: retention")
        except StoreClosed:
            retry = self._clock.wall() + RETRY_SECONDS
            for key in keys:
                self._deadlines[key.kind].set(key, retry)


def _goes_on(task: Task, now: float) -> bool:
    """Whether there is a next step: most changes leave that to the task's node."""
    try:
        return lifecycle.step(task, now) is not None
    except Exception:
        return True  # what is wrong is told where it is stepped


def _undone(task: Task) -> bool:
    """Whether a task may have something left to do: also a stopped one that holds the room of a lost node."""
    return task.charged or task.last_status < TaskStatus.STOPPED
