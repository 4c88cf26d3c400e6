"""Why a process ended, by its log: what `homeport up` shows instead of sending its user to read."""

from __future__ import annotations

import json
from pathlib import Path

from homeport.config import Settings

NAMES = ("server", "agent", "supervisor")  # the first that has something to say is the cause
SEVERE = ("ERROR", "CRITICAL")
READ = 256 << 10  # bytes of a log's end that are looked at


def position(settings: Settings) -> dict[str, int]:
    """The logs' sizes: what is written after them is of the start that now begins."""
    return {name: _size(settings.path("logs", f"{name}.log")) for name in NAMES}


def since(settings: Settings, position: dict[str, int]) -> str | None:
    """The last error that was logged since, in one line."""
    for name in NAMES:
        if text := last_error(_read(settings.path("logs", f"{name}.log"), position[name])):
            return text
    return None


def last_error(log: str) -> str | None:
    """Of a log of JSON lines, the message of the last severe one, with its exception's last line; of lines that are no
    JSON (a traceback, another program's complaint), the last one. Pure."""
    found = None
    for line in filter(None, map(str.strip, log.splitlines())):
        try:
            entry = json.loads(line)
            level, message = entry["level"], str(entry["message"])
        except (ValueError, TypeError, KeyError):
            found = line.removeprefix("error: ")
            continue
        if level in SEVERE:
            exception = str(entry.get("exception", "")).strip()
            found = f"{message}: {exception.splitlines()[-1]}" if exception else message
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
