"""Security groups as the agent gateway sees them."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address

from homeport.agentapi import Group, Rule
from homeport.services.ec2.model import GROUPS, INTERFACES, GroupRule, SecurityGroup
from homeport.store import Scope, View

_ICMPV6 = "58"  # its IP protocol number; nodes know names for tcp, udp and icmp only


def enforced(view: View, scope: Scope, group_id: str) -> Group | None:
    """The group as nodes enforce it; ``members`` filled only if some rule of the VPC names the group as a peer. None:
    there is no such group. Its rules' peers must be sent to the node too (``peers``)."""
    group = view.get(GROUPS, scope, group_id)
    if group is None:
        return None
    members: tuple[str, ...] = ()
    if view.count(GROUPS, scope, "peer", group_id):
        addresses = (i.private_address for i in view.find(INTERFACES, scope, "group", group_id))
        members = tuple(sorted(addresses, key=lambda a: int(IPv4Address(a))))
    return Group(
        group_id=group.id,
        ingress=wire_rules(r for r in group.rules if not r.egress),
        egress=wire_rules(r for r in group.rules if r.egress),
        members=members,
    )


def peers(view: View, scope: Scope, group_id: str) -> set[str]:
    """Ids of the groups that this group's rules name."""
    group = view.get(GROUPS, scope, group_id)
    return named(group) if group else set()


def named(group: SecurityGroup) -> set[str]:
    """Ids of the groups that its rules name. Pure."""
    return {rule.group_id for rule in group.rules if rule.group_id}


def wire_rules(rules: Iterable[GroupRule]) -> tuple[Rule, ...]:
    """Rules with the same protocol and ports as one, in a fixed order, so that equal groups are equal messages.

    IPv6 ranges are left out: interfaces have no IPv6 address. Pure.
    """
    cidrs: dict[tuple[str, int, int], set[str]] = {}
    groups: dict[tuple[str, int, int], set[str]] = {}
    for rule in rules:
        if rule.cidr6:
            continue
        key = (_ICMPV6 if rule.protocol == "icmpv6" else rule.protocol, rule.from_port, rule.to_port)
        cidrs.setdefault(key, set()).update([rule.cidr] if rule.cidr else [])
        groups.setdefault(key, set()).update([rule.group_id] if rule.group_id else [])
    return tuple(
        Rule(
            protocol=p,
            from_port=f,
            to_port=t,
            cidrs=tuple(sorted(cidrs[p, f, t])),
            groups=tuple(sorted(groups[p, f, t])),
        )
        for p, f, t in sorted(cidrs)
    )
