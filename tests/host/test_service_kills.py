"""kill -9 of the control plane and of the agent at every step of a deployment: nobody notices that uses the service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.census import ctr
from support.services import Services
from support.serving import CHECK, SERVE, Probe, all_tasks, answered, kill_at_every_step
from support.tasks import until

pytestmark = [pytest.mark.host, pytest.mark.timeout(400)]
FEATURE = "kill -9 at every step of a deployment: the lower bound holds, nothing is lost or started twice, it completes"


def states(services: Services) -> list[str]:
    shown = answered(lambda: services.describe("shop"))
    return [d["rolloutState"] for d in shown["deployments"]]


def all_serve(services: Services, definition: str, count: int) -> None:
    """So many tasks run, of this definition, and nothing else is there: neither tasks nor containers."""
    running = [t for t in all_tasks(services) if t["lastStatus"] != "STOPPED"]
    assert [(t["taskDefinitionArn"], t["lastStatus"], t["healthStatus"]) for t in running] == [
        (definition, "RUNNING", "HEALTHY")
    ] * count
    names = {f"{t['taskArn'].rpartition('/')[2]}-0" for t in running}
    until(lambda: set(ctr(services.homeport, "containers", "ls", "-q")), lambda there: there == names)


def no_more_than(services: Services, definition: str, count: int) -> None:
    """Of this definition so many tasks were ever started, and those that have ended did so as they were told to."""
    tasks = [t for t in all_tasks(services) if t["taskDefinitionArn"] == definition]
    assert len(tasks) == count, tasks
    ended = [t for t in tasks if t["lastStatus"] == "STOPPED"]
    assert all(t["stopCode"] == "ServiceSchedulerInitiated" for t in ended), ended
    assert all(t["containers"][0]["exitCode"] == 0 for t in ended), ended


@pytest.mark.feature(FEATURE)
def test_a_rolling_deployment(own_homeport: Callable[..., Any]) -> None:
    services = Services(own_homeport(), "kills")
    first = services.define("shop", SERVE, healthCheck=CHECK)
    bounds = {"minimumHealthyPercent": 100, "maximumPercent": 150}
    services.create("shop", first, 2, deploymentConfiguration=bounds)
    until(lambda: states(services), lambda seen: seen == ["COMPLETED"], 60)
    with Probe(services.homeport) as probe:
        until(lambda: len(probe.serving), lambda count: count == 2)
        probe.begin()
        second = services.define("shop", SERVE, healthCheck=CHECK)
        services.update("shop", taskDefinition=second)
        kills = kill_at_every_step(services, lambda: states(services) == ["COMPLETED"], 300)
        assert (probe.least, probe.most) == (2, 3)
    assert kills  # how many steps are seen before the next has come depends on the machine
    all_serve(services, second, 2)
    no_more_than(services, first, 2)
    no_more_than(services, second, 2)


@pytest.mark.feature(FEATURE)
def test_an_external_deployment(own_homeport: Callable[..., Any]) -> None:
    services = Services(own_homeport(), "kills")
    ecs, shop = services.ecs, {"cluster": "kills", "service": "shop"}
    first, second = (services.define("shop", SERVE, healthCheck=CHECK) for _ in range(2))
    ecs.create_service(cluster="kills", serviceName="shop", desiredCount=2, deploymentController={"type": "EXTERNAL"})

    def task_set(definition: str, token: str) -> str:
        network = {"subnets": [services.homeport.subnet], "securityGroups": [services.homeport.web_group]}
        made = ecs.create_task_set(
            **shop,
            taskDefinition=definition,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": network},
            scale={"value": 100.0, "unit": "PERCENT"},
            clientToken=token,
        )
        return str(made["taskSet"]["id"])

    def sets() -> dict[str, tuple[str, str]]:
        shown = ecs.describe_task_sets(**shop)["taskSets"]
        return {s["id"]: (s["status"], s["stabilityStatus"]) for s in shown}

    blue = task_set(first, "blue")
    ecs.update_service_primary_task_set(**shop, primaryTaskSet=blue)
    until(sets, lambda seen: seen == {blue: ("PRIMARY", "STEADY_STATE")}, 60)
    with Probe(services.homeport) as probe:
        until(lambda: len(probe.serving), lambda count: count == 2)
        probe.begin()
        green = task_set(second, "green")
        kills = kill_at_every_step(services, lambda: answered(sets)[green] == ("ACTIVE", "STEADY_STATE"), 200)
        answered(lambda: ecs.update_service_primary_task_set(**shop, primaryTaskSet=green))
        kills += kill_at_every_step(services, lambda: answered(sets)[green][0] == "PRIMARY")
        answered(lambda: ecs.delete_task_set(**shop, taskSet=blue, force=True))
        kills += kill_at_every_step(services, lambda: list(answered(sets)) == [green], 200)
        assert (probe.least, probe.most) == (2, 4)
    assert kills
    assert answered(sets) == {green: ("PRIMARY", "STEADY_STATE")}
    all_serve(services, second, 2)
    no_more_than(services, first, 2)
    no_more_than(services, second, 2)
