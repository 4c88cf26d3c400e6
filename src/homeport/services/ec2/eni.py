"""Network interfaces as other services use them, inside their own transactions."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from homeport.core.errors import AwsError, invalid_parameter
from homeport.core.ids import Ids
from homeport.services.ec2 import errors, pool
from homeport.services.ec2.addresses import choose, gateway, private_dns_name, private_range, text
from homeport.services.ec2.defaults import ensure_default
from homeport.services.ec2.model import (
    GROUPS,
    HOLDS,
    INTERFACES,
    POOL,
    SUBNET_CURSORS,
    SUBNETS,
    VPCS,
    AddressHold,
    NetworkInterface,
    Subnet,
    SubnetCursor,
)
from homeport.store import Scope, Tx, View

MAX_SUBNETS = 16  # of an awsvpcConfiguration
MAX_GROUPS = 5  # of an awsvpcConfiguration, and of an interface


def check(
    view: Tx, scope: Scope, subnets: Sequence[str], groups: Sequence[str], ids: Ids, now: float
) -> tuple[str, tuple[str, ...]]:
    """Checks awsvpcConfiguration: all subnets and groups exist and are of one VPC. Returns (vpc id, group ids; the
    VPC's default group where none were given). Raises InvalidParameterException with ECS's texts. Makes the region's
    default VPC if this is its first use."""
    if not subnets:
        raise invalid_parameter("subnets can not be empty.")
    if len(subnets) > MAX_SUBNETS:
        raise invalid_parameter(f"subnets can have at most {MAX_SUBNETS} items.")
    if len(groups) > MAX_GROUPS:
        raise invalid_parameter(f"securityGroups can have at most {MAX_GROUPS} items.")
    ensure_default(view, scope, ids, now)
    vpcs = set()
    for id in subnets:
        subnet = view.get(SUBNETS, scope, id)
        if subnet is None:
            raise _not_retrieved("subnet", id, errors.no_subnet(id))
        vpcs.add(subnet.vpc_id)
    if len(vpcs) > 1:
        raise invalid_parameter("All subnets must belong to the same VPC.")
    vpc_id = vpcs.pop()
    chosen = tuple(dict.fromkeys(groups))
    for id in chosen:
        group = view.get(GROUPS, scope, id)
        if group is None:
            raise _not_retrieved("security group", id, errors.no_group(id))
        if group.vpc_id != vpc_id:
            raise invalid_parameter(
                f"Security group {id} does not appear to belong to the same VPC as the input subnets."
            )
    if not chosen:
        chosen = tuple(group.id for group in view.find(GROUPS, scope, "name", (vpc_id, "default")))
    return vpc_id, chosen


def _not_retrieved(what: str, id: str, cause: AwsError) -> AwsError:
    return invalid_parameter(
        f"Error retrieving {what} information for [{id}]: {cause.message} (ErrorCode: {cause.code})"
    )


def create(
    tx: Tx,
    scope: Scope,
    *,
    subnet_id: str,
    groups: Sequence[str],
    public: bool,
    description: str,
    ids: Ids,
    now: float,
) -> NetworkInterface:
    """A new interface with a private address of the subnet (and a public one of the pool). Raises AwsError
    ``InsufficientFreeAddressesInSubnet`` / ``InsufficientAddressCapacity`` (code) where none is left."""
    subnet = tx.get(SUBNETS, scope, subnet_id)
    if subnet is None:
        raise errors.no_subnet(subnet_id)
    for id in groups:
        if tx.get(GROUPS, scope, id) is None:
            raise errors.no_group(id)
    private_address = _private_address(tx, scope, subnet)
    interface = NetworkInterface(
        id=ids.new("eni"),
        vpc_id=subnet.vpc_id,
        subnet_id=subnet.id,
        availability_zone=subnet.availability_zone,
        mac=ids.new("mac"),
        private_address=private_address,
        private_dns_name=private_dns_name(scope[1], private_address),
        groups=tuple(groups),
        description=description,
        status="pending",
        created_at=now,
        public_address=pool.take(tx) if public else None,
        attachment_id=ids.new("eni-attach"),
        association_id=ids.new("eipassoc") if public else "",
    )
    tx.put(INTERFACES, scope, interface)
    return interface


def available(view: View, scope: tuple[str, str], subnet: Subnet) -> int:
    """How many addresses of a subnet can be handed out now."""
    used = view.count(INTERFACES, scope, "subnet", subnet.id) + view.count(HOLDS, POOL, "subnet", subnet.id)
    return max(0, private_range(subnet.cidr).size - used)


def _private_address(tx: Tx, scope: Scope, subnet: Subnet) -> str:
    if not available(tx, scope, subnet):
        raise errors.subnet_full()  # told at once: the search below would look at every address first

    def taken(address: int) -> bool:
        dotted = text(address)
        return bool(
            tx.count(INTERFACES, scope, "address", (subnet.vpc_id, dotted))
            or tx.count(HOLDS, POOL, "address", (subnet.id, dotted))
        )

    cursor = tx.get(SUBNET_CURSORS, scope, subnet.id)
    chosen = choose(private_range(subnet.cidr), cursor.last if cursor else 0, taken)
    if chosen is None:
        raise errors.subnet_full()
    tx.put(SUBNET_CURSORS, scope, SubnetCursor(id=subnet.id, last=chosen))
    return text(chosen)


def attached(tx: Tx, scope: Scope, id: str, now: float) -> None:
    """The node has it: status ``in-use``. No error where it's gone."""
    interface = tx.get(INTERFACES, scope, id)
    if interface is not None and interface.status != "in-use":
        tx.put(INTERFACES, scope, replace(interface, status="in-use", attached_at=now))


def delete(tx: Tx, scope: Scope, id: str, now: float) -> None:
    """Deletes the interface; its addresses are held back (``HOLDS``) until ``release``. No error if it's gone."""
    interface = tx.get(INTERFACES, scope, id)
    if interface is None:
        return
    hold = AddressHold(
        version=tx.version,
        eni_id=interface.id,
        vpc_id=interface.vpc_id,
        subnet_id=interface.subnet_id,
        private_address=interface.private_address,
        public_address=interface.public_address,
        held_at=now,
    )
    tx.delete(INTERFACES, scope, id)
    tx.put(HOLDS, POOL, hold)


def release(tx: Tx, up_to_version: int) -> None:
    """Frees the held addresses of interfaces whose deletion every node has acknowledged (deleted at or before this
    store version)."""
    for hold in tx.all(HOLDS, POOL):
        if hold.version > up_to_version:
            break  # sorted by version
        tx.delete(HOLDS, POOL, hold.id)


def spec_facts(view: View, scope: Scope, eni: NetworkInterface) -> dict[str, str]:
    """``vpc_cidr``, ``subnet_cidr``, ``gateway`` of the interface's subnet, for the agent's InterfaceSpec."""
    subnet = view.get(SUBNETS, scope, eni.subnet_id)
    vpc = view.get(VPCS, scope, eni.vpc_id)
    if subnet is None or vpc is None:
        raise errors.no_subnet(eni.subnet_id)
    return {"vpc_cidr": vpc.cidr, "subnet_cidr": subnet.cidr, "gateway": gateway(subnet.cidr)}
