"""Numbers, instants and blobs as AWS writes them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.aws.wire import scalars
from homeport.aws.wire.scalars import BadScalar
from homeport.aws.wire.xml import escape


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-01-31T12:00:00.125Z", 1769860800.125),
        ("2026-01-31T13:00:00+01:00", 1769860800.0),
        ("2026-01-31T12:00:00", 1769860800.0),
        ("Sat, 31 Jan 2026 12:00:00 GMT", 1769860800.0),
        ("1769860800.5", 1769860800.5),
        ("-1", -1.0),
    ],
)
def test_timestamps_in(text: str, seconds: float) -> None:
    assert scalars.timestamp_from_text(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "now", "2026-13-01T00:00:00Z", "1e400", "1,2", "٣", "nan", ", ,", "99999999999999"]
)
def test_bad_timestamps(text: str) -> None:
    with pytest.raises(BadScalar):
        scalars.timestamp_from_text(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e12, 10**400])
def test_bad_timestamp_numbers(value: float) -> None:
    with pytest.raises(BadScalar):
        scalars.timestamp_from_number(value)


def test_timestamps_out() -> None:
    assert scalars.iso8601(1769860800.1256) == "2026-01-31T12:00:00.126Z"
    assert scalars.iso8601(0) == "1970-01-01T00:00:00.000Z"
    assert scalars.rfc822(1769860800.4) == "Sat, 31 Jan 2026 12:00:00 GMT"
    assert scalars.unix_seconds(1769860800.1256) == 1769860800.126
    assert isinstance(scalars.unix_seconds(5.0), int)


@given(st.integers(0, 4 * 10**12))
def test_iso_8601_keeps_milliseconds(milliseconds: int) -> None:
    assert scalars.timestamp_from_text(scalars.iso8601(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize("text", ["", "1.0", "1e3", " 1", "0x1", "1_000", "٣", "2147483648", "9" * 5000])
def test_bad_integers(text: str) -> None:
    with pytest.raises(BadScalar):
        scalars.whole_from_text(text, scalars.INTEGER)


def test_numbers_and_booleans() -> None:
    assert scalars.whole_from_text("-2147483648", scalars.INTEGER) == -(2**31)
    assert scalars.real_from_text("-1.5e3") == -1500.0
    assert [scalars.boolean_from_text(t) for t in ("true", "False", "TRUE")] == [True, False, True]
    for text in ("nan", "inf", "1e999", "", "."):
        with pytest.raises(BadScalar):
            scalars.real_from_text(text)
    with pytest.raises(BadScalar):
        scalars.boolean_from_text("1")


@given(st.binary())
def test_blobs(value: bytes) -> None:
    assert scalars.blob_from_text(scalars.blob_to_text(value)) == value


@pytest.mark.parametrize("text", ["a", "a===", "ü", "YQ==YQ==", "Y Q=="])
def test_bad_blobs(text: str) -> None:
    with pytest.raises(BadScalar):
        scalars.blob_from_text(text)


def test_xml_text() -> None:
    assert escape('<a href="x">&\r\n\t') == '&lt;a href="x"&gt;&amp;&#xD;\n\t'
    assert escape("\x00\x1b\ud800\uffff") == "\ufffd" * 4
