"""What a VPC's router must enforce, and the nft commands that lead there. Pure.

``compile_vpc`` turns the wanted state into a ``Ruleset`` (a whole nft table as data), ``commands`` the difference of
two rulesets into the fewest nft commands that make one of the other. They are meant to be run as one transaction.

The way of a packet through a router:

- from a task: its source must be the task's own address (``spoof``); new connections pass the ``out_`` chains of its
  groups, and, where the destination is a task here, the ``in_`` chains of that one's groups.
- from the hub: the public address becomes the private one, then the ``in_`` chains.
- to the hub: the private address becomes the public one, or the router's own where there is none.

A task that calls a public address of its own VPC leaves by the hub and comes back, as through AWS's internet gateway:
groups see public addresses there, and members of a group don't match.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256

import msgspec

from homeport.agent.network.layout import (
    METADATA_ADDRESS,
    METADATA_PORT,
    TABLE,
    UPLINK,
    checked_address,
    checked_cidr,
    checked_name,
    task_link,
)
from homeport.agent.network.rules import members_set, peers, statements
from homeport.agentapi import Group, HomeportGroupsMessage, InterfaceSpec


class Vpc(msgspec.Struct, frozen=True):
    """The wanted state of one VPC on this node. ``groups`` by id, ``interfaces`` by task id."""

    vpc_id: str
    cidr: str
    groups: dict[str, Group] = {}
    interfaces: dict[str, InterfaceSpec] = {}


class Chain(msgspec.Struct, frozen=True):
    """``base``: type, hook, priority and policy of a base chain; empty for others."""

    rules: tuple[str, ...] = ()
    base: str = ""


class Elements(msgspec.Struct, frozen=True):
    """A set or (``kind`` map) a map. ``type`` in nft's words; ``values`` by key, empty strings in a set."""

    kind: str
    type: str
    values: dict[str, str]


class Ruleset(msgspec.Struct, frozen=True):
    """An nft table."""

    sets: dict[str, Elements]
    chains: dict[str, Chain]


def with_groups(vpc: Vpc, message: HomeportGroupsMessage) -> Vpc:
    """The VPC after a message: changed groups replaced, removed ones gone (with ``complete``: all others)."""
    groups = {} if message.complete else dict(vpc.groups)
    groups.update((group.group_id, group) for group in message.groups)
    for group_id in message.removed:
        groups.pop(group_id, None)
    return msgspec.structs.replace(vpc, groups=groups)


def with_interface(vpc: Vpc, task_id: str, interface: InterfaceSpec) -> Vpc:
    return msgspec.structs.replace(vpc, interfaces={**vpc.interfaces, task_id: interface})


def without_interface(vpc: Vpc, task_id: str) -> Vpc:
    rest = {key: value for key, value in vpc.interfaces.items() if key != task_id}
    return msgspec.structs.replace(vpc, interfaces=rest)


def compile_vpc(vpc: Vpc) -> Ruleset:
    """The table of a VPC's router. An interface whose groups aren't known yet is denied everything.
    Raises ValueError for ids, addresses or rules that can't be any."""
    chains = _base_chains(checked_cidr(vpc.cidr))
    sets = {members_set(group): Elements("set", "ipv4_addr", {}) for group in _named(vpc)}
    for group_id in _enforced(vpc):
        group = vpc.groups.get(group_id, Group(group_id))
        chains[f"in_{group_id}"] = Chain(statements(group.ingress, "saddr", "accept"))
        chains[f"out_{group_id}"] = Chain(statements(group.egress, "daddr", "goto arrive"))
        members = dict.fromkeys(map(checked_address, group.members), "")
        sets[members_set(group_id)] = Elements("set", "ipv4_addr", members)
    for groups in {interface.groups for interface in vpc.interfaces.values()}:
        name = _combination(groups)
        for way in ("in", "out"):
            chains[f"{way}_{name}"] = Chain((*(f"jump {way}_{group}" for group in groups), "drop"))
    sets.update(_interface_sets(vpc.interfaces))
    return Ruleset(sets, chains)


def commands(old: Ruleset | None, new: Ruleset) -> list[str]:
    """nft commands that turn the table ``old`` (None: whatever is there) into ``new``; for one transaction."""
    if old is None:
        rebuilt = [f"add table ip {TABLE}", f"delete table ip {TABLE}", f"add table ip {TABLE}"]
        return rebuilt + commands(Ruleset({}, {}), new)
    return [
        *_create(old, new),
        *_fill_chains(old.chains, new.chains),
        *_change_elements(old.sets, new.sets),
        *_remove(old, new),
    ]


def guard(cidr: str, known: str) -> dict[str, Chain]:
    """The chains in common of all that stands between tasks and the hub: nobody bears an address that isn't the own
    one (``known``: a set of links with their addresses), nor, from outside, one of ``cidr``, by which members of groups
    are known; and to the namespace itself nothing comes but what asks for metadata."""
    return {
        "spoof": Chain(
            (
                'iifname "lo" accept',
                f'iifname "{UPLINK}" ip saddr {cidr} drop',
                f'iifname "{UPLINK}" accept',
                f"iifname . ip saddr != @{known} drop",
            ),
            "type filter hook prerouting priority raw; policy accept;",
        ),
        "input": Chain(
            (
                "ct state established,related accept",
                'iifname "lo" accept',
                f'iifname != "{UPLINK}" ip daddr {METADATA_ADDRESS} tcp dport {METADATA_PORT} accept',
            ),
            "type filter hook input priority filter; policy drop;",
        ),
    }


def _base_chains(cidr: str) -> dict[str, Chain]:
    return {
        **guard(cidr, "interfaces"),
        "inward": Chain(
            (f'iifname "{UPLINK}" dnat to ip daddr map @public',),
            "type nat hook prerouting priority dstnat; policy accept;",
        ),
        "forward": Chain(
            (
                "ct state established,related accept",
                "ct state invalid drop",
                f'iifname "{UPLINK}" ct status dnat ip daddr vmap @ingress',
                f'iifname "{UPLINK}" drop',
                "ip daddr 169.254.0.0/16 drop",
                "ip saddr vmap @egress",
            ),
            "type filter hook forward priority filter; policy drop;",
        ),
        "outward": Chain(
            (f'oifname "{UPLINK}" snat to ip saddr map @private', f'oifname "{UPLINK}" masquerade'),
            "type nat hook postrouting priority srcnat; policy accept;",
        ),
        # Where an egress rule lets a packet go: an nft accept would end the hook before the receiver's own groups.
        "arrive": Chain(("ip daddr vmap @ingress", "accept")),
    }


def _enforced(vpc: Vpc) -> list[str]:
    """Groups that need chains: those told and those that interfaces are in."""
    used = {group for interface in vpc.interfaces.values() for group in interface.groups}
    return sorted(map(checked_name, used | vpc.groups.keys()))


def _named(vpc: Vpc) -> set[str]:
    """Groups that a rule names: their sets must exist before the rule does."""
    return {peer for group in vpc.groups.values() for peer in peers(group.ingress) | peers(group.egress)}


@lru_cache(1024)
def _combination(groups: tuple[str, ...]) -> str:
    """A name for a combination of groups; up to 16 ids wouldn't fit into a chain's name."""
    return "all_" + sha256(",".join(groups).encode()).hexdigest()[:16]


def _interface_sets(interfaces: Mapping[str, InterfaceSpec]) -> dict[str, Elements]:
    own: dict[str, str] = {}
    public: dict[str, str] = {}
    private: dict[str, str] = {}
    ingress: dict[str, str] = {}
    egress: dict[str, str] = {}
    for task_id, interface in interfaces.items():
        address = checked_address(interface.private_address)
        own[f'"{task_link(checked_name(task_id))}" . {address}'] = ""
        name = _combination(interface.groups)
        ingress[address] = f"goto in_{name}"
        egress[address] = f"goto out_{name}"
        if interface.public_address:
            outside = checked_address(interface.public_address)
            public[outside] = address
            private[address] = outside
    return {
        "interfaces": Elements("set", "ifname . ipv4_addr", own),
        "public": Elements("map", "ipv4_addr : ipv4_addr", public),
        "private": Elements("map", "ipv4_addr : ipv4_addr", private),
        "ingress": Elements("map", "ipv4_addr : verdict", ingress),
        "egress": Elements("map", "ipv4_addr : verdict", egress),
    }


def _create(old: Ruleset, new: Ruleset) -> Iterator[str]:
    for name, elements in new.sets.items():
        if name not in old.sets:
            yield f"add {elements.kind} ip {TABLE} {name} {{ type {elements.type}; }}"
    for name, chain in new.chains.items():
        if name not in old.chains:
            yield f"add chain ip {TABLE} {name}" + (f" {{ {chain.base} }}" if chain.base else "")


def _fill_chains(old: Mapping[str, Chain], new: Mapping[str, Chain]) -> Iterator[str]:
    for name, chain in new.items():
        before = old.get(name, Chain())
        if before.rules == chain.rules:
            continue
        if before.rules:
            yield f"flush chain ip {TABLE} {name}"
        for rule in chain.rules:
            yield f"add rule ip {TABLE} {name} {rule}"


def _change_elements(old: Mapping[str, Elements], new: Mapping[str, Elements]) -> Iterator[str]:
    for name, elements in new.items():
        before = old[name].values if name in old else {}
        gone = dict(before.items() - elements.values.items())
        come = dict(elements.values.items() - before.items())
        if gone:
            yield f"delete element ip {TABLE} {name} {{ {', '.join(sorted(gone))} }}"
        if come:
            pairs = (f"{key} : {value}" if value else key for key, value in sorted(come.items()))
            yield f"add element ip {TABLE} {name} {{ {', '.join(pairs)} }}"


def _remove(old: Ruleset, new: Ruleset) -> Iterator[str]:
    chains = [name for name in old.chains if name not in new.chains]
    for name in chains:  # all of them before the first is deleted: they may name one another
        if old.chains[name].rules:
            yield f"flush chain ip {TABLE} {name}"
    for name in chains:
        yield f"delete chain ip {TABLE} {name}"
    for name, elements in old.sets.items():
        if name not in new.sets:
            yield f"delete {elements.kind} ip {TABLE} {name}"
