"""The control plane's process in the simulator: the shipped one, on a journal that outlives it, and its supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from ipaddress import IPv4Network
from random import Random
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from homeport.aws import authorize
from homeport.aws.operations import Call, Principal
from homeport.core.errors import AwsError, access_denied
from homeport.core.ids import BitIds
from homeport.core.paging import Tokens
from homeport.server import SERVICES, TABLES, ControlPlane
from homeport.services import ec2
from homeport.services.ec2.model import SUBNETS
from homeport.services.iam.keys import Vault
from homeport.sim.loop import SimClock, SimLoop
from homeport.sim.net import Connection, Hung, Net, Reply
from homeport.sim.process import Process
from homeport.store import Change, OutcomeUnknown, Scope, Store, StoreClosed, Tx, View
from homeport.store.journal import Commit, Logged, Page, Row
from homeport.store.keys import Key
from homeport.store.memory import Fault, MemoryJournal

ACCOUNT, REGION = "123456789012", "us-east-1"
SCOPE = Scope(ACCOUNT, REGION)
RESTART_SECONDS = 1.0  # from its end by itself until its supervisor starts it again
SUBNETS_USED = 2  # subnets of the default VPC that tasks run in
_EXPECTED = (StoreClosed, OutcomeUnknown)  # what it may end with where its disk fails


class Witness:
    """Is told of what the control plane does, at the moment it does it. This one judges nothing."""

    def opened(self, view: View) -> None: ...

    def staged(self, view: View, changes: Sequence[Change]) -> None: ...

    def durable(self, commits: Sequence[Commit]) -> None: ...

    def heard(self, node: str) -> None: ...

    def obeyed(self, node: str, operation: str, params: dict[str, Any], answer: dict[str, Any]) -> None: ...

    def admitted(self, node: str, arn: str) -> None: ...

    def sent(self, node: str, arn: str, frame: str) -> None: ...

    def happened(self, what: str) -> None: ...

    def server_failed(self, error: BaseException) -> None:
        raise error


def root() -> Principal:
    return Principal(account=ACCOUNT, arn=f"arn:aws:iam::{ACCOUNT}:root", user_id=ACCOUNT, access_key_id="AKIAROOT")


def node_principal(name: str) -> Principal:
    arn = f"arn:aws:iam::{ACCOUNT}:homeport-node/{name}"
    return Principal(account=ACCOUNT, arn=arn, user_id=name, access_key_id=f"AKIA{name}", node=name)


class Server:
    """``pool`` and ``prefix`` as in Scenario: few addresses, so that they are soon used again."""

    def __init__(self, loop: SimLoop, net: Net, random: Random, pool: str, prefix: int, witness: Witness) -> None:
        self.clock = SimClock(loop)
        self.journal = MemoryJournal(self.clock, self._fault)
        self.process: Process | None = None
        self.plane: ControlPlane | None = None  # None: nobody listens
        self.disk_full_until = 0.0
        self.next_append: Fault | None = None
        self._ill = 0.0  # when it last was away, or its disk failed
        self._loop, self._net, self._random, self._witness = loop, net, random, witness
        self._pool, self._prefix = pool, prefix
        self._away = RESTART_SECONDS
        self._vault, self._tokens = Vault(bytes(32)), Tokens(b"simulator")

    # --- faults -----------------------------------------------------------------------------------------------------

    def kill(self, seconds: float, touch: int = 0, after: bool = False) -> None:
        """Its supervisor starts it again ``seconds`` after its death."""
        if self.process is not None:
            self._away = seconds
            self.process.kill_at(touch, after)

    def calm(self) -> None:
        """No more faults."""
        self.disk_full_until, self.next_append = 0.0, None
        if self.process is not None:
            self.process.spare()

    def well_since(self) -> float:
        """Since when it is there, and its disk writes."""
        return self._loop.time() if self.plane is None else self._ill

    def _fault(self, commits: Sequence[Commit]) -> Fault:
        delay = self._random.uniform(0.0005, 0.004) + (0.3 if self._random.random() < 0.005 else 0.0)
        if self._loop.time() < self.disk_full_until:
            self._ill = self._loop.time()
            return Fault("refused", delay)
        if self.next_append is not None and commits:
            fault, self.next_append = self.next_append, None
            self._ill = self._loop.time()
            return fault
        return Fault("lands", delay)

    # --- the process ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        if self.process is not None:
            return
        self.process = process = Process("control plane", self._loop, self._died)
        self._away = RESTART_SECONDS
        self._witness.happened("control plane: starts")
        process.start(self._serve(process)).add_done_callback(lambda done: self._ended(process, done))

    async def _serve(self, process: Process) -> None:
        fatal: asyncio.Future[Exception] = self._loop.create_future()
        journal = ProcessJournal(self.journal, process, self._witness, self._random)
        store = Store(journal, TABLES, self.clock, fatal=fatal.set_result, observe=self._witness.staged)
        await store.open()
        self._witness.opened(store.view())
        ids = BitIds(self._random.getrandbits)
        await store.update(lambda tx: self._furnish(tx, ids), "start")
        plane = ControlPlane(store, self._vault, self.clock, ids)
        async with asyncio.TaskGroup() as group:
            group.create_task(plane.gateway.run(), name="agent gateway")
            group.create_task(plane.task_loop.run(), name="task loop")
            group.create_task(plane.service_loop.run(), name="service loop")
            self.plane, self._ill = plane, self._loop.time()
            raise await fatal

    def _furnish(self, tx: Tx, ids: BitIds) -> None:
        """A fresh account, with small subnets."""
        ec2.pool.configure(tx, self._pool)
        ec2.defaults.ensure_web_group(tx, SCOPE, ids, tx.now)
        for subnet in tx.all(SUBNETS, SCOPE):
            small = next(IPv4Network(subnet.cidr).subnets(new_prefix=max(self._prefix, _length(subnet.cidr))))
            tx.put(SUBNETS, SCOPE, replace(subnet, cidr=str(small)))

    def _died(self) -> None:
        self._witness.happened(f"control plane: dead for {self._away:g} s")
        self._gone()

    def _ended(self, process: Process, done: asyncio.Task[None]) -> None:
        if not process.alive or process is not self.process:
            if not done.cancelled():
                done.exception()
            return
        process.end()
        error = None if done.cancelled() else done.exception()
        if error is not None and not _expected(error):
            self._witness.server_failed(error)
        self._witness.happened(f"control plane: ended: {error!r}")
        self._gone()

    def _gone(self) -> None:
        self.process = self.plane = None
        for connection in self._net.connections():
            connection.to_agent.put(None)
        self._loop.call_later(self._away, self.start)

    # --- what it is asked -------------------------------------------------------------------------------------------

    def operate(
        self, principal: Principal, service: str, operation: str, params: dict[str, Any]
    ) -> asyncio.Future[Reply] | None:
        """The answer to a call, or None where nobody listens."""
        plane = self.plane
        if plane is None:
            return None
        return self._handle(lambda: self._execute(plane, principal, service, operation, params))

    def call(self, node: str, operation: str, params: dict[str, Any]) -> asyncio.Future[Reply] | None:
        return self.operate(node_principal(node), "ecs", operation, params)

    def upgrade(self, node: str, query: dict[str, str], peer: str = "") -> asyncio.Future[Reply] | None:
        """Answered with a Connection once the gateway has accepted it. ``peer``: what the network calls the machine, if
        not as the node whose key it uses."""
        plane, process = self.plane, self.process
        if plane is None or process is None:
            return None
        accepted: asyncio.Future[Reply] = self._loop.create_future()
        main = "containerInstanceArn" in query  # the telemetry websocket says nothing of the other's life
        arn = query["containerInstanceArn" if main else "containerInstance"]
        told = Peer(
            admitted=lambda: self._witness.admitted(node, arn),
            heard=partial(self._witness.heard, node) if main else _nothing,
            sent=lambda frame: self._witness.sent(node, arn, frame),
        )
        socket = ServerSocket(process, self._net.connect(peer or node), accepted, told)

        async def session() -> Reply:
            try:
                await plane.gateway.session(node_principal(node), query, socket)
            finally:
                await socket.close()
            return Reply("none", "the session ended")

        return self._handle(session, accepted)

    def _handle(
        self, work: Callable[[], Coroutine[Any, Any, Reply]], reply: asyncio.Future[Reply] | None = None
    ) -> asyncio.Future[Reply]:
        """Does ``work`` in the process; what comes of it is the reply, unless that was given before."""
        process = self.process
        assert process is not None
        answered: asyncio.Future[Reply] = reply or self._loop.create_future()

        async def run() -> None:
            outcome = Reply("none", "the control plane died")
            try:
                outcome = await work()
                process.touch()
            except AwsError as error:
                outcome = Reply("error", (error.code, error.message))
            except Exception as error:
                outcome = Reply("error", ("ServerException", str(error)))
                if not _expected(error):
                    self._witness.server_failed(error)
            finally:
                if not answered.done():
                    answered.set_result(outcome if process.alive else Reply("none", "the control plane died"))

        process.start(run())
        return answered

    async def _execute(
        self, plane: ControlPlane, principal: Principal, service: str, name: str, params: dict[str, Any]
    ) -> Reply:
        call = Call(
            principal=principal,
            account=ACCOUNT,
            region=REGION,
            service=service,
            operation=name,
            request_id=plane.ids.new("uuid"),
            now=self.clock.wall(),
            ids=plane.ids,
            tokens=self._tokens,
            endpoint="http://control-plane",
        )
        refused = authorize.refusal(principal, f"{service}:{name}", ["*"], {})
        if refused is not None:
            raise access_denied(refused)
        operation = SERVICES[service].operations.get(name)
        if operation is None:
            raise AwsError("InvalidAction", f"The operation {name} is not known.")
        answer = await plane.execute(operation, call, params)
        if principal.node is not None:
            self._witness.obeyed(principal.node, name, params, answer or {})
        return Reply("answer", msgspec.json.decode(msgspec.json.encode(answer or {})))


def _nothing() -> None: ...


def _expected(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_expected(one) for one in error.exceptions)
    return isinstance(error, _EXPECTED)


def _length(cidr: str) -> int:
    return IPv4Network(cidr).prefixlen


class ProcessJournal:
    """The journal as one process has it: nothing that it appends after its death is written."""

    def __init__(self, journal: MemoryJournal, process: Process, witness: Witness, random: Random) -> None:
        self._journal, self._process, self._witness, self._random = journal, process, witness, random

    async def load(self, accept: Callable[[Row], Row | None]) -> int:
        return await self._journal.load(accept)

    async def append(self, commits: Sequence[Commit]) -> None:
        self._process.touch()
        await self._journal.append(commits)
        self._witness.durable(commits)
        await asyncio.sleep(self._random.uniform(0.0, 0.001))  # durable, but its writer doesn't know that yet
        self._process.touch()

    async def probe(self, version: int) -> None:
        self._process.touch()
        await self._journal.probe(version)

    async def log(self, key: Key) -> list[Logged]:
        return await self._journal.log(key)

    async def read(self, after: int, kinds: Collection[str], since: float, limit: int) -> Page:
        return await self._journal.read(after, kinds, since, limit)

    async def close(self) -> None:
        return None


class Peer(NamedTuple):
    """Who is told of what happens on a connection."""

    admitted: Callable[[], None]
    heard: Callable[[], None]
    sent: Callable[[str], None]


class ServerSocket:
    """The gateway's end of a connection. Accepted with its first use, as by the front."""

    def __init__(self, process: Process, connection: Connection, accepted: asyncio.Future[Reply], peer: Peer) -> None:
        self._process, self._connection, self._accepted, self._peer = process, connection, accepted, peer

    async def send(self, text: str) -> None:
        self._accept()
        self._peer.sent(text)
        if self._connection.to_server.ended:
            raise Hung("the agent is gone")
        self._connection.to_agent.put(text)

    async def receive(self) -> str:
        self._accept()
        frame = await self._connection.to_server.get()
        self._peer.heard()
        return frame

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self._process.alive:
            self._connection.to_agent.put(None)

    def _accept(self) -> None:
        self._process.touch()
        if not self._accepted.done():
            self._peer.admitted()
            self._accepted.set_result(Reply("answer", self._connection))
