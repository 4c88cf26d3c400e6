"""Which address is handed out next, and the names that go with addresses. Pure; addresses are numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Network
from typing import NamedTuple


class Range(NamedTuple):
    """The addresses that may be handed out, both ends included; empty where ``last`` < ``first``."""

    first: int
    last: int

    @property
    def size(self) -> int:
        return max(0, self.last - self.first + 1)


@lru_cache(1024)
def private_range(cidr: str) -> Range:
    """A subnet's usable addresses. AWS keeps the first four (network, router, DNS, future use) and the last one."""
    network = IPv4Network(cidr)
    return Range(int(network.network_address) + 4, int(network.broadcast_address) - 1)


def public_range(cidr: str) -> Range:
    """A pool's usable addresses: all but network and broadcast; both of a /31 and the one of a /32."""
    network = IPv4Network(cidr)
    first, last = int(network.network_address), int(network.broadcast_address)
    return Range(first, last) if network.prefixlen >= 31 else Range(first + 1, last - 1)


def choose(usable: Range, last: int, taken: Callable[[int], bool]) -> int | None:
    """The first free address after ``last``, going round once; None where every one is taken.

    Going on from the address handed out last, not from the bottom, lets a freed address rest as long as possible.
    """
    if not usable.size:
        return None
    start = last + 1 if usable.first <= last < usable.last else usable.first
    for candidate in range(start, usable.last + 1):
        if not taken(candidate):
            return candidate
    for candidate in range(usable.first, start):
        if not taken(candidate):
            return candidate
    return None


def text(address: int) -> str:
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


@lru_cache(1024)
def gateway(subnet_cidr: str) -> str:
    """A subnet's router: its second address."""
    return text(int(IPv4Network(subnet_cidr).network_address) + 1)


def private_dns_name(region: str, address: str) -> str:
    suffix = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    return f"ip-{address.replace('.', '-')}.{suffix}"


def public_dns_name(region: str, address: str) -> str:
    zone = "compute-1" if region == "us-east-1" else f"{region}.compute"
    end = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"ec2-{address.replace('.', '-')}.{zone}.{end}"
