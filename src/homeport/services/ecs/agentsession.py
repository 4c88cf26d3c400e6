"""One agent's connection: what it is sent, what it answers.

Order on the wire: the groups that the node's tasks need, the manifest, then payloads; and always groups before a
payload that needs them. Everything sent was durable before; sequence numbers are store versions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Protocol

from homeport.agentapi import (
    HEARTBEAT_SECONDS,
    AckRequest,
    HeartbeatMessage,
    HomeportGroupsMessage,
    ManifestTask,
    Message,
    NackRequest,
    PayloadMessage,
    PayloadTask,
    TaskManifestMessage,
    TaskReport,
    TaskStopVerificationAck,
    TaskStopVerificationMessage,
    decode,
    encode,
)
from homeport.core import arn as arns
from homeport.core.clock import Clock
from homeport.core.errors import AwsError
from homeport.core.ids import Ids
from homeport.services.ec2 import eni
from homeport.services.ec2.model import INTERFACES
from homeport.services.ecs import definitions, effects, lifecycle
from homeport.services.ecs.groupcast import Groupcast, News
from homeport.services.ecs.model.instance import Instance
from homeport.services.ecs.model.task import TASKS, NodeStatus, Task
from homeport.services.ecs.spec import task_spec
from homeport.store import Change, Key, Scope, Store, StoreClosed, Tx, View

log = logging.getLogger("homeport.ecs.agentgw")

PAYLOAD_TASKS = 10  # tasks in one payload: it is acknowledged when the node has saved all of them
SILENCE_SECONDS = 3 * HEARTBEAT_SECONDS  # without a frame from the agent, which answers every heartbeat
REPEAT_SECONDS = 5.0  # before groups that a node couldn't enforce are sent again
RETRY_SECONDS = 1.0  # before writing again to a store that is closed


class Socket(Protocol):
    """A websocket. ``receive`` and ``send`` raise when it has ended."""

    async def send(self, text: str) -> None: ...
    async def receive(self) -> str: ...
    async def close(self, code: int = 1000, reason: str = "") -> None: ...


class Ended(Exception):
    """The connection is over; the text says why."""


class _Groups(NamedTuple):
    """Groups that were sent: until they are acknowledged the node may enforce those of version ``base``."""

    vpc_id: str
    base: int


_Sent = _Groups | tuple[Key, ...]  # what a message that awaits its acknowledgement carried


class _Plan(NamedTuple):
    version: int
    news: list[News]
    starts: list[tuple[Key, PayloadTask]]
    stops: list[tuple[Key, PayloadTask]]
    manifest: TaskManifestMessage | None  # of the same version: an agent refuses payloads from before its manifest


class Session:
    def __init__(self, instance: Instance, scope: Scope, store: Store, clock: Clock, ids: Ids, socket: Socket) -> None:
        self.arn, self.instance_id, self.scope = instance.arn, instance.id, scope
        self.base = 0  # version whose groups the node enforces at least
        self._cluster_arn = instance.cluster_arn
        self._store, self._clock, self._ids, self._socket = store, clock, ids, socket
        self._heard = clock.mono()
        self._hung = False  # whether the connection stood and nothing came any more
        self._over = asyncio.Event()
        self._why = ""  # it was ended
        self._work = asyncio.Event()
        self._accepted = asyncio.Event()
        self._greeted = False
        self._groups = Groupcast()
        self._dirty: dict[Key, str | None] = {}  # tasks to look at, each with the interface that it had or has
        self._sent: dict[Key, str] = {}  # desired status that a task was sent with on this connection
        self._awaiting: dict[str, _Sent] = {}  # by message id
        self._handed: dict[Key, None] = {}  # acknowledged tasks, to be stored
        self._haunting: set[Key] = set()  # tasks that were given up here and aren't known to be over
        self._group_base: int | None = None  # version before the first group change that wasn't sent yet
        self._sending_base: int | None = None  # the same of those that are being sent

    # --- what the gateway tells it ----------------------------------------------------------------------------------

    def end(self, why: str) -> None:
        """Closes the connection."""
        self._why = why
        self._over.set()

    def task_changed(self, change: Change) -> None:
        before, after = change.old, change.new
        if after is None or after.node_status == NodeStatus.STOPPED:
            self._haunting.discard(change.key)
            self._sent.pop(change.key, None)
        if before is not None and after is not None and _alike(before, after):
            return
        had = before.interface_id if before is not None else None
        has = after.interface_id if after is not None else None
        self._dirty[change.key] = had or has or self._dirty.get(change.key)
        self._work.set()

    def groups_changed(self, group_ids: set[str], version: int) -> None:
        if self._groups.touch(group_ids):
            if self._group_base is None:
                self._group_base = version - 1
            self._work.set()

    def floor(self, seen: int) -> int:
        """The store version whose groups the node enforces, given that changes up to ``seen`` were handed out."""
        if not self._greeted or self._haunting:
            return self.base
        bases = [sent.base for sent in self._awaiting.values() if isinstance(sent, _Groups)]
        bases += [base for base in (self._group_base, self._sending_base) if base is not None]
        self.base = max(self.base, min([seen, *bases]))
        return self.base

    def silent_since(self) -> float:
        """Monotonic time of the agent's last sign of life, once the session has ended. A connection's end is one."""
        return self._heard if self._hung else self._clock.mono()

    # --- its life -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the connection ends."""
        try:
            async with asyncio.TaskGroup() as group:
                for work, name in (
                    (self._send_all(), "send"),
                    (self._receive(group), "receive"),
                    (self._beat(), "heartbeat"),
                    (self._store_handed(), "acknowledgements"),
                    (self._wait_for_end(), "end"),
                ):
                    group.create_task(work, name=f"agent {self.instance_id[:8]}: {name}")
        except* Ended as ended:
            log.info("agent disconnected", extra={"instance": self.arn, "why": str(ended.exceptions[0])})
        finally:
            await self._close()

    async def _close(self) -> None:
        try:
            await self._socket.close(1000, "")
        except Exception as error:
            log.debug("socket was closed already", extra={"error": str(error)})

    async def _wait_for_end(self) -> None:
        await self._over.wait()
        raise Ended(self._why)

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(HEARTBEAT_SECONDS)
            if self._clock.mono() - self._heard >= SILENCE_SECONDS:
                self._hung = True
                raise Ended(f"silent for {SILENCE_SECONDS:.0f} s")
            await self._put(HeartbeatMessage(message_id=self._ids.new("uuid")))

    async def _put(self, message: Message) -> None:
        try:
            await self._socket.send(encode(message))
        except Exception as error:
            raise Ended(f"send failed: {error}") from error

    # --- sending --------------------------------------------------------------------------------------------------

    async def _send_all(self) -> None:
        tasks = await self._store.read(lambda view: view.find_global(TASKS, "instance", self.arn))
        for scope, task in tasks:
            key = Key(*scope, TASKS.kind, task.id)
            self._dirty.setdefault(key, task.interface_id)
            if task.lost:
                self._haunting.add(key)
        await self._flush(greet=True)
        while True:
            await self._work.wait()
            await self._flush(greet=False)

    async def _flush(self, *, greet: bool) -> None:
        """Sends what there is to send, and first of all the manifest. What comes in meanwhile sets ``_work`` again."""
        self._work.clear()
        dirty, self._dirty = self._dirty, {}
        base = self._sending_base = self.base if self._group_base is None else self._group_base
        self._group_base = None
        plan = await self._store.read(lambda view: self._plan(view, dirty, greet))
        self._groups.told(plan.news)
        news = [self._groups_message(n, plan.version, base) for n in plan.news]
        self._sending_base = None  # from here on it is in what awaits acknowledgement
        for message in news:
            await self._put(message)
        if plan.manifest is not None:
            self._greeted = True
            await self._put(plan.manifest)
        for some in (plan.stops, plan.starts):
            for start in range(0, len(some), PAYLOAD_TASKS):
                await self._put(self._payload(some[start : start + PAYLOAD_TASKS], plan.version))

    def _plan(self, view: View, dirty: dict[Key, str | None], greet: bool) -> _Plan:
        starts, stops = [], []
        for key, interface_id in dirty.items():
            task = view.get(TASKS, key.scope, key.id)
            self._groups.follow(view, key.scope, task, (task.interface_id if task else None) or interface_id)
            if task is None or task.node_status == NodeStatus.STOPPED:
                continue
            if task.desired_status == "STOPPED":
                if self._sent.get(key) != "STOPPED":
                    stops.append(
                        (key, PayloadTask(arn=task.arn, task_cluster_arn=task.cluster_arn, desired_status="STOPPED"))
                    )
            elif task.node_status == NodeStatus.NONE and key not in self._sent:
                started = _readable_start(view, key.scope, task)
                if started is not None:
                    starts.append((key, started))
        manifest = self._manifest(view) if greet else None
        return _Plan(view.version, self._groups.news(view), starts, stops, manifest)

    def _groups_message(self, news: News, version: int, base: int) -> HomeportGroupsMessage:
        message_id = self._ids.new("uuid")
        self._awaiting[message_id] = _Groups(news.vpc.id, base)
        return HomeportGroupsMessage(
            message_id=message_id,
            seq_num=version,
            vpc_id=news.vpc.id,
            vpc_cidr=news.vpc.cidr,
            complete=news.complete,
            groups=news.groups,
            removed=news.removed,
        )

    def _payload(self, some: Sequence[tuple[Key, PayloadTask]], version: int) -> PayloadMessage:
        message_id = self._ids.new("uuid")
        self._sent.update({key: task.desired_status for key, task in some})
        self._awaiting[message_id] = tuple(key for key, _ in some)
        return PayloadMessage(
            cluster_arn=self._cluster_arn or some[0][1].task_cluster_arn,
            container_instance_arn=self.arn,
            message_id=message_id,
            seq_num=version,
            generated_at=int(self._clock.wall() * 1000),
            tasks=tuple(task for _, task in some),
        )

    def _manifest(self, view: View) -> TaskManifestMessage:
        return TaskManifestMessage(
            cluster_arn=self._cluster_arn or self.arn,
            container_instance_arn=self.arn,
            message_id=self._ids.new("uuid"),
            timeline=view.version,
            generated_at=int(view.now * 1000),
            tasks=tuple(
                ManifestTask(task_arn=task.arn, task_cluster_arn=task.cluster_arn, desired_status=task.desired_status)
                for _, task in view.find_global(TASKS, "instance", self.arn)
            ),
        )

    # --- receiving ------------------------------------------------------------------------------------------------

    async def _receive(self, group: asyncio.TaskGroup) -> None:
        while True:
            try:
                frame = await self._socket.receive()
            except Exception as error:
                raise Ended(f"connection ended: {error}") from error
            self._heard = self._clock.mono()
            match decode(frame):
                case AckRequest(message_id=id):
                    self._acknowledged(self._awaiting.pop(id, None))
                case NackRequest(message_id=id, reason=reason):
                    group.create_task(self._refused(self._awaiting.pop(id, None), reason), name="agent: refusal")
                case TaskStopVerificationMessage() as candidates:
                    await self._put(await self._store.read(partial(self._verify, asked=candidates)))

    def _acknowledged(self, sent: _Sent | None) -> None:
        if sent is not None and not isinstance(sent, _Groups):
            self._handed.update(dict.fromkeys(sent))
            self._accepted.set()

    async def _refused(self, sent: _Sent | None, reason: str) -> None:
        """Groups are tried again; a task that the node can't even read has failed."""
        log.warning("a node refuses a message", extra={"instance": self.arn, "reason": reason})
        if isinstance(sent, _Groups):
            self._awaiting[self._ids.new("uuid")] = sent  # its floor stays until the groups are enforced
            await self._clock.sleep(REPEAT_SECONDS)
            self._awaiting = {id: s for id, s in self._awaiting.items() if s is not sent}
            self._groups.repeat(sent.vpc_id)
            self._group_base = min(sent.base, self._group_base if self._group_base is not None else sent.base)
            self._work.set()
        elif sent:
            keys = [key for key in sent if self._sent.get(key) == "RUNNING"]
            await self._store.update(lambda tx: _failed(tx, keys, reason), f"{self.arn} refused the task")

    def _verify(self, view: View, asked: TaskStopVerificationMessage) -> TaskStopVerificationAck:
        """Of the tasks that the node runs and wasn't told of, those that really must stop."""
        stop = tuple(c for c in asked.stop_candidates if _must_stop(view, c.task_arn, self.arn))
        return TaskStopVerificationAck(message_id=asked.message_id, generated_at=int(view.now * 1000), stop_tasks=stop)

    async def _store_handed(self) -> None:
        """Acknowledged tasks, as many at a time as have come in."""
        while True:
            await self._accepted.wait()
            self._accepted.clear()
            keys, self._handed = self._handed, {}
            try:
                await self._store.update(partial(_hand, keys=keys), f"{self.arn} acknowledged")
            except StoreClosed:
                await self._clock.sleep(RETRY_SECONDS)
                self._handed = keys | self._handed
                self._accepted.set()


def _alike(before: Task, after: Task) -> bool:
    """Whether a node has to be told the same of both: most changes are of what it has told itself."""
    return (before.desired_status, before.instance, before.interface_id) == (
        after.desired_status,
        after.instance,
        after.interface_id,
    )


def _readable_start(view: View, scope: Scope, task: Task) -> PayloadTask | None:
    """``_start``, or None where something that the task needs is gone: one such task must not hold up the others."""
    try:
        return _start(view, scope, task)
    except AwsError as error:
        log.error("a task can't be sent", extra={"task": task.arn, "error": error.message})
        return None


def _start(view: View, scope: Scope, task: Task) -> PayloadTask | None:
    """The task with its spec; None where its interface is gone, so that it can't start any more."""
    definition = definitions.find(view, scope, task.definition_arn)
    interface = view.get(INTERFACES, scope, task.interface_id) if task.interface_id else None
    if interface is None and task.interface is not None:
        return None
    facts = eni.spec_facts(view, scope, interface) if interface else {}
    return PayloadTask(
        arn=task.arn,
        task_cluster_arn=task.cluster_arn,
        desired_status="RUNNING",
        family=definition.family,
        version=str(definition.revision),
        spec=task_spec(task, definition, interface, facts),
    )


def _must_stop(view: View, task_arn: str, instance_arn: str) -> bool:
    parsed = arns.parse(task_arn)
    if parsed is None:
        return True
    task = view.get(TASKS, (parsed.account, parsed.region), task_arn.rpartition("/")[2])
    return task is None or task.instance != instance_arn or task.desired_status == "STOPPED"


def _hand(tx: Tx, keys: dict[Key, None]) -> None:
    for key in keys:
        task = tx.get(TASKS, key.scope, key.id)
        if task is not None:
            effects.told(tx, key.scope, task, lifecycle.handed(task))


def _failed(tx: Tx, keys: Sequence[Key], reason: str) -> None:
    for key in keys:
        task = tx.get(TASKS, key.scope, key.id)
        if task is not None:
            report = TaskReport(cluster="", task=task.arn, status="STOPPED", reason=reason)
            effects.told(tx, key.scope, task, lifecycle.reported(task, report, tx.now))
