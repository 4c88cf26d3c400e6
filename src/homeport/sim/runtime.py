"""A machine's container runtime, watched: whatever happens in it is written down at the moment that it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from homeport.agent.drivers import ContainerPlan, DriverError, Observed
from homeport.agent.drivers.fake import SIGKILL, FakeContainer, FakeDriver, FakeRuntime
from homeport.sim.containers import Containers
from homeport.sim.images import Registry, behaviour


class Runtime(FakeRuntime):
    """``book`` is told of everything, ``happened`` of changes, in words. ``ends``: how containers last ended, those too
    that were removed."""

    def __init__(
        self,
        node: str,
        book: Containers,
        happened: Callable[[str], None],
        wall: Callable[[], float],
        registry: Registry,
    ) -> None:
        super().__init__(behaviour, wall)
        self._registry = registry
        self._node, self._book, self._happened = node, book, happened
        self.ends: dict[str, Observed] = {}
        self.stopped_until = 0.0

    def create(self, plan: ContainerPlan) -> None:
        if plan.id not in self.containers:
            self._book.created(self._node, plan)
        super().create(plan)

    def start(self, container: FakeContainer) -> None:
        id = container.plan.id
        if container.starts == 0:
            self._book.starting(self._node, id)
        self.ends.pop(id, None)
        super().start(container)

    def renew(self, container: FakeContainer) -> None:
        self._book.restarting(self._node, container.plan.id)
        super().renew(container)

    def signal(self, container: FakeContainer, signal: int | None) -> None:
        if container.seen.state == "running":
            self._book.signalling(self._node, container.plan.id, kill=signal == SIGKILL)
        super().signal(container, signal)

    def remove(self, id: str) -> None:
        if id in self.containers:
            self._book.removing(self._node, id)
        super().remove(id)

    def digest(self, reference: str) -> str:
        return self._registry.digest(reference)

    def prune(self, name: str) -> None:
        """What the tag of an image names is forgotten."""
        for reference in [r for r in self.images if r.partition(":")[0] == name and "@" not in r]:
            del self.images[reference]

    def make_volume(self, task_id: str, name: str) -> None:
        if name not in self.volumes.get(task_id, ()):
            self._book.volume_made(self._node, task_id, name)
        super().make_volume(task_id, name)

    def remove_task(self, task_id: str) -> None:
        if task_id in self.volumes:
            self._book.volumes_go(self._node, task_id, self.containers)
        super().remove_task(task_id)

    def notify(self, id: str) -> None:
        container = self.containers.get(id)
        if container is not None:
            self._happened(f"{self._node}: {id} {container.seen.state} {container.seen.exit_code}")
            if container.seen.state in ("stopped", "lost"):
                self._ended(id, container.seen)
        super().notify(id)

    def reboot(self) -> None:
        super().reboot()
        for id, container in self.containers.items():
            if container.seen.state == "lost" and id not in self.ends:
                self._ended(id, container.seen)

    def forget_watchers(self) -> None:
        """Their process is dead."""
        self._watchers.clear()

    def runs(self, id: str) -> bool:
        container = self.containers.get(id)
        return container is not None and container.seen.state == "running"

    def answers(self) -> bool:
        return asyncio.get_running_loop().time() >= self.stopped_until

    def _ended(self, id: str, seen: Observed) -> None:
        self.ends[id] = seen
        self._book.ended(self._node, id, seen)


class WatchedDriver(FakeDriver):
    """One agent's connection to the runtime; health checks are told too, as far as their agent lives to see them."""

    def __init__(self, node: str, runtime: Runtime, book: Containers, fault: Callable[[str, str], None]) -> None:
        super().__init__(runtime, fault)
        self._node, self._watched, self._book = node, runtime, book

    async def exec(self, id: str, name: str, command: Sequence[str], seconds: float) -> int | None:
        ended = self._book.checking(self._node, id)
        try:
            code = await super().exec(id, name, command, seconds)
        except DriverError:
            ended(False, self._watched.answers())
            raise
        ended(code == 0, code == 0 or self._watched.answers())
        return code
