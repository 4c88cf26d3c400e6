"""The agent's composition root. ``serve`` runs it over given parts, real or simulated; ``run`` is the process."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import platform
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from homeport.agent import cdi, efs, environment_files, s3
from homeport.agent.config import AgentSettings, Host
from homeport.agent.drivers import Driver, DriverError, Progress
from homeport.agent.environment_files import Source
from homeport.agent.link import Link, Refused, Replaced
from homeport.agent.metadata.server import MetadataServer
from homeport.agent.network import Network, NetworkError
from homeport.agent.node import Node
from homeport.agent.runner import Parts
from homeport.agent.state import Records, StateDamaged
from homeport.agent.telemetry import Look, Telemetry
from homeport.agent.transport import Transport
from homeport.core.clock import Clock
from homeport.core.ids import Ids

__all__ = ["AgentSettings", "Host", "run", "serve"]

log = logging.getLogger("homeport.agent")

EXIT_OK, EXIT_FAILED, EXIT_TERMINAL = 0, 1, 5  # as Amazon's agent: 5 means that a restart doesn't help
LOCAL_RETRY_MOST = 1.0  # seconds; a control plane on this machine is worth asking often


class AlreadyRunning(Exception):
    """Another agent works on the same state folder."""


async def serve(
    settings: AgentSettings,
    driver: Driver,
    network: Network,
    transport: Transport,
    clock: Clock,
    ids: Ids,
    stop: asyncio.Event,
    *,
    records: Records,
    host: Host,
    progress: Callable[[str, Progress | None], None] = lambda image, progress: None,
    loops: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = (),
    metadata: MetadataServer | None = None,
    look: Look | None = None,
    connected: Callable[[], None] = lambda: None,
) -> None:
    """Runs the agent until ``stop``; containers and interfaces stay as they are. ``loops``: more to run beside it.
    ``metadata``: what tells tasks about themselves. ``look``: what a container uses of the machine, for telemetry.
    ``connected`` is called whenever the control plane has been reached.

    Raises (possibly in an exception group) DriverError or NetworkError where the machine can't run tasks, StateDamaged,
    and Refused where the control plane doesn't want this node.
    """
    async with _opened(driver, network), asyncio.TaskGroup() as group:
        environment = metadata.environment if metadata else lambda goal, container: {}
        telemetry = Telemetry(settings, host, transport, clock, ids, look)
        parts = Parts(
            driver,
            network,
            transport,
            records,
            clock,
            host.boot_id,
            progress,
            environment,
            _objects(settings, clock),
            telemetry.changed,
        )
        node = Node(parts, group)
        await node.adopt()
        link = Link(settings, host, node, network, transport, records, clock, ids, connected)
        for name, loop in (("events", node.watch), ("forget", node.forget), ("link", link.run)):
            group.create_task(loop(), name=name)
        group.create_task(telemetry.run(node, link), name="telemetry")
        if metadata:
            group.create_task(metadata.run(node.at, node.tasks), name="metadata")
        for loop in loops:
            group.create_task(loop(), name="loop")
        await stop.wait()
        log.info("stopping", extra={"tasks": node.busy()})
        raise _Stop


def _objects(settings: AgentSettings, clock: Clock) -> Source:
    """Where S3's objects are."""
    if settings.s3_endpoint:
        return s3.objects(settings.s3_endpoint, settings.region, clock)
    return environment_files.folder(settings.buckets)


def run(settings: AgentSettings) -> int:
    """The agent's process. Returns its exit code."""
    try:
        with _lock(settings.folder):
            asyncio.run(_main(settings))
    except AlreadyRunning as error:
        log.error(str(error))
        return EXIT_FAILED
    except BaseExceptionGroup as group:
        return _explain(group)
    except (DriverError, NetworkError, StateDamaged, OSError) as error:
        return _explain(BaseExceptionGroup("", [error]))
    return EXIT_OK


async def _main(settings: AgentSettings) -> None:
    from homeport.agent.drivers.containerd import ContainerdDriver, instance, usage
    from homeport.agent.drivers.containerd.cgroups import Cgroups
    from homeport.agent.drivers.containerd.file_systems import Efs
    from homeport.agent.http import HttpTransport
    from homeport.agent.metadata import machine
    from homeport.agent.metadata.server import saved_key
    from homeport.agent.network.apply import NodeNetwork
    from homeport.agent.progress import PullProgress
    from homeport.agent.state import FileRecords
    from homeport.system import SystemClock, system_ids

    host, clock = this_host(settings.cdi_folders), SystemClock()
    if urlsplit(settings.endpoint).hostname in ("127.0.0.1", "::1", "localhost"):
        settings = msgspec.structs.replace(settings, retry_most=min(settings.retry_most, LOCAL_RETRY_MOST))
    file_systems = Efs(efs.targets(settings.efs), settings.region)
    runtime = instance(settings.state, settings.containerd)
    driver, cgroups = (
        ContainerdDriver(
            runtime, efs=file_systems, pull_behavior=settings.pull_behavior, cdi_folders=settings.cdi_folders
        ),
        Cgroups(runtime.name),
    )
    transport = HttpTransport(
        settings.endpoint,
        settings.access_key,
        settings.secret_key,
        settings.region,
        clock,
        host.agent_version,
        settings.pin,
    )
    metadata = MetadataServer(
        settings.endpoint,
        saved_key(settings.folder),
        lambda task_id, id: usage.read(cgroups, task_id, id, clock.wall()),
        clock,
        settings.task_endpoints,
        settings.pin,
        None if settings.fargate else machine.address(settings.instance),
        ask=transport.call,
    )
    network = NodeNetwork(settings.instance, settings.public_pool, settings.folder, listening=metadata.listen)
    progress = PullProgress(settings.folder / "progress.json", clock)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    gc.freeze()  # modules and their like are never garbage
    try:
        await serve(
            settings,
            driver,
            network,
            transport,
            clock,
            system_ids(),
            stop,
            records=FileRecords(settings.folder),
            host=host,
            progress=progress,
            loops=(progress.run,),
            metadata=metadata,
            look=lambda task_id, id: usage.glance(cgroups, task_id, id, clock.wall()),
            connected=connected_file(settings.folder).touch,
        )
    finally:
        await transport.close()


def connected_file(folder: Path) -> Path:
    """Made when the agent of this folder has reached its control plane."""
    return folder / "connected"


def this_host(cdi_folders: tuple[str, ...] = cdi.FOLDERS) -> Host:
    """What this machine is."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    machine = platform.machine()
    return Host(
        cores=len(os.sched_getaffinity(0)),
        memory=pages * page // 2**20,
        architecture={"aarch64": "arm64"}.get(machine, machine),
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        agent_version=version("homeport"),
        runtime_version="containerd",
        gpus=cdi.gpus(cdi.read(cdi_folders)),
    )


class _Stop(Exception):
    """Ends the task group: asked to stop."""


@contextlib.asynccontextmanager
async def _opened(driver: Driver, network: Network) -> AsyncIterator[None]:
    try:
        await asyncio.gather(driver.open(), network.open())
        yield
    except* _Stop:
        pass
    finally:
        await asyncio.gather(driver.close(), network.close(), return_exceptions=True)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another agent works in {folder}") from None
        yield


def _explain(group: BaseExceptionGroup[BaseException]) -> int:
    """Logs why the agent ends; expected reasons without a traceback."""
    expected, rest = group.split((DriverError, NetworkError, StateDamaged, Refused, OSError))
    if rest is not None:
        log.error("the agent failed", exc_info=rest)
    for error in _leaves(expected):
        log.error("the agent can't run: %s", error)
    terminal = any(isinstance(e, StateDamaged | Replaced) for e in _leaves(expected))
    return EXIT_TERMINAL if terminal else EXIT_FAILED


def _leaves(group: BaseExceptionGroup[BaseException] | None) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions if group else ():
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
