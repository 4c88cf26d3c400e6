"""Filters of the Describe operations, as EC2 matches them. Pure.

A record passes if it passes every filter; it passes a filter if one of its values for the filter's name matches one of
the filter's values, in which ``*`` stands for any characters, ``?`` for one, and a backslash takes either literally.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from homeport.services.ec2.errors import bad_value

T = TypeVar("T")
Values = Callable[[T], Iterable[str]]
MAX_VALUES = 200  # over all filters of a request, EC2's own limit


def flag(value: bool) -> tuple[str]:
    return ("true" if value else "false",)


def compile_filters(
    filters: Sequence[Mapping[str, Any]],
    known: Mapping[str, Values[T]],
    tags: Callable[[T], Mapping[str, str]],
) -> Callable[[T], bool]:
    """The predicate of a request's ``Filters``. ``known``: values of a record by filter name.

    Raises InvalidParameterValue for an unknown name or one without values, FilterLimitExceeded for too many values.
    """
    if sum(len(f.get("Values") or ()) for f in filters) > MAX_VALUES:
        raise bad_value(
            f"The maximum number of filter values specified on a single call is {MAX_VALUES}", "FilterLimitExceeded"
        )
    tests = [_test(f.get("Name") or "", f.get("Values") or (), known, tags) for f in filters]
    return lambda record: all(test(record) for test in tests)


def _test(
    name: str, wanted: Sequence[str], known: Mapping[str, Values[T]], tags: Callable[[T], Mapping[str, str]]
) -> Callable[[T], bool]:
    values = _tag_values(name[4:], tags) if name.startswith("tag:") else known.get(name)
    if values is None:
        raise bad_value(f"The filter '{name or 'null'}' is invalid")
    if not wanted:
        raise bad_value(f"The filter '{name}' must have at least one value")
    exact = {_literal(w) for w in wanted if not _has_wildcard(w)}
    patterns = [_pattern(w) for w in wanted if _has_wildcard(w)]

    def test(record: T) -> bool:
        return any(v in exact or any(p.fullmatch(v) for p in patterns) for v in values(record))

    return test


def _tag_values(key: str, tags: Callable[[T], Mapping[str, str]]) -> Values[T]:
    def values(record: T) -> Iterable[str]:
        found = tags(record)
        return (found[key],) if key in found else ()

    return values


def exact_values(filters: Sequence[Mapping[str, Any]], name: str) -> list[str] | None:
    """The values of the filter ``name`` where it is there and none has a wildcard: then an index can answer it."""
    for f in filters:
        wanted = f.get("Values") or ()
        if f.get("Name") == name and wanted and not any(map(_has_wildcard, wanted)):
            return [_literal(w) for w in wanted]
    return None


def _has_wildcard(text: str) -> bool:
    return re.search(r"[*?]", re.sub(r"\\.", "", text, flags=re.DOTALL)) is not None


def _literal(text: str) -> str:
    return re.sub(r"\\([*?\\])", r"\1", text)


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    """``*`` and ``?`` as a regular expression. What stands between two stars is matched atomically at its first place,
    so that no pattern makes the matching slow."""
    parts = re.findall(r"\\[*?\\]|[*?]|[^*?]", text, flags=re.DOTALL)
    segments = [""]
    for part in parts:
        if part == "*":
            segments.append("")
        else:
            segments[-1] += "." if part == "?" else re.escape(_literal(part))
    middle = "".join(f"(?>.*?{segment})" for segment in segments[1:-1])
    end = f".*{segments[-1]}" if len(segments) > 1 else ""
    return re.compile(segments[0] + middle + end, re.DOTALL)
