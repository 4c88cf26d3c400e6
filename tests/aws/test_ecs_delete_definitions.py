"""Deleting task definitions through boto3."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.tasks import until


@pytest.fixture
def ecs(homeport: Any) -> Any:
    return homeport.client("ecs")


@pytest.fixture
def family() -> str:
    return f"d-{uuid.uuid4().hex}"


def register(ecs: Any, family: str) -> str:
    container = {"name": "c", "image": "httpd:2.4", "memory": 64}
    made = ecs.register_task_definition(family=family, containerDefinitions=[container])
    return str(made["taskDefinition"]["taskDefinitionArn"])


@pytest.mark.feature("Delete task definitions: INACTIVE, DELETE_IN_PROGRESS, gone")
def test_a_definition_is_deleted_in_two_steps(ecs: Any, family: str) -> None:
    arn = register(ecs, family)
    early = ecs.delete_task_definitions(taskDefinitions=[arn, f"{family}:7"])
    assert early["taskDefinitions"] == []
    assert [f["arn"] for f in early["failures"]] == [arn, arn.replace(f"{family}:1", f"{family}:7")]
    assert "ACTIVE" in early["failures"][0]["reason"]
    assert early["failures"][1]["reason"].startswith("The specified task definition does not exist.")

    ecs.deregister_task_definition(taskDefinition=arn)
    answer = ecs.delete_task_definitions(taskDefinitions=[f"{family}:1"])
    assert answer["failures"] == []
    (deleting,) = answer["taskDefinitions"]
    assert deleting["status"] == "DELETE_IN_PROGRESS"
    assert abs(datetime.now(UTC) - deleting["deleteRequestedAt"]) < timedelta(minutes=1)
    assert ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"] == deleting
    assert ecs.list_task_definitions(familyPrefix=family, status="INACTIVE")["taskDefinitionArns"] == []
    assert ecs.list_task_definitions(familyPrefix=family, status="DELETE_IN_PROGRESS")["taskDefinitionArns"] == [arn]
    with pytest.raises(ecs.exceptions.ClientException, match="TaskDefinition is inactive"):
        ecs.run_task(taskDefinition=arn, cluster=_cluster(ecs))

    until(lambda: ecs.list_task_definition_families(familyPrefix=family)["families"], lambda found: found == [], 20)
    with pytest.raises(ecs.exceptions.ClientException, match="Unable to describe task definition"):
        ecs.describe_task_definition(taskDefinition=arn)
    assert register(ecs, family).endswith(":2")


def test_too_many_at_once_are_refused(ecs: Any, family: str) -> None:
    with pytest.raises(ecs.exceptions.InvalidParameterException):
        ecs.delete_task_definitions(taskDefinitions=[f"{family}:{n}" for n in range(1, 12)])


def _cluster(ecs: Any) -> str:
    return str(ecs.create_cluster(clusterName="deletions")["cluster"]["clusterArn"])
