"""A machine whose container instance is deregistered with force: what ran there ends, and it is back as a new one."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from support.machines import joined
from support.tasks import until

pytestmark = [pytest.mark.host, pytest.mark.timeout(240)]

PORT = 8085
SERVE = f"mkdir -p /tmp/www; echo here > /tmp/www/index.html; exec httpd -f -p {PORT} -h /tmp/www"
APP = {
    "name": "app",
    "image": "homeport-test:latest",
    "memory": 64,
    "stopTimeout": 2,
    "entryPoint": ["sh", "-c"],
    "command": [SERVE],
    "portMappings": [{"containerPort": PORT, "hostPort": PORT}],
}


@pytest.mark.feature(
    "A machine whose container instance was deregistered joins again as a new one, and is rid of orphans"
)
def test_orphans_end_and_the_machine_is_a_new_instance(tmp_path: Path) -> None:
    with joined(tmp_path) as (_, _, machine, ecs):

        def page() -> str:
            try:
                with urllib.request.urlopen(f"http://{machine.address}:{PORT}/", timeout=2) as answer:
                    return str(answer.read().decode().strip())
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return ""

        def free() -> bool:
            with machine.entered(), socket.socket() as bound:
                try:
                    bound.bind(("", PORT))
                except OSError:
                    return False
                return True

        ecs.register_task_definition(family="tests", networkMode="bridge", containerDefinitions=[APP])
        wish = {"cluster": "tests", "taskDefinition": "tests", "launchType": "EC2"}

        def status(arn: str) -> str:
            return str(ecs.describe_tasks(cluster="tests", tasks=[arn])["tasks"][0]["lastStatus"])

        orphan = ecs.run_task(**wish)["tasks"][0]["taskArn"]
        until(lambda: status(orphan), lambda s: s == "RUNNING")
        assert until(page, bool) == "here"
        (old,) = ecs.list_container_instances(cluster="tests")["containerInstanceArns"]
        ecs.deregister_container_instance(cluster="tests", containerInstance=old, force=True)
        assert until(lambda: status(orphan), lambda s: s == "STOPPED")
        found = {"cluster": "tests", "filter": "agentConnected == true"}
        (new,) = until(lambda: ecs.list_container_instances(**found)["containerInstanceArns"], bool)
        assert new != old
        until(free, bool)  # its container is gone, and its port is given back
        assert not page()
        again = until(lambda: ecs.run_task(**wish), lambda a: not a["failures"])["tasks"][0]["taskArn"]
        until(lambda: status(again), lambda s: s == "RUNNING")
        assert until(page, bool) == "here"
        ecs.stop_task(cluster="tests", task=again)
        until(lambda: status(again), lambda s: s == "STOPPED")
