"""The network between the control plane and everybody else: late, lossy, sometimes cut in two.

A peer is a node or the client, by name. While a peer is cut off, what is sent waits, as TCP lets it; a connection ends
when one of its processes dies, when it is reset, or when its owner gives up. A call may be lost on its way, its answer
may be lost, and a call that its caller has given up may still arrive later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Literal, NamedTuple

CALL_SECONDS = 10.0  # after which the caller of an operation gives up
LATEST = 5.0  # seconds by which a call arrives after its caller gave it up
SPIKES = 0.01  # share of messages that take up to a second


class Unreachable(Exception):
    """A call that was not answered. It may have happened, or may still."""


class Reply(NamedTuple):
    """``value`` is the answer, the code and text of an error, or why there is none."""

    kind: Literal["answer", "error", "none"]
    value: Any


class Net:
    """``loss``: the share of calls that go wrong in each of the ways above."""

    def __init__(self, loop: asyncio.AbstractEventLoop, random: Random, loss: float) -> None:
        self._loop, self._random, self.loss = loop, random, loss
        self._cut: dict[str, float] = {}
        self._connections: dict[str, list[Connection]] = {}

    # --- faults ---------------------------------------------------------------------------------------------------

    def cut(self, peer: str, seconds: float) -> None:
        self._cut[peer] = max(self._cut.get(peer, 0.0), self._loop.time() + seconds)

    def cut_until(self) -> float:
        """When the last peer that is cut off isn't any more."""
        return max(self._cut.values(), default=0.0)

    def cut_off_until(self, peer: str) -> float:
        """Until when the peer was last cut off."""
        return self._cut.get(peer, 0.0)

    def reset(self, peer: str) -> None:
        """Ends the peer's connections; what is under way on them is lost."""
        for connection in self._connections.pop(peer, []):
            connection.to_agent.snap()
            connection.to_server.snap()

    # --- calls ----------------------------------------------------------------------------------------------------

    async def call(self, peer: str, submit: Callable[[], asyncio.Future[Reply] | None]) -> Reply:
        """Calls the control plane, which answers with what ``submit`` returns; None: it isn't there. Raises
        Unreachable."""
        deadline = self._loop.time() + CALL_SECONDS
        await self._travel(peer, deadline)
        match self._fate():
            case "lost":
                raise Unreachable("the connection was reset")
            case "late":
                self._loop.call_later(self._random.uniform(0.0, LATEST), submit)
                raise Unreachable("the connection was reset")
        pending = submit()
        if pending is None:
            raise Unreachable("nobody listens")
        await asyncio.wait((pending,), timeout=deadline - self._loop.time())
        if not pending.done():
            raise Unreachable("no answer in time")
        reply = pending.result()
        if reply.kind == "none" or self._fate() != "arrives":
            raise Unreachable("the connection was reset before the answer")
        await self._travel(peer, deadline)
        return reply

    def _fate(self) -> Literal["arrives", "lost", "late"]:
        fate = self._random.random()
        return "lost" if fate < self.loss else "late" if fate < 2 * self.loss else "arrives"

    async def _travel(self, peer: str, deadline: float) -> None:
        arrival = self.arrival(peer)
        await asyncio.sleep(min(arrival, deadline) - self._loop.time())
        if arrival > deadline:
            raise Unreachable("timed out")

    def arrival(self, peer: str) -> float:
        """When something that is sent now arrives."""
        spike = self._random.uniform(0.05, 1.0) if self._random.random() < SPIKES else 0.0
        return max(self._loop.time(), self._cut.get(peer, 0.0)) + self._random.uniform(0.0002, 0.004) + spike

    # --- connections ----------------------------------------------------------------------------------------------

    def connect(self, peer: str) -> Connection:
        connection = Connection(Pipe(self, peer, self._loop), Pipe(self, peer, self._loop))
        open_ones = [c for c in self._connections.get(peer, []) if not c.over]
        self._connections[peer] = [*open_ones, connection]
        return connection

    def connections(self, *peers: str) -> list[Connection]:
        """Of these peers, or of all."""
        return [c for peer in peers or list(self._connections) for c in self._connections.get(peer, [])]


class Hung(Exception):
    """The other end of the connection is gone."""


class Pipe:
    """One direction of a connection. Frames arrive late but in order."""

    def __init__(self, net: Net, peer: str, loop: asyncio.AbstractEventLoop) -> None:
        self._net, self._peer, self._loop = net, peer, loop
        self._last = 0.0
        self._arrived: deque[str] = deque()
        self._news = asyncio.Event()
        self.ended = False  # as its receiver sees it

    def put(self, frame: str | None) -> None:
        """None: its sender hangs up."""
        self._last = max(self._last + 1e-6, self._net.arrival(self._peer))
        self._loop.call_at(self._last, self._arrive, frame)

    async def get(self) -> str:
        """Raises Hung."""
        while not self._arrived:
            if self.ended:
                raise Hung("the other end hung up")
            self._news.clear()
            await self._news.wait()
        return self._arrived.popleft()

    def snap(self) -> None:
        """The connection is reset."""
        self._arrived.clear()
        self._arrive(None)

    def _arrive(self, frame: str | None) -> None:
        if self.ended:
            return
        if frame is None:
            self.ended = True
        else:
            self._arrived.append(frame)
        self._news.set()


class Connection(NamedTuple):
    to_agent: Pipe
    to_server: Pipe

    @property
    def over(self) -> bool:
        return self.to_agent.ended and self.to_server.ended
