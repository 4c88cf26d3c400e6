"""What a task is told of its protection from scaling in, ``$ECS_AGENT_URI/task-protection/v1/state``. Pure.

The shapes and texts of errors are those of Amazon's agent. Only tasks of services can be protected, and so far there
are none: every task gets the failure that ECS has for standalone tasks.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    """The body of a PUT. Time in minutes."""

    protection_enabled: bool | None = None
    expires_in_minutes: int | None = None


def state(task_arn: str | None, body: bytes | None) -> tuple[int, dict[str, Any]]:
    """HTTP status and answer, for the task with this ARN (None: no container of its own asks) and the body of a PUT
    (None: a GET)."""
    wish = None
    if body is not None:
        try:
            wish = msgspec.json.decode(body, type=Wish | None)
        except (msgspec.DecodeError, UnicodeError):
            return 400, _error(None, "InvalidParameterException", "UpdateTaskProtection: failed to decode request")
    if task_arn is None:
        return 404, _error(None, "ResourceNotFoundException", "Failed to find a task for the request")
    if body is not None and (wish is None or wish.protection_enabled is None):
        text = "Invalid request: does not contain 'ProtectionEnabled' field"
        return 400, _error(task_arn, "InvalidParameterException", text)
    return 200, {"failure": {"Arn": task_arn, "Detail": None, "Reason": "TASK_NOT_VALID"}}


def _error(task_arn: str | None, code: str, text: str) -> dict[str, Any]:
    return {"error": {**({"Arn": task_arn} if task_arn else {}), "Code": code, "Message": text}}
