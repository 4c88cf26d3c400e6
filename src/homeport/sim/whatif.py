"""Plays a what-if question on a fleet, and reports what came of it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from homeport.services.ecs import interruption
from homeport.services.ecs.capacity import FARGATE_PROVIDERS, SPOT
from homeport.services.ecs.model.task import TASKS, Task
from homeport.sim import blueprint, report
from homeport.sim.asking import BadScenario
from homeport.sim.caller import Caller
from homeport.sim.control import SCOPE, Witness
from homeport.sim.fleet import CLUSTER, Conduct, Fleet, Refused
from homeport.sim.loop import SimLoop, run
from homeport.sim.park import Park
from homeport.sim.process import task_factory
from homeport.sim.questions import Deploy, Happens, Interrupt, Question, Runs, Scale
from homeport.sim.report import Line, Phase, Report, seconds
from homeport.sim.watching import Watch
from homeport.store import Change, Tx, View


def answer(question: Question) -> Report:
    """Raises BadScenario where ECS refuses a service."""
    loop = SimLoop()
    loop.set_task_factory(task_factory)
    log = logging.getLogger("homeport")
    before = log.level
    log.setLevel(logging.ERROR)  # machines that are lost are what was asked for
    try:
        return run(_Play(loop, question).main(), loop)
    finally:
        log.setLevel(before)


class _Play(Witness):
    def __init__(self, loop: SimLoop, question: Question) -> None:
        self._question = question
        self._conduct: dict[str, Conduct] = {}
        self._fleet = Fleet(loop, self, self._conduct, question.seed)
        self._caller = Caller(self._fleet.server)
        self._checked: dict[str, tuple[str, ...]] = {}
        self._watch = Watch([runs.name for runs in question.services], self._checked)
        self._park = Park(self._fleet, self._caller, self._watch)
        self._revisions: Counter[str] = Counter()
        self._lines: list[Line] = []
        self._subnets: list[str] = []
        self._broken: asyncio.Future[None] = loop.create_future()
        self._began = 0.0
        self._first = min((event.at for event in question.events), default=None)

    @property
    def _now(self) -> float:
        return self._fleet.server.clock.wall()

    @property
    def _first_event(self) -> float | None:
        return None if self._first is None else self._began + self._first

    async def main(self) -> Report:
        course = asyncio.ensure_future(self._course())
        await asyncio.wait((course, self._broken), return_when=asyncio.FIRST_COMPLETED)
        if self._broken.done():
            self._broken.result()  # raises
        return course.result()

    async def _course(self) -> Report:
        await self._prepare()
        self._began = self._now
        self._park.begin(self._began)
        for runs in self._question.services:
            await self._create(runs)
        events = sorted(self._question.events, key=lambda event: event.at)
        ends = [*(event.at for event in events), (events[-1].at if events else 0.0) + self._question.seconds]
        start, what, phases = 0.0, "the services start", []
        for end, event in zip(ends, [*events, None], strict=True):
            await asyncio.sleep(max(0.0, self._began + end - self._now))
            phases.append(self._phase(start, what))
            if event is not None:
                start, what = event.at, event.told()
                self._tell(what)
                await self._do(event)
        return self._report(phases)

    # --- what there is ----------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        self._fleet.server.start()
        await asyncio.sleep(0.1)
        await self._caller.ecs("CreateCluster", clusterName=CLUSTER)
        providers = dict.fromkeys(machines.provider for machines in self._question.machines if machines.provider)
        for name in providers:
            try:
                await self._caller.ecs("CreateCapacityProvider", **blueprint.provider(name))
            except Refused as error:
                raise BadScenario(f"ECS refuses the capacity provider {name}: {error}") from error
        if providers or any(runs.capacity for runs in self._question.services):
            names = [*FARGATE_PROVIDERS, *providers]
            await self._caller.ecs(
                "PutClusterCapacityProviders", capacityProviders=names, defaultCapacityProviderStrategy=[]
            )
        found, zones = await self._caller.ec2("DescribeSubnets"), blueprint.zones(self._question)
        self._subnets = [s["SubnetId"] for s in found["Subnets"] if s["AvailabilityZone"] in zones]
        try:
            await self._park.furnish(self._question)
        except Refused as error:
            raise BadScenario(f"ECS refuses {error}") from error

    async def _create(self, runs: Runs) -> None:
        try:
            definition = await self._define(runs, None)
            await self._caller.ecs("CreateService", **blueprint.service(runs, definition, self._subnets))
        except Refused as error:
            raise BadScenario(f"ECS refuses the service {runs.name}: {error}") from error

    async def _define(self, runs: Runs, deploy: Deploy | None) -> str:
        """A new revision of a service's task definition; its ARN."""
        self._revisions[runs.name] += 1
        image = f"{runs.name.lower()}:{self._revisions[runs.name]}"
        conduct = self._conduct[image] = blueprint.conduct(runs, deploy)
        checked = conduct.healthy is not None or conduct.unhealthy is not None
        made = await self._caller.ecs("RegisterTaskDefinition", **blueprint.definition(runs, image, checked=checked))
        arn: str = made["taskDefinition"]["taskDefinitionArn"]
        self._checked[arn] = (blueprint.CONTAINER,) if checked else ()
        return arn

    # --- what happens -----------------------------------------------------------------------------------------------

    async def _do(self, event: Happens) -> None:
        try:
            match event:
                case Deploy():
                    runs = next(runs for runs in self._question.services if runs.name == event.service)
                    definition = await self._define(blueprint.resized(runs, event), event)
                    await self._caller.ecs("UpdateService", service=event.service, taskDefinition=definition)
                case Scale():
                    await self._caller.ecs("UpdateService", service=event.service, desiredCount=event.count)
                case Interrupt():
                    if not await self._interrupt(event):
                        self._tell(f"no task runs on {SPOT}")
                case _:
                    if not await self._park.do(event, self._now):
                        self._tell("there is no machine that this can happen to")
        except Refused as error:
            self._tell(f"ECS refuses that: {error}")

    async def _interrupt(self, event: Interrupt) -> int:
        """The number of tasks."""

        def interrupt(tx: Tx) -> int:
            running = sorted(_interruptible(tx.all(TASKS, SCOPE), event.service), key=lambda t: (t.created_at, t.id))
            for task in running[: event.count]:
                interruption.interrupt(tx, SCOPE, task)
            return len(running[: event.count])

        plane = self._fleet.server.plane
        assert plane is not None
        return await plane.store.update(interrupt, "interruption")

    # --- what is seen -----------------------------------------------------------------------------------------------

    def staged(self, view: View, changes: Sequence[Change]) -> None:
        self._watch.see(view, changes)

    def server_failed(self, error: BaseException) -> None:
        if not self._broken.done():
            self._broken.set_exception(error)

    def _tell(self, what: str) -> None:
        self._lines.append(Line(at=seconds(self._now - self._began), service=None, what=what))

    def _phase(self, at: float, what: str) -> Phase:
        """Of the phase that ends now."""
        plane = self._fleet.server.plane
        assert plane is not None
        zones, places = self._park.zones, []
        for watched in self._watch.services.values():
            watched.meter.advance(self._now)
            places.append(report.place(watched, zones, self._began, self._first_event, at))
        cpu, memory = self._park.taken(plane.store.view())
        return Phase(at=at, what=what, services=tuple(places), cpu=cpu, memory=memory)

    def _report(self, phases: Sequence[Phase]) -> Report:
        began, event, end = self._began, self._first_event, self._now
        watched = self._watch.services.values()
        prices = self._question.prices
        services = tuple(report.of_service(one, self._watch, prices, began, event, end) for one in watched)
        machines = tuple(
            report.of_machines(
                group,
                sum(p.node.up for p in self._park.machines if p.machine.group == group.name),
                [i for p in self._park.machines if p.machine.group == group.name for i in p.intervals(end)],
            )
            for group in self._question.machines
        )
        told = [Line(at=seconds(e.at - began), service=e.service or None, what=e.what) for e in self._watch.entries]
        below = [line for one in watched for line in report.below_minimum(one, began, event, end)]
        usd, unpriced = report.total(services, machines)
        return Report(
            seconds=seconds(end - began),
            services=services,
            machines=machines,
            phases=tuple(phases),
            timeline=tuple(sorted([*self._lines, *told, *below], key=lambda line: line.at)),
            prices=prices,
            usd=usd,
            unpriced=unpriced,
        )


def _interruptible(tasks: Iterable[Task], service: str | None) -> Iterator[Task]:
    for task in tasks:
        wanted = service is None or task.group == f"service:{service}"
        if wanted and task.capacity_provider == SPOT and task.desired_status == "RUNNING":
            yield task
