"""How many tasks a deployment must keep and may have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULTS = {"maximumPercent": 200, "minimumHealthyPercent": 100}
DAEMON_DEFAULTS = {"maximumPercent": 100, "minimumHealthyPercent": 0}


def lower(desired: int, configuration: Mapping[str, Any]) -> int:
    """Healthy tasks that must be left: rounded up, as ECS."""
    return -(-desired * int(configuration.get("minimumHealthyPercent", 100)) // 100)


def upper(desired: int, configuration: Mapping[str, Any]) -> int:
    """Tasks that may be there, starting and stopping ones too: rounded down, as ECS."""
    return desired * int(configuration.get("maximumPercent", 200)) // 100
