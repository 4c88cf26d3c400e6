"""Why a process ended, by its log: what `homeport up` shows instead of sending its user to read."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from homeport.config import Settings

NAMES = ("server", "agent", "supervisor")  # the first that has something to say is the cause
ERRORS = ("ERROR", "CRITICAL")
READ = 256 << 10  # bytes of a log's end that are looked at


def position(settings: Settings) -> dict[str, int]:
    """The logs' sizes: what is written after them is of the start that now begins."""
    return {name: _size(settings.path("logs", f"{name}.log")) for name in NAMES}


def since(settings: Settings, position: dict[str, int]) -> str | None:
    """What was logged since that explains an end, in one line: an error, else a warning."""
    logs = [_read(settings.path("logs", f"{name}.log"), position[name]) for name in NAMES]
    found = [last_word(log, ERRORS) for log in logs] + [last_word(log, ("WARNING",)) for log in logs]
    return next(filter(None, found), None)


def last_word(log: str, levels: Collection[str]) -> str | None:
    """Of a log of JSON lines, the last message of these levels, with what it says of the error; of lines that are no
    JSON (a traceback, another program's complaint), the last one. Pure."""
    found = None
    for line in filter(None, map(str.strip, log.splitlines())):
        try:
            entry = json.loads(line)
            level, message = entry["level"], str(entry["message"])
        except (ValueError, TypeError, KeyError):
            found = line.removeprefix("error: ")
            continue
        if level in levels:
            detail = str(entry.get("exception") or entry.get("error") or "").strip()
            found = f"{message}: {detail.splitlines()[-1]}" if detail else message
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read(path: Path, start: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(start, _size(path) - READ))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
