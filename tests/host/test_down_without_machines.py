"""`homeport down` where tasks run on machines that can't be told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support.machines import joined
from support.tasks import until

pytestmark = [pytest.mark.host, pytest.mark.timeout(240)]

SLEEP = {"entryPoint": ["sleep"], "command": ["1000"]}


@pytest.mark.feature("`homeport down` waits ten seconds for machines that are away, and says what may run on there")
def test_tasks_on_a_machine_that_is_away(tmp_path: Path) -> None:
    with joined(tmp_path) as (control, node, _, ecs):
        container = {"name": "app", "image": "homeport-test:latest", "memory": 64, **SLEEP}
        ecs.register_task_definition(family="app", networkMode="host", containerDefinitions=[container])
        wish = {"cluster": "tests", "taskDefinition": "app", "launchType": "EC2"}
        arn = until(lambda: ecs.run_task(**wish), lambda a: not a["failures"])["tasks"][0]["taskArn"]
        asked = {"cluster": "tests", "tasks": [arn]}
        until(lambda: ecs.describe_tasks(**asked)["tasks"][0]["lastStatus"], lambda status: status == "RUNNING")
        node.down("--keep-tasks")
        found = {"cluster": "tests", "filter": "agentConnected == false"}
        until(lambda: ecs.list_container_instances(**found)["containerInstanceArns"], bool, 60)
        began = time.monotonic()
        told = control.command("down").stderr
        assert 9 < time.monotonic() - began < 35  # all of its patience is 40
        assert "1 task may run on: its machine isn't connected." in told
