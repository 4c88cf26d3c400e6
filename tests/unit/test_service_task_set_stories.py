"""Services with task sets, from CreateTaskSet to the nodes, on virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_world import SCOPE
from service_world import Conduct, ServiceWorld, play

from homeport.services.ecs.model.task_set import TASK_SETS
from homeport.services.ecs.views import task_set as views

SHOP = {"cluster": "demo", "service": "shop"}


async def external(world: ServiceWorld, desired: int = 2, **members: Any) -> dict[str, Any]:
    made = await world.call(
        "CreateService",
        cluster="demo",
        serviceName="shop",
        desiredCount=desired,
        deploymentController={"type": "EXTERNAL"},
        **members,
    )
    return made["service"]


async def task_set(world: ServiceWorld, definition: str = "web", scale: float | None = None, **members: Any) -> Any:
    params = {**SHOP, "taskDefinition": definition, "launchType": "FARGATE", "networkConfiguration": world.network()}
    if scale is not None:
        params["scale"] = {"value": scale, "unit": "PERCENT"}
    return (await world.call("CreateTaskSet", **{**params, **members}))["taskSet"]


async def shown(world: ServiceWorld) -> dict[str, Any]:
    return (await world.call("DescribeServices", cluster="demo", services=["shop"]))["services"][0]


async def described(world: ServiceWorld, *sets: str, **params: Any) -> list[dict[str, Any]]:
    named = {"taskSets": list(sets)} if sets else {}
    return (await world.call("DescribeTaskSets", **SHOP, **named, **params))["taskSets"]


async def stable(world: ServiceWorld, *sets: dict[str, Any]) -> None:
    """Waits until these sets are in STEADY_STATE."""
    ids = {s["id"].removeprefix("ecs-svc/") for s in sets}

    def steady() -> bool:
        view, service = world.store.view(), world.service("shop")
        found = [s for s in view.find(TASK_SETS, SCOPE, "service", service.id) if s.id in ids]
        shown = [views.task_set(view, SCOPE, service, s)["stabilityStatus"] for s in found]
        return shown == ["STEADY_STATE"] * len(ids)

    await world.until(steady)


async def gone(world: ServiceWorld, made: dict[str, Any]) -> None:
    await world.until(lambda: world.store.view().get(TASK_SETS, SCOPE, made["id"].removeprefix("ecs-svc/")) is None)


def of(world: ServiceWorld, made: dict[str, Any]) -> list[Any]:
    return [t for t in world.tasks("shop") if t.started_by == made["id"]]


def test_blue_and_green_change_places_by_hand() -> None:
    async def scene(world: ServiceWorld) -> None:
        again = await world.define("web")
        assert (await external(world))["taskSets"] == []
        blue = await task_set(world, externalId="blue")
        assert (blue["status"], blue["stabilityStatus"], blue["computedDesiredCount"]) == ("ACTIVE", "STABILIZING", 2)
        assert blue["taskSetArn"].endswith(":task-set/demo/shop/" + blue["id"])
        await stable(world, blue)
        answered = await world.call("UpdateServicePrimaryTaskSet", **SHOP, primaryTaskSet=blue["id"])
        assert answered["taskSet"]["status"] == "PRIMARY"
        green = await task_set(world, again, 50.0)
        await stable(world, green)
        assert (len(of(world, blue)), len(of(world, green))) == (2, 1)
        await world.call("UpdateTaskSet", **SHOP, taskSet=green["id"], scale={"value": 100.0, "unit": "PERCENT"})
        assert (await described(world, green["id"]))[0]["stabilityStatus"] == "STABILIZING"
        await stable(world, green)
        await world.call("UpdateServicePrimaryTaskSet", **SHOP, primaryTaskSet=green["taskSetArn"])
        service = await shown(world)
        assert service["taskDefinition"] == again
        assert [(s["id"], s["status"], s["runningCount"]) for s in service["taskSets"]] == [
            (green["id"], "PRIMARY", 2),
            (blue["id"], "ACTIVE", 2),
        ]
        leaving = await world.call("DeleteTaskSet", **SHOP, taskSet=blue["id"], force=True)
        assert leaving["taskSet"]["status"] == "DRAINING"
        await gone(world, blue)
        await world.steady("shop")
        assert {t.started_by for t in world.tasks("shop")} == {green["id"]}
        assert await described(world, blue["id"]) == []
        assert [s["id"] for s in (await shown(world))["taskSets"]] == [green["id"]]
        told = world.events("shop")
        assert any(t.startswith(f"(service shop, taskSet {blue['id']}) has started 2 tasks: (task ") for t in told)
        assert any(t.startswith(f"(service shop, taskSet {blue['id']}) has stopped 2 running tasks: ") for t in told)
        assert f"(service shop) updated computedDesiredCount for taskSet {green['id']} to 2." in told
        assert told[-1] == "(service shop) has reached a steady state."

    play(scene)


def test_sets_follow_the_desired_count_and_what_dies_is_replaced() -> None:
    async def scene(world: ServiceWorld) -> None:
        await external(world)
        half, whole = await task_set(world, scale=50.0), await task_set(world)
        await stable(world, half, whole)
        await world.call("UpdateService", cluster="demo", service="shop", desiredCount=5)
        await world.until(lambda: (len(of(world, half)), len(of(world, whole))) == (3, 5))
        await stable(world, half, whole)
        victim = of(world, half)[0]
        world.nodes[0].kill(victim.arn)
        await world.until(lambda: victim.id not in {t.id for t in of(world, half)})
        await stable(world, half)
        assert (len(of(world, half)), len(of(world, whole))) == (3, 5)
        await world.call("UpdateService", cluster="demo", service="shop", desiredCount=0)
        await world.until(lambda: not world.tasks("shop"))
        await stable(world, half, whole)

    play(scene)


def test_a_set_that_gets_unhealthy_has_its_tasks_replaced() -> None:
    async def scene(world: ServiceWorld) -> None:
        check = {"command": ["CMD", "true"], "interval": 5}
        await world.define("checked", {"name": "app", "image": "httpd:2.4", "healthCheck": check})
        world.conduct["checked"] = Conduct(healthy=2.0, unhealthy=60.0)
        await external(world, 1)
        made = await task_set(world, "checked")
        await stable(world, made)
        first = of(world, made)[0]
        await world.until(lambda: first.id not in {t.id for t in of(world, made)})
        assert len(of(world, made)) == 1
        assert world.task(first.arn).stopped_reason == "Task failed container health checks"

    play(scene)


def test_a_deleted_service_takes_its_sets_with_it() -> None:
    async def scene(world: ServiceWorld) -> None:
        await external(world)
        made = await task_set(world)
        await stable(world, made)
        code, _ = await world.refused("DeleteService", cluster="demo", service="shop")
        assert code == "InvalidParameterException"
        await world.call("UpdateService", cluster="demo", service="shop", desiredCount=0)
        code, _ = await world.refused("DeleteService", cluster="demo", service="shop")
        assert code == "InvalidParameterException"
        await world.call("DeleteService", cluster="demo", service="shop", force=True)
        await gone(world, made)
        assert (await shown(world))["status"] == "INACTIVE"
        assert (await world.refused("CreateTaskSet", **SHOP, taskDefinition="web"))[0] == "ServiceNotActiveException"
        assert (await world.refused("DescribeTaskSets", **SHOP))[0] == "ServiceNotActiveException"

    play(scene)


def test_a_token_makes_one_set_and_there_are_five_at_most() -> None:
    async def scene(world: ServiceWorld) -> None:
        await external(world, 0)
        first = await task_set(world, clientToken="once", tags=[{"key": "team", "value": "web"}])
        again = await task_set(world, clientToken="once", tags=[{"key": "team", "value": "web"}])
        assert again["id"] == first["id"]
        assert first["tags"] == [{"key": "team", "value": "web"}]
        params = {**SHOP, "taskDefinition": "web", "launchType": "FARGATE", "networkConfiguration": world.network()}
        code, text = await world.refused("CreateTaskSet", **params, clientToken="once")
        assert (code, text) == ("InvalidParameterException", "Creation of task set was not idempotent.")
        for _ in range(4):
            await task_set(world)
        assert (await world.refused("CreateTaskSet", **params))[0] == "LimitExceededException"
        assert [s["tags"] for s in await described(world, first["id"])] == [[]]
        assert (await described(world, first["id"], include=["TAGS"]))[0]["tags"] == first["tags"]
        answer = await world.call("DescribeTaskSets", **SHOP, taskSets=["ecs-svc/1", first["taskSetArn"]])
        assert [s["id"] for s in answer["taskSets"]] == [first["id"]]
        arn = first["taskSetArn"].rpartition("ecs-svc/")[0] + "ecs-svc/1"
        assert answer["failures"] == [{"arn": arn, "reason": "MISSING"}]

    play(scene)


@pytest.mark.parametrize(
    ("operation", "members", "code"),
    [
        ("CreateTaskSet", {"service": "none"}, "ServiceNotFoundException"),
        ("CreateTaskSet", {"cluster": "none"}, "ClusterNotFoundException"),
        ("CreateTaskSet", {"service": "rolling"}, "InvalidParameterException"),
        ("CreateTaskSet", {"taskDefinition": "none"}, "ClientException"),
        ("CreateTaskSet", {"networkConfiguration": {}}, "InvalidParameterException"),
        ("CreateTaskSet", {"scale": {"value": 100.5}}, "InvalidParameterException"),
        ("CreateTaskSet", {"scale": {"value": float("nan")}}, "InvalidParameterException"),
        ("CreateTaskSet", {"platformVersion": "9.9.9"}, "PlatformUnknownException"),
        ("CreateTaskSet", {"clientToken": "a" * 37}, "InvalidParameterException"),
        ("CreateTaskSet", {"tags": [{"key": "aws:mine", "value": ""}]}, "InvalidParameterException"),
        (
            "CreateTaskSet",
            {"loadBalancers": [{"targetGroupArn": "arn", "containerName": "none", "containerPort": 80}]},
            "InvalidParameterException",
        ),
        ("CreateTaskSet", {"serviceRegistries": [{"registryArn": "arn"}]}, "UnsupportedFeatureException"),
        ("UpdateTaskSet", {"taskSet": "ecs-svc/1", "scale": {"value": 1.0}}, "TaskSetNotFoundException"),
        ("UpdateTaskSet", {"taskSet": "arn:aws:ecs:us-east-1:1:cluster/x", "scale": {}}, "InvalidParameterException"),
        ("UpdateTaskSet", {"scale": {"value": -1.0}}, "InvalidParameterException"),
        ("UpdateServicePrimaryTaskSet", {"primaryTaskSet": "ecs-svc/1"}, "TaskSetNotFoundException"),
        ("UpdateServicePrimaryTaskSet", {"service": "rolling"}, "InvalidParameterException"),
        ("DeleteTaskSet", {"taskSet": "ecs-svc/1"}, "TaskSetNotFoundException"),
        ("DeleteTaskSet", {}, "InvalidParameterException"),
        ("DescribeTaskSets", {"service": "rolling"}, "InvalidParameterException"),
    ],
)
def test_what_is_refused_changes_nothing(operation: str, members: dict[str, Any], code: str) -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.raw_service("rolling", 0)
        await external(world)
        made = await task_set(world)
        await stable(world, made)
        given: dict[str, Any] = {
            "CreateTaskSet": {
                "taskDefinition": "web",
                "launchType": "FARGATE",
                "networkConfiguration": world.network(),
            },
            "UpdateServicePrimaryTaskSet": {"primaryTaskSet": made["id"]},
            "DescribeTaskSets": {},
        }.get(operation, {"taskSet": made["id"]})
        assert (await world.refused(operation, **{**SHOP, **given, **members}))[0] == code

    play(scene)


def test_a_set_that_drains_takes_no_orders_and_is_deleted_once() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = Conduct(stops=30.0)
        await external(world)
        made = await task_set(world)
        await stable(world, made)
        await world.call("UpdateServicePrimaryTaskSet", **SHOP, primaryTaskSet=made["id"])
        await world.call("DeleteTaskSet", **SHOP, taskSet=made["id"], force=True)
        again = await world.call("DeleteTaskSet", **SHOP, taskSet=made["id"])
        assert (again["taskSet"]["status"], again["taskSet"]["computedDesiredCount"]) == ("DRAINING", 0)
        scale = {"value": 100.0, "unit": "PERCENT"}
        assert (await world.refused("UpdateTaskSet", **SHOP, taskSet=made["id"], scale=scale))[0] == (
            "InvalidParameterException"
        )
        assert "taskDefinition" not in await shown(world)
        await gone(world, made)
        assert (await world.refused("DeleteTaskSet", **SHOP, taskSet=made["id"]))[0] == "TaskSetNotFoundException"
        assert not world.tasks("shop")

    play(scene)


def test_a_service_with_task_sets_is_not_rebalanced() -> None:
    async def scene(world: ServiceWorld) -> None:
        assert (await external(world))["availabilityZoneRebalancing"] == "DISABLED"
        made = await task_set(world)
        await world.call("UpdateServicePrimaryTaskSet", **SHOP, primaryTaskSet=made["id"])
        code, _ = await world.refused("UpdateService", **SHOP, availabilityZoneRebalancing="ENABLED")
        assert code == "InvalidParameterException"
        await world.call("UpdateService", **SHOP, desiredCount=3)
        assert (await shown(world))["availabilityZoneRebalancing"] == "DISABLED"

    play(scene)


STEPS = ("blue", "primary", "green", "scale", "switch", "delete", "gone")


@pytest.mark.parametrize("killed", STEPS)
def test_a_control_plane_that_is_killed_after_any_step_goes_on_where_it_was(killed: str) -> None:
    async def scene(world: ServiceWorld) -> None:
        again = await world.define("web")
        await external(world)
        blue: dict[str, Any] = {}
        green: dict[str, Any] = {}
        for step in STEPS:
            match step:
                case "blue":
                    blue = await task_set(world)
                case "primary":
                    await stable(world, blue)
                    await world.call("UpdateServicePrimaryTaskSet", **SHOP, primaryTaskSet=blue["id"])
                case "green":
                    green = await task_set(world, again, 50.0)
                case "scale":
                    scale = {"value": 100.0, "unit": "PERCENT"}
                    await world.call("UpdateTaskSet", **SHOP, taskSet=green["id"], scale=scale)
                case "switch":
                    await stable(world, green)
                    await world.call("UpdateServicePrimaryTaskSet", **SHOP, primaryTaskSet=green["id"])
                case "delete":
                    await world.call("DeleteTaskSet", **SHOP, taskSet=blue["id"], force=True)
                case "gone":
                    await gone(world, blue)
            if step == killed:
                await world.restart()
        await gone(world, blue)
        await stable(world, green)
        everything = world.tasks("shop", all=True)
        assert len([t for t in everything if t.started_by == blue["id"]]) == 2
        assert len([t for t in everything if t.started_by == green["id"]]) == 2
        assert (await shown(world))["taskDefinition"] == again

    play(scene)
