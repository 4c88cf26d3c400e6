"""The second websocket of an agent: the health of containers, which is stored, and what they use, which isn't.

Every message is acknowledged, or refused where its numbers make no sense; what can't be read is ignored, as by AWS.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from msgspec.structs import replace

from homeport.agentapi import (
    HEARTBEAT_SECONDS,
    AckPublishHealth,
    AckPublishInstanceStatus,
    AckPublishMetric,
    BadRequestException,
    HeartbeatMessage,
    InstanceStatus,
    Message,
    PublishHealthRequest,
    PublishInstanceStatusRequest,
    PublishMetricsRequest,
    TaskHealth,
    decode,
    encode,
)
from homeport.core import arn as arns
from homeport.core.clock import Clock
from homeport.core.ids import Ids
from homeport.services.ecs import effects, lifecycle, metrics, rooms
from homeport.services.ecs.agentsession import Ended, Socket
from homeport.services.ecs.metrics import Metrics
from homeport.services.ecs.model.instance import INSTANCES, Instance, PartHealth
from homeport.services.ecs.model.task import TASKS
from homeport.store import Scope, Store, StoreClosed, Tx, View

log = logging.getLogger("homeport.ecs.telemetry")

PARTS = ("CONTAINER_RUNTIME", "ACCELERATED_COMPUTE", "DAEMON", "AGENT_CONNECTIVITY")  # of an instance, that have health


class TelemetrySession:
    """``instance``: ARN of the container instance whose agent it is."""

    def __init__(self, instance: str, store: Store, metrics: Metrics, clock: Clock, ids: Ids, socket: Socket) -> None:
        self._instance, self._store, self._metrics = instance, store, metrics
        self._clock, self._ids, self._socket = clock, ids, socket
        self._over = asyncio.Event()
        self._why = ""  # it was ended

    def end(self, why: str) -> None:
        """Closes the connection."""
        self._why = why
        self._over.set()

    async def run(self) -> None:
        """Until the connection ends."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(), name="telemetry: heartbeat")
                group.create_task(self._receive(), name="telemetry: receive")
                group.create_task(self._wait_for_end(), name="telemetry: end")
        except* (Ended, StoreClosed) as ended:
            log.debug("telemetry ended", extra={"instance": self._instance, "why": str(ended.exceptions[0])})

    async def _wait_for_end(self) -> None:
        await self._over.wait()
        await self._socket.close(1000, "")
        raise Ended(self._why)

    async def _beat(self) -> None:
        while True:
            await self._send(HeartbeatMessage(message_id=self._ids.new("uuid")))
            await self._clock.sleep(HEARTBEAT_SECONDS)

    async def _receive(self) -> None:
        while True:
            try:
                frame = await self._socket.receive()
            except Exception as error:
                raise Ended(f"connection ended: {error}") from error
            match decode(frame):
                case PublishHealthRequest(tasks=told, metadata=about):
                    cause = f"{self._instance} told its health"
                    await self._store.update(partial(fold, instance=self._instance, told=told), cause)
                    await self._send(AckPublishHealth(message=about.message_id))
                case PublishMetricsRequest() as request:
                    await self._send(self._measured(request))
                case PublishInstanceStatusRequest() as request:
                    await self._send(await self._condition(request))

    async def _condition(self, request: PublishInstanceStatusRequest) -> Message:
        """Stored where it has changed: agents tell it every minute."""
        problem = metrics.strange_status(request)
        if problem is not None:
            return BadRequestException(problem)
        if _instance_health(self._store.view(), self._instance, request.statuses) is not None:
            cause = f"{self._instance} told its own health"
            await self._store.update(partial(fold_status, instance=self._instance, told=request.statuses), cause)
        return AckPublishInstanceStatus(request.metadata.request_id)

    def _measured(self, request: PublishMetricsRequest) -> Message:
        problem = metrics.nonsense(request)
        if problem is not None:
            log.warning("metrics refused", extra={"instance": self._instance, "why": problem})
            return BadRequestException(problem)
        self._metrics.keep(self._store.view(), self._instance, request.task_metrics, self._clock.wall())
        return AckPublishMetric(message=request.metadata.message_id)

    async def _send(self, message: Message) -> None:
        try:
            await self._socket.send(encode(message))
        except Exception as error:
            raise Ended(f"send failed: {error}") from error


def fold_status(tx: Tx, instance: str, told: tuple[InstanceStatus, ...]) -> None:
    """Stores the health of an instance's parts; parts that ECS doesn't know are ignored."""
    changed = _instance_health(tx, instance, told)
    if changed is not None:
        tx.put(INSTANCES, *changed)


def _instance_health(view: View, arn: str, told: tuple[InstanceStatus, ...]) -> tuple[Scope, Instance] | None:
    """The instance with what was told, or None where that changes nothing."""
    found = rooms.instance(view, arn)
    if found is None or found[1].status == "INACTIVE":
        return None
    scope, instance = found
    news = {s.type: s.status for s in told if s.type in PARTS}
    changed = {
        p: PartHealth(s, view.now)
        for p, s in news.items()
        if p not in instance.health or instance.health[p].status != s
    }
    return (scope, replace(instance, health=instance.health | changed)) if changed else None


def fold(tx: Tx, instance: str, told: tuple[TaskHealth, ...]) -> None:
    """Stores the health of the instance's own tasks; what is told of others is ignored."""
    for health in told:
        place = arns.parse(health.task_arn)
        if place is None:
            continue
        scope = Scope(place.account, place.region)
        task = tx.get(TASKS, scope, health.task_arn.rpartition("/")[2])
        if task is not None and task.instance == instance:
            statuses = {c.container_name: c.health_status or "UNKNOWN" for c in health.containers}
            effects.save(tx, scope, task, lifecycle.health_told(task, statuses))
