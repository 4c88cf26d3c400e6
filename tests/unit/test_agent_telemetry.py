"""The agent's telemetry connection, on virtual time: what is told at once and what every 20 s."""

from __future__ import annotations

import asyncio
from typing import Any

from agent_world import TASK, Control, container, payload
from test_agent_link import ARN, HOST, SETTINGS, FakeChannel

from homeport.agent import consumption
from homeport.agent.drivers.fake import Behaviour, FakeDriver, FakeRuntime
from homeport.agent.drivers.usage import Cpu, Memory, Usage
from homeport.agent.main import serve
from homeport.agent.network.fake import FakeFabric, FakeNetwork
from homeport.agent.state import MemoryRecords
from homeport.agent.transport import CallFailed
from homeport.agentapi import (
    AckPublishHealth,
    ContainerMetric,
    HealthCheck,
    HeartbeatMessage,
    PayloadMessage,
    PublishHealthRequest,
    PublishMetricsRequest,
    StatsSet,
)
from homeport.core.ids import BitIds
from homeport.sim.loop import SimClock, SimLoop, run

CHECK = HealthCheck(("CMD", "x"), interval=10, retries=1)


class Server(Control):
    """A control plane with both websockets."""

    def __init__(self, runtime: FakeRuntime) -> None:
        super().__init__(runtime)
        self.agent: list[FakeChannel] = []
        self.telemetry: list[FakeChannel] = []
        self.queries: list[dict[str, str]] = []
        self.refusals = 0
        self.beating: asyncio.Task[None] | None = None

    async def call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        match operation:
            case "RegisterContainerInstance":
                return {"containerInstance": {"containerInstanceArn": ARN}}
            case "DiscoverPollEndpoint":
                return {"endpoint": "http://x/acs", "telemetryEndpoint": "http://x/tcs"}
            case _:
                return await super().call(operation, params)

    async def connect(self, endpoint: str, query: dict[str, str]) -> FakeChannel:
        if endpoint == "http://x/acs":
            self.agent.append(FakeChannel())
            return self.agent[-1]
        assert endpoint == "http://x/tcs"
        if self.refusals:
            self.refusals -= 1
            raise CallFailed(None, "not yet")
        self.queries.append(query)
        self.telemetry.append(FakeChannel())
        return self.telemetry[-1]

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(20)
            self.telemetry[-1].say(HeartbeatMessage(message_id="h"))

    def told(self) -> list[str]:
        """Health of the container, message by message, on the newest connection."""
        sent = self.telemetry[-1].sent
        tasks = [t for m in sent if isinstance(m, PublishHealthRequest) for t in m.tasks]
        assert all(t.task_arn == TASK for t in tasks)
        return [c.health_status or "" for t in tasks for c in t.containers]


def play(story: Any, check: Any = lambda now: 0, look: Any = None) -> None:
    loop = SimLoop()
    clock = SimClock(loop)
    runtime = FakeRuntime(lambda image: Behaviour(check=check), clock.wall)
    server = Server(runtime)

    async def main() -> None:
        stop = asyncio.Event()
        agent = asyncio.create_task(
            serve(
                SETTINGS,
                FakeDriver(runtime),
                FakeNetwork(FakeFabric()),
                server,
                clock,
                BitIds(lambda bits: 1),
                stop,
                records=MemoryRecords(),
                host=HOST,
                look=(lambda task_id, id: look(clock.wall(), id)) if look else None,
            )
        )
        await asyncio.wait_for(story(server), 3600)
        stop.set()
        await agent

    run(main(), loop)


async def started(server: Server, beats: bool = True) -> None:
    if beats:
        server.beating = asyncio.create_task(server.beat())
    await asyncio.sleep(1)
    task = payload(container("web", health_check=CHECK), container("plain"))
    message = PayloadMessage(cluster_arn="c", container_instance_arn=ARN, message_id="m", seq_num=1, tasks=(task,))
    server.agent[-1].say(message)
    await server.until(lambda: server.status.get(TASK) == "RUNNING")


def test_health_is_told_at_once_and_every_20_seconds() -> None:
    async def story(server: Server) -> None:
        await started(server)
        assert server.queries[0].items() >= {"containerInstance": ARN, "cluster": "default"}.items()
        assert server.told() == []
        await asyncio.sleep(10.5)
        assert server.told() == ["HEALTHY"]
        await asyncio.sleep(60)
        assert server.told() == ["HEALTHY"] * 4
        metrics = [m for m in server.telemetry[-1].sent if isinstance(m, PublishMetricsRequest)]
        assert [m.metadata.idle for m in metrics] == [True, False, False, False]
        assert metrics[-1].task_metrics[0].container_metrics == (ContainerMetric("web"), ContainerMetric("plain"))

    play(story)


def test_a_new_connection_tells_everything_and_a_silent_one_is_given_up() -> None:
    async def story(server: Server) -> None:
        server.refusals = 3
        await started(server, beats=False)
        await asyncio.sleep(15)
        assert server.told() == ["HEALTHY"]
        server.telemetry[-1].hang_up()
        await asyncio.sleep(1)
        assert len(server.telemetry) == 2
        assert server.told() == ["HEALTHY"]
        await asyncio.sleep(61)  # nobody answers
        assert len(server.telemetry) == 3

    play(story)


def test_answers_keep_the_connection() -> None:
    async def story(server: Server) -> None:
        await started(server, beats=False)
        for number in range(20):
            await asyncio.sleep(20)
            server.telemetry[0].say(HeartbeatMessage(message_id=str(number)) if number % 2 else AckPublishHealth("m"))
        assert len(server.telemetry) == 1

    play(story)


def test_it_tells_when_health_fails_and_comes_back() -> None:
    async def story(server: Server) -> None:
        await started(server)
        await asyncio.sleep(85)
        told = server.told()
        assert [s for n, s in enumerate(told) if n == 0 or told[n - 1] != s] == ["HEALTHY", "UNHEALTHY", "HEALTHY"]

    play(story, lambda now: 1 if 30 < now < 60 else 0)


def test_metrics_are_of_what_was_sampled_since_the_last() -> None:
    began: list[float] = []

    def look(now: float, id: str) -> Usage | None:
        if id.endswith("-1"):
            return None  # it doesn't run
        began[:] = began or [now]
        busy = int((now - began[0]) * 0.5e9)  # half of one of two processors
        return Usage(read_at=now, cpu=Cpu(total=busy, online=2), memory=Memory(usage=3 << 20))

    async def story(server: Server) -> None:
        await started(server)
        await asyncio.sleep(60)
        sent = [m for m in server.telemetry[-1].sent if isinstance(m, PublishMetricsRequest)]
        web, plain = zip(*(m.task_metrics[0].container_metrics for m in sent if m.task_metrics), strict=True)
        assert all(c.cpu_stats_set is None and c.memory_stats_set is None for c in plain)
        memory = StatsSet(min=3.0, max=3.0, sample_count=4, sum=12.0)
        assert [c.memory_stats_set for c in web] == [memory] * 3
        cpu = [c.cpu_stats_set for c in web]
        assert [c.sample_count for c in cpu] == [3, 4, 4], "the first look is compared with none"
        assert all(24.9 < c.min <= c.max < 25.1 and abs(c.sum / c.sample_count - 25) < 0.1 for c in cpu)

    play(story, look=look)


def used(at: float, busy: float, memory: int = 0) -> Usage:
    return Usage(read_at=at, cpu=Cpu(total=int(busy * 1e9), online=1), memory=Memory(usage=memory << 20))


def test_time_that_is_counted_anew_is_no_sample() -> None:
    found = None
    for look in (used(0, 5, 1), used(5, 6, 3), used(10, 0.1, 2), used(10, 0.2, 2), used(15, 5.2, 2)):
        found = consumption.looked(found, look)
    assert found is not None
    assert found.cpu == StatsSet(min=20.0, max=100.0, sample_count=2, sum=120.0)
    assert found.memory == StatsSet(min=1.0, max=3.0, sample_count=5, sum=10.0)
    again = consumption.looked(consumption.told(found), used(20, 6.2, 4))
    assert again.cpu == StatsSet(min=20.0, max=20.0, sample_count=1, sum=20.0)
    assert again.memory == StatsSet(min=4.0, max=4.0, sample_count=1, sum=4.0)
