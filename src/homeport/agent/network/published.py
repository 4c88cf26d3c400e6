"""Ports of containers in the bridge: which of the machine's they are published on, and what the bridge enforces. Pure.

The way of a packet through the bridge:

- from a container: its source must be the container's own address (``spoof``); it reaches the containers of its own
  task, the metadata endpoint, and what is outside, as which it comes back where it calls a published port.
- from the hub: a published port becomes the container's address and port; all else is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from homeport.agent.network.layout import (
    MAX_CONTAINERS,
    PROTOCOLS,
    UPLINK,
    checked_address,
    checked_cidr,
    container_link,
)
from homeport.agent.network.plan import Chain, Elements, Ruleset, guard
from homeport.agentapi import NetworkBinding, PortMapping

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 what ECS calls the addresses that published ports have: all of the machine's


class Forward(msgspec.Struct, frozen=True):
    """``count`` adjacent ports from ``host_port`` on of the machine lead to as many from ``container_port`` on.
    ``ranged``: asked for as a range, and shown as one."""

    protocol: str
    host_port: int
    container_port: int
    count: int = 1
    ranged: bool = False

    @property
    def host_ports(self) -> range:
        return range(self.host_port, self.host_port + self.count)


class Endpoint(msgspec.Struct, frozen=True):
    """A container in the bridge: the ``index`` says its namespace, link and address. ``error``: why its ports couldn't
    be published."""

    index: int
    address: str
    forwards: tuple[Forward, ...] = ()
    error: str = ""


Tasks = Mapping[str, Mapping[str, Endpoint]]  # task id → container → its endpoint


def asked(mapping: PortMapping) -> Forward:
    """What a port mapping asks for; ``host_port`` 0 means any. Raises ValueError for what can't be ports."""
    if mapping.container_port_range:
        first, _, last = mapping.container_port_range.partition("-")
        start, count = int(first), int(last) - int(first) + 1
    else:
        start, count = mapping.container_port, 1
    forward = Forward(mapping.protocol, mapping.host_port, start, count, bool(mapping.container_port_range))
    fits = count > 0 and start > 0 and start + count <= 65536 and 0 <= mapping.host_port < 65536
    if not fits or mapping.protocol not in PROTOCOLS:
        raise ValueError(f"no ports: {mapping}")
    return forward


def binding(forward: Forward) -> NetworkBinding:
    if forward.ranged:
        ends = (forward.container_port, forward.host_port)
        ranges = tuple(f"{first}-{first + forward.count - 1}" for first in ends)
        return NetworkBinding(ANY_ADDRESS, forward.protocol, container_port_range=ranges[0], host_port_range=ranges[1])
    return NetworkBinding(ANY_ADDRESS, forward.protocol, forward.container_port, forward.host_port)


def host_bindings(ports: Iterable[PortMapping]) -> tuple[NetworkBinding, ...]:
    """Of a container in the machine's own namespace: its ports are the machine's."""
    return tuple(NetworkBinding(ANY_ADDRESS, p.protocol, p.container_port, p.container_port) for p in ports)


def free_indices(tasks: Tasks, count: int) -> list[int]:
    """The lowest that no container has. Raises ValueError where the bridge is full."""
    taken = {endpoint.index for endpoints in tasks.values() for endpoint in endpoints.values()}
    if len(taken) + count > MAX_CONTAINERS:
        raise ValueError(f"the bridge has no more than {MAX_CONTAINERS} addresses")
    free = (index for index in range(1, MAX_CONTAINERS + 1) if index not in taken)
    return [next(free) for _ in range(count)]


def host_ports(tasks: Tasks) -> dict[str, list[range]]:
    """All published ports of the machine, by protocol, in order."""
    found: dict[str, list[range]] = {protocol: [] for protocol in PROTOCOLS}
    for forward in _forwards(tasks):
        found[forward.protocol].append(forward.host_ports)
    return {protocol: sorted(ranges, key=lambda r: r.start) for protocol, ranges in found.items()}


def compile_bridge(cidr: str, tasks: Tasks) -> Ruleset:
    """The table of the bridge's namespace. Raises ValueError for addresses that can't be any."""
    own: dict[str, str] = {}
    siblings: dict[str, str] = {}
    targets: dict[str, dict[str, str]] = {protocol: {} for protocol in PROTOCOLS}
    for endpoints in tasks.values():
        addresses = [checked_address(endpoint.address) for endpoint in endpoints.values()]
        siblings.update((f"{one} . {other}", "") for one in addresses for other in addresses if one != other)
        for endpoint in endpoints.values():
            own[f'"{container_link(endpoint.index)}" . {endpoint.address}'] = ""
            for forward in endpoint.forwards:
                for at, port in enumerate(forward.host_ports):
                    target = f"{endpoint.address} . {forward.container_port + at}"
                    targets[forward.protocol][str(port)] = target
    sets = {
        "containers": Elements("set", "ifname . ipv4_addr", own),
        "siblings": Elements("set", "ipv4_addr . ipv4_addr", siblings),
        **{f"{protocol}_ports": _map(found) for protocol, found in targets.items()},
    }
    return Ruleset(sets, _chains(checked_cidr(cidr)))


def _map(targets: dict[str, str]) -> Elements:
    return Elements("map", "inet_service : ipv4_addr . inet_service", targets)


def _chains(cidr: str) -> dict[str, Chain]:
    return {
        **guard(cidr, "containers"),
        "inward": Chain(
            tuple(f'iifname "{UPLINK}" dnat ip to {name} dport map @{name}_ports' for name in PROTOCOLS),
            "type nat hook prerouting priority dstnat; policy accept;",
        ),
        "forward": Chain(
            (
                "ct state established,related accept",
                "ct state invalid drop",
                f'iifname "{UPLINK}" ct status dnat accept',
                f'iifname "{UPLINK}" drop',
                "ip saddr . ip daddr @siblings accept",
                "ip daddr 169.254.0.0/16 drop",
                f'oifname "{UPLINK}" accept',
            ),
            "type filter hook forward priority filter; policy drop;",
        ),
        "outward": Chain(
            (f'oifname "{UPLINK}" masquerade',),
            "type nat hook postrouting priority srcnat; policy accept;",
        ),
    }


def _forwards(tasks: Tasks) -> Iterator[Forward]:
    return (f for endpoints in tasks.values() for endpoint in endpoints.values() for f in endpoint.forwards)
