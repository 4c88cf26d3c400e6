"""Which addresses are usable and which comes next."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from homeport.services.ec2 import addresses
from homeport.services.ec2.addresses import Range, choose, private_range, public_range
from homeport.services.ec2.regions import zones


def dotted(usable: Range) -> tuple[str, str, int]:
    return addresses.text(usable.first), addresses.text(usable.last), usable.size


def test_aws_keeps_five_addresses_of_a_subnet() -> None:
    assert dotted(private_range("172.31.16.0/20")) == ("172.31.16.4", "172.31.31.254", 4091)
    assert private_range("10.0.0.0/28").size == 11
    assert private_range("10.0.0.0/32").size == 0


def test_a_pool_keeps_network_and_broadcast() -> None:
    assert dotted(public_range("198.18.7.0/28")) == ("198.18.7.1", "198.18.7.14", 14)
    assert public_range("198.18.7.0/31").size == 2
    assert dotted(public_range("198.18.7.9/32")) == ("198.18.7.9", "198.18.7.9", 1)


@pytest.mark.parametrize(
    ("last", "taken", "chosen"),
    [
        (0, set(), 10),  # nothing handed out yet
        (10, {10}, 11),
        (12, {10, 11, 12}, 13),
        (12, {12}, 13),  # 10 and 11 were freed: they rest
        (15, {15}, 10),  # round
        (13, {13, 14, 15}, 10),
        (13, {10, 11, 13, 14, 15}, 12),
        (12, {10, 11, 13, 14, 15}, 12),  # the only free one may be the one handed out last
        (12, {10, 11, 12, 13, 14, 15}, None),
        (99, {10}, 11),  # the range was another one before
    ],
)
def test_the_next_address(last: int, taken: set[int], chosen: int | None) -> None:
    assert choose(Range(10, 15), last, taken.__contains__) == chosen


def test_no_address_of_an_empty_range() -> None:
    assert choose(Range(10, 9), 0, lambda _: False) is None


def test_names() -> None:
    assert addresses.gateway("172.31.16.0/20") == "172.31.16.1"
    assert addresses.private_dns_name("us-east-1", "172.31.0.5") == "ip-172-31-0-5.ec2.internal"
    assert addresses.private_dns_name("eu-west-1", "172.31.0.5") == "ip-172-31-0-5.eu-west-1.compute.internal"
    assert addresses.public_dns_name("us-east-1", "198.18.0.5") == "ec2-198-18-0-5.compute-1.amazonaws.com"
    assert addresses.public_dns_name("eu-west-1", "198.18.0.5") == "ec2-198-18-0-5.eu-west-1.compute.amazonaws.com"
    assert addresses.public_dns_name("cn-north-1", "198.18.0.5").endswith(".cn-north-1.compute.amazonaws.com.cn")
    assert addresses.text(int(IPv4Address("10.1.2.3"))) == "10.1.2.3"


def test_zones_of_regions() -> None:
    assert [z.name for z in zones("us-east-1")] == [f"us-east-1{letter}" for letter in "abcdef"]
    assert zones("ca-central-1")[2] == ("ca-central-1d", "cac1-az4")
    assert zones("my-cellar") == [
        (f"my-cellar{letter}", f"my-cellar-az{n}") for letter, n in zip("abc", "123", strict=True)
    ]
