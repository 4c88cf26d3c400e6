"""Choice of the public pool. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network

DEFAULT_BASE = "198.18.0.0/15"  # RFC 2544 benchmarking: routed nowhere
DEFAULT_PREFIX = 22


def free_slice(routes: Iterable[str], base: str = DEFAULT_BASE, prefix: int = DEFAULT_PREFIX) -> str:
    """The first /``prefix`` of ``base`` that overlaps none of the host's routes (CIDRs; a default route doesn't count).
    Raises LookupError where none is free."""
    taken = _networks(routes)
    for candidate in IPv4Network(base).subnets(new_prefix=prefix):
        if not any(candidate.overlaps(other) for other in taken):
            return str(candidate)
    raise LookupError(f"no free /{prefix} in {base}")


def overlapping(pool: str, routes: Iterable[str]) -> list[str]:
    """Routes of the host that a public pool would overlap (its default route aside)."""
    network = IPv4Network(pool)
    return [str(other) for other in _networks(routes) if network.overlaps(other)]


def _networks(routes: Iterable[str]) -> list[IPv4Network]:
    return [network for network in map(IPv4Network, routes) if network.prefixlen]
