"""The loop that serves waiting tasks: by the rooms that changed, never by looking at all."""

from __future__ import annotations

import logging
from functools import partial

from homeport.core.clock import Clock
from homeport.core.ids import Ids
from homeport.services.ecs import service_effects, waiting
from homeport.services.ecs.model.instance import ROOMS
from homeport.services.ecs.model.service import SERVICES
from homeport.services.ecs.model.waiting import WAITING, Queue
from homeport.store import Change, Key, Scope, Store, StoreClosed

log = logging.getLogger("homeport.ecs.waiting")

RETRY_SECONDS = 1.0  # before writing again to a store whose disk is full


class WaitingLoop:
    """``run`` for as long as the server lives."""

    def __init__(self, store: Store, clock: Clock, ids: Ids) -> None:
        self._store, self._clock, self._ids = store, clock, ids

    async def run(self) -> None:
        """For ever."""
        async with self._store.watch(ROOMS.kind) as watch:
            records = self._store.view().each(WAITING)
            queues = dict.fromkeys((scope, (w.demand.cluster, w.demand.provider)) for scope, w in records)
            while True:
                for scope, queue in queues:
                    await self._serve(scope, queue)
                changes = await watch.changes()
                for scope, cluster in dict.fromkeys(c for change in changes for c in _opened(change)):
                    await self._daemons_first(scope, cluster)
                queues = dict.fromkeys(q for change in changes for q in _queues(change))

    async def _daemons_first(self, scope: Scope, cluster: str) -> None:
        """Where tasks wait, an instance that has just come is the daemons' first."""
        view = self._store.view()
        if not view.counts(WAITING, scope, "queues", cluster):
            return
        for service in view.find(SERVICES, scope, "daemon", cluster):
            look = partial(service_effects.look, key=Key(*scope, SERVICES.kind, service.id), ids=self._ids)
            try:
                await self._store.update(look, "ecs: waiting tasks")
            except StoreClosed:
                return
            except Exception:
                log.exception("a service can't be looked at", extra={"service": service.id})

    async def _serve(self, scope: Scope, queue: Queue) -> None:
        more = waiting.any_in(self._store.view(), scope, queue)
        while more:
            try:
                more = await self._store.update(
                    partial(waiting.serve, scope=scope, queue=queue, ids=self._ids), "ecs: waiting tasks"
                )
            except StoreClosed:
                await self._clock.sleep(RETRY_SECONDS)
            except Exception:
                # What one cluster's tasks can't do must not end the control plane, nor hold up other clusters.
                log.exception("waiting tasks can't be placed", extra={"cluster": queue[0], "provider": queue[1]})
                return


def _opened(change: Change) -> list[tuple[Scope, str]]:
    """The cluster that has an instance for tasks now that it hadn't before."""
    old, new = change.old, change.new
    usable = new is not None and new.open and new.connected and new.provider is not None
    return [(change.key.scope, new.cluster)] if usable and not (old and old.open and old.connected) else []


def _queues(change: Change) -> list[tuple[Scope, Queue]]:
    """Whose waiting tasks a room's change may help."""
    rooms = (change.old, change.new)
    return [(change.key.scope, (room.cluster, room.provider)) for room in rooms if room and room.provider]
