"""Services on bad days, on virtual time: what their tasks' containers see of it, node by node."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from service_world import Conduct, Node, ServiceWorld, play

from homeport.core.errors import AwsError
from homeport.store import StoreClosed
from homeport.store.journal import Commit
from homeport.store.memory import Fault

CHECKED = {"name": "app", "image": "httpd:2.4", "healthCheck": {"command": ["CMD", "true"]}}
WELL = Conduct(healthy=2.0)
SHOP = {"cluster": "demo", "service": "shop"}


class Watched(Node):
    """A node that knows which containers are ``there``, and which of them serve: those that have told that they are
    healthy and haven't been told to stop. It tells everything until it is heard, as agents do."""

    def __init__(self, world: ServiceWorld, name: str, bounds: Bounds) -> None:
        super().__init__(world, name)
        self.there: set[str] = set()
        self.serving: set[str] = set()
        self._bounds = bounds
        bounds.nodes.append(self)

    def _begin(self, arn: str, work: Any) -> None:
        self.there.add(arn)
        self._bounds.note()
        super()._begin(arn, work)

    def _end(self, arn: str, seconds: float, exit_code: int) -> None:
        self.serving.discard(arn)
        super()._end(arn, seconds, exit_code)
        self._bounds.note()

    async def _told(self, arn: str, status: str, **container: Any) -> None:
        if status == "STOPPED":
            self.serving.discard(arn)
            self.there.discard(arn)
            self._bounds.note()
        await self._until_heard(lambda: super(Watched, self)._told(arn, status, **container))

    async def _healthy(self, arn: str, status: str) -> None:
        (self.serving.add if status == "HEALTHY" else self.serving.discard)(arn)
        self._bounds.note()
        await self._until_heard(lambda: super(Watched, self)._healthy(arn, status))

    async def _until_heard(self, tell: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await asyncio.wait_for(tell(), 5.0)
            except Exception:
                await asyncio.sleep(0.2)


class Bounds:
    """The fewest containers that ever served since ``begin``, and the most that there were."""

    def __init__(self) -> None:
        self.nodes: list[Watched] = []
        self.least, self.most = 1 << 30, 0

    def begin(self) -> None:
        self.least, self.most = 1 << 30, 0
        self.note()

    def note(self) -> None:
        self.least = min(self.least, sum(len(node.serving) for node in self.nodes))
        self.most = max(self.most, sum(len(node.there) for node in self.nodes))


class Reaper:
    """A journal's faults: the ``at``-th append from ``begin`` is the control plane's last. ``outcome``: it has landed,
    or nobody knows whether it was ``kept`` or ``lost``."""

    def __init__(self, at: int, outcome: Any) -> None:
        self._at, self._outcome, self._on = at, outcome, False
        self.count, self.died = 0, asyncio.Event()

    def begin(self) -> None:
        self._on = True

    def __call__(self, commits: Sequence[Commit]) -> Fault:
        if not self._on or not commits or self.died.is_set():
            return Fault()
        self.count += 1
        if self.count != self._at:
            return Fault()
        self.died.set()
        return Fault(self._outcome)


async def watched(world: ServiceWorld, bounds: Bounds, name: str = "watched") -> Watched:
    made = Watched(world, name, bounds)
    await made.register(cpu=65536, memory=131072)
    await made.connect()
    world.nodes.append(made)
    return made


async def create(world: ServiceWorld, desired: int = 2, definition: str | None = None, **more: Any) -> str:
    """The ARN of the definition that it runs, healthy all."""
    world.conduct.setdefault("web", WELL)
    first = definition or await world.define("web", CHECKED)
    await world.call(
        "CreateService",
        cluster="demo",
        serviceName="shop",
        taskDefinition=first,
        desiredCount=desired,
        **{"launchType": "FARGATE", "networkConfiguration": world.network(), **more},
    )
    await world.until(lambda: rollouts(world) == ["COMPLETED"])
    return first


def rollouts(world: ServiceWorld) -> list[str]:
    return [deployment.rollout for deployment in world.deployments("shop")]


def definitions(world: ServiceWorld) -> list[str]:
    return sorted(t.definition_arn for t in world.tasks("shop"))


async def update(world: ServiceWorld, **more: Any) -> None:
    await world.call("UpdateService", **SHOP, **more)


async def completed(world: ServiceWorld, definition: str, count: int, seconds: float = 3600.0) -> None:
    """Waits until the service's deployment is all there is, and all of it runs."""
    await world.until(lambda: rollouts(world) == ["COMPLETED"] and not world.service("shop").short, seconds)
    assert definitions(world) == [definition] * count
    assert world.running("shop") == count


# --- kills ------------------------------------------------------------------------------------------------------------


def rolling(at: int, outcome: str) -> bool:
    """A rolling deployment whose control plane dies with an append; False where there aren't so many."""
    killed = False

    async def scene(world: ServiceWorld) -> None:
        nonlocal killed
        bounds = Bounds()
        node = await watched(world, bounds)
        bounds_of_it = {"minimumHealthyPercent": 100, "maximumPercent": 150}
        first = await create(world, deploymentConfiguration=bounds_of_it)
        second = await world.define("web", CHECKED)
        bounds.begin()
        assert bounds.least == 2
        await update(world, taskDefinition=second)
        world.journal.fault = reaper = Reaper(at, outcome)
        reaper.begin()
        ended = asyncio.create_task(world.until(lambda: rollouts(world) == ["COMPLETED"]))
        dead = asyncio.create_task(reaper.died.wait())
        await asyncio.wait([ended, dead], return_when=asyncio.FIRST_COMPLETED)
        killed = reaper.died.is_set()
        for waiting in (ended, dead):
            waiting.cancel()
        if killed:
            await world.restart()
        await completed(world, second, 2)
        await world.until(lambda: len(node.there) == 2)
        assert (bounds.least, bounds.most) == (2, 3), (at, outcome)
        everything = sorted(t.definition_arn for t in world.tasks("shop", all=True))
        assert everything == sorted([first] * 2 + [second] * 2), "nothing was started twice"
        assert len(world.rollouts("shop")) == 2

    play(scene, pool=False)
    return killed


@pytest.mark.parametrize("outcome", ["lands", "kept", "lost"])
def test_a_control_plane_dies_at_every_commit_of_a_rolling_deployment(outcome: str) -> None:
    kills = 0
    while rolling(kills + 1, outcome):
        kills += 1
    assert kills >= 20


def external(at: int, outcome: str) -> bool:
    """The same for a task set that takes the place of another."""
    killed = False

    async def scene(world: ServiceWorld) -> None:
        nonlocal killed
        bounds = Bounds()
        node = await watched(world, bounds)
        world.conduct["web"] = WELL
        first, second = await world.define("web", CHECKED), await world.define("web", CHECKED)
        await world.call(
            "CreateService",
            cluster="demo",
            serviceName="shop",
            desiredCount=2,
            deploymentController={"type": "EXTERNAL"},
        )
        blue = await task_set(world, first, "blue")
        await world.call("UpdateServicePrimaryTaskSet", **SHOP, primaryTaskSet=blue)
        await world.until(lambda: len(node.serving) == 2)
        world.journal.fault = reaper = Reaper(at, outcome)

        async def dies() -> None:
            await reaper.died.wait()
            await world.restart()

        bounds.begin()
        reaper.begin()
        undertaker = asyncio.create_task(dies())
        green = await answered(lambda: task_set(world, second, "green"))
        await world_until(world, lambda: len(node.serving) == 4)
        await answered(lambda: world.call("UpdateServicePrimaryTaskSet", **SHOP, primaryTaskSet=green))
        await answered(lambda: deleted(world, blue))
        await world_until(world, lambda: len(node.there) == 2 and definitions(world) == [second] * 2)
        await world_until(world, lambda: world.service("shop").steady_at is not None)
        killed = reaper.died.is_set()
        undertaker.cancel()
        assert (bounds.least, bounds.most) == (2, 4), (at, outcome)
        everything = sorted(t.definition_arn for t in world.tasks("shop", all=True))
        assert everything == sorted([first] * 2 + [second] * 2), "nothing was started twice"

    play(scene, pool=False)
    return killed


async def task_set(world: ServiceWorld, definition: str, token: str) -> str:
    made = await world.call(
        "CreateTaskSet",
        **SHOP,
        taskDefinition=definition,
        launchType="FARGATE",
        networkConfiguration=world.network(),
        scale={"value": 100.0, "unit": "PERCENT"},
        clientToken=token,
    )
    return str(made["taskSet"]["id"])


async def deleted(world: ServiceWorld, made: str) -> None:
    """Deletes a task set, which an earlier attempt may have done."""
    try:
        await world.call("DeleteTaskSet", **SHOP, taskSet=made, force=True)
    except AwsError as error:
        if error.code != "TaskSetNotFoundException":
            raise


async def answered(call: Callable[[], Awaitable[Any]]) -> Any:
    """What a call that may be repeated is answered with by a control plane that lives."""
    while True:
        try:
            return await asyncio.wait_for(call(), 5.0)
        except (StoreClosed, TimeoutError):
            await asyncio.sleep(0.1)


async def world_until(world: ServiceWorld, true: Callable[[], bool]) -> None:
    """``world.until`` whatever becomes of its store meanwhile."""
    async with asyncio.timeout(600):
        while True:
            with contextlib.suppress(StoreClosed):
                if true():
                    return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("outcome", ["lands", "kept", "lost"])
def test_a_control_plane_dies_at_every_commit_of_an_external_deployment(outcome: str) -> None:
    kills = 0
    while external(kills + 1, outcome):
        kills += 1
    assert kills >= 12
