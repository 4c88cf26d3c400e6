"""Task sets through boto3 and the aws CLI, on real containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.tasks import until

REGION = "eu-north-1"  # of this file alone
CLUSTER, SERVICE = "sets", "shop"
NAMED = {"cluster": CLUSTER, "service": SERVICE}


@pytest.fixture
def ecs(homeport: Any) -> Iterator[Any]:
    client = homeport.client("ecs", REGION)
    client.create_cluster(clusterName=CLUSTER)
    script = ["trap 'exit 0' TERM; sleep 600 & wait $!"]
    container = {"name": "app", "image": "homeport-test:latest", "entryPoint": ["sh", "-c"], "command": script}
    for _ in range(2):
        client.register_task_definition(
            family="set",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[container],
        )
    yield client
    client.delete_service(cluster=CLUSTER, service=SERVICE, force=True)
    client.get_waiter("services_inactive").wait(
        cluster=CLUSTER, services=[SERVICE], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    if ending := client.list_tasks(cluster=CLUSTER, desiredStatus="STOPPED")["taskArns"]:
        client.get_waiter("tasks_stopped").wait(
            cluster=CLUSTER, tasks=ending, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
    client.delete_cluster(cluster=CLUSTER)


@pytest.fixture
def network(homeport: Any) -> dict[str, Any]:
    subnets = homeport.client("ec2", REGION).describe_subnets()["Subnets"]
    return {"awsvpcConfiguration": {"subnets": [subnets[0]["SubnetId"]]}}


def described(ecs: Any, *ids: str, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ecs.describe_task_sets(**NAMED, taskSets=list(ids), **params)["taskSets"]
    return found


def stable(ecs: Any, id: str) -> dict[str, Any]:
    shown: dict[str, Any] = until(lambda: described(ecs, id)[0], lambda s: s["stabilityStatus"] == "STEADY_STATE", 60)
    return shown


def refused(code: str, call: Any, **params: Any) -> None:
    with pytest.raises(ClientError) as caught:
        call(**params)
    assert caught.value.response["Error"]["Code"] == code


@pytest.mark.feature("Task sets of services with the EXTERNAL deployment controller: scale, primary, draining")
def test_a_deployment_by_hand(homeport: Any, ecs: Any, network: dict[str, Any]) -> None:
    made = ecs.create_service(
        cluster=CLUSTER, serviceName=SERVICE, desiredCount=2, deploymentController={"type": "EXTERNAL"}
    )["service"]
    assert (made["taskSets"], made["deployments"], made["deploymentController"]) == ([], [], {"type": "EXTERNAL"})
    given = {**NAMED, "launchType": "FARGATE", "networkConfiguration": network}
    tags = [{"key": "colour", "value": "blue"}]
    blue = ecs.create_task_set(**given, taskDefinition="set:1", externalId="b", clientToken="blue", tags=tags)[
        "taskSet"
    ]
    again = ecs.create_task_set(**given, taskDefinition="set:1", externalId="b", clientToken="blue", tags=tags)
    assert again["taskSet"]["id"] == blue["id"]
    assert blue["taskSetArn"] == f"{made['serviceArn'].replace(':service/', ':task-set/')}/{blue['id']}"
    assert (blue["status"], blue["externalId"], blue["scale"]) == ("ACTIVE", "b", {"value": 100.0, "unit": "PERCENT"})
    shown = stable(ecs, blue["id"])
    assert (shown["computedDesiredCount"], shown["runningCount"], shown["pendingCount"]) == (2, 2, 0)
    assert described(ecs, blue["id"], include=["TAGS"])[0]["tags"] == tags
    tasks = ecs.list_tasks(cluster=CLUSTER, startedBy=blue["id"])["taskArns"]
    assert len(tasks) == 2
    assert ecs.update_service_primary_task_set(**NAMED, primaryTaskSet=blue["id"])["taskSet"]["status"] == "PRIMARY"
    refused("InvalidParameterException", ecs.delete_task_set, **NAMED, taskSet=blue["id"])

    green = _aws(homeport, "create-task-set", "--task-definition", "set:2", "--scale", "value=50,unit=PERCENT", network)
    assert stable(ecs, green["id"])["runningCount"] == 1
    ecs.update_task_set(**NAMED, taskSet=green["id"], scale={"value": 100.0, "unit": "PERCENT"})
    assert stable(ecs, green["id"])["runningCount"] == 2
    ecs.update_service_primary_task_set(**NAMED, primaryTaskSet=green["taskSetArn"])
    service = ecs.describe_services(cluster=CLUSTER, services=[SERVICE])["services"][0]
    assert service["taskDefinition"].endswith("/set:2")
    assert [(s["id"], s["status"]) for s in service["taskSets"]] == [
        (green["id"], "PRIMARY"),
        (blue["id"], "ACTIVE"),
    ]
    assert ecs.delete_task_set(**NAMED, taskSet=blue["id"], force=True)["taskSet"]["status"] == "DRAINING"
    until(lambda: described(ecs, blue["id"]), lambda found: not found, 60)
    failures = ecs.describe_task_sets(**NAMED, taskSets=[blue["taskSetArn"]])["failures"]
    assert failures == [{"arn": blue["taskSetArn"], "reason": "MISSING"}]
    refused("TaskSetNotFoundException", ecs.delete_task_set, **NAMED, taskSet=blue["id"])
    stopped = ecs.describe_tasks(cluster=CLUSTER, tasks=tasks)["tasks"]
    assert {t["stoppedReason"] for t in stopped} == {f"Scaling activity initiated by (deployment {blue['id']})"}
    messages = [
        e["message"] for e in ecs.describe_services(cluster=CLUSTER, services=[SERVICE])["services"][0]["events"]
    ]
    assert f"(service {SERVICE}, taskSet {blue['id']}) updated state to STEADY_STATE." in messages
    for _ in range(4):
        ecs.create_task_set(**given, taskDefinition="set:1", scale={"value": 0.0, "unit": "PERCENT"})
    refused("LimitExceededException", ecs.create_task_set, **given, taskDefinition="set:1")
    refused("InvalidParameterException", ecs.delete_service, cluster=CLUSTER, service=SERVICE)


def _aws(homeport: Any, operation: str, *argv: Any) -> dict[str, Any]:
    """What the aws CLI answers; the last argument is the network configuration."""
    *plain, network = argv
    named = ["--cluster", CLUSTER, "--service", SERVICE, "--launch-type", "FARGATE"]
    rest = ["--network-configuration", json.dumps(network), "--region", REGION, "--output", "json"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("aws")), "ecs", operation, *named, *plain, *rest],
        env=os.environ | homeport.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answer: dict[str, Any] = json.loads(done.stdout)["taskSet"]
    return answer
