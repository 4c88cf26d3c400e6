"""Deployments from the operations to the nodes and back, on virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_world import SCOPE
from launch_world import bridge
from service_world import Conduct, ServiceWorld, play

from homeport.services.ecs import deployments
from homeport.services.ecs.model.deployment import DEPLOYMENTS, REVISIONS
from homeport.services.ecs.model.service import part_arn
from homeport.services.ecs.scheduling import rollout

BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
WELL = Conduct(healthy=2.0)
CHECKED = {"name": "app", "image": "httpd:2.4", "healthCheck": {"command": ["CMD", "true"]}}
FAILS = Conduct(fails="CannotPullContainerError: no such image")


async def create(world: ServiceWorld, desired: int = 2, **more: Any) -> dict[str, Any]:
    answer = await world.call(
        "CreateService",
        cluster="demo",
        serviceName="shop",
        taskDefinition=await world.define("web", CHECKED),
        launchType="FARGATE",
        desiredCount=desired,
        networkConfiguration=world.network(),
        **more,
    )
    made: dict[str, Any] = answer["service"]
    return made


async def update(world: ServiceWorld, **more: Any) -> dict[str, Any]:
    answer = await world.call("UpdateService", cluster="demo", service="shop", **more)
    changed: dict[str, Any] = answer["service"]
    return changed


async def shown(world: ServiceWorld) -> dict[str, Any]:
    answer = await world.call("DescribeServices", cluster="demo", services=["shop"])
    service: dict[str, Any] = answer["services"][0]
    return service


async def rollouts(world: ServiceWorld) -> list[dict[str, Any]]:
    """Whole, the newest first."""
    briefs = (await world.call("ListServiceDeployments", cluster="demo", service="shop"))["serviceDeployments"]
    arns = [brief["serviceDeploymentArn"] for brief in briefs]
    answer = await world.call("DescribeServiceDeployments", serviceDeploymentArns=arns)
    assert answer["failures"] == []
    by_arn = {made["serviceDeploymentArn"]: made for made in answer["serviceDeployments"]}
    for brief in briefs:
        whole = by_arn[brief["serviceDeploymentArn"]]
        same = {"status", "statusReason", "createdAt", "startedAt", "finishedAt", "serviceArn", "clusterArn"}
        assert {m: brief[m] for m in same & set(brief)} == {m: whole[m] for m in same & set(whole)}
        assert brief["targetServiceRevisionArn"] == whole["targetServiceRevision"]["arn"]
    return [by_arn[arn] for arn in arns]


def over(world: ServiceWorld, status: str) -> bool:
    return world.rollouts("shop")[0].status == status


async def described_revision(world: ServiceWorld, arn: str) -> dict[str, Any]:
    (found,) = (await world.call("DescribeServiceRevisions", serviceRevisionArns=[arn]))["serviceRevisions"]
    revision: dict[str, Any] = found
    return revision


def test_a_failed_update_goes_back_and_says_so_everywhere() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = WELL
        made = await create(world, deploymentConfiguration=BREAKER)
        await world.steady("shop")
        kept = {t.id for t in world.tasks("shop")}
        bad = await world.define("web", CHECKED)
        world.conduct[bad.rpartition("/")[2]] = FAILS
        await update(world, taskDefinition=bad)
        await world.until(lambda: over(world, "ROLLBACK_IN_PROGRESS"))
        service = await shown(world)
        assert [d["status"] for d in service["deployments"]][:1] == ["PRIMARY"]
        back = service["deployments"][0]
        assert back["id"] == made["deployments"][0]["id"]
        assert service["taskDefinition"] == back["taskDefinition"] == made["taskDefinition"]
        text = f"ECS deployment circuit breaker: rolling back to deploymentId {back['id']}."
        assert (back["rolloutState"], back["rolloutStateReason"]) == ("IN_PROGRESS", text)
        await world.until(lambda: over(world, "ROLLBACK_SUCCESSFUL"))
        assert {t.id for t in world.tasks("shop")} == kept
        service = await shown(world)
        assert [(d["status"], d["rolloutState"]) for d in service["deployments"]] == [("PRIMARY", "COMPLETED")]
        newest, first = await rollouts(world)
        assert newest["rollback"]["serviceRevisionArn"] == first["targetServiceRevision"]["arn"]
        assert newest["sourceServiceRevisions"] == [
            {
                "arn": first["targetServiceRevision"]["arn"],
                "requestedTaskCount": 2,
                "runningTaskCount": 2,
                "pendingTaskCount": 0,
            }
        ]
        assert newest["targetServiceRevision"]["runningTaskCount"] == 0
        breaker = newest["deploymentCircuitBreaker"]
        assert (breaker["status"], breaker["threshold"]) == ("TRIGGERED", 3)
        assert breaker["failureCount"] >= 3
        assert newest["createdAt"] <= newest["startedAt"] <= newest["rollback"]["startedAt"] <= newest["finishedAt"]
        assert "stoppedAt" not in newest
        await world.steady("shop")
        events = world.events("shop")
        failed = next(n for n, text in enumerate(events) if text.endswith("deployment failed: tasks failed to start."))
        assert events[failed + 1] == f"(service shop) rolling back to deployment {back['id']}."
        assert events[-1] == "(service shop) has reached a steady state."

    play(scene)


def test_a_rollback_to_a_definition_that_was_deregistered_and_whose_tasks_are_gone() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = WELL
        bounds = {"minimumHealthyPercent": 0, "maximumPercent": 100}
        made = await create(world, deploymentConfiguration={**BREAKER, **bounds})
        await world.steady("shop")
        first = {t.id for t in world.tasks("shop")}
        bad = await world.define("web", CHECKED)
        world.conduct[bad.rpartition("/")[2]] = FAILS
        await update(world, taskDefinition=bad)
        await world.call("DeregisterTaskDefinition", taskDefinition=made["taskDefinition"])
        await world.until(lambda: over(world, "ROLLBACK_SUCCESSFUL"))
        assert first.isdisjoint(t.id for t in world.tasks("shop"))
        assert {t.definition_arn for t in world.tasks("shop")} == {made["taskDefinition"]}
        assert world.running("shop") == 2

    play(scene)


def test_a_rollback_by_hand_works_without_having_been_configured() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = WELL
        made = await create(world)
        await world.steady("shop")
        slow = await world.define("web", CHECKED)
        world.conduct[slow.rpartition("/")[2]] = Conduct(healthy=None)
        await update(world, taskDefinition=slow)
        await world.until(lambda: len(world.tasks("shop")) == 4)
        arn = (await rollouts(world))[0]["serviceDeploymentArn"]
        assert await world.call("StopServiceDeployment", serviceDeploymentArn=arn) == {"serviceDeploymentArn": arn}
        again = await world.call("StopServiceDeployment", serviceDeploymentArn=arn, stopType="ROLLBACK")
        assert again == {"serviceDeploymentArn": arn}
        await world.until(lambda: over(world, "ROLLBACK_SUCCESSFUL"))
        assert {t.definition_arn for t in world.tasks("shop")} == {made["taskDefinition"]}
        assert (await shown(world))["taskDefinition"] == made["taskDefinition"]
        code, text = await world.refused("StopServiceDeployment", serviceDeploymentArn=arn)
        assert (code, "ROLLBACK_SUCCESSFUL" in text) == ("ConflictException", True)
        code, text = await world.refused("StopServiceDeployment", serviceDeploymentArn=arn, stopType="ABORT")
        assert (code, "ABORT" in text) == ("UnsupportedFeatureException", True)
        code, _ = await world.refused("ContinueServiceDeployment", serviceDeploymentArn=arn, hookId="h")
        assert code == "InvalidParameterException"

    play(scene)


def test_a_rollback_of_a_forced_deployment_whose_older_tasks_are_all_there() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = WELL
        await create(world, 1)
        await world.steady("shop")
        (only,) = world.tasks("shop")
        await update(world, forceNewDeployment=True)
        await world.call(
            "StopServiceDeployment",
            serviceDeploymentArn=part_arn(
                world.service("shop").arn, "service-deployment", world.rollouts("shop")[0].id
            ),
        )
        await world.until(lambda: over(world, "ROLLBACK_SUCCESSFUL"), 60)
        await world.steady("shop")
        assert world.tasks("shop") == [world.task(only.arn)]

    play(scene)


def test_unhealthy_tasks_roll_it_back() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = WELL
        await create(world, 1, deploymentConfiguration=BREAKER)
        await world.steady("shop")
        bad = await world.define("web", CHECKED)
        world.conduct[bad.rpartition("/")[2]] = Conduct(unhealthy=5.0)
        await update(world, taskDefinition=bad)
        await world.until(lambda: over(world, "ROLLBACK_SUCCESSFUL"))
        assert world.rollouts("shop")[0].failure_count == 3
        assert all(t.definition_arn != bad for t in world.tasks("shop"))

    play(scene)


def test_healthy_and_then_not_counts_from_its_last_good_moment() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = WELL
        settings = {"enable": True, "rollback": True}
        await create(world, 1, deploymentConfiguration={"deploymentCircuitBreaker": settings})
        await world.steady("shop")
        bad = await world.define("web", CHECKED)
        world.conduct[bad.rpartition("/")[2]] = Conduct(healthy=1.0, unhealthy=20.0)
        await update(world, taskDefinition=bad)
        await world.until(lambda: over(world, "SUCCESSFUL"))
        assert world.deployments("shop")[0].rollout == "COMPLETED", "it was well, once"

    play(scene)


def test_an_update_in_mid_rollback_and_one_right_after_it() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = WELL
        bounds = {"minimumHealthyPercent": 0, "maximumPercent": 100}
        await create(world, deploymentConfiguration={**BREAKER, **bounds})
        await world.steady("shop")
        bad = await world.define("web", CHECKED)
        world.conduct[bad.rpartition("/")[2]] = FAILS
        good = await world.define("web", CHECKED)
        await update(world, taskDefinition=bad)
        await world.until(lambda: over(world, "ROLLBACK_IN_PROGRESS"))
        await update(world, taskDefinition=bad)
        await update(world, taskDefinition=good)
        await world.until(lambda: over(world, "SUCCESSFUL"))
        assert {t.definition_arn for t in world.tasks("shop")} == {good}
        assert [r["status"] for r in await rollouts(world)] == ["SUCCESSFUL", "STOPPED", "STOPPED", "SUCCESSFUL"]

    play(scene)


def test_early_success_leaves_the_rest_for_later() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = WELL
        early = {"enable": True, "healthyPercent": 50, "sourceServiceRevisionCleanup": "DEFERRED"}
        await create(
            world,
            4,
            deploymentConfiguration={
                "minimumHealthyPercent": 50,
                "maximumPercent": 150,
                "earlySuccessCriteria": early,
                "bakeTimeInMinutes": 1,
            },
        )
        await world.until(lambda: over(world, "SUCCESSFUL"))
        began = world.clock.wall()
        new = await world.define("web", CHECKED)
        world.conduct["web"] = Conduct(healthy=2.0, stops=400.0)
        await update(world, taskDefinition=new)
        await world.until(lambda: over(world, "SUCCESSFUL"))
        assert 60 <= world.clock.wall() - began < 100
        service = await shown(world)
        assert [d["rolloutState"] for d in service["deployments"]] == ["COMPLETED", "COMPLETED"]
        await world.steady("shop")
        assert {t.definition_arn for t in world.tasks("shop")} == {new}

    play(scene)


def test_all_tasks_of_a_deployment_run_what_its_first_one_was_given() -> None:
    async def scene(world: ServiceWorld) -> None:
        loose = {**CHECKED, "name": "side", "versionConsistency": "disabled", "essential": False}
        world.conduct["pinned"] = Conduct(healthy=1.0, digest="sha256:" + "1" * 64)
        await world.define("pinned", CHECKED, loose)
        await world.call(
            "CreateService",
            cluster="demo",
            serviceName="shop",
            taskDefinition="pinned",
            launchType="FARGATE",
            desiredCount=1,
            networkConfiguration=world.network(),
        )
        await world.steady("shop")
        world.conduct["pinned"] = Conduct(healthy=1.0, digest="sha256:" + "2" * 64)
        first = world.tasks("shop")[0]
        world.nodes[0].kill(first.arn)
        await world.until(lambda: [t.id for t in world.tasks("shop")] not in ([], [first.id]))
        assert world.tasks("shop")[0].image_digests == {"app": "sha256:" + "1" * 64}
        (made,) = await rollouts(world)
        revision = await described_revision(world, made["targetServiceRevision"]["arn"])
        assert revision["containerImages"] == [
            {"containerName": "app", "image": "httpd:2.4", "imageDigest": "sha256:" + "1" * 64},
            {"containerName": "side", "image": "httpd:2.4"},
        ]
        await update(world, forceNewDeployment=True)
        await world.until(lambda: over(world, "SUCCESSFUL") and len(world.rollouts("shop")) == 2)
        forced = await described_revision(world, (await rollouts(world))[0]["targetServiceRevision"]["arn"])
        assert forced["containerImages"][0]["imageDigest"] == "sha256:" + "2" * 64
        assert forced["taskDefinition"] == revision["taskDefinition"]
        assert (forced["launchType"], forced["platformVersion"]) == ("FARGATE", "1.4.0")
        assert forced["networkConfiguration"]["awsvpcConfiguration"]["subnets"] == world.subnets()[:1]

    play(scene)


def test_another_capacity_provider_in_mid_rollback_is_what_the_rollback_deploys() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = WELL
        await create(world, 1, deploymentConfiguration=BREAKER)
        await world.steady("shop")
        slow = await world.define("web", CHECKED)
        world.conduct[slow.rpartition("/")[2]] = Conduct(stops=30.0)
        await update(world, taskDefinition=slow)
        await world.until(lambda: world.running("shop") == 2)
        arn = (await rollouts(world))[0]["serviceDeploymentArn"]
        await world.call("StopServiceDeployment", serviceDeploymentArn=arn)
        await world.until(lambda: over(world, "ROLLBACK_IN_PROGRESS"))
        spot = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
        providers = {"capacityProviders": ["FARGATE_SPOT"], "defaultCapacityProviderStrategy": []}
        await world.call("PutClusterCapacityProviders", cluster="demo", **providers)
        await update(world, capacityProviderStrategy=spot)
        await world.until(lambda: over(world, "ROLLBACK_SUCCESSFUL"))
        service = await shown(world)
        back = (await rollouts(world))[0]["rollback"]["serviceRevisionArn"]
        assert back == service["currentServiceRevisions"][0]["arn"]
        revision = await described_revision(world, back)
        assert revision["capacityProviderStrategy"][0]["capacityProvider"] == "FARGATE_SPOT"

    play(scene)


def test_daemons_are_rolled_back_too() -> None:
    async def scene(world: ServiceWorld) -> None:
        for name in ("one", "two"):
            await world.instance(name)
        good = await bridge(world)
        await world.call(
            "CreateService",
            cluster="demo",
            serviceName="shop",
            taskDefinition=good,
            schedulingStrategy="DAEMON",
            deploymentConfiguration=BREAKER,
        )
        await world.until(lambda: over(world, "SUCCESSFUL"))
        assert len(world.tasks("shop")) == 2
        bad = await bridge(world)
        world.conduct[bad.rpartition("/")[2]] = FAILS
        await update(world, taskDefinition=bad)
        await world.until(lambda: over(world, "ROLLBACK_SUCCESSFUL"))
        tasks = world.tasks("shop")
        assert {t.definition_arn for t in tasks} == {good}
        assert len({t.instance for t in tasks}) == len(tasks) == 2

    play(scene)


def test_what_is_over_is_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "KEPT_SECONDS", 300.0)  # instead of 90 days
    monkeypatch.setattr(deployments, "KEPT_SECONDS", 300.0)

    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = WELL
        await create(world, 1)
        await world.steady("shop")
        await update(world, forceNewDeployment=True)
        await world.until(lambda: len(world.rollouts("shop")) == 2 and over(world, "SUCCESSFUL"))
        await world.until(lambda: len(world.rollouts("shop")) == 0)
        assert (await shown(world))["deployments"][0]["rolloutState"] == "COMPLETED"
        kept = world.store.view().find(DEPLOYMENTS, SCOPE, "service", "demo/shop")
        assert sorted(d.role for d in kept) == ["INACTIVE", "PRIMARY"], "a rollback could need it"
        await update(world, forceNewDeployment=True)
        await world.until(lambda: over(world, "SUCCESSFUL"))
        await world.until(lambda: world.store.view().count(DEPLOYMENTS, SCOPE, "service", "demo/shop") == 2)
        assert world.store.view().count(REVISIONS, SCOPE, "service", "demo/shop") == 2

    play(scene)


@pytest.mark.parametrize("place", range(0, 48, 4))
def test_a_control_plane_that_dies_in_a_rollback_goes_on_with_it(place: int) -> None:
    """It dies after so many commits of the story."""

    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = WELL
        made = await create(world, deploymentConfiguration=BREAKER)
        await world.steady("shop")
        bad = await world.define("web", CHECKED)
        world.conduct[bad.rpartition("/")[2]] = FAILS
        await update(world, taskDefinition=bad)
        version = world.store.version
        await world.until(lambda: world.store.version >= version + place or over(world, "ROLLBACK_SUCCESSFUL"))
        await world.restart()
        await world.until(lambda: over(world, "ROLLBACK_SUCCESSFUL"))
        await world.steady("shop")
        assert {t.definition_arn for t in world.tasks("shop")} == {made["taskDefinition"]}
        failed = [t for t in world.tasks("shop", all=True) if t.stop_code == "TaskFailedToStart"]
        assert 3 <= world.rollouts("shop")[0].failure_count <= len(failed), "each counts once"

    play(scene)
