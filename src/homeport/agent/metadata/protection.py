"""A task's protection from scaling in, ``$ECS_AGENT_URI/task-protection/v1/state``: what to ask the control plane for,
and what to make of its answer. Pure.

Shapes, texts and statuses are those of Amazon's agent. It asks with the credentials of the task's role; here the node
asks for its task, so that no role is needed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

TIMEOUT_SECONDS = 4.0  # for the control plane to answer, as Amazon's agent waits


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    """The body of a PUT. Time in minutes."""

    protection_enabled: bool | None = None
    expires_in_minutes: int | None = None


class Ask(msgspec.Struct, frozen=True):
    """An operation of ECS's to call for the task."""

    operation: str
    params: dict[str, Any]


class Told(msgspec.Struct, frozen=True):
    """HTTP status and answer."""

    status: int
    body: dict[str, Any]


def asked(task_arn: str | None, cluster: str, body: bytes | None) -> Ask | Told:
    """What the task with this ARN (None: no container of its own asks) wants by the body of a PUT (None: a GET)."""
    wish = None
    if body is not None:
        try:
            wish = msgspec.json.decode(body, type=Wish | None)
        except (msgspec.DecodeError, UnicodeError):
            return Told(
                400, _error(None, "InvalidParameterException", "UpdateTaskProtection: failed to decode request")
            )
    if task_arn is None:
        return Told(404, _error(None, "ResourceNotFoundException", "Failed to find a task for the request"))
    params: dict[str, Any] = {"cluster": cluster, "tasks": [task_arn]}
    if body is None:
        return Ask("GetTaskProtection", params)
    if wish is None or wish.protection_enabled is None:
        text = "Invalid request: does not contain 'ProtectionEnabled' field"
        return Told(400, _error(task_arn, "InvalidParameterException", text))
    params["protectionEnabled"] = wish.protection_enabled
    if wish.expires_in_minutes is not None:
        params["expiresInMinutes"] = wish.expires_in_minutes
    return Ask("UpdateTaskProtection", params)


def answered(task_arn: str, answer: dict[str, Any]) -> Told:
    """The control plane's answer as the task sees it."""
    for failure in answer.get("failures") or ():
        shown = {"Arn": failure.get("arn"), "Detail": failure.get("detail"), "Reason": failure.get("reason")}
        return Told(200, {"failure": shown})
    for found in answer.get("protectedTasks") or ():
        shown = {
            "ExpirationDate": _date(found.get("expirationDate")),
            "ProtectionEnabled": found.get("protectionEnabled", False),
            "TaskArn": found.get("taskArn"),
        }
        return Told(200, {"protection": shown})
    return Told(500, _error(task_arn, "ServerException", "Unexpected error occurred"))


def failed(task_arn: str, code: str | None, text: str) -> Told:
    """``code``: AWS's; None where there was no answer at all."""
    if code is None:
        text = "Timed out calling Amazon ECS Task Protection API"
        return Told(504, _error(task_arn, "RequestCanceled", text))
    return Told(500 if code == "ServerException" else 400, _error(task_arn, code, text))


def _date(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, with milliseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(task_arn: str | None, code: str, text: str) -> dict[str, Any]:
    return {"error": {**({"Arn": task_arn} if task_arn else {}), "Code": code, "Message": text}}
