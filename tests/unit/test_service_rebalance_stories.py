"""Services whose tasks are evened out over availability zones, from CreateService to the nodes, on virtual time."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ecs_world import SCOPE
from launch_world import bridge
from msgspec.structs import replace
from service_world import ServiceWorld, play

from homeport.services.ecs.model.deployment import REVISIONS
from homeport.services.ecs.model.service import SERVICES
from homeport.services.ecs.model.task import TaskStatus
from homeport.services.ecs.model.waiting import Network
from homeport.store import Tx

ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")


def zones(world: ServiceWorld) -> dict[str | None, int]:
    """RUNNING tasks by zone."""
    return dict(Counter(t.availability_zone for t in world.tasks("web") if t.last_status == TaskStatus.RUNNING))


def even(world: ServiceWorld, number: int) -> bool:
    there = zones(world)
    return len(there) == number and max(there.values()) - min(there.values()) <= 1


async def on_instances(world: ServiceWorld, desired: int, **members: Any) -> None:
    await bridge(world)
    given = {"serviceName": "web", "taskDefinition": "bridge", "desiredCount": desired, "launchType": "EC2"}
    await world.call("CreateService", cluster="demo", **given, **members)


async def on_fargate(world: ServiceWorld, *, subnets: int, **members: Any) -> None:
    network = {"awsvpcConfiguration": {"subnets": world.subnets()[:subnets]}}
    given = {"serviceName": "web", "taskDefinition": "web", "desiredCount": 6, "launchType": "FARGATE"}
    await world.call("CreateService", cluster="demo", networkConfiguration=network, **given, **members)


async def lopsided(world: ServiceWorld) -> None:
    """A service that got two more zones after its tasks were placed, without a deployment that would move them."""
    await on_fargate(world, subnets=1)
    await world.steady("web")

    def widen(tx: Tx) -> None:
        subnets = world.subnets()[:3]
        for revision in tx.find(REVISIONS, SCOPE, "service", "demo/web"):
            network = Network(tuple(subnets), revision.configuration.network.groups)
            wider = replace(revision.configuration, network=network)
            tx.put(REVISIONS, SCOPE, replace(revision, configuration=wider))
        tx.put(SERVICES, SCOPE, replace(world.service("web"), tags={"wide": ""}))

    await world.store.update(widen, "test")
    assert len(zones(world)) == 1


def test_tasks_on_fargate_are_spread_over_zones_from_the_start() -> None:
    async def scene(world: ServiceWorld) -> None:
        for subnet in world.subnets()[1:3]:  # which have fewer free addresses then
            alone = {"awsvpcConfiguration": {"subnets": [subnet]}}
            await world.run_task(count=6, networkConfiguration=alone)
        await on_fargate(world, subnets=3)
        await world.steady("web")
        assert list(zones(world).values()) == [2, 2, 2]
        assert len(world.tasks("web", all=True)) == 6

    play(scene)


def test_a_steady_service_on_fargate_is_spread_over_the_zones_of_its_subnets() -> None:
    async def scene(world: ServiceWorld) -> None:
        await lopsided(world)
        least = 6

        def done() -> bool:
            nonlocal least
            least = min(least, world.running("web"))
            return even(world, 3) and world.service("web").unbalanced_at is None

        await world.until(done)
        assert (least, world.running("web")) == (6, 6)
        (full,) = {t.availability_zone for t in world.tasks("web", all=True) if t.stop_code}
        told = "\n".join(world.events("web"))
        assert f"(service web) is not AZ balanced with 6 tasks in {full}, 0 tasks in " in told
        assert "has started 2 tasks in " in told
        assert f"(service web) has stopped 4 running tasks in {full} due to AZ rebalancing: (task " in told
        assert "(service web) is AZ balanced with 2 tasks in " in told
        made = len(world.tasks("web", all=True))
        await world.clock.sleep(1800)
        assert len(world.tasks("web", all=True)) == made == 10

    play(scene)


def test_a_control_plane_that_is_killed_in_between_takes_no_task_for_one_too_many() -> None:
    async def scene(world: ServiceWorld) -> None:
        await lopsided(world)
        await world.until(lambda: len(world.service("web").extra) == 4)
        await world.restart()
        await world.until(lambda: even(world, 3) and world.service("web").unbalanced_at is None)
        assert len(world.tasks("web", all=True)) == 10

    play(scene)


def test_instances_of_a_new_zone_are_made_use_of() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.instance("a", zone=ZONES[0])
        await on_instances(world, 4)
        await world.steady("web")
        assert zones(world) == {ZONES[0]: 4}
        await world.instance("b", zone=ZONES[1])
        await world.until(lambda: zones(world) == {ZONES[0]: 2, ZONES[1]: 2})
        await world.until(lambda: world.service("web").unbalanced_at is None)

    play(scene, pool=False)


def test_a_zone_without_room_is_told_of_and_used_when_it_has_some() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.instance("a", zone=ZONES[0])
        full = await world.instance("b", zone=ZONES[1])
        await bridge(world, "job", container={"cpu": 4096})
        job = await world.call("StartTask", cluster="demo", taskDefinition="job", containerInstances=[full.arn])
        await world.becomes(job["tasks"][0]["taskArn"], "RUNNING")
        await on_instances(world, 4)
        text = (
            f"(service web) is unable to place a task in {ZONES[1]} because no container instance met all of its "
            "requirements."
        )
        await world.until(lambda: text in world.events("web"))
        assert zones(world) == {ZONES[0]: 4}
        await world.call("StopTask", cluster="demo", task=job["tasks"][0]["taskArn"])
        await world.until(lambda: zones(world) == {ZONES[0]: 2, ZONES[1]: 2})
        assert world.events("web").count(text) == 1

    play(scene, pool=False)


def test_a_deployment_ends_it_and_nothing_is_left_over() -> None:
    async def scene(world: ServiceWorld) -> None:
        await lopsided(world)
        await world.until(lambda: len(world.service("web").extra) == 4)
        again = await world.define("web")
        await world.call("UpdateService", cluster="demo", service="web", taskDefinition=again)
        await world.until(lambda: "(service web) stopped AZ Rebalancing." in world.events("web"))
        await world.until(lambda: len(world.deployments("web")) == 1)
        assert list(zones(world).values()) == [6]  # the update knows of one subnet alone
        assert {t.definition_arn for t in world.tasks("web")} == {again}

    play(scene)


def test_a_service_that_is_scaled_to_nothing_meanwhile_keeps_nothing() -> None:
    async def scene(world: ServiceWorld) -> None:
        await lopsided(world)
        await world.until(lambda: len(world.service("web").extra) == 4)
        await world.call("UpdateService", cluster="demo", service="web", desiredCount=0)
        await world.until(lambda: not world.tasks("web"), 300)
        await world.steady("web")

    play(scene)


def test_without_rebalancing_tasks_stay_where_they_are() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.instance("a", zone=ZONES[0])
        await on_instances(world, 4, availabilityZoneRebalancing="DISABLED")
        await world.steady("web")
        await world.instance("b", zone=ZONES[1])
        await world.clock.sleep(3600)
        assert zones(world) == {ZONES[0]: 4}

    play(scene, pool=False)
