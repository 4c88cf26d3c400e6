"""A container runtime made up for the simulator and for tests of the loops: deterministic, on the loop's own time.

``FakeRuntime`` is the machine and outlives agents; ``FakeDriver`` is one agent's connection to it. What an image does
is said by a ``Behaviour``, so that faults are data.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal

import msgspec

from homeport.agent.drivers import ContainerPlan, DriverError, Image, Observed, Progress

SIGKILL, SIGTERM = 9, 15


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to containers of an image. ``*_seconds`` are how long the calls take; each call has its effect half
    way through. ``*_error``: the call fails with this text. ``runs``: seconds until the process exits by itself with
    ``exit_code`` (None: never; a restart runs as long again); ``ends`` with an exit, an out-of-memory kill, or lost by
    the runtime. ``stops``: seconds from the stop signal to the exit with ``stop_code``; None: it ignores the signal.
    ``check``: the exit code of a command that is run in it at this time on the loop's clock (None: it hangs), after
    ``check_seconds``; from ``sours`` seconds after its start on it is 1."""

    pull_seconds: float = 0.5
    create_seconds: float = 0.07
    start_seconds: float = 0.02
    pull_error: str | None = None
    create_error: str | None = None
    start_error: str | None = None
    runs: float | None = None
    exit_code: int = 0
    ends: Literal["exit", "oom", "lost"] = "exit"
    stops: float | None = 0.1
    stop_code: int = 143
    check_seconds: float = 0.05
    check: Callable[[float], int | None] = lambda now: 0
    sours: float | None = None


class FakeContainer:
    def __init__(self, plan: ContainerPlan, behaviour: Behaviour) -> None:
        self.plan, self.behaviour = plan, behaviour
        self.seen = Observed(id=plan.id, state="created", labels=plan.labels)
        self.starts = 0
        self.began = 0.0  # on the loop's clock

    def check(self, now: float) -> int | None:
        sours = self.behaviour.sours
        return 1 if sours is not None and now >= self.began + sours else self.behaviour.check(now)


class FakeRuntime:
    """``behave``: an image's reference → its behaviour. ``wall``: epoch seconds. ``history``: all effects, in order."""

    def __init__(self, behave: Callable[[str], Behaviour], wall: Callable[[], float]) -> None:
        self.behave, self._wall = behave, wall
        self.images: dict[str, Image] = {}
        self.containers: dict[str, FakeContainer] = {}
        self.task_folders: set[str] = set()
        self.volumes: dict[str, set[str]] = {}  # names of those that go with their task, by its id
        self.history: list[tuple[str, str]] = []
        self._watchers: list[asyncio.Queue[str]] = []

    def watch(self) -> asyncio.Queue[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._watchers.append(queue)
        return queue

    def unwatch(self, queue: asyncio.Queue[str]) -> None:
        self._watchers.remove(queue)

    def digest(self, reference: str) -> str:
        """Of the manifest that a reference names."""
        return reference.partition("@")[2] or f"sha256:{reference.encode().hex():0>64}"[:71]

    def running(self) -> list[str]:
        return [id for id, c in self.containers.items() if c.seen.state == "running"]

    def restart(self) -> None:
        """The runtime itself was killed and is back: containers run on, events were lost."""
        self.notify("")

    def reboot(self) -> None:
        """The machine was: whatever ran is lost without an exit code."""
        for container in self.containers.values():
            if container.seen.state == "running":
                container.seen = msgspec.structs.replace(container.seen, state="lost")

    def notify(self, id: str) -> None:
        for queue in self._watchers:
            queue.put_nowait(id)

    def create(self, plan: ContainerPlan) -> None:
        if plan.id not in self.containers:
            self.history.append(("create", plan.id))
            self.containers[plan.id] = FakeContainer(plan, self.behave(plan.spec.image))

    def make_volume(self, task_id: str, name: str) -> None:
        """An empty folder, unless it is there."""
        self.volumes.setdefault(task_id, set()).add(name)

    def remove_task(self, task_id: str) -> None:
        self.task_folders.discard(task_id)
        self.volumes.pop(task_id, None)

    def start(self, container: FakeContainer) -> None:
        id, behaviour = container.plan.id, container.behaviour
        assert container.seen.state == "created", f"{id} was started twice"
        container.starts, container.began = container.starts + 1, asyncio.get_running_loop().time()
        self.history.append(("start", id))
        container.seen = msgspec.structs.replace(container.seen, state="running", pid=1, started_at=self._wall())
        if behaviour.runs is not None:
            code = 137 if behaviour.ends == "oom" else behaviour.exit_code
            self._later(behaviour.runs, container, code, behaviour.ends)
        self.notify(id)

    def renew(self, container: FakeContainer) -> None:
        """It has ended, and is about to be started again."""
        self.history.append(("restart", container.plan.id))
        container.seen = Observed(id=container.plan.id, state="created", labels=container.plan.labels)

    def signal(self, container: FakeContainer, signal: int | None) -> None:
        if container.seen.state != "running":
            return
        self.history.append(("kill" if signal == SIGKILL else "signal", container.plan.id))
        if signal == SIGKILL:
            self._exit(container, 137, "exit")
        elif container.behaviour.stops is not None:
            self._later(container.behaviour.stops, container, container.behaviour.stop_code, "exit")

    def remove(self, id: str) -> None:
        container = self.containers.pop(id, None)
        if container is not None:
            self.history.append(("remove", id))
            if container.seen.state == "running":
                container.seen = msgspec.structs.replace(container.seen, state="stopped", exit_code=137)

    def _later(self, seconds: float, container: FakeContainer, code: int, how: str) -> None:
        """Ends it, unless its process is another one by then."""
        run = container.starts
        asyncio.get_running_loop().call_later(
            seconds, lambda: self._exit(container, code, how) if container.starts == run else None
        )

    def _exit(self, container: FakeContainer, code: int, how: str) -> None:
        if container.seen.state != "running":
            return
        self.history.append(("exit", container.plan.id))
        if how == "lost":
            container.seen = msgspec.structs.replace(container.seen, state="lost", pid=0)
        else:
            container.seen = msgspec.structs.replace(
                container.seen, state="stopped", pid=0, exit_code=code, finished_at=self._wall(), oom=how == "oom"
            )
        self.notify(container.plan.id)


class FakeDriver:
    """``Driver`` over a FakeRuntime. ``fault`` is called before each effect with its name and the container's id or
    the image, and may raise DriverError."""

    def __init__(self, runtime: FakeRuntime, fault: Callable[[str, str], None] = lambda call, id: None) -> None:
        self._runtime, self._fault = runtime, fault
        self._events: asyncio.Queue[str] | None = None

    async def open(self) -> None:
        if self._events is None:
            self._events = self._runtime.watch()

    async def close(self) -> None:
        if self._events is not None:
            self._runtime.unwatch(self._events)
            self._events = None

    async def pull(self, reference: str, progress: Callable[[Progress], None]) -> Image:
        image, behaviour = self._runtime.images.get(reference), self._runtime.behave(reference)
        if image is not None:
            return image
        digest = "" if behaviour.pull_error is not None else self._runtime.digest(reference)
        for done in (0, 50):
            progress(Progress(image=reference, done=done, total=100, digest=digest))
            await asyncio.sleep(behaviour.pull_seconds / 2)
        self._fault("pull", reference)
        if behaviour.pull_error is not None:
            raise DriverError("CannotPullContainerError", behaviour.pull_error)
        image = Image(reference=reference, digest=digest)
        self._runtime.images.setdefault(reference, image)
        return image

    async def create(self, plan: ContainerPlan) -> None:
        behaviour = self._runtime.behave(plan.spec.image)
        await asyncio.sleep(behaviour.create_seconds / 2)
        self._fault("create", plan.id)
        self._runtime.task_folders.add(plan.task_id)
        for mount in plan.mounts:
            if mount.volume.kind == "task":
                self._runtime.make_volume(plan.task_id, mount.volume.name)
        if behaviour.create_error is not None:
            raise DriverError("CannotCreateContainerError", behaviour.create_error)
        self._runtime.create(plan)
        await asyncio.sleep(behaviour.create_seconds / 2)

    async def start(self, id: str) -> Observed:
        container = self._runtime.containers[id]
        await asyncio.sleep(container.behaviour.start_seconds / 2)
        self._fault("start", id)
        if container.behaviour.start_error is not None:
            raise DriverError("CannotStartContainerError", container.behaviour.start_error)
        if container.seen.state == "created":
            self._runtime.start(container)
        await asyncio.sleep(container.behaviour.start_seconds / 2)
        return container.seen

    async def restart(self, id: str) -> Observed:
        container = self._runtime.containers[id]
        await asyncio.sleep(container.behaviour.start_seconds / 2)
        self._fault("restart", id)
        if container.seen.state != "running":
            self._runtime.renew(container)
            self._runtime.start(container)
        await asyncio.sleep(container.behaviour.start_seconds / 2)
        return container.seen

    async def exec(self, id: str, name: str, command: Sequence[str], seconds: float) -> int | None:
        container = self._runtime.containers.get(id)
        self._fault("exec", id)
        if container is None or container.seen.state != "running":
            raise DriverError("CannotStartContainerExecError", f"{id} does not run")
        code = container.check(asyncio.get_running_loop().time())
        late = code is None or container.behaviour.check_seconds > seconds
        await asyncio.sleep(seconds if late else container.behaviour.check_seconds)
        return None if late else code

    async def kill(self, id: str, signal: int | None) -> None:
        await asyncio.sleep(0.001)
        self._fault("kill", id)
        container = self._runtime.containers.get(id)
        if container is not None:
            self._runtime.signal(container, signal)
        await asyncio.sleep(0.001)

    async def remove(self, id: str) -> None:
        await asyncio.sleep(0.005)
        self._fault("remove", id)
        self._runtime.remove(id)
        await asyncio.sleep(0.005)

    async def remove_task(self, task_id: str) -> None:
        await asyncio.sleep(0.001)
        self._fault("remove_task", task_id)
        self._runtime.remove_task(task_id)

    async def observe(self, id: str) -> Observed | None:
        await asyncio.sleep(0.001)
        self._fault("observe", id)
        container = self._runtime.containers.get(id)
        return container.seen if container else None

    async def list(self) -> list[Observed]:
        await asyncio.sleep(0.001)
        return [container.seen for container in self._runtime.containers.values()]

    async def events(self) -> AsyncIterator[str]:
        assert self._events is not None
        while True:
            yield await self._events.get()
