"""``homeport events``: of real tasks and services, past and live, across a control plane that is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.services import BREAKER, Services, following, past_events
from support.tasks import Tasks, until

pytestmark = pytest.mark.host

ORDER = (
    *("PROVISIONING", "PENDING", "ACTIVATING", "RUNNING"),
    *("DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"),
)


@pytest.fixture(scope="module")
def services(homeport: Any) -> Iterator[Services]:
    made = Services(homeport, "events")
    yield made
    left = [arn.rpartition("/")[2] for arn in made.ecs.list_services(cluster="events")["serviceArns"]]
    made.delete(*left)


def names(events: list[dict[str, Any]], what: str) -> list[str]:
    return [event["detail"]["eventName"] for event in events if event["detail-type"] == f"ECS {what}"]


def statuses(events: list[dict[str, Any]], task: str) -> list[str]:
    found = [event["detail"]["lastStatus"] for event in events if event["resources"] == [task]]
    return list(dict.fromkeys(found))


@pytest.mark.feature("State change events of tasks, services and deployments in EventBridge's JSON: homeport events")
def test_a_failing_image_and_its_rollback(services: Services) -> None:
    arn = services.create("failing", services.define("failing"), 1, deploymentConfiguration=BREAKER)
    services.homeport.command("status", "events/failing", "--wait")
    services.update("failing", taskDefinition=services.define("failing", image="127.0.0.1:1/nothing:latest"))
    assert services.homeport.command("status", "events/failing", "--wait", check=False).returncode == 1
    events = past_events(services.homeport, "--service", "events/failing")
    good, bad = "SERVICE_DEPLOYMENT_IN_PROGRESS", "SERVICE_DEPLOYMENT_FAILED"
    completed = "SERVICE_DEPLOYMENT_COMPLETED"
    assert names(events, "Deployment State Change") == [good, completed, good, bad, good, completed]
    assert "SERVICE_STEADY_STATE" in names(events, "Service Action")
    failed = next(event for event in events if event["detail"].get("eventName") == bad)
    assert failed["resources"] == [arn]
    assert failed["detail"]["reason"] == "ECS deployment circuit breaker: tasks failed to start."
    reasons = [e["detail"]["stoppedReason"] for e in events if e["detail"].get("stopCode") == "TaskFailedToStart"]
    assert reasons
    assert all(reason.startswith("CannotPullContainerError") for reason in reasons)
    assert all(event["detail"]["group"] == "service:failing" for event in events if "taskArn" in event["detail"])
    assert len({event["id"] for event in events}) == len(events)


def test_tasks_are_followed_to_their_end(tasks: Tasks) -> None:
    with following(tasks.homeport, "--since", "1m") as follower:
        arn = tasks.run("exit 3")
        tasks.wait(arn, "STOPPED")
        seen = follower.until(lambda events: "STOPPED" in statuses(events, arn))
    order = [
        "PROVISIONING",
        "PENDING",
        "ACTIVATING",
        "RUNNING",
        "DEACTIVATING",
        "STOPPING",
        "DEPROVISIONING",
        "STOPPED",
    ]
    assert statuses(seen, arn) == [status for status in order if status in statuses(seen, arn)]
    last = [event for event in seen if event["resources"] == [arn]][-1]["detail"]
    described = tasks.describe(arn)
    assert (last["stopCode"], last["containers"][0]["exitCode"]) == ("EssentialContainerExited", 3)
    assert last["version"] == described["version"]
    assert last["attachments"][0]["type"] == "eni"
    told = datetime.fromisoformat(last["stoppedAt"])
    assert abs(told - described["stoppedAt"]) <= timedelta(milliseconds=1)  # each has its own way of rounding
    only = past_events(tasks.homeport, "--task", arn.rpartition("/")[2][:12])
    assert only == [event for event in seen if event["resources"] == [arn]]
    plain = tasks.homeport.command("events", "--task", arn).stdout.splitlines()
    assert len(plain) == len(only)
    assert plain[-1].split("\t")[1:3] == ["task", arn.partition("/")[2]]
    assert "EssentialContainerExited: Essential container in task exited [app: exit 3]" in plain[-1]


def test_what_is_asked_wrongly_is_said(tasks: Tasks) -> None:
    done = tasks.homeport.command("events", "--since", "yesterday", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "neither a time nor" in done.stderr
    assert tasks.homeport.command("events", "--service", "nothing").stdout == ""


@pytest.mark.timeout(240)
@pytest.mark.feature("homeport events -f goes on when the control plane is killed: nothing is lost, nothing twice")
def test_followers_outlive_the_control_plane(own_homeport: Callable[..., Any]) -> None:
    homeport = own_homeport()
    services = Services(homeport, "killed")
    services.create("web", services.define("web"), 0)
    with following(homeport) as follower:
        for desired in (3, 1, 0):
            before = len(follower.events)
            services.update("web", desiredCount=desired)
            follower.grows(before)
            os.kill(_server(homeport), signal.SIGKILL)
            _come_back(services, desired)
        expected = past_events(homeport)
        # Another may have come since, as the word of a steady state.
        seen = follower.until(lambda events: len(events) >= len(expected))[: len(expected)]
    assert [event["id"] for event in seen] == [event["id"] for event in expected]
    assert seen == expected
    started = [e for e in seen if e["detail"].get("lastStatus") == "PROVISIONING" and e["detail"]["version"] == 1]
    assert len(started) >= 3
    ended = {e["resources"][0] for e in seen if e["detail"].get("lastStatus") == "STOPPED"}
    assert {e["resources"][0] for e in started} == ended


def _server(homeport: Any) -> int:
    """The process id of the control plane."""
    for entry in filter(lambda p: p.name.isdigit(), Path("/proc").iterdir()):
        try:
            argv = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "server" in argv and str(homeport.state) in argv and Path(argv[0]).name != "setpriv":
            return int(entry.name)
    raise AssertionError("no control plane runs")


def _come_back(services: Services, desired: int) -> None:
    """Waits until the service has as many tasks as it shall, and no others."""

    def look() -> Any:
        try:
            shown = services.describe("web")
            tasks = services.ecs.list_tasks(cluster="killed")["taskArns"]
            tasks += services.ecs.list_tasks(cluster="killed", desiredStatus="STOPPED")["taskArns"]
            found = services.ecs.describe_tasks(cluster="killed", tasks=tasks)["tasks"] if tasks else []
        except Exception:  # it isn't back yet
            return None
        moving = [t for t in found if t["lastStatus"] not in ("RUNNING", "STOPPED")]
        return (shown["runningCount"], shown["pendingCount"], len(moving))

    until(look, lambda seen: seen == (desired, 0, 0), 60)
