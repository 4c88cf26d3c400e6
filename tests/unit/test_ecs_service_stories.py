"""Services while time passes: calls that meet, changes and deletion in mid-deployment, tags and protection of tasks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from service_world import Conduct, ServiceWorld, play

from homeport.core.errors import AwsError
from homeport.services import ecs
from homeport.services.ecs.model.deployment import DEPLOYMENTS, REVISIONS
from homeport.services.ecs.model.service import EVENTS, SERVICES
from homeport.services.ecs.model.task import TaskStatus

SHOP = {"cluster": "demo", "service": "shop"}


def wanted(w: ServiceWorld, **members: Any) -> dict[str, Any]:
    return {**w.task_params(), "serviceName": "shop", "desiredCount": 2, **members}


async def described(w: ServiceWorld) -> dict[str, Any]:
    found: dict[str, Any] = (await w.call("DescribeServices", cluster="demo", services=["shop"]))["services"][0]
    return found


def test_a_service_becomes_stable_and_inactive_as_waiters_see_it() -> None:
    async def scene(w: ServiceWorld) -> None:
        await w.call("CreateService", **wanted(w))
        await w.steady("shop")
        shown = await described(w)
        assert len(shown["deployments"]) == 1
        assert (shown["runningCount"], shown["desiredCount"]) == (2, 2)
        assert shown["deployments"][0]["rolloutState"] == "COMPLETED"
        assert "currentServiceDeployment" not in shown
        assert shown["events"][0]["message"] == "(service shop) has reached a steady state."
        await w.call("DeleteService", **SHOP, force=True)
        assert (await described(w))["status"] == "DRAINING"
        await w.until(lambda: w.service("shop").status == "INACTIVE", 60)
        await w.until(lambda: all(t.last_status == TaskStatus.STOPPED for t in w.tasks("shop", all=True)), 60)
        shown = await described(w)
        assert (shown["status"], shown["deployments"], shown["runningCount"]) == ("INACTIVE", [], 0)
        with pytest.raises(AwsError, match="was not ACTIVE"):
            await w.call("UpdateService", **SHOP, desiredCount=1)

    play(scene)


@pytest.mark.parametrize("same", [True, False])
def test_two_creations_at_once_make_one_service(same: bool) -> None:
    async def scene(w: ServiceWorld) -> None:
        calls = [w.call("CreateService", **wanted(w, desiredCount=2 if same else n)) for n in (1, 2)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        await w.steady("shop")
        if same:
            assert [a["service"]["serviceArn"] for a in answers if isinstance(a, dict)] == [w.service("shop").arn] * 2
        else:
            refused = [a for a in answers if isinstance(a, AwsError)]
            assert [e.message for e in refused] == ["Creation of service was not idempotent."]
        assert len(w.tasks("shop", all=True)) == w.service("shop").desired
        assert len(w.rollouts("shop")) == 1

    play(scene, delay=0.05)


def test_a_change_in_mid_deployment_takes_its_place() -> None:
    async def scene(w: ServiceWorld) -> None:
        for family in ("second", "third"):
            await w.define(family)
        w.conduct["second"] = Conduct(starts=30.0)
        await w.call("CreateService", **wanted(w))
        await w.steady("shop")
        await w.call("UpdateService", **SHOP, taskDefinition="second")
        await w.until(lambda: len(w.tasks("shop")) > 2, 60)
        first = (await described(w))["currentServiceDeployment"]
        await w.call("UpdateService", **SHOP, taskDefinition="third", desiredCount=3)
        shown = await described(w)
        assert [d["status"] for d in shown["deployments"]] == ["PRIMARY", "ACTIVE", "ACTIVE"]
        assert shown["currentServiceDeployment"] != first
        await w.until(lambda: len(w.deployments("shop")) == 1 and w.running("shop") == 3, 600)
        await w.steady("shop")
        assert {t.family for t in w.tasks("shop")} == {"third"}
        assert [d.status for d in w.rollouts("shop")] == ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]

    play(scene)


def test_two_changes_within_a_second_end_at_the_last() -> None:
    async def scene(w: ServiceWorld) -> None:
        await w.define("second")
        await w.define("third")
        await w.call("CreateService", **wanted(w))
        await w.steady("shop")
        changes = [w.call("UpdateService", **SHOP, taskDefinition=d) for d in ("second", "third")]
        await asyncio.gather(*changes)
        await w.until(lambda: len(w.deployments("shop")) == 1 and w.running("shop") == 2, 600)
        assert {t.family for t in w.tasks("shop")} == {"third"}

    play(scene, delay=0.05)


def test_deletion_in_mid_deployment_stops_all_of_it() -> None:
    async def scene(w: ServiceWorld) -> None:
        await w.define("second")
        w.conduct["second"] = Conduct(starts=30.0)
        await w.call("CreateService", **wanted(w))
        await w.steady("shop")
        await w.call("UpdateService", **SHOP, taskDefinition="second")
        await w.until(lambda: len(w.tasks("shop")) > 2, 60)
        answer = (await w.call("DeleteService", **SHOP, force=True))["service"]
        assert (answer["status"], answer["desiredCount"]) == ("DRAINING", 0)
        with pytest.raises(AwsError, match="still Draining"):
            await w.call("CreateService", **wanted(w))
        await w.until(lambda: w.service("shop").status == "INACTIVE", 120)
        assert w.tasks("shop") == []
        assert [d.status for d in w.rollouts("shop")] == ["STOPPED", "SUCCESSFUL"]
        made = len(w.tasks("shop", all=True))
        await w.clock.sleep(600)
        assert len(w.tasks("shop", all=True)) == made

    play(scene)


def test_a_new_service_takes_the_name_and_knows_nothing_of_the_old_ones_tasks() -> None:
    async def scene(w: ServiceWorld) -> None:
        w.conduct["web"] = Conduct(stops=20.0)
        await w.call("CreateService", **wanted(w))
        await w.steady("shop")
        old = {t.id for t in w.tasks("shop")}
        await w.call("DeleteService", **SHOP, force=True)
        await w.until(lambda: w.service("shop").status == "INACTIVE", 60)
        again = (await w.call("CreateService", **wanted(w, desiredCount=1)))["service"]
        assert again["events"] == []
        await w.until(lambda: w.running("shop") == 1, 60)
        assert not old & {t.id for t in w.tasks("shop")}
        await w.steady("shop")
        assert len(w.tasks("shop", all=True)) == 3

    play(scene)


def test_a_deleted_service_is_forgotten_with_all_that_was_its() -> None:
    async def scene(w: ServiceWorld) -> None:
        await w.call("CreateService", **wanted(w))
        await w.steady("shop")
        await w.call("DeleteService", **SHOP, force=True)
        await w.clock.sleep(4000)
        answer = await w.call("DescribeServices", cluster="demo", services=["shop"])
        assert [f["reason"] for f in answer["failures"]] == ["MISSING"]
        view = w.store.view()
        assert not any(list(view.each(table)) for table in (SERVICES, DEPLOYMENTS, REVISIONS, EVENTS))

    play(scene)


def test_tasks_go_on_starting_from_a_definition_that_is_deregistered() -> None:
    async def scene(w: ServiceWorld) -> None:
        await w.call("CreateService", **wanted(w))
        await w.steady("shop")
        await w.call("DeregisterTaskDefinition", taskDefinition="web:1")
        await w.call("UpdateService", **SHOP, desiredCount=3)
        await w.until(lambda: w.running("shop") == 3, 60)
        w.nodes[0].kill(w.tasks("shop")[0].arn)
        await w.until(lambda: len(w.tasks("shop", all=True)) == 4 and w.running("shop") == 3, 60)
        assert (await w.refused("UpdateService", **SHOP, taskDefinition="web:1"))[0] == "ClientException"

    play(scene)


def test_a_deleted_definition_stays_for_as_long_as_a_service_may_start_tasks_of_it() -> None:
    async def scene(w: ServiceWorld) -> None:
        await w.define("second")
        await w.call("CreateService", **wanted(w, desiredCount=0))
        await w.call("DeregisterTaskDefinition", taskDefinition="web:1")
        await w.call("DeleteTaskDefinitions", taskDefinitions=["web:1"])
        await w.clock.sleep(200)
        await w.call("UpdateService", **SHOP, desiredCount=1)
        await w.until(lambda: w.running("shop") == 1, 60)
        await w.steady("shop")
        await w.call("UpdateService", **SHOP, taskDefinition="second")
        await w.steady("shop")
        await w.clock.sleep(200)
        assert await status(w, "web:1") == "DELETE_IN_PROGRESS", "a rollback may need it"
        await w.call("DeleteService", **SHOP, force=True)
        await w.clock.sleep(200)
        assert await status(w, "web:1") is None

    async def status(w: ServiceWorld, name: str) -> str | None:
        try:
            found = await w.call("DescribeTaskDefinition", taskDefinition=name)
        except AwsError:
            return None
        return str(found["taskDefinition"]["status"])

    play(scene)


def test_tasks_get_the_tags_of_their_time() -> None:
    async def scene(w: ServiceWorld) -> None:
        tag = [{"key": "team", "value": "shop"}]
        await w.call("CreateService", **wanted(w, tags=tag, propagateTags="SERVICE", enableECSManagedTags=True))
        await w.until(lambda: len(w.tasks("shop")) == 2, 60)
        managed = {"aws:ecs:clusterName": "demo", "aws:ecs:serviceName": "shop"}
        old = w.tasks("shop")
        assert [t.tags for t in old] == [{"team": "shop", **managed}] * 2
        await w.call("UpdateService", **SHOP, propagateTags="NONE", enableECSManagedTags=False, desiredCount=3)
        await w.until(lambda: len(w.tasks("shop")) == 3, 60)
        assert sorted(len(t.tags) for t in w.tasks("shop")) == [0, 3, 3]

    play(scene)


def test_a_protected_task_outlives_scaling_in_and_ends_with_its_service() -> None:
    async def scene(w: ServiceWorld) -> None:
        await w.call("CreateService", **wanted(w))
        await w.steady("shop")
        kept = w.tasks("shop")[0]
        node = w.nodes[0].principal
        mine = {"cluster": "demo", "tasks": [kept.arn]}
        answer = await w.call("UpdateTaskProtection", node, **mine, protectionEnabled=True, expiresInMinutes=1)
        assert answer["protectedTasks"][0]["protectionEnabled"]
        assert (await w.call("GetTaskProtection", **mine))["protectedTasks"] == answer["protectedTasks"]
        other = replace(node, node="other")
        assert (await w.refused("UpdateTaskProtection", other, **mine, protectionEnabled=False))[0] == (
            "AccessDeniedException"
        )
        await w.call("UpdateService", **SHOP, desiredCount=0)
        await w.until(lambda: len(w.tasks("shop")) == 1, 60)
        await w.clock.sleep(30)
        assert [t.id for t in w.tasks("shop")] == [kept.id]
        await w.until(lambda: not w.tasks("shop"), 120)

    play(scene)


def test_no_more_tasks_are_protected_while_protected_ones_hold_up_a_deployment() -> None:
    async def scene(w: ServiceWorld) -> None:
        await w.define("second")
        await w.call("CreateService", **wanted(w))
        await w.steady("shop")
        old = [t.arn for t in w.tasks("shop")]
        await w.call("UpdateTaskProtection", cluster="demo", tasks=old, protectionEnabled=True)
        await w.call("UpdateService", **SHOP, taskDefinition="second")
        await w.until(lambda: w.running("shop") == 4, 60)
        await w.clock.sleep(60)
        new = next(t.arn for t in w.tasks("shop") if t.arn not in old)
        answer = await w.call("UpdateTaskProtection", cluster="demo", tasks=[new, old[0]], protectionEnabled=True)
        assert [t["taskArn"] for t in answer["protectedTasks"]] == [old[0]]
        assert [(f["arn"], f["reason"]) for f in answer["failures"]] == [(new, "DEPLOYMENT_BLOCKED")]
        await w.call("UpdateTaskProtection", cluster="demo", tasks=old, protectionEnabled=False)
        await w.until(lambda: len(w.deployments("shop")) == 1, 120)
        answer = await w.call("UpdateTaskProtection", cluster="demo", tasks=[new], protectionEnabled=True)
        assert answer["failures"] == []

    play(scene)


def test_while_services_are_held_what_stops_is_not_replaced() -> None:
    async def scene(w: ServiceWorld) -> None:
        await w.call("CreateService", **wanted(w))
        await w.steady("shop")
        async with w.services.held():
            await w.store.update(lambda tx: ecs.stop_all(tx, "down"), "test")
            await w.until(lambda: ecs.unfinished(w.store.view()) == 0, 60)
            await w.clock.sleep(600)
            assert len(w.tasks("shop", all=True)) == 2
        await w.until(lambda: w.running("shop") == 2, 60)

    play(scene)
