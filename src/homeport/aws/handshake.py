"""TLS handshakes of a listener, bounded like every connection that has sent no request yet.

asyncio's own TLS servers tell a protocol of a connection only after its handshake: what is half open then is in no
count. Here the connection is counted first, and upgraded to TLS as a second step.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Protocol

SHUTDOWN_SECONDS = 2.0  # for the peer's part of TLS's good-bye


class Guard(Protocol):
    """Counts open connections, and may abort one that waits."""

    def opened(self, connection: asyncio.Protocol) -> None: ...

    def closed(self, connection: asyncio.Protocol) -> None: ...

    def idle(self, connection: Handshake) -> None: ...

    def busy(self, connection: Handshake) -> None: ...


class Handshake(asyncio.Protocol):
    """One connection until TLS stands; then ``protocol()`` has it. A failed handshake closes it, without a word: the
    peer speaks no TLS, or none that the server takes."""

    def __init__(
        self, context: ssl.SSLContext, protocol: Callable[[], asyncio.Protocol], guard: Guard, seconds: float
    ) -> None:
        self._context, self._protocol, self._guard, self._seconds = context, protocol, guard, seconds
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # what came while another step was under way
        self._ended = False
        self._upgrade: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._upgrade = asyncio.get_running_loop().create_task(self._secure(transport), name="TLS handshake")
        self._guard.opened(self)
        self._guard.idle(self)

    def data_received(self, data: bytes) -> None:
        self._early.append(data)

    def eof_received(self) -> None:
        self._ended = True

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._release()

    def abort(self) -> None:
        self._release()
        if self._transport is not None:
            self._transport.abort()

    def _release(self) -> None:
        self._guard.busy(self)
        self._guard.closed(self)

    async def _secure(self, raw: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        starting = loop.create_task(
            loop.start_tls(
                raw,
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=self._seconds,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        )
        await asyncio.sleep(0)  # TLS has the transport now; it begins with its next step, before anything more comes
        first, self._early = self._early, []
        loop.call_soon(_feed, raw, first)
        try:
            secured = await starting
        except OSError:  # of TLS, of the network, and time-outs
            self.abort()
            return
        self._release()
        if secured is None or self._ended:
            raw.abort()
            return
        protocol = self._protocol()
        secured.set_protocol(protocol)
        protocol.connection_made(secured)
        for data in self._early:
            protocol.data_received(data)


def _feed(raw: asyncio.Transport, received: list[bytes]) -> None:
    """Hands TLS what came before it had the transport."""
    tls: Any = raw.get_protocol()  # a BufferedProtocol by its methods, in uvloop not by its class
    for data in received:
        rest = memoryview(data)
        while rest and not raw.is_closing():
            buffer = memoryview(tls.get_buffer(len(rest)))
            size = min(len(buffer), len(rest))
            buffer[:size] = rest[:size]
            tls.buffer_updated(size)
            rest = rest[size:]
