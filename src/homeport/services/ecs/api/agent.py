"""What agents call: DiscoverPollEndpoint and their reports. (Registration is in ``instances``.)"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from homeport.agentapi import ContainerReport, TaskReport
from homeport.aws.operations import Call, Operation, Params
from homeport.core import arn
from homeport.core.errors import invalid_parameter
from homeport.services.ecs import effects, lifecycle, tasks
from homeport.services.ecs.model.task import TASKS
from homeport.store import Scope, Tx, View

R = TypeVar("R", TaskReport, ContainerReport)
_ACKNOWLEDGED = {"acknowledgment": "Change acknowledged"}
_STATUSES = (  # of tasks and containers that agents tell; what isn't PENDING, RUNNING or STOPPED changes little
    *("", "PENDING", "RUNNING", "STOPPED"),
    *("NONE", "MANIFEST_PULLED", "PULLED", "CREATED", "RESOURCES_PROVISIONED"),
)
_ATTACHMENTS = ("ATTACHED", "DETACHED", "DELETED")


def discover_poll_endpoint(view: View, call: Call, params: Params) -> dict[str, Any]:
    """All three are this server: agents append ``ws`` themselves."""
    endpoint = call.endpoint.rstrip("/") + "/"
    return {"endpoint": endpoint, "telemetryEndpoint": endpoint, "serviceConnectEndpoint": endpoint}


def submit_task_state_change(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """A node's word on one of its tasks. A late or repeated one changes nothing and is acknowledged all the same."""
    report = _read({"cluster": "", "task": "", "status": "", **params}, TaskReport)
    _check(report.status, *(c.status for c in report.containers))
    _check_attachments(report.attachments)
    _fold(tx, call, params.get("task") or "", report)
    return _ACKNOWLEDGED


def submit_container_state_change(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    container = _read({"containerName": "", "status": "", **params}, ContainerReport)
    _check(container.status)
    scope, task = tasks.of_node(tx, call.scope, call.principal, params.get("task") or "")
    if container.container_name not in {c.name for c in task.containers}:
        raise invalid_parameter("The referenced container was not found.")
    report = TaskReport(cluster="", task="", status="", containers=(container,))
    effects.told(tx, scope, task, lifecycle.reported(task, report, tx.now))
    return _ACKNOWLEDGED


def submit_attachment_state_changes(tx: Tx, call: Call, params: Params) -> dict[str, Any]:
    """Attachments name no task: theirs is found by the attachment's id."""
    _check_attachments(params["attachments"])
    for change in params["attachments"]:
        place = arn.parse(change["attachmentArn"])
        scope = Scope(place.account, place.region) if place else Scope(*call.scope)
        found = tx.find(TASKS, scope, "attachment", change["attachmentArn"].rpartition("/")[2])
        if not found:
            raise invalid_parameter(f"The attachment {change['attachmentArn']} was not found.")
        for task in found:
            _fold(tx, call, task.arn, TaskReport(cluster="", task="", status="", attachments=(change,)))
    return _ACKNOWLEDGED


def _read(params: Params, kind: type[R]) -> R:
    try:
        return msgspec.convert(params, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid_parameter(f"The report can't be read: {error}") from error


def _check(*statuses: str) -> None:
    strange = next((status for status in statuses if status not in _STATUSES), None)
    if strange is not None:
        raise invalid_parameter(f"Invalid status {strange[:64]}.")


def _check_attachments(changes: Iterable[Mapping[str, Any]]) -> None:
    strange = next((c for c in changes if c.get("status") not in _ATTACHMENTS), None)
    if strange is not None:
        raise invalid_parameter(f"Invalid status of attachment {str(strange.get('attachmentArn'))[:256]}.")


def _fold(tx: Tx, call: Call, task_text: str, report: TaskReport) -> None:
    scope, task = tasks.of_node(tx, call.scope, call.principal, task_text)
    effects.told(tx, scope, task, lifecycle.reported(task, report, tx.now))


OPERATIONS = {
    "DiscoverPollEndpoint": Operation(discover_poll_endpoint, write=False),
    "SubmitTaskStateChange": Operation(submit_task_state_change),
    "SubmitContainerStateChange": Operation(submit_container_state_change),
    "SubmitAttachmentStateChanges": Operation(submit_attachment_state_changes),
}
