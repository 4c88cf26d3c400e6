"""Network interfaces as other services use them, inside their own transactions. (Contract.)"""

from __future__ import annotations

from collections.abc import Sequence

from homeport.core.ids import Ids
from homeport.services.ec2.model import NetworkInterface
from homeport.store import Scope, Tx, View


def check(view: Tx, scope: Scope, subnets: Sequence[str], groups: Sequence[str], ids: Ids, now: float) -> tuple[str, tuple[str, ...]]:
    """Checks awsvpcConfiguration: all subnets and groups exist and are of one VPC. Returns (vpc id, group ids; the VPC's
    default group where none were given). Raises InvalidParameterException with ECS's texts. Makes the region's default
    VPC if this is its first use."""
    raise NotImplementedError


def create(tx: Tx, scope: Scope, *, subnet_id: str, groups: Sequence[str], public: bool, description: str, ids: Ids, now: float) -> NetworkInterface:
    """A new interface with a private address of the subnet (and a public one of the pool). Raises AwsError
    ``InsufficientFreeAddressesInSubnet`` / ``InsufficientAddressCapacity`` (code) where none is left."""
    raise NotImplementedError


def attached(tx: Tx, scope: Scope, id: str, now: float) -> None:
    """The node has it: status ``in-use``. No error where it's gone."""
    raise NotImplementedError


def delete(tx: Tx, scope: Scope, id: str, now: float) -> None:
    """Deletes the interface; its addresses are held back (``held`` records) until ``release``. No error if it's gone."""
    raise NotImplementedError


def release(tx: Tx, up_to_version: int) -> None:
    """Frees the held addresses of interfaces whose deletion every node has acknowledged (deleted at or before this
    store version)."""
    raise NotImplementedError


def spec_facts(view: View, scope: Scope, eni: NetworkInterface) -> dict[str, str]:
    """``vpc_cidr``, ``subnet_cidr``, ``gateway`` of the interface's subnet, for the agent's InterfaceSpec."""
    raise NotImplementedError
