"""One simulated world: a control plane, its nodes, a network, somebody who uses it, and what goes wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec

from homeport.agent.config import AgentSettings, Host
from homeport.services.ecs.model.task import STOPPED_TASK_SECONDS
from homeport.sim import rest
from homeport.sim.audit import Auditor, Violation
from homeport.sim.client import Client
from homeport.sim.clusters import PROVIDERS
from homeport.sim.control import Server
from homeport.sim.definitions import described
from homeport.sim.invariants import name_of
from homeport.sim.loop import SimLoop, run
from homeport.sim.machine import Fabric, Machine
from homeport.sim.net import Net
from homeport.sim.process import task_factory
from homeport.sim.rest import NOBODY, Wrong
from homeport.sim.rogue import Rogue
from homeport.sim.scenario import CLUSTERS, Scenario, Step, chance
from homeport.sim.standing import Standing, no_service_stands_still
from homeport.store.memory import Fault

LOOK_SECONDS = 2.0  # between two looks whether it has come to rest
STILL_SECONDS, STILL_EVERY = 30.0, 10.0  # for which a service may stand still, and between two looks whether it does


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """``seconds`` simulated; ``digest`` of all that happened; ``story``: that, line by line, where it was asked for."""

    seed: int
    seconds: float
    commits: int
    tasks: int
    deployments: int
    digest: str
    violation: Violation | None
    story: tuple[str, ...] = ()


def play(scenario: Scenario, *, tell: bool = False) -> Outcome:
    """Plays a scenario to its end or to the first violation of an invariant."""
    loop = SimLoop()
    loop.set_task_factory(task_factory)
    world = World(loop, scenario, tell=tell)
    with _errors_told(world.auditor):
        run(world.main(), loop)
    auditor = world.auditor
    return Outcome(
        seed=scenario.seed,
        seconds=world.seconds,
        commits=auditor.commits,
        tasks=auditor.made,
        deployments=auditor.judge.deployed,
        digest=auditor.digest,
        violation=auditor.violation,
        story=tuple(auditor.story),
    )


class World:
    def __init__(self, loop: SimLoop, scenario: Scenario, *, tell: bool) -> None:
        self._loop, self._scenario = loop, scenario
        self._over = asyncio.Event()
        self.seconds = 0.0
        self.auditor = Auditor(loop.time, loop.call_later, self._over.set, self._clear, tell=tell)
        self._net = Net(loop, self._random("network"), loss=0.0)
        self._fabric = self.auditor.fabric = Fabric(self.auditor)
        self._server = Server(
            loop, self._net, self._random("server"), scenario.public_pool, scenario.prefix, self.auditor
        )
        self._client = Client(self._net, self._server, self.auditor)
        self._machines = [self._machine(number) for number in range(scenario.nodes)]
        self.auditor.machines = {machine.name: machine for machine in self._machines}
        self._rogue = Rogue(self._net, self._server, self.auditor, self._random("rogue"))
        self._clones: list[Machine] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._still: dict[str, tuple[int, float]] = {}  # services that stand still: as they are since when

    def _clear(self, node: str, since: float) -> bool:
        """Whether nothing was in the way of what a node tells of health, all the time since then."""
        machine = self.auditor.machines.get(node)
        connection, connected = (machine.telemetry if machine else None) or (None, 0.0)
        if connection is None or connection.over or connected > since or self._net.cut_off_until(node) > since:
            return False
        return self._server.well_since() <= since

    def _random(self, what: str) -> Random:
        return chance(self._scenario.seed, what)

    def _machine(self, number: int, *, clone: bool = False) -> Machine:
        """``clone``: another machine that has got hold of its key."""
        node, scenario = f"node{number}", self._scenario
        hardware = scenario.hardware[number] if scenario.hardware else None
        settings = AgentSettings(
            state="/nowhere",
            instance=f"{number:08x}",
            endpoint="http://control-plane",
            access_key="",
            secret_key="",
            cluster=CLUSTERS[0],
            fargate=hardware is None or hardware.kind == "FARGATE",
            overcommit_cpu=scenario.overcommit,
            retry_most=scenario.retry_most,
            publish=scenario.publish,
        )
        host = Host(
            cores=hardware.cores if hardware else scenario.cores,
            memory=hardware.memory if hardware else scenario.memory,
            architecture="x86_64",
            boot_id="",
            agent_version="1",
        )
        name = f"{node} (clone {len(self._clones)})" if clone else node
        return Machine(
            name,
            self._loop,
            self._random(name),
            self._net,
            self._server,
            self._fabric,
            self.auditor,
            settings,
            host,
            hardware,
            node=node,
        )

    # --- its course -------------------------------------------------------------------------------------------------

    async def main(self) -> None:
        story, over = asyncio.ensure_future(self._story()), asyncio.ensure_future(self._over.wait())
        watch = asyncio.ensure_future(self._watch())
        await asyncio.wait((story, over, watch), return_when=asyncio.FIRST_COMPLETED)
        watch.cancel()
        self.seconds, self.auditor.over = self._loop.time(), True
        if self.auditor.violation is None:
            story.result()

    async def _story(self) -> None:
        self._server.start()
        if self._scenario.hardware:  # agents join a cluster that is there
            await asyncio.sleep(0.05)
            await self._client.prepare(PROVIDERS)
        for machine in self._machines:
            machine.start_agent()
        await asyncio.sleep(0.1)
        if not self._scenario.hardware:
            await self._client.prepare()
        self._net.loss = self._scenario.loss
        for step in self._scenario.steps:
            await self._until(step.at)
            self._do(step)
        await self._until(self._scenario.seconds)
        await self._put_right()
        await self._rest(self._unsettled)
        await self._client.stop_everything()
        await self._rest(self._left)
        if self._scenario.an_hour:
            await asyncio.sleep(STOPPED_TASK_SECONDS + 3700.0)
            if self.auditor.tasks:
                self.auditor.fail("a stopped task is forgotten in the end", f"{len(self.auditor.tasks)} tasks are left")

    async def _watch(self) -> None:
        """Whether services stand still though there is something to do."""
        while True:
            await asyncio.sleep(STILL_EVERY)
            plane, auditor = self._server.plane, self.auditor
            if plane is None:
                self._still.clear()
                continue
            view = plane.store.view()
            auditor.catch_up(view)
            standing = Standing(view, auditor.services, auditor.ledger)
            for id in sorted({*self._still, *auditor.judge.lacking}):
                service, known = auditor.services.services.get(id), auditor.judge.lacking.get(id, 0)
                step = None
                if service is not None and service.status == "ACTIVE" and known and not standing.under_way(service):
                    step = standing.step(service)
                before, since = self._still.pop(id, (0, 0.0))
                if service is None or step is None:
                    continue
                if before != known or self._server.well_since() > since:
                    since = self._loop.time()
                self._still[id] = known, since
                if (seconds := self._loop.time() - since) >= STILL_SECONDS:
                    auditor.fail(name_of(no_service_stands_still), no_service_stands_still(service, seconds, step))

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self._loop.time()))

    async def _put_right(self) -> None:
        """No more faults; what is down comes back."""
        self._net.loss = 0.0
        self._server.calm()
        for clone in self._clones:
            clone.remove()
        for machine in self._machines:
            machine.calm()
        await self._until(self._net.cut_until())
        while self._calls:
            await asyncio.wait(self._calls)

    async def _rest(self, wrong: Callable[[], Wrong | None]) -> None:
        """Waits until nothing is wrong any more."""
        deadline = self._loop.time() + self._scenario.rest
        while (found := wrong()) is not None:
            if self._loop.time() >= deadline:
                self.auditor.fail(*found)
                return
            await asyncio.sleep(LOOK_SECONDS)

    def _unsettled(self) -> Wrong | None:
        plane = self._server.plane
        return NOBODY if plane is None else rest.unsettled(plane.store.view(), self.auditor)

    def _left(self) -> Wrong | None:
        plane = self._server.plane
        return NOBODY if plane is None else rest.left(plane.store.view(), self.auditor)

    # --- steps ------------------------------------------------------------------------------------------------------

    def _do(self, step: Step) -> None:
        self.auditor.happened(f"step: {describe(step)}")
        machine = self._machines[step.node % len(self._machines)]
        match step.do:
            case "kill-server":
                self._server.kill(step.seconds, step.touch, step.after)
            case "kill-agent":
                machine.kill_agent(step.seconds, step.touch, step.after)
            case "kill-both":
                self._server.kill(step.seconds, step.touch, step.after)
                machine.kill_agent(step.seconds, step.touch, not step.after)
            case "restart-runtime":
                machine.runtime.restart()
            case "stop-runtime":
                machine.stop_runtime(step.seconds)
            case "reboot":
                machine.reboot(step.seconds)
            case "disk-full":
                self._server.disk_full_until = self._loop.time() + step.seconds
            case "disk-unsure":
                self._server.next_append = Fault("kept" if step.after else "lost", 0.002)
            case "node-disk-full":
                machine.fill_disk(step.seconds)
            case "set-clock" if step.node >= 0:
                machine.set_clock(step.seconds)
            case "set-clock":
                self._server.clock.epoch += step.seconds
            case "cut" | "silence":
                self._net.cut(machine.name, step.seconds)
            case "reset":
                self._net.reset(machine.name)
            case "herd":
                for one in self._machines:
                    self._net.reset(one.name)
            case "resize":
                machine.resize(step.more["share"], tuple(step.more["ports"]))
            case "push":
                self._fabric.registry.push(step.more["image"])
                if step.after:
                    machine.runtime.prune(step.more["image"])
            case "mischief" if step.more["kind"] == "clone":
                self._clone(step)
            case "mischief":
                others = [one for one in self._machines if one is not machine]
                victim = others[step.more["victim"] % len(others)]
                self._calling(self._rogue.do(step.more["kind"], machine, victim))
            case _:
                self._calling(self._client.do(step))

    def _calling(self, work: Coroutine[Any, Any, None]) -> None:
        call = asyncio.create_task(work)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    def _clone(self, step: Step) -> None:
        """For some time another agent uses a node's key."""
        number = step.node % len(self._machines)
        clone = self._machine(number, clone=True)
        self._clones.append(clone)
        self.auditor.doubted.add(self._machines[number].name)
        clone.start_agent()
        self._loop.call_later(step.seconds, clone.remove)


def describe(step: Step) -> str:
    words = {k: v for k, v in msgspec.to_builtins(step).items() if k not in ("at", "do", "more")}
    hidden = ("containerDefinitions", "volumes", "placementConstraints")
    rest = " ".join(f"{k}={v}" for k, v in {**words, **step.more}.items() if k not in hidden)
    if step.do == "define":
        rest += f" {described(step.more)}"
    return f"{step.do} {rest}".rstrip()


class _Errors(logging.Handler):
    """Code that catches what it didn't expect and logs it has failed nevertheless."""

    def __init__(self, auditor: Auditor) -> None:
        super().__init__(logging.ERROR)
        self._auditor = auditor

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._auditor.fail("nothing fails unexpectedly", f"{record.getMessage()}: {record.exc_info[1]!r}")


@contextmanager
def _errors_told(auditor: Auditor) -> Iterator[None]:
    log, handler = logging.getLogger("homeport"), _Errors(auditor)
    before = (log.level, log.propagate)
    log.addHandler(handler)
    log.setLevel(logging.ERROR)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]
