"""VPCs, subnets, zones, dry runs and pages, as the operations answer them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ec2_world import ACCOUNT, HOME, World

from homeport.core.errors import AwsError
from homeport.services import ec2
from homeport.services.ec2 import defaults
from homeport.services.ec2.model import HOLDS, INTERFACES, POOL, VPCS
from homeport.store import Scope


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


def test_a_region_has_its_default_vpc_at_first_use(world: World) -> None:
    (vpc,) = world.call("DescribeVpcs")["Vpcs"]
    assert (vpc["CidrBlock"], vpc["IsDefault"], vpc["State"]) == ("172.31.0.0/16", True, "available")
    subnets = world.call("DescribeSubnets")["Subnets"]
    by_zone = {s["AvailabilityZone"]: s for s in subnets}
    assert sorted(by_zone) == [f"us-east-1{letter}" for letter in "abcdef"]
    b = by_zone["us-east-1b"]
    assert (b["CidrBlock"], b["AvailabilityZoneId"], b["AvailableIpAddressCount"]) == (
        "172.31.16.0/20",
        "use1-az2",
        4091,
    )
    assert b["SubnetArn"] == f"arn:aws:ec2:us-east-1:{ACCOUNT}:subnet/{b['SubnetId']}"
    assert {(s["VpcId"], s["DefaultForAz"], s["MapPublicIpOnLaunch"]) for s in subnets} == {(vpc["VpcId"], True, True)}
    (group,) = world.call("DescribeSecurityGroups")["SecurityGroups"]
    assert (group["GroupName"], group["Description"]) == ("default", "default VPC security group")
    (inward,), (outward,) = group["IpPermissions"], group["IpPermissionsEgress"]
    assert inward["IpProtocol"] == outward["IpProtocol"] == "-1"
    assert inward["UserIdGroupPairs"] == [{"GroupId": group["GroupId"], "UserId": ACCOUNT}]
    assert outward["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}]


def test_regions_and_accounts_have_vpcs_of_their_own(world: World) -> None:
    seen = [
        world.call("DescribeVpcs", region=region, account=account)["Vpcs"][0]["VpcId"]
        for region in ("us-east-1", "eu-west-1")
        for account in (ACCOUNT, "210987654321")
    ]
    assert len(set(seen)) == 4
    assert len(world.call("DescribeSubnets", region="eu-west-1")["Subnets"]) == 3


def test_looking_twice_changes_nothing(world: World) -> None:
    first = world.call("DescribeVpcs")
    version = world.store.version
    assert world.call("DescribeVpcs") == first
    assert world.store.version == version


def test_the_web_group_is_made_once_and_left_as_it_is(world: World) -> None:
    def ensure() -> str:
        return world.update(lambda tx: defaults.ensure_web_group(tx, HOME, world.ids, tx.now))

    web = ensure()
    world.call("RevokeSecurityGroupIngress", GroupId=web, IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="0.0.0.0/0")
    assert ensure() == web
    (group,) = world.call("DescribeSecurityGroups", GroupIds=[web])["SecurityGroups"]
    assert (group["GroupName"], group["IpPermissions"]) == ("web", [])


def test_first_subnets_are_by_zone(world: World) -> None:
    assert world.update(lambda tx: defaults.first_subnets(tx, Scope(ACCOUNT, "eu-north-1"))) == []
    ids = world.subnets()
    zones = [world.call("DescribeSubnets", SubnetIds=[id])["Subnets"][0]["AvailabilityZone"] for id in ids]
    assert zones == [f"us-east-1{letter}" for letter in "abcdef"]


@pytest.mark.parametrize(
    ("name", "value", "count"),
    [
        ("vpc-id", "*", 6),
        ("availability-zone", "us-east-1c", 1),
        ("availabilityZone", "us-east-1?", 6),
        ("availability-zone-id", "use1-az3", 1),
        ("available-ip-address-count", "4091", 6),
        ("cidr-block", "172.31.0.0/20", 1),
        ("cidr", "172.31.*", 6),
        ("default-for-az", "true", 6),
        ("defaultForAz", "false", 0),
        ("map-public-ip-on-launch", "true", 6),
        ("owner-id", ACCOUNT, 6),
        ("state", "pending", 0),
        ("subnet-arn", "arn:aws:ec2:us-east-1:*", 6),
        ("ipv6-native", "false", 6),
        ("tag-key", "*", 0),
        ("tag:Name", "x", 0),
    ],
)
def test_filters_of_subnets(world: World, name: str, value: str, count: int) -> None:
    found = world.call("DescribeSubnets", Filters=[{"Name": name, "Values": [value]}])["Subnets"]
    assert len(found) == count


def test_indexed_filters_find_what_a_scan_finds(world: World) -> None:
    vpc = world.call("DescribeVpcs")["Vpcs"][0]["VpcId"]
    everything = world.call("DescribeSubnets")["Subnets"]
    assert (
        world.call("DescribeSubnets", Filters=[{"Name": "vpc-id", "Values": [vpc, "vpc-0"]}])["Subnets"] == everything
    )
    two = [everything[0]["SubnetId"], everything[3]["SubnetId"]]
    by_id = world.call("DescribeSubnets", Filters=[{"Name": "subnet-id", "Values": [*two, two[0], "subnet-0"]}])[
        "Subnets"
    ]
    assert [s["SubnetId"] for s in by_id] == two
    assert world.call("DescribeVpcs", Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"] == vpc


def test_missing_and_malformed_ids(world: World) -> None:
    gone = "0123456789abcdef0"
    assert world.refused("DescribeVpcs", VpcIds=[f"vpc-{gone}"]) == (
        "InvalidVpcID.NotFound",
        f"The vpc ID 'vpc-{gone}' does not exist",
    )
    assert world.refused("DescribeSubnets", SubnetIds=[f"subnet-{gone}"]) == (
        "InvalidSubnetID.NotFound",
        f"The subnet ID 'subnet-{gone}' does not exist",
    )
    assert world.refused("DescribeNetworkInterfaces", NetworkInterfaceIds=[f"eni-{gone}"]) == (
        "InvalidNetworkInterfaceID.NotFound",
        f"The networkInterface ID 'eni-{gone}' does not exist",
    )
    assert world.refused("DescribeSecurityGroups", GroupIds=[f"sg-{gone}"]) == (
        "InvalidGroup.NotFound",
        f"The security group 'sg-{gone}' does not exist",
    )
    assert world.code("DescribeSecurityGroupRules", SecurityGroupRuleIds=[f"sgr-{gone}"]).endswith("Id.NotFound")
    assert world.refused("DescribeSecurityGroups", GroupIds=["web"]) == (
        "InvalidGroupId.Malformed",
        'Invalid id: "web" (expecting "sg-...")',
    )
    assert world.code("DescribeVpcs", VpcIds=["vpc-XYZ"]) == "InvalidVpcID.Malformed"


def test_pages(world: World) -> None:
    seen: list[str] = []
    token = None
    for expected in (5, 1):
        answer = world.call("DescribeSubnets", MaxResults=5, **({"NextToken": token} if token else {}))
        assert len(answer["Subnets"]) == expected
        seen += [s["SubnetId"] for s in answer["Subnets"]]
        token = answer.get("NextToken")
    assert token is None
    assert sorted(seen) == sorted(world.subnets())
    assert len(seen) == 6


def test_tokens_are_only_good_for_their_own_call(world: World) -> None:
    token = world.call("DescribeSubnets", MaxResults=5)["NextToken"]
    assert world.code("DescribeSubnets", MaxResults=5, NextToken="x") == "InvalidNextToken"
    assert world.code("DescribeVpcs", MaxResults=5, NextToken=token) == "InvalidNextToken"
    other_filter = [{"Name": "state", "Values": ["available"]}]
    assert world.code("DescribeSubnets", MaxResults=5, NextToken=token, Filters=other_filter) == "InvalidNextToken"
    with pytest.raises(AwsError, match="NextToken"):
        world.call("DescribeSubnets", region="eu-west-1", MaxResults=5, NextToken=token)


def test_page_sizes(world: World) -> None:
    assert world.refused("DescribeVpcs", MaxResults=4)[1] == (
        "Value ( 4 ) for parameter maxResults is invalid. Expecting a value greater than or equal to 5."
    )
    assert world.code("DescribeVpcs", MaxResults=1001) == "InvalidParameterValue"
    ids = ["eni-0123456789abcdef0"]
    assert (
        world.code("DescribeNetworkInterfaces", NetworkInterfaceIds=ids, MaxResults=5) == "InvalidParameterCombination"
    )


def test_a_dry_run_changes_nothing_and_says_what_would_happen(world: World) -> None:
    world.call("DescribeVpcs")
    would = world.refused("CreateSecurityGroup", GroupName="web", Description="d", DryRun=True)
    assert would == ("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
    assert (
        world.code("CreateSecurityGroup", GroupName="default", Description="d", DryRun=True) == "InvalidParameterValue"
    )
    assert len(world.call("DescribeSecurityGroups")["SecurityGroups"]) == 1
    assert world.code("DescribeAvailabilityZones", DryRun=True) == "DryRunOperation"


def test_availability_zones(world: World) -> None:
    zones = world.call("DescribeAvailabilityZones", region="eu-west-1")["AvailabilityZones"]
    assert [(z["ZoneName"], z["ZoneId"]) for z in zones] == [
        (f"eu-west-1{c}", f"euw1-az{n}") for c, n in ["a1", "b2", "c3"]
    ]
    assert {(z["State"], z["RegionName"], z["ZoneType"]) for z in zones} == {
        ("available", "eu-west-1", "availability-zone")
    }
    by_id = world.call("DescribeAvailabilityZones", ZoneIds=["use1-az2"])["AvailabilityZones"]
    assert [z["ZoneName"] for z in by_id] == ["us-east-1b"]
    filtered = world.call("DescribeAvailabilityZones", Filters=[{"Name": "zone-name", "Values": ["*d"]}])
    assert [z["ZoneName"] for z in filtered["AvailabilityZones"]] == ["us-east-1d"]
    assert world.refused("DescribeAvailabilityZones", ZoneNames=["us-east-1z"]) == (
        "InvalidParameterValue",
        "Invalid availability zone: [us-east-1z]",
    )


def test_forgetting_leaves_a_fresh_account_and_no_address_in_danger(world: World) -> None:
    interface = world.interface(world.subnets()[0], public=True)
    world.update(ec2.forget_all)
    view = world.store.view()
    assert view.all(VPCS, HOME) == view.all(INTERFACES, HOME) == []
    assert [h.public_address for h in view.all(HOLDS, POOL)] == [interface.public_address]
    assert world.interface(world.subnets()[0], public=True).public_address != interface.public_address
