"""Filters, as EC2 matches them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pytest

from homeport.core.errors import AwsError
from homeport.services.ec2.filters import compile_filters, exact_values


class Thing(NamedTuple):
    names: tuple[str, ...] = ()
    tags: Mapping[str, str] = MappingProxyType({})


KNOWN = {"name": lambda t: t.names, "tag-key": lambda t: t.tags}


def passes(thing: Thing, *filters: tuple[str, list[str]]) -> bool:
    return compile_filters([{"Name": n, "Values": v} for n, v in filters], KNOWN, lambda t: t.tags)(thing)


@pytest.mark.parametrize(
    ("value", "wanted", "matches"),
    [
        ("web", ["web"], True),
        ("web", ["Web"], False),
        ("web", ["db", "web"], True),
        ("web", ["we"], False),
        ("web", ["w*"], True),
        ("web", ["*"], True),
        ("web", ["*b"], True),
        ("web", ["w?b"], True),
        ("web", ["??"], False),
        ("web", ["w*e*b"], True),
        ("web", ["w**b"], True),
        ("abab", ["*ab"], True),
        ("abcab", ["a*b*ab"], True),
        ("aab", ["*a*b*b"], False),
        ("a.b", ["a?b"], True),
        ("axb", ["a.b"], False),
        ("*amazon?\\", ["\\*amazon\\?\\\\"], True),
        ("xamazon", ["\\*amazon"], False),
        ("a*cd", ["a\\*c?"], True),
        ("abcd", ["a\\*c?"], False),
        ("one\ntwo", ["one*"], True),
        ("", ["*"], True),
        ("", ["?"], False),
    ],
)
def test_a_value_matches(value: str, wanted: list[str], matches: bool) -> None:
    assert passes(Thing((value,)), ("name", wanted)) is matches


def test_one_value_of_each_filter_must_match() -> None:
    thing = Thing(("a", "b"), {"Owner": "TeamA"})
    assert passes(thing)
    assert passes(thing, ("name", ["b"]), ("tag:Owner", ["TeamA", "x"]), ("tag-key", ["Own*"]))
    assert not passes(thing, ("name", ["b"]), ("tag:Owner", ["TeamB"]))
    assert not passes(thing, ("tag:owner", ["*"])), "tag keys are told apart by case, and a missing tag has no value"
    assert passes(thing, ("name", ["a"]), ("name", ["b"])), "the same filter twice: each must pass"


@pytest.mark.parametrize(
    ("filters", "code", "text"),
    [
        ([{"Name": "nonsense", "Values": ["x"]}], "InvalidParameterValue", "The filter 'nonsense' is invalid"),
        ([{"Values": ["x"]}], "InvalidParameterValue", "The filter 'null' is invalid"),
        ([{"Name": "name"}], "InvalidParameterValue", "The filter 'name' must have at least one value"),
        ([{"Name": "name", "Values": ["x"] * 201}], "FilterLimitExceeded", "The maximum number of filter values"),
    ],
)
def test_a_bad_filter_is_refused(filters: list[dict[str, object]], code: str, text: str) -> None:
    with pytest.raises(AwsError) as caught:
        compile_filters(filters, KNOWN, lambda t: t.tags)
    assert caught.value.code == code
    assert text in caught.value.message


def test_no_pattern_makes_matching_slow() -> None:
    begun = time.perf_counter()
    assert not passes(Thing(("a" * 20_000,)), ("name", ["*a" * 60 + "*b"]))
    assert time.perf_counter() - begun < 10


@pytest.mark.parametrize(
    ("values", "exact"),
    [(["a", "b"], ["a", "b"]), (["a", "b*"], None), (["a\\*"], ["a*"]), (["a?"], None), ([], None)],
)
def test_exact_values(values: list[str], exact: list[str] | None) -> None:
    assert exact_values([{"Name": "id", "Values": values}], "id") == exact
    assert exact_values([{"Name": "id", "Values": values}], "other") is None
