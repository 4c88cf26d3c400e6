"""Task definitions through boto3."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

CONTAINER = {"name": "c", "image": "httpd:2.4", "memory": 64}


@pytest.fixture
def ecs(homeport: Any) -> Any:
    return homeport.client("ecs")


@pytest.fixture
def family() -> str:
    return f"f-{uuid.uuid4().hex}"


@pytest.mark.feature("Register, describe, list and deregister task definitions")
def test_a_definitions_life(ecs: Any, family: str) -> None:
    for revision in (1, 2):
        made = ecs.register_task_definition(
            family=family,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu=".25 vCPU",
            memory="0.5 GB",
            containerDefinitions=[{"name": "c", "image": "httpd:2.4", "portMappings": [{"containerPort": 80}]}],
            tags=[{"key": "k", "value": "v"}],
        )["taskDefinition"]
        assert (made["revision"], made["cpu"], made["memory"], made["status"]) == (revision, "256", "512", "ACTIVE")
    assert made["registeredBy"].startswith("arn:aws:")
    assert abs(datetime.now(UTC) - made["registeredAt"]) < timedelta(minutes=1)
    assert made["containerDefinitions"][0]["portMappings"] == [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}]
    assert "FARGATE" in made["compatibilities"]

    described = ecs.describe_task_definition(taskDefinition=family, include=["TAGS"])
    assert described["taskDefinition"] == made
    assert described["tags"] == [{"key": "k", "value": "v"}]

    arns = ecs.list_task_definitions(familyPrefix=family)["taskDefinitionArns"]
    assert arns == [made["taskDefinitionArn"][:-1] + "1", made["taskDefinitionArn"]]
    assert ecs.list_task_definition_families(familyPrefix=family)["families"] == [family]

    gone = ecs.deregister_task_definition(taskDefinition=f"{family}:2")["taskDefinition"]
    assert gone["status"] == "INACTIVE"
    assert gone["deregisteredAt"] >= gone["registeredAt"]
    assert ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]["revision"] == 1
    inactive = ecs.list_task_definitions(familyPrefix=family, status="INACTIVE", sort="DESC")
    assert inactive["taskDefinitionArns"] == [made["taskDefinitionArn"]]


def test_boto3_pages_downwards(ecs: Any, family: str) -> None:
    for _ in range(12):
        ecs.register_task_definition(family=family, containerDefinitions=[CONTAINER])
    paginator = ecs.get_paginator("list_task_definitions")
    pages = paginator.paginate(familyPrefix=family, sort="DESC", PaginationConfig={"PageSize": 5})
    arns = [arn for page in pages for arn in page["taskDefinitionArns"]]
    assert [int(arn.rpartition(":")[2]) for arn in arns] == list(range(12, 0, -1))


FARGATE = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc"}


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"containerDefinitions": []}, "Container list cannot be empty."),
        ({"containerDefinitions": [{"name": "c", "image": "i"}]}, "At least one of 'memory' or 'memoryReservation'"),
        ({**FARGATE, "networkMode": "host"}, "Fargate only supports network mode ‘awsvpc’."),
        ({**FARGATE, "cpu": "256", "memory": "4096"}, "No Fargate configuration exists for given values"),
        ({"networkMode": "overlay"}, "networkMode"),
        ({"cpu": "lots"}, "Invalid 'cpu' setting for task."),
    ],
)
def test_refusals_are_client_exceptions(ecs: Any, family: str, params: dict[str, Any], text: str) -> None:
    with pytest.raises(ecs.exceptions.ClientException) as caught:
        ecs.register_task_definition(**{"family": family, "containerDefinitions": [CONTAINER], **params})
    assert text in caught.value.response["Error"]["Message"]
    assert ecs.list_task_definitions(familyPrefix=family)["taskDefinitionArns"] == []


def test_what_is_unknown(ecs: Any, family: str) -> None:
    with pytest.raises(ecs.exceptions.ClientException, match="Unable to describe task definition"):
        ecs.describe_task_definition(taskDefinition=family)
    with pytest.raises(ecs.exceptions.ClientException):
        ecs.deregister_task_definition(taskDefinition=f"{family}:1")
    with pytest.raises(ecs.exceptions.InvalidParameterException, match="Invalid token"):
        ecs.list_task_definition_families(nextToken="made up")
