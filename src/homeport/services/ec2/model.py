"""Records of EC2."""

from __future__ import annotations

import msgspec

from homeport.store.tables import Table


class NetworkInterface(msgspec.Struct, frozen=True, gc=False, kw_only=True):
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
