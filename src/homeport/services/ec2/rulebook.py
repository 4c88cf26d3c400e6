"""Adding rules to a security group and taking them away. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from homeport.core.errors import AwsError
from homeport.services.ec2 import errors
from homeport.services.ec2.model import GroupRule, SecurityGroup
from homeport.services.ec2.permissions import told

MAX_RULES = 60  # of a group, a direction and an address family (quota "Inbound or outbound rules per security group")


def add(group: SecurityGroup, new: Sequence[GroupRule]) -> SecurityGroup:
    """Raises InvalidPermission.Duplicate, RulesPerSecurityGroupLimitExceeded."""
    existing = {rule.match for rule in group.rules}
    for rule in new:
        if rule.match in existing:
            raise AwsError("InvalidPermission.Duplicate", f'the specified rule "{told(rule)}" already exists')
    rules = (*group.rules, *new)
    for egress in (False, True):
        ipv4 = sum(rule.egress == egress and not rule.cidr6 for rule in rules)
        ipv6 = sum(rule.egress == egress and not rule.cidr for rule in rules)  # a group counts in both families
        if max(ipv4, ipv6) > MAX_RULES:
            raise AwsError(
                "RulesPerSecurityGroupLimitExceeded", "The maximum number of rules per security group has been reached."
            )
    return replace(group, rules=rules)


class Removal(NamedTuple):
    group: SecurityGroup  # without the rules that it had
    gone: list[GroupRule]
    unknown: list[GroupRule]  # rules that it hadn't


def remove(group: SecurityGroup, unwanted: Sequence[GroupRule], *, strict: bool) -> Removal:
    """Takes rules away. ``strict``: raises InvalidPermission.NotFound where the group hasn't all of them. EC2 is strict
    for groups of VPCs other than the default one, where it tells what it didn't know (RevokeSecurityGroupIngress)."""
    matches = {rule.match for rule in unwanted}
    had = {rule.match for rule in group.rules}
    unknown = [rule for rule in unwanted if rule.match not in had]
    if unknown and strict:
        raise AwsError("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
    gone = [rule for rule in group.rules if rule.match in matches]
    kept = tuple(rule for rule in group.rules if rule.match not in matches)
    return Removal(replace(group, rules=kept), gone, unknown)


def remove_by_id(group: SecurityGroup, ids: Collection[str], egress: bool) -> Removal:
    """As ``remove``, by rule ids. Raises InvalidSecurityGroupRuleId.NotFound."""
    gone = [rule for rule in group.rules if rule.id in ids and rule.egress == egress]
    unknown = sorted(set(ids) - {rule.id for rule in gone})
    if unknown:
        raise errors.no_rule(*unknown)
    kept = tuple(rule for rule in group.rules if rule.id not in ids)
    return Removal(replace(group, rules=kept), gone, [])
