"""What a region has before anybody made anything: its default VPC with a subnet per zone and the default group."""

from __future__ import annotations

from ipaddress import IPv4Network

from homeport.core.ids import Ids
from homeport.services.ec2.model import GROUPS, SUBNETS, VPCS, GroupRule, SecurityGroup, Subnet, Vpc
from homeport.services.ec2.regions import zones
from homeport.store import Scope, Tx, View

VPC_CIDR = "172.31.0.0/16"  # AWS's own default VPC
SUBNET_PREFIX = 20  # and its default subnets
ANYWHERE = "0.0.0.0/0"


def default_vpc(view: View, scope: tuple[str, str]) -> Vpc | None:
    found = view.find(VPCS, scope, "default", True)
    return found[0] if found else None


def ensure_default(tx: Tx, scope: tuple[str, str], ids: Ids, now: float) -> Vpc:
    """The region's default VPC, made at its first use. Changes nothing where it exists."""
    if vpc := default_vpc(tx, scope):
        return vpc
    vpc = Vpc(id=ids.new("vpc"), cidr=VPC_CIDR, is_default=True, created_at=now)
    tx.put(VPCS, scope, vpc)
    blocks = IPv4Network(VPC_CIDR).subnets(new_prefix=SUBNET_PREFIX)
    for zone, block in zip(zones(scope[1]), blocks, strict=False):
        subnet = Subnet(
            id=ids.new("subnet"),
            vpc_id=vpc.id,
            cidr=str(block),
            availability_zone=zone.name,
            zone_id=zone.id,
            default_for_az=True,
            map_public_ip=True,
            created_at=now,
        )
        tx.put(SUBNETS, scope, subnet)
    tx.put(GROUPS, scope, default_group(vpc.id, ids, now))
    return vpc


def default_group(vpc_id: str, ids: Ids, now: float) -> SecurityGroup:
    """The group that every VPC has: its members reach each other, and all of the world."""
    id = ids.new("sg")
    return SecurityGroup(
        id=id,
        vpc_id=vpc_id,
        name="default",
        description="default VPC security group",
        created_at=now,
        rules=(
            GroupRule(id=ids.new("sgr"), egress=False, protocol="-1", group_id=id),
            outbound_to_anywhere(ids),
        ),
    )


def outbound_to_anywhere(ids: Ids) -> GroupRule:
    """The egress rule that every new group starts with."""
    return GroupRule(id=ids.new("sgr"), egress=True, protocol="-1", cidr=ANYWHERE)


def ensure_web_group(tx: Tx, scope: tuple[str, str], ids: Ids, now: float) -> str:
    """The id of the default VPC's group ``web``, which lets tcp/80 in from anywhere; made where there is none of that
    name. One that exists is left as its owner changed it."""
    vpc = ensure_default(tx, scope, ids, now)
    if found := tx.find(GROUPS, scope, "name", (vpc.id, "web")):
        return found[0].id
    group = SecurityGroup(
        id=ids.new("sg"),
        vpc_id=vpc.id,
        name="web",
        description="HTTP from anywhere",
        created_at=now,
        rules=(
            GroupRule(id=ids.new("sgr"), egress=False, protocol="tcp", from_port=80, to_port=80, cidr=ANYWHERE),
            outbound_to_anywhere(ids),
        ),
    )
    tx.put(GROUPS, scope, group)
    return group.id


def first_subnets(view: View, scope: tuple[str, str]) -> list[str]:
    """Ids of the default VPC's default subnets, by zone; empty before the region's first use."""
    vpc = default_vpc(view, Scope(*scope))
    subnets = view.find(SUBNETS, scope, "vpc", vpc.id) if vpc else []
    return [s.id for s in sorted(subnets, key=lambda s: s.availability_zone) if s.default_for_az]
