"""The loop of one task: see, ``advance``, act, fold the result in. All decisions are in ``plan`` and ``report``.

Each action runs as an asyncio task of its own in its slot; when it ends, its result becomes facts and the loop looks
again. The runner may be killed between or within any two calls: what it has not saved it finds out again from the
runtime, and every call may be repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from homeport.agent import environment_files, health
from homeport.agent.actions import (
    REPORT,
    Action,
    Attach,
    Cancel,
    Check,
    Create,
    Detach,
    Fail,
    Kill,
    Pull,
    Remove,
    RemoveTask,
    Report,
    Restart,
    Save,
    Start,
    slot,
)
from homeport.agent.creation import container_plan
from homeport.agent.drivers import Driver, DriverError, Image, Observed, Progress
from homeport.agent.environment_files import ResourceFailed, Source, nowhere
from homeport.agent.lasting import MustLast, must_last
from homeport.agent.network import Network, NetworkError
from homeport.agent.plan import (
    Retry,
    TaskGoal,
    TaskSeen,
    advance,
    again,
    finished,
    fold,
    restarted,
    settled,
    wake_at,
)
from homeport.agent.report import acknowledge, next_report, runtime_id
from homeport.agent.state import VERSION, Records, TaskRecord
from homeport.agent.transport import CallFailed, Transport
from homeport.agentapi import ContainerSpec
from homeport.core.clock import Clock

log = logging.getLogger("homeport.agent.runner")

LOOK_AGAIN = 1.0  # seconds until the runtime is asked again after it did not answer

_FINAL = {
    Pull: "CannotPullContainerError",
    Create: "CannotCreateContainerError",
    Start: "CannotStartContainerError",
    Restart: "CannotStartContainerError",
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What a runner acts with. ``progress`` is told of every step of a pull, and (None) of its end. ``environment``:
    variables that this node gives a container of a task, unless its definition sets them. ``objects``: those of
    S3. ``health_changed`` is told of tasks whose containers' health is another, once that is saved."""

    driver: Driver
    network: Network
    transport: Transport
    records: Records
    clock: Clock
    boot_id: str
    progress: Callable[[str, Progress | None], None] = lambda image, progress: None
    environment: Callable[[TaskGoal, str], dict[str, str]] = lambda goal, container: {}
    objects: Source = nowhere
    health_changed: Callable[[str], None] = lambda task_id: None


class TaskRunner:
    """Brings one task to what is wanted and reports it, until nothing of it is left (``run`` then returns)."""

    def __init__(self, parts: Parts, record: TaskRecord, on_disk: TaskRecord | None) -> None:
        """``on_disk``: the record as it was last saved; None: it is written before any container is made."""
        self._parts = parts
        self.goal, self.facts, self._known = record.goal, record.facts, record.acknowledged
        self._finished_at = record.finished_at
        self._saved: MustLast | None = must_last(on_disk) if on_disk else None
        self._busy: dict[str, Action] = {}
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._retry: dict[str, Retry] = {}
        self._look: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._durable: list[tuple[TaskGoal, asyncio.Future[None]]] = []
        self._names = {runtime_id(self.goal, name): name for name in self.facts.containers}

    # --- what others tell the runner ----------------------------------------------------------------------------

    def stop(self) -> None:
        """The task is no longer wanted."""
        if not self.goal.stop:
            self.goal = msgspec.structs.replace(self.goal, stop=True)
            self._wake.set()

    def look(self, id: str | None = None) -> None:
        """Something changed in the runtime: of the container with this runtime id, or anything."""
        self._look |= dict.fromkeys((self._names[id],) if id in self._names else self.facts.containers)
        self._wake.set()

    def kick(self) -> None:
        """The control plane is back: send what waits."""
        if self._retry.pop(REPORT, None):
            self._wake.set()

    def durable(self) -> asyncio.Future[None]:
        """Done once what is wanted of the task is on disk."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._saved is not None and self._saved.goal == self.goal:
            future.set_result(None)
        else:
            self._durable.append((self.goal, future))
        return future

    # --- the loop -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            while True:
                self._wake.clear()
                await self._observe()
                while (action := advance(self.goal, seen := self._seen())) is not None:
                    self._begin(action)
                if self._done(seen):
                    return
                await self._sleep(wake_at(self.goal, seen))
        finally:
            await self._end_calls()

    def _done(self, seen: TaskSeen) -> bool:
        """Nothing left to do; sets ``finished_at`` first, so that the record says so when it is last saved."""
        if not finished(self.goal, seen) or self._known.task != "STOPPED":
            return False
        if self._finished_at is None:
            self._finished_at = self._parts.clock.wall()
            self._wake.set()
        return self._saved == must_last(self._record()) and not self._busy

    def _seen(self) -> TaskSeen:
        saved = self._saved == must_last(self._record())
        seen = TaskSeen(
            now=self._parts.clock.mono(), facts=self.facts, busy=dict(self._busy), retry=dict(self._retry), saved=saved
        )
        report = next_report(self.goal, seen, self._known) if saved else None
        return msgspec.structs.replace(seen, reportable=report) if report else seen

    async def _sleep(self, until: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if until is None else max(0.0, until - self._parts.clock.mono())):
                await self._wake.wait()

    async def _end_calls(self) -> None:
        for call in self._calls.values():
            call.cancel()
        if self._calls:
            await asyncio.gather(*self._calls.values(), return_exceptions=True)
        for _, future in self._durable:
            future.cancel()

    async def _observe(self) -> None:
        """Looks at the containers of which something changed."""
        while self._look:
            name, _ = self._look.popitem()
            container = self.facts.containers.get(name)
            if container is None or not container.present or container.over or container.state == "exited":
                continue
            try:
                seen = await self._parts.driver.observe(runtime_id(self.goal, name))
            except DriverError as error:
                log.warning("can't look at a container", extra={"task": self.goal.task_id, "error": str(error)})
                asyncio.get_running_loop().call_later(LOOK_AGAIN, self.look)
                return
            self._fold(name, seen)

    def _fold(self, name: str, seen: Observed | None) -> None:
        before = self.facts.containers[name]
        after = settled(self.goal, self.facts, name, fold(before, seen, self._parts.clock.mono()))
        if after is not before:
            self.facts = self.facts.with_container(name, after)
            log.info(
                "container %s",
                after.state,
                extra={"task": self.goal.task_id, "container": name, "exit_code": after.exit_code},
            )

    # --- actions ------------------------------------------------------------------------------------------------

    def _begin(self, action: Action) -> None:
        match action:
            case Fail(container, reason):
                self._fail_container(container, reason)
                self.facts = msgspec.structs.replace(self.facts, failure=self.facts.failure or reason)
                return
            case Cancel(container):
                self._busy[container] = action
                self._calls[container].cancel()
                return
            case Create(container):
                self._change(container, present=True)
            case Pull() if self.facts.pull_started_at is None:
                self.facts = msgspec.structs.replace(self.facts, pull_started_at=self._parts.clock.wall())
            case _:
                pass
        where = slot(action)
        self._busy[where] = action
        self._calls[where] = asyncio.create_task(self._call(where, action), name=f"{self.goal.task_id} {where}")

    async def _call(self, where: str, action: Action) -> None:
        try:
            await self._act(action)
            self._retry.pop(where, None)
        except (DriverError, NetworkError, ResourceFailed, CallFailed, OSError) as error:
            self._failed(where, action, error)
        except Exception as error:
            log.exception("unexpected failure", extra={"task": self.goal.task_id})
            self._failed(where, action, error)
        finally:
            del self._busy[where], self._calls[where]
            self._wake.set()

    async def _act(self, action: Action) -> None:
        driver, network, clock = self._parts.driver, self._parts.network, self._parts.clock
        match action:
            case Attach():
                await self._attach()
            case Detach():
                await network.detach(self.goal.task_id)
                self.facts = msgspec.structs.replace(self.facts, network="detached", netns=None, networks={})
            case Pull(name):
                image = await self._pull(name)
                self.facts = msgspec.structs.replace(self.facts, pull_stopped_at=clock.wall())
                self._change(name, image=image)
            case Create(name):
                files = await environment_files.read(self._parts.objects, self._spec(name).environment_files)
                given = {**self._parts.environment(self.goal, name), **files}
                await driver.create(container_plan(self.goal, self.facts, name, given))
                self._change(name, created_at=clock.wall())
                self._fold(name, Observed(id=runtime_id(self.goal, name), state="created"))
            case Start(name):
                if (found := self.facts.networks.get(name)) and found.error:
                    raise DriverError("CannotStartContainerError", found.error)
                self._fold(name, await driver.start(runtime_id(self.goal, name)))
            case Restart(name):
                seen = await driver.restart(runtime_id(self.goal, name))
                self.facts = self.facts.with_container(name, restarted(self.facts.containers[name], seen, clock.mono()))
                self._look[name] = None  # it may have ended meanwhile
            case Check(name):
                await self._check(name)
            case Kill(name, signal):
                await driver.kill(runtime_id(self.goal, name), signal)
                self._change(name, **{"signalled" if signal is None else "killed": clock.mono()})
            case Remove(name):
                await driver.remove(runtime_id(self.goal, name))
                self._change(name, present=False)
            case RemoveTask():
                await driver.remove_task(self.goal.task_id)
                self.facts = msgspec.structs.replace(self.facts, cleaned=True)
            case Save():
                await self._save()
            case Report(report):
                await self._parts.transport.call("SubmitTaskStateChange", msgspec.to_builtins(report))
                self._known = acknowledge(self._known, report)

    async def _attach(self) -> None:
        spec, network = self.goal.spec, self._parts.network
        if spec.interface is not None:
            netns = await network.attach(self.goal.task_id, spec.interface)
            self.facts = msgspec.structs.replace(self.facts, network="attached", netns=netns)
            return
        ports = {c.name: c.ports for c in spec.containers if not c.disable_networking}
        networks = await network.join(self.goal.task_id, spec.network_mode, ports)
        self.facts = msgspec.structs.replace(self.facts, network="attached", networks=networks)

    async def _pull(self, name: str) -> Image:
        spec = self._spec(name)
        digest = spec.image_digest or self.facts.containers[name].digest
        reference = f"{spec.image}@{digest}" if digest and "@" not in spec.image else spec.image

        def step(progress: Progress) -> None:
            self._parts.progress(reference, progress)
            if self.goal.spec.first and progress.digest and self.facts.containers[name].digest is None:
                self._change(name, digest=progress.digest)
                self._wake.set()

        try:
            return await self._parts.driver.pull(reference, step)
        finally:
            self._parts.progress(reference, None)

    def _spec(self, name: str) -> ContainerSpec:
        return next(c for c in self.goal.spec.containers if c.name == name)

    async def _check(self, name: str) -> None:
        """One health check. It says nothing of a container that ended under it."""
        check, before = self.goal.container(name).health_check, self.facts.containers[name]
        assert check is not None
        id, clock = runtime_id(self.goal, name), self._parts.clock
        age = clock.mono() - (before.running_since or 0.0)
        try:
            code = await self._parts.driver.exec(id, "health", health.arguments(check), check.timeout)
        except DriverError as error:
            log.info("a health check can't run", extra={"task": self.goal.task_id, "error": str(error)})
            code = None
        if code != 0:
            self._fold(name, await self._parts.driver.observe(id))
        container = self.facts.containers[name]
        if container.state != "running" or container.restarts != before.restarts:
            return
        judged = health.judged(container.health, check, code == 0, age, clock.wall())
        self._change(name, health=judged, check_due=clock.mono() + check.interval)

    async def _save(self) -> None:
        record = self._record()
        await self._parts.records.save(record)
        before, self._saved = self._saved, must_last(record)
        if before is not None and before.healths != self._saved.healths:
            self._parts.health_changed(self.goal.task_id)
        for goal, future in self._durable:
            if goal == record.goal and not future.done():
                future.set_result(None)
        self._durable = [(goal, future) for goal, future in self._durable if not future.done()]

    def _failed(self, where: str, action: Action, error: Exception) -> None:
        """A call failed: a container that can't be raised, or a network that can't be made, ends the attempt; all else
        must succeed in the end and is repeated."""
        extra: dict[str, Any] = {"task": self.goal.task_id, "action": type(action).__name__, "error": str(error)}
        match action:
            case Create() if isinstance(error, ResourceFailed):
                self.facts = msgspec.structs.replace(self.facts, failure=self.facts.failure or str(error))
            case Pull(name) | Create(name) | Start(name) | Restart(name):
                known = isinstance(error, DriverError)
                self._fail_container(name, str(error) if known else f"{_FINAL[type(action)]}: {error!r}"[:1024])
            case Attach():
                failure = f"ContainerNetworkingError: {error}"[:1024]
                self.facts = msgspec.structs.replace(self.facts, failure=self.facts.failure or failure)
            case Report(report) if isinstance(error, CallFailed) and not error.retry:
                self._known = acknowledge(self._known, report)
            case _:
                self._retry[where] = again(self._retry.get(where), self._parts.clock.mono())
        log.warning("call failed", extra=extra)

    def _fail_container(self, name: str, reason: str) -> None:
        if not self.facts.containers[name].over:
            self._change(name, state="failed", error=reason)

    def _change(self, name: str, **changes: Any) -> None:
        container = msgspec.structs.replace(self.facts.containers[name], **changes)
        self.facts = self.facts.with_container(name, container)

    def _record(self) -> TaskRecord:
        return TaskRecord(
            version=VERSION,
            boot_id=self._parts.boot_id,
            goal=self.goal,
            facts=self.facts,
            acknowledged=self._known,
            finished_at=self._finished_at,
        )
