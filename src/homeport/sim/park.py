"""The machines of a question: they join, and things happen to them."""

from __future__ import annotations

from collections.abc import Sequence

from homeport.services.ecs.model.instance import POOL, ROOMS
from homeport.sim import blueprint
from homeport.sim.blueprint import Machine
from homeport.sim.caller import Caller
from homeport.sim.control import SCOPE
from homeport.sim.fleet import Fleet, Node, Refused
from homeport.sim.questions import Activate, Deregister, Drain, Fail, Lose, OfMachines, Question
from homeport.sim.watching import Watch
from homeport.store import View

_AT_ONCE = 10  # instances that one UpdateContainerInstancesState takes


class Played:
    """A machine. ``times``: from when until when it was there, as whoever bills it sees that; ``registered``: as an
    instance, or a node of Fargate."""

    def __init__(self, machine: Machine, node: Node, began: float) -> None:
        self.machine, self.node, self.registered = machine, node, True
        self.times: list[tuple[float, float | None]] = [(began, None)]

    @property
    def gone(self) -> bool:
        """For good."""
        return self.times[-1][1] is not None

    def intervals(self, now: float) -> list[tuple[float, float]]:
        return [(began, now if ended is None else ended) for began, ended in self.times]


class Park:
    def __init__(self, fleet: Fleet, caller: Caller, watch: Watch) -> None:
        self._fleet, self._caller, self._watch = fleet, caller, watch
        self.machines: list[Played] = []

    @property
    def zones(self) -> dict[str, str]:
        """Of instances, by ARN."""
        return {played.node.arn: played.machine.zone for played in self.machines}

    async def furnish(self, question: Question) -> None:
        """Raises Refused."""
        for machine in blueprint.machines(question):
            try:
                node = await self._fleet.node(blueprint.node(machine), machine.host, machine.zone, machine.group)
            except Refused as error:
                raise Refused(f"the machine {machine.name}: {error}") from error
            self._watch.names[node.arn] = machine.name
            self.machines.append(Played(machine, node, 0.0))

    def begin(self, now: float) -> None:
        """What is billed is billed from now on."""
        for played in self.machines:
            played.times = [(now, None)]

    async def do(self, event: OfMachines, now: float) -> bool:
        """Whether there was any machine that it could happen to. Raises Refused."""
        chosen = [played for played in self.machines if blueprint.concerns(event, played.machine)]
        instances = [played for played in chosen if played.registered and not played.machine.fargate]
        match event:
            case Drain() | Activate():
                await self._set_status(instances, "DRAINING" if isinstance(event, Drain) else "ACTIVE")
                return bool(instances)
            case Deregister():
                for played in instances:
                    await self._deregister(played, now, force=event.force)
                return bool(instances)
            case Fail():
                done = [played for played in chosen if not played.gone]
                for played in done:
                    self._leave(played, now)
                    played.times[-1] = (played.times[-1][0], now)
                for played in done:
                    if played in instances:
                        await self._deregister(played, now, force=True)
            case Lose():
                done = [played for played in chosen if played.node.up]
                for played in done:
                    self._leave(played, now)
            case _:
                done = [played for played in chosen if not played.node.up]
                for played in done:
                    await self._come_back(played, now)
        return bool(done)

    def taken(self, view: View) -> tuple[float, float]:
        """The shares of CPU and memory of all machines that tasks may be placed on that are taken; a Fargate without
        bounds is none."""
        known = {played.node.arn for played in self.machines if played.machine.group}
        rooms = [room for scope in (SCOPE, POOL) for room in view.all(ROOMS, scope) if room.arn in known]
        usable = [room for room in rooms if room.open and room.connected]
        return (
            _share(sum(room.cpu_used for room in usable), sum(room.cpu for room in usable)),
            _share(sum(room.memory_used for room in usable), sum(room.memory for room in usable)),
        )

    async def _set_status(self, chosen: Sequence[Played], status: str) -> None:
        for first in range(0, len(chosen), _AT_ONCE):
            arns = [played.node.arn for played in chosen[first : first + _AT_ONCE]]
            await self._caller.ecs("UpdateContainerInstancesState", containerInstances=arns, status=status)

    async def _deregister(self, played: Played, now: float, *, force: bool) -> None:
        await self._caller.ecs("DeregisterContainerInstance", containerInstance=played.node.arn, force=force)
        played.registered = False
        self._leave(played, now)
        played.node.forget()

    def _leave(self, played: Played, now: float) -> None:
        """Nothing of the machine is heard any more."""
        if played.node.up:
            played.node.fail()
            self._watch.left(played.node.arn, now)

    async def _come_back(self, played: Played, now: float) -> None:
        if played.gone:
            played.times.append((now, None))
        self._watch.back(played.node.arn)
        await played.node.repair()
        self._watch.names[played.node.arn] = played.machine.name
        played.registered = True


def _share(used: int, of: int) -> float:
    return used / of if of else 0.0
