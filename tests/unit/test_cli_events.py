"""``homeport events``: what is read of the control socket, and what people see of an event."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from control_answers import END, HEAD, chunk, serving

from homeport.cli import CommandError, control, events
from homeport.config import Settings

QUERY = {"follow": "1", "since": "0", "cluster": "", "service": "", "task": ""}


def line(version: int, *names: str, missed: bool = False) -> bytes:
    told = ", ".join(f'"{name}"' for name in names)
    return chunk(f'{{"version": {version}, "events": [{told}], "missed": {str(missed).lower()}}}\n')


def decoded(told: list[msgspec.Raw]) -> list[Any]:
    return [msgspec.json.decode(event) for event in told]


def test_what_is_followed_goes_on_after_the_last_whole_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torn = HEAD + line(4) + line(6, "a", "b") + line(9, "c")[:-9]
    answers = torn, HEAD + line(6) + line(9, "c") + END, HEAD + line(9) + line(30, "d", missed=True) + END
    waits = 0

    def wait(_: float) -> None:
        nonlocal waits
        waits += 1
        if waits == 3:
            raise KeyboardInterrupt

    seen: list[Any] = []
    with serving(tmp_path, *answers) as (settings, asked), suppress(KeyboardInterrupt):
        for told in events.read(settings, QUERY, wait):
            seen += decoded(told)
    assert [path.rpartition("after=")[2] for path in asked] == ["0", "6", "9"]
    assert seen == ["a", "b", "c", "d"]
    assert "Events between version 9 and the next ones are no longer" in capsys.readouterr().err


def test_the_past_ends_with_its_last_line(tmp_path: Path) -> None:
    with serving(tmp_path, HEAD + line(0) + line(3, "a") + END) as (settings, _):
        assert [decoded(told) for told in events.read(settings, QUERY | {"follow": "0"})] == [["a"]]


@pytest.mark.parametrize(
    "cut", [b"", HEAD[:20], HEAD, HEAD + line(1), HEAD + line(1) + line(2, "a")[:-4], HEAD + line(1) + b"0\r\n\r\n"]
)
def test_an_answer_that_breaks_off_is_an_error(tmp_path: Path, cut: bytes) -> None:
    with serving(tmp_path, cut) as (settings, _), pytest.raises(control.Unreachable):
        list(events.read(settings, QUERY | {"follow": "0"}))


def test_nothing_is_waited_for_that_was_never_there(tmp_path: Path) -> None:
    with pytest.raises(control.Unreachable):
        list(events.read(Settings(state=str(tmp_path), instance="0" * 8), QUERY))


def test_a_refusal_is_told_in_the_servers_words(tmp_path: Path) -> None:
    refusal = b'HTTP/1.1 400 Bad Request\r\ncontent-length: 18\r\n\r\n{"message": "no!"}'
    with serving(tmp_path, refusal) as (settings, _), pytest.raises(CommandError, match="no!"):
        list(events.read(settings, QUERY))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 970.0),
        ("1.5m", 910.0),
        ("2h", 1000.0 - 7200),
        ("1d", 1000.0 - 86400),
        ("1970-01-01T00:00:05+00:00", 5.0),
    ],
)
def test_since(text: str, expected: float) -> None:
    assert events.moment(text, 1000.0) == expected


@pytest.mark.parametrize("text", ["", "x", "10", "ten minutes", "-5m", "5w"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(CommandError, match="neither a time"):
        events.moment(text, 1000.0)


TASK: dict[str, Any] = {
    "lastStatus": "RUNNING",
    "desiredStatus": "RUNNING",
    "healthStatus": "UNKNOWN",
    "taskDefinitionArn": "arn:aws:ecs:us-east-1:1:task-definition/web:3",
    "group": "service:shop",
    "containers": [],
    "updatedAt": "2026-12-01T00:09:24.221Z",
}
STOPPED = {
    "lastStatus": "STOPPED",
    "desiredStatus": "STOPPED",
    "stopCode": "EssentialContainerExited",
    "stoppedReason": "Essential container in task exited",
    "containers": [{"name": "app", "exitCode": 137, "reason": "OutOfMemoryError"}, {"name": "b", "exitCode": 0}],
}
INSTANCE: dict[str, Any] = {
    "status": "ACTIVE",
    "agentConnected": True,
    "runningTasksCount": 2,
    "pendingTasksCount": 1,
    "remainingResources": [{"name": "CPU", "integerValue": 512}, {"name": "MEMORY", "integerValue": 64}],
    "updatedAt": "2026-12-01T00:09:24.221Z",
}
ACTION: dict[str, Any] = {"eventName": "X", "eventType": "ERROR", "createdAt": "2026-12-01T00:09:24.221Z"}


@pytest.mark.parametrize(
    ("kind", "detail", "said", "level"),
    [
        ("Task State Change", TASK, "RUNNING (web:3, service:shop)", "INFO"),
        (
            "Task State Change",
            {**TASK, "desiredStatus": "STOPPED", "healthStatus": "HEALTHY"},
            "RUNNING → STOPPED, HEALTHY (web:3, service:shop)",
            "INFO",
        ),
        (
            "Task State Change",
            TASK | STOPPED,
            "STOPPED (web:3, service:shop) EssentialContainerExited: Essential container in task exited "
            "[app: exit 137, OutOfMemoryError]",
            "ERROR",
        ),
        (
            "Container Instance State Change",
            INSTANCE,
            "ACTIVE, agent connected, 3 tasks, 512 units and 64 MiB left",
            "INFO",
        ),
        ("Service Action", ACTION, "X", "ERROR"),
        ("Service Action", {**ACTION, "reason": "RESOURCE:CPU", "eventType": "WARN"}, "X: RESOURCE:CPU", "WARN"),
    ],
)
def test_what_people_see(kind: str, detail: dict[str, Any], said: str, level: str) -> None:
    event = {"detail-type": f"ECS {kind}", "resources": ["arn:aws:ecs:us-east-1:1:x/demo/id"], "detail": detail}
    clock, _, which, text = events.columns(event)
    assert (which, text, events.level(event)) == ("demo/id", said, level)
    assert clock.endswith(":24.221")
