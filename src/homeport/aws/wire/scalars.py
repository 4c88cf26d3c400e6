"""Scalars as AWS writes and reads them. Timestamps are floats, seconds since the Unix epoch, on our side."""

from __future__ import annotations

import base64
import binascii
import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

INTEGER = (-(2**31), 2**31 - 1)
LONG = (-(2**63), 2**63 - 1)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = 253402300799.0  # 9999-12-31T23:59:59Z, the last second that ISO 8601 writes with four digits
_EARLIEST = -62135596800.0  # 0001-01-01T00:00:00Z
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,20}", re.ASCII)


class BadScalar(ValueError):
    """The text or number isn't one of the wanted kind."""


def timestamp_from_number(value: float) -> float:
    """Epoch seconds within the years 1 to 9999. Raises BadScalar."""
    try:
        seconds = float(value)
    except OverflowError as error:
        raise BadScalar("timestamp out of range") from error
    if not _EARLIEST <= seconds <= _LATEST:  # NaN compares false
        raise BadScalar("timestamp out of range")
    return seconds


def timestamp_from_text(text: str) -> float:
    """ISO 8601, RFC 822 or a decimal number of epoch seconds. A time without a zone is UTC. Raises BadScalar."""
    if _NUMBER.fullmatch(text):
        return timestamp_from_number(float(text))
    try:
        moment = parsedate_to_datetime(text) if "," in text else datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) / timedelta(seconds=1)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise BadScalar(f"not a timestamp: {text[:64]!r}") from error


def unix_seconds(value: float) -> float | int:
    """Rounded to milliseconds, as AWS sends them; a whole number of seconds has no fraction."""
    rounded = round(value, 3)
    return int(rounded) if rounded == int(rounded) else rounded


def iso8601(value: float) -> str:
    """``2026-01-31T12:00:00.000Z``, in milliseconds as EC2 and STS write it."""
    moment = _EPOCH + timedelta(milliseconds=round(value * 1000))
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z".rjust(24, "0")


def rfc822(value: float) -> str:
    return format_datetime(_EPOCH + timedelta(seconds=round(value)), usegmt=True)


def blob_from_text(text: str) -> bytes:
    """Base64 with padding. Raises BadScalar."""
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadScalar("not base64") from error


def blob_to_text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def whole_from_text(text: str, bounds: tuple[int, int]) -> int:
    """A decimal integer within ``bounds`` (inclusive). Raises BadScalar."""
    if not _WHOLE.fullmatch(text) or not bounds[0] <= int(text) <= bounds[1]:
        raise BadScalar(f"not an integer: {text[:64]!r}")
    return int(text)


def real_from_text(text: str) -> float:
    """A finite decimal number. Raises BadScalar."""
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise BadScalar(f"not a number: {text[:64]!r}")
    return float(text)


def boolean_from_text(text: str) -> bool:
    """``true`` or ``false`` in any case. Raises BadScalar."""
    match text.lower():
        case "true":
            return True
        case "false":
            return False
    raise BadScalar(f"not a boolean: {text[:64]!r}")


def is_text(value: str) -> bool:
    """Whether the string can be written as UTF-8, that is, has no lone surrogate."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
