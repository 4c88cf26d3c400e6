"""One HTTP/1.1 request per connection, bounded in size and time: read, answered or passed on.

A connection ends with its answer. The endpoint is asked rarely, and what can't follow can't be confused with it.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any
from urllib.parse import urlsplit

import httptools
import msgspec

MAX_HEAD = 16 * 1024  # bytes
MAX_BODY = 1 << 20  # bytes; what the API takes at most
MAX_ANSWER = 16 << 20  # bytes of the API's answer
READ_SECONDS = 20.0  # from the connection to the end of its request
PASS_SECONDS = 60.0  # for the API's answer, and for the task to take it
CONNECT_SECONDS = 5.0
_CHUNK = 16 * 1024

# What concerns this connection alone; a body is passed on whole, so that its length is ours to say.
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authorization te trailer transfer-encoding upgrade expect "
    b"content-length".split()
)
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    429: "Too Many Requests",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BadRequest(Exception):
    """A request that isn't answered otherwise; ``status`` says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Request(msgspec.Struct):
    """``target`` as it came, ``headers`` in their order with names as they came."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition(b"?")[0].decode("latin-1")

    @property
    def query(self) -> str:
        return self.target.partition(b"?")[2].decode("latin-1")


class _Parsed:
    """Collects what httptools tells of a request."""

    def __init__(self) -> None:
        self.target, self.body = b"", bytearray()
        self.headers: list[tuple[bytes, bytes]] = []
        self.head = self.complete = self.expects = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.head = True
        self.expects = any(n.lower() == b"expect" and v.lower() == b"100-continue" for n, v in self.headers)

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.complete = True


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The connection's request; None where it ends before. Raises BadRequest."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await _read(reader, writer)
    except TimeoutError:
        raise BadRequest(408, "the request took too long") from None
    except httptools.HttpParserError as error:
        raise BadRequest(400, str(error)) from error


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    parsed = _Parsed()
    parser: Any = httptools.HttpRequestParser(parsed)
    size = 0
    while not parsed.complete:
        data = await reader.read(_CHUNK)
        if not data:
            return None
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # there are no websockets here: as any other request
            break
        size += len(data)
        if size > (MAX_HEAD + 2 * MAX_BODY if parsed.head else MAX_HEAD) or len(parsed.body) > MAX_BODY:
            raise BadRequest(413, "the request is too large")
        if parsed.expects and not parsed.complete:
            parsed.expects = False
            writer.write(CONTINUE)
    return Request(parser.get_method().decode("latin-1"), parsed.target, parsed.headers, bytes(parsed.body))


def answer(status: int, body: bytes, content_type: str = "application/json") -> bytes:
    """A whole response."""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


class Api:
    """The control plane at ``endpoint``, for requests of tasks, which have signed them with keys of their own."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._host = parts.hostname or ""
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._ssl else 80)

    async def forward(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Passes the request on and its answer back, both as they are: what was signed, the host's name above all, is
        verified as it was sent. Raises OSError and TimeoutError; only before anything was answered, BadRequest."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                upstream = await asyncio.open_connection(self._host, self._port, ssl=self._ssl, limit=_CHUNK)
        except (OSError, TimeoutError) as error:
            raise BadRequest(502, "the control plane can't be reached") from error
        reader, sender = upstream
        try:
            async with asyncio.timeout(PASS_SECONDS):
                sender.write(_forwarded(request))
                left = MAX_ANSWER
                while left > 0 and (data := await reader.read(_CHUNK)):
                    left -= len(data)
                    writer.write(data)
                    await writer.drain()
        finally:
            sender.close()


def _forwarded(request: Request) -> bytes:
    lines = [request.method.encode("latin-1") + b" " + request.target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in request.headers if name.lower() not in _HOP_BY_HOP]
    lines += [b"connection: close"]
    if request.body or request.method not in ("GET", "HEAD"):
        lines.append(b"content-length: %d" % len(request.body))
    return b"\r\n".join([*lines, b"", b""]) + request.body
