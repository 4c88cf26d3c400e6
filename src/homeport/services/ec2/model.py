"""Records of EC2. Ids are AWS's own (``vpc-…``, ``subnet-…``, ``sg-…``, ``sgr-…``, ``eni-…``); times epoch seconds."""

from __future__ import annotations

import sys

import msgspec
from msgspec.structs import force_setattr

from homeport.store import Scope, Table

POOL = Scope("-", "-")  # of what all accounts and regions share: public addresses and held addresses


class Vpc(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    id: str
    cidr: str
    is_default: bool
    created_at: float
    tags: dict[str, str] = {}


class Subnet(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    id: str
    vpc_id: str
    cidr: str
    availability_zone: str  # us-east-1a
    zone_id: str  # use1-az1
    default_for_az: bool
    map_public_ip: bool
    created_at: float
    tags: dict[str, str] = {}


class SubnetCursor(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Where the search for a free private address goes on. A record of its own, so that handing out an address doesn't
    rewrite the subnet. ``last``: the address handed out last, as a number."""

    id: str  # of the subnet
    last: int


class PublicPool(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The addresses under which tasks are reached from outside. ``last``: the one handed out last, 0 for none."""

    cidr: str
    last: int = 0


class AddressHold(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Addresses of a deleted interface that nodes may still enforce rules for: not free until all have acknowledged.

    ``version``: the store version at which the interface was deleted.
    """

    version: int
    eni_id: str
    vpc_id: str
    subnet_id: str
    private_address: str
    public_address: str | None = None
    held_at: float

    @property
    def id(self) -> str:
        return f"{self.version:020d}/{self.eni_id}"  # sorts by version: the oldest are released first


class GroupRule(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One rule with one peer: exactly one of ``cidr``, ``cidr6`` and ``group_id`` isn't empty.

    ``protocol``: tcp, udp, icmp, icmpv6, ``-1`` (all) or an IP protocol number. ``from_port`` and ``to_port``: the port
    range; type and code for ICMP; -1 where they don't apply or mean all.
    """

    id: str  # sgr-…
    egress: bool
    protocol: str
    from_port: int = -1
    to_port: int = -1
    cidr: str = ""
    cidr6: str = ""
    group_id: str = ""
    description: str | None = None
    tags: dict[str, str] = {}

    @property
    def peer(self) -> str:
        return self.cidr or self.cidr6 or self.group_id

    @property
    def match(self) -> tuple[bool, str, int, int, str]:
        """What makes two rules the same rule."""
        return (self.egress, self.protocol, self.from_port, self.to_port, self.peer)


class SecurityGroup(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    id: str
    vpc_id: str
    name: str
    description: str
    created_at: float
    rules: tuple[GroupRule, ...] = ()
    tags: dict[str, str] = {}


class NetworkInterface(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """An elastic network interface (its owner is a task's attachment)."""

    id: str  # eni-…
    vpc_id: str
    subnet_id: str
    availability_zone: str
    mac: str
    private_address: str
    private_dns_name: str  # ip-172-31-0-5.ec2.internal / ip-….<region>.compute.internal
    groups: tuple[str, ...]
    description: str  # ECS: arn:aws:ecs:<region>:<account>:attachment/<uuid>
    status: str  # pending | in-use | available
    created_at: float
    public_address: str | None = None
    attachment_id: str = ""  # eni-attach-…
    association_id: str = ""  # eipassoc-… where it has a public address
    instance_owner: str = "amazon-ecs"
    attached_at: float | None = None
    tags: dict[str, str] = {}

    def __post_init__(self) -> None:
        # Thousands of interfaces are in the same few subnets and groups: one string each.
        for name in ("vpc_id", "subnet_id", "availability_zone", "status", "instance_owner"):
            force_setattr(self, name, sys.intern(getattr(self, name)))
        force_setattr(self, "groups", tuple(map(sys.intern, self.groups)))


VPCS: Table[Vpc] = Table("vpc", Vpc, id=lambda r: r.id, indexes={"default": lambda r: (r.is_default,)})

SUBNETS: Table[Subnet] = Table(
    "subnet",
    Subnet,
    id=lambda r: r.id,
    indexes={"vpc": lambda r: (r.vpc_id,), "zone": lambda r: (r.availability_zone,)},
)

SUBNET_CURSORS: Table[SubnetCursor] = Table("subnet-cursor", SubnetCursor, id=lambda r: r.id)

PUBLIC_POOLS: Table[PublicPool] = Table("public-pool", PublicPool, id=lambda r: "default")

HOLDS: Table[AddressHold] = Table(
    "address-hold",
    AddressHold,
    id=lambda r: r.id,
    indexes={
        "subnet": lambda r: (r.subnet_id,),
        "address": lambda r: ((r.subnet_id, r.private_address),),
        "public": lambda r: (r.public_address,) if r.public_address else (),
    },
)

GROUPS: Table[SecurityGroup] = Table(
    "security-group",
    SecurityGroup,
    id=lambda r: r.id,
    indexes={
        "vpc": lambda r: (r.vpc_id,),
        "name": lambda r: ((r.vpc_id, r.name.lower()),),  # EC2 tells names apart without regard to case
        "peer": lambda r: {rule.group_id for rule in r.rules if rule.group_id},
        "rule": lambda r: tuple(rule.id for rule in r.rules),
    },
)

INTERFACES: Table[NetworkInterface] = Table(
    "network-interface",
    NetworkInterface,
    id=lambda r: r.id,
    indexes={
        "vpc": lambda r: (r.vpc_id,),
        "subnet": lambda r: (r.subnet_id,),
        "group": lambda r: r.groups,
        "address": lambda r: ((r.vpc_id, r.private_address),),
    },
    global_indexes={"public": lambda r: (r.public_address,) if r.public_address else ()},
)

TABLES = (VPCS, SUBNETS, SUBNET_CURSORS, PUBLIC_POOLS, HOLDS, GROUPS, INTERFACES)
