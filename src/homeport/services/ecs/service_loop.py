"""The service loop: services that something happened to, or whose time has come, are looked at. It decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from functools import partial
from itertools import islice
from typing import NamedTuple

from homeport.core.clock import Clock
from homeport.core.ids import Ids
from homeport.services.ecs import service_effects, service_news
from homeport.services.ecs.deadlines import Deadlines
from homeport.services.ecs.model.deployment import DEPLOYMENTS, SERVICE_DEPLOYMENTS
from homeport.services.ecs.model.instance import INSTANCES, ROOMS
from homeport.services.ecs.model.service import SERVICES
from homeport.services.ecs.model.task import TASKS
from homeport.services.ecs.model.task_set import TASK_SETS
from homeport.services.ecs.scheduling.plan import MOST_MOVES
from homeport.services.ecs.service_effects import Looked
from homeport.services.ecs.shortage import Shortage
from homeport.store import Key, Store, StoreClosed, Tx, View, Watch

log = logging.getLogger("homeport.ecs.services")

CAUSE = "ecs: service loop"
LOOKED_AT, SEEN = 20, 500  # services, and tasks of theirs, that are looked at in one transaction: a few milliseconds
AT_ONCE = 4  # transactions that wait for the journal at the same time
RETRY_SECONDS = 1.0  # before writing again to a store whose disk is full
BROKEN_SECONDS = 60.0  # before a service is looked at again that couldn't be
LONGEST_SLEEP = 10.0  # seconds between looks at the deadlines: a clock that was set is noticed by then
LARGE, REST_SECONDS = 200, 50e-6  # tasks from which on a service rests between two looks, so long for each of them
SET_BACK = 1.0  # seconds by which a clock that was set back is noticed
INSTANT = 1e-3  # seconds that are too few to wait for: the wall clock can't tell much less from nothing


class _Rest(NamedTuple):
    """Of a service (mono): when it was ``looked`` at, and ``until`` when it isn't again, whatever happens."""

    looked: float
    until: float


class ServiceLoop:
    """``run`` for as long as the server lives."""

    def __init__(self, store: Store, clock: Clock, ids: Ids) -> None:
        self._store, self._clock, self._ids = store, clock, ids
        self._dirty: dict[Key, None] = {}
        self._some = asyncio.Event()
        self._free = asyncio.Semaphore(AT_ONCE)
        self._shortage = Shortage()
        self._deadlines = Deadlines()
        self._sooner = asyncio.Event()
        self._rests: dict[Key, _Rest] = {}
        self._later: dict[Key, float] = {}  # resting ones that something happened to: when they are due (wall)

    async def run(self) -> None:
        """For ever."""
        kinds = (TASKS, SERVICES, TASK_SETS, DEPLOYMENTS, SERVICE_DEPLOYMENTS, INSTANCES, ROOMS)
        async with self._store.watch(*(table.kind for table in kinds)) as watch, asyncio.TaskGroup() as group:
            for scope, service in self._store.view().each(SERVICES):
                self._note(Key(*scope, SERVICES.kind, service.id))
            group.create_task(self._collect(watch), name="service loop: changes")
            group.create_task(self._look(group), name="service loop: looks")
            group.create_task(self._wake(), name="service loop: deadlines")

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Within it no service is looked at, so that tasks that are stopped aren't replaced. Looks that have begun end
        first."""
        taken = 0
        try:
            while taken < AT_ONCE:
                await self._free.acquire()
                taken += 1
            yield
        finally:
            for _ in range(taken):
                self._free.release()

    async def _collect(self, watch: Watch) -> None:
        while True:
            for change in await watch.changes():
                if change.key.kind == ROOMS.kind:
                    news = service_news.of_room(change.old, change.new)
                    if news and self._shortage.offer(change.key, change.new, joined=news == "joined"):
                        self._some.set()
                elif change.cause != CAUSE:
                    for key in service_news.touched(self._store.view(), change):
                        self._note(key, service_news.patience(change))

    def _note(self, key: Key, patience: float = 0.0) -> None:
        """``patience``: seconds after its last look for which the service's next one can wait."""
        rest = self._rests.get(key)
        wait = 0.0 if rest is None else max(rest.until, rest.looked + patience) - self._clock.mono()
        if wait <= INSTANT:
            self._later.pop(key, None)
            self._dirty[key] = None
            self._some.set()
            return
        at, due = self._clock.wall() + wait, self._later.get(key)
        if due is None or at < due - INSTANT:
            self._later[key] = at
            self._remember(key, at)

    def _remember(self, key: Key, at: float | None) -> None:
        first = self._deadlines.next()
        self._deadlines.set(key, at)
        if at is not None and (first is None or at < first):
            self._sooner.set()

    async def _look(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while self._dirty or self._shortage.offered:
                await self._free.acquire()
                keys = list(islice(self._dirty, LOOKED_AT))
                for key in keys:
                    del self._dirty[key]
                group.create_task(self._look_at(keys), name="service loop: look")
                await self._clock.sleep(0)  # others get their turn

    async def _look_at(self, keys: list[Key]) -> None:
        try:
            await self._try(keys)
        finally:
            self._free.release()

    async def _try(self, keys: list[Key]) -> None:
        try:
            looked = await self._store.update(partial(self._look_in, keys=keys), CAUSE)
        except StoreClosed:
            await self._clock.sleep(RETRY_SECONDS)
            self._note_all(keys)
        except Exception:
            # One service that can't be looked at must not hold up the others, nor end the control plane.
            if len(keys) <= 1:
                log.exception("a service can't be looked at", extra={"service": [key.id for key in keys]})
                for key in keys:
                    self._remember(key, self._clock.wall() + BROKEN_SECONDS)
                return
            for key in keys:
                await self._try([key])
        else:
            self._note_all(key for key in keys if key not in looked)
            for key, result in looked.items():
                soon = self._clock.wall() + INSTANT
                wake_at = None if result.wake_at is None else max(result.wake_at, soon)
                times = [at for at in (wake_at, self._later.get(key)) if at is not None]
                self._remember(key, min(times, default=None))
                if result.more:
                    self._note(key)

    def _look_in(self, tx: Tx, keys: list[Key]) -> dict[Key, Looked]:
        """Looks at services, those that a room is offered to after the others, for as long as one transaction may
        take."""
        looked: dict[Key, Looked] = {}
        dirty, moves, tasks = iter(sorted(keys, key=lambda key: not _is_daemon(tx, key))), 0, 0
        while len(looked) < LOOKED_AT and moves < MOST_MOVES and tasks < SEEN:
            key = next(dirty, None) or self._shortage.next(lambda at: tx.get(ROOMS, at.scope, at.id))
            if key is None:
                break
            looked[key] = result = service_effects.look(tx, key, self._ids, MOST_MOVES - moves)
            moves, tasks = moves + result.moves, tasks + result.tasks
            self._shortage.set(key, result.need)
            self._rest(key, result.tasks + result.moves)
        return looked

    def _rest(self, key: Key, tasks: int) -> None:
        """After a look, which has seen all that happened."""
        self._later.pop(key, None)
        if not tasks:
            self._rests.pop(key, None)
            return
        now = self._clock.mono()
        self._rests[key] = _Rest(now, now + tasks * REST_SECONDS if tasks > LARGE else now)

    def _note_all(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._note(key)

    async def _wake(self) -> None:
        ahead = self._ahead()
        while True:
            self._sooner.clear()
            before, ahead = ahead, self._ahead()
            # Where the clock was set back, deadlines are further away than anybody meant to wait.
            now = float("inf") if ahead < before - SET_BACK else self._clock.wall()
            for key in self._deadlines.due(now, len(self._deadlines)):
                self._later.pop(key, None)
                self._note(key)
            due = self._deadlines.next()
            await self._sleep(max(0.0, min(LONGEST_SLEEP, (due or float("inf")) - self._clock.wall())))

    def _ahead(self) -> float:
        """Seconds by which the wall clock is ahead of one that nobody sets."""
        return self._clock.wall() - self._clock.mono()

    async def _sleep(self, seconds: float) -> None:
        """Or until there is an earlier deadline."""
        waits = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._sooner.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def _is_daemon(view: View, key: Key) -> bool:
    """Daemons take their room before other tasks."""
    service = view.get(SERVICES, key.scope, key.id)
    return service is not None and service.scheduling == "DAEMON"
