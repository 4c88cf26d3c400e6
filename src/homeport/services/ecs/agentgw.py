"""The agent gateway: one session for each connected agent, and what connects them to the store.

The dispatcher turns durable changes into work of the sessions concerned, by indexes; the sessions send. A node that has
been silent for ``LOST_SECONDS`` is given up. Addresses of deleted interfaces are released once every node has
acknowledged a state of the groups without them. Connections end with the access key that they were signed with.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from homeport.agentapi import HASH_PREFIX, REPLACED
from homeport.aws.operations import Principal
from homeport.core.clock import Clock
from homeport.core.errors import AwsError
from homeport.core.ids import Ids
from homeport.services.ec2 import eni, groups
from homeport.services.ec2.model import GROUPS, INTERFACES
from homeport.services.ecs import effects, lifecycle, rooms
from homeport.services.ecs.agentlines import Line, Lines, ended
from homeport.services.ecs.agentsession import Session, Socket
from homeport.services.ecs.metrics import Metrics
from homeport.services.ecs.model.instance import INSTANCES, ROOMS, Instance
from homeport.services.ecs.model.task import TASKS
from homeport.services.ecs.telemetry import TelemetrySession
from homeport.services.iam.model import ACCESS_KEYS
from homeport.store import Change, Scope, Store, StoreClosed, Tx, View, Watch

log = logging.getLogger("homeport.ecs.agentgw")

LOST_SECONDS = 60.0  # how long a Fargate node may be silent before its tasks are given up
HOLD_SECONDS = 600.0  # how long the addresses of a silent node's tasks are kept from others
AWAY_AT_ONCE = 500  # nodes noted as away in one commit: about twenty milliseconds
TICK_SECONDS = 1.0  # between looks at the silent nodes, and at the addresses that are held


class Gateway:
    """``run`` for as long as the server lives, ``session`` for each websocket."""

    def __init__(self, store: Store, clock: Clock, ids: Ids) -> None:
        self._store, self._clock, self._ids = store, clock, ids
        self.metrics = Metrics()
        self._sessions: dict[str, Session] = {}  # by the instance's ARN
        self._telemetry: dict[str, set[TelemetrySession]] = {}  # the same
        self._lines = Lines()
        self._silent: dict[str, float] = {}  # instances without a session: mono time since when
        self._left_alone: set[str] = set()  # those whose silence has no further consequence
        self._floors: dict[str, int] = {}  # their floors when they left
        self._seen = 0  # version up to which changes were dispatched
        self._peers: set[str] = set()  # groups that some rule names or named: only their members are sent to nodes
        self._deleted: list[int] = []  # versions at which interfaces were deleted whose addresses are still held

    async def run(self) -> None:
        """For ever."""
        kinds = (TASKS.kind, INTERFACES.kind, GROUPS.kind, INSTANCES.kind, ACCESS_KEYS.kind)
        async with self._store.watch(*kinds) as watch, asyncio.TaskGroup() as group:
            await self._begin()
            group.create_task(self._dispatch(watch), name="agent gateway: changes")
            group.create_task(self._tick(), name="agent gateway: silence")

    async def session(self, principal: Principal, query: Mapping[str, str], socket: Socket) -> None:
        """Serves one websocket until it ends. Raises AwsError, before anything is sent, where the caller has no such
        instance."""
        with self._lines.open(principal.access_key_id) as line:
            if "containerInstance" in query:
                await self._hear(principal, query["containerInstance"], socket, line)
            else:
                await self._serve(principal, query, socket, line)

    async def _serve(self, principal: Principal, query: Mapping[str, str], socket: Socket, line: Line) -> None:
        arn = query.get("containerInstanceArn", "")
        scope, instance = await self._store.read(lambda view: _admitted(view, principal, arn))
        if _replaced(instance, query.get("agentHash", "")):
            raise AwsError(REPLACED, "A newer agent has registered as this container instance.")
        session = Session(instance, scope, self._store, self._clock, self._ids, socket)
        session.base = self._sessions[arn].floor(self._seen) if arn in self._sessions else self._floors.get(arn, 0)
        replaced, self._sessions[arn] = self._sessions.get(arn), session
        self._silent.pop(arn, None)
        self._left_alone.discard(arn)
        if replaced is not None:
            replaced.end("replaced by a newer connection")
        try:
            await self._store.update(partial(_connected, scope=scope, id=instance.id), f"{principal.arn} connected")
            carried = line.carry(session)
            if carried:
                await session.run()
        finally:
            left = self._forget(session)
        if left:  # not when the server is ending: the next start notes that everyone is away
            await self._note_away([arn])
        if not carried:
            raise ended()

    async def _hear(self, principal: Principal, arn: str, socket: Socket, line: Line) -> None:
        """Serves a websocket of telemetry."""
        await self._store.read(lambda view: _admitted(view, principal, arn))
        telemetry = TelemetrySession(arn, self._store, self.metrics, self._clock, self._ids, socket)
        if not line.carry(telemetry):
            raise ended()
        self._telemetry.setdefault(arn, set()).add(telemetry)
        try:
            await telemetry.run()
        finally:
            self._telemetry[arn].discard(telemetry)
            if not self._telemetry[arn]:
                del self._telemetry[arn]

    # --- connections ----------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """After a start nobody is connected, and every node has its full time to come back."""
        view = self._store.view()
        self._seen = view.version
        self._deleted.append(view.version)
        for _, group in view.each(GROUPS):
            self._peers |= groups.named(group)
        missing = [instance for _, instance in view.each(INSTANCES) if instance.arn not in self._sessions]
        self._silent.update((instance.arn, self._clock.mono()) for instance in missing)
        away = [instance.arn for instance in missing if instance.connected]
        for start in range(0, len(away), AWAY_AT_ONCE):
            await self._note_away(away[start : start + AWAY_AT_ONCE])

    def _forget(self, session: Session) -> bool:
        """False where a newer connection has taken the session's place."""
        if self._sessions.get(session.arn) is not session:
            return False
        del self._sessions[session.arn]
        self._silent[session.arn] = session.silent_since()
        self._floors[session.arn] = session.floor(self._seen)
        return True

    async def _note_away(self, arns: Sequence[str]) -> None:
        """Of those that haven't come back meanwhile."""

        def note(tx: Tx) -> None:
            for arn in arns:
                if arn not in self._sessions:
                    _disconnected(tx, arn)

        cause = f"{arns[0]} disconnected" if len(arns) == 1 else f"{len(arns)} nodes are away"
        try:
            await self._store.update(note, cause)
        except StoreClosed:
            log.warning("nodes' disconnections aren't stored", extra={"instances": list(arns)})

    # --- changes --------------------------------------------------------------------------------------------------

    async def _dispatch(self, watch: Watch) -> None:
        while True:
            changes = await watch.changes()
            for change in changes:
                self._hand_out(change)
            self._seen = max(self._seen, changes[-1].version)

    def _hand_out(self, change: Change) -> None:
        record = change.new if change.new is not None else change.old
        match change.key.kind:
            case TASKS.kind:
                self.metrics.task_changed(change.key, change.new)
                session = self._sessions.get(record.instance or "")
                if session is not None:
                    session.task_changed(change)
            case INTERFACES.kind:
                if change.new is None:
                    self._deleted.append(change.version)
                if _members_changed(change):
                    touched = {id for r in (change.old, change.new) if r is not None for id in r.groups}
                    self._groups_changed(touched & self._peers, change.version)
            case GROUPS.kind:
                self._peers |= groups.named(record)
                self._groups_changed({change.key.id}, change.version)
            case INSTANCES.kind:
                if record.status == "INACTIVE":
                    self._end(record.arn, "the container instance was deregistered")
                if change.new is None:
                    self._drop(record.arn)
                elif record.arn not in self._sessions:
                    self._silent.setdefault(record.arn, self._clock.mono())
            case ACCESS_KEYS.kind if change.old is not None:
                self._lines.end(change.key.id)

    def _drop(self, arn: str) -> None:
        """Forgets an instance that is no more."""
        self._silent.pop(arn, None)
        self._left_alone.discard(arn)
        self._floors.pop(arn, None)

    def _end(self, arn: str, why: str) -> None:
        """Closes what is connected of an instance."""
        session = self._sessions.get(arn)
        if session is not None:
            session.end(why)
        for telemetry in self._telemetry.get(arn, ()):
            telemetry.end(why)

    def _groups_changed(self, group_ids: set[str], version: int) -> None:
        for session in self._sessions.values() if group_ids else ():
            session.groups_changed(group_ids, version)

    # --- time -----------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK_SECONDS)
            try:
                await self._lose_silent()
                await self._release()
            except StoreClosed:
                continue  # the next tick tries again

    async def _lose_silent(self) -> None:
        deadline = self._clock.mono() - LOST_SECONDS
        view = self._store.view()
        for arn in [a for a, since in self._silent.items() if since <= deadline and a not in self._left_alone]:
            found = rooms.instance(view, arn)
            if found is None:
                self._drop(arn)
            elif not found[1].fargate or found[1].lost:
                self._left_alone.add(arn)
            else:
                log.warning("a node is lost", extra={"instance": arn, "seconds": LOST_SECONDS})
                await self._store.update(partial(self._lost, arn=arn), f"{arn} was silent too long")

    def _lost(self, tx: Tx, arn: str) -> None:
        found = rooms.instance(tx, arn)
        if found is None or found[1].lost or arn in self._sessions:
            return
        scope, instance = found
        tx.put(INSTANCES, scope, replace(instance, lost=True, version=instance.version + 1))
        _set_room(tx, scope, instance.id, open=False, connected=False)
        for task_scope, task in tx.find_global(TASKS, "instance", arn):
            effects.save(tx, task_scope, task, lifecycle.lose(task, tx.now))

    async def _release(self) -> None:
        """Frees the addresses of interfaces that no node can still think of."""
        if not self._deleted:
            return
        floor = self._floor()
        if self._deleted[0] > floor:
            return
        await self._store.update(lambda tx: eni.release(tx, floor), "every node has acknowledged")
        self._deleted = [version for version in self._deleted if version > floor]

    def _floor(self) -> int:
        """The store version whose groups every node enforces. A node that is away counts until it has been silent for
        HOLD_SECONDS."""
        recent = self._clock.mono() - HOLD_SECONDS
        away = [self._floors.get(arn, 0) for arn, since in self._silent.items() if since > recent]
        return min([self._seen, *away, *(s.floor(self._seen) for s in self._sessions.values())])


def _replaced(instance: Instance, agent_hash: str) -> bool:
    """Whether another of our agents has registered as the instance since this one did."""
    return agent_hash.startswith(HASH_PREFIX) and agent_hash != instance.version_info.get("agentHash")


def _admitted(view: View, principal: Principal, arn: str) -> tuple[Scope, Instance]:
    found = rooms.instance(view, arn)
    if found is None:
        raise AwsError("InvalidInstanceException", "The container instance is not known.")
    scope, instance = found
    if not rooms.owns(principal, instance, scope):
        raise AwsError("AccessDeniedException", f"The container instance {arn} is not one of {principal.arn}.", 403)
    if instance.status == "INACTIVE":
        raise _inactive()
    return found


def _inactive() -> AwsError:
    return AwsError("InactiveInstanceException", "The container instance is inactive.")


def _connected(tx: Tx, scope: Scope, id: str) -> None:
    instance = tx.get(INSTANCES, scope, id)
    if instance is None or instance.status == "INACTIVE":
        raise _inactive()
    connections = instance.connections + 1
    tx.put(INSTANCES, scope, replace(instance, connections=connections, silent_since=None, lost=False))
    _set_room(tx, scope, id, open=instance.status == "ACTIVE", connected=True)


def _disconnected(tx: Tx, arn: str) -> None:
    found = rooms.instance(tx, arn)
    if found is not None and found[1].silent_since is None:
        scope, instance = found
        tx.put(INSTANCES, scope, replace(instance, silent_since=tx.now))
        _set_room(tx, scope, instance.id, connected=False)


def _set_room(tx: Tx, scope: Scope, id: str, **changes: Any) -> None:
    room = tx.get(ROOMS, scope, id)
    if room is not None:
        tx.put(ROOMS, scope, replace(room, **changes))


def _members_changed(change: Change) -> bool:
    """Whether an interface's change is one of group members; its status isn't."""
    old, new = change.old, change.new
    return old is None or new is None or (old.groups, old.private_address) != (new.groups, new.private_address)
