"""The metadata endpoint over real sockets: what it answers, what it passes on, what it doesn't put up with."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homeport.agent.drivers.usage import Usage
from homeport.agent.metadata import http, protection
from homeport.agent.metadata.environment import endpoint_id
from homeport.agent.metadata.server import CONNECTIONS, MetadataServer, saved_key
from homeport.agent.plan import Container, Facts, TaskGoal
from homeport.agent.state import StateDamaged
from homeport.agent.transport import CallFailed
from homeport.agentapi import ContainerSpec, TaskSpec
from homeport.aws import sigv4
from homeport.system import SystemClock

KEY = b"k" * 32
ID = "0123456789abcdef0123456789abcdef"


class OneTask:
    """What the server is told of the task that asks."""

    def __init__(self) -> None:
        spec = TaskSpec(family="web", revision=1, region="us-east-1", availability_zone="us-east-1a")
        spec = msgspec.structs.replace(spec, containers=(ContainerSpec(name="app", image="i"),))
        self.goal = TaskGoal(arn=f"arn:aws:ecs:us-east-1:1:task/demo/{ID}", cluster="demo", task_id=ID, spec=spec)
        self.facts = Facts(containers={"app": Container(state="running")})


class Bed:
    """A metadata server on 127.0.0.1 before an API that keeps what it is sent."""

    def __init__(self, port: int, task: OneTask) -> None:
        self.port, self.task = port, task
        self.received: list[bytes] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.knows: dict[str, Any] | CallFailed | None = None  # what the control plane answers; None: never
        self.reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"

    async def api(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
        if b"chunked" in head.lower():
            body = await reader.readuntil(b"0\r\n\r\n")
        self.received.append(head + body)
        writer.write(self.reply)
        writer.close()

    async def ask(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """The control plane, as the agent calls it."""
        self.asked.append((operation, params))
        if self.knows is None:
            await asyncio.Event().wait()
        if isinstance(self.knows, CallFailed):
            raise self.knows
        return dict(self.knows or {})

    async def send(self, request: bytes, address: str = "127.0.0.1") -> bytes:
        """All that is answered until the connection ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        writer.write(request)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        async with asyncio.timeout(10):
            try:
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()

    async def get(self, path: str) -> bytes:
        return await self.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())


@contextlib.asynccontextmanager
async def bed(api: bool = True) -> AsyncIterator[Bed]:
    listener = socket.create_server(("127.0.0.1", 0))
    made = Bed(listener.getsockname()[1], OneTask())
    upstream = await asyncio.start_server(made.api, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
    if not api:
        upstream.close()
        await upstream.wait_closed()
    server = MetadataServer(endpoint, KEY, lambda task_id, id: Usage(read_at=1.0), SystemClock(), ask=made.ask)
    server.listen("vpc-1", listener)
    where = {("vpc-1", "127.0.0.1"): made.task}
    running = asyncio.create_task(server.run(lambda vpc_id, address: where.get((vpc_id, address))))
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        upstream.close()


def run(test: Callable[[Bed], Awaitable[None]], api: bool = True) -> None:
    async def within() -> None:
        async with bed(api) as made:
            await test(made)

    asyncio.run(within())


def told(answer: bytes) -> tuple[int, Any]:
    return status(answer), msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_a_task_reads_its_metadata_and_statistics() -> None:
    async def test(b: Bed) -> None:
        mine = endpoint_id(KEY, ID, "app")
        answer = await b.get(f"/v4/{mine}")
        assert status(answer) == 200
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"content-type: application/json" in head
        assert msgspec.json.decode(body)["Name"] == "app"
        assert '"name":"/app"' in (await b.get(f"/v4/{mine}/task/stats")).decode()
        assert status(await b.get("/v4/other")) == 404
        for path in ("/metrics", "//metrics/?x", "http://169.254.170.2/metrics", "http://h/healthz"):
            assert status(await b.get(path)) == 404
        assert status(await b.get("http://h/v2/metadata")) == 200
        assert status(await b.send(b"PUT /v2/metadata HTTP/1.0\r\n\r\n")) == 405
        assert b.received == []

    run(test)


def test_a_task_asks_for_protection() -> None:
    async def test(b: Bed) -> None:
        path = f"/api/{endpoint_id(KEY, ID, 'app')}/task-protection/v1/state"
        body = b'{"ProtectionEnabled":true}'
        put = f"PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
        mine = {"cluster": "demo", "tasks": [b.task.goal.arn]}
        protected = {"taskArn": b.task.goal.arn, "protectionEnabled": True, "expirationDate": 1700000000.5}
        b.knows = {"protectedTasks": [protected], "failures": []}
        for answer in (await b.get(path), await b.send((put % len(body)).encode() + body)):
            assert told(answer) == (
                200,
                {
                    "protection": {
                        "ExpirationDate": "2023-11-14T22:13:20.500Z",
                        "ProtectionEnabled": True,
                        "TaskArn": b.task.goal.arn,
                    }
                },
            )
        assert b.asked == [("GetTaskProtection", mine), ("UpdateTaskProtection", {**mine, "protectionEnabled": True})]
        b.knows = {"protectedTasks": [], "failures": [{"arn": b.task.goal.arn, "reason": "TASK_NOT_VALID"}]}
        failure = {"Arn": b.task.goal.arn, "Detail": None, "Reason": "TASK_NOT_VALID"}
        assert told(await b.get(path)) == (200, {"failure": failure})
        assert status(await b.send((put % 0).encode())) == 400
        assert status(await b.send((put % 5000).encode() + b" " * 5000)) == 413
        assert status(await b.send(f"POST {path} HTTP/1.0\r\n\r\n".encode())) == 405
        fault = path.replace("task-protection/v1/state", "fault/v1/network-latency/start")
        assert status(await b.send(f"POST {fault} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}".encode())) == 400
        assert status(await b.get(fault)) == 405
        assert b.received == []

    run(test)


def test_what_the_control_plane_refuses_or_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protection, "TIMEOUT_SECONDS", 0.05)
    late = "Timed out calling Amazon ECS Task Protection API"

    async def test(b: Bed) -> None:
        path = f"/api/{endpoint_id(KEY, ID, 'app')}/task-protection/v1/state"
        for knows, code, name, text in (
            (CallFailed("InvalidParameterException", "no"), 400, "InvalidParameterException", "no"),
            (CallFailed("ServerException", "broken"), 500, "ServerException", "broken"),
            (CallFailed(None, "no connection"), 504, "RequestCanceled", late),
            (None, 504, "RequestCanceled", late),
        ):
            b.knows = knows
            error = {"Arn": b.task.goal.arn, "Code": name, "Message": text}
            assert told(await b.get(path)) == (code, {"error": error})

    run(test)


def test_who_is_no_task_is_told_nothing() -> None:
    async def test(b: Bed) -> None:
        assert await b.send(b"GET /v2/metadata HTTP/1.0\r\n\r\n", "127.0.0.2") == b""
        assert await b.send(b"POST / HTTP/1.0\r\n\r\n", "127.0.0.2") == b""
        assert b.received == []

    run(test)


def test_a_signed_request_still_verifies_behind_it() -> None:
    async def test(b: Bed) -> None:
        body = b'{"cluster":"x"}'
        headers = {"x-amz-target": "T.ListTasks", "content-type": "application/x-amz-json-1.1"}
        now = SystemClock().wall()
        signed = sigv4.sign("POST", "http://169.254.170.2/", headers, body, "KEY", "secret", "us-east-1", "ecs", now)
        lines = [f"{name}: {value}" for name, value in signed.items()]
        request = "\r\n".join(["POST / HTTP/1.1", *lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
        assert await b.send(request) == b.reply
        head, _, passed = b.received[0].partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        seen = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
        assert first == "POST / HTTP/1.1"
        assert seen["host"] == "169.254.170.2"
        claim = sigv4.read_claim("", seen)
        sigv4.verify(claim, "secret", "POST", "/", "", seen, passed)

    run(test)


@pytest.mark.parametrize(
    ("length", "body"),
    [
        (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        (b"Content-Length: 5", b"abcde"),
    ],
)
def test_a_body_is_passed_on_whole_and_what_concerns_the_connection_is_not(length: bytes, body: bytes) -> None:
    async def test(b: Bed) -> None:
        head = b"POST /x?y=1 HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: keep-alive\r\n" + length
        assert await b.send(head + b"\r\n\r\n" + body) == b.reply
        passed = b.received[0].lower()
        assert passed.startswith(b"post /x?y=1 http/1.1\r\nhost: h\r\n")
        assert passed.endswith(b"\r\n\r\n" + body)
        assert length.lower() in passed
        assert not any(word in passed for word in (b"keep-alive", b"upgrade", b"h2c"))

    run(test)


def test_who_waits_for_leave_to_send_gets_it() -> None:
    async def test(b: Bed) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", b.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readexactly(len(http.CONTINUE)) == http.CONTINUE
        writer.write(b"{}")
        assert await reader.read() == b.reply
        writer.close()

    run(test)


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /v2/metadata HTTP/1.1\r\nX: " + b"x" * 70_000, 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 2_000_000, 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + b"x" * 0x4000 + b"\r\nnonsense", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
    ],
)
def test_what_is_no_request_or_too_large(request_bytes: bytes, expected: int) -> None:
    async def test(b: Bed) -> None:
        answer = await b.send(request_bytes)
        assert not answer or status(answer) == expected  # a client that is cut off may lose the answer
        assert b.received == []
        assert status(await b.get("/v2/metadata")) == 200

    run(test)


def test_another_protocol_is_not_spoken() -> None:
    async def test(b: Bed) -> None:
        upgrade = b" HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        assert status(await b.send(b"GET /v2/metadata" + upgrade + b"\r\n")) == 200
        assert await b.send(b"GET /" + upgrade + b"\r\n") == b.reply
        assert b"pgrade" not in b.received.pop()
        assert status(await b.send(b"POST /" + upgrade + b"Content-Length: 2\r\n\r\n{}")) == 400
        assert b.received == []

    run(test)


def test_a_large_body_arrives() -> None:
    async def test(b: Bed) -> None:
        body = bytes(range(256)) * 4096
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert await b.send(head + body) == b.reply
        assert b.received[0].endswith(body)

    run(test)


def test_a_control_plane_that_is_away() -> None:
    async def test(b: Bed) -> None:
        assert status(await b.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")) == 502
        assert status(await b.get("/v2/metadata")) == 200

    run(test, api=False)


def test_too_many_requests() -> None:
    async def test(b: Bed) -> None:
        seen = [await b.get("/v2/metadata") for _ in range(150)]
        refused = [answer for answer in seen if status(answer) == 429]
        assert refused
        assert refused[0].endswith(b"You have reached maximum request limit.")
        assert {status(answer) for answer in seen[:60]} == {200}
        assert status(await b.send(b"POST / HTTP/1.0\r\n\r\n")) == 200, "the API has limits of its own"

    run(test)


def test_too_many_connections_of_one_task() -> None:
    async def test(b: Bed) -> None:
        held = [await asyncio.open_connection("127.0.0.1", b.port) for _ in range(CONNECTIONS)]
        assert await b.get("/v2/metadata") == b""
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(5):
            while not await b.get("/v2/metadata"):  # until the server has seen them go
                pass

    run(test)


def test_a_slow_client_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.05)

    async def test(b: Bed) -> None:
        assert status(await b.send(b"GET /v2/")) == 408

    run(test)


def test_the_key_outlives_the_agent(tmp_path: Path) -> None:
    key = saved_key(tmp_path)
    assert len(key) == 32
    assert saved_key(tmp_path) == key
    assert (tmp_path / "metadata.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "metadata.key").write_bytes(b"cut")
    with pytest.raises(StateDamaged, match=r"metadata\.key can't be read"):
        saved_key(tmp_path)
