"""Which ends of containers are kept of what containerd tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage

from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd import pause
from homeport.agent.drivers.containerd.events import Events

TASK = "a" * 32


class Containerd:
    """Tells what it is told to, to whoever listens."""

    namespace = "homeport-test"

    def __init__(self) -> None:
        self.told: asyncio.Queue[pb.Envelope] = asyncio.Queue()

    def exited(self, id: str, exec_id: str = "") -> None:
        event = pb.TaskEvent(container_id=id, id=exec_id or id, exit_status=3)
        wrapped = AnyMessage(value=event.SerializeToString())
        self.told.put_nowait(pb.Envelope(topic="/tasks/exit", event=wrapped))

    async def stream(self, method: Any, request: Any) -> AsyncIterator[pb.Envelope]:
        assert method is c.SUBSCRIBE
        while True:
            yield await self.told.get()

    async def call(self, method: Any, request: Any) -> None:
        assert method is c.PUBLISH
        self.told.put_nowait(pb.Envelope(topic=request.topic))


async def unused() -> None:
    raise AssertionError


def test_only_the_ends_of_known_containers_are_kept() -> None:
    async def scene() -> None:
        containerd: Any = Containerd()
        known = {f"{TASK}-0"}
        events = Events(containerd, unused, known.__contains__)
        watch = events.watch()
        assert await anext(watch) == ""  # from here on nothing is missed
        holder = pause.container_id(TASK)
        for id in (f"{TASK}-0", holder, f"{TASK}-1"):
            containerd.exited(id)
            assert await anext(watch) == id  # whoever watches is told of each
        assert list(events.exits) == [f"{TASK}-0"]
        events.forget(f"{TASK}-0")
        known.clear()
        containerd.exited(f"{TASK}-0")  # it was removed before that came
        assert await anext(watch) == f"{TASK}-0"
        assert events.exits == {}

    asyncio.run(asyncio.wait_for(scene(), 10))


def test_a_known_end_is_awaited() -> None:
    async def scene() -> None:
        containerd: Any = Containerd()
        events = Events(containerd, unused, lambda id: id == "x")
        watch = events.watch()
        assert await anext(watch) == ""
        waiting = asyncio.create_task(events.ended("x", 10))
        containerd.exited("x", exec_id="health")  # not the container's own
        containerd.exited("x")
        assert await anext(watch) == "x"
        assert await waiting
        assert events.exits["x"].exit_status == 3
        assert not await events.ended("y", 0)

    asyncio.run(asyncio.wait_for(scene(), 10))
