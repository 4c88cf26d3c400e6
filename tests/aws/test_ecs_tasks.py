"""Tasks as boto3 sees them: every answer is held against botocore's output shapes, member by member."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from support.tasks import until

SLEEP = {"entryPoint": ["sh", "-c"], "command": ["trap 'exit 0' TERM; while :; do sleep 0.05; done"]}
FAST = {"Delay": 1, "MaxAttempts": 60}


@pytest.fixture
def ecs(homeport: Any) -> Any:
    client = homeport.client("ecs")
    client.meta.events.register("after-call.ecs", _strict)
    return client


@pytest.fixture
def cluster(ecs: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """A cluster of this test alone; what still runs in it at the end is stopped."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:200]
    ecs.create_cluster(clusterName=name)
    yield name
    arns = ecs.list_tasks(cluster=name)["taskArns"]
    for arn in arns:
        ecs.stop_task(cluster=name, task=arn)
    ending = arns + ecs.list_tasks(cluster=name, desiredStatus="STOPPED")["taskArns"]
    if ending:
        ecs.get_waiter("tasks_stopped").wait(cluster=name, tasks=ending[:100], WaiterConfig=FAST)
    ecs.delete_cluster(cluster=name)


def _strict(http_response: Any, model: Any, **_: Any) -> None:
    """botocore's parser drops what it doesn't know, so the body itself is looked at."""
    if http_response.status_code == 200:
        _fits(json.loads(http_response.content), model.output_shape, model.name)


def _fits(value: Any, shape: Any, path: str) -> None:
    kinds = {"structure": dict, "list": list, "map": dict, "string": str, "boolean": bool, "integer": int, "long": int}
    kinds |= {"timestamp": (int, float), "double": (int, float), "float": (int, float)}
    assert isinstance(value, kinds[shape.type_name]), f"{path} is {value!r}"
    if shape.type_name == "structure":
        assert set(shape.required_members) <= set(value), f"{path} lacks a required member"
        for name, member in value.items():
            assert name in shape.members, f"{path} has no member {name}"
            _fits(member, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for item in value:
            _fits(item, shape.member, f"{path}[]")
    elif getattr(shape, "enum", None):
        assert value in shape.enum, f"{path} is {value!r}"


def define(ecs: Any, family: str, **container: Any) -> str:
    made = ecs.register_task_definition(
        family=family,
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "app", "image": "homeport-test:latest", **SLEEP, **container}],
        tags=[{"key": "from", "value": "definition"}],
    )
    return str(made["taskDefinition"]["taskDefinitionArn"])


def network(homeport: Any, *groups: str) -> dict[str, Any]:
    return {"awsvpcConfiguration": {"subnets": [homeport.subnet], "securityGroups": list(groups)}}


def error(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    body = caught.value.response["Error"]
    return body["Code"], body["Message"]


def test_a_task_from_run_task_to_stopped(homeport: Any, ecs: Any, cluster: str) -> None:
    command = ["trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"]
    definition = define(ecs, "life", entryPoint=["sh", "-c"], command=command)
    answer = ecs.run_task(
        cluster=cluster,
        taskDefinition="life",
        launchType="FARGATE",
        networkConfiguration=network(homeport),
        propagateTags="TASK_DEFINITION",
        tags=[{"key": "team", "value": "a"}],
        enableECSManagedTags=True,
        startedBy="test",
        overrides={"containerOverrides": [{"name": "app", "environment": [{"name": "A", "value": "1"}]}]},
    )
    assert answer["failures"] == []
    arn = answer["tasks"][0]["taskArn"]
    assert answer["tasks"][0]["lastStatus"] == "PROVISIONING"
    ecs.get_waiter("tasks_running").wait(cluster=cluster, tasks=[arn], WaiterConfig=FAST)
    (task,) = ecs.describe_tasks(cluster=cluster, tasks=[arn], include=["TAGS"])["tasks"]
    assert (task["lastStatus"], task["desiredStatus"], task["launchType"]) == ("RUNNING", "RUNNING", "FARGATE")
    assert (task["taskDefinitionArn"], task["group"], task["startedBy"]) == (definition, "family:life", "test")
    assert {t["key"] for t in task["tags"]} == {"from", "team", "aws:ecs:clusterName"}
    (attachment,) = task["attachments"]
    assert (attachment["type"], attachment["status"]) == ("ElasticNetworkInterface", "ATTACHED")
    details = {d["name"]: d["value"] for d in attachment["details"]}
    assert set(details) == {
        "subnetId",
        "networkInterfaceId",
        "macAddress",
        "privateDnsName",
        "privateIPv4Address",
    }
    (container,) = task["containers"]
    assert container["lastStatus"] == "RUNNING"
    assert container["runtimeId"].startswith(arn.rpartition("/")[2])
    assert container["networkInterfaces"] == [
        {"attachmentId": attachment["id"], "privateIpv4Address": details["privateIPv4Address"]}
    ]
    until(lambda: homeport.command("logs", arn, check=False).stdout, lambda said: "ready" in said)
    stopping = ecs.stop_task(cluster=cluster, task=arn, reason="seen enough")["task"]
    assert (stopping["desiredStatus"], stopping["tags"]) == ("STOPPED", [])
    ecs.get_waiter("tasks_stopped").wait(cluster=cluster, tasks=[arn], WaiterConfig=FAST)
    (task,) = ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"]
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "seen enough")
    assert task["containers"][0]["exitCode"] == 0
    assert task["attachments"][0]["status"] == "DELETED"
    times = [task[t] for t in ("createdAt", "startedAt", "stoppingAt", "executionStoppedAt", "stoppedAt")]
    assert times == sorted(times)
    assert ecs.list_tasks(cluster=cluster, desiredStatus="STOPPED")["taskArns"] == [arn]


def test_overrides_reach_the_process(homeport: Any, ecs: Any, cluster: str) -> None:
    define(ecs, "overridden", environment=[{"name": "CODE", "value": "1"}, {"name": "KEPT", "value": "2"}])
    answer = ecs.run_task(
        cluster=cluster,
        taskDefinition="overridden",
        launchType="FARGATE",
        networkConfiguration=network(homeport),
        overrides={
            "containerOverrides": [
                {
                    "name": "app",
                    "command": ["exit $((CODE + KEPT))"],
                    "environment": [{"name": "CODE", "value": "40"}],
                }
            ]
        },
    )
    arn = answer["tasks"][0]["taskArn"]
    ecs.get_waiter("tasks_stopped").wait(cluster=cluster, tasks=[arn], WaiterConfig=FAST)
    (task,) = ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"]
    assert task["containers"][0]["exitCode"] == 42
    assert (task["stopCode"], task["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    with pytest.raises(WaiterError):
        ecs.get_waiter("tasks_running").wait(cluster=cluster, tasks=[arn], WaiterConfig=FAST)


def test_lists_filter_and_page(homeport: Any, ecs: Any, cluster: str) -> None:
    define(ecs, "listed")
    wanted = {"cluster": cluster, "launchType": "FARGATE", "networkConfiguration": network(homeport)}
    arns = {t["taskArn"] for t in ecs.run_task(**wanted, taskDefinition="listed", count=3, startedBy="x")["tasks"]}
    assert len(arns) == 3
    pages = list(ecs.get_paginator("list_tasks").paginate(cluster=cluster, PaginationConfig={"PageSize": 2}))
    assert [len(p["taskArns"]) for p in pages] == [2, 1]
    assert {arn for p in pages for arn in p["taskArns"]} == arns
    assert set(ecs.list_tasks(cluster=cluster, startedBy="x")["taskArns"]) == arns
    assert set(ecs.list_tasks(cluster=cluster, family="listed", launchType="FARGATE")["taskArns"]) == arns
    assert ecs.list_tasks(cluster=cluster, family="other")["taskArns"] == []
    assert ecs.list_tasks(cluster=cluster, desiredStatus="PENDING")["taskArns"] == []


def test_a_client_token_is_idempotent(homeport: Any, ecs: Any, cluster: str) -> None:
    define(ecs, "token")
    wanted = {
        "cluster": cluster,
        "launchType": "FARGATE",
        "taskDefinition": "token",
        "networkConfiguration": network(homeport),
        "clientToken": cluster[:60],
    }
    first, again = ecs.run_task(**wanted), ecs.run_task(**wanted)
    assert [t["taskArn"] for t in first["tasks"]] == [t["taskArn"] for t in again["tasks"]]
    with pytest.raises(ClientError) as caught:
        ecs.run_task(**wanted, startedBy="other")
    assert error(caught)[0] == "ConflictException"
    assert caught.value.response["resourceIds"] == [first["tasks"][0]["taskArn"]]


@pytest.mark.parametrize(
    ("changed", "code", "text"),
    [
        ({"cluster": "nowhere"}, "ClusterNotFoundException", "Cluster not found."),
        ({"taskDefinition": "never-registered"}, "ClientException", "TaskDefinition not found."),
        ({"count": 11}, "InvalidParameterException", "count"),
        (
            {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0"]}}},
            "InvalidParameterException",
            "Error retrieving subnet information for [subnet-0]",
        ),
        ({"launchType": "EC2"}, "InvalidParameterException", "No Container Instances were found in your cluster."),
        (
            {"overrides": {"containerOverrides": [{"name": "nobody", "command": ["x"]}]}},
            "InvalidParameterException",
            "Override for container named nobody is not a container in the TaskDefinition.",
        ),
        ({"platformVersion": "0.0.1"}, "PlatformUnknownException", "The specified platform does not exist."),
    ],
)
def test_refusals(homeport: Any, ecs: Any, cluster: str, changed: dict[str, Any], code: str, text: str) -> None:
    define(ecs, "refused")
    wanted = {
        "cluster": cluster,
        "launchType": "FARGATE",
        "taskDefinition": "refused",
        "networkConfiguration": network(homeport),
    }
    with pytest.raises(ClientError) as caught:
        ecs.run_task(**{**wanted, **changed})
    assert error(caught)[0] == code
    assert text in error(caught)[1]
    assert ecs.list_tasks(cluster=cluster)["taskArns"] == []


def test_a_task_that_is_too_large_fails_without_an_error(homeport: Any, ecs: Any, cluster: str) -> None:
    define(ecs, "large")
    answer = ecs.run_task(
        cluster=cluster,
        launchType="FARGATE",
        taskDefinition="large",
        networkConfiguration=network(homeport),
        overrides={"cpu": "16384", "memory": "122880"},
    )
    assert answer["tasks"] == []
    assert answer["failures"][0]["reason"].startswith("Capacity is unavailable at this time.")
    assert answer["failures"][0]["detail"].startswith("RESOURCE:MEMORY")


def test_what_is_missing(homeport: Any, ecs: Any, cluster: str) -> None:
    answer = ecs.describe_tasks(cluster=cluster, tasks=["0" * 32])
    assert (answer["tasks"], [f["reason"] for f in answer["failures"]]) == ([], ["MISSING"])
    with pytest.raises(ClientError) as caught:
        ecs.stop_task(cluster=cluster, task="0" * 32)
    assert error(caught) == ("InvalidParameterException", "The referenced task was not found.")
    with pytest.raises(ClientError) as caught:
        ecs.list_tasks(cluster=cluster, serviceName="none")
    assert error(caught) == ("ServiceNotFoundException", "Service not found.")


def test_a_cluster_with_tasks_is_not_deleted(homeport: Any, ecs: Any, cluster: str) -> None:
    define(ecs, "held")
    ecs.run_task(cluster=cluster, launchType="FARGATE", taskDefinition="held", networkConfiguration=network(homeport))
    with pytest.raises(ClientError) as caught:
        ecs.delete_cluster(cluster=cluster)
    assert error(caught)[0] == "ClusterContainsTasksException"
