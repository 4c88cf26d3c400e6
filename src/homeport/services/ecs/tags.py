"""Tags: key and value pairs on clusters, task definitions, tasks and container instances. Pure.

The limits are those of the ECS guide, "Tagging restrictions": 50 tags, keys of 1 to 128 and values of up to 256
characters; letters, digits, spaces and ``+ - = . _ : / @``; the prefix ``aws:`` is AWS's own and doesn't count.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from homeport.core.errors import AwsError, invalid_parameter

MAX_TAGS = 50
_MAX_KEY, _MAX_VALUE = 128, 256
_MARKS = frozenset("+-=._:/@")
_RESERVED = "aws:"


def parse(tags: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """The tags that a caller sent (``[{"key", "value"}]``; a missing value is empty), checked. Raises
    InvalidParameterException."""
    parsed: dict[str, str] = {}
    for tag in tags or ():
        key, value = tag.get("key") or "", tag.get("value") or ""
        _check_key(key)
        if len(value) > _MAX_VALUE or not _spelled_right(value):
            raise invalid_parameter(
                f"Invalid tag value. Value must be at most {_MAX_VALUE} characters and may only contain letters, "
                "digits, spaces and + - = . _ : / @."
            )
        if key in parsed:
            raise invalid_parameter("Duplicate tag keys found. Please note that tag keys are case sensitive.")
        parsed[key] = value
    return _limited(parsed)


def merge(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """What TagResource leaves: ``new`` wins. Raises InvalidParameterException where that makes too many."""
    return _limited({**old, **new})


def remove(old: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    """What UntagResource leaves. Keys that aren't there are no error."""
    gone = set(keys)
    for key in gone:
        _check_key(key)
    return {key: value for key, value in old.items() if key not in gone}


def view(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """AWS's shape, in the order in which they were set."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def _limited(tags: dict[str, str]) -> dict[str, str]:
    if sum(not key.startswith(_RESERVED) for key in tags) > MAX_TAGS:
        raise AwsError("InvalidParameterException", f"The number of tags exceeds the limit of {MAX_TAGS} per resource.")
    return tags


def _check_key(key: str) -> None:
    if key.lower().startswith(_RESERVED):
        raise invalid_parameter(
            f"Tag keys can't begin with '{_RESERVED}' in any combination of letter case: it is reserved for AWS use."
        )
    if not 1 <= len(key) <= _MAX_KEY or not _spelled_right(key):
        raise invalid_parameter(
            f"Invalid tag key. Key must have 1 to {_MAX_KEY} characters and may only contain letters, digits, spaces "
            "and + - = . _ : / @."
        )


def _spelled_right(text: str) -> bool:
    # The model's pattern: Unicode's letters (L), separators (Z) and numbers (N) in any script, and the marks.
    return all(c in _MARKS or unicodedata.category(c)[0] in "LZN" for c in text)
