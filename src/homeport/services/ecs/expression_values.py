"""The values that the cluster query language compares. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from homeport.core.errors import invalid_parameter

_PATTERN_MEMORY = 1 << 20  # bytes that one compiled pattern may take


def version(text: str) -> tuple[int, ...]:
    """``1.105.1`` (also ``v1.105.1``) as numbers. Raises ValueError."""
    return tuple(int(part) for part in text.removeprefix("v").split("-")[0].split("."))


def number(text: str) -> int:
    """Raises ValueError."""
    return int(text)


def date(text: str) -> float:
    """``2018-06-18``, ``2018-06-18T22:28:28``, the same with ``Z`` or ``+00:00``, in epoch seconds; UTC where it says
    nothing. Raises ValueError."""
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def ordered(ordering: Callable[[Any, Any], bool], known: str, wanted: str) -> bool:
    """Attributes are texts: two that are numbers are compared as such."""
    try:
        return ordering(float(known), float(wanted))
    except ValueError:
        return ordering(known, wanted)


def pattern(text: str) -> Callable[[str], bool]:
    """Whether a whole value matches the regular expression. Raises InvalidParameterException."""
    import re2

    options = re2.Options()
    options.log_errors, options.max_mem = False, _PATTERN_MEMORY
    try:
        compiled = re2.compile(text, options)
    except re2.error as error:
        raise invalid_parameter(f"Invalid expression: '{text}' is no regular expression that can be used.") from error
    return lambda value: compiled.fullmatch(value) is not None
