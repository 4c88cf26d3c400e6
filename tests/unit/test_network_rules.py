"""Security group rules as nft statements."""

from __future__ import annotations

import pytest

from homeport.agent.network.rules import members_set, peers, service, statements
from homeport.agentapi import Rule

ANY = ("0.0.0.0/0",)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Rule(protocol="-1"), ""),
        (Rule(protocol="tcp", from_port=80, to_port=80), "tcp dport 80"),
        (Rule(protocol="6", from_port=80, to_port=81), "tcp dport 80-81"),
        (Rule(protocol="tcp", from_port=0, to_port=65535), "meta l4proto tcp"),
        (Rule(protocol="tcp"), "meta l4proto tcp"),
        (Rule(protocol="udp", from_port=0, to_port=0), "udp dport 0"),
        (Rule(protocol="17", from_port=53, to_port=53), "udp dport 53"),
        (Rule(protocol="icmp"), "meta l4proto icmp"),
        (Rule(protocol="icmp", from_port=8), "icmp type 8"),
        (Rule(protocol="1", from_port=3, to_port=4), "icmp type 3 icmp code 4"),
        (Rule(protocol="icmpv6"), "meta l4proto 58"),
        (Rule(protocol="47"), "meta l4proto 47"),
        (Rule(protocol="50", from_port=0, to_port=65535), "meta l4proto 50"),
    ],
)
def test_protocol_and_ports(rule: Rule, text: str) -> None:
    assert service(rule) == text


@pytest.mark.parametrize(
    "rule",
    [
        Rule(protocol="tcp; flush ruleset"),
        Rule(protocol="256"),
        Rule(protocol="²"),
        Rule(protocol=""),
        Rule(protocol="tcp", from_port=90, to_port=80),
        Rule(protocol="tcp", from_port=80, to_port=65536),
        Rule(protocol="icmp", from_port=256),
        Rule(protocol="icmp", from_port=8, to_port=256),
    ],
)
def test_what_is_no_rule_is_refused(rule: Rule) -> None:
    with pytest.raises(ValueError):
        service(rule)


def test_each_kind_of_peer_has_its_statement() -> None:
    rule = Rule(
        protocol="tcp", from_port=80, to_port=80, cidrs=("10.0.0.0/8", "192.168.1.7/32"), groups=("sg-a", "sg-b")
    )
    assert statements((rule,), "saddr", "accept") == (
        "ip saddr { 10.0.0.0/8, 192.168.1.7 } tcp dport 80 accept",
        "ip saddr @members_sg-a tcp dport 80 accept",
        "ip saddr @members_sg-b tcp dport 80 accept",
    )


def test_everything_from_everywhere_is_the_bare_verdict() -> None:
    assert statements((Rule(protocol="-1", cidrs=ANY),), "daddr", "goto arrive") == ("goto arrive",)


def test_anywhere_makes_other_peers_needless() -> None:
    rule = Rule(protocol="-1", cidrs=("10.0.0.0/8", "0.0.0.0/0"), groups=("sg-a",))
    assert statements((rule,), "saddr", "accept") == ("accept",)


def test_overlapping_networks_are_merged() -> None:
    rule = Rule(protocol="-1", cidrs=("10.1.0.0/16", "10.0.0.0/8", "10.2.3.4/32"))
    assert statements((rule,), "saddr", "accept") == ("ip saddr 10.0.0.0/8 accept",)


def test_ipv6_peers_and_rules_without_peers_match_nothing() -> None:
    assert statements((Rule(protocol="-1", cidrs=("::/0",)), Rule(protocol="-1")), "saddr", "accept") == ()


@pytest.mark.parametrize("cidr", ["10.0.0.1/8", "0.0.0.0/0; drop", "10.0.0.0/33", ""])
def test_what_is_no_network_is_refused(cidr: str) -> None:
    with pytest.raises(ValueError):
        statements((Rule(protocol="-1", cidrs=(cidr,)),), "saddr", "accept")


def test_group_ids_are_checked_before_they_become_names() -> None:
    assert members_set("sg-0123456789abcdef0") == "members_sg-0123456789abcdef0"
    with pytest.raises(ValueError):
        members_set("sg }; flush ruleset")


def test_peers_are_the_named_groups() -> None:
    assert peers([Rule(protocol="-1", groups=("a", "b")), Rule(protocol="-1", groups=("b",))]) == {"a", "b"}
