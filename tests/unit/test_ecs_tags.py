from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from homeport.core.errors import AwsError
from homeport.services.ecs import tags


def pairs(count: int) -> list[dict[str, str]]:
    return [{"key": f"k{n}", "value": ""} for n in range(count)]


@pytest.mark.parametrize(
    "given",
    [
        [],
        [{"key": "k"}],
        [{"key": "k", "value": "v"}, {"key": "K", "value": "v"}],
        [{"key": "k" * 128, "value": "v" * 256}],
        [{"key": "a b+-=._:/@ü", "value": "日本 1"}],
        [{"key": "awsome", "value": ""}],
        pairs(50),
    ],
)
def test_accepted(given: list[dict[str, str]]) -> None:
    parsed = tags.parse(given)
    assert tags.view(parsed) == [{"value": "", **tag} for tag in given]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([{"value": "v"}], "Invalid tag key."),
        ([{"key": ""}], "Invalid tag key."),
        ([{"key": "k" * 129}], "Invalid tag key."),
        ([{"key": "k!"}], "Invalid tag key."),
        ([{"key": "k\n"}], "Invalid tag key."),
        ([{"key": "k", "value": "v" * 257}], "Invalid tag value."),
        ([{"key": "k", "value": "{}"}], "Invalid tag value."),
        ([{"key": "k"}, {"key": "k"}], "Duplicate tag keys found."),
        ([{"key": "AWS:k"}], "Tag keys can't begin with 'aws:'"),
        (pairs(51), "The number of tags exceeds the limit of 50"),
    ],
)
def test_refused(given: list[dict[str, str]], text: str) -> None:
    refuses(lambda: tags.parse(given), text)


def test_merge_lets_the_new_win() -> None:
    assert tags.merge({"a": "1", "b": "2"}, {"b": "3", "c": "4"}) == {"a": "1", "b": "3", "c": "4"}


def test_amazons_own_tags_do_not_count() -> None:
    fifty = tags.parse(pairs(50))
    assert len(tags.merge({"aws:ecs:clusterName": "c"}, fifty)) == 51
    refuses(lambda: tags.merge(fifty, {"new": ""}), "The number of tags exceeds the limit of 50")


def test_remove() -> None:
    assert tags.remove({"a": "1", "b": "2"}, ["a", "z"]) == {"b": "2"}
    refuses(lambda: tags.remove({"aws:x": "1"}, ["aws:x"]), "Tag keys can't begin with 'aws:'")


def refuses(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(AwsError) as caught:
        call()
    assert caught.value.code == "InvalidParameterException"
    assert caught.value.message.startswith(text)
