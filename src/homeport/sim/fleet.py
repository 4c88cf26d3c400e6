"""Many machines at little cost: the shipped control plane, and nodes that answer it as agents do and run nothing.

A node's tasks are timers: what becomes of one is said by the ``Conduct`` of its image. Where worlds are searched for
what goes wrong in agents, a fleet answers how a cluster of hundreds of machines behaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Any, Protocol

import msgspec

from homeport.agent.config import AgentSettings, Host
from homeport.agent.registration import registration, session_query
from homeport.agentapi import (
    AckRequest,
    ContainerHealth,
    HeartbeatAckRequest,
    HeartbeatMessage,
    HomeportGroupsMessage,
    PayloadMessage,
    PayloadTask,
    PublishHealthRequest,
    TaskHealth,
    TaskManifestMessage,
    decode,
    encode,
)
from homeport.sim.control import Server, Witness
from homeport.sim.loop import SimLoop
from homeport.sim.net import Connection, Net, Pipe, Reply

CLUSTER = "default"
AGAIN = 1.0  # seconds before a call that wasn't answered is made anew, and before a node connects again
_BEAT = '{"type":"' + HeartbeatMessage.__name__ + '"'
_BEATEN = encode(HeartbeatAckRequest(message_id=""))


class Conduct(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a task. Seconds: ``starts`` until it is RUNNING, from there to HEALTHY, UNHEALTHY and to its exit
    (None: never), ``stops`` from the wish to stop it to its end. ``fails``: why it never starts, if it doesn't."""

    starts: float = 2.0
    healthy: float | None = None
    unhealthy: float | None = None
    exits: float | None = None
    stops: float = 1.0
    fails: str | None = None


class Refused(Exception):
    """An error that the API answered."""


class Listener(Protocol):
    def __call__(self, frame: str | None) -> None: ...


class _Wire(Pipe):
    """One direction of a connection, without any delay. ``hear``: who is told of each frame; else it is waited for."""

    def __init__(self, net: Net, peer: str, loop: asyncio.AbstractEventLoop, hear: Listener | None = None) -> None:
        super().__init__(net, peer, loop)
        self._hear = hear

    def put(self, frame: str | None) -> None:
        self._loop.call_soon(self._arrive, frame)

    def _arrive(self, frame: str | None) -> None:
        if self._hear is None:
            super()._arrive(frame)
        elif not self.ended:
            self.ended = frame is None
            self._hear(frame)


class _Wires(Net):
    """``ears``: who is told of what comes in on a connection, by peer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, Random(0), 0.0)  # noqa: S311 (nothing secret)
        self.ears: dict[str, Listener] = {}

    def connect(self, peer: str) -> Connection:
        made = Connection(_Wire(self, peer, self._loop, self.ears.get(peer, _deaf)), _Wire(self, peer, self._loop))
        self._connections[peer] = [*(c for c in self._connections.get(peer, []) if not c.over), made]
        return made


def _deaf(frame: str | None) -> None: ...


class Fleet:
    """``conduct`` of an image, by its reference."""

    def __init__(self, loop: SimLoop, witness: Witness, conduct: Mapping[str, Conduct], seed: int = 0) -> None:
        self.loop, self.conduct = loop, conduct
        self.wires = _Wires(loop)
        self.server = Server(loop, self.wires, Random(seed), "198.18.0.0/15", 0, witness)  # noqa: S311
        self.nodes: list[Node] = []

    def behave(self, image: str) -> Conduct:
        return self.conduct.get(image) or Conduct()

    async def node(self, settings: AgentSettings, host: Host, zone: str, group: str) -> Node:
        made = Node(self, f"node{len(self.nodes)}", settings, host, zone, group)
        self.nodes.append(made)
        await made.start()
        return made


class Node:
    """``zone`` is where it is, ``group`` what its like are called."""

    def __init__(self, fleet: Fleet, name: str, settings: AgentSettings, host: Host, zone: str, group: str) -> None:
        self.name, self.zone, self.group = name, zone, group
        self.up = False
        self.arn = ""
        self._fleet, self._settings, self._host = fleet, settings, host
        self._connection: Connection | None = None
        self._telemetry: Connection | None = None
        self._timers: dict[str, list[asyncio.TimerHandle]] = {}  # by the task's ARN
        self._names: dict[str, tuple[str, list[str]]] = {}  # image and names of containers of the tasks that it has
        self._pulls: dict[str, float] = {}  # when the download of their images began
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def tasks(self) -> list[str]:
        """ARNs of those that it has."""
        return list(self._names)

    async def start(self) -> None:
        """Registers and connects. Raises Refused."""
        self.up = True
        self._fleet.wires.ears[self.name] = self._hear
        asked = registration(self._settings, self._host, self.arn or None, f"{self.name}", self.name)
        answer = await self._call("RegisterContainerInstance", asked)
        self.arn = answer["containerInstance"]["containerInstanceArn"]
        await self._connect()

    def fail(self) -> None:
        """The machine is gone: nothing of it is heard any more, and what ran there doesn't."""
        self.up = False
        for timers in self._timers.values():
            for timer in timers:
                timer.cancel()
        self._timers.clear()
        self._fleet.wires.reset(self.name)
        self._connection = self._telemetry = None

    def forget(self) -> None:
        """What it had, and which instance it was: when it is back, it is a new one."""
        self.arn = ""
        self._names.clear()
        self._pulls.clear()

    async def repair(self) -> None:
        """It is back, and tells that what it had has ended."""
        lost = list(self._names)
        await self.start()
        for arn in lost:
            self.kill(arn)

    def kill(self, arn: str) -> None:
        """A task's process dies."""
        if arn in self._names:
            self._end(arn, 137)

    # --- what it is told --------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        while self.up:
            query = session_query(self._settings, self._host, self.arn, True, self.name)
            accepted = self._fleet.server.upgrade(self.name, query)
            reply = await accepted if accepted is not None else Reply("none", "")
            if reply.kind == "answer":
                self._connection = reply.value
                return
            await asyncio.sleep(AGAIN)

    def _hear(self, frame: str | None) -> None:
        if not self.up:
            return
        if frame is None:
            self._connection, self._telemetry = None, None
            self._fleet.loop.call_later(AGAIN, lambda: self._do(self._connect()))
        elif frame.startswith(_BEAT):
            self._send(_BEATEN)
        else:
            match decode(frame):
                case PayloadMessage() as message:
                    self._acknowledge(message.message_id)
                    for task in message.tasks:
                        self._take(task)
                case HomeportGroupsMessage() | TaskManifestMessage() as message:
                    self._acknowledge(message.message_id)

    def _acknowledge(self, id: str) -> None:
        self._send(encode(AckRequest(cluster=CLUSTER, container_instance=self.arn, message_id=id)))

    def _send(self, frame: str) -> None:
        if self._connection is not None:
            self._connection.to_server.put(frame)

    # --- its tasks --------------------------------------------------------------------------------------------------

    def _take(self, task: PayloadTask) -> None:
        if task.desired_status == "STOPPED":
            self._stop(task.arn)
            return
        if task.arn in self._names or task.spec is None:
            return
        image = task.spec.containers[0].image
        self._names[task.arn] = (image, [c.name for c in task.spec.containers])
        self._pulls[task.arn] = self._fleet.server.clock.wall()
        conduct = self._fleet.behave(image)
        self._later(task.arn, conduct.starts, self._started)

    def _started(self, arn: str) -> None:
        image, names = self._names[arn]
        conduct = self._fleet.behave(image)
        if conduct.fails is not None:
            self._names.pop(arn)
            self._tell(arn, "STOPPED", names, reason=conduct.fails)
            return
        self._tell(arn, "RUNNING", names)
        for seconds, then in (
            (conduct.healthy, lambda arn: self._check(arn, "HEALTHY")),
            (conduct.unhealthy, lambda arn: self._check(arn, "UNHEALTHY")),
            (conduct.exits, lambda arn: self._end(arn, 1)),
        ):
            if seconds is not None:
                self._later(arn, seconds, then)

    def _stop(self, arn: str) -> None:
        known = self._names.get(arn)
        self._clear(arn)
        if known is None:
            self._tell(arn, "STOPPED", [])
        else:
            self._later(arn, self._fleet.behave(known[0]).stops, lambda arn: self._end(arn, 0))

    def _end(self, arn: str, code: int) -> None:
        _, names = self._names.pop(arn, ("", []))
        self._clear(arn)
        self._tell(arn, "STOPPED", names, exitCode=code)

    def _later(self, arn: str, seconds: float, then: Callable[[str], None]) -> None:
        self._timers.setdefault(arn, []).append(self._fleet.loop.call_later(seconds, then, arn))

    def _clear(self, arn: str) -> None:
        for timer in self._timers.pop(arn, ()):
            timer.cancel()

    # --- what it tells ----------------------------------------------------------------------------------------------

    def _tell(self, arn: str, status: str, names: list[str], **more: Any) -> None:
        containers = [{"containerName": name, "status": status, **more} for name in names]
        told: dict[str, Any] = {"cluster": CLUSTER, "task": arn, "status": status, "containers": containers}
        began = self._pulls.get(arn) if status == "RUNNING" else self._pulls.pop(arn, None)
        if began is not None:
            told["pullStartedAt"] = began
        self._do(self._submit(told))

    async def _submit(self, told: dict[str, Any]) -> None:
        with suppress(Refused):  # of a task that is known no more
            await self._call("SubmitTaskStateChange", told)

    def _check(self, arn: str, health: str) -> None:
        names = self._names.get(arn, ("", []))[1]
        told = tuple(ContainerHealth(container_name=name, health_status=health) for name in names)
        self._do(self._publish(encode(PublishHealthRequest(tasks=(TaskHealth(arn, containers=told),)))))

    async def _publish(self, frame: str) -> None:
        while self._telemetry is None and self.up:
            query = {"containerInstance": self.arn, "cluster": CLUSTER}
            accepted = self._fleet.server.upgrade(self.name, query)
            reply = await accepted if accepted is not None else Reply("none", "")
            if reply.kind == "answer":
                self._telemetry = reply.value
            else:
                await asyncio.sleep(AGAIN)
        if self._telemetry is not None:
            self._telemetry.to_server.put(frame)

    async def _call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        while True:
            pending = self._fleet.server.call(self.name, operation, params)
            reply = await pending if pending is not None else Reply("none", "")
            if reply.kind == "answer":
                answer: dict[str, Any] = reply.value
                return answer
            if reply.kind == "error" and reply.value[0] != "ServerException":
                raise Refused(reply.value[1])
            await asyncio.sleep(AGAIN)

    def _do(self, work: Any) -> None:
        call = self._fleet.loop.create_task(work)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
