"""Removes what an agent left on its machine, for ``homeport down``. The agent must not run meanwhile."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from homeport.agent.drivers.containerd import ContainerdDriver, instance, stop_containerd
from homeport.agent.network.apply import destroy_all


def everything(name: str, state: str, containerd: str | None) -> None:
    """Containers, interfaces, records of tasks and our own containerd; images and logs stay. ``name``: the 8 hex
    characters of this Homeport. May be repeated. Raises DriverError, NetworkError."""
    asyncio.run(_containers(state, containerd))
    destroy_all(name, Path(state, "agent"))
    shutil.rmtree(Path(state, "agent", "tasks"), ignore_errors=True)


async def _containers(state: str, containerd: str | None) -> None:
    ours = instance(state, containerd)
    driver = ContainerdDriver(ours)
    await driver.open()
    try:
        for container in await driver.list():
            await driver.remove(container.id)
            await driver.remove_task(container.id.rpartition("-")[0])
    finally:
        await driver.close()
    stop_containerd(ours)
