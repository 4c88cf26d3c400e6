"""The agent's HTTP client and websockets against real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.datastructures import Headers

from homeport.agent import http
from homeport.agent.http import HttpTransport
from homeport.agent.transport import CallFailed, Closed
from homeport.aws import sigv4
from homeport.system import SystemClock

SECRET = "secret/Key"


class Received:
    def __init__(self, head: str, body: bytes) -> None:
        first, *lines = head.split("\r\n")
        self.method, self.path, _ = first.split(" ")
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.body = body

    def verify(self) -> None:
        """Raises SignatureError."""
        claim = sigv4.read_claim("", self.headers)
        sigv4.check_date(claim, SystemClock().wall())
        sigv4.verify(claim, SECRET, self.method, self.path, "", self.headers, self.body)


class Server:
    """Answers each request with the next of ``answers`` (raw bytes; None: hangs up), and notes what came."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers, self.requests, self.connections = list(answers), list[Received](), 0
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
                self.requests.append(Received(head.removesuffix("\r\n\r\n"), await reader.readexactly(length)))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
        writer.close()


def answer(body: Any, status: int = 200, *headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


@contextlib.asynccontextmanager
async def against(server: Server) -> AsyncIterator[HttpTransport]:
    async with await asyncio.start_server(server.handle, "127.0.0.1", 0) as listener:
        server.port = listener.sockets[0].getsockname()[1]
        transport = HttpTransport(f"http://127.0.0.1:{server.port}", "AKID", SECRET, "us-east-1", SystemClock(), "1")
        try:
            yield transport
        finally:
            await transport.close()


def test_a_call_is_signed_and_its_connection_kept() -> None:
    async def main() -> None:
        async with against(server) as transport:
            assert await transport.call("DiscoverPollEndpoint", {"cluster": "é"}) == {"endpoint": "x"}
            assert await transport.call("DiscoverPollEndpoint", {}) == {}

    server = Server(answer({"endpoint": "x"}), answer(b""))
    asyncio.run(main())
    assert server.connections == 1
    for request in server.requests:
        request.verify()
        assert request.headers["x-amz-target"] == "AmazonEC2ContainerServiceV20141113.DiscoverPollEndpoint"
        assert request.headers["content-type"] == "application/x-amz-json-1.1"
    assert json.loads(server.requests[0].body) == {"cluster": "é"}


def test_answers_in_pieces_and_chunks() -> None:
    async def main() -> None:
        async with against(server) as transport:
            assert await transport.call("X", {}) == {"a": 1}
            assert await transport.call("X", {}) == {"b": 2}

    chunked = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n3\r\n:1}\r\n0\r\n\r\n'
    server = Server(chunked, answer({"b": 2}, 200, "Connection: close"))
    asyncio.run(main())


def test_a_connection_that_the_server_closed_is_replaced() -> None:
    async def main() -> None:
        async with against(server) as transport:
            for _ in range(3):
                assert await transport.call("X", {}) == {"a": 1}

    server = Server(answer({"a": 1}, 200, "Connection: close"), answer({"a": 1}), None, answer({"a": 1}))
    asyncio.run(main())
    assert server.connections == 3
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("raw", "code", "retry"),
    [
        (answer({"__type": "ClusterNotFoundException", "message": "no"}, 400), "ClusterNotFoundException", False),
        (answer({"__type": "com.amazonaws.ecs#ClientException", "Message": "no"}, 400), "ClientException", False),
        (answer({"__type": "ThrottlingException", "message": "no"}, 400), "ThrottlingException", True),
        (answer({"__type": "ServerException", "message": "no"}, 500), "ServerException", True),
        (answer(b"<html>no</html>", 502), None, True),
        (answer({"__type": "Slow", "message": "no"}, 429), None, True),
        (answer(b"", 403), "HTTP403", False),
        (answer(b"[1]", 200), None, True),
        (b"nonsense\r\n\r\n", None, True),
        (None, None, True),
    ],
)
def test_failures(raw: bytes | None, code: str | None, retry: bool) -> None:
    async def main() -> None:
        async with against(Server(raw)) as transport:
            with pytest.raises(CallFailed) as caught:
                await transport.call("X", {})
            assert (caught.value.code, caught.value.retry) == (code, retry)

    asyncio.run(main())


def test_nobody_listens() -> None:
    async def main() -> None:
        async with against(Server()) as transport:
            pass
        with pytest.raises(CallFailed) as caught:
            await transport.call("X", {})
        assert caught.value.retry
        with pytest.raises(CallFailed) as caught:
            await transport.connect(transport._url, {})
        assert caught.value.retry

    asyncio.run(main())


def test_an_answer_that_never_comes_and_one_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with against(Server(b"", answer(b"x" * 2000))) as transport:
            with pytest.raises(CallFailed, match="no answer"):
                await transport.call("X", {})
            with pytest.raises(CallFailed, match="over 1000 bytes"):
                await transport.call("X", {})

    monkeypatch.setattr(http, "CALL_SECONDS", 0.2)
    monkeypatch.setattr(http, "MAX_ANSWER", 1000)
    asyncio.run(main())


def test_many_calls_share_few_connections() -> None:
    async def main() -> None:
        async with against(server) as transport:
            await asyncio.gather(*(transport.call("X", {"n": n}) for n in range(100)))

    server = Server(*[answer({})] * 100)
    asyncio.run(main())
    assert server.connections <= http.CONNECTIONS
    assert sorted(json.loads(r.body)["n"] for r in server.requests) == list(range(100))


# --- websockets -------------------------------------------------------------------------------------------------------


async def with_websocket(
    handler: Callable[[ServerConnection], Awaitable[None]],
    story: Callable[[HttpTransport, str], Awaitable[None]],
    refuse: Callable[[ServerConnection, Request], Response | None] = lambda connection, request: None,
) -> None:
    async with serve(handler, "127.0.0.1", 0, process_request=refuse) as server:
        endpoint = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        transport = HttpTransport(endpoint, "AKID", SECRET, "us-east-1", SystemClock(), "1")
        await story(transport, endpoint)


def test_a_websocket_is_signed_and_carries_frames() -> None:
    async def echo(connection: ServerConnection) -> None:
        assert connection.request is not None
        path, _, query = connection.request.path.partition("?")
        headers = {name.lower(): value for name, value in connection.request.headers.raw_items()}
        claim = sigv4.read_claim(query, headers)
        sigv4.verify(claim, SECRET, "GET", path, query, headers, b"")
        assert path == "/ws"
        assert "sec-websocket-extensions" not in headers
        await connection.send(query)
        await connection.send((await connection.recv()).encode())  # type: ignore[union-attr]

    async def story(transport: HttpTransport, endpoint: str) -> None:
        channel = await transport.connect(endpoint, {"seqNum": "1", "arn": "a:b/c d"})
        assert await channel.receive() == "arn=a%3Ab%2Fc+d&seqNum=1"
        await channel.send("hello")
        assert await channel.receive() == "hello"
        with pytest.raises(Closed):
            await channel.receive()
        with pytest.raises(Closed):
            await channel.send("too late")
        await channel.close()

    asyncio.run(with_websocket(echo, story))


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"type": "InactiveInstanceException", "message": {"message": "gone"}}, "InactiveInstanceException"),
        (403, {"AccessDeniedException": "no"}, "AccessDeniedException"),
        (403, {"__type": "InvalidSignatureException", "message": "no"}, "InvalidSignatureException"),
        (503, {}, None),
    ],
)
def test_a_refused_websocket(status: int, body: dict[str, Any], code: str | None) -> None:
    async def nothing(connection: ServerConnection) -> None: ...

    def refuse(connection: ServerConnection, request: Request) -> Response:
        return Response(status, "No", Headers({"Content-Type": "application/json"}), json.dumps(body).encode())

    async def story(transport: HttpTransport, endpoint: str) -> None:
        with pytest.raises(CallFailed) as caught:
            await transport.connect(endpoint, {})
        assert caught.value.code == code

    asyncio.run(with_websocket(nothing, story, refuse))
