"""``homeport status SERVICE``: what is shown of an answer, what is new in the next one, and how it ends."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from control_answers import HEAD, chunk, serving

from homeport.cli import CommandError, service_status


def deployment(id: str, running: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"ecs-svc/{id}",
        "status": "PRIMARY",
        "taskDefinition": "arn:aws:ecs:us-east-1:1:task-definition/web:2",
        "desiredCount": 4,
        "runningCount": running,
        "pendingCount": 1,
        "failedTasks": 0,
        "rolloutState": "IN_PROGRESS",
        "rolloutStateReason": f"ECS deployment ecs-svc/{id} in progress.",
        **more,
    }


FAILED = {
    "id": "t1",
    "deployment": "ecs-svc/1",
    "definition": "web:2",
    "stopped_at": 50.0,
    "stop_code": "EssentialContainerExited",
    "stopped_reason": "Essential container in task exited",
    "containers": [{"name": "app", "exit_code": 3, "reason": None}],
}


def answer(*deployments: dict[str, Any], verdict: str | None = None, **more: Any) -> dict[str, Any]:
    service = {
        "serviceName": "shop",
        "clusterArn": "arn:aws:ecs:us-east-1:1:cluster/demo",
        "status": "ACTIVE",
        "schedulingStrategy": "REPLICA",
        "desiredCount": 4,
        "runningCount": 2,
        "pendingCount": 1,
        "deployments": list(deployments),
        "events": more.pop("events", []),
        "taskSets": more.pop("task_sets", []),
    }
    newest = {"status": "IN_PROGRESS", "reason": None, "breaker": "DISABLED", "created_at": 10.0}
    return {"service": service, "deployment": newest, "failing": more.pop("failing", []), "verdict": verdict, **more}


def event(id: str, at: float) -> dict[str, Any]:
    return {"id": id, "createdAt": at, "message": f"message {id}"}


def texts(lines: list[tuple[str, ...]]) -> list[str]:
    return [" ".join(line[1:]) for line in lines]


def test_the_headline_has_counts_and_the_breaker() -> None:
    shown = answer(deployment("1", 2))
    shown["deployment"] |= {"breaker": "MONITORING", "failures": 1, "threshold": 3}
    assert service_status.headline(shown) == (
        "Service shop  cluster demo  ACTIVE  REPLICA  2 of 4 running  1 pending  deployment IN_PROGRESS  "
        "circuit breaker 1 of 3 failures"
    )
    assert "circuit" not in service_status.headline(answer(deployment("1", 2)))


def test_rows_of_deployments_and_of_task_sets() -> None:
    assert service_status.rows(answer(deployment("1", 2, failedTasks=7))) == [
        ("ecs-svc/1", "PRIMARY", "web:2", "2 of 4", "1", "7", "IN_PROGRESS")
    ]
    one = {"id": "ecs-svc/2", "status": "ACTIVE", "computedDesiredCount": 1, "runningCount": 0, "pendingCount": 1}
    assert service_status.rows(answer(task_sets=[{**one, "stabilityStatus": "STABILIZING"}])) == [
        ("ecs-svc/2", "ACTIVE", "", "0 of 1", "1", "", "STABILIZING")
    ]


@pytest.mark.parametrize(
    ("running", "pending", "desired", "full", "half"),
    [(0, 0, 0, 0, 0), (0, 0, 4, 0, 0), (2, 1, 4, 5, 3), (4, 0, 4, 10, 0), (6, 2, 4, 10, 0), (0, 9, 4, 0, 10)],
)
def test_bars_are_always_as_long(running: int, pending: int, desired: int, full: int, half: int) -> None:
    drawn = service_status.bar(running, pending, desired)
    assert (len(drawn), drawn.count("█"), drawn.count("▒")) == (10, full, half)


def test_news_are_what_was_not_said_before() -> None:
    first = answer(deployment("1", 1), events=[event("b", 20.0), event("a", 5.0)], failing=[FAILED])
    why = "EssentialContainerExited: Essential container in task exited [app: exit 3]"
    assert texts(service_status.news(None, first)) == [
        f"task t1 ecs-svc/1 {why}",
        "event message b",
        "deployment ecs-svc/1 PRIMARY web:2 1 of 4 1 0 IN_PROGRESS",
    ]
    assert service_status.news(first, first) == []
    later = answer(
        deployment("1", 2),
        deployment("0", 0, status="ACTIVE"),
        events=[event("d", 31.0), event("c", 30.0), event("b", 20.0)],
        failing=[{**FAILED, "id": "t3"}, {**FAILED, "id": "t2"}, FAILED],
    )
    assert texts(service_status.news(first, later)) == [
        f"task t2 ecs-svc/1 {why}",
        f"task t3 ecs-svc/1 {why}",
        "event message c",
        "event message d",
        "deployment ecs-svc/1 PRIMARY web:2 2 of 4 1 0 IN_PROGRESS",
        "deployment ecs-svc/0 ACTIVE web:2 0 of 4 1 0 IN_PROGRESS",
    ]


def test_reasons_of_containers_that_the_task_tells_already_are_not_repeated() -> None:
    task = {**FAILED, "stopped_reason": "CannotPullContainerError: no", "stop_code": "TaskFailedToStart"}
    container = {"name": "app", "exit_code": None, "reason": "CannotPullContainerError: no"}
    other = {"name": "b", "exit_code": None, "reason": "OutOfMemoryError"}
    text = service_status.why({**task, "containers": [container, other]})
    assert text == "TaskFailedToStart: CannotPullContainerError: no [b: OutOfMemoryError]"


@pytest.mark.parametrize(
    ("verdict", "reason", "said"),
    [
        ("steady", None, "Service shop is steady: 2 tasks run."),
        ("gone", None, "Service shop was deleted."),
        ("failed", "why", "Service shop: the deployment has failed (IN_PROGRESS). why"),
        (
            "failed",
            None,
            "Service shop: the deployment has failed (IN_PROGRESS). because",
        ),
        (None, None, "Service shop is no longer known."),
    ],
)
def test_how_it_ends(verdict: str | None, reason: str | None, said: str) -> None:
    last = answer(deployment("1", 2, rolloutStateReason="because"), verdict=verdict)
    last["deployment"]["reason"] = reason
    assert service_status.ending(last) == said


def test_a_control_plane_that_is_away_is_waited_for(tmp_path: Path) -> None:
    first, last = answer(deployment("1", 1)), answer(deployment("1", 4), verdict="steady")
    died = HEAD + chunk(json.dumps(first) + "\n") + chunk(json.dumps(last) + "\n")[:-20]
    back = HEAD + chunk(json.dumps(last) + "\n") + chunk("null\n")
    with serving(tmp_path, died, back) as (settings, asked):
        assert list(service_status.follow(settings, "arn:x")) == [first, None, last]
    assert asked == ["/follow-service?service=arn%3Ax"] * 2


def test_a_service_that_is_forgotten_ends_it(tmp_path: Path) -> None:
    first = answer(deployment("1", 1))
    with serving(tmp_path, HEAD + chunk(json.dumps(first) + "\n") + chunk("null\n")) as (settings, _):
        assert list(service_status.follow(settings, "arn:x")) == [first]


@pytest.mark.feature("`homeport status SERVICE --timeout` gives up waiting, and says what to look at next")
@pytest.mark.parametrize("as_json", [False, True])
def test_waiting_ends_in_time_with_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    shown = answer(deployment("1", 2))
    shown["service"]["serviceArn"] = "arn:x"
    began = time.monotonic()
    with (
        serving(tmp_path, HEAD + chunk(json.dumps(shown) + "\n"), held=True) as (settings, _),
        pytest.raises(CommandError) as found,
    ):
        service_status.run(settings, shown, wait=True, as_json=as_json, timeout=0.3)
    assert 0.3 <= time.monotonic() - began < 5
    assert str(found.value) == (
        "Service shop isn't steady after 0.3 s: 2 of 4 tasks run, 1 are pending; the rollout goes on. "
        "Find out what keeps it with: homeport explain demo/shop"
    )
    out = capsys.readouterr().out
    assert json.loads(out) == {**shown, "verdict": "overdue"} if as_json else "2 of 4" in out


def test_waiting_for_a_control_plane_that_is_away_ends_in_time_too(tmp_path: Path) -> None:
    shown = answer(deployment("1", 2))
    shown["service"]["serviceArn"] = "arn:x"
    with serving(tmp_path) as (settings, _):
        pass
    with pytest.raises(CommandError, match=r"isn't steady after 0\.05 s"):
        service_status.run(settings, shown, wait=True, as_json=True, timeout=0.05)
