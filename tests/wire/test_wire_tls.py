"""The API over TLS: whom clients trust, and peers that never finish their handshakes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import SSLError
from front import KEY, NODE_KEY, NODE_SECRET, SECRET, Front
from raw import connect, head

from homeport.agent.http import HttpTransport
from homeport.agent.transport import CallFailed
from homeport.aws import certificates, serve
from homeport.system import SystemClock

NAMES = ("127.0.0.1", "localhost", "::1")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return certificates.own(tmp_path / "tls", NAMES, time.time())


@pytest.fixture
def front(files: tuple[Path, Path]) -> Iterator[Front]:
    with Front(tls=certificates.context(*files)) as running:
        yield running


def transport(front: Front, pin: str | None) -> HttpTransport:
    return HttpTransport(front.url, NODE_KEY, NODE_SECRET, "us-east-1", SystemClock(), "1", pin)


def alive(front: Front, certificate: Path) -> None:
    """A good client gets its answer."""
    context = ssl.create_default_context(cafile=str(certificate))
    with context.wrap_socket(connect(front.port), server_hostname="localhost") as sock:
        sock.sendall(head("GET", "/healthz", {"host": "x"}))
        assert sock.recv(100).startswith(b"HTTP/1.1 200")


def test_sdks_trust_the_certificate_as_their_authority(front: Front, files: tuple[Path, Path]) -> None:
    def client(verify: str | None) -> object:
        return boto3.client(
            "sts",
            "us-east-1",
            endpoint_url=front.url,
            verify=verify,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )

    assert client(str(files[0])).get_caller_identity()["Account"] == "123456789012"
    with pytest.raises(SSLError):
        client(None).get_caller_identity()


def test_an_agent_trusts_the_pinned_key_alone(front: Front, files: tuple[Path, Path], tmp_path: Path) -> None:
    other, _ = certificates.own(tmp_path / "other", NAMES, time.time())

    async def main() -> None:
        good = transport(front, certificates.pin_of_file(files[0]))
        answer = await good.call("DiscoverPollEndpoint", {})
        assert answer == {"endpoint": front.url}  # https: its websocket speaks TLS too
        channel = await good.connect(answer["endpoint"], {})
        await channel.send("hello")
        assert await channel.receive() == "n1:/ws:hello"
        await channel.close()
        with pytest.raises(CallFailed, match="without"):
            await good.connect(front.url.replace("https", "http"), {})
        for pin in (certificates.pin_of_file(other), None):
            bad = transport(front, pin)
            with pytest.raises(CallFailed, match=r"the join token names|self-signed|certificate verify failed"):
                await bad.call("DiscoverPollEndpoint", {})
            with pytest.raises(CallFailed):
                await bad.connect(front.url, {})
            await bad.close()
        await good.close()

    asyncio.run(main())


def test_a_request_in_one_flight_with_the_handshakes_end(front: Front, files: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=str(files[0]))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with connect(front.port) as sock:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        tls.write(head("GET", "/healthz", {"host": "x"}))
        sock.sendall(outgoing.read())
        answer = b""
        while not answer.startswith(b"HTTP/1.1 200"):
            incoming.write(sock.recv(65536))
            try:
                answer += tls.read(65536)
            except ssl.SSLWantReadError:
                continue


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 100, b"\0" * 9]
)
def test_what_is_no_tls_is_closed_at_once(
    front: Front, files: tuple[Path, Path], sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), connect(front.port) as sock:
        sock.sendall(sent)
        sock.settimeout(5)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(100):
                received += data
    assert len(received) <= 7  # at the most a TLS alert
    assert not caplog.records
    alive(front, files[0])


def test_a_handshake_has_a_deadline(monkeypatch: pytest.MonkeyPatch, files: tuple[Path, Path]) -> None:
    monkeypatch.setattr(serve, "HEAD_SECONDS", 0.3)
    with Front(tls=certificates.context(*files)) as front:
        for sent in (b"", b"\x16\x03\x01\x02\x00\x01"):
            with connect(front.port) as sock:
                sock.sendall(sent)
                began = time.monotonic()
                sock.settimeout(5)
                with contextlib.suppress(ConnectionResetError):
                    assert sock.recv(100) == b""
                assert time.monotonic() - began < 10


def test_half_open_handshakes_crowd_nobody_out(monkeypatch: pytest.MonkeyPatch, files: tuple[Path, Path]) -> None:
    monkeypatch.setattr(serve, "MAX_CONNECTIONS", 20)
    monkeypatch.setattr(serve, "RESERVED_FILES", 0)
    with Front(tls=certificates.context(*files)) as front:
        opened = [connect(front.port) for _ in range(60)]
        try:
            for sock in opened[:30]:
                sock.sendall(b"\x16\x03\x01")
            for _ in range(3):
                alive(front, files[0])
            assert sum(map(_closed, opened)) >= 40
        finally:
            for sock in opened:
                sock.close()


def _closed(sock: socket.socket) -> bool:
    sock.settimeout(0.05)
    try:
        return sock.recv(10) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_old_versions_are_refused(front: Front) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with connect(front.port) as sock, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(sock)
