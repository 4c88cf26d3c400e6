"""The endpoint itself: a listening socket in every router namespace and one on the machine's loopback, one connection
per request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import msgspec

from homeport.agent.drivers.usage import Usage
from homeport.agent.metadata import answers, machine, protection, routes, statistics
from homeport.agent.metadata.bucket import Bucket
from homeport.agent.metadata.environment import KEY_BYTES, in_machine, variables
from homeport.agent.metadata.http import CHUNK, READ_SECONDS, Api, BadRequest, Incoming, Request, answer
from homeport.agent.metadata.statistics import Samples
from homeport.agent.plan import Facts, TaskGoal
from homeport.agent.report import runtime_id
from homeport.agent.state import StateDamaged, write_durably
from homeport.agent.transport import CallFailed
from homeport.agentapi import ContainerSpec
from homeport.core.clock import Clock

log = logging.getLogger("homeport.agent.metadata")

CONNECTIONS = 16  # of one task at a time; more are closed at once
MACHINE, MACHINE_CONNECTIONS = "machine", 64  # what stands for a VPC's id on the machine's loopback; all of them there
ASKING = 4  # questions of tasks for the control plane at a time: reports of states go first
MAX_WISH = 4096  # bytes of what a task may tell the agent itself
LINGER_SECONDS = 2.0  # for the task to take the end of its answer
TOO_OFTEN = b"You have reached maximum request limit."
NOT_FOUND = "404 page not found"


class Task(Protocol):
    """A task of this node, as its runner knows it."""

    @property
    def goal(self) -> TaskGoal: ...

    @property
    def facts(self) -> Facts: ...


Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]  # as Transport.call
FindTask = Callable[[str, str], Task | None]  # by VPC id and private address
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Asker:
    """What is kept of a task that asks, for as long as its runner lives."""

    def __init__(self, now: float) -> None:
        self.bucket, self.connections = Bucket(now), 0
        self.samples: dict[str, Samples] = {}  # by container


class MetadataServer:
    """``usage`` looks at a container of a task, by their ids. ``api``: tasks are pointed to the control plane,
    which has the public key ``pin`` over TLS. ``here``: this agent's loopback address, for tasks in the machine's own
    network; None on a node that has none. ``ask`` calls an operation of ECS's with the node's own key."""

    def __init__(
        self,
        endpoint: str,
        key: bytes,
        usage: Callable[[str, str], Usage | None],
        clock: Clock,
        api: bool = True,
        pin: str | None = None,
        here: str | None = None,
        *,
        ask: Ask,
    ) -> None:
        self._api, self._key, self._usage, self._clock = Api(endpoint, pin), key, usage, clock
        self._point_to_api, self._ask = api, ask
        self._asking = asyncio.Semaphore(ASKING)
        self._here, self._listens, self._open_here = here, False, 0
        self._sockets: asyncio.Queue[tuple[str, socket.socket]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._askers: WeakKeyDictionary[Task, _Asker] = WeakKeyDictionary()

    def listen(self, vpc_id: str, listener: socket.socket) -> None:
        """Takes over a listening socket in the router of a VPC. From any thread; connections wait until ``run``."""
        self._loop.call_soon_threadsafe(self._sockets.put_nowait, (vpc_id, listener))

    def environment(self, goal: TaskGoal, container: str) -> dict[str, str]:
        """What a container is told by variables, unless its definition sets them."""
        here = f"http://{self._here}:{machine.PORT}" if in_machine(goal) and self._listen_here() else None
        return variables(goal, container, self._key, self._point_to_api, here)

    async def run(self, find: FindTask, tasks: Callable[[], Iterable[Task]] = tuple) -> None:
        """Serves, for ever. ``tasks``: all of this node."""
        async with contextlib.AsyncExitStack() as stack:
            self._listen_here()
            while True:
                where, listener = await self._sockets.get()
                talk = partial(self._of_machine, tasks) if where == MACHINE else partial(self._of_vpc, find, where)
                server = await asyncio.start_server(partial(self._serve, talk), sock=listener, limit=CHUNK)
                stack.callback(server.close)

    def _listen_here(self) -> bool:
        """Listens on the machine's loopback, unless it does. False where it can't: then no task is told to ask there.
        Tried again with the next one."""
        if self._here is None or self._listens:
            return self._listens
        try:
            listener = socket.create_server((self._here, machine.PORT))
        except OSError as error:
            log.warning("no metadata for tasks in the machine's network: can't listen", extra={"error": str(error)})
            return False
        self._sockets.put_nowait((MACHINE, listener))
        self._listens = True
        return True

    async def _serve(self, talk: Talk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(CHUNK)
        try:
            await talk(reader, writer)
        except (OSError, TimeoutError):
            pass  # the task has hung up, or doesn't listen
        except asyncio.CancelledError:
            pass  # the agent ends; in Python 3.11 a cancelled connection is logged as a failure
        except Exception:
            log.exception("metadata request failed")
        finally:
            writer.close()

    async def _of_vpc(
        self, find: FindTask, vpc_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer = writer.get_extra_info("peername")
        task = find(vpc_id, peer[0]) if peer else None
        if task is None:
            return
        with self._connection(task) as asker:
            if asker is None:
                return

            async def respond(request: Request, incoming: Incoming) -> None:
                if routes.is_api(request.path):
                    await self._api.forward(request, incoming, writer)
                else:
                    writer.write(await self._answer(task, asker, request, incoming))

            await self._exchange(respond, reader, writer)

    async def _of_machine(
        self, tasks: Callable[[], Iterable[Task]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Who asks is known by the path alone."""
        if self._open_here >= MACHINE_CONNECTIONS:
            return

        async def respond(request: Request, incoming: Incoming) -> None:
            task = machine.asker(routes.route(request.path, request.query), tasks(), self._key)
            if task is None:
                raise BadRequest(404, NOT_FOUND)
            with self._connection(task) as asker:
                if asker is None:
                    raise BadRequest(429, TOO_OFTEN.decode())
                writer.write(await self._answer(task, asker, request, incoming))

        self._open_here += 1
        try:
            await self._exchange(respond, reader, writer)
        finally:
            self._open_here -= 1

    @contextlib.contextmanager
    def _connection(self, task: Task) -> Iterator[_Asker | None]:
        """The task as an asker with one more connection; None where it has too many."""
        asker = self._askers.get(task)
        if asker is None:
            asker = self._askers[task] = _Asker(self._clock.mono())
        if asker.connections >= CONNECTIONS:
            yield None
            return
        asker.connections += 1
        try:
            yield asker
        finally:
            asker.connections -= 1

    async def _exchange(
        self,
        respond: Callable[[Request, Incoming], Awaitable[None]],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            incoming = Incoming(reader, writer)
            await respond(await incoming.head(), incoming)
        except BadRequest as refused:
            writer.write(answer(refused.status, f"{refused}\n".encode(), "text/plain; charset=utf-8"))
        async with asyncio.timeout(LINGER_SECONDS):
            await writer.drain()

    async def _answer(self, task: Task, asker: _Asker, request: Request, incoming: Incoming) -> bytes:
        if not asker.bucket.take(self._clock.mono()):
            return answer(429, TOO_OFTEN, "text/plain; charset=utf-8")
        route = routes.route(request.path, request.query)
        if route is None:
            raise BadRequest(404, NOT_FOUND)
        if request.method not in routes.methods(route):
            raise BadRequest(405, "method not allowed")
        if isinstance(route, routes.Protection):
            body = await _short_body(incoming) if request.method == "PUT" else None
            told = await self._protection(task.goal, route.endpoint, body)
            return answer(told.status, msgspec.json.encode(told.body))
        statistics = partial(self._statistics, task.goal, asker)
        found = answers.answer(route, task.goal, task.facts, self._key, statistics)
        return answer(found.status, msgspec.json.encode(found.body))

    async def _protection(self, goal: TaskGoal, endpoint: str, body: bytes | None) -> protection.Told:
        known = answers.named(goal, self._key, endpoint) is not None
        asked = protection.asked(goal.arn if known else None, goal.cluster, body)
        if isinstance(asked, protection.Told):
            return asked
        try:
            async with asyncio.timeout(protection.TIMEOUT_SECONDS), self._asking:
                return protection.answered(goal.arn, await self._ask(asked.operation, asked.params))
        except TimeoutError:
            return protection.failed(goal.arn, None, "")
        except CallFailed as error:
            return protection.failed(goal.arn, error.code, error.text)

    def _statistics(self, goal: TaskGoal, asker: _Asker, spec: ContainerSpec) -> dict[str, Any] | None:
        id = runtime_id(goal, spec.name)
        now = self._usage(goal.task_id, id)
        if now is None:
            return None
        if in_machine(goal):  # the machine's interfaces are no container's
            now = msgspec.structs.replace(now, networks={})
        samples = asker.samples[spec.name] = statistics.sampled(asker.samples.get(spec.name), now)
        return statistics.docker(id, spec.name, now, samples.before)


async def _short_body(incoming: Incoming) -> bytes:
    """Raises BadRequest."""
    body = b""
    async with asyncio.timeout(READ_SECONDS):
        async for part in incoming.body():
            body += part
            if len(body) > MAX_WISH:
                raise BadRequest(413, f"a body of over {MAX_WISH} bytes")
    return body


def saved_key(folder: Path) -> bytes:
    """The key of this node's endpoint ids, drawn at the first start and kept in the agent's folder. Raises OSError,
    StateDamaged."""
    path = folder / "metadata.key"
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise StateDamaged(f"{path} can't be read: {len(key)} bytes instead of {KEY_BYTES}")
        return key
    key = secrets.token_bytes(KEY_BYTES)
    write_durably(path, key)
    return key
