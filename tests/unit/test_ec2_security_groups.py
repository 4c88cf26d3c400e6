"""Security groups and their rules, as the operations answer them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ec2_world import ACCOUNT, World

from homeport.services.ec2.api.security_groups import MAX_GROUPS
from homeport.services.ec2.model import GROUPS, VPCS, SecurityGroup, Vpc
from homeport.services.ec2.views import group_arn

HTTP = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


def described(world: World, id: str) -> dict[str, Any]:
    (group,) = world.call("DescribeSecurityGroups", GroupIds=[id])["SecurityGroups"]
    return group


def test_a_new_group_lets_nothing_in_and_everything_out(world: World) -> None:
    tags = [{"Key": "Owner", "Value": "TeamA"}, {"Key": "Empty"}]
    made = world.call(
        "CreateSecurityGroup",
        GroupName="web",
        Description="for (web)",
        TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}],
    )
    assert made["SecurityGroupArn"] == f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group/{made['GroupId']}"
    group = described(world, made["GroupId"])
    assert (group["GroupName"], group["Description"], group["OwnerId"]) == ("web", "for (web)", ACCOUNT)
    assert group["Tags"] == made["Tags"] == [{"Key": "Owner", "Value": "TeamA"}, {"Key": "Empty", "Value": ""}]
    assert group["IpPermissions"] == []
    assert [p["IpRanges"] for p in group["IpPermissionsEgress"]] == [[{"CidrIp": "0.0.0.0/0"}]]
    assert group["VpcId"] == world.call("DescribeVpcs")["Vpcs"][0]["VpcId"]


@pytest.mark.parametrize(
    ("params", "code", "text"),
    [
        ({"GroupName": "web"}, "InvalidGroup.Duplicate", "The security group 'web' already exists for VPC 'vpc-"),
        ({"GroupName": "WEB"}, "InvalidGroup.Duplicate", "The security group 'WEB' already exists for VPC 'vpc-"),
        ({"GroupName": "default"}, "InvalidParameterValue", "Cannot use reserved security group name: default"),
        ({"GroupName": "sg-1"}, "InvalidParameterValue", "Group names may not be in the format sg-*."),
        ({"GroupName": ""}, "InvalidParameterValue", "The value cannot be empty"),
        ({"GroupName": "ü"}, "InvalidParameterValue", "Valid names are"),
        ({"GroupName": "x" * 256}, "InvalidParameterValue", "Valid names are"),
        ({"Description": "über"}, "InvalidParameterValue", "Invalid security group description."),
        ({"Description": ""}, "InvalidParameterValue", "The value cannot be empty"),
        (
            {"VpcId": "vpc-0123456789abcdef0"},
            "InvalidVpcID.NotFound",
            "The vpc ID 'vpc-0123456789abcdef0' does not exist",
        ),
        ({"VpcId": "x"}, "InvalidVpcID.Malformed", "Invalid id"),
        (
            {"TagSpecifications": [{"ResourceType": "vpc", "Tags": []}]},
            "InvalidParameterValue",
            "'vpc' is not a valid taggable resource type for this operation.",
        ),
        (
            {"TagSpecifications": [{"ResourceType": "security-group", "Tags": [{"Key": "aws:x", "Value": "y"}]}]},
            "InvalidParameterValue",
            "reserved",
        ),
        (
            {"TagSpecifications": [{"ResourceType": "security-group", "Tags": [{"Key": "x"}, {"Key": "x"}]}]},
            "InvalidParameterValue",
            "Duplicate tag key 'x' specified.",
        ),
        (
            {"TagSpecifications": [{"ResourceType": "security-group", "Tags": [{"Key": str(n)} for n in range(51)]}]},
            "TagLimitExceeded",
            "50",
        ),
    ],
)
def test_groups_that_cannot_be_made(world: World, params: dict[str, Any], code: str, text: str) -> None:
    world.group("web")
    got = world.refused("CreateSecurityGroup", **{"GroupName": "other", "Description": "d", **params})
    assert got[0] == code
    assert text in got[1]


def test_a_region_has_a_limit_of_groups(world: World) -> None:
    scope, vpc = (ACCOUNT, "us-east-1"), world.call("DescribeVpcs")["Vpcs"][0]["VpcId"]

    def fill(tx: Any) -> None:
        for n in range(MAX_GROUPS - 1):
            made = SecurityGroup(id=f"sg-{n:017x}", vpc_id=vpc, name=f"g{n}", description="d", created_at=0.0)
            tx.put(GROUPS, scope, made)

    world.update(fill)
    assert world.code("CreateSecurityGroup", GroupName="more", Description="d") == "SecurityGroupLimitExceeded"


def test_a_group_is_deleted_by_id_or_name(world: World) -> None:
    one, two = world.group("one"), world.group("two")
    assert world.call("DeleteSecurityGroup", GroupId=one) == {"Return": True, "GroupId": one}
    assert world.call("DeleteSecurityGroup", GroupName="two")["GroupId"] == two
    assert world.code("DeleteSecurityGroup", GroupId=one) == "InvalidGroup.NotFound"
    code, text = world.refused("DeleteSecurityGroup", GroupName="two")
    assert code == "InvalidGroup.NotFound"
    assert text.startswith("The security group 'two' does not exist in default VPC 'vpc-")
    assert world.refused("DeleteSecurityGroup") == (
        "MissingParameter",
        "The request must contain the parameter groupName or groupId",
    )
    assert world.code("DeleteSecurityGroup", GroupId=one, GroupName="x") == "InvalidParameterCombination"


def test_a_group_in_use_is_not_deleted(world: World) -> None:
    used, named, naming = world.group("used"), world.group("named"), world.group("naming")
    world.interface(world.subnets()[0], used)
    for name, peer in ((naming, named), (naming, naming)):
        pair = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": peer}]}
        world.call("AuthorizeSecurityGroupEgress", GroupId=name, IpPermissions=[pair])
    for id in (used, named):
        assert world.refused("DeleteSecurityGroup", GroupId=id) == (
            "DependencyViolation",
            f"resource {id} has a dependent object",
        )
    world.call("DeleteSecurityGroup", GroupId=naming)  # naming itself doesn't keep it
    world.call("DeleteSecurityGroup", GroupId=named)


def test_the_default_group_is_not_deleted(world: World) -> None:
    default = world.call("DescribeSecurityGroups", GroupNames=["default"])["SecurityGroups"][0]["GroupId"]
    assert world.refused("DeleteSecurityGroup", GroupId=default) == (
        "CannotDelete",
        f'the specified group: "{default}" name: "default" cannot be deleted by a user',
    )


def test_authorize_answers_the_rules_that_it_made(world: World) -> None:
    web, db = world.group("web"), world.group("db")
    answer = world.call(
        "AuthorizeSecurityGroupIngress",
        GroupId=db,
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": 5432,
                "ToPort": 5432,
                "UserIdGroupPairs": [{"GroupId": web, "Description": "apps"}],
                "Ipv6Ranges": [{"CidrIpv6": "2001:DB8::/32"}],
            }
        ],
        TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": [{"Key": "k", "Value": "v"}]}],
    )
    ranged, paired = answer["SecurityGroupRules"]
    assert answer["Return"] is True
    assert paired["ReferencedGroupInfo"]["GroupId"] == web
    assert (paired["Description"], paired["FromPort"], paired["IsEgress"]) == ("apps", 5432, False)
    assert ranged["CidrIpv6"] == "2001:db8::/32"
    assert ranged["Tags"] == [{"Key": "k", "Value": "v"}]
    assert ranged["SecurityGroupRuleArn"].endswith(f":security-group-rule/{ranged['SecurityGroupRuleId']}")
    (permission,) = described(world, db)["IpPermissions"]
    assert permission["UserIdGroupPairs"] == [{"GroupId": web, "UserId": ACCOUNT, "Description": "apps"}]
    by_id = world.call("DescribeSecurityGroupRules", SecurityGroupRuleIds=[paired["SecurityGroupRuleId"]])
    assert by_id["SecurityGroupRules"] == [paired]


def test_peers_are_named_by_id_or_name(world: World) -> None:
    web, db = world.group("web"), world.group("db")
    pair = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupName": "web", "UserId": ACCOUNT}]}
    world.call("AuthorizeSecurityGroupIngress", GroupName="db", IpPermissions=[pair])
    assert described(world, db)["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == web
    world.call("AuthorizeSecurityGroupIngress", GroupId=db, SourceSecurityGroupName="web")
    assert [p["IpProtocol"] for p in described(world, db)["IpPermissions"]] == ["-1", "tcp", "udp", "icmp"]


@pytest.mark.parametrize(
    ("pair", "code"),
    [
        ({"GroupId": "sg-0123456789abcdef0"}, "InvalidGroup.NotFound"),
        ({"GroupName": "nobody"}, "InvalidGroup.NotFound"),
        ({"GroupName": "default", "UserId": "999999999999"}, "InvalidGroup.NotFound"),
        ({"UserId": ACCOUNT}, "MissingParameter"),
        ({"GroupId": "x"}, "InvalidGroupId.Malformed"),
        (
            {"GroupId": "sg-0123456789abcdef0", "VpcPeeringConnectionId": "pcx-1"},
            "InvalidVpcPeeringConnectionID.NotFound",
        ),
    ],
)
def test_bad_peers(world: World, pair: dict[str, Any], code: str) -> None:
    web = world.group("web")
    permission = {"IpProtocol": "-1", "UserIdGroupPairs": [pair]}
    assert world.code("AuthorizeSecurityGroupIngress", GroupId=web, IpPermissions=[permission]) == code


def test_a_peer_of_another_vpc_is_refused(world: World) -> None:
    web = world.group("web")
    other = SecurityGroup(id="sg-0123456789abcdef0", vpc_id="vpc-2", name="far", description="d", created_at=0.0)
    world.update(lambda tx: tx.put(GROUPS, (ACCOUNT, "us-east-1"), other))
    permission = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other.id}]}
    code, text = world.refused("AuthorizeSecurityGroupIngress", GroupId=web, IpPermissions=[permission])
    assert (code, text) == (
        "InvalidGroup.NotFound",
        "You have specified two resources that belong to different networks.",
    )


def test_a_call_is_all_or_nothing(world: World) -> None:
    web = world.group("web")
    world.call("AuthorizeSecurityGroupIngress", GroupId=web, IpPermissions=[HTTP])
    new = {**HTTP, "FromPort": 81, "ToPort": 81}
    assert world.code("AuthorizeSecurityGroupIngress", GroupId=web, IpPermissions=[new, HTTP]) == (
        "InvalidPermission.Duplicate"
    )
    assert [p["FromPort"] for p in described(world, web)["IpPermissions"]] == [80]
    assert world.code("AuthorizeSecurityGroupIngress", GroupId=web) == "MissingParameter"
    assert world.code("AuthorizeSecurityGroupIngress", IpPermissions=[HTTP]) == "MissingParameter"


def test_revoke_in_the_default_vpc_tells_what_it_did_not_know(world: World) -> None:
    web = world.group("web")
    world.call("AuthorizeSecurityGroupIngress", GroupId=web, IpPermissions=[HTTP])
    other = {**HTTP, "FromPort": 81, "ToPort": 81}
    answer = world.call("RevokeSecurityGroupIngress", GroupId=web, IpPermissions=[HTTP, other])
    assert [r["FromPort"] for r in answer["RevokedSecurityGroupRules"]] == [80]
    assert [p["FromPort"] for p in answer["UnknownIpPermissions"]] == [81]
    assert described(world, web)["IpPermissions"] == []


def test_revoke_in_another_vpc_is_strict(world: World) -> None:
    scope = (ACCOUNT, "us-east-1")
    vpc = Vpc(id="vpc-0123456789abcdef0", cidr="10.0.0.0/16", is_default=False, created_at=0.0)
    world.update(lambda tx: tx.put(VPCS, scope, vpc))
    far = world.call("CreateSecurityGroup", GroupName="far", Description="d", VpcId=vpc.id)["GroupId"]
    assert world.code("RevokeSecurityGroupIngress", GroupId=far, IpPermissions=[HTTP]) == "InvalidPermission.NotFound"


def test_revoke_by_rule_id(world: World) -> None:
    web = world.group("web")
    (rule,) = world.call("DescribeSecurityGroupRules", Filters=[{"Name": "group-id", "Values": [web]}])[
        "SecurityGroupRules"
    ]
    id = rule["SecurityGroupRuleId"]
    assert rule["IsEgress"] is True
    assert world.code("RevokeSecurityGroupIngress", GroupId=web, SecurityGroupRuleIds=[id]) == (
        "InvalidSecurityGroupRuleId.NotFound"
    )
    answer = world.call("RevokeSecurityGroupEgress", GroupId=web, SecurityGroupRuleIds=[id])
    assert [r["SecurityGroupRuleId"] for r in answer["RevokedSecurityGroupRules"]] == [id]
    assert described(world, web)["IpPermissionsEgress"] == []
    assert world.refused("RevokeSecurityGroupEgress", GroupId=web) == (
        "MissingParameter",
        "Either 'ipPermissions' or 'securityGroupRuleIds' should be provided.",
    )


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([("group-name", ["web"])], ["web"]),
        ([("group-name", ["*b"])], ["db", "web"]),
        ([("description", ["web"])], ["web"]),
        ([("ip-permission.cidr", ["0.0.0.0/0"])], ["web"]),
        ([("ip-permission.from-port", ["80"]), ("ip-permission.protocol", ["tcp"])], ["web"]),
        ([("ip-permission.group-name", ["web"])], ["db"]),
        ([("egress.ip-permission.cidr", ["0.0.0.0/0"])], ["db", "default", "web"]),
        ([("ip-permission.user-id", [ACCOUNT])], ["db", "default"]),
        ([("owner-id", [ACCOUNT]), ("group-name", ["d*"])], ["db", "default"]),
        ([("tag-key", ["*"])], []),
    ],
)
def test_filters_of_groups(world: World, filters: list[tuple[str, list[str]]], names: list[str]) -> None:
    web, db = world.group("web"), world.group("db")
    world.call("AuthorizeSecurityGroupIngress", GroupId=web, IpPermissions=[HTTP])
    pair = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": web}]}
    world.call("AuthorizeSecurityGroupIngress", GroupId=db, IpPermissions=[pair])
    given = [{"Name": name, "Values": values} for name, values in filters]
    found = world.call("DescribeSecurityGroups", Filters=given)["SecurityGroups"]
    assert sorted(g["GroupName"] for g in found) == names
    by_peer = [{"Name": "ip-permission.group-id", "Values": [web]}]
    assert [g["GroupId"] for g in world.call("DescribeSecurityGroups", Filters=by_peer)["SecurityGroups"]] == [db]


def test_groups_by_name(world: World) -> None:
    web = world.group("web")
    found = world.call("DescribeSecurityGroups", GroupNames=["web", "default"])["SecurityGroups"]
    assert sorted(g["GroupName"] for g in found) == ["default", "web"]
    assert [g["GroupId"] for g in found if g["GroupName"] == "web"] == [web]
    assert world.code("DescribeSecurityGroups", GroupNames=["nobody"]) == "InvalidGroup.NotFound"


def test_rules_come_in_pages(world: World) -> None:
    web = world.group("web")
    ranges = [{"CidrIp": f"10.0.{n}.0/24"} for n in range(9)]
    world.call("AuthorizeSecurityGroupIngress", GroupId=web, IpPermissions=[{"IpProtocol": "-1", "IpRanges": ranges}])
    only = [{"Name": "group-id", "Values": [web]}]
    first = world.call("DescribeSecurityGroupRules", Filters=only, MaxResults=5)
    rest = world.call("DescribeSecurityGroupRules", Filters=only, MaxResults=5, NextToken=first["NextToken"])
    ids = [r["SecurityGroupRuleId"] for r in first["SecurityGroupRules"] + rest["SecurityGroupRules"]]
    assert len(set(ids)) == 10
    assert "NextToken" not in rest


def test_group_arns_are_of_their_partition() -> None:
    assert group_arn((ACCOUNT, "cn-north-1"), "sg-1") == f"arn:aws-cn:ec2:cn-north-1:{ACCOUNT}:security-group/sg-1"
