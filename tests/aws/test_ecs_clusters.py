"""Clusters through boto3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

REGION = "eu-central-1"  # of this file alone: its lists hold what it made


@pytest.fixture
def ecs(homeport: Any) -> Iterator[Any]:
    client = homeport.client("ecs", REGION)
    yield client
    for arn in client.list_clusters()["clusterArns"]:
        client.delete_cluster(cluster=arn)


@pytest.mark.feature("Create, describe, list and delete clusters")
def test_a_clusters_life(ecs: Any) -> None:
    made = ecs.create_cluster(
        clusterName="life",
        tags=[{"key": "team", "value": "a"}],
        capacityProviders=["FARGATE"],
        defaultCapacityProviderStrategy=[{"capacityProvider": "FARGATE", "weight": 1}],
    )["cluster"]
    arn = made["clusterArn"]
    assert arn == f"arn:aws:ecs:{REGION}:123456789012:cluster/life"
    assert made["status"] == "ACTIVE"
    described = ecs.describe_clusters(clusters=[arn, "nothing"], include=["TAGS", "SETTINGS", "STATISTICS"])
    (cluster,) = described["clusters"]
    assert cluster["tags"] == [{"key": "team", "value": "a"}]
    assert cluster["settings"] == [{"name": "containerInsights", "value": "disabled"}]
    assert {"name": "runningFargateTasksCount", "value": "0"} in cluster["statistics"]
    assert described["failures"] == [
        {"arn": f"arn:aws:ecs:{REGION}:123456789012:cluster/nothing", "reason": "MISSING"},
    ]
    assert ecs.list_clusters()["clusterArns"] == [arn]
    assert ecs.delete_cluster(cluster="life")["cluster"]["status"] == "INACTIVE"
    assert ecs.describe_clusters(clusters=["life"])["clusters"][0]["status"] == "INACTIVE"
    with pytest.raises(ecs.exceptions.ClusterNotFoundException, match="Cluster not found"):
        ecs.delete_cluster(cluster="life")
    again = ecs.create_cluster(clusterName="life")["cluster"]
    assert (again["clusterArn"], again["status"], again["capacityProviders"]) == (arn, "ACTIVE", [])


def test_boto3_pages_through_all(ecs: Any) -> None:
    names = [f"page-{n}" for n in range(7)]
    for name in names:
        ecs.create_cluster(clusterName=name)
    pages = list(ecs.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(page["clusterArns"]) for page in pages] == [3, 3, 1]
    assert [arn.rpartition("/")[2] for page in pages for arn in page["clusterArns"]] == names


@pytest.mark.parametrize(
    ("call", "params", "code"),
    [
        ("create_cluster", {"clusterName": "not a name"}, "InvalidParameterException"),
        ("create_cluster", {"capacityProviders": ["unknown"]}, "InvalidParameterException"),
        ("create_cluster", {"settings": [{"name": "unknown", "value": "enabled"}]}, "InvalidParameterException"),
        ("list_clusters", {"nextToken": "made up"}, "InvalidParameterException"),
        ("list_clusters", {"maxResults": 101}, "InvalidParameterException"),
        ("describe_clusters", {"include": ["EVERYTHING"]}, "InvalidParameterException"),
        ("delete_cluster", {"cluster": "nothing"}, "ClusterNotFoundException"),
    ],
)
def test_errors(ecs: Any, call: str, params: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(ecs, call)(**params)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_tags(ecs: Any) -> None:
    arn = ecs.create_cluster(clusterName="tagged", tags=[{"key": "a", "value": "1"}])["cluster"]["clusterArn"]
    ecs.tag_resource(resourceArn=arn, tags=[{"key": "b", "value": "2"}])
    ecs.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert ecs.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "b", "value": "2"}]
    with pytest.raises(ClientError) as caught:
        ecs.tag_resource(resourceArn=arn, tags=[{"key": "aws:mine", "value": ""}])
    assert caught.value.response["Error"]["Code"] == "InvalidParameterException"
