"""A made-up machine with an agent on it, and a control plane that checks what it is told; on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from homeport.agent.drivers.fake import Behaviour, FakeDriver, FakeRuntime
from homeport.agent.network.fake import FakeFabric, FakeNetwork
from homeport.agent.node import Node
from homeport.agent.runner import Parts
from homeport.agent.state import MemoryRecords
from homeport.agent.transport import CallFailed, Channel
from homeport.agentapi import ContainerSpec, Dependency, InterfaceSpec, PayloadTask, TaskSpec
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
        self.fault: Callable[[str, str], None] = lambda call, id: None
        self.changed = asyncio.Event()

    async def call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        assert operation == "SubmitTaskStateChange"
        await asyncio.sleep(0.002)
        self.fault("report", params["task"])
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
        self.fault: Callable[[str, str], None] = lambda call, id: None  # before each effect; see also ``control.fault``
        self.boot_id = "boot-1"
        self.node: Node | None = None
        self.agent: asyncio.Task[None] | None = None

    async def start(self) -> Node:
        """Raises CancelledError where the agent was killed while it adopted."""
        ready: asyncio.Future[None] = self.loop.create_future()
        self.agent = asyncio.create_task(self._serve(ready))
        await asyncio.wait((self.agent, ready), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await self.agent
        assert self.node is not None
        return self.node

    async def idle(self, node: Node) -> None:
        while node.busy():  # noqa: ASYNC110 (time is virtual)
            await asyncio.sleep(0.1)

    async def kill(self) -> None:
        assert self.agent is not None
        self.agent.cancel()
        await asyncio.gather(self.agent, return_exceptions=True)

    async def _serve(self, ready: asyncio.Future[None]) -> None:
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
                ready.set_result(None)
        finally:
            await driver.close()

    def run(self, story: Callable[[World], Any]) -> None:
        async def main() -> None:
            await asyncio.wait_for(story(self), 7200)
            await self.kill()

        run(main(), self.loop)

    def nothing_left(self) -> None:
        assert not self.runtime.containers
        assert not self.runtime.task_folders
        assert not self.fabric.interfaces.get("node")


def statuses(control: Control) -> list[str]:
    return [r["status"] for r in control.reports]
