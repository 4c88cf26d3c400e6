"""containerd's events of our containers, across its restarts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from google.protobuf.any_pb2 import Any as AnyMessage

from homeport.agent.drivers import DriverError
from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd.client import CallError, Client

_HELLO = "/homeport/hello"
_HELLO_SECONDS = 0.05
_AGAIN_SECONDS = 0.5


class Events:
    """Ids of containers that something happened to. ``revive``: returns when containerd answers again. ``known``:
    whether a container's exit is worth keeping: nobody asks about, or forgets, that of one which is removed before its
    event comes, or which only holds namespaces."""

    def __init__(self, client: Client, revive: Callable[[], Awaitable[None]], known: Callable[[str], bool]) -> None:
        self._client, self._revive, self._known = client, revive, known
        self.exits: dict[str, pb.TaskEvent] = {}  # of known containers that aren't removed yet
        self._exited = asyncio.Condition()

    def forget(self, id: str) -> None:
        self.exits.pop(id, None)

    async def ended(self, id: str, seconds: float) -> bool:
        """Whether the container's exit has been seen, or is within so many seconds (by a ``watch`` that is read)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._exited:
                await self._exited.wait_for(lambda: id in self.exits)
        return id in self.exits

    async def watch(self) -> AsyncIterator[str]:
        """An empty string whenever events may have been missed: also at the start, as soon as none is missed any
        more."""
        while True:
            with contextlib.suppress(CallError):
                async with contextlib.aclosing(self._connected()) as events:
                    async for id in events:
                        yield id
            with contextlib.suppress(DriverError):
                await self._revive()
                continue
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _connected(self) -> AsyncGenerator[str, None]:
        namespace = self._client.namespace
        filters = [f'namespace=="{namespace}",topic~="^/(tasks/(start|exit|oom)|homeport/hello)"']
        greeting = asyncio.create_task(self._greet())
        try:
            async for envelope in self._client.stream(c.SUBSCRIBE, pb.SubscribeRequest(filters=filters)):
                if envelope.topic == _HELLO:
                    if not greeting.done():
                        greeting.cancel()
                        yield ""
                    continue
                event = pb.TaskEvent.FromString(envelope.event.value)
                if envelope.topic == "/tasks/exit":
                    if event.id != event.container_id:
                        continue
                    if self._known(event.container_id):
                        self.exits[event.container_id] = event
                        async with self._exited:
                            self._exited.notify_all()
                yield event.container_id
        finally:
            greeting.cancel()
            await asyncio.gather(greeting, return_exceptions=True)

    async def _greet(self) -> None:
        """containerd doesn't say when a subscription holds: events of our own are sent until one comes back."""
        request = pb.PublishRequest(topic=_HELLO, event=AnyMessage(type_url="homeport.hello"))
        while True:
            with contextlib.suppress(CallError):
                await self._client.call(c.PUBLISH, request)
            await asyncio.sleep(_HELLO_SECONDS)
