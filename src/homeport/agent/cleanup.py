"""Removes everything of a Homeport from its machine, running agent or not: what ``homeport down`` does."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from homeport.agent.drivers import DriverError
from homeport.agent.drivers.containerd import ContainerdDriver, Instance, instance, leftovers, stop_containerd
from homeport.agent.drivers.containerd.cgroups import Cgroups
from homeport.agent.drivers.containerd.daemon import running_pid
from homeport.agent.drivers.containerd.nfs import Mounts
from homeport.agent.network.apply import destroy_all


def everything(name: str, state: str, containerd: str | None) -> None:
    """Containers, their snapshots and cgroups, namespaces, links, routes, rules, the own containerd. Images, logs and
    the state stay. May be repeated, and after a kill at any point. ``name``: the instance's 8 hex characters. Raises
    DriverError where an external containerd doesn't answer, NetworkError, OSError."""
    of = instance(state, containerd)
    unanswered = None
    if of.external and running_pid(instance(state)):
        everything(name, state, None)  # from before it was told to use another's
    if of.run.exists() or of.external:
        try:
            asyncio.run(_remove_containers(of))
        except DriverError as error:
            unanswered = error if of.external else None
            leftovers.clear_all(of)  # where containerd doesn't start any more, its containers end all the same
    destroy_all(name, Path(state, "agent"))
    stop_containerd(of)
    asyncio.run(Mounts(of.nfs).unmount_all())
    if unanswered:
        raise unanswered


async def _remove_containers(of: Instance) -> None:
    """Kills and removes all containers of this Homeport, and what their tasks left."""
    driver = ContainerdDriver(of)
    await driver.open()
    try:
        found = await driver.list()
        for container in found:
            with contextlib.suppress(DriverError):
                await driver.remove(container.id)
        # A task may have a group, and a process that holds its namespace, before it has a container.
        for task in {container.id.rpartition("-")[0] for container in found} | Cgroups(of.name).tasks():
            with contextlib.suppress(DriverError):
                await driver.remove_task(task)
    finally:
        await driver.close()
