"""IpPermissions, EC2's shape of security group rules, and the rules they stand for. Pure.

An IpPermission has one protocol and port range and any number of peers; a rule has one peer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Network, IPv6Network, NetmaskValueError
from typing import Any

from homeport.services.ec2.errors import bad_combination, bad_value, missing, no_prefix_list
from homeport.services.ec2.model import GroupRule

Permission = Mapping[str, Any]
PeerOf = Callable[[Mapping[str, Any]], str]  # the group id that a UserIdGroupPair names; raises AwsError

_BY_NUMBER = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
_DESCRIPTION = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}")
ALL_OF_GROUP = (("tcp", 0, 65535), ("udp", 0, 65535), ("icmp", -1, -1))  # what SourceSecurityGroupName alone grants


def rules_of(permissions: Sequence[Permission], *, egress: bool, peer_of: PeerOf) -> list[GroupRule]:
    """The rules that the permissions stand for, still without ids. Raises AwsError for anything malformed, and where
    the same rule comes twice."""
    rules: list[GroupRule] = []
    for permission in permissions:
        rules += _rules_of_one(permission, egress, peer_of)
    if len({rule.match for rule in rules}) < len(rules):
        raise bad_value("The same permission must not appear multiple times")
    return rules


def _rules_of_one(permission: Permission, egress: bool, peer_of: PeerOf) -> list[GroupRule]:
    if lists := permission.get("PrefixListIds"):
        raise no_prefix_list(lists[0].get("PrefixListId") or "")  # there are none yet that a rule could name
    if permission.get("IpProtocol") is None:
        raise missing("ipProtocol")
    name = protocol(permission["IpProtocol"])
    first, last = ports(name, permission.get("FromPort"), permission.get("ToPort"))

    def rule(peer: Mapping[str, Any], **of: str) -> GroupRule:
        return GroupRule(
            id="",
            egress=egress,
            protocol=name,
            from_port=first,
            to_port=last,
            description=_description(peer.get("Description")),
            **of,  # type: ignore[arg-type]  # cidr, cidr6 or group_id
        )

    rules = [rule(r, cidr=ipv4(r.get("CidrIp"))) for r in permission.get("IpRanges") or ()]
    rules += [rule(r, cidr6=ipv6(r.get("CidrIpv6"))) for r in permission.get("Ipv6Ranges") or ()]
    rules += [rule(r, group_id=peer_of(r)) for r in permission.get("UserIdGroupPairs") or ()]
    if not rules:
        raise missing("ipRanges, ipv6Ranges, groups or prefixListIds")
    return rules


def top_level(params: Mapping[str, Any]) -> list[Permission] | None:
    """The permissions that the older top-level parameters (IpProtocol, FromPort, ToPort, CidrIp, SourceSecurityGroup…)
    stand for; None where there are none of them."""
    group, cidr = params.get("SourceSecurityGroupName"), params.get("CidrIp")
    given = [n for n in ("IpProtocol", "FromPort", "ToPort", "CidrIp") if params.get(n) is not None]
    if group is None and not given:
        return None
    if params.get("IpPermissions"):
        clash = _lower(given[0]) if given else "sourceSecurityGroupName"
        raise bad_combination(f"The parameter ipPermissions cannot be used with the parameter {clash}")
    if group is not None:
        if given:
            clash = _lower(given[0])
            raise bad_combination(f"The parameter sourceSecurityGroupName cannot be used with the parameter {clash}")
        pair = {"GroupName": group, "UserId": params.get("SourceSecurityGroupOwnerId")}
        return [
            {"IpProtocol": p, "FromPort": first, "ToPort": last, "UserIdGroupPairs": [pair]}
            for p, first, last in ALL_OF_GROUP
        ]
    if cidr is None:
        raise missing("cidrIp")
    one = {n: params.get(n) for n in ("IpProtocol", "FromPort", "ToPort")}
    return [{**one, "IpRanges": [{"CidrIp": cidr}]}]


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]


def protocol(text: str) -> str:
    """tcp, udp, icmp, icmpv6, ``-1``, or the number of another IP protocol (0 to 255)."""
    lower = text.strip().lower()
    if lower in ("tcp", "udp", "icmp", "icmpv6", "-1"):
        return lower
    if lower == "all":
        return "-1"
    if lower.isascii() and lower.isdigit() and int(lower) <= 255:
        return _BY_NUMBER.get(int(lower), str(int(lower)))
    raise bad_value(f"Invalid value '{text}' for IP protocol. Unknown protocol.")


def ports(protocol: str, first: int | None, last: int | None) -> tuple[int, int]:
    """The range as stored. EC2 ignores ports where the protocol has none: those rules are for all ports."""
    match protocol:
        case "tcp" | "udp":
            if first is None or last is None:
                raise bad_value("Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
            for port in (first, last):
                if not 0 <= port <= 65535:
                    raise bad_value(f"TCP/UDP port ({port}) out of range")
            if first > last:
                raise bad_value(f"Invalid TCP/UDP port range ({first}:{last})")
            return first, last
        case "icmp" | "icmpv6":
            if protocol == "icmpv6" and first is None and last is None:
                return -1, -1
            if first is None or last is None:
                raise bad_value("Invalid value 'Must specify both from and to ports with ICMP.' for portRange.")
            for what, number in (("type", first), ("code", last)):
                if not -1 <= number <= 255:
                    raise bad_value(f"ICMP {what} ({number}) out of range")
            if first == -1 and last != -1:
                raise bad_value(f"ICMP code ({last}) must be -1 if the ICMP type is -1")
            return first, last
    return -1, -1


def ipv4(text: str | None) -> str:
    """A CIDR block with the host's bits cleared, as EC2 keeps it."""
    try:
        if text is None or re.fullmatch(r"[0-9.]+/[0-9]{1,2}", text) is None:
            raise ValueError(text)
        return str(IPv4Network(text, strict=False))
    except (AddressValueError, NetmaskValueError, ValueError):
        raise bad_value(f"CIDR block {text} is malformed") from None


def ipv6(text: str | None) -> str:
    try:
        if text is None or re.fullmatch(r"[0-9a-fA-F:.]+/[0-9]{1,3}", text) is None:
            raise ValueError(text)
        return str(IPv6Network(text, strict=False))
    except (AddressValueError, NetmaskValueError, ValueError):
        raise bad_value(f"CIDR block {text} is malformed") from None


def _description(text: str | None) -> str | None:
    if text is not None and _DESCRIPTION.fullmatch(text) is None:
        raise bad_value(
            "Invalid rule description. Valid descriptions are strings less than 256 characters from the following set: "
            " a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
        )
    return text


def told(rule: GroupRule) -> str:
    """A rule as EC2's error texts name it: ``peer: 0.0.0.0/0, TCP, from port: 80, to port: 80, ALLOW``."""
    match rule.protocol:
        case "-1":
            what = "ALL"
        case "tcp" | "udp":
            what = f"{rule.protocol.upper()}, from port: {rule.from_port}, to port: {rule.to_port}"
        case "icmp" | "icmpv6":
            type_, code = ("ALL" if n == -1 else n for n in (rule.from_port, rule.to_port))
            what = f"{rule.protocol.upper()}, type: {type_}, code: {code}"
        case number:
            what = f"protocol: {number}"
    return f"peer: {rule.peer}, {what}, ALLOW"


def permissions_of(rules: Iterable[GroupRule], pair: Callable[[GroupRule], dict[str, Any]]) -> list[dict[str, Any]]:
    """Rules as IpPermissions: one for each protocol and port range, in the order in which the rules were made. ``pair``
    gives a rule's UserIdGroupPair."""
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    for rule in rules:
        permission = found.setdefault((rule.protocol, rule.from_port, rule.to_port), _empty(rule))
        note = {} if rule.description is None else {"Description": rule.description}
        if rule.cidr:
            permission["IpRanges"].append({"CidrIp": rule.cidr, **note})
        elif rule.cidr6:
            permission["Ipv6Ranges"].append({"CidrIpv6": rule.cidr6, **note})
        else:
            permission["UserIdGroupPairs"].append({**pair(rule), **note})
    return list(found.values())


def _empty(rule: GroupRule) -> dict[str, Any]:
    ranged = rule.protocol in ("tcp", "udp", "icmp", "icmpv6")  # the others have no ports to tell
    return {
        "IpProtocol": rule.protocol,
        **({"FromPort": rule.from_port, "ToPort": rule.to_port} if ranged else {}),
        "IpRanges": [],
        "Ipv6Ranges": [],
        "PrefixListIds": [],
        "UserIdGroupPairs": [],
    }
