"""IpPermissions to rules and back, and what nodes are told of rules."""

from __future__ import annotations

from typing import Any

import pytest

from homeport.agentapi import Rule
from homeport.core.errors import AwsError
from homeport.services.ec2.groups import wire_rules
from homeport.services.ec2.model import GroupRule, SecurityGroup
from homeport.services.ec2.permissions import ipv4, ipv6, permissions_of, ports, protocol, rules_of, told, top_level
from homeport.services.ec2.rulebook import MAX_RULES, add, remove, remove_by_id

ANY = [{"CidrIp": "0.0.0.0/0"}]


def rules(*permissions: dict[str, Any]) -> list[GroupRule]:
    return rules_of(permissions, egress=False, peer_of=lambda pair: str(pair["GroupId"]))


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("tcp", "tcp"),
        ("TCP", "tcp"),
        ("6", "tcp"),
        ("17", "udp"),
        ("1", "icmp"),
        ("58", "icmpv6"),
        ("-1", "-1"),
        ("all", "-1"),
        ("0", "0"),
        ("50", "50"),
        ("047", "47"),
        ("255", "255"),
    ],
)
def test_protocols(text: str, stored: str) -> None:
    assert protocol(text) == stored


@pytest.mark.parametrize("text", ["", "256", "-2", "sctp?", "tcp udp", "٣", "1e2"])
def test_unknown_protocols(text: str) -> None:
    with pytest.raises(AwsError, match=r"Invalid value '.*' for IP protocol\. Unknown protocol\."):
        protocol(text)


@pytest.mark.parametrize(
    ("name", "first", "last", "stored"),
    [
        ("tcp", 80, 80, (80, 80)),
        ("udp", 0, 65535, (0, 65535)),
        ("icmp", -1, -1, (-1, -1)),
        ("icmp", 8, -1, (8, -1)),
        ("icmp", 3, 4, (3, 4)),
        ("icmpv6", None, None, (-1, -1)),
        ("-1", None, None, (-1, -1)),
        ("-1", 80, 443, (-1, -1)),
        ("50", 1, 2, (-1, -1)),
    ],
)
def test_ports(name: str, first: int | None, last: int | None, stored: tuple[int, int]) -> None:
    assert ports(name, first, last) == stored


@pytest.mark.parametrize(
    ("name", "first", "last", "text"),
    [
        ("tcp", None, 80, "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange."),
        ("udp", 80, None, "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange."),
        ("tcp", -1, 80, "TCP/UDP port (-1) out of range"),
        ("tcp", 0, 65536, "TCP/UDP port (65536) out of range"),
        ("tcp", 443, 80, "Invalid TCP/UDP port range (443:80)"),
        ("icmp", None, None, "Invalid value 'Must specify both from and to ports with ICMP.' for portRange."),
        ("icmp", 256, -1, "ICMP type (256) out of range"),
        ("icmp", 8, 65535, "ICMP code (65535) out of range"),
        ("icmp", -1, 0, "ICMP code (0) must be -1 if the ICMP type is -1"),
    ],
)
def test_bad_ports(name: str, first: int | None, last: int | None, text: str) -> None:
    with pytest.raises(AwsError) as caught:
        ports(name, first, last)
    assert (caught.value.code, caught.value.message) == ("InvalidParameterValue", text)


def test_cidrs_are_kept_in_canonical_form() -> None:
    assert ipv4("100.68.0.18/18") == "100.68.0.0/18"
    assert ipv4("0.0.0.0/0") == "0.0.0.0/0"
    assert ipv6("2001:DB8::1/32") == "2001:db8::/32"
    assert ipv6("::/0") == "::/0"


@pytest.mark.parametrize(
    "text",
    [None, "", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/255.0.0.0", "::/0", "10.0.0.256/8", " 1.1.1.1/32"],
)
def test_malformed_cidrs(text: str | None) -> None:
    with pytest.raises(AwsError) as caught:
        ipv4(text)
    assert (caught.value.code, caught.value.message) == ("InvalidParameterValue", f"CIDR block {text} is malformed")


@pytest.mark.parametrize("text", [None, "::", "::/129", "10.0.0.0/8", "fe80::%eth0/64"])
def test_malformed_ipv6_cidrs(text: str | None) -> None:
    with pytest.raises(AwsError, match="is malformed"):
        ipv6(text)


def test_a_permission_is_one_rule_for_each_peer() -> None:
    made = rules(
        {
            "IpProtocol": "6",
            "FromPort": 80,
            "ToPort": 90,
            "IpRanges": [{"CidrIp": "10.0.0.1/8", "Description": "inside"}, {"CidrIp": "1.2.3.4/32"}],
            "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
            "UserIdGroupPairs": [{"GroupId": "sg-1"}],
        },
        {"IpProtocol": "-1", "IpRanges": ANY},
    )
    assert [(r.protocol, r.from_port, r.to_port, r.peer, r.description) for r in made] == [
        ("tcp", 80, 90, "10.0.0.0/8", "inside"),
        ("tcp", 80, 90, "1.2.3.4/32", None),
        ("tcp", 80, 90, "::/0", None),
        ("tcp", 80, 90, "sg-1", None),
        ("-1", -1, -1, "0.0.0.0/0", None),
    ]


@pytest.mark.parametrize(
    ("permissions", "code", "text"),
    [
        ([{"FromPort": 1, "ToPort": 2, "IpRanges": ANY}], "MissingParameter", "ipProtocol"),
        ([{"IpProtocol": "-1"}], "MissingParameter", "ipRanges"),
        ([{"IpProtocol": "-1", "IpRanges": ANY * 2}], "InvalidParameterValue", "must not appear multiple times"),
        (
            [{"IpProtocol": p, "FromPort": 1, "ToPort": 1, "IpRanges": ANY} for p in ("6", "tcp")],
            "InvalidParameterValue",
            "must not appear multiple times",
        ),
        (
            [{"IpProtocol": "-1", "PrefixListIds": [{"PrefixListId": "pl-1"}]}],
            "InvalidPrefixListID.NotFound",
            "The prefix list ID 'pl-1' does not exist",
        ),
        (
            [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "ü"}]}],
            "InvalidParameterValue",
            "Invalid rule description",
        ),
        (
            [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "x" * 256}]}],
            "InvalidParameterValue",
            "Invalid rule description",
        ),
    ],
)
def test_bad_permissions(permissions: list[dict[str, Any]], code: str, text: str) -> None:
    with pytest.raises(AwsError) as caught:
        rules(*permissions)
    assert caught.value.code == code
    assert text in caught.value.message


def test_older_top_level_parameters() -> None:
    assert top_level({"IpPermissions": [{"IpProtocol": "-1"}]}) is None
    plain = top_level({"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "10.0.0.0/8"})
    assert [r.match for r in rules(*(plain or []))] == [(False, "tcp", 22, 22, "10.0.0.0/8")]
    by_group = top_level({"SourceSecurityGroupName": "web"})
    assert [(p["IpProtocol"], p["FromPort"], p["ToPort"]) for p in by_group or []] == [
        ("tcp", 0, 65535),
        ("udp", 0, 65535),
        ("icmp", -1, -1),
    ]
    for clash in ({"IpPermissions": [{"x": 1}], "CidrIp": "x"}, {"SourceSecurityGroupName": "web", "FromPort": 1}):
        with pytest.raises(AwsError) as caught:
            top_level(clash)
        assert caught.value.code == "InvalidParameterCombination"
    with pytest.raises(AwsError) as caught:
        top_level({"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22})
    assert caught.value.code == "MissingParameter"


def rule(**members: Any) -> GroupRule:
    return GroupRule(**{"id": "sgr-1", "egress": False, "protocol": "tcp", "from_port": 80, "to_port": 80, **members})


def group(*of: GroupRule) -> SecurityGroup:
    return SecurityGroup(id="sg-1", vpc_id="vpc-1", name="g", description="d", created_at=0.0, rules=of)


def test_rules_are_told_as_permissions() -> None:
    given = [
        rule(cidr="10.0.0.0/8", description="inside"),
        rule(group_id="sg-2"),
        rule(protocol="-1", from_port=-1, to_port=-1, cidr6="::/0"),
        rule(protocol="50", from_port=-1, to_port=-1, cidr="0.0.0.0/0"),
    ]
    tcp, everything, esp = permissions_of(given, lambda r: {"GroupId": r.group_id, "UserId": "1"})
    assert tcp == {
        "IpProtocol": "tcp",
        "FromPort": 80,
        "ToPort": 80,
        "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "inside"}],
        "Ipv6Ranges": [],
        "PrefixListIds": [],
        "UserIdGroupPairs": [{"GroupId": "sg-2", "UserId": "1"}],
    }
    assert everything["Ipv6Ranges"] == [{"CidrIpv6": "::/0"}]
    assert "FromPort" not in everything
    assert esp["IpProtocol"] == "50"


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"cidr": "0.0.0.0/0"}, "peer: 0.0.0.0/0, TCP, from port: 80, to port: 80, ALLOW"),
        ({"group_id": "sg-9", "protocol": "-1"}, "peer: sg-9, ALL, ALLOW"),
        (
            {"cidr": "10.0.0.0/8", "protocol": "icmp", "from_port": 8, "to_port": -1},
            "peer: 10.0.0.0/8, ICMP, type: 8, code: ALL, ALLOW",
        ),
    ],
)
def test_rules_in_error_texts(members: dict[str, Any], text: str) -> None:
    assert told(rule(**members)) == text


def test_the_same_rule_is_not_added_twice() -> None:
    with pytest.raises(AwsError) as caught:
        add(group(rule(cidr="0.0.0.0/0", description="old")), [rule(cidr="0.0.0.0/0", description="new")])
    assert (caught.value.code, caught.value.message) == (
        "InvalidPermission.Duplicate",
        'the specified rule "peer: 0.0.0.0/0, TCP, from port: 80, to port: 80, ALLOW" already exists',
    )
    assert len(add(group(rule(cidr="0.0.0.0/0")), [rule(cidr="0.0.0.0/0", egress=True)]).rules) == 2


def test_a_direction_has_sixty_rules_of_an_address_family() -> None:
    full = add(group(), [rule(cidr=f"10.0.0.{n}/32") for n in range(MAX_RULES)])
    for more in (rule(cidr="10.1.0.0/32"), rule(group_id="sg-2")):
        with pytest.raises(AwsError) as caught:
            add(full, [more])
        assert caught.value.code == "RulesPerSecurityGroupLimitExceeded"
    both = add(full, [rule(cidr6=f"::{n:x}/128") for n in range(MAX_RULES)])
    assert len(add(both, [rule(cidr="10.1.0.0/32", egress=True)]).rules) == 2 * MAX_RULES + 1


def test_rules_are_removed_by_what_they_say() -> None:
    web, other = rule(cidr="0.0.0.0/0", description="web"), rule(cidr="10.0.0.0/8", id="sgr-2")
    removal = remove(group(web, other), [rule(cidr="0.0.0.0/0"), rule(cidr="9.9.9.9/32")], strict=False)
    assert (removal.group.rules, removal.gone) == ((other,), [web])
    assert [r.cidr for r in removal.unknown] == ["9.9.9.9/32"]
    with pytest.raises(AwsError) as caught:
        remove(group(web), [rule(cidr="9.9.9.9/32")], strict=True)
    assert (caught.value.code, caught.value.message) == (
        "InvalidPermission.NotFound",
        "The specified rule does not exist in this security group.",
    )


def test_rules_are_removed_by_id_in_their_direction() -> None:
    web, other = rule(cidr="0.0.0.0/0"), rule(cidr="10.0.0.0/8", id="sgr-2", egress=True)
    assert remove_by_id(group(web, other), ["sgr-1"], egress=False).group.rules == (other,)
    with pytest.raises(AwsError, match="The security group rule ID 'sgr-2' does not exist"):
        remove_by_id(group(web, other), ["sgr-2"], egress=False)


def test_nodes_get_one_rule_for_each_protocol_and_range() -> None:
    assert wire_rules(
        [
            rule(cidr="10.0.0.0/8"),
            rule(group_id="sg-2"),
            rule(cidr="1.0.0.0/8"),
            rule(cidr6="::/0"),
            rule(protocol="icmp", from_port=8, to_port=-1, cidr="0.0.0.0/0"),
            rule(protocol="icmpv6", from_port=-1, to_port=-1, cidr="0.0.0.0/0"),
            rule(protocol="-1", from_port=-1, to_port=-1, group_id="sg-1"),
            rule(protocol="udp", from_port=53, to_port=53, cidr6="::/0"),
        ]
    ) == (
        Rule(protocol="-1", groups=("sg-1",)),
        Rule(protocol="58", cidrs=("0.0.0.0/0",)),
        Rule(protocol="icmp", from_port=8, to_port=-1, cidrs=("0.0.0.0/0",)),
        Rule(protocol="tcp", from_port=80, to_port=80, cidrs=("1.0.0.0/8", "10.0.0.0/8"), groups=("sg-2",)),
    )
