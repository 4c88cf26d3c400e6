"""Deployments of services as boto3 sees them, with real tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.services import BREAKER, Services
from support.tasks import until

pytestmark = pytest.mark.host


@pytest.fixture
def services(homeport: Any, request: pytest.FixtureRequest) -> Iterator[Services]:
    """Services of this test alone, in a cluster of its own."""
    made = Services(homeport, re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:100])
    yield made
    arns = made.ecs.list_services(cluster=made.cluster)["serviceArns"]
    made.delete(*(arn.rpartition("/")[2] for arn in arns))
    made.ecs.delete_cluster(cluster=made.cluster)


def newest(services: Services, name: str) -> dict[str, Any]:
    listed = services.ecs.list_service_deployments(cluster=services.cluster, service=name)["serviceDeployments"]
    arn = listed[0]["serviceDeploymentArn"]
    answer = services.ecs.describe_service_deployments(serviceDeploymentArns=[arn])
    assert answer["failures"] == []
    found: dict[str, Any] = answer["serviceDeployments"][0]
    return found


def becomes(services: Services, name: str, status: str, seconds: float = 60) -> dict[str, Any]:
    over = ("SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED")
    found = until(lambda: newest(services, name), lambda d: d["status"] in (status, *over), seconds)
    assert found["status"] == status, found
    return found


@pytest.mark.feature("Deployment circuit breaker, with rollback")
def test_a_definition_that_can_not_start_is_rolled_back(services: Services) -> None:
    good = services.define("rolled")
    services.create("shop", good, 1, deploymentConfiguration=BREAKER)
    first = becomes(services, "shop", "SUCCESSFUL")
    assert first["deploymentCircuitBreaker"] == {"status": "MONITORING_COMPLETE", "failureCount": 0, "threshold": 3}
    (kept,) = services.ecs.list_tasks(cluster=services.cluster)["taskArns"]
    bad = services.define("rolled", entryPoint=["/no/such/program"])
    services.update("shop", taskDefinition=bad)
    over = becomes(services, "shop", "ROLLBACK_SUCCESSFUL")
    assert over["statusReason"] == "Service deployment rolled back because the circuit breaker threshold was exceeded."
    assert over["rollback"]["serviceRevisionArn"] == first["targetServiceRevision"]["arn"]
    assert over["deploymentCircuitBreaker"]["status"] == "TRIGGERED"
    service = services.describe("shop")
    assert service["taskDefinition"] == good
    assert [(d["status"], d["rolloutState"]) for d in service["deployments"]] == [("PRIMARY", "COMPLETED")]
    assert services.ecs.list_tasks(cluster=services.cluster)["taskArns"] == [kept]
    messages = " ".join(event["message"] for event in service["events"])
    assert "deployment failed: tasks failed to start." in messages
    assert f"rolling back to deployment {service['deployments'][0]['id']}." in messages


@pytest.mark.feature("StopServiceDeployment: roll back by hand")
def test_a_deployment_is_stopped_by_hand(services: Services) -> None:
    good = services.define("stopped")
    services.create("shop", good, 1)
    becomes(services, "shop", "SUCCESSFUL")
    never = services.define("stopped", healthCheck={"command": ["CMD", "false"], "interval": 60})
    services.update("shop", taskDefinition=never)
    arn = becomes(services, "shop", "IN_PROGRESS")["serviceDeploymentArn"]
    assert services.ecs.stop_service_deployment(serviceDeploymentArn=arn)["serviceDeploymentArn"] == arn
    becomes(services, "shop", "ROLLBACK_SUCCESSFUL")
    assert services.describe("shop")["taskDefinition"] == good
    with pytest.raises(services.ecs.exceptions.ConflictException):
        services.ecs.stop_service_deployment(serviceDeploymentArn=arn)
    with pytest.raises(ClientError, match="ABORT"):
        services.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ABORT")
    unknown = arn[:-3] + "xyz"
    with pytest.raises(services.ecs.exceptions.ServiceDeploymentNotFoundException):
        services.ecs.stop_service_deployment(serviceDeploymentArn=unknown)


@pytest.mark.feature("Service deployments and service revisions, listed and described")
def test_revisions_are_what_was_deployed(services: Services) -> None:
    services.create("shop", services.define("history"), 1)
    becomes(services, "shop", "SUCCESSFUL")
    services.update("shop", taskDefinition=services.define("history"))
    services.update("shop", forceNewDeployment=True)
    becomes(services, "shop", "SUCCESSFUL")
    wanted = {"cluster": services.cluster, "service": "shop", "maxResults": 2}
    page = services.ecs.list_service_deployments(**wanted)
    rest = services.ecs.list_service_deployments(**wanted, nextToken=page["nextToken"])
    made = page["serviceDeployments"] + rest["serviceDeployments"]
    assert [brief["status"] for brief in made] == ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]
    arns = [brief["targetServiceRevisionArn"] for brief in made]
    answer = services.ecs.describe_service_revisions(serviceRevisionArns=[*arns, arns[0][:-1] + "x"])
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]
    forced, second, first = answer["serviceRevisions"]
    assert forced["taskDefinition"] == second["taskDefinition"] != first["taskDefinition"]
    (image,) = first["containerImages"]
    assert (image["containerName"], image["image"]) == ("app", "homeport-test:latest")
    assert image["imageDigest"].startswith("sha256:")
    narrowed = services.ecs.list_service_deployments(cluster=services.cluster, service="shop", status=["STOPPED"])
    assert [brief["targetServiceRevisionArn"] for brief in narrowed["serviceDeployments"]] == [arns[1]]
