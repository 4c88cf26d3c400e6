"""The agent's second connection: what its control plane shall know of tasks that run, besides their states.

Health goes out at once when it changes, and with the metrics every 20 s (see its settings), as Amazon's agent does.
Processors and memory are looked at every 5 s meanwhile, as often as that agent does where it polls.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from homeport import cancellation
from homeport.agent import consumption, health
from homeport.agent.config import AgentSettings, Host
from homeport.agent.consumption import Consumption
from homeport.agent.drivers.usage import Usage
from homeport.agent.link import SILENCE, STEADY, Backoff, Link, fraction
from homeport.agent.node import Node
from homeport.agent.plan import Facts, TaskGoal
from homeport.agent.report import runtime_id
from homeport.agent.transport import CallFailed, Channel, Closed, Transport
from homeport.agentapi import (
    ContainerHealth,
    ContainerMetric,
    Message,
    PublishHealthRequest,
    PublishMetricsRequest,
    RestartStatsSet,
    TaskHealth,
    TaskMetric,
    TelemetryMetadata,
    encode,
)
from homeport.core.clock import Clock
from homeport.core.ids import Ids

log = logging.getLogger("homeport.agent.telemetry")

LOOK_SECONDS = 5.0  # Amazon's agent: ECS_POLLING_METRICS_WAIT_DURATION, 5 to 20 s
TASKS = 10  # in one message, as Amazon's agent

Look = Callable[[str, str], Usage | None]  # ids of a task and a container → what it uses; None: it doesn't run

T = TypeVar("T")


def task_health(goal: TaskGoal, facts: Facts) -> TaskHealth | None:
    """None: no container of the task has a health check. Pure."""
    told = tuple(
        ContainerHealth(container_name=spec.name, health_status=known.status, status_since=known.since)
        for spec in goal.spec.containers
        if health.checked(spec.health_check)
        for known in (facts.containers[spec.name].health,)
    )
    family, version = goal.spec.family, str(goal.spec.revision)
    return TaskHealth(goal.arn, family, version, told) if told else None


def task_metrics(goal: TaskGoal, facts: Facts, used: Mapping[str, Consumption]) -> TaskMetric:
    """What each container used, and how often those with a restart policy were restarted. Pure."""
    told = tuple(
        ContainerMetric(
            container_name=spec.name,
            cpu_stats_set=found.cpu if found else None,
            memory_stats_set=found.memory if found else None,
            restart_stats_set=RestartStatsSet(facts.containers[spec.name].restarts) if spec.restart_policy else None,
        )
        for spec in goal.spec.containers
        for found in (used.get(spec.name),)
    )
    return TaskMetric(goal.arn, goal.spec.family, str(goal.spec.revision), told)


class Consumptions:
    """What the containers of this node used since it was last told. ``look`` None: nothing can be looked at."""

    def __init__(self, look: Look | None, publish: float) -> None:
        self._look, self._publish = look, publish
        self._of: dict[str, dict[str, Consumption]] = {}  # by task id and container

    @property
    def interval(self) -> float:
        """Seconds between two looks."""
        return LOOK_SECONDS if self._look else self._publish

    async def look(self, tasks: Iterable[tuple[TaskGoal, Facts]]) -> None:
        """Looks at all containers of these tasks that run, giving way after each task, and forgets all others."""
        if self._look is None:
            return
        before, self._of = self._of, {}
        for goal, facts in tasks:
            known = before.get(goal.task_id, {})
            self._of[goal.task_id] = {
                spec.name: consumption.looked(known.get(spec.name), now)
                for spec in goal.spec.containers
                if facts.containers[spec.name].state == "running"
                and (now := self._look(goal.task_id, runtime_id(goal, spec.name))) is not None
            }
            await asyncio.sleep(0)

    def tell(self, goal: TaskGoal) -> dict[str, Consumption]:
        """By container; the next statistics begin."""
        found = self._of.get(goal.task_id, {})
        self._of[goal.task_id] = {name: consumption.told(c) for name, c in found.items()}
        return found


class Telemetry:
    """``look``: what a container uses of this machine; None where that can't be told."""

    def __init__(
        self,
        settings: AgentSettings,
        host: Host,
        transport: Transport,
        clock: Clock,
        ids: Ids,
        look: Look | None = None,
    ) -> None:
        self._settings, self._host, self._transport = settings, host, transport
        self._clock, self._ids = clock, ids
        self.consumptions = Consumptions(look, settings.publish)
        self._changed: dict[str, None] = {}  # ids of tasks
        self._work = asyncio.Event()

    def changed(self, task_id: str) -> None:
        """The health of one of its containers is another."""
        self._changed[task_id] = None
        self._work.set()

    async def run(self, node: Node, link: Link) -> None:
        """For ever: connected, or trying to be."""
        backoff = Backoff(self._ids, self._settings.retry_most)
        while True:
            arn, endpoint = await link.telemetry()
            began = self._clock.mono()
            try:
                await _Session(self, await self._connect(arn, endpoint), node, link, arn).serve()
            except CallFailed as error:
                log.info("no telemetry", extra={"error": str(error)})
            if self._clock.mono() - began >= STEADY:
                backoff.reset()
            await self._clock.sleep(backoff.next())

    async def _connect(self, arn: str, endpoint: str) -> Channel:
        version = self._host.agent_version
        query = {
            "cluster": self._settings.cluster,
            "containerInstance": arn,
            "agentHash": f"homeport-{version}",
            "agentVersion": version,
            "dockerVersion": self._host.runtime_version,
        }
        return await self._transport.connect(endpoint, query)

    # --- what a session needs -----------------------------------------------------------------------------------

    async def wait(self, until: float) -> list[str]:
        """Tasks whose health has changed, as soon as there are any; none at ``until`` (monotonic seconds)."""
        try:
            async with asyncio.timeout(max(0.0, until - self._clock.mono())):
                await self._work.wait()
        except TimeoutError:
            return []
        return self.take()

    def take(self) -> list[str]:
        self._work.clear()
        changed, self._changed = list(self._changed), {}
        return changed

    def now(self) -> float:
        return self._clock.mono()

    @property
    def publish(self) -> float:
        """Seconds between two messages."""
        return self._settings.publish

    def silence(self) -> float:
        return SILENCE * (1 + fraction(self._ids))

    def health(self, arn: str, tasks: Iterable[tuple[TaskGoal, Facts]]) -> list[Message]:
        told = [task for goal, facts in tasks if (task := task_health(goal, facts)) is not None]
        return [
            PublishHealthRequest(self._metadata(arn, fin), some, self._clock.wall())
            for some, fin in _parts(told)
            if some
        ]

    def metrics(self, arn: str, tasks: Iterable[tuple[TaskGoal, Facts]]) -> list[Message]:
        told = [task_metrics(goal, facts, self.consumptions.tell(goal)) for goal, facts in tasks]
        return [
            PublishMetricsRequest(self._metadata(arn, fin, idle=not told), some, self._clock.wall())
            for some, fin in _parts(told)
        ]

    def _metadata(self, arn: str, fin: bool, idle: bool = False) -> TelemetryMetadata:
        return TelemetryMetadata(self._settings.cluster, arn, self._ids.new("uuid"), fin, idle)


class _Session:
    """One connection."""

    def __init__(self, telemetry: Telemetry, channel: Channel, node: Node, link: Link, arn: str) -> None:
        self._telemetry, self._channel, self._node, self._link, self._arn = telemetry, channel, node, link, arn

    async def serve(self) -> None:
        """Until it ends, or the node is another instance."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(), name="telemetry: listen")
                await self._publish()  # in the group's body: see cancellation.honour
        except* Closed as closed:
            log.info("telemetry ended", extra={"error": str(closed.exceptions[0])})
        finally:
            await self._channel.close()
        cancellation.honour()

    async def _listen(self) -> None:
        """Heartbeats and acknowledgements: all that matters is that they come."""
        silence = self._telemetry.silence()
        while True:
            try:
                async with asyncio.timeout(silence):
                    await self._channel.receive()
            except TimeoutError:
                raise Closed(f"no message for {silence:.0f} s") from None

    async def _publish(self) -> None:
        while self._link.arn == self._arn:
            self._telemetry.take()
            tasks = [(runner.goal, runner.facts) for runner in self._node.tasks()]
            await self._send(self._telemetry.health, tasks)
            await self._send(self._telemetry.metrics, tasks)
            await self._collect(until=self._telemetry.now() + self._telemetry.publish)
        raise Closed("the node is another instance")

    async def _collect(self, until: float) -> None:
        """Looks at what runs, and tells of health that changes, until then (monotonic seconds)."""
        consumptions = self._telemetry.consumptions
        look = self._telemetry.now() + consumptions.interval
        while self._telemetry.now() < until:
            changed = await self._telemetry.wait(min(look, until))
            if changed:
                runners = filter(None, map(self._node.task, changed))
                await self._send(self._telemetry.health, [(runner.goal, runner.facts) for runner in runners])
            elif self._telemetry.now() >= look:
                await consumptions.look([(runner.goal, runner.facts) for runner in self._node.tasks()])
                look += consumptions.interval

    async def _send(
        self,
        messages: Callable[[str, Iterable[tuple[TaskGoal, Facts]]], list[Message]],
        tasks: Sequence[tuple[TaskGoal, Facts]],
    ) -> None:
        for message in messages(self._arn, tasks):
            await self._channel.send(encode(message))


def _parts(told: Sequence[T]) -> list[tuple[tuple[T, ...], bool]]:
    """So many tasks at a time, and whether they are the last; one part where there are none."""
    starts = range(0, max(1, len(told)), TASKS)
    return [(tuple(told[start : start + TASKS]), start + TASKS >= len(told)) for start in starts]
