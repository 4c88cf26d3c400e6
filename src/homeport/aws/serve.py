"""Runs ASGI apps over HTTP: uvicorn's protocols under listeners, limits and an end of our own.

uvicorn's ``Server`` is not used: it takes over signal handlers and wakes ten times a second. What it lacks is here: a
deadline for a request's head, a limit on the head's size, and a bound on open connections that gives up those that only
wait, so that a flood of half-open connections costs others nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.http11 import Request

from homeport.aws.handshake import Handshake

AGENTS = 2000  # each with two websockets
MAX_CONNECTIONS = 2 * AGENTS + 2048  # open at once, with websockets; fewer where the limit on open files is low
RESERVED_FILES = 256  # descriptors that connections leave for the journal, the agent's files and the like
HEAD_SECONDS = 10.0  # from a connection's start, or a request's first byte, to the end of the request's head
HEAD_BYTES = 64 << 10  # request line and header fields
KEEP_ALIVE_SECONDS = 75  # an idle connection; boto3's pool reuses connections within that
WEBSOCKET_BYTES = 4 << 20  # one message from an agent; a manifest of 10,000 tasks is 2 MiB
STOP_SECONDS = 10.0  # requests in progress may take this long to finish
BACKLOG = 1024

App = Callable[[Any, Any, Any], Awaitable[None]]
log = logging.getLogger("homeport.http")


class Listener(NamedTuple):
    """A bound socket (not yet listening), the app that answers on it, and the TLS that it speaks, if any."""

    sock: socket.socket
    app: App
    tls: ssl.SSLContext | None = None


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one. Raises OSError, EADDRINUSE where another process has the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def bind_unix(path: str) -> socket.socket:
    """A Unix socket that only its owner may use (mode 0600). Replaces a socket file that nobody listens on; raises
    OSError where somebody does."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(path):
            _refuse_if_alive(path)
            os.unlink(path)
        mask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
    except BaseException:
        sock.close()
        raise
    return sock


def _refuse_if_alive(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return
    raise OSError(f"another process listens on {path}")


async def serve(listeners: Sequence[Listener], stop: asyncio.Event, ready: Callable[[], None] | None = None) -> None:
    """Answers on all listeners until ``stop`` is set, then lets requests in progress finish and closes everything.

    ``ready`` is called once connections are accepted. Installs no signal handlers. Raises the open-files limit to what
    the system allows.
    """
    guard = ConnectionGuard(_connection_limit())
    fronts = [Front(listener, guard) for listener in listeners]
    for front in fronts:
        await front.start()
    if ready is not None:
        ready()
    try:
        await stop.wait()
    finally:
        await asyncio.gather(*(front.stop() for front in fronts))


def _connection_limit() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(16, min(MAX_CONNECTIONS, soft - RESERVED_FILES))


class Front:
    """One listener: accepts connections until it is stopped."""

    def __init__(self, listener: Listener, guard: ConnectionGuard) -> None:
        self._sock, self._tls = listener.sock, listener.tls
        self._guard = guard
        self._state = ServerState()
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of every malformed request
        self._config = Config(
            listener.app,
            ws=GuardedWebSocket,
            lifespan="off",
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            limit_concurrency=None,  # it would refuse good requests for bad connections; the guard bounds both
            ws_max_size=WEBSOCKET_BYTES,
            ws_ping_interval=None,  # agents have heartbeats of their own
            ws_per_message_deflate=False,
        )
        self._config.load()
        self._config.ws_protocol_class = partial(GuardedWebSocket, guard)  # type: ignore[assignment]
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        factory = lambda: GuardedProtocol(self._config, self._state, self._guard)  # noqa: E731
        self._sock.setblocking(False)
        create = loop.create_unix_server if self._sock.family == socket.AF_UNIX else loop.create_server
        if self._tls is not None:
            accept = partial(Handshake, self._tls, factory, self._guard, HEAD_SECONDS)
            self._server = await create(accept, sock=self._sock, backlog=BACKLOG)
        else:
            self._server = await create(factory, sock=self._sock, backlog=BACKLOG)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = list(self._state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


class ConnectionGuard:
    """Bounds open connections. At the limit the one that has waited longest without a request is given up."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[asyncio.Protocol] = set()
        # Without a request in progress, oldest first.
        self._waiting: dict[GuardedProtocol | Handshake, None] = {}

    def opened(self, connection: asyncio.Protocol) -> None:
        self._open.add(connection)

    def closed(self, connection: asyncio.Protocol) -> None:
        self._open.discard(connection)

    def idle(self, connection: GuardedProtocol | Handshake) -> None:
        self._waiting[connection] = None
        if len(self._open) > self._limit:
            next(iter(self._waiting)).abort()  # this one itself, where all others are busy

    def busy(self, connection: GuardedProtocol | Handshake) -> None:
        self._waiting.pop(connection, None)


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with a deadline and a size limit for the heads of requests."""

    def __init__(self, config: Config, state: ServerState, guard: ConnectionGuard) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self._guard = guard
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True

    def abort(self) -> None:
        self._guard.busy(self)
        self._guard.closed(self)
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()
        self._guard.opened(self)
        self._guard.idle(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and not self._in_request():
            self._arm()
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")

    def handle_websocket_upgrade(self) -> None:
        self._release()  # the websocket's own protocol takes the connection over
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._disarm()
        self._guard.busy(self)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self._guard.idle(self)

    def _in_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._expired)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _release(self) -> None:
        self._disarm()
        self._guard.busy(self)
        self._guard.closed(self)

    def _expired(self) -> None:
        self._deadline = None
        log.debug("closed a connection that sent no complete request head in %d s", HEAD_SECONDS)
        self.abort()


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's websocket protocol, counted by the guard but never given up by it: agents hold these for hours."""

    def __init__(self, guard: ConnectionGuard, config: Config, server_state: ServerState, app_state: Any) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state)
        self._guard = guard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._guard.opened(self)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        event.headers.clear()  # the app has its own; the connection would keep them, a list for each, for hours

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.closed(self)
        super().connection_lost(exc)
