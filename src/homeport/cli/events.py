"""``homeport events``: what happened, and with ``-f`` what happens, as EventBridge would tell it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from homeport import config
from homeport.cli import CommandError, control
from homeport.cli.inspect import Json
from homeport.cli.lifecycle import State
from homeport.cli.terminal import warn
from homeport.config import Settings

Event = dict[str, Any]

RETRY_SECONDS = 0.2  # between two tries to reach a control plane that is away: there is no event before its socket is
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_KINDS = {
    "ECS Task State Change": "task",
    "ECS Container Instance State Change": "instance",
    "ECS Service Action": "service",
    "ECS Deployment State Change": "deployment",
}
_WIDTHS = (12, 10, 40)  # characters of the first columns in a terminal
_COLOURS = {"ERROR": "31", "WARN": "33"}


def events(
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], help="Go on with what happens.", negative="")] = False,
    since: Annotated[
        str | None, Parameter(help="A time (2026-12-01T09:30) or how long ago (30s, 10m, 2h, 1d); default: all.")
    ] = None,
    cluster: Annotated[str, Parameter(help="Only of this cluster (name or ARN).")] = "",
    service: Annotated[str, Parameter(help="Only of this service and its tasks (name, cluster/name or ARN).")] = "",
    task: Annotated[str, Parameter(help="Only of this task (ARN, or the first characters of its id).")] = "",
    state: State = None,
    as_json: Json = False,
) -> None:
    """Print state change events of tasks, container instances, services and deployments, the oldest first, as far back
    as the change log goes (a day). With --json each line is an event of EventBridge."""
    query = {"since": str(moment(since, time.time())) if since else "0", "follow": "1" if follow else "0"}
    query |= {"cluster": cluster, "service": service, "task": task}
    show = _as_json if as_json else _in_colour if sys.stdout.isatty() else _as_text
    for told in read(config.load(state), query):
        sys.stdout.write("".join([show(event) for event in told]))
        sys.stdout.flush()


class _Line(msgspec.Struct):
    version: int
    events: list[msgspec.Raw]
    missed: bool


_LINE, _EVENT = msgspec.json.Decoder(_Line), msgspec.json.Decoder()


def read(
    settings: Settings, query: dict[str, str], wait: Callable[[float], None] = time.sleep
) -> Iterator[list[msgspec.Raw]]:
    """The events as they were sent, each once, those of a version together. Where they are followed, a control plane
    that is away is waited for. Raises CommandError.

    A line tells all events of a version and is read whole or not at all, so that reading goes on after the last one.
    """
    after, reached, follow = 0, False, query["follow"] == "1"
    while True:
        try:
            for line in control.follow(settings, "/events", query | {"after": str(after)}, decode=_LINE.decode):
                if line.missed:
                    warn(f"Events between version {after} and the next ones are no longer in the change log.")
                after, reached = line.version, True
                if line.events:
                    yield line.events
        except control.Unreachable:
            if not follow or not reached:
                raise
        if not follow:
            return
        wait(RETRY_SECONDS)


def _as_json(event: msgspec.Raw) -> str:
    return bytes(event).decode() + "\n"


def _as_text(event: msgspec.Raw) -> str:
    return "\t".join(columns(_EVENT.decode(event))) + "\n"


def _in_colour(raw: msgspec.Raw) -> str:
    event = _EVENT.decode(raw)
    *first, last = columns(event)
    head = "  ".join(text.ljust(width) for text, width in zip(first, _WIDTHS, strict=True))
    colour = _COLOURS.get(level(event))
    return f"{head}  \x1b[{colour}m{last}\x1b[0m\n" if colour else f"{head}  {last}\n"


# --- pure -------------------------------------------------------------------------------------------------------------


def moment(text: str, now: float) -> float:
    """Epoch seconds of a time, or of how long ago. Raises CommandError."""
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.replace(".", "", 1).isdigit():
        return now - float(number) * _UNITS[unit]
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError as error:
        raise CommandError(f"{text!r} is neither a time nor a number of seconds, minutes, hours or days.") from error


def columns(event: Event) -> tuple[str, str, str, str]:
    """An event for people: the time of day, of what, which one, and what it says."""
    detail, kind = event["detail"], _KINDS[event["detail-type"]]
    at = detail.get("updatedAt") or detail["createdAt"]
    clock = datetime.fromisoformat(at).astimezone()
    said = {"task": _task, "instance": _instance}.get(kind, _told)(detail)
    which = event["resources"][0].split("/", 1)[1]
    return f"{clock:%H:%M:%S}.{clock.microsecond // 1000:03d}", kind, which, said


def level(event: Event) -> str:
    """INFO, WARN or ERROR. A task that ended as nobody wanted is an ERROR."""
    detail = event["detail"]
    if detail.get("stopCode") in ("TaskFailedToStart", "EssentialContainerExited"):
        return "ERROR"
    return str(detail.get("eventType", "INFO"))


def _task(detail: dict[str, Any]) -> str:
    status, desired = detail["lastStatus"], detail["desiredStatus"]
    health = f", {detail['healthStatus']}" if detail.get("healthStatus", "UNKNOWN") != "UNKNOWN" else ""
    head = f"{status}{health}" if desired in (status, "RUNNING") else f"{status} → {desired}{health}"
    parts = [head, f"({detail['taskDefinitionArn'].rpartition('/')[2]}, {detail.get('group', '')})"]
    if detail.get("stoppedReason"):
        parts.append(f"{detail.get('stopCode', '')}: {detail['stoppedReason']}")
    for container in detail["containers"]:
        said = [f"exit {container['exitCode']}"] if container.get("exitCode") else []
        known = detail.get("stoppedReason", "")
        said += [container["reason"]] if container.get("reason") and container["reason"] not in known else []
        if said:
            parts.append(f"[{container['name']}: {', '.join(said)}]")
    return " ".join(parts)


def _instance(detail: dict[str, Any]) -> str:
    left = {r["name"]: r.get("integerValue", 0) for r in detail["remainingResources"]}
    agent = "connected" if detail["agentConnected"] else "disconnected"
    tasks = detail["runningTasksCount"] + detail["pendingTasksCount"]
    free = f"{left.get('CPU', 0)} units and {left.get('MEMORY', 0)} MiB left"
    return f"{detail['status']}, agent {agent}, {tasks} tasks, {free}"


def _told(detail: dict[str, Any]) -> str:
    reason = detail.get("reason")
    return f"{detail['eventName']}: {reason}" if reason else str(detail["eventName"])
