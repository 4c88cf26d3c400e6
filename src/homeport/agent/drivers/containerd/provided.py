"""What a node makes or finds for a container before it is created, besides its image and the task's files."""

from __future__ import annotations

import posixpath

from homeport.agent import cdi
from homeport.agent.drivers import ContainerPlan, DriverError, Mount
from homeport.agent.drivers.containerd import devices, local_volumes, mounted
from homeport.agent.drivers.containerd.client import Client
from homeport.agent.drivers.containerd.instance import Instance
from homeport.agent.drivers.containerd.rootfs import viewed
from homeport.agent.drivers.containerd.spec import Provided
from homeport.agent.drivers.containerd.volumes import Volumes


async def provide(
    client: Client,
    of: Instance,
    volumes: Volumes,
    plan: ContainerPlan,
    chain_id: str,
    namespaces: tuple[tuple[str, str], ...] = (),
    cdi_folders: tuple[str, ...] = cdi.FOLDERS,
) -> Provided:
    """Makes the container's volumes, with what its image puts into them. May be repeated. Raises DriverError,
    CallError."""
    try:
        local = [bind for mount in plan.mounts if (bind := mounted.volume(of, plan.task_id, mount))]
        plain = [mount for mount in plan.mounts if local_volumes.read(mount.volume) is None]
        binds = [*local, *[await volumes.bind(plan.task_id, mount) for mount in plain]]
        if plan.ipc_mode == "task" and mounted.SHARED_MEMORY_PATH not in _paths(plan):
            binds.append(mounted.shared_memory(of, plan.task_id))
        empty = [mount for mount in plain if volumes.wants_filling(plan.task_id, mount)]
        if empty:
            async with volumes.filling(plan.task_id):
                await _fill(client, of, volumes, plan.task_id, chain_id, empty)
        found = tuple(devices.find(device) for device in plan.spec.devices)
        every = devices.every() if plan.spec.privileged else ()
        gpus = cdi.edits(cdi.read(cdi_folders), plan.spec.gpus) if plan.spec.gpus else cdi.NOTHING
        found += tuple(devices.described(node) for node in gpus.device_nodes)
    except (OSError, cdi.NoDevice) as e:
        raise DriverError("CannotCreateContainerError", str(e)) from None
    return Provided(tuple(binds), (*every, *found), namespaces, gpus)


def _paths(plan: ContainerPlan) -> set[str]:
    """Where the definition mounts something itself."""
    given = [*(m.container_path for m in plan.mounts), *(t.container_path for t in plan.spec.tmpfs)]
    return {posixpath.normpath(path) for path in given}


async def _fill(
    client: Client, of: Instance, volumes: Volumes, task_id: str, chain_id: str, mounts: list[Mount]
) -> None:
    def work(root: int) -> None:
        for mount in mounts:
            if volumes.wants_filling(task_id, mount):
                volumes.fill(task_id, mount, root)

    await viewed(client, chain_id, of.run, work)
