"""One HTTP/1.1 request per connection, bounded in size, time and memory: read, answered or passed on.

A connection ends with its answer. The endpoint is asked rarely, and what can't follow can't be confused with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httptools
import msgspec

from homeport.aws.trust import client_context

MAX_HEAD = 16 * 1024  # bytes
MAX_BODY = 1 << 20  # bytes; what the API takes at most
MAX_ANSWER = 16 << 20  # bytes of the API's answer
READ_SECONDS = 20.0  # for a request's head, and again for its body
ANSWER_SECONDS = 60.0  # for the API's answer, and for the task to take it
CONNECT_SECONDS = 5.0
CHUNK = 16 * 1024  # bytes of a request or an answer that are in memory at a time

# What concerns this connection alone.
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authorization te trailer transfer-encoding upgrade expect".split()
)
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BadRequest(Exception):
    """A request that isn't answered otherwise; ``status`` says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Request(msgspec.Struct, frozen=True):
    """A request's head. ``target`` as it came, which may be a whole URL; ``path`` and ``query`` as every server sees
    them in it. ``headers`` in their order with names as they came."""

    method: str
    target: bytes
    path: str
    query: str
    headers: list[tuple[bytes, bytes]]


class Incoming:
    """The one request of a connection: first ``head``, then, only where it is wanted, ``body``. Both raise BadRequest,
    and OSError where the connection ends before the request does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._parser: Any = httptools.HttpRequestParser(self)
        self._target, self._headers = b"", list[tuple[bytes, bytes]]()
        self._parts: list[bytes] = []
        self._headed = self._complete = False

    async def head(self) -> Request:
        try:
            async with asyncio.timeout(READ_SECONDS):
                size = 0
                while not self._headed:
                    size += await self._feed()
                    if size > MAX_HEAD and not self._headed:
                        raise BadRequest(413, f"a head of over {MAX_HEAD} bytes")
        except TimeoutError:
            raise BadRequest(408, "the request took too long") from None
        try:
            url = httptools.parse_url(self._target)
        except httptools.HttpParserInvalidURLError:
            raise BadRequest(400, "the request's target is no URL") from None
        path, query = ((part or b"").decode("latin-1") for part in (url.path, url.query))
        return Request(self._parser.get_method().decode("latin-1"), self._target, path, query, self._headers)

    async def body(self) -> AsyncIterator[bytes]:
        """Its parts as they come, at most MAX_BODY in all."""
        size, waits = 0, self.header(b"expect") is not None
        while True:
            parts, self._parts = self._parts, []
            for part in parts:
                size += len(part)
                if size > MAX_BODY:
                    raise BadRequest(413, f"a body of over {MAX_BODY} bytes")
                yield part
            if self._complete:
                return
            if waits:
                waits = False
                self._writer.write(CONTINUE)
            await self._feed()

    def header(self, name: bytes) -> bytes | None:
        """``name`` in lower case."""
        return next((value for given, value in self._headers if given.lower() == name), None)

    async def _feed(self) -> int:
        data = await self._reader.read(CHUNK)
        if not data:
            raise ConnectionResetError("the client hung up")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:  # answered as if it hadn't asked for another protocol
            self._complete = True
            if self.header(b"content-length") not in (None, b"0") or self.header(b"transfer-encoding"):
                raise BadRequest(400, "a request with a body can't ask for another protocol") from error
        except httptools.HttpParserError as error:
            raise BadRequest(400, str(error)) from error
        return len(data)

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._headed = True

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        self._complete = True


def answer(status: int, body: bytes, content_type: str = "application/json") -> bytes:
    """A whole response."""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


class Api:
    """The control plane at ``endpoint``, for requests of tasks, which have signed them with keys of their own. ``pin``:
    of its public key, else the system's authorities vouch for it."""

    def __init__(self, endpoint: str, pin: str | None = None) -> None:
        parts = urlsplit(endpoint)
        self._host = parts.hostname or ""
        self._ssl = client_context(pin) if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._ssl else 80)

    async def forward(self, request: Request, incoming: Incoming, writer: asyncio.StreamWriter) -> None:
        """Passes the request on and its answer back, both as they are and as they come: what was signed, the host's
        name above all, is verified as it was sent. Raises OSError and TimeoutError, and BadRequest before anything was
        answered."""
        length = incoming.header(b"content-length")
        if length and int(length) > MAX_BODY:
            raise BadRequest(413, f"a body of over {MAX_BODY} bytes")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, sender = await asyncio.open_connection(self._host, self._port, ssl=self._ssl, limit=CHUNK)
                sender.transport.set_write_buffer_limits(CHUNK)
        except (OSError, TimeoutError) as error:
            raise BadRequest(502, "the control plane can't be reached") from error
        try:
            async with asyncio.timeout(READ_SECONDS):
                await _send(request, incoming, sender)
            async with asyncio.timeout(ANSWER_SECONDS):
                await _relay(reader, writer)
        finally:
            sender.close()


async def _send(request: Request, incoming: Incoming, sender: asyncio.StreamWriter) -> None:
    """A body of a length that isn't known is sent in chunks, as it came."""
    chunked = incoming.header(b"transfer-encoding") is not None
    lines = [request.method.encode("latin-1") + b" " + request.target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in request.headers if name.lower() not in _HOP_BY_HOP]
    lines += [b"connection: close", *([b"transfer-encoding: chunked"] if chunked else [])]
    sender.write(b"\r\n".join([*lines, b"", b""]))
    async for part in incoming.body():
        sender.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        await sender.drain()
    if chunked:
        sender.write(b"0\r\n\r\n")
    await sender.drain()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    left = MAX_ANSWER
    while left > 0 and (data := await reader.read(CHUNK)):
        left -= len(data)
        writer.write(data)
        await writer.drain()
