"""A real containerd of a test's own, with the test image in it, and proof that nothing of it is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from homeport.agent.drivers import ContainerPlan, Image, Observed
from homeport.agent.drivers.containerd import ContainerdDriver, Instance, instance, logs, stop_containerd
from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd.cgroups import Cgroups
from homeport.agent.drivers.containerd.client import Client
from homeport.agent.drivers.containerd.unpack import SNAPSHOTTER
from homeport.agentapi import ContainerSpec
from support.census import cgroups
from support.homeport import archive

IMAGE = "homeport-test:latest"
PLAN = ("task_id", "task_cpu", "task_memory", "netns", "address", "mounts", "pid_mode", "ipc_mode")  # of a plan
PATIENCE = 30.0  # seconds for anything that is awaited


@dataclass
class Bed:
    """One Homeport's containerd and driver. Containers are all of one task unless a test says otherwise."""

    instance: Instance
    driver: ContainerdDriver
    image: Image
    task_id: str = "a" * 32
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[str] = field(default_factory=list)
    _count: int = 0
    _watcher: asyncio.Task[None] | None = None

    async def reopen(self) -> None:
        """Another driver in place of this one, as of an agent that starts again."""
        await self.unwatch()
        await self.driver.close()
        self.driver = await _connect(self.instance)
        self.watch()

    def watch(self) -> None:
        async def work() -> None:
            async for id in self.driver.events():
                self.seen.append(id)
                self.changed.set()

        self._watcher = asyncio.create_task(work())

    async def unwatch(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    async def until(self, check: Callable[[], Awaitable[Any]]) -> Any:
        """What ``check`` returns once it is true, looked at after every event."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self.changed.clear()
                result = await check()
                if result:
                    return result
                await self.changed.wait()

    async def stopped(self, id: str) -> Observed:
        async def check() -> Observed | None:
            found = await self.driver.observe(id)
            return found if found and found.state in ("stopped", "lost") else None

        result: Observed = await self.until(check)
        return result

    def plan(self, script: str | None = None, **members: Any) -> ContainerPlan:
        """``script`` runs in the image's shell; members of ContainerSpec and of ContainerPlan may be given."""
        self._count += 1
        name = members.pop("name", f"main{self._count}")
        own = {key: members.pop(key) for key in PLAN if key in members}
        if script is not None:
            members["command"] = (script,)
        spec = ContainerSpec(name=name, image=IMAGE, **members)
        return ContainerPlan(id=f"{name}-id", spec=spec, image=self.image, **{"task_id": self.task_id, **own})

    async def start(self, script: str | None = None, **members: Any) -> ContainerPlan:
        plan = self.plan(script, **members)
        await self.driver.create(plan)
        observed = await self.driver.start(plan.id)
        assert observed.state == "running"
        return plan

    async def run(self, script: str | None = None, **members: Any) -> tuple[Observed, str, str]:
        """Runs a container to its end, and removes it: what is known of it, stdout, stderr."""
        plan = await self.start(script, **members)
        observed = await self.stopped(plan.id)
        await self.driver.remove(plan.id)  # waits for its shim, which may still be writing what was printed last
        return (observed, *self.output(plan))

    async def wrote(self, plan: ContainerPlan, text: str) -> None:
        """Waits until the container has written ``text`` to stdout."""
        async with asyncio.timeout(PATIENCE):
            while text not in self.output(plan)[0]:  # noqa: ASYNC110 a file tells nobody
                await asyncio.sleep(0.01)

    async def lines(self, plan: ContainerPlan, count: int) -> list[str]:
        """The lines on stdout, once there are ``count``: a container's end can be seen before its last words."""
        async with asyncio.timeout(PATIENCE):
            while self.output(plan)[0].count("\n") < count:  # noqa: ASYNC110 a file tells nobody
                await asyncio.sleep(0.01)
        return self.output(plan)[0].splitlines()

    def output(self, plan: ContainerPlan) -> tuple[str, str]:
        found = logs.paths(self.instance.state, plan.task_id, plan.spec.name)
        return found["stdout"].read_text(), found["stderr"].read_text()


async def _connect(of: Instance) -> ContainerdDriver:
    driver = ContainerdDriver(of)
    await driver.open()
    return driver


def with_bed(tmp_path: Path, scenario: Callable[[Bed], Awaitable[None]], external: Path | None = None) -> None:
    """Runs a scenario on a bed; afterwards everything is removed, and nothing may be left."""
    of = instance(tmp_path / "state", external)

    async def work() -> None:
        driver = await _connect(of)
        bed = None
        try:
            with archive("test").open("rb") as file:
                (image,) = await driver.images.load(file)
            bed = Bed(of, driver, image)
            bed.watch()
            await scenario(bed)
        finally:
            if bed is not None:
                await bed.unwatch()
                driver = bed.driver
            await clean(of, driver)

    try:
        asyncio.run(work())
    finally:
        stop_containerd(of)
    assert left_behind(of) == []


async def clean(of: Instance, driver: ContainerdDriver) -> None:
    await driver.close()
    driver = await _connect(of)
    for observed in await driver.list():
        await driver.remove(observed.id)
        await driver.remove_task(observed.labels["homeport.task"])
    for task_id in Cgroups(of.name).tasks():
        await driver.remove_task(task_id)
    assert await driver.list() == []
    await driver.close()
    assert await snapshots_in_use(of) == []


async def snapshots_in_use(of: Instance) -> list[str]:
    """Names of snapshots that are not an image's layer."""
    client = Client(str(of.socket), of.name)
    request = pb.ListSnapshotsRequest(snapshotter=SNAPSHOTTER, filters=["kind==active", "kind==view"])
    names = [info.name async for page in client.stream(c.LIST_SNAPSHOTS, request) for info in page.info]
    await client.close()
    return names


def left_behind(of: Instance) -> list[str]:
    """Mounts, cgroups, folders and processes of an instance."""
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if of.name in line]
    groups = cgroups(of.name)
    folders = [str(of.run)] if of.run.exists() else []
    processes = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if of.name in command:
            processes.append(command)
    return mounts + groups + folders + processes
