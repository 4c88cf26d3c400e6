"""Agents that do nothing but keep their connections, for ``bench.agents``: a process of its own.

Each has the two signed websockets of a real agent. It acknowledges what it is sent, answers heartbeats, and tells
every 20 s what its tasks use. Commands come in as lines, one JSON object goes out for each: ``connect`` (all; answers
with the seconds that took), ``count``, ``reconnect N`` (the first N lose both connections at once and come back at
once; seconds until the first and the last of them was admitted again).
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench import stored
from bench.fleet import MACHINE
from homeport.agent.config import PUBLISH_SECONDS, AgentSettings, Host
from homeport.agent.http import HttpTransport
from homeport.agent.registration import session_query
from homeport.agent.transport import CallFailed, Channel, Closed
from homeport.agentapi import (
    AckPublishMetric,
    AckRequest,
    BadRequestException,
    ContainerMetric,
    HeartbeatAckRequest,
    HeartbeatMessage,
    HomeportGroupsMessage,
    Message,
    PublishMetricsRequest,
    StatsSet,
    TaskManifestMessage,
    TaskMetric,
    TelemetryMetadata,
    decode,
    encode,
)
from homeport.system import SystemClock, system_ids

HANDSHAKES = 64  # at the same time while all connect
RETRY_SECONDS = 0.1
HOST = Host(cores=1, memory=1024, architecture="x86_64", boot_id="", agent_version="bench", runtime_version="bench")


class Load:
    """``agents``: the ARNs of instances, each with those of its tasks; ``kind``: what stands for their agents."""

    def __init__(self, port: int, agents: dict[str, list[str]], kind: type[Agent] | None = None) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.transport = HttpTransport(self.endpoint, *stored.KEY, "us-east-1", SystemClock(), "bench")
        self.settings = AgentSettings(
            state="", instance="", endpoint=self.endpoint, access_key="", secret_key="", cluster="bench"
        )
        self.ids = system_ids()
        self.seen: Counter[str] = Counter()
        self.slots = asyncio.Semaphore(HANDSHAKES)
        self.agents = [(kind or Agent)(self, arn, tasks) for arn, tasks in agents.items()]

    async def obey(self, command: str) -> dict[str, Any]:
        began = time.monotonic()
        match command.split():
            case ["connect"]:
                for agent in self.agents:
                    agent.start()
                await asyncio.gather(*(agent.ready.wait() for agent in self.agents))
                return {"seconds": time.monotonic() - began}
            case ["reconnect", number]:
                some = self.agents[: int(number)]
                self.slots = asyncio.Semaphore(len(some) * 2)
                for agent in some:
                    agent.cut()
                await asyncio.gather(*(agent.ready.wait() for agent in some))
                times = [agent.admitted - began for agent in some]
                return {"first": min(times), "last": max(times)}
            case ["count"]:
                return dict(self.seen)
        raise ValueError(command)


class Agent:
    """``ready`` while both its connections stand, and its manifest has come; ``admitted``: since when."""

    def __init__(self, load: Load, arn: str, tasks: list[str]) -> None:
        self._load, self._arn, self._tasks = load, arn, tasks
        self._channels: dict[str, Any] = {}
        self._lives: list[asyncio.Task[None]] = []
        self._phase = random.random() * PUBLISH_SECONDS
        self._missing = {"acs", "tcs"}
        self.ready, self.admitted = asyncio.Event(), 0.0

    def start(self) -> None:
        telemetry = {"cluster": "bench", "containerInstance": self._arn}
        control = session_query(self._load.settings, HOST, self._arn, True, MACHINE)
        self._lives = [
            asyncio.create_task(self._live("acs", control)),
            asyncio.create_task(self._live("tcs", telemetry)),
        ]

    def cut(self) -> None:
        """Ends both connections without a word."""
        self.ready.clear()
        self._missing = {"acs", "tcs"}
        for channel in self._channels.values():
            channel._connection.transport.abort()

    async def _live(self, kind: str, query: dict[str, str]) -> None:
        while True:
            try:
                async with self._load.slots:
                    channel = await self._load.transport.connect(self._load.endpoint, query)
                self._channels[kind] = channel
                await (self._control(channel) if kind == "acs" else self._telemetry(channel))
            except CallFailed:
                self._load.seen["refused"] += 1
                await asyncio.sleep(RETRY_SECONDS)
            except Closed:
                self._load.seen["cut"] += 1

    async def _control(self, channel: Channel) -> None:
        while True:
            message = decode(await channel.receive())
            self._count(message)
            match message:
                case HeartbeatMessage(message_id=id):
                    await channel.send(encode(HeartbeatAckRequest(message_id=id)))
                case TaskManifestMessage(message_id=id) | HomeportGroupsMessage(message_id=id):
                    await channel.send(encode(AckRequest("bench", self._arn, id)))
            if isinstance(message, TaskManifestMessage):
                assert len(message.tasks) == len(self._tasks)
                self._admit("acs")

    async def _telemetry(self, channel: Channel) -> None:
        publishing = asyncio.create_task(self._publish(channel))
        try:
            while True:
                message = decode(await channel.receive())
                self._count(message)
                if isinstance(message, HeartbeatMessage):
                    self._admit("tcs")
                    await channel.send(encode(HeartbeatAckRequest(message_id=message.message_id)))
        finally:
            publishing.cancel()

    async def _publish(self, channel: Channel) -> None:
        await asyncio.sleep(self._phase)
        while True:
            await channel.send(encode(self._metrics()))
            self._load.seen["published"] += 1
            await asyncio.sleep(PUBLISH_SECONDS)

    def _metrics(self) -> PublishMetricsRequest:
        low, high = sorted((random.random() * 100, random.random() * 100))
        stats = StatsSet(low, high, 4, 2 * (low + high))
        used = (ContainerMetric("app", stats, stats),)
        metadata = TelemetryMetadata("bench", self._arn, self._load.ids.new("uuid"), True)
        return PublishMetricsRequest(
            metadata, tuple(TaskMetric(t, "stored", "1", used) for t in self._tasks), time.time()
        )

    def _admit(self, kind: str) -> None:
        self._missing.discard(kind)
        if not self._missing and not self.ready.is_set():
            self.admitted = time.monotonic()
            self.ready.set()

    def _count(self, message: Message | None) -> None:
        match message:
            case HeartbeatMessage():
                self._load.seen["heartbeats"] += 1
            case AckPublishMetric():
                self._load.seen["acknowledged"] += 1
            case BadRequestException(message=text):
                raise SystemExit(f"metrics were refused: {text}")


async def main(port: int, agents: dict[str, list[str]], kind: type[Agent] = Agent) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    load = Load(port, agents, kind)
    while command := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await load.obey(command)), flush=True)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())))
