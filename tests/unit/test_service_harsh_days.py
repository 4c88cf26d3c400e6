"""Services whose images, nodes, clusters or clocks are bad, on virtual time."""

from __future__ import annotations

import asyncio

import pytest
from launch_world import bridge
from service_world import Conduct, ServiceWorld, play
from test_service_bad_days import CHECKED, WELL, Bounds, completed, create, definitions, rollouts, update, watched

DAY = 86_400.0
BAD = "web:3"  # what a service is updated to: of its definitions the world makes one, ``create`` another
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


@pytest.mark.parametrize("seconds", [0.1, 35.0])
def test_an_image_that_crashes_before_it_counts_as_healthy_takes_nothing_from_the_old_one(seconds: float) -> None:
    """Without a check a task counts as healthy 40 s after it runs; a crash loop never gets there."""

    async def scene(world: ServiceWorld) -> None:
        bounds = Bounds()
        await watched(world, bounds)
        world.conduct |= {"web": WELL, BAD: Conduct(exits=seconds)}
        first = await create(world)
        bounds.begin()
        await update(world, taskDefinition=await world.define("web"))
        await asyncio.sleep(watched_for := max(60.0, 10 * seconds))
        assert rollouts(world) == ["IN_PROGRESS", "COMPLETED"]
        assert definitions(world).count(first) == 2
        assert (bounds.least, bounds.most) == (2, 4)
        crashed = [t for t in world.tasks("shop", all=True) if t.stop_code == "EssentialContainerExited"]
        assert watched_for / (seconds + 2.0) < len(crashed) < 2 * watched_for / seconds
        third = await world.define("web")
        await update(world, taskDefinition=third)
        await completed(world, third, 2)

    play(scene, pool=False, kept=100_000)


def test_one_that_never_gets_healthy_is_rolled_back_and_one_without_a_breaker_stands_still() -> None:
    async def scene(world: ServiceWorld) -> None:
        bounds = Bounds()
        await watched(world, bounds)
        world.conduct |= {"web": WELL, BAD: Conduct(unhealthy=5.0), "web:4": Conduct(unhealthy=5.0)}
        first = await create(world)
        bounds.begin()
        await update(world, taskDefinition=await world.define("web", CHECKED))
        await asyncio.sleep(120)
        assert rollouts(world) == ["IN_PROGRESS", "COMPLETED"]
        sick = await world.define("web", CHECKED)
        await update(world, taskDefinition=sick, deploymentConfiguration=BREAKER)
        await completed(world, first, 2)
        assert next(r.status for r in world.rollouts("shop")) == "ROLLBACK_SUCCESSFUL"
        assert bounds.least == 2
        assert bounds.most <= 4

    play(scene, pool=False, kept=100_000)


def test_one_that_gets_healthy_and_then_not_is_replaced_start_first() -> None:
    async def scene(world: ServiceWorld) -> None:
        bounds = Bounds()
        await watched(world, bounds)
        world.conduct["web"] = Conduct(healthy=2.0, unhealthy=60.0)
        first = await create(world)
        second = await world.define("web", CHECKED)
        bounds.begin()
        await update(world, taskDefinition=second)
        await world.until(lambda: rollouts(world) == ["COMPLETED"])
        assert (bounds.least, bounds.most) == (2, 4), "the deployment keeps to its bounds"
        await asyncio.sleep(600)
        assert bounds.most == 4
        replaced = [t for t in world.tasks("shop", all=True) if t.desired_status == "STOPPED"]
        of_second = [t for t in replaced if t.definition_arn == second]
        assert len(of_second) >= 2 * 600 // 70 - 2
        assert {t.definition_arn for t in world.tasks("shop")} == {second}
        assert {t.definition_arn for t in replaced} == {first, second}

    play(scene, pool=False, kept=100_000)


def test_an_image_that_cant_be_pulled_is_tried_less_and_less_and_at_once_after_an_update() -> None:
    async def scene(world: ServiceWorld) -> None:
        bounds = Bounds()
        await watched(world, bounds)
        world.conduct |= {"web": WELL, BAD: Conduct(fails="CannotPullContainerError: no such image")}
        await create(world)
        bounds.begin()
        bad = await world.define("web", CHECKED)
        await update(world, taskDefinition=bad)
        starts = []
        for _ in range(4):
            await asyncio.sleep(1800)
            starts.append(sum(t.definition_arn == bad for t in world.tasks("shop", all=True)))
        assert starts[-1] - starts[-2] <= 4, "27 minutes between two rounds, at last"
        assert "(service shop) is unable to consistently start tasks successfully." in world.events("shop")
        good = await world.define("web", CHECKED)
        began = world.clock.mono()
        await update(world, taskDefinition=good)
        await completed(world, good, 2)
        assert world.clock.mono() - began < 30
        assert bounds.least == 2

    play(scene, pool=False, kept=100_000)


def test_a_node_is_lost_in_mid_deployment() -> None:
    async def scene(world: ServiceWorld) -> None:
        bounds = Bounds()
        nodes = [await watched(world, bounds, name) for name in ("one", "two")]
        await create(world, 4)
        second = await world.define("web", CHECKED)
        await update(world, taskDefinition=second)
        await world.until(lambda: any(t.definition_arn == second and t.started_at for t in world.tasks("shop")))
        lost, left = sorted(nodes, key=lambda node: -len(node.there))
        there = set(lost.there)
        await lost.die()
        began = world.clock.mono()
        await completed(world, second, 4)
        assert 50 < world.clock.mono() - began < 90, "a Fargate node is given up after a minute"
        assert not there & {t.arn for t in world.tasks("shop")}
        assert left.there == {t.arn for t in world.tasks("shop")}

    play(scene, pool=False)


def test_a_full_cluster_says_so_and_goes_on_when_there_is_room() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.instance("small", cpu=600, memory=2048)
        first = await bridge(world)
        await world.call(
            "CreateService",
            cluster="demo",
            serviceName="shop",
            taskDefinition=first,
            desiredCount=2,
            launchType="EC2",
        )
        await world.until(lambda: rollouts(world) == ["COMPLETED"])
        second = await bridge(world)
        await update(world, taskDefinition=second)
        await asyncio.sleep(3600)
        assert rollouts(world) == ["IN_PROGRESS", "COMPLETED"]
        assert world.running("shop") == 2
        unable = [m for m in world.events("shop") if "unable to place a task" in m]
        assert len(unable) == 1, "told once, not again and again"
        assert "insufficient CPU units available" in unable[0]
        await world.instance("another", cpu=600, memory=2048)
        await completed(world, second, 2, 60)

    play(scene, pool=False)


@pytest.mark.parametrize("jump", [DAY, -DAY, 41.0, -41.0])
def test_clocks_that_jump_neither_stop_tasks_nor_stop_the_deployment(jump: float) -> None:
    async def scene(world: ServiceWorld) -> None:
        bounds = Bounds()
        await watched(world, bounds)
        world.conduct["web"] = WELL
        await create(world)
        await world.steady("shop")
        before = {t.id for t in world.tasks("shop")}
        bounds.begin()
        world.clock.epoch += jump
        await asyncio.sleep(120)
        assert {t.id for t in world.tasks("shop")} == before
        second = await world.define("web", CHECKED)
        await update(world, taskDefinition=second)
        await asyncio.sleep(1.5)
        world.clock.epoch -= jump
        began = world.clock.mono()
        await completed(world, second, 2)
        assert world.clock.mono() - began < 120
        assert (bounds.least, bounds.most) == (2, 4)

    play(scene, pool=False)


def test_five_hundred_services_deploy_at_once() -> None:
    async def scene(world: ServiceWorld) -> None:
        bounds = Bounds()
        for number in range(10):
            await watched(world, bounds, f"n{number}")
        world.conduct["web"] = WELL
        names = [f"s{number}" for number in range(500)]

        async def rolled() -> None:
            await world.until(lambda: all([d.rollout for d in world.deployments(n)] == ["COMPLETED"] for n in names))

        for name in names:
            await world.raw_service(name, 1)
        await rolled()
        second = await world.define("web", CHECKED)
        bounds.begin()
        began = world.clock.mono()
        await asyncio.gather(*(world.raw_update(name, second) for name in names))
        await rolled()
        assert world.clock.mono() - began < 30
        assert bounds.least == 500
        assert [t.definition_arn for n in names for t in world.tasks(n)] == [second] * 500

    play(scene, pool=False, kept=100_000)
