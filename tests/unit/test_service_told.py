"""What ``homeport status SERVICE`` is told: which service, what fails, and how it ended."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_world import ACCOUNT, REGION, SCOPE
from msgspec.structs import replace
from service_world import CLUSTER, Conduct, ServiceWorld, play

from homeport.core.errors import AwsError
from homeport.services import ecs
from homeport.services.ecs import service_status
from homeport.services.ecs.model.deployment import Deployment, ServiceDeployment
from homeport.services.ecs.model.service import Service
from homeport.services.ecs.model.task_set import TaskSet

SERVICE = Service(
    cluster="demo",
    cluster_arn=CLUSTER,
    cluster_generation=1,
    name="web",
    created_at=1.0,
    created_by="me",
    configuration=None,
    desired=2,
    steady_at=5.0,
)
DONE = Deployment(
    id="1", service="demo/web", revision="1", number=1, created_at=1.0, updated_at=1.0, rollout="COMPLETED"
)
NEWEST = ServiceDeployment(
    id="s",
    service="demo/web",
    number=1,
    deployment="1",
    target="1",
    sources=(),
    created_at=1.0,
    updated_at=1.0,
    configuration={},
    status="SUCCESSFUL",
)
STOPPED = replace(NEWEST, status="STOPPED")
BACK = replace(NEWEST, status="ROLLBACK_SUCCESSFUL")


@pytest.mark.parametrize(
    ("service", "rollout", "newest", "counts", "expected"),
    [
        ({}, "COMPLETED", NEWEST, (2, 0), "steady"),
        ({}, "COMPLETED", NEWEST, (1, 1), None),
        ({}, "COMPLETED", NEWEST, (3, 0), None),
        ({"steady_at": None}, "COMPLETED", NEWEST, (2, 0), None),
        ({}, "IN_PROGRESS", replace(NEWEST, status="IN_PROGRESS"), (2, 0), None),
        ({}, "IN_PROGRESS", replace(NEWEST, status="PENDING"), (2, 0), None),
        ({}, "IN_PROGRESS", replace(NEWEST, status="ROLLBACK_IN_PROGRESS"), (2, 0), None),
        ({"steady_at": None}, "FAILED", STOPPED, (0, 2), "failed"),
        ({}, "COMPLETED", BACK, (2, 0), "failed"),
        ({"steady_at": None}, "COMPLETED", BACK, (1, 1), None),
        ({"status": "DRAINING", "desired": 0}, "COMPLETED", NEWEST, (0, 0), None),
        ({"status": "INACTIVE", "desired": 0}, "COMPLETED", NEWEST, (0, 0), "gone"),
    ],
)
def test_the_verdict(
    service: dict[str, Any], rollout: Any, newest: ServiceDeployment, counts: tuple[int, int], expected: str | None
) -> None:
    deployments = [replace(DONE, rollout=rollout)]
    assert service_status.verdict(replace(SERVICE, **service), deployments, [], newest, counts) == expected


@pytest.mark.parametrize(
    ("more", "counts", "expected"),
    [
        ({"stability": "STEADY_STATE"}, (2, 0), "steady"),
        ({"stability": "STABILIZING"}, (2, 0), None),
        ({"stability": "STEADY_STATE"}, (1, 1), None),
        ({"stability": "STEADY_STATE", "status": "DRAINING"}, (2, 0), None),
    ],
)
def test_the_verdict_of_task_sets(more: dict[str, Any], counts: tuple[int, int], expected: str | None) -> None:
    configuration: Any = None
    made = TaskSet(id="1", service="demo/web", number=1, configuration=configuration, created_at=1.0, updated_at=1.0)
    sets = [replace(made, computed=2, **more)]
    assert service_status.verdict(replace(SERVICE, controller="EXTERNAL"), [], sets, None, counts) == expected


def test_services_are_named_in_every_way() -> None:
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:service"

    async def scene(world: ServiceWorld) -> None:
        await world.raw_service("web", 0)
        await world.raw_service("api", 0)
        view = world.store.view()
        for text in ("web", "demo/web", f"{arn}/demo/web", f"{arn}/web"):
            found = service_status.named(view, text)
            assert found is not None
            assert (found[0], found[1].id) == (SCOPE, "demo/web"), text
        elsewhere = f"{arn}/web".replace(REGION, "eu-west-1")
        for text in ("", "we", "other/web", f"{arn}/demo/none", elsewhere, f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/web"):
            assert service_status.named(view, text) is None, text
        await world.call("CreateCluster", clusterName="other")
        other = replace(world.service("web"), cluster="other", cluster_arn=CLUSTER.replace("demo", "other"))
        await world.store.update(lambda tx: tx.put(ecs.SERVICES, SCOPE, other), "test")
        with pytest.raises(AwsError, match=f"2 services are named 'web': {arn}/demo/web, {arn}/other/web"):
            service_status.named(world.store.view(), "web")
        inactive = replace(other, status="INACTIVE")
        await world.store.update(lambda tx: tx.put(ecs.SERVICES, SCOPE, inactive), "test")
        found = service_status.named(world.store.view(), "web")
        assert found is not None
        assert found[1].cluster == "demo"

    play(scene)


def test_what_fails_is_told_also_after_a_rollback() -> None:
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}

    async def scene(world: ServiceWorld) -> None:
        await world.raw_service("web", 1, deployment_configuration=breaker)
        await world.steady("web")
        steady = service_status.told(world.store.view(), SCOPE, world.service("web"))
        assert (steady["verdict"], steady["failing"]) == ("steady", [])
        world.conduct["web:2"] = Conduct(fails="CannotPullContainerError: no such image")
        await world.raw_update("web", await world.define("web"))
        going = service_status.told(world.store.view(), SCOPE, world.service("web"))
        assert going["verdict"] is None
        await world.until(lambda: world.rollouts("web")[0].status == "ROLLBACK_SUCCESSFUL")
        await world.steady("web")
        told = service_status.told(world.store.view(), SCOPE, world.service("web"))
        assert told["verdict"] == "failed"
        assert told["deployment"]["failures"] == told["deployment"]["threshold"] == 3
        assert [d["rolloutState"] for d in told["service"]["deployments"]] == ["COMPLETED"]
        assert {t["stopped_reason"] for t in told["failing"]} == {"CannotPullContainerError: no such image"}
        assert len(told["failing"]) == 3
        assert told["service"]["events"][0]["message"] == "(service web) has reached a steady state."

    play(scene)


def test_what_was_only_scaled_in_has_not_failed() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.raw_service("web", 2)
        await world.steady("web")
        await world.raw_update("web", desired=1)
        await world.steady("web")
        await world.until(lambda: service_status.listed(world.store.view(), 10)[0]["running"] == 1)
        assert service_status.told(world.store.view(), SCOPE, world.service("web"))["failing"] == []
        (listed,) = service_status.listed(world.store.view(), 10)
        assert {n: listed[n] for n in ("name", "cluster", "desired", "running", "pending", "rollout")} == {
            "name": "web",
            "cluster": "demo",
            "desired": 1,
            "running": 1,
            "pending": 0,
            "rollout": "COMPLETED",
        }

    play(scene)


@pytest.mark.parametrize("kind", ["service", "service-deployment", "service-revision", "deployment"])
def test_services_and_what_is_theirs_have_stories(kind: str) -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.raw_service("web", 1)
        await world.steady("web")
        shown = service_status.told(world.store.view(), SCOPE, world.service("web"))["service"]
        texts = {
            "service": shown["serviceArn"],
            "service-deployment": shown["serviceArn"].replace(":service/", ":service-deployment/")
            + f"/{world.rollouts('web')[0].id}",
            "service-revision": shown["currentServiceRevisions"][0]["arn"],
            "deployment": shown["deployments"][0]["id"],
        }
        found = ecs.locate(world.store.view(), texts[kind])
        assert found is not None
        story = await world.store.story(*found)
        assert story[0].old is None
        assert story[0].new["created_at"] > 0

    play(scene)
