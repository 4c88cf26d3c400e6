"""Constraints of the models, in AWS's words."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from homeport.aws import models
from homeport.aws.validate import MAX_PROBLEMS, Validator
from homeport.core.errors import AwsError


@cache
def service(name: str, operation: str) -> tuple[models.ServiceModel, Validator]:
    model = models.load(name, [operation])
    return model, Validator(model)


def refusal(name: str, operation: str, params: dict[str, Any]) -> tuple[str, str] | None:
    model, validator = service(name, operation)
    try:
        validator.check(model.operations[operation], params)
    except AwsError as error:
        return (error.code, error.message) if error.status == 400 else (f"status {error.status}", error.message)
    return None


ONE = "1 validation error detected: Value "
CONSTRAINT = " failed to satisfy constraint: Member must "


@pytest.mark.parametrize(
    ("operation", "params", "code", "text"),
    [
        ("RunTask", {}, "InvalidParameterException", "null at 'taskDefinition'{}not be null"),
        ("RegisterTaskDefinition", {"family": "f"}, "ClientException", "null at 'containerDefinitions'{}not be null"),
        (
            "RunTask",
            {"taskDefinition": "t", "tags": [{"key": "k"}, {"key": ""}]},
            "InvalidParameterException",
            "'' at 'tags.2.member.key'{}have length greater than or equal to 1",
        ),
        (
            "RunTask",
            {"taskDefinition": "t", "tags": [{"key": "a!"}]},
            "InvalidParameterException",
            "'a!' at 'tags.1.member.key'{}satisfy regular expression pattern: ([\\p{{L}}\\p{{Z}}\\p{{N}}_.:/=+\\-@]*)",
        ),
        (
            "RunTask",
            {"taskDefinition": "t", "capacityProviderStrategy": [{"capacityProvider": "c", "weight": 1001}]},
            "InvalidParameterException",
            "'1001' at 'capacityProviderStrategy.1.member.weight'{}have value less than or equal to 1000",
        ),
        (
            "RunTask",
            {"taskDefinition": "t", "networkConfiguration": {"awsvpcConfiguration": {}}},
            "InvalidParameterException",
            "null at 'networkConfiguration.awsvpcConfiguration.subnets'{}not be null",
        ),
        (
            "DescribeTasks",
            {"tasks": ["t"], "include": ["TAGS", "ALL"]},
            "InvalidParameterException",
            "'ALL' at 'include.2.member'{}satisfy enum value set: [TAGS]",
        ),
    ],
)
def test_ecs(operation: str, params: dict[str, Any], code: str, text: str) -> None:
    assert refusal("ecs", operation, params) == (code, ONE + text.format(CONSTRAINT))


def test_what_is_right_passes() -> None:
    tags = [{"key": "k ü_.:/=+-@1", "value": ""}]
    strategy = [{"capacityProvider": "FARGATE", "weight": 1000, "base": 0}]
    params = {"taskDefinition": "t", "count": 1, "launchType": "FARGATE", "tags": tags}
    assert refusal("ecs", "RunTask", params | {"capacityProviderStrategy": strategy}) is None
    assert refusal("ec2", "DescribeVpcs", {}) is None
    assert refusal("sts", "GetCallerIdentity", {}) is None


def test_all_problems_are_told_up_to_a_limit() -> None:
    tags = [{"key": "!"}, {"key": "?"}]
    answer = refusal("ecs", "RunTask", {"tags": tags})
    assert answer is not None
    assert answer[1].startswith("3 validation errors detected: Value null at 'taskDefinition'")
    assert answer[1].count("; Value '") == 2
    answer = refusal("ecs", "RunTask", {"taskDefinition": "t", "tags": tags * 20})
    assert answer is not None
    assert answer[1].startswith(f"{MAX_PROBLEMS} validation errors")
    answer = refusal("ecs", "RunTask", {"taskDefinition": "t", "launchType": "x" * 100_000})
    assert answer is not None
    assert len(answer[1]) < 1000


@pytest.mark.parametrize(
    ("operation", "params", "code", "text"),
    [
        ("CreateSecurityGroup", {"GroupName": "g"}, "MissingParameter", "parameter GroupDescription"),
        ("DescribeVpcs", {"MaxResults": 4}, "InvalidParameterValue", "Value (4) for parameter MaxResults is invalid."),
        ("DescribeAddresses", {"AllocationIds": ["a"]}, None, None),
        ("RunInstances", {"MinCount": 1}, "MissingParameter", "The request must contain the parameter MaxCount"),
    ],
)
def test_ec2(operation: str, params: dict[str, Any], code: str | None, text: str | None) -> None:
    answer = refusal("ec2", operation, params)
    if code is None or text is None:
        assert answer is None
    else:
        assert answer is not None
        assert answer[0] == code
        assert text in answer[1]


def test_query_services() -> None:
    answer = refusal("sts", "AssumeRole", {"RoleArn": "arn:aws:iam::123456789012:role/r", "RoleSessionName": "a b"})
    assert answer is not None
    assert answer[0] == "ValidationError"
    assert "Value 'a b' at 'roleSessionName' failed to satisfy constraint" in answer[1]


def test_shapes_within_themselves() -> None:
    """DynamoDB's AttributeValue holds maps and lists of itself."""
    item = {"k": {"M": {"a": {"L": [{"S": "x"}, {"M": {}}]}}}}
    assert refusal("dynamodb", "PutItem", {"TableName": "t", "Item": item}) is None
    answer = refusal("dynamodb", "PutItem", {"Item": item})
    assert answer is not None
    assert answer[0] == "ValidationException"
