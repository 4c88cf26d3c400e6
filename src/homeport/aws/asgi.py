"""The HTTP side of the front: heads, bounded bodies, answers and websockets over ASGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from homeport.aws import refusals
from homeport.aws.wire import Response
from homeport.core.errors import AwsError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY = 1 << 20  # bytes of a request; the largest that ECS takes, a task definition, is 64 KiB
BODY_SECONDS = 20.0  # from the head to the end of the body
LINGER_SECONDS = 5.0  # how long the rest of a refused body is read and thrown away …
LINGER_BYTES = 128 << 20  # … and how much of it


class Disconnected(Exception):
    """The client went away before its request was complete."""


class Head(NamedTuple):
    """A request without its body. ``path`` and ``query`` as they came, ``headers`` with lower-case names."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    scheme: str
    peer: str


def head_of(scope: Scope) -> Head:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return Head(
        method=scope.get("method", "GET"),
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        scheme=scope.get("scheme", "http"),
        peer=scope["client"][0] if scope.get("client") else "",
    )


class Body:
    """A request's body, read only when it is wanted."""

    def __init__(self, head: Head, receive: Receive) -> None:
        self._receive = receive
        self._declared = head.headers.get("content-length", "0")
        # What is left of a body must not be taken for the connection's next request.
        self.complete = self._declared == "0" and "transfer-encoding" not in head.headers

    async def read(self) -> bytes:
        """The whole body, of at most MAX_BODY bytes. Raises AwsError for a larger or slower one, Disconnected."""
        if self._declared.isdigit() and int(self._declared) > MAX_BODY:
            raise refusals.too_large(MAX_BODY)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._bounded()
        except TimeoutError as error:
            raise refusals.too_slow(BODY_SECONDS) from error

    async def _bounded(self) -> bytes:
        parts, size = [], 0
        while True:
            part = await self._next()
            size += len(part)
            if size > MAX_BODY:
                raise refusals.too_large(MAX_BODY)
            parts.append(part)
            if self.complete:
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        self.complete = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part

    async def discard(self) -> None:
        """Reads on for a bounded while and throws it away: a client that sends before it listens gets its answer."""
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0 and not self.complete:
                    left -= len(await self._next())
        except (TimeoutError, Disconnected):
            return


async def answer(response: Response, send: Send, body: Body | None = None) -> None:
    """Sends the response. Where the request's body wasn't read to its end, the connection closes after it."""
    headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in response.headers.items()]
    headers.append((b"content-length", str(len(response.body)).encode()))
    unread = body is not None and not body.complete
    if unread:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": unread})
    if unread and body is not None:
        await body.discard()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Closed(Exception):
    """The websocket has ended; ``code`` is the close code, 1006 where the connection was lost."""

    def __init__(self, code: int = 1006) -> None:
        super().__init__(f"websocket closed with code {code}")
        self.code = code


class Socket:
    """An authenticated websocket. It is accepted with the first ``send``, ``receive`` or ``accept``; before that,
    an AwsError that its handler raises refuses the upgrade."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._accepted = self._closed = False

    @property
    def accepted(self) -> bool:
        return self._accepted

    async def accept(self) -> None:
        if not self._accepted:
            self._accepted = True
            await self._receive()  # ASGI's websocket.connect
            await self._put({"type": "websocket.accept"})

    async def send(self, text: str) -> None:
        """One text frame; waits while the peer doesn't read. Raises Closed."""
        await self.accept()
        await self._put({"type": "websocket.send", "text": text})

    async def receive(self) -> str:
        """The next frame's text. Raises Closed."""
        await self.accept()
        if self._closed:
            raise Closed
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._closed = True
            raise Closed(message.get("code", 1006))
        text: str | None = message.get("text")
        if text is None:
            text = bytes(message["bytes"]).decode("utf-8", "replace")
        return text

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Ends the websocket; does nothing if it has ended."""
        if self._accepted and not self._closed:
            self._closed = True
            await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def refuse(self, error: AwsError) -> None:
        """Answers the upgrade with an error in the form that the agent reads."""
        body = json.dumps({"type": error.code, "message": {"message": error.message}}).encode()
        self._accepted = self._closed = True
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        start = {"type": "websocket.http.response.start", "status": max(error.status, 400), "headers": headers}
        await self._send(start)
        await self._send({"type": "websocket.http.response.body", "body": body})

    async def _put(self, message: Message) -> None:
        if self._closed:
            raise Closed
        try:
            await self._send(message)
        except OSError as error:  # uvicorn's ClientDisconnected
            self._closed = True
            raise Closed from error
