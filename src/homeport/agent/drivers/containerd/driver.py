"""The driver: containers through containerd and runc."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from homeport.agent import cdi
from homeport.agent.drivers import ContainerPlan, DriverError, Image, Observed, Progress
from homeport.agent.drivers.containerd import client as c
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd import (
    creation,
    daemon,
    execs,
    files,
    leftovers,
    logs,
    machine,
    mounted,
    observed,
    oom,
    provided,
    rootfs,
    signals,
    spec,
    starting,
    streams,
    trimmer,
    trimming,
    users,
    volumes,
)
from homeport.agent.drivers.containerd.cgroups import Cgroups
from homeport.agent.drivers.containerd.client import AlreadyExists, CallError, Client, NotFound, Unavailable
from homeport.agent.drivers.containerd.events import Events
from homeport.agent.drivers.containerd.file_systems import Efs, FileSystems
from homeport.agent.drivers.containerd.images import ImageStore, PullBehavior
from homeport.agent.drivers.containerd.instance import Instance
from homeport.agent.drivers.containerd.manifests import BadManifest, Resolved
from homeport.agent.drivers.containerd.nfs import Mounts
from homeport.agent.drivers.containerd.pause import Pauses
from homeport.agent.drivers.containerd.records import record
from homeport.agent.drivers.containerd.shared import both
from homeport.agent.drivers.containerd.storage import Storage
from homeport.agent.drivers.containerd.unpack import HELD, SNAPSHOTTER, prepare
from homeport.core.clock import Clock
from homeport.system import SystemClock

T = TypeVar("T")
Listed = list[Observed]  # inside the class, ``list`` is the method

_OUTAGE_SECONDS = 30.0  # a call waits that long for a containerd that is being restarted
_LAST_WORD_SECONDS = 1.0
_SIGKILL = 9


class ContainerdDriver:
    """A ``Driver``. ``insecure``: registries to be spoken to over HTTP besides this machine's own. ``efs``: what
    stands for EFS file systems; others are folders in ``STATE/efs``. ``cdi_folders``: of the files that describe the
    machine's GPUs."""

    def __init__(
        self,
        instance: Instance,
        insecure: frozenset[str] = frozenset(),
        clock: Clock | None = None,
        efs: Efs | None = None,
        pull_behavior: PullBehavior = "once",
        cdi_folders: tuple[str, ...] = cdi.FOLDERS,
    ) -> None:
        self._pull_behavior, self._cdi_folders = pull_behavior, cdi_folders
        self._instance, self._insecure = instance, insecure
        self._clock = clock or SystemClock()
        self._cgroups = Cgroups(instance.name)
        self._marks = observed.Marks(instance)
        self._kills = oom.Kills(instance, self._cgroups)
        self._storage = Storage(instance)
        self._nfs = Mounts(instance.nfs)
        file_systems = FileSystems(efs or Efs(), instance.state / "efs", self._nfs)
        self._volumes = volumes.Volumes(instance.state / "agent", file_systems)
        self._labels: dict[str, dict[str, str]] = {}  # of the containers that this process has met
        self._accounts: dict[str, users.Accounts] = {}  # by chain id
        self._alive: set[str] = set()  # seen running, not yet seen ended
        self._starting: set[str] = set()  # whose start is under way
        self._ensuring = asyncio.Lock()
        self._trimming: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._instance.run.mkdir(mode=0o711, exist_ok=True)
        await daemon.ensure(self._instance)
        self._client = Client(str(self._instance.socket), self._instance.name)
        self._events = Events(self._client, self._revive, lambda id: id in self._labels)
        self._execs = execs.Execs(self._client, self._kills, self._clock)
        self.images = ImageStore(self._client, self._insecure, behavior=self._pull_behavior)
        namespace = pb.Namespace(name=self._instance.name)
        with contextlib.suppress(AlreadyExists):
            await self._client.call(c.CREATE_NAMESPACE, pb.CreateNamespaceRequest(namespace=namespace))
        self._machine = machine.detect(self._cgroups)
        self._pauses = Pauses(self._client, self._instance, self._cgroups, self._machine.architecture)
        await self._steady("CannotListContainersError", self._sweep)
        self._storage.detect()
        self._trimming = asyncio.create_task(trimmer.keep(self._instance))

    async def close(self) -> None:
        await self._nfs.close()
        if self._trimming is not None:
            self._trimming.cancel()
            await asyncio.gather(self._trimming, return_exceptions=True)
            await self._client.close()

    # --- a containerd that is away ------------------------------------------------------------------------------------

    async def _revive(self) -> None:
        """Returns when containerd answers again, started if it is ours. Raises DriverError."""
        async with self._ensuring:
            await daemon.ensure(self._instance)

    async def _steady(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Runs ``work``, and again if the connection breaks meanwhile: all of it may be repeated. Other failures become
        a DriverError ``name``."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _OUTAGE_SECONDS
        while True:
            try:
                return await work()
            except Unavailable as e:
                if loop.time() > deadline:
                    raise DriverError(name, e.text) from None
                await self._revive()
                await asyncio.sleep(0.05)
            except CallError as e:
                raise DriverError(name, e.text) from None

    async def _sweep(self) -> None:
        """Removes what a crash left: containers made halfway, looks into images, snapshots without a container."""
        containers, tasks = await self._everything()
        for container in containers:
            if self._look(container.id, dict(container.labels), tasks.get(container.id)) is None:
                await self._remove(container.id)
        await asyncio.to_thread(rootfs.sweep, self._instance.run)
        kept = {container.id for container in containers}
        request = pb.ListSnapshotsRequest(snapshotter=SNAPSHOTTER, filters=["kind==active", "kind==view"])
        async for page in self._client.stream(c.LIST_SNAPSHOTS, request):
            for info in page.info:
                if HELD.items() <= dict(info.labels).items() and info.name not in kept:
                    await self._remove_snapshot(info.name)

    # --- images -------------------------------------------------------------------------------------------------------

    async def pull(self, reference: str, progress: Callable[[Progress], None]) -> Image:
        async def work() -> Image:
            image = await self.images.pull(reference, progress)
            resolved = await self.images.resolve(image.digest)
            await self._accounts_of(resolved.chain_id)
            return msgspec.structs.replace(image, volumes=tuple(resolved.config.volumes or ()))

        return await self._steady("CannotPullContainerError", work)

    async def _accounts_of(self, chain_id: str) -> users.Accounts:
        if chain_id not in self._accounts:
            self._accounts[chain_id] = await rootfs.accounts(self._client, chain_id, self._instance.run)
        return self._accounts[chain_id]

    # --- create -------------------------------------------------------------------------------------------------------

    async def create(self, plan: ContainerPlan) -> None:
        await self._steady("CannotCreateContainerError", lambda: self._create(plan))

    async def _create(self, plan: ContainerPlan) -> None:
        try:
            resolved = await self.images.resolve(plan.image.digest)
            accounts = await self._accounts_of(resolved.chain_id)
        except (NotFound, BadManifest, OSError) as e:
            raise DriverError("CannotCreateContainerError", f"no such image: {plan.spec.image}: {e}") from None
        try:
            user = users.resolve(plan.spec.user or resolved.config.user, accounts)
            self._cgroups.prepare(plan.task_id, plan.task_cpu, plan.task_memory)
            shared = await self._pauses.namespaces(plan)
            self._storage.hold(plan)
            given = await provided.provide(
                self._client, self._instance, self._volumes, plan, resolved.chain_id, shared, self._cdi_folders
            )
            container = self._container(plan, resolved, user, given)
        except users.BadUser as e:
            raise DriverError("CannotStartContainerError", str(e)) from None
        except (spec.BadContainer, logs.BadOption, OSError) as e:
            raise DriverError("CannotCreateContainerError", str(e)) from None
        try:
            # Neither needs the other; the snapshot's label keeps it until the container names it.
            made = self._client.call(c.CREATE_CONTAINER, pb.ContainerMessage(container=container))
            mounts = await both(prepare(self._client, plan.id, resolved.chain_id, labels=HELD), made)
        except AlreadyExists:
            if await self._observe(plan.id) is not None:
                return
            await self._remove(plan.id)
            await self._create(plan)
            return
        try:
            self._storage.hold(plan, mounts)
        except OSError as e:
            await self._remove(plan.id)
            raise DriverError("CannotCreateContainerError", str(e)) from None
        self._labels[plan.id] = dict(container.labels)
        await self._create_task(plan.id, self._labels[plan.id], mounts)

    def _container(
        self, plan: ContainerPlan, resolved: Resolved, user: users.User, given: spec.Provided
    ) -> pb.Container:
        """The container's record, its files and folders made. Raises BadContainer, OSError."""
        hostname = files.hostname(plan)
        generated = files.write(self._instance.task(plan.task_id), hostname, plan)
        logs.make(self._instance.state, plan.task_id, plan.spec.name, logs.bound(plan.spec))
        cgroup = self._cgroups.path(plan.task_id, plan.id)
        oci = spec.build(plan, resolved.config, user, hostname, generated, cgroup, self._machine, given)
        labels = {
            **plan.labels,
            observed.TASK: plan.task_id,
            observed.CONTAINER: plan.spec.name,
            observed.STOP_SIGNAL: resolved.config.stop_signal or "SIGTERM",
            observed.TASK_CPU: str(plan.task_cpu),
            observed.STREAMS: streams.label(plan.spec),
        }
        return record(self._instance, plan.id, oci, labels, plan.image.reference)

    async def _create_task(self, id: str, labels: Mapping[str, str], mounts: Sequence[pb.Mount]) -> None:
        led = streams.streams(self._instance, labels)
        request = pb.CreateTaskRequest(
            container_id=id, rootfs=mounts, stdin=led.stdin, stdout=led.stdout, stderr=led.stderr, terminal=led.terminal
        )
        try:
            await creation.create_task(self._client, request, self._end_task)
        except Unavailable:
            raise
        except CallError as e:
            await self._remove(id)
            # In ECS a container that runc refuses was created, and could not be started.
            raise DriverError("CannotStartContainerError", e.text) from None

    # --- start, restart, exec, kill, remove ---------------------------------------------------------------------------

    async def start(self, id: str) -> Observed:
        self._starting.add(id)
        try:
            return await self._steady("CannotStartContainerError", lambda: self._start(id))
        finally:
            self._starting.discard(id)

    async def _start(self, id: str) -> Observed:
        labels = await self._labels_of(id)
        task_id = labels[observed.TASK]
        started_at = self._marks.set(task_id, id, self._clock.wall())
        try:
            pid = await starting.start_task(self._client, self._instance, id)
        except Unavailable:
            raise
        except CallError:
            found = await self._observe(id)
            if found is None or found.state == "created":
                self._marks.clear(task_id, id)
                raise
            if starting.cut_off(self._instance, found):
                return await self._restart(id)  # it never began
            return found  # it was started before
        with contextlib.suppress(OSError):
            self._cgroups.throttle(task_id, int(labels.get(observed.TASK_CPU, "0")))
        self._alive.add(id)
        return Observed(id, "running", pid, started_at=started_at, labels=labels)

    async def restart(self, id: str) -> Observed:
        return await self._steady("CannotStartContainerError", lambda: self._restart(id))

    async def _restart(self, id: str) -> Observed:
        found = await self._observe(id)
        if found is not None and found.state == "running":
            return found  # a repeated call
        labels = await self._labels_of(id)
        task_id = labels[observed.TASK]
        await self._end_task(id)
        self._events.forget(id)
        self._kills.clear(task_id, id)
        key = pb.SnapshotKey(snapshotter=SNAPSHOTTER, key=id)
        mounts = (await self._client.call(c.SNAPSHOT_MOUNTS, key)).mounts
        await self._create_task(id, labels, mounts)
        self._marks.clear(task_id, id)  # not before: a container without both is taken for made halfway
        return await self._start(id)

    async def exec(self, id: str, name: str, command: Sequence[str], seconds: float) -> int | None:
        async def work() -> int | None:
            task_id = (await self._labels_of(id))[observed.TASK]
            return await self._execs.run(task_id, id, name, command, seconds)

        return await self._steady("CannotStartContainerExecError", work)

    async def _labels_of(self, id: str) -> dict[str, str]:
        if id not in self._labels:
            response = await self._client.call(c.GET_CONTAINER, pb.ContainerId(id=id))
            self._labels[id] = dict(response.container.labels)
        return self._labels[id]

    async def kill(self, id: str, signal: int | None) -> None:
        async def work() -> None:
            with contextlib.suppress(NotFound, c.FailedPrecondition):
                labels = await self._labels_of(id)
                number = signal if signal is not None else signals.number(labels.get(observed.STOP_SIGNAL, "SIGTERM"))
                await self._client.call(c.KILL_TASK, pb.KillRequest(container_id=id, signal=number))
                if number == _SIGKILL:
                    self._nfs.killed(labels[observed.TASK], id, lambda: id not in self._alive)

        await self._steady("CannotStopContainerError", work)

    async def remove(self, id: str) -> None:
        await self._steady("CannotRemoveContainerError", lambda: self._remove(id))

    async def _remove(self, id: str) -> None:
        labels: dict[str, str] = {}
        with contextlib.suppress(NotFound):
            labels = await self._labels_of(id)
        await self._end_task(id)
        with contextlib.suppress(NotFound):
            await self._client.call(c.DELETE_CONTAINER, pb.ContainerId(id=id))
        await self._remove_snapshot(id)
        if observed.TASK in labels:
            self._marks.clear(labels[observed.TASK], id)
            self._kills.clear(labels[observed.TASK], id)
        self._labels.pop(id, None)
        self._alive.discard(id)
        self._events.forget(id)

    async def _end_task(self, id: str) -> None:
        request = pb.TaskRequest(container_id=id)
        process = None
        try:
            process = (await self._client.call(c.GET_TASK, request)).process
        except NotFound:
            await asyncio.to_thread(leftovers.clear, self._instance, id)
        with contextlib.suppress(NotFound):
            if process is not None and process.status != pb.STOPPED:
                with contextlib.suppress(NotFound, c.FailedPrecondition):
                    await self._client.call(c.KILL_TASK, pb.KillRequest(container_id=id, signal=_SIGKILL))
                await self._client.call(c.WAIT_TASK, request)
            # Also where none was found: a shim that has no process yet is ended so.
            await self._client.call(c.DELETE_TASK, request)

    async def _remove_snapshot(self, name: str) -> None:
        with contextlib.suppress(NotFound):
            await self._client.call(c.REMOVE_SNAPSHOT, pb.SnapshotKey(snapshotter=SNAPSHOTTER, key=name))

    async def remove_task(self, task_id: str) -> None:
        await self._steady("CannotRemoveContainerError", lambda: self._pauses.remove(task_id))
        self._cgroups.remove_task(task_id)
        await asyncio.to_thread(trimming.trim_task, logs.top(self._instance.state) / task_id)
        try:
            mounted.release(self._instance, task_id)
            await self._volumes.remove_task(task_id)
            self._storage.release(task_id)
        except OSError as e:
            raise DriverError("CannotRemoveVolumeError", str(e)) from None
        await asyncio.to_thread(shutil.rmtree, self._instance.task(task_id), ignore_errors=True)

    # --- what is ------------------------------------------------------------------------------------------------------

    async def observe(self, id: str) -> Observed | None:
        found = await self._steady("CannotInspectContainerError", lambda: self._observe(id))
        if found is not None and id in self._starting and starting.cut_off(self._instance, found):
            return Observed(id, "created", labels=found.labels)  # it is started again
        return found

    async def _observe(self, id: str) -> Observed | None:
        try:
            labels = await self._labels_of(id)
        except NotFound:
            return None
        process = None
        with contextlib.suppress(NotFound):
            process = (await self._client.call(c.GET_TASK, pb.TaskRequest(container_id=id))).process
        if process is not None and process.status == pb.UNKNOWN and id in self._starting:
            return Observed(id, "created", labels=labels)
        found = self._look(id, labels, process)
        if found is None or found.state == "created":
            return found
        if found.state == "running":
            self._alive.add(id)
        elif id in self._alive:
            self._alive.discard(id)
            # containerd forgets the task of a dead shim a moment before it tells that, and how, it ended.
            if found.state == "lost" and await self._events.ended(id, _LAST_WORD_SECONDS):
                return self._look(id, labels, None)
        return found

    def _look(self, id: str, labels: dict[str, str], process: pb.Process | None) -> Observed | None:
        task_id = labels.get(observed.TASK, "")
        killed = False
        if process is not None and process.status == pb.STOPPED:
            killed = self._kills.own(task_id, id, process.exited_at.ToNanoseconds() / 1e9)
        return observed.observed(id, labels, process, self._marks.get(task_id, id), self._events.exits.get(id), killed)

    async def list(self) -> Listed:
        async def work() -> Listed:
            containers, tasks = await self._everything()
            self._labels = {container.id: dict(container.labels) for container in containers}
            found = (self._look(id, labels, tasks.get(id)) for id, labels in self._labels.items())
            return [one for one in found if one is not None]

        return await self._steady("CannotListContainersError", work)

    async def _everything(self) -> tuple[Sequence[pb.Container], dict[str, pb.Process]]:
        request = pb.ListContainersRequest(filters=[f'labels."{observed.TASK}"'])
        containers = (await self._client.call(c.LIST_CONTAINERS, request)).containers
        tasks = (await self._client.call(c.LIST_TASKS, pb.ListTasksRequest())).tasks
        return containers, {process.id: process for process in tasks}

    def events(self) -> AsyncIterator[str]:
        return self._events.watch()
