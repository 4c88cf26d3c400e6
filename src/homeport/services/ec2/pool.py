"""The pool of public addresses, shared by all accounts and regions of one Homeport."""

from __future__ import annotations

from ipaddress import IPv4Network

from homeport.services.ec2 import errors
from homeport.services.ec2.addresses import choose, public_range, text
from homeport.services.ec2.model import HOLDS, INTERFACES, POOL, PUBLIC_POOLS, PublicPool
from homeport.store import Tx, View


def configure(tx: Tx, cidr: str) -> None:
    """Sets the pool's range (``198.18.0.0/24``). Addresses that are out already stay valid, also outside of it.

    Raises ValueError where ``cidr`` isn't an IPv4 network.
    """
    network = str(IPv4Network(cidr))
    pool = tx.get(PUBLIC_POOLS, POOL, "default")
    if pool is None or pool.cidr != network:
        tx.put(PUBLIC_POOLS, POOL, PublicPool(cidr=network))


def configured(view: View) -> str | None:
    """The pool's range, None before ``configure``."""
    pool = view.get(PUBLIC_POOLS, POOL, "default")
    return pool.cidr if pool else None


def take(tx: Tx) -> str:
    """A free public address. It counts as taken once an interface record carries it, later in the same transaction.

    Raises AwsError InsufficientAddressCapacity.
    """
    pool = tx.get(PUBLIC_POOLS, POOL, "default")
    if pool is None:
        raise errors.pool_empty()

    def taken(address: int) -> bool:
        dotted = text(address)
        return bool(tx.find_global(INTERFACES, "public", dotted) or tx.count(HOLDS, POOL, "public", dotted))

    chosen = choose(public_range(pool.cidr), pool.last, taken)
    if chosen is None:
        raise errors.pool_empty()
    tx.put(PUBLIC_POOLS, POOL, PublicPool(cidr=pool.cidr, last=chosen))
    return text(chosen)
