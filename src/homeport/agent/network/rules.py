"""Security group rules as nft statements. Pure.

Only new connections reach these statements: what is tracked was accepted before. Tasks have IPv4 alone, so IPv6 peers
match nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Network, collapse_addresses, ip_network
from typing import Literal

from homeport.agent.network.layout import checked_name
from homeport.agentapi import Rule

_NUMBERS = {"6": "tcp", "17": "udp", "1": "icmp"}
_ANY = IPv4Network("0.0.0.0/0")


def members_set(group_id: str) -> str:
    """Name of the set with the private addresses of a group's interfaces."""
    return f"members_{checked_name(group_id)}"


@lru_cache(1024)
def statements(rules: tuple[Rule, ...], peer: Literal["saddr", "daddr"], verdict: str) -> tuple[str, ...]:
    """One nft statement for each (rule, kind of peer). ``peer``: where a packet carries its peer's address.
    Raises ValueError for a rule that can't be one."""
    return tuple(
        " ".join(part for part in (source, service(rule), verdict) if part)
        for rule in rules
        for source in _peers(rule, peer)
    )


def peers(rules: Iterable[Rule]) -> set[str]:
    """Groups that the rules name."""
    return {group for rule in rules for group in rule.groups}


def service(rule: Rule) -> str:
    """The protocol and ports of a rule as an nft expression; empty for everything."""
    protocol = _NUMBERS.get(rule.protocol, rule.protocol)
    match protocol:
        case "-1":
            return ""
        case "tcp" | "udp":
            return _ports(protocol, rule.from_port, rule.to_port)
        case "icmp":
            return _icmp(rule.from_port, rule.to_port)
        case "icmpv6":
            return "meta l4proto 58"
    if not (protocol.isascii() and protocol.isdigit() and int(protocol) <= 255):
        raise ValueError(f"not a protocol: {protocol!r}")
    return f"meta l4proto {int(protocol)}"


def _ports(protocol: str, low: int, high: int) -> str:
    if low < 0 or (low, high) == (0, 65535):
        return f"meta l4proto {protocol}"
    if not low <= high <= 65535:
        raise ValueError(f"not a port range: {low}-{high}")
    return f"{protocol} dport {low}" if low == high else f"{protocol} dport {low}-{high}"


def _icmp(kind: int, code: int) -> str:
    if kind < 0:
        return "meta l4proto icmp"
    if kind > 255 or code > 255:
        raise ValueError(f"not an ICMP type and code: {kind} {code}")
    return f"icmp type {kind}" if code < 0 else f"icmp type {kind} icmp code {code}"


def _peers(rule: Rule, field: str) -> Iterator[str]:
    networks = [network for network in map(ip_network, rule.cidrs) if isinstance(network, IPv4Network)]
    if _ANY in networks:
        yield ""
        return
    if networks:
        # nft refuses intervals that overlap within one set
        merged = [_text(network) for network in collapse_addresses(networks)]
        yield f"ip {field} {merged[0]}" if len(merged) == 1 else f"ip {field} {{ {', '.join(merged)} }}"
    for group in rule.groups:
        yield f"ip {field} @{members_set(group)}"


def _text(network: IPv4Network) -> str:
    return str(network.network_address) if network.prefixlen == 32 else str(network)
