"""Calls about a service that meet each other, and what they mean to its containers."""

from __future__ import annotations

from typing import Any

import pytest

from support.services import Services
from support.serving import CHECK, SERVE, Probe, all_tasks
from support.tasks import until

pytestmark = [pytest.mark.host, pytest.mark.timeout(300)]


@pytest.mark.feature("Two updates in a second, a definition deregistered, a deletion in mid-deployment: each as on ECS")
def test_calls_in_mid_deployment(homeport: Any) -> None:
    services = Services(homeport, "calls")
    first, second, third = (services.define("shop", SERVE, healthCheck=CHECK) for _ in range(3))

    def states() -> list[tuple[str, str]]:
        return [(d["taskDefinition"], d["rolloutState"]) for d in services.describe("shop")["deployments"]]

    services.create("shop", first, 2)
    until(states, lambda seen: seen == [(first, "COMPLETED")], 60)
    with Probe(homeport) as probe:
        until(lambda: len(probe.serving), lambda count: count == 2)
        probe.begin()
        services.update("shop", taskDefinition=second)
        services.update("shop", taskDefinition=third)
        services.ecs.deregister_task_definition(taskDefinition=third)
        until(states, lambda seen: seen == [(third, "COMPLETED")], 90)
        assert probe.least == 2
        assert probe.most <= 4
        (task, _) = (t for t in all_tasks(services) if t["lastStatus"] == "RUNNING")
        assert task["taskDefinitionArn"] == third
        services.ecs.stop_task(cluster="calls", task=task["taskArn"])  # its replacement is of the same definition
        until(lambda: [t for t in all_tasks(services) if t["lastStatus"] == "RUNNING"], lambda seen: len(seen) == 2)
        until(lambda: len(probe.serving), lambda count: count == 2)
    services.update("shop", taskDefinition=first)
    services.delete("shop")
    until(lambda: {t["lastStatus"] for t in all_tasks(services)}, lambda seen: seen == {"STOPPED"})
