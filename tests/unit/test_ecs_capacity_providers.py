"""Capacity providers and their association with clusters, as their callers see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ecs_calls import ACCOUNT, Ecs, running

INVALID, CLIENT = "InvalidParameterException", "ClientException"
ARN = f"arn:aws:ecs:us-east-1:{ACCOUNT}:capacity-provider"
GROUP = f"arn:aws:autoscaling:us-east-1:{ACCOUNT}:autoScalingGroup:2f1b:autoScalingGroupName"
SCALED = {"managedScaling": {"status": "ENABLED", "targetCapacity": 80}}


@pytest.fixture
def ecs() -> Iterator[Ecs]:
    with running() as made:
        yield made


def create(ecs: Ecs, name: str = "own", **group: Any) -> dict[str, Any]:
    provider = {"autoScalingGroupArn": f"{GROUP}/{name}", **group}
    made: dict[str, Any] = ecs("CreateCapacityProvider", name=name, autoScalingGroupProvider=provider)
    return made["capacityProvider"]


def test_a_new_one_is_answered_with_its_defaults(ecs: Ecs) -> None:
    assert create(ecs) == {
        "capacityProviderArn": f"{ARN}/own",
        "name": "own",
        "status": "ACTIVE",
        "type": "EC2_AUTOSCALING",
        "autoScalingGroupProvider": {
            "autoScalingGroupArn": f"{GROUP}/own",
            "managedScaling": {
                "status": "DISABLED",
                "targetCapacity": 100,
                "minimumScalingStepSize": 1,
                "maximumScalingStepSize": 10000,
                "instanceWarmupPeriod": 300,
            },
            "managedTerminationProtection": "DISABLED",
            "managedDraining": "ENABLED",
        },
        "updateStatus": "CREATE_COMPLETE",
        "tags": [],
    }


def test_the_same_call_again_gives_the_same_one_and_another_is_refused(ecs: Ecs) -> None:
    first = create(ecs)
    version = ecs.store.version
    assert (create(ecs), ecs.store.version) == (first, version)
    with ecs.refused(CLIENT):
        create(ecs, **SCALED)


@pytest.mark.parametrize("name", ["aws-mine", "ECSx", "fargate1", "a b", "x" * 256, ""])
def test_names_that_are_refused(ecs: Ecs, name: str) -> None:
    with ecs.refused(INVALID):
        ecs("CreateCapacityProvider", name=name, autoScalingGroupProvider={"autoScalingGroupArn": f"{GROUP}/g"})


@pytest.mark.parametrize(
    "group",
    [
        {"autoScalingGroupArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/c"},
        {"autoScalingGroupArn": f"{GROUP}/"},
        {"managedTerminationProtection": "ENABLED"},
        {"managedScaling": {"minimumScalingStepSize": 3, "maximumScalingStepSize": 2}},
    ],
)
def test_groups_that_are_refused(ecs: Ecs, group: dict[str, Any]) -> None:
    with ecs.refused(INVALID):
        create(ecs, **group)


def test_a_group_belongs_to_one_provider(ecs: Ecs) -> None:
    create(ecs)
    with ecs.refused(INVALID):
        create(ecs, "other", autoScalingGroupArn=f"{GROUP}/own")


def test_managed_instances_are_refused(ecs: Ecs) -> None:
    managed = {
        "infrastructureRoleArn": "arn:aws:iam::1:role/r",
        "instanceLaunchTemplate": {
            "ec2InstanceProfileArn": "arn:aws:iam::1:instance-profile/p",
            "networkConfiguration": {"subnets": ["subnet-1"]},
        },
    }
    with ecs.refused("UnsupportedFeatureException"):
        ecs("CreateCapacityProvider", name="mine", cluster="c", managedInstancesProvider=managed)
    with ecs.refused(INVALID):
        ecs("CreateCapacityProvider", name="mine")


def test_an_update_changes_what_it_gives(ecs: Ecs) -> None:
    create(ecs, **SCALED)
    changes = {"managedScaling": {"minimumScalingStepSize": 2}, "managedDraining": "DISABLED"}
    answer = ecs("UpdateCapacityProvider", name="own", autoScalingGroupProvider=changes)["capacityProvider"]
    group = answer["autoScalingGroupProvider"]
    scaling = group["managedScaling"]
    assert (scaling["status"], scaling["targetCapacity"], scaling["minimumScalingStepSize"]) == ("ENABLED", 80, 2)
    assert (group["managedDraining"], answer["updateStatus"]) == ("DISABLED", "UPDATE_COMPLETE")
    with ecs.refused(CLIENT):
        ecs("UpdateCapacityProvider", name="none", autoScalingGroupProvider={})
    with ecs.refused(INVALID):
        ecs("UpdateCapacityProvider", name="FARGATE", autoScalingGroupProvider={})


def test_describing_them(ecs: Ecs) -> None:
    create(ecs)
    ecs("TagResource", resourceArn=f"{ARN}/own", tags=[{"key": "team", "value": "a"}])
    answer = ecs("DescribeCapacityProviders")
    assert [(p["name"], p["type"]) for p in answer["capacityProviders"]] == [
        ("FARGATE", "FARGATE"),
        ("FARGATE_SPOT", "FARGATE_SPOT"),
        ("own", "EC2_AUTOSCALING"),
    ]
    assert [p["tags"] for p in answer["capacityProviders"]] == [[], [], []]
    answer = ecs("DescribeCapacityProviders", capacityProviders=[f"{ARN}/own", "own", "gone"], include=["TAGS"])
    assert [p["tags"] for p in answer["capacityProviders"]] == [[{"key": "team", "value": "a"}]]
    assert answer["failures"] == [{"arn": f"{ARN}/gone", "reason": "MISSING"}]
    ecs("CreateCluster", clusterName="c", capacityProviders=["FARGATE", f"{ARN}/own"])
    answer = ecs("DescribeCapacityProviders", cluster="c")
    assert [p["name"] for p in answer["capacityProviders"]] == ["FARGATE", "own"]


def test_pages_of_ten(ecs: Ecs) -> None:
    for n in range(12):
        create(ecs, f"p{n:02}")
    first = ecs("DescribeCapacityProviders")
    rest = ecs("DescribeCapacityProviders", nextToken=first["nextToken"])
    assert (len(first["capacityProviders"]), len(rest["capacityProviders"])) == (10, 4)
    assert "nextToken" not in rest


def test_a_cluster_gets_providers_and_a_strategy(ecs: Ecs) -> None:
    create(ecs, **SCALED)
    ecs("CreateCluster", clusterName="c")
    answer = ecs(
        "PutClusterCapacityProviders",
        cluster="c",
        capacityProviders=[f"{ARN}/own", "FARGATE"],
        defaultCapacityProviderStrategy=[{"capacityProvider": f"{ARN}/own", "weight": 1}],
    )["cluster"]
    assert answer["capacityProviders"] == ["own", "FARGATE"]
    assert answer["defaultCapacityProviderStrategy"] == [{"capacityProvider": "own", "weight": 1, "base": 0}]
    assert [a["type"] for a in answer["attachments"]] == ["as_policy", "managed_draining"]
    assert answer["attachmentsStatus"] == "UPDATE_COMPLETE"
    with ecs.refused(CLIENT):
        ecs("DeleteCapacityProvider", capacityProvider="own")
    ecs("CreateCluster", clusterName="d")
    with ecs.refused(INVALID):  # managed scaling is of one cluster
        put(ecs, "d", ["own"], [])
    put(ecs, "c", [], [])
    gone = ecs("DeleteCapacityProvider", capacityProvider=f"{ARN}/own")["capacityProvider"]
    assert (gone["status"], gone["updateStatus"]) == ("INACTIVE", "DELETE_COMPLETE")
    with ecs.refused(CLIENT):
        ecs("DeleteCapacityProvider", capacityProvider="own")
    with ecs.refused(INVALID):
        ecs("DeleteCapacityProvider", capacityProvider="FARGATE_SPOT")


@pytest.mark.parametrize(
    ("providers", "strategy"),
    [
        (["none"], []),
        (["own", f"{ARN}/own"], []),
        ([], [{"capacityProvider": "own"}]),
        (["own", "FARGATE"], [{"capacityProvider": p, "weight": 1} for p in ("own", "FARGATE")]),
    ],
)
def test_associations_that_are_refused(ecs: Ecs, providers: list[str], strategy: list[dict[str, Any]]) -> None:
    create(ecs)
    ecs("CreateCluster", clusterName="c")
    with ecs.refused(INVALID):
        put(ecs, "c", providers, strategy)


def test_the_providers_of_a_cluster_that_is_not_there(ecs: Ecs) -> None:
    with ecs.refused("ClusterNotFoundException"):
        put(ecs, "none", [], [])


def put(ecs: Ecs, cluster: str, providers: list[str], strategy: list[dict[str, Any]]) -> dict[str, Any]:
    answer: dict[str, Any] = ecs(
        "PutClusterCapacityProviders",
        cluster=cluster,
        capacityProviders=providers,
        defaultCapacityProviderStrategy=strategy,
    )
    return answer["cluster"]
