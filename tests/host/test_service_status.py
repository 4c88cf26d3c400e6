"""``homeport status SERVICE``: rollouts that work and that fail, in a terminal, piped, and for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.services import BREAKER, Services
from support.tasks import until
from support.terminal import terminal

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def services(homeport: Any) -> Iterator[Services]:
    made = Services(homeport, "status")
    made.create("shop", made.define("shop"), 2, deploymentConfiguration=BREAKER)
    made.homeport.command("status", "shop", "--wait")
    yield made
    made.delete("shop")


@pytest.mark.feature("homeport status SERVICE follows a rollout live: progress, events, failing tasks with reasons")
def test_a_rollout_is_waited_for(services: Services) -> None:
    services.update("shop", taskDefinition=services.define("shop", "exec sleep 1001"))
    done = services.homeport.command("status", "status/shop", "--wait")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    new = services.describe("shop")["deployments"][0]["id"]
    states = [line[-1] for line in lines if line[1:3] == ["deployment", new]]
    assert states[0] == "IN_PROGRESS"
    assert states[-1] == "COMPLETED"
    assert [f"(service shop) (deployment {new}) deployment completed."] in [
        line[2:] for line in lines if line[1:2] == ["event"]
    ]
    assert lines[-1] == ["Service shop is steady: 2 tasks run."]


def test_a_rollout_that_cannot_work_is_explained(services: Services) -> None:
    services.update("shop", taskDefinition=services.define("shop", image="127.0.0.1:1/nothing:latest"))
    done = services.homeport.command("status", "shop", "--wait", check=False)
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    assert last.startswith("Service shop: the deployment has failed (ROLLBACK_SUCCESSFUL).")
    assert "circuit breaker threshold was exceeded" in last
    reasons = [line.split("\t")[4] for line in done.stdout.splitlines() if line.split("\t")[1:2] == ["task"]]
    assert len(reasons) >= 3
    assert all(reason.startswith("TaskFailedToStart: CannotPullContainerError") for reason in reasons)
    after = services.homeport.command("status", "shop").stdout
    assert "deployment ROLLBACK_SUCCESSFUL" in after.splitlines()[0]
    assert "circuit breaker 3 of 3 failures" in after
    assert "CannotPullContainerError" in after
    told = json.loads(services.homeport.command("status", "shop", "--json").stdout)
    assert told["verdict"] == "failed"
    assert told["service"]["serviceName"] == "shop"


def test_tasks_that_crash_are_shown_with_their_exit_code(services: Services) -> None:
    services.create("crashing", services.define("crashing", "exit 7"), 1)
    try:
        text = until(
            lambda: services.homeport.command("status", "crashing").stdout, lambda text: "[app: exit 7]" in text
        )
        assert "EssentialContainerExited: Essential container in task exited [app: exit 7]" in text
    finally:
        services.delete("crashing")


def test_a_terminal_is_refreshed_until_the_service_is_steady(services: Services) -> None:
    services.update("shop", taskDefinition=services.define("shop", "exec sleep 1002"), forceNewDeployment=True)
    with terminal(services.homeport, "status", "shop") as window:
        window.ended()
    shown = window.shown
    assert "IN_PROGRESS" in shown
    assert "█" in shown
    assert "Service shop is steady: 2 tasks run." in shown
    last = shown[shown.rindex("DEPLOYMENT") :]
    assert "COMPLETED" in last
    assert "(service shop) has reached a steady state." in last


def test_services_are_listed_and_have_stories(services: Services) -> None:
    lines = [line.split("\t") for line in services.homeport.command("status").stdout.splitlines()]
    (shop,) = [line for line in lines if line[:2] == ["shop", "status"]]
    assert shop[2] == "ACTIVE"
    assert shop[4] == "2"
    shown = services.describe("shop")
    for text in (shown["serviceArn"], shown["deployments"][0]["id"]):
        story = json.loads(services.homeport.command("story", text, "--json").stdout)
        assert story[0]["cause"].startswith("ecs:")
        assert story[0]["old"] is None


def test_what_names_no_service_is_said(services: Services) -> None:
    arn = services.describe("shop")["serviceArn"].replace("shop", "nothing")
    for argv, text in ((["nothing", "--wait"], "nothing"), ([arn], arn)):
        done = services.homeport.command("status", *argv, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"There is no service '{text}'." in done.stderr
