"""The real ``Transport``: signed HTTP/1.1 calls over a few kept connections, and signed websockets.

The HTTP client is small on purpose. An agent makes only short JSON calls to one host, many at once when tasks start,
and each adds to the time until a task is RUNNING; httptools parses (as in uvicorn), asyncio carries.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import urlencode, urlsplit

import httptools
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from homeport.agent.transport import CallFailed, Channel, Closed
from homeport.aws.sigv4 import sign
from homeport.aws.trust import client_context
from homeport.core.clock import Clock

TARGET = "AmazonEC2ContainerServiceV20141113"
CONNECTIONS = 8  # calls at the same time; further ones wait
CALL_SECONDS = 30.0
CONNECT_SECONDS = 5.0
ADMITTED_SECONDS = 30.0  # a websocket: a control plane that was away may have thousands to admit, each to check
MAX_ANSWER = 16 * 1024 * 1024  # bytes
MAX_FRAME = 16 * 1024 * 1024  # bytes; a group with tens of thousands of members fits


class HttpTransport:
    """``endpoint``: URL of the control plane, http or https. All calls are signed for ``region``. ``pin``: of the
    server's public key over TLS, else the system's authorities vouch for it."""

    def __init__(
        self,
        endpoint: str,
        access_key: str,
        secret_key: str,
        region: str,
        clock: Clock,
        agent_version: str,
        pin: str | None = None,
    ) -> None:
        self._url = endpoint.rstrip("/") + "/"
        self._key, self._secret, self._region, self._clock = access_key, secret_key, region, clock
        self._agent = f"Homeport Agent - v{agent_version}"
        self._ssl = client_context(pin) if endpoint.startswith("https:") else None
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[_Connection] = []

    async def call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        body = msgspec.json.encode(params)
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "user-agent": self._agent,
            "x-amz-target": f"{TARGET}.{operation}",
        }
        signed = self._sign("POST", self._url, headers, body)
        request = _request_bytes(urlsplit(self._url).path, signed, body)
        try:
            async with self._slots, asyncio.timeout(CALL_SECONDS):
                status, answer = await self._exchange(request)
        except TimeoutError:
            raise CallFailed(None, f"{operation}: no answer within {CALL_SECONDS:.0f} s") from None
        except (OSError, httptools.HttpParserError) as error:
            raise CallFailed(None, f"{operation}: {error or type(error).__name__}") from error
        if status == 200:
            return _object(answer)
        raise _failure(status, answer)

    async def connect(self, endpoint: str, query: dict[str, str]) -> Channel:
        scheme, _, rest = endpoint.partition("://")
        scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
        if self._ssl is not None and scheme != "wss":
            raise CallFailed(None, f"the control plane, reached over TLS, names an endpoint without: {endpoint}")
        url = f"{scheme}://{rest.rstrip('/')}/ws?{urlencode(sorted(query.items()))}"
        headers = self._sign("GET", url, {}, b"")
        del headers["host"]  # the client sends it itself
        try:
            connection = await connect(
                url,
                additional_headers=headers,
                user_agent_header=self._agent,
                compression=None,
                max_size=MAX_FRAME,
                ping_interval=None,  # the protocol has its own heartbeat
                ssl=self._ssl,
                open_timeout=ADMITTED_SECONDS,
                close_timeout=1.0,
                proxy=None,
            )
        except InvalidStatus as error:
            raise _failure(error.response.status_code, bytes(error.response.body or b"")) from error
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            raise CallFailed(None, f"websocket: {error or type(error).__name__}") from error
        return WebSocketChannel(connection)

    async def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _sign(self, method: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        return sign(method, url, headers, body, self._key, self._secret, self._region, "ecs", self._clock.wall())

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        """Sends over a kept connection or a new one. A kept one that the server has closed meanwhile fails before any
        answer; then once more over a new one: every call of the agent may be repeated."""
        while self._idle:
            kept = self._idle.pop()
            if kept.open:
                with contextlib.suppress(ConnectionError):
                    return await self._over(kept, request)
        return await self._over(await self._new_connection(), request)

    async def _over(self, connection: _Connection, request: bytes) -> tuple[int, bytes]:
        try:
            answer = await connection.exchange(request)
        except BaseException:
            connection.close()
            raise
        if connection.open:
            self._idle.append(connection)
        return answer

    async def _new_connection(self) -> _Connection:
        parts = urlsplit(self._url)
        port = parts.port or (443 if self._ssl else 80)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            _, connection = await loop.create_connection(_Connection, parts.hostname or "", port, ssl=self._ssl)
        return connection


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection; one exchange at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser: Any = None
        self._body = bytearray()

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Status and body. Raises ConnectionError, HttpParserError."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self._parser, self._body = httptools.HttpResponseParser(self), bytearray()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            if self._parser is None:
                raise httptools.HttpParserError("an answer that nobody asked for")
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error if isinstance(error, ConnectionError) else ConnectionResetError("the server hung up"))

    def on_body(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > MAX_ANSWER:
            self._fail(httptools.HttpParserError(f"an answer of over {MAX_ANSWER} bytes"))
            self._body.clear()
            self.close()

    def on_message_complete(self) -> None:
        parser, self._parser = self._parser, None
        if not parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((parser.get_status_code(), bytes(self._body)))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class WebSocketChannel:
    """``Channel`` over the websockets package."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, frame: str) -> None:
        try:
            await self._connection.send(frame)
        except ConnectionClosed as error:
            raise Closed(str(error)) from error

    async def receive(self) -> str:
        try:
            frame = await self._connection.recv()
        except ConnectionClosed as error:
            raise Closed(str(error)) from error
        return frame if isinstance(frame, str) else frame.decode("utf-8", "replace")

    async def close(self) -> None:
        await self._connection.close()


def _request_bytes(path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode("latin-1") + body


def _object(answer: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer, type=dict[str, Any]) if answer else {}
    except msgspec.DecodeError as error:
        raise CallFailed(None, f"an answer that is no JSON object: {error}") from error


def _failure(status: int, answer: bytes) -> CallFailed:
    """The error in an answer: ``{"__type": CODE, "message": …}`` of the API, ``{"type": CODE, "message": {…}}`` or
    ``{CODE: TEXT}`` of a refused websocket. A server's fault without AWS's code may be tried again."""
    try:
        body = _object(answer)
    except CallFailed:
        body = {}
    code = body.get("__type") or body.get("type")
    text = body.get("message") or body.get("Message") or ""
    if code is None and len(body) == 1:
        code, text = next(iter(body.items()))
    if isinstance(text, dict):
        text = text.get("message", "")
    name = str(code).rpartition("#")[2] if code else None
    if status >= 500 or status == 429:
        known = ("ServerException", "ThrottlingException", "LimitExceededException")
        name = name if name in known else None
        return CallFailed(name, f"{code or status} {text}".strip() if name is None else str(text))
    return CallFailed(name or f"HTTP{status}", str(text))
