"""EC2 and STS as boto3 sees them."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def ec2(homeport: Any) -> Any:
    return homeport.client("ec2")


@pytest.fixture
def group(ec2: Any, request: pytest.FixtureRequest) -> Any:
    """A group of this test alone."""
    made = ec2.create_security_group(
        GroupName=f"test {request.node.name}"[:255],
        Description="of a test",
        TagSpecifications=[{"ResourceType": "security-group", "Tags": [{"Key": "test", "Value": request.node.name}]}],
    )
    yield made["GroupId"]
    ec2.delete_security_group(GroupId=made["GroupId"])


def code(of: pytest.ExceptionInfo[ClientError]) -> str:
    return str(of.value.response["Error"]["Code"])


def test_who_am_i(homeport: Any) -> None:
    who = homeport.client("sts").get_caller_identity()
    assert who["Arn"] == f"arn:aws:iam::{who['Account']}:root"
    assert who["UserId"] == who["Account"]


def test_the_default_vpc_of_a_region(homeport: Any) -> None:
    ec2 = homeport.client("ec2", region="eu-central-1")
    (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    assert vpc["CidrBlock"] == "172.31.0.0/16"
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]
    assert sorted(s["AvailabilityZone"] for s in subnets) == ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert {z["ZoneId"] for z in zones} == {s["AvailabilityZoneId"] for s in subnets}
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []


def test_a_group_and_its_rules(ec2: Any, group: str) -> None:
    web = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80}
    made = ec2.authorize_security_group_ingress(
        GroupId=group,
        IpPermissions=[
            {
                **web,
                "IpRanges": [{"CidrIp": "10.0.0.1/8", "Description": "inside"}],
                "UserIdGroupPairs": [{"GroupId": group}],
            }
        ],
    )["SecurityGroupRules"]
    assert [r.get("CidrIpv4") for r in made] == ["10.0.0.0/8", None]
    (shown,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    (permission,) = shown["IpPermissions"]
    assert permission["IpRanges"] == [{"CidrIp": "10.0.0.0/8", "Description": "inside"}]
    assert [p["GroupId"] for p in permission["UserIdGroupPairs"]] == [group]
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    assert len(rules) == 3
    revoked = ec2.revoke_security_group_ingress(
        GroupId=group, SecurityGroupRuleIds=[r["SecurityGroupRuleId"] for r in made]
    )
    assert revoked["Return"] is True
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"] == []


def test_older_parameters(ec2: Any, group: str) -> None:
    ssh = {"GroupId": group, "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}
    assert ec2.authorize_security_group_ingress(**ssh)["Return"] is True
    with pytest.raises(ClientError) as caught:
        ec2.authorize_security_group_ingress(**ssh)
    assert code(caught) == "InvalidPermission.Duplicate"
    assert ec2.revoke_security_group_ingress(**ssh)["Return"] is True


def test_groups_are_found_by_tag_and_name(ec2: Any, group: str, request: pytest.FixtureRequest) -> None:
    for filters in (
        [{"Name": "tag:test", "Values": [request.node.name]}],
        [{"Name": "group-name", "Values": ["test *by_tag*"]}],
    ):
        found = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
        assert [g["GroupId"] for g in found] == [group]


def test_pages_through_the_paginator(ec2: Any, group: str) -> None:
    ranges = [{"CidrIp": f"10.{n}.0.0/16"} for n in range(12)]
    ec2.authorize_security_group_egress(
        GroupId=group, IpPermissions=[{"IpProtocol": "udp", "FromPort": 53, "ToPort": 53, "IpRanges": ranges}]
    )
    pages = ec2.get_paginator("describe_security_group_rules").paginate(
        Filters=[{"Name": "group-id", "Values": [group]}], PaginationConfig={"PageSize": 5}
    )
    sizes = [len(page["SecurityGroupRules"]) for page in pages]
    assert sizes == [5, 5, 3]


@pytest.mark.parametrize(
    ("operation", "params", "expected", "status"),
    [
        ("describe_vpcs", {"VpcIds": ["vpc-0123456789abcdef0"]}, "InvalidVpcID.NotFound", 400),
        ("describe_subnets", {"SubnetIds": ["subnet-0123456789abcdef0"]}, "InvalidSubnetID.NotFound", 400),
        ("describe_security_groups", {"GroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound", 400),
        ("describe_security_groups", {"GroupIds": ["web"]}, "InvalidGroupId.Malformed", 400),
        ("describe_security_groups", {"GroupNames": ["nobody"]}, "InvalidGroup.NotFound", 400),
        (
            "describe_network_interfaces",
            {"NetworkInterfaceIds": ["eni-0123456789abcdef0"]},
            "InvalidNetworkInterfaceID.NotFound",
            400,
        ),
        ("describe_vpcs", {"Filters": [{"Name": "nonsense", "Values": ["x"]}]}, "InvalidParameterValue", 400),
        ("describe_vpcs", {"DryRun": True}, "DryRunOperation", 412),
        ("delete_security_group", {"GroupName": "default"}, "CannotDelete", 400),
        ("create_security_group", {"GroupName": "default", "Description": "d"}, "InvalidParameterValue", 400),
    ],
)
def test_errors(ec2: Any, operation: str, params: dict[str, Any], expected: str, status: int) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(ec2, operation)(**params)
    assert code(caught) == expected
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
