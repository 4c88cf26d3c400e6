"""Network interfaces: made, shown, deleted, their addresses held and freed; groups as nodes enforce them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ec2_world import ACCOUNT, HOME, POOL_CIDR, World
from msgspec.structs import replace

from homeport.agentapi import Group, Rule
from homeport.core.errors import AwsError
from homeport.services.ec2 import eni, groups, pool
from homeport.services.ec2.model import GROUPS as GROUP_TABLE
from homeport.services.ec2.model import HOLDS, INTERFACES, POOL, SUBNETS, SecurityGroup, Subnet
from homeport.store import Scope

ANYWHERE = Rule(protocol="-1", cidrs=("0.0.0.0/0",))


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


def small_subnet(world: World, id: str = "subnet-0123456789abcdef0", cidr: str = "10.9.0.0/28") -> str:
    vpc = world.call("DescribeVpcs")["Vpcs"][0]["VpcId"]
    subnet = Subnet(
        id=id,
        vpc_id=vpc,
        cidr=cidr,
        availability_zone="us-east-1a",
        zone_id="use1-az1",
        default_for_az=False,
        map_public_ip=False,
        created_at=0.0,
    )
    world.update(lambda tx: tx.put(SUBNETS, HOME, subnet))
    return id


def shown(world: World, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.call("DescribeNetworkInterfaces", **params)["NetworkInterfaces"]
    return found


def test_an_interface_as_a_caller_of_ecs_sees_it(world: World) -> None:
    subnet, web = world.subnets()[1], world.group("web")
    made = world.interface(subnet, web, public=True)
    (eni_,) = shown(world, NetworkInterfaceIds=[made.id])
    assert (eni_["Status"], eni_["Attachment"]["Status"]) == ("attaching", "attaching")
    world.clock.now += 2
    world.update(lambda tx: eni.attached(tx, HOME, made.id, tx.now))
    (eni_,) = shown(world, NetworkInterfaceIds=[made.id])
    association = {
        "AssociationId": made.association_id,
        "IpOwnerId": "amazon",
        "PublicDnsName": "ec2-198-18-7-1.compute-1.amazonaws.com",
        "PublicIp": "198.18.7.1",
    }
    assert eni_["Association"] == association
    assert eni_["PrivateIpAddresses"] == [
        {
            "Primary": True,
            "PrivateIpAddress": "172.31.16.4",
            "PrivateDnsName": "ip-172-31-16-4.ec2.internal",
            "Association": association,
        }
    ]
    attachment = eni_["Attachment"]
    assert attachment["AttachmentId"].startswith("eni-attach-")
    assert (attachment["Status"], attachment["AttachTime"]) == ("attached", world.clock.now)
    assert eni_["Groups"] == [{"GroupId": web, "GroupName": "web"}]
    assert eni_["Description"] == f"arn:aws:ecs:us-east-1:{ACCOUNT}:attachment/1"
    expected = {
        "InterfaceType": "interface",
        "RequesterManaged": True,
        "Status": "in-use",
        "SubnetId": subnet,
        "AvailabilityZone": "us-east-1b",
        "AvailabilityZoneId": "use1-az2",
        "MacAddress": made.mac,
        "PrivateIpAddress": "172.31.16.4",
        "SourceDestCheck": True,
        "TagSet": [],
    }
    assert {name: eni_[name] for name in expected} == expected


def test_without_a_public_address_there_is_no_association(world: World) -> None:
    world.interface(world.subnets()[0])
    (eni_,) = shown(world)
    assert "Association" not in eni_
    assert "Association" not in eni_["PrivateIpAddresses"][0]


@pytest.mark.parametrize(
    ("name", "value", "count"),
    [
        ("addresses.association.public-ip", "198.18.7.1", 1),
        ("association.public-ip", "198.18.7.*", 1),
        ("association.public-dns-name", "ec2-198-18-7-1.*", 1),
        ("addresses.private-ip-address", "172.31.0.4", 1),
        ("private-ip-address", "172.31.*", 2),
        ("private-dns-name", "ip-172-31-0-4.ec2.internal", 1),
        ("group-name", "web", 1),
        ("description", "arn:aws:ecs:us-east-1:*:attachment/*", 2),
        ("status", "attaching", 2),
        ("status", "in-use", 0),
        ("attachment.status", "attaching", 2),
        ("interface-type", "interface", 2),
        ("requester-managed", "true", 2),
        ("availability-zone", "us-east-1a", 1),
        ("availability-zone-id", "use1-az2", 1),
        ("owner-id", ACCOUNT, 2),
        ("mac-address", "0a:*", 2),
        ("attachment.attach-time", "*", 0),
        ("ipv6-addresses.ipv6-address", "*", 0),
    ],
)
def test_filters_of_interfaces(world: World, name: str, value: str, count: int) -> None:
    web = world.group("web")
    world.interface(world.subnets()[0], web, public=True)
    world.interface(world.subnets()[1])
    assert len(shown(world, Filters=[{"Name": name, "Values": [value]}])) == count


def test_indexed_filters_of_interfaces(world: World) -> None:
    web = world.group("web")
    first, second = world.interface(world.subnets()[0], web), world.interface(world.subnets()[1])
    for name, value, ids in [
        ("group-id", web, [first.id]),
        ("subnet-id", second.subnet_id, [second.id]),
        ("vpc-id", first.vpc_id, sorted([first.id, second.id])),
        ("network-interface-id", first.id, [first.id]),
    ]:
        assert [e["NetworkInterfaceId"] for e in shown(world, Filters=[{"Name": name, "Values": [value]}])] == ids


def test_a_subnet_runs_out_and_gets_its_addresses_back(world: World) -> None:
    subnet = small_subnet(world)
    made = [world.interface(subnet) for _ in range(11)]
    assert [m.private_address for m in made] == [f"10.9.0.{n}" for n in range(4, 15)]
    with pytest.raises(AwsError) as caught:
        world.interface(subnet)
    assert caught.value.code == "InsufficientFreeAddressesInSubnet"
    assert world.call("DescribeSubnets", SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"] == 0
    world.update(lambda tx: eni.delete(tx, HOME, made[3].id, tx.now))
    with pytest.raises(AwsError):
        world.interface(subnet)  # the address is held until every node has let go of it
    world.update(lambda tx: eni.release(tx, world.store.version))
    assert world.interface(subnet).private_address == made[3].private_address


@pytest.mark.parametrize(("public", "size"), [(False, 11), (True, 14)])
def test_a_held_address_is_passed_over(world: World, public: bool, size: int) -> None:
    subnet = world.subnets()[0] if public else small_subnet(world)
    made = [world.interface(subnet, public=public) for _ in range(size)]
    world.update(lambda tx: eni.delete(tx, HOME, made[5].id, tx.now))
    world.update(lambda tx: eni.release(tx, world.store.version))
    world.update(lambda tx: eni.delete(tx, HOME, made[0].id, tx.now))
    given = world.interface(subnet, public=public)
    if public:
        assert given.public_address == made[5].public_address
    else:
        assert given.private_address == made[5].private_address


def test_a_freed_address_rests(world: World) -> None:
    subnet = small_subnet(world)
    first = world.interface(subnet)
    world.update(lambda tx: eni.delete(tx, HOME, first.id, tx.now))
    world.update(lambda tx: eni.release(tx, world.store.version))
    assert world.interface(subnet).private_address == "10.9.0.5"


def test_release_frees_only_what_nodes_have_acknowledged(world: World) -> None:
    subnet = world.subnets()[0]
    one, two = world.interface(subnet, public=True), world.interface(subnet)
    world.update(lambda tx: eni.delete(tx, HOME, one.id, tx.now))
    acknowledged = world.store.version
    world.update(lambda tx: eni.delete(tx, HOME, two.id, tx.now))
    world.update(lambda tx: eni.release(tx, acknowledged - 1))
    assert {h.eni_id for h in world.store.view().all(HOLDS, POOL)} == {one.id, two.id}
    world.update(lambda tx: eni.release(tx, acknowledged))
    assert {h.eni_id for h in world.store.view().all(HOLDS, POOL)} == {two.id}
    assert shown(world) == []
    assert world.code("DescribeNetworkInterfaces", NetworkInterfaceIds=[one.id]).endswith(".NotFound")


def test_public_addresses_run_out_and_nothing_is_kept(world: World) -> None:
    subnet = world.subnets()[0]
    given = [world.interface(subnet, public=True).public_address for _ in range(14)]
    assert given == [f"198.18.7.{n}" for n in range(1, 15)]
    before = world.store.version
    with pytest.raises(AwsError) as caught:
        world.interface(subnet, public=True)
    assert caught.value.code == "InsufficientAddressCapacity"
    assert world.store.version == before
    assert world.interface(subnet).private_address == "172.31.0.18"


def test_public_addresses_are_shared_by_all_accounts_and_regions(world: World) -> None:
    far = Scope("210987654321", "eu-west-1")
    one = world.interface(world.subnets()[0], public=True)
    two = world.interface(world.subnets(far)[0], public=True, scope=far)
    assert (one.private_address, two.private_address) == ("172.31.0.4", "172.31.0.4")
    assert (one.public_address, two.public_address) == ("198.18.7.1", "198.18.7.2")


def test_another_pool_leaves_what_is_out(world: World) -> None:
    subnet = world.subnets()[0]
    world.interface(subnet, public=True)
    world.update(lambda tx: pool.configure(tx, "198.18.7.0/30"))
    assert world.interface(subnet, public=True).public_address == "198.18.7.2"
    assert world.store.view().find_global(INTERFACES, "public", "198.18.7.1")
    with pytest.raises(ValueError):
        world.update(lambda tx: pool.configure(tx, "198.18.7.1/30"))


def test_configuring_the_same_pool_keeps_its_place(world: World) -> None:
    first = world.interface(world.subnets()[0], public=True)
    world.update(lambda tx: eni.delete(tx, HOME, first.id, tx.now))
    world.update(lambda tx: eni.release(tx, world.store.version))
    world.update(lambda tx: pool.configure(tx, POOL_CIDR))
    assert world.interface(world.subnets()[0], public=True).public_address == "198.18.7.2"


def test_deleting_and_attaching_what_is_gone_is_no_error(world: World) -> None:
    before = world.store.version
    world.update(lambda tx: eni.delete(tx, HOME, "eni-0", tx.now))
    world.update(lambda tx: eni.attached(tx, HOME, "eni-0", tx.now))
    assert world.store.version == before


def test_facts_of_the_subnet(world: World) -> None:
    made = world.interface(world.subnets()[1])
    assert eni.spec_facts(world.store.view(), HOME, made) == {
        "vpc_cidr": "172.31.0.0/16",
        "subnet_cidr": "172.31.16.0/20",
        "gateway": "172.31.16.1",
    }


# --- awsvpcConfiguration ---


def check(world: World, subnets: list[str], groups: list[str]) -> tuple[str, tuple[str, ...]]:
    return world.update(lambda tx: eni.check(tx, HOME, subnets, groups, world.ids, tx.now))


def test_a_good_configuration(world: World) -> None:
    subnets, web = world.subnets(), world.group("web")
    vpc = world.call("DescribeVpcs")["Vpcs"][0]["VpcId"]
    default = world.call("DescribeSecurityGroups", GroupNames=["default"])["SecurityGroups"][0]["GroupId"]
    assert check(world, subnets, [web, web]) == (vpc, (web,))
    assert check(world, subnets[:1], []) == (vpc, (default,))


@pytest.mark.parametrize(
    ("subnets", "groups", "text"),
    [
        ([], [], "subnets can not be empty."),
        (["x"] * 17, [], "subnets can have at most 16 items."),
        (["x"], ["sg-1"] * 6, "securityGroups can have at most 5 items."),
        (
            ["subnet-9"],
            [],
            "Error retrieving subnet information for [subnet-9]: The subnet ID 'subnet-9' does not exist "
            "(ErrorCode: InvalidSubnetID.NotFound)",
        ),
        (
            ["SUBNET"],
            ["sg-9"],
            "Error retrieving security group information for [sg-9]: The security group 'sg-9' does not exist "
            "(ErrorCode: InvalidGroup.NotFound)",
        ),
        (["SUBNET"], ["FAR"], "Security group sg-far does not appear to belong to the same VPC as the input subnets."),
        (["SUBNET", "subnet-far"], [], "All subnets must belong to the same VPC."),
    ],
)
def test_bad_configurations(world: World, subnets: list[str], groups: list[str], text: str) -> None:
    real = world.subnets()[0]
    far = SecurityGroup(id="sg-far", vpc_id="vpc-2", name="far", description="d", created_at=0.0)
    world.update(lambda tx: tx.put(GROUP_TABLE, HOME, far))
    subnet = world.store.view().get(SUBNETS, HOME, real)
    assert subnet is not None
    world.update(lambda tx: tx.put(SUBNETS, HOME, _moved(subnet)))
    with pytest.raises(AwsError) as caught:
        check(world, [real if s == "SUBNET" else s for s in subnets], ["sg-far" if g == "FAR" else g for g in groups])
    assert (caught.value.code, caught.value.message) == ("InvalidParameterException", text)


def _moved(subnet: Subnet) -> Subnet:
    return replace(subnet, id="subnet-far", vpc_id="vpc-2")


# --- groups as nodes enforce them ---


def test_members_are_told_only_where_a_rule_names_the_group(world: World) -> None:
    web, db = world.group("web"), world.group("db")
    one, two = world.interface(world.subnets()[1], web), world.interface(world.subnets()[0], web)
    view = world.store.view()
    assert groups.enforced(view, HOME, web) == Group(group_id=web, egress=(ANYWHERE,))
    pair = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": web}]}
    world.call("AuthorizeSecurityGroupIngress", GroupId=db, IpPermissions=[pair])
    view = world.store.view()
    assert groups.enforced(view, HOME, web) == Group(
        group_id=web, egress=(ANYWHERE,), members=(two.private_address, one.private_address)
    )
    assert groups.enforced(view, HOME, db) == Group(
        group_id=db, ingress=(Rule(protocol="tcp", from_port=5432, to_port=5432, groups=(web,)),), egress=(ANYWHERE,)
    )
    assert groups.peers(view, HOME, db) == {web}
    assert groups.peers(view, HOME, web) == set()
    world.update(lambda tx: eni.delete(tx, HOME, one.id, tx.now))
    told = groups.enforced(world.store.view(), HOME, web)
    assert told is not None
    assert told.members == (two.private_address,)


def test_there_is_no_such_group(world: World) -> None:
    assert groups.enforced(world.store.view(), HOME, "sg-9") is None
    assert groups.peers(world.store.view(), HOME, "sg-9") == set()
