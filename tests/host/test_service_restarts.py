"""Services while Homeport is restarted, or down with its tasks left running."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from support.services import Services
from support.serving import CHECK, SERVE, Probe, all_tasks
from support.tasks import until

pytestmark = [pytest.mark.host, pytest.mark.timeout(300)]


@pytest.mark.feature("homeport restart and down --keep-tasks leave services' tasks alone; what ended is replaced")
def test_tasks_run_on_and_what_ended_meanwhile_is_replaced(own_homeport: Callable[..., Any]) -> None:
    homeport = own_homeport()
    services = Services(homeport, "restarts")
    services.create("shop", services.define("shop", SERVE, healthCheck=CHECK), 2)

    def steady() -> bool:
        shown = services.describe("shop")
        states = [d["rolloutState"] for d in shown["deployments"]]
        return states == ["COMPLETED"] and shown["runningCount"] == 2 and shown["pendingCount"] == 0

    def started() -> list[str]:
        return [e["message"] for e in services.describe("shop")["events"] if "has started" in e["message"]]

    until(steady, bool, 60)
    with Probe(homeport) as probe:
        until(lambda: len(probe.serving), lambda count: count == 2)
        probe.begin()
        before = {t["taskArn"]: t["startedAt"] for t in all_tasks(services)}
        told = len(started())
        homeport.command("restart")
        until(steady, bool, 60)
        homeport.down("--keep-tasks")
        homeport.up()
        until(steady, bool, 60)
        assert {t["taskArn"]: t["startedAt"] for t in all_tasks(services)} == before
        assert (probe.least, probe.most) == (2, 2)
        assert len(started()) == told

        homeport.down("--keep-tasks")
        victim = min(probe.serving)
        for pid in probe.processes(victim):
            with contextlib.suppress(ProcessLookupError):  # a health check may have ended meanwhile
                os.kill(pid, signal.SIGKILL)
        until(lambda: victim in probe.serving, lambda serves: not serves)
        homeport.up()
        until(lambda: len(started()), lambda count: count == told + 1, 60)
        until(lambda: len(probe.serving), lambda count: count == 2)
    ended = {t["taskArn"]: t["containers"][0].get("exitCode") for t in all_tasks(services) if t["taskArn"] in before}
    (gone,) = (arn for arn in before if arn.endswith(victim))
    assert ended.get(gone) == 137
    assert sum(t["lastStatus"] == "RUNNING" for t in all_tasks(services) if t["taskArn"] in before) == 1
