"""The cluster query language as a table."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.core.errors import AwsError
from homeport.services.ecs.expressions import parse


class Instance(msgspec.Struct, frozen=True):
    attributes: dict[str, str] = {}
    running: tuple[str, ...] = ()
    agent_connected: bool = True
    agent_version: str = "1.105.1"
    ec2_instance_id: str = "i-abcd1234"
    registered_at: float = 1_529_360_908.0  # 2018-06-18T22:28:28Z
    running_tasks_count: int = 2
    pending_tasks_count: int = 0
    status: str = "ACTIVE"

    def attribute(self, name: str) -> str | None:
        return self.attributes.get(name)

    def runs_group(self, group: str) -> bool:
        return group in self.running

    def groups(self) -> Iterable[str]:
        return self.running


PROD = Instance(
    {
        "stack": "prod",
        "ecs.instance-type": "t2.micro",
        "ecs.availability-zone": "us-east-1d",
        "disk": "100",
        "path\\x/y": "a b",
    },
    running=("database", "service:web"),
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("attribute:stack == prod", True),
        ("attribute:stack equals prod", True),
        ("attribute:stack==prod", True),
        ("attribute:stack == 'prod'", True),
        ('attribute:stack == "prod"', True),
        ("attribute:stack != prod", False),
        ("attribute:stack not_equals test", True),
        ("attribute:none != prod", True),
        ("attribute:none == prod", False),
        ("attribute:none > 1", False),
        ("attribute:stack exists", True),
        ("attribute:none exists", False),
        ("attribute:stack !exists", False),
        ("attribute:none not_exists", True),
        ("attribute:ecs.instance-type =~ t2.*", True),
        ("attribute:ecs.instance-type matches t2", False),  # the whole value
        ("attribute:ecs.instance-type =~ (t2|t3).micro", True),
        ("attribute:ecs.instance-type !~ g2.*", True),
        ("attribute:none not_matches .*", True),
        ("attribute:ecs.instance-type in [t2.small, t2.micro]", True),
        ("attribute:ecs.instance-type in ['t2.small','t2.medium']", False),
        ("attribute:ecs.instance-type !in [t2.small]", True),
        ("attribute:none not_in [t2.small]", True),
        ("attribute:disk > 99", True),  # as numbers
        ("attribute:disk <= 99", False),
        ("attribute:stack > aaa", True),
        ("attribute:path\\x/y == 'a b'", True),
        ("agentConnected == true", True),
        ("agentConnected != true", False),
        ("agentVersion > 1.99.0", True),
        ("agentVersion <= 1.105.1", True),
        ("agentVersion == v1.105.1", True),
        ("ec2InstanceId in ['i-abcd1234', 'i-wxyx7890']", True),
        ("ec2InstanceId =~ i-.*", True),
        ("registeredAt > 2018-06-18", True),
        ("registeredAt == 2018-06-18T22:28:28Z", True),
        ("registeredAt >= 2018-06-18T22:28:28+00:00", True),
        ("registeredAt less_than 2018-06-18T22:28:28", False),
        ("runningTasksCount == 2", True),
        ("runningTasksCount greater_than_equal 3", False),
        ("task:group == database", True),
        ("task:group == service:web", True),
        ("task:group != database", False),
        ("task:group in [cache, database]", True),
        ("task:group !~ ser.*", False),
        ("not(task:group == database)", False),
        ("!(task:group == cache)", True),
        ("not not attribute:stack == prod", True),
        ("attribute:stack == test or attribute:stack == prod and attribute:disk == 100", True),
        ("attribute:stack == prod or attribute:stack == prod and attribute:disk == 1", True),  # and binds tighter
        ("(attribute:stack == prod or attribute:stack == prod) and attribute:disk == 1", False),
        ("not attribute:stack == test and attribute:disk == 1", False),  # not binds tightest
        ("attribute:stack == prod && !attribute:stack == x || attribute:none exists", True),
        ("attribute:ecs.instance-type =~ g2.* and attribute:ecs.availability-zone != us-east-1d", False),
        ("  attribute:stack   ==\n prod ", True),
    ],
)  # fmt: skip
def test_an_expression_holds(text: str, holds: bool) -> None:
    assert parse(text).matches(PROD) is holds
    assert parse(f"not ({text})").matches(PROD) is not holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "attribute:stack",
        "attribute:stack ==",
        "attribute:stack = prod",
        "stack == prod",
        "(attribute:stack == prod",
        "attribute:stack == prod)",
        "attribute:stack in prod",
        "attribute:stack in []",
        "attribute:stack == prod and",
        "attribute:stack =~ (",
        "attribute:stack =~ '(?=a)b'",
        "agentConnected > true",
        "agentConnected exists",
        "agentVersion == new",
        "agentVersion in [1.0.0]",
        "registeredAt > yesterday",
        "runningTasksCount == many",
        "task:group > a",
        "attribute:a == b " * 200,
        "not " * 600,
    ],
)
def test_a_bad_expression_is_refused(text: str) -> None:
    with pytest.raises(AwsError) as refused:
        parse(text)
    assert refused.value.code == "InvalidParameterException"


def test_only_attributes_make_instances_alike() -> None:
    assert parse("attribute:a == b and not (attribute:c exists or attribute:d =~ x)").attributes_only
    assert not parse("attribute:a == b and runningTasksCount < 2").attributes_only


@pytest.mark.parametrize(
    "text", ["!" * 1970 + "attribute:stack == prod", "(" * 900 + "attribute:stack == prod" + ")" * 900]
)
def test_depth_costs_no_stack(text: str) -> None:
    assert parse(text).matches(PROD)


def test_a_pattern_takes_linear_time() -> None:
    started = time.perf_counter()
    assert not parse("attribute:long =~ (a|a)*(a|aa)*(a*)*b").matches(Instance({"long": "a" * 128}))
    assert time.perf_counter() - started < 10


@given(st.text(max_size=100))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(AwsError):
        parse(text).matches(PROD)
