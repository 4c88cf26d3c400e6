"""Deleting task definitions through boto3."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from homeport.services.ecs.model.definition import DELETING_SECONDS
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

    cluster = _cluster(ecs)
    for number in range(1, 6):  # where the machine is too slow, it is gone before all has been looked at
        ecs.deregister_task_definition(taskDefinition=arn)
        began = time.monotonic()
        answer = ecs.delete_task_definitions(taskDefinitions=[f"{family}:{number}"])
        seen = _while_it_goes(ecs, family, arn, cluster)
        if time.monotonic() - began < DELETING_SECONDS:
            break
        arn = register(ecs, family)
    assert answer["failures"] == []
    (deleting,) = answer["taskDefinitions"]
    assert deleting["status"] == "DELETE_IN_PROGRESS"
    assert abs(datetime.now(UTC) - deleting["deleteRequestedAt"]) < timedelta(minutes=1)
    assert seen == [deleting, [], [arn], "TaskDefinition is inactive"]

    until(lambda: ecs.list_task_definition_families(familyPrefix=family)["families"], lambda found: found == [])
    with pytest.raises(ecs.exceptions.ClientException, match="Unable to describe task definition"):
        ecs.describe_task_definition(taskDefinition=arn)
    assert register(ecs, family).endswith(f":{number + 1}")


def _while_it_goes(ecs: Any, family: str, arn: str, cluster: str) -> list[Any]:
    """What is told of it: itself, the INACTIVE ones, those that are being deleted, and why it can't be run."""
    seen: list[Any] = []
    for ask in (
        lambda: ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"],
        lambda: ecs.list_task_definitions(familyPrefix=family, status="INACTIVE")["taskDefinitionArns"],
        lambda: ecs.list_task_definitions(familyPrefix=family, status="DELETE_IN_PROGRESS")["taskDefinitionArns"],
        lambda: ecs.run_task(taskDefinition=arn, cluster=cluster),
    ):
        try:
            seen.append(ask())
        except ecs.exceptions.ClientException as error:
            seen.append(error.response["Error"]["Message"])
    return seen


def test_too_many_at_once_are_refused(ecs: Any, family: str) -> None:
    with pytest.raises(ecs.exceptions.InvalidParameterException):
        ecs.delete_task_definitions(taskDefinitions=[f"{family}:{n}" for n in range(1, 12)])


def _cluster(ecs: Any) -> str:
    return str(ecs.create_cluster(clusterName="deletions")["cluster"]["clusterArn"])
