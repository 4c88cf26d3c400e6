"""How fast a fleet is simulated: services on many machines, deployments, and faults all the time."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from homeport.agent.config import AgentSettings, Host
from homeport.sim.control import Witness, root
from homeport.sim.fleet import AGAIN, CLUSTER, Conduct, Fleet
from homeport.sim.loop import SimLoop, run
from homeport.sim.net import Reply
from homeport.sim.process import task_factory
from homeport.store import Change, View

SERVICES = 20
FAULT_SECONDS = 120.0  # between two faults, 30 in an hour: a task that dies, a node that is away, a deployment …
CONDUCT = {"app:1": Conduct(starts=3.0, stops=1.0)}


class Speed(NamedTuple):
    """``seconds`` simulated after all was steady, in ``took`` seconds of this machine's processor."""

    seconds: float
    took: float
    commits: int
    tasks: int

    @property
    def times(self) -> float:
        """Simulated seconds per real one."""
        return self.seconds / self.took


def measure(nodes: int = 100, tasks: int = 1000, seconds: float = 3600.0, seed: int = 0) -> Speed:
    """Simulates so many nodes and tasks for so long, with faults on."""
    loop = SimLoop()
    loop.set_task_factory(task_factory)
    course = _Course(loop, nodes, tasks, seconds, seed)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        return run(course.main(), loop)
    finally:
        gc.enable()
        gc.unfreeze()


class _Course(Witness):
    def __init__(self, loop: SimLoop, nodes: int, tasks: int, seconds: float, seed: int) -> None:
        self._loop, self._nodes, self._tasks, self._seconds = loop, nodes, tasks, seconds
        self._random = Random(seed)  # noqa: S311 (nothing secret)
        self._fleet = Fleet(loop, self, CONDUCT, seed)
        self._commits = 0

    def staged(self, view: View, changes: Sequence[Change]) -> None:
        self._commits += 1

    async def main(self) -> Speed:
        self._fleet.server.start()
        await asyncio.sleep(0.1)
        await self._call("CreateCluster", clusterName=CLUSTER)
        for _ in range(self._nodes):
            settings = AgentSettings(
                state="", instance="0" * 8, endpoint="", access_key="", secret_key="", cluster=CLUSTER
            )
            host = Host(cores=16, memory=65536, architecture="x86_64", boot_id="1", agent_version="1")
            await self._fleet.node(settings, host, "us-east-1a", "")
        await self._define()
        for number in range(SERVICES):
            count = self._tasks // SERVICES
            await self._call("CreateService", serviceName=f"s{number}", taskDefinition="app", desiredCount=count)
        await asyncio.sleep(300.0)
        began, before, real = self._loop.time(), self._commits, time.process_time()
        while self._loop.time() < began + self._seconds:
            await asyncio.sleep(FAULT_SECONDS)
            await self._fault()
        took = time.process_time() - real
        there = sum(len(node.tasks) for node in self._fleet.nodes)
        return Speed(self._loop.time() - began, took, self._commits - before, there)

    async def _define(self) -> None:
        container = {"name": "app", "image": "app:1", "memory": 256, "cpu": 128}
        await self._call("RegisterTaskDefinition", family="app", networkMode="host", containerDefinitions=[container])

    async def _fault(self) -> None:
        node = self._random.choice(self._fleet.nodes)
        match self._random.randrange(8):
            case 0 | 1 | 2:
                for arn in node.tasks[:2]:
                    node.kill(arn)
            case 3 | 4 if node.up:
                node.fail()
                self._loop.call_later(90.0, lambda: self._loop.create_task(node.repair()))
            case 5:
                self._fleet.server.kill(1.0)
            case 6:
                await self._call(
                    "UpdateService", service=f"s{self._random.randrange(SERVICES)}", forceNewDeployment=True
                )
            case _:
                self._fleet.wires.reset(node.name)

    async def _call(self, operation: str, **params: Any) -> Any:
        while True:
            pending = self._fleet.server.operate(root(), "ecs", operation, params)
            reply = await pending if pending is not None else Reply("none", "")
            if reply.kind != "none":
                return reply.value
            await asyncio.sleep(AGAIN)
