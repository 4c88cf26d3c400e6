"""The agent's loops over a made-up machine, on virtual time: what is run, what is reported, and what survives a kill."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from homeport.agent.config import AgentSettings, Host
from homeport.agent.drivers import DriverError
from homeport.agent.drivers.fake import Behaviour, FakeDriver, FakeRuntime
from homeport.agent.main import serve
from homeport.agent.network import NetworkError
from homeport.agent.network.fake import FakeFabric, FakeNetwork
from homeport.agent.node import Node
from homeport.agent.runner import Parts
from homeport.agent.state import MemoryRecords, TaskRecord
from homeport.agent.transport import CallFailed, Channel, Closed
from homeport.agentapi import (
    ContainerSpec,
    Dependency,
    InterfaceSpec,
    Message,
    PayloadMessage,
    PayloadTask,
    TaskManifestMessage,
    TaskSpec,
    decode,
    encode,
)
from homeport.core.ids import BitIds
from homeport.sim.loop import SimClock, SimLoop, run

TASK_ID = "0123456789abcdef0123456789abcdef"
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/demo"
TASK = f"arn:aws:ecs:us-east-1:123456789012:task/demo/{TASK_ID}"
INTERFACE = InterfaceSpec(
    attachment_arn="arn:aws:ecs:us-east-1:123456789012:attachment/1",
    eni_id="eni-1",
    mac="0a:00:00:00:00:01",
    vpc_id="vpc-1",
    vpc_cidr="172.31.0.0/16",
    subnet_id="subnet-1",
    subnet_cidr="172.31.0.0/20",
    private_address="172.31.0.5",
    gateway="172.31.0.1",
    private_dns_name="ip-172-31-0-5.ec2.internal",
)


def container(name: str, essential: bool = True, after: tuple[tuple[str, str], ...] = (), **more: Any) -> ContainerSpec:
    depends_on = tuple(Dependency(container_name=n, condition=c) for n, c in after)  # type: ignore[arg-type]
    return ContainerSpec(name=name, image=f"{name}:1", essential=essential, depends_on=depends_on, **more)


def payload(*containers: ContainerSpec, arn: str = TASK, stop: bool = False, network: bool = True) -> PayloadTask:
    spec = TaskSpec(
        family="web",
        revision=3,
        region="us-east-1",
        availability_zone="us-east-1a",
        containers=containers,
        interface=INTERFACE if network else None,
    )
    if stop:
        return PayloadTask(arn=arn, task_cluster_arn=CLUSTER, desired_status="STOPPED")
    return PayloadTask(arn=arn, task_cluster_arn=CLUSTER, desired_status="RUNNING", spec=spec)


class Control:
    """A control plane that notes what it is told, and checks that nothing goes backwards or is told of what runs."""

    def __init__(self, runtime: FakeRuntime) -> None:
        self.runtime = runtime
        self.reports: list[dict[str, Any]] = []
        self.status: dict[str, str] = {}
        self.containers: dict[str, dict[str, Any]] = {}
        self.refuse: Callable[[dict[str, Any]], CallFailed | None] = lambda params: None
        self.changed = asyncio.Event()

    async def call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        assert operation == "SubmitTaskStateChange"
        await asyncio.sleep(0.002)
        if error := self.refuse(params):
            raise error
        self.take(params)
        await asyncio.sleep(0.002)
        return {}

    def take(self, params: dict[str, Any]) -> None:
        assert not (params["status"] == "STOPPED" and self.runtime.running()), "reported STOPPED while it runs"
        self.reports.append(params)
        self.status[params["task"]] = params["status"]
        for c in params.get("containers", ()):
            self.containers.setdefault(c["containerName"], {}).update(c)
        self.changed.set()

    async def connect(self, endpoint: str, query: dict[str, str]) -> Channel:
        raise CallFailed(None, "not here")

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    async def until_stopped(self) -> None:
        await self.until(lambda: self.status.get(TASK) == "STOPPED")


class World:
    """One machine and its control plane; ``start`` runs an agent on it, ``kill`` ends that at once."""

    def __init__(self, **images: Behaviour) -> None:
        self.loop = SimLoop()
        self.clock = SimClock(self.loop)
        self.runtime = FakeRuntime(lambda image: images.get(image.partition(":")[0], Behaviour()), self.clock.wall)
        self.fabric = FakeFabric()
        self.records = MemoryRecords()
        self.control = Control(self.runtime)
        self.fault: Callable[[str, str], None] = lambda call, id: None
        self.boot_id = "boot-1"
        self.node: Node | None = None
        self._agent: asyncio.Task[None] | None = None

    async def start(self) -> Node:
        ready = asyncio.Event()
        self._agent = asyncio.create_task(self._serve(ready))
        await ready.wait()
        assert self.node is not None
        return self.node

    async def kill(self) -> None:
        assert self._agent is not None
        self._agent.cancel()
        await asyncio.gather(self._agent, return_exceptions=True)

    async def _serve(self, ready: asyncio.Event) -> None:
        driver = FakeDriver(self.runtime, lambda call, id: self.fault(call, id))
        network = FakeNetwork(self.fabric, fault=lambda call, id: self.fault(call, id))
        await driver.open()
        try:
            async with asyncio.TaskGroup() as group:
                parts = Parts(driver, network, self.control, self.records, self.clock, self.boot_id)
                self.node = Node(parts, group)
                await self.node.adopt()
                group.create_task(self.node.watch())
                group.create_task(self.node.forget())
                ready.set()
        finally:
            await driver.close()

    def run(self, story: Callable[[World], Any]) -> None:
        async def main() -> None:
            await asyncio.wait_for(story(self), 3600)
            await self.kill()

        run(main(), self.loop)

    def nothing_left(self) -> None:
        assert not self.runtime.containers
        assert not self.runtime.task_folders
        assert not self.fabric.interfaces.get("node")


def statuses(control: Control) -> list[str]:
    return [r["status"] for r in control.reports]


def test_a_task_runs_and_stops() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web")))
        assert TASK_ID in w.records.tasks  # durable when it is acknowledged
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        running = w.control.reports[-1]
        assert running["containers"][0]["status"] == "RUNNING"
        assert running["containers"][0]["imageDigest"].startswith("sha256:")
        assert running["containers"][0]["runtimeId"] == f"{TASK_ID}-0"
        assert running["pullStoppedAt"] > running["pullStartedAt"]
        await node.accept(payload(stop=True))
        await w.control.until_stopped()
        assert w.control.containers["web"]["exitCode"] == 143
        await asyncio.sleep(1)
        w.nothing_left()

    w = World()
    w.run(story)
    assert [a for r in w.control.reports for a in r.get("attachments", ())] == [
        {"attachmentArn": INTERFACE.attachment_arn, "status": "ATTACHED"}
    ]
