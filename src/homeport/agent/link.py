"""The agent's connection to its control plane: registers, connects, answers messages, reconnects.

The rules are those of Amazon's agent: a payload is acknowledged once it is durable; sequence numbers and timelines are
one increasing counter per instance and a lower one is refused; a task that a manifest lacks is asked about before it is
stopped; a connection that is silent for a minute is given up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from homeport import cancellation
from homeport.agent.config import AgentSettings, Host
from homeport.agent.network import Network, NetworkError
from homeport.agent.node import Node, task_id_of
from homeport.agent.registration import registration, session_query
from homeport.agent.state import VERSION, Instance, Records
from homeport.agent.transport import CallFailed, Channel, Closed, Transport
from homeport.agentapi import (
    REPLACED,
    AckRequest,
    HeartbeatAckRequest,
    HeartbeatMessage,
    HomeportGroupsMessage,
    ManifestTask,
    Message,
    NackRequest,
    PayloadMessage,
    TaskManifestMessage,
    TaskStopVerificationAck,
    TaskStopVerificationMessage,
    decode,
    encode,
)
from homeport.core.clock import Clock
from homeport.core.ids import Ids

log = logging.getLogger("homeport.agent.link")

SILENCE = 60.0  # seconds without a message after which a connection is given up, plus up to as many of jitter
BACKOFF_FIRST, BACKOFF_FACTOR = 0.1, 1.5  # quick at first: a control plane restarts in about a second
STEADY = 2.0  # seconds of connection after which the backoff starts anew
GONE = ("InactiveInstanceException", "InvalidInstanceException")  # the instance that this node was is no more


class Refused(Exception):
    """The control plane refuses this node for good; the text says why."""


class Replaced(Refused):
    """Another agent has registered with this node's key since: the newer one is the node."""


class Sequence:
    """The counter of one instance as this agent has seen it. Within a connection messages come in order; what is lower
    than an earlier connection's manifest comes from a control plane that was replaced.

    Kept in memory only: a control plane that was restored from a backup starts lower, and restarting the agents then is
    enough.
    """

    def __init__(self) -> None:
        self.latest = 0
        self.floor = 0
        self._manifest = 0

    def connected(self) -> None:
        """A new connection begins."""
        self.floor = self._manifest

    def take(self, number: int) -> bool:
        """For payloads and groups."""
        if number < self.floor:
            return False
        self.latest = max(self.latest, number)
        return True

    def take_manifest(self, timeline: int) -> bool:
        """False for a manifest that is older than what has been acted on since."""
        if timeline < self.latest:
            return False
        self.latest = self._manifest = timeline
        return True


class Backoff:
    """How long to wait before the next attempt: not at all, then 0.1 s and half as much again each time, ±20 %."""

    def __init__(self, ids: Ids, most: float) -> None:
        self._ids, self._most, self._delay = ids, most, 0.0

    def reset(self) -> None:
        self._delay = 0.0

    def next(self) -> float:
        delay = self._delay
        self._delay = min(self._most, max(BACKOFF_FIRST, delay * BACKOFF_FACTOR))
        return delay * (0.8 + 0.4 * fraction(self._ids))


def fraction(ids: Ids) -> float:
    """Between 0 and 1, at random."""
    return int(ids.new("hex")[:8], 16) / 0xFFFFFFFF


class Link:
    def __init__(
        self,
        settings: AgentSettings,
        host: Host,
        node: Node,
        network: Network,
        transport: Transport,
        records: Records,
        clock: Clock,
        ids: Ids,
        connected: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings, self._host = settings, host
        self._connected = connected
        self._machine = ""  # an id of the state folder
        self._defended = False  # it has taken its place back from another agent
        self._node, self._network, self._transport, self._records = node, network, transport, records
        self._clock, self._ids = clock, ids
        self._sequence = Sequence()
        self._backoff = Backoff(ids, settings.retry_most)
        self._arn: str | None = None
        self._telemetry: str | None = None  # its endpoint
        self._discovered = asyncio.Event()
        self._endpoint: str | None = None
        self._first = True

    async def run(self) -> None:
        """For ever: registered and connected, or trying to be. Raises Refused."""
        registered = False
        while True:
            try:
                if not registered:
                    await self._register()
                    registered = True
                await self._session()
            except CallFailed as error:
                log.info("no connection", extra={"error": str(error)})
                if error.code == REPLACED:
                    registered = self._defend(error)
                self._endpoint = None
                if error.code in GONE:
                    registered = False
                    await self._become(None)
            except OSError as error:
                log.warning("can't save the instance", extra={"error": str(error)})
            await self._clock.sleep(self._backoff.next())

    def _defend(self, error: CallFailed) -> bool:
        """Another agent has registered as this instance. The first time that may have been this node's own, late call
        from before it lost its state: it registers again. Of two machines with one key the older one meets the other
        twice, and ends: raises Replaced."""
        if self._defended:
            raise Replaced(f"Another machine has this node's key: {error}") from error
        log.warning("another agent has registered as this instance")
        self._defended = True
        return False

    @property
    def arn(self) -> str | None:
        """The container instance that this node is, once it is registered."""
        return self._arn

    async def telemetry(self) -> tuple[str, str]:
        """That ARN and the endpoint for its telemetry, as soon as both are known."""
        while self._arn is None or self._telemetry is None:
            self._discovered.clear()
            await self._discovered.wait()
        return self._arn, self._telemetry

    # --- registration -------------------------------------------------------------------------------------------

    async def _register(self) -> None:
        saved = self._records.instance()
        if not saved.machine:  # durable before it is told: a call of this life may arrive in the next one
            saved = replace(saved, machine=self._ids.new("hex")[:16])
            await self._records.save_instance(saved)
        self._machine = saved.machine
        arn = saved.arn if saved.cluster == self._settings.cluster else None
        try:
            answer = await self._transport.call("RegisterContainerInstance", self._registration(arn))
        except CallFailed as error:
            if error.retry:
                raise
            if arn is None:
                raise Refused(f"The control plane refuses this node: {error}") from error
            log.warning("registering as a new instance", extra={"error": str(error), "was": arn})
            await self._become(None)
            raise
        await self._become(answer["containerInstance"]["containerInstanceArn"])
        log.info("registered", extra={"instance": self._arn})

    def _registration(self, arn: str | None) -> dict[str, object]:
        return registration(self._settings, self._host, arn, self._ids.new("uuid"), self._machine)

    async def _become(self, arn: str | None) -> None:
        """Another instance counts anew."""
        if arn != self._arn:
            self._sequence = Sequence()
        self._arn = arn
        instance = Instance(version=VERSION, cluster=self._settings.cluster, arn=arn, machine=self._machine)
        if instance != self._records.instance():
            await self._records.save_instance(instance)

    # --- one connection -----------------------------------------------------------------------------------------

    async def _session(self) -> None:
        """From connecting to the connection's end. Raises CallFailed where none comes about."""
        assert self._arn is not None
        if self._endpoint is None:
            params = {"containerInstance": self._arn, "cluster": self._settings.cluster}
            answer = await self._transport.call("DiscoverPollEndpoint", params)
            self._endpoint, self._telemetry = answer["endpoint"], answer.get("telemetryEndpoint")
            self._discovered.set()
        query = session_query(self._settings, self._host, self._arn, self._first, self._machine)
        channel = await self._transport.connect(self._endpoint, query)
        self._sequence.connected()
        log.info("connected", extra={"endpoint": self._endpoint})
        self._first = False
        self._connected()
        self._node.kick()
        began = self._clock.mono()
        try:
            async with asyncio.TaskGroup() as group:
                await _Session(self, channel, group).serve()
        except* Closed as closed:
            log.info("disconnected", extra={"error": str(closed.exceptions[0])})
        finally:
            await channel.close()
            if self._clock.mono() - began >= STEADY:
                self._backoff.reset()
        cancellation.honour()

    # --- what a session needs -----------------------------------------------------------------------------------

    async def groups(self, message: HomeportGroupsMessage) -> Message | None:
        if not self._sequence.take(message.seq_num):
            return self._stale(message.message_id, message.seq_num)
        try:
            await self._network.groups(message)
        except NetworkError as error:
            log.error("security groups are not enforced", extra={"vpc": message.vpc_id, "error": str(error)})
            return self._nack(message.message_id, str(error))
        return self.ack(message.message_id)

    def payload(self, message: PayloadMessage) -> list[Awaitable[None]] | NackRequest | None:
        """What must be durable before the acknowledgement, or a refusal, or None: no answer, as Amazon's agent gives
        none to what is meant for another. Stops come before starts."""
        if message.container_instance_arn != self._arn:
            return None
        if not self._sequence.take(message.seq_num):
            return self._stale(message.message_id, message.seq_num)
        strange = next((task.arn for task in message.tasks if task_id_of(task.arn) is None), None)
        if strange is not None:
            return self._nack(message.message_id, f"not a task ARN: {strange}")
        tasks = sorted(message.tasks, key=lambda task: task.desired_status != "STOPPED")
        return [self._node.accept(task) for task in tasks]

    def manifest(self, message: TaskManifestMessage) -> list[Message]:
        if message.container_instance_arn != self._arn or not self._sequence.take_manifest(message.timeline):
            log.warning("manifest ignored", extra={"timeline": message.timeline, "latest": self._sequence.latest})
            return []
        unlisted = self._node.unlisted(message.tasks)
        verify = TaskStopVerificationMessage(message_id=message.message_id, stop_candidates=unlisted)
        return [self.ack(message.message_id), *([verify] if unlisted else [])]

    def stop(self, tasks: tuple[ManifestTask, ...]) -> None:
        self._node.stop(task.task_arn for task in tasks if task.desired_status == "STOPPED")

    def silence(self) -> float:
        return SILENCE * (1 + fraction(self._ids))

    def ack(self, message_id: str) -> AckRequest:
        return AckRequest(cluster=self._settings.cluster, container_instance=self._arn or "", message_id=message_id)

    def _nack(self, message_id: str, reason: str) -> NackRequest:
        cluster, arn = self._settings.cluster, self._arn or ""
        return NackRequest(cluster=cluster, container_instance=arn, message_id=message_id, reason=reason[:1024])

    def _stale(self, message_id: str, number: int) -> NackRequest:
        log.warning("stale message refused", extra={"number": number, "floor": self._sequence.floor})
        return self._nack(message_id, f"sequence number {number} is before manifest {self._sequence.floor}")


class _Session:
    """One connection. Messages are handled in their order; only the acknowledgement of a payload waits for the disk
    beside it."""

    def __init__(self, link: Link, channel: Channel, group: asyncio.TaskGroup) -> None:
        self._link, self._channel, self._group = link, channel, group
        self._verifying: dict[str, set[str]] = {}  # message id → ARNs that were asked about

    async def serve(self) -> None:
        """Until the connection ends, which raises Closed."""
        silence = self._link.silence()
        while True:
            try:
                async with asyncio.timeout(silence):
                    frame = await self._channel.receive()
            except TimeoutError:
                raise Closed(f"no message for {silence:.0f} s") from None
            message = decode(frame)
            if message is not None:
                await self._handle(message)

    async def _handle(self, message: Message) -> None:
        match message:
            case HeartbeatMessage():
                await self._send(HeartbeatAckRequest(message_id=message.message_id))
            case HomeportGroupsMessage():
                await self._send(await self._link.groups(message))
            case PayloadMessage():
                taken = self._link.payload(message)
                if isinstance(taken, list):
                    self._group.create_task(self._acknowledge(message.message_id, taken))
                else:
                    await self._send(taken)
            case TaskManifestMessage():
                for answer in self._link.manifest(message):
                    if isinstance(answer, TaskStopVerificationMessage):
                        self._verifying[message.message_id] = {t.task_arn for t in answer.stop_candidates}
                    await self._send(answer)
            case TaskStopVerificationAck():
                asked = self._verifying.pop(message.message_id, set())
                self._link.stop(tuple(t for t in message.stop_tasks if t.task_arn in asked))
            case _:
                pass

    async def _acknowledge(self, message_id: str, saving: list[Awaitable[None]]) -> None:
        await asyncio.gather(*saving)
        await self._send(self._link.ack(message_id))

    async def _send(self, message: Message | None) -> None:
        if message is not None:
            await self._channel.send(encode(message))
