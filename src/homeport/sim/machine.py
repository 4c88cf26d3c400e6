"""A made-up machine: what outlives its agent, the agent's process, and the supervisor that starts it again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

import msgspec

from homeport.agent import main
from homeport.agent.config import AgentSettings, Host
from homeport.agent.drivers import DriverError
from homeport.agent.network import NetworkError
from homeport.agent.network.fake import FakeFabric, FakeNetwork
from homeport.agent.state import Instance, MemoryRecords, TaskRecord
from homeport.agent.transport import CallFailed, Channel, Closed
from homeport.agentapi import InterfaceSpec
from homeport.core.ids import BitIds
from homeport.sim.containers import Containers
from homeport.sim.images import Registry
from homeport.sim.loop import SimClock, SimLoop
from homeport.sim.net import Connection, Hung, Net, Reply, Unreachable
from homeport.sim.process import Process
from homeport.sim.runtime import Runtime, WatchedDriver
from homeport.sim.scenario import Hardware

REMEMBERED = 60  # of an agent's reports
RESTART_SECONDS = 1.0  # from an agent's end by itself until its supervisor starts it again


class Upstream(Protocol):
    """The control plane as a node's network reaches it; None: it isn't there."""

    def call(self, node: str, operation: str, params: dict[str, Any]) -> asyncio.Future[Reply] | None: ...

    def upgrade(self, node: str, query: dict[str, str], peer: str = "") -> asyncio.Future[Reply] | None: ...


class Witness(Protocol):
    """Who is told of what happens on machines, at the moment it happens."""

    @property
    def containers(self) -> Containers: ...

    def attaching(self, node: str, task_id: str, interface: InterfaceSpec) -> None: ...

    def happened(self, what: str) -> None: ...

    def agent_failed(self, node: str, error: BaseException) -> None: ...


class Fabric(FakeFabric):
    """All machines' interfaces, and the registry that they pull from; the witness judges them."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self._witness, self.registry = witness, Registry()

    def attach(self, node: str, task_id: str, interface: InterfaceSpec) -> None:
        self._witness.attaching(node, task_id, interface)
        self.interfaces.setdefault(node, {})[task_id] = interface


class Machine:
    def __init__(
        self,
        name: str,
        loop: SimLoop,
        random: Random,
        net: Net,
        upstream: Upstream,
        fabric: Fabric,
        witness: Witness,
        settings: AgentSettings,
        host: Host,
        hardware: Hardware | None = None,
        *,
        node: str = "",
    ) -> None:
        self.name, self.node = name, node or name  # the node whose key it has
        self.clock = SimClock(loop)
        self.runtime = Runtime(name, witness.containers, witness.happened, self.clock.wall, fabric.registry)
        self.records = MemoryRecords()
        self.process: Process | None = None
        self.disk_full_until = 0.0
        self.telemetry: tuple[Connection, float] | None = None  # since when
        self._loop, self._random, self._net, self._upstream = loop, random, net, upstream
        self._fabric, self._witness, self._settings, self._host = fabric, witness, settings, host
        self._hardware = hardware
        self.reports: deque[tuple[str, dict[str, Any]]] = deque(maxlen=REMEMBERED)  # calls that tell how tasks are
        self.cluster = settings.cluster
        self._kept, self._gpus = (hardware.ports, hardware.gpus) if hardware else ((), ())
        self.boots = 1
        self._away = RESTART_SECONDS
        self._powered, self._removed = True, False

    # --- faults -----------------------------------------------------------------------------------------------------

    def kill_agent(self, seconds: float, touch: int = 0, after: bool = False) -> None:
        """Its supervisor starts it again ``seconds`` after its death."""
        if self.process is not None:
            self._away = seconds
            self.process.kill_at(touch, after)

    def stop_runtime(self, seconds: float) -> None:
        self.runtime.stopped_until = self._loop.time() + seconds
        self._loop.call_later(seconds, self.runtime.restart)
        self._witness.containers.troubled(self.name, seconds)

    def fill_disk(self, seconds: float) -> None:
        self.disk_full_until = self._loop.time() + seconds
        self._witness.containers.troubled(self.name, seconds)

    def set_clock(self, seconds: float) -> None:
        self.clock.epoch += seconds
        self._witness.containers.clock_set(self.name)

    def reboot(self, seconds: float) -> None:
        """The power fails; it is back after ``seconds``. Nobody is told: connections just fall silent."""
        self._powered = False
        self.kill_agent(seconds)
        self._powered = True
        self.boots += 1
        self.runtime.reboot()
        self._fabric.reboot(self.name)

    def resize(self, share: float, ports: tuple[int, ...]) -> None:
        """The machine has only this share of what it had, keeps these ports for itself too, and its agent restarts."""
        if self._hardware is None:
            return
        had = self._hardware
        self._host = msgspec.structs.replace(
            self._host, cores=max(1, int(had.cores * share)), memory=max(256, int(had.memory * share))
        )
        self._kept, self._gpus = (*had.ports, *ports), had.gpus[: int(len(had.gpus) * share)]
        self.kill_agent(1.0)

    def remove(self) -> None:
        """The machine is gone, for good."""
        self._removed = True
        self.kill_agent(0.0)
        self.runtime.reboot()
        self._fabric.reboot(self.name)

    def calm(self) -> None:
        """No more faults of the machine itself."""
        self.runtime.stopped_until = self.disk_full_until = 0.0
        if self.process is not None:
            self.process.spare()

    # --- the agent's process ----------------------------------------------------------------------------------------

    def start_agent(self) -> None:
        if self.process is not None or self._removed:
            return
        self.process = process = Process(f"agent of {self.name}", self._loop, self._died)
        self._away = RESTART_SECONDS
        self._witness.happened(f"{self.name}: agent starts")
        process.start(self._serve(process)).add_done_callback(lambda done: self._ended(process, done))

    async def _serve(self, process: Process) -> None:
        await main.serve(
            self._settings,
            self._driver(process),
            FakeNetwork(self._fabric, self.name, fault=lambda call, id: self._plumb(process, call, id)),
            NodeTransport(self, process, self._net, self._upstream),
            self.clock,
            BitIds(self._random.getrandbits),
            asyncio.Event(),
            records=Disk(self, process),
            host=msgspec.structs.replace(self._host, boot_id=f"{self.name}/{self.boots}"),
        )

    def _driver(self, process: Process) -> WatchedDriver:
        book = self._witness.containers
        return WatchedDriver(self.name, self.runtime, book, lambda call, id: self._drive(process, call, id))

    def registering(self, params: dict[str, Any]) -> dict[str, Any]:
        """RegisterContainerInstance's parameters with what the machine's operator has configured."""
        had = self._hardware
        if had is None or had.kind == "FARGATE":
            return params
        values = {"ecs.availability-zone": had.zone, **had.attributes}
        values |= {"ecs.capability.external": ""} if had.kind == "EXTERNAL" else {}
        values |= {"homeport.max-interfaces": str(had.interfaces)} if had.interfaces else {}
        values |= {"homeport.auto-scaling-group": had.group} if had.group else {}
        given = [a for a in params.get("attributes", ()) if a["name"] not in values]
        sets = {"PORTS": [str(port) for port in self._kept], "GPU": list(self._gpus)}
        resources = [r for r in params.get("totalResources", ()) if r["name"] not in sets]
        resources += [{"name": n, "type": "STRINGSET", "stringSetValue": v} for n, v in sets.items() if v]
        attributes = [*given, *({"name": n, "value": v} for n, v in values.items())]
        return {**params, "attributes": attributes, "totalResources": resources}

    def saved(self, record: TaskRecord) -> None:
        self._witness.containers.saved(self.name, record, self.runtime.volumes)

    def connected(self, query: dict[str, str], connection: Connection) -> None:
        if "containerInstance" in query:
            self.telemetry = (connection, self._loop.time())

    def disk_seconds(self) -> float:
        return self._random.uniform(0.0005, 0.01)

    def _drive(self, process: Process, call: str, id: str) -> None:
        process.touch()
        if not self.runtime.answers():
            raise DriverError("DockerTimeoutError", "the runtime doesn't answer")
        self._witness.happened(f"{self.name}: {call} {id}")

    def _plumb(self, process: Process, call: str, id: str) -> None:
        process.touch()
        if not self.runtime.answers() and self._random.random() < 0.5:
            raise NetworkError("netlink is out of memory")
        self._witness.happened(f"{self.name}: {call} {id}")

    def _died(self) -> None:
        self._witness.happened(f"{self.name}: agent is dead for {self._away:g} s")
        self._witness.containers.agent_died(self.name)
        self._gone()

    def _ended(self, process: Process, done: asyncio.Task[None]) -> None:
        """The agent ended; unless it was killed, that is allowed only as its machine gives it reason to."""
        error = None if done.cancelled() else done.exception()
        if process is not self.process or not process.alive:
            return
        process.end()
        if error is not None and not _expected(error):
            self._witness.agent_failed(self.name, error)
        self._witness.happened(f"{self.name}: agent ended: {error!r}")
        self._witness.containers.agent_died(self.name)
        self._gone()

    def _gone(self) -> None:
        self.process = None
        self.runtime.forget_watchers()
        for connection in self._net.connections(self.name) if self._powered else ():
            connection.to_server.put(None)
        self._loop.call_later(self._away, self.start_agent)


def _expected(error: BaseException) -> bool:
    """What an agent may end with where its machine or its disk fails."""
    if isinstance(error, BaseExceptionGroup):
        return all(_expected(one) for one in error.exceptions)
    return isinstance(error, (DriverError, NetworkError, OSError))


class Disk:
    """``Records`` of one agent process. A write takes a while, and has happened somewhere in between."""

    def __init__(self, machine: Machine, process: Process) -> None:
        self._machine, self._process, self._kept = machine, process, machine.records

    def load(self) -> list[TaskRecord]:
        return self._kept.load()

    def find(self, task_id: str) -> TaskRecord | None:
        return self._kept.find(task_id)

    def instance(self) -> Instance:
        return self._kept.instance()

    async def save(self, record: TaskRecord) -> None:
        await self._begin()
        await self._kept.save(record)
        self._machine.saved(record)
        await asyncio.sleep(self._machine.disk_seconds())

    async def save_instance(self, instance: Instance) -> None:
        await self._begin()
        await self._kept.save_instance(instance)
        await asyncio.sleep(self._machine.disk_seconds())

    async def delete(self, task_id: str) -> None:
        self._process.touch()
        await self._kept.delete(task_id)

    async def _begin(self) -> None:
        await asyncio.sleep(self._machine.disk_seconds())
        self._process.touch()
        if asyncio.get_running_loop().time() < self._machine.disk_full_until:
            raise OSError(28, "No space left on device")


class NodeTransport:
    """``Transport`` over the simulated network."""

    def __init__(self, machine: Machine, process: Process, net: Net, upstream: Upstream) -> None:
        self._machine, self._process, self._net, self._upstream = machine, process, net, upstream
        self._peer, self._node = machine.name, machine.node

    async def call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        sent = msgspec.json.decode(msgspec.json.encode(params))
        if operation == "RegisterContainerInstance":
            sent = self._machine.registering(sent)
        elif operation.startswith("Submit"):
            self._machine.reports.append((operation, sent))
        answer: dict[str, Any] = await self._ask(lambda: self._upstream.call(self._node, operation, sent))
        return answer

    async def connect(self, endpoint: str, query: dict[str, str]) -> Channel:
        connection: Connection = await self._ask(lambda: self._upstream.upgrade(self._node, query, self._peer))
        self._machine.connected(query, connection)
        return NodeChannel(self._process, connection)

    async def _ask(self, submit: Callable[[], asyncio.Future[Reply] | None]) -> Any:
        self._process.touch()
        try:
            reply = await self._net.call(self._peer, submit)
        except Unreachable as error:
            raise CallFailed(None, str(error)) from error
        if reply.kind == "error":
            raise CallFailed(*reply.value)
        return reply.value


class NodeChannel:
    """``Channel``: the agent's end of a connection."""

    def __init__(self, process: Process, connection: Connection) -> None:
        self._process, self._connection = process, connection

    async def send(self, frame: str) -> None:
        self._process.touch()
        if self._connection.to_agent.ended:
            raise Closed("the connection is over")
        self._connection.to_server.put(frame)

    async def receive(self) -> str:
        try:
            return await self._connection.to_agent.get()
        except Hung as error:
            raise Closed(str(error)) from error

    async def close(self) -> None:
        if self._process.alive:
            self._connection.to_server.put(None)
