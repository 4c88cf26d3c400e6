"""Why a process ended, as its log tells it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from homeport.cli.last_words import ERRORS, last_word


def line(level: str, message: str, **more: Any) -> str:
    return json.dumps({"time": "now", "level": level, "logger": "x", "message": message, **more})


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], None),
        ([line("INFO", "all is well"), line("WARNING", "nearly")], None),
        ([line("ERROR", "first"), line("CRITICAL", "second"), line("INFO", "stopping")], "second"),
        ([line("ERROR", "it failed", exception="Traceback\n  here\nKeyError: 'x'")], "it failed: KeyError: 'x'"),
        (["Traceback (most recent call last):", "  File …", "ImportError: no module"], "ImportError: no module"),
        (["error: the key is damaged", ""], "the key is damaged"),
        (["[1, 2]", "7"], "7"),
        ([line("ERROR", "explained"), line("INFO", "more")], "explained"),
    ],
)
def test_the_last_error_is_found(lines: list[str], found: str | None) -> None:
    assert last_word("\n".join(lines), ERRORS) == found


def test_a_warning_is_found_with_its_error() -> None:
    lines = [line("WARNING", "can't save", error="disk full"), line("INFO", "again")]
    assert last_word("\n".join(lines), ("WARNING",)) == "can't save: disk full"
