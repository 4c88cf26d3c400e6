"""Signed upgrades, refused ones, and the socket that a handler gets."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import stat
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from front import KEY, NODE_KEY, NODE_SECRET, SECRET, Front, make_app
from raw import head, read_answer

from homeport.aws import sigv4
from homeport.aws.asgi import Message, Scope, Send
from homeport.aws.serve import Listener, bind, bind_unix, serve


def connect(front: Front, query: str = "clusterArn=default&containerInstanceArn=a", **changes: Any) -> Any:
    url = f"ws://127.0.0.1:{front.port}/acs/ws?{query}"
    args: dict[str, Any] = {"access_key": KEY, "secret": SECRET, "region": "us-east-1", "service": "ecs"}
    headers = sigv4.sign("GET", url, {}, b"", **(args | {"now": time.time()} | changes))
    del headers["host"]
    return websockets.connect(url, additional_headers=headers, compression=None, proxy=None, max_size=4 << 20)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main()

    asyncio.run(bounded())


def test_frames_go_both_ways_and_the_handler_ends_it(front: Front) -> None:
    async def main() -> None:
        async with connect(front, access_key=NODE_KEY, secret=NODE_SECRET) as ws:
            await ws.send("hello")
            assert await ws.recv() == "n1:/acs/ws:hello"
            await ws.send(b"\xc3\xa9")
            assert await ws.recv() == "n1:/acs/ws:é"
            await ws.send("x" * 2_000_000)
            assert len(await ws.recv()) > 2_000_000
            await ws.send("close")
            with pytest.raises(websockets.ConnectionClosed):
                await ws.recv()
            assert (ws.close_code, ws.close_reason) == (4000, "as told")

    run(main)


@pytest.mark.parametrize(
    ("query", "changes", "code"),
    [
        ("containerInstanceArn=a", {"secret": "wrong"}, "InvalidSignatureException"),
        ("containerInstanceArn=a", {"access_key": "AKIDNOBODY"}, "UnrecognizedClientException"),
        ("containerInstanceArn=a", {"now": 1e9}, "InvalidSignatureException"),
        ("containerInstanceArn=a", {"service": "sts"}, "InvalidSignatureException"),
        ("containerInstanceArn=other", {}, "InvalidInstanceException"),
    ],
)
def test_a_refused_upgrade_says_why(front: Front, query: str, changes: Any, code: str) -> None:
    async def main() -> None:
        with pytest.raises(websockets.InvalidStatus) as caught:
            await connect(front, query, **changes)
        assert caught.value.response.status_code == 400
        body = json.loads(caught.value.response.body)
        assert body["type"] == code
        assert body["message"]["message"]

    run(main)


def test_an_unsigned_upgrade(front: Front) -> None:
    async def main() -> None:
        with pytest.raises(websockets.InvalidStatus) as caught:
            await websockets.connect(f"ws://127.0.0.1:{front.port}/ws", proxy=None)
        assert json.loads(caught.value.response.body)["type"] == "MissingAuthenticationTokenException"

    run(main)


# --- listeners --------------------------------------------------------------------------------------------------------


async def admin(scope: Scope, receive: Any, send: Send) -> None:
    start: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
    await send(start)
    await send({"type": "http.response.body", "body": b"admin"})


def test_a_second_app_on_a_unix_socket_of_the_owner(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")

    def get() -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(head("GET", "/", {"host": "h"}))
            return read_answer(sock).body

    async def main() -> None:
        for _ in range(2):  # the second time over the socket file that the first left behind
            stop, up = asyncio.Event(), asyncio.Event()
            listeners = [Listener(bind("127.0.0.1", 0), make_app()), Listener(bind_unix(path), admin)]
            task = asyncio.create_task(serve(listeners, stop, up.set))
            await up.wait()
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
            assert await asyncio.to_thread(get) == b"admin"
            with pytest.raises(OSError, match="another process listens"):
                bind_unix(path)
            stop.set()
            await task

    run(main)


def test_an_address_in_use_is_told_at_once(front: Front) -> None:
    with pytest.raises(OSError, match="in use"):
        bind("127.0.0.1", front.port)


def test_stop_lets_a_request_finish_and_ends_websockets() -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Any, send: Send) -> None:
        entered.set()
        await go.wait()
        await admin(scope, receive, send)

    async def main() -> None:
        stop, up = asyncio.Event(), asyncio.Event()
        sock = bind("127.0.0.1", 0)
        port = sock.getsockname()[1]
        task = asyncio.create_task(serve([Listener(sock, slow)], stop, up.set))
        await up.wait()
        idle = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head("GET", "/", {"host": "h"}))
        await entered.wait()
        stop.set()
        assert await idle[0].read() == b""  # idle connections end at once
        go.set()
        assert (await reader.read()).endswith(b"admin")
        await task

    run(main)


def test_stop_ends_websockets() -> None:
    with Front() as front:

        async def main() -> None:
            async with connect(front) as ws:
                await ws.send("a")
                await ws.recv()
                front.stop()
                with pytest.raises(websockets.ConnectionClosed):
                    await ws.recv()

        run(main)


def test_tls(tmp_path: Path) -> None:
    certificate, context = _self_signed(tmp_path), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def get(port: int) -> bytes:
        client = ssl.create_default_context(cafile=certificate)
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            client.wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            sock.sendall(head("GET", "/healthz", {"host": "localhost"}))
            return read_answer(sock).body

    async def main() -> None:
        stop, up, sock = asyncio.Event(), asyncio.Event(), bind("127.0.0.1", 0)
        task = asyncio.create_task(serve([Listener(sock, make_app(), context)], stop, up.set))
        await up.wait()
        assert await asyncio.to_thread(get, sock.getsockname()[1]) == b"ok\n"
        stop.set()
        await task

    run(main)


def _self_signed(folder: Path) -> str:
    """A PEM file with a key and a certificate of localhost for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "both.pem"
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return str(file)
