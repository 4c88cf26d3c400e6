"""Tasks that ask for terminals, open input and names, and images that ask for volumes, through the API."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from volume_image import with_volumes

from support.census import process
from support.homeport import archive
from support.tasks import Tasks, until

pytestmark = pytest.mark.host


def shell(name: str, script: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "entryPoint": ["sh", "-c"], "command": [script], "stopTimeout": 2, **members}


def codes(tasks: Tasks, arn: str) -> dict[str, int | None]:
    return {c["name"]: c.get("exitCode") for c in tasks.wait(arn, "STOPPED", 60)["containers"]}


def output(tasks: Tasks, arn: str, container: str) -> bytes:
    """What the container wrote to stdout, as it is in its file."""
    path = tasks.homeport.state / "agent" / "logs" / arn.rpartition("/")[2] / container / "stdout"
    return path.read_bytes() if path.exists() else b""


@pytest.mark.feature(
    "Terminals (pseudoTerminal) and input that stays open (interactive), also across the agent's death"
)
def test_a_terminal_and_open_input(tasks: Tasks) -> None:
    arn = tasks.start(
        [
            shell("terminal", "test -t 0 && test -t 1 && while sleep 0.05; do echo tick; done", pseudoTerminal=True),
            shell("input", "exec cat", interactive=True),
            shell("both", "test -t 0 && exec cat", interactive=True, pseudoTerminal=True),
            shell("none", "exec cat", essential=False),
        ]
    )
    tasks.wait(arn, "RUNNING")
    old = process(tasks.homeport, "agent")
    os.kill(old, signal.SIGKILL)
    seen = len(output(tasks, arn, "terminal"))
    until(lambda: len(output(tasks, arn, "terminal")), lambda size: size > seen + 20)
    tasks.ecs.stop_task(cluster="tests", task=arn)
    assert codes(tasks, arn) == {"terminal": 137, "input": 137, "both": 137, "none": 0}
    assert set(output(tasks, arn, "terminal").splitlines(keepends=True)) == {b"tick\r\n"}
    folder = tasks.homeport.state / "agent" / "tasks" / arn.rpartition("/")[2]
    until(folder.exists, lambda there: not there)


@pytest.mark.feature("Volumes that an image asks for (VOLUME)")
def test_volumes_of_an_image(tasks: Tasks, tmp_path: Path) -> None:
    asking = with_volumes(archive("test"), tmp_path / "asking.tar", "asking:1", "/etc", "/data")
    tasks.homeport.command("image", "load", str(asking))
    arn = tasks.start(
        [
            shell(
                "app",
                "grep -q root /etc/passwd && echo mine > /data/file && ! touch /file",
                image="asking:1",
                readonlyRootFilesystem=True,
                essential=False,
            ),
            shell(
                "heir",
                "grep -q mine /data/file && grep -q root /etc/passwd && echo more > /data/more",
                volumesFrom=[{"sourceContainer": "app"}],
                dependsOn=[{"containerName": "app", "condition": "SUCCESS"}],
            ),
        ]
    )
    assert codes(tasks, arn) == {"app": 0, "heir": 0}
    until(
        lambda: (tasks.homeport.state / "agent" / "volumes" / arn.rpartition("/")[2]).exists(), lambda there: not there
    )


@pytest.mark.feature("Search domains of a container (dnsSearchDomains)")
def test_search_domains(tasks: Tasks) -> None:
    script = "grep -qx 'search one.test two.test' /etc/resolv.conf"
    arn = tasks.start(
        [
            shell("own", script, dnsSearchDomains=["one.test", "two.test"], essential=False),
            shell("other", f"! {script}", dependsOn=[{"containerName": "own", "condition": "COMPLETE"}]),
        ]
    )
    assert codes(tasks, arn)["own"] == codes(tasks, arn)["other"] == 0


@pytest.mark.parametrize(
    ("container", "task"),
    [
        ({"privileged": True}, {}),
        ({"dockerSecurityOptions": ["no-new-privileges"]}, {}),
        ({}, {"ipcMode": "task"}),
        ({}, {"volumes": [{"name": "v", "dockerVolumeConfiguration": {"driverOpts": {"type": "tmpfs"}}}]}),
    ],
)
def test_what_fargate_refuses_is_not_run_there(tasks: Tasks, container: dict[str, Any], task: dict[str, Any]) -> None:
    definition = tasks.ecs.register_task_definition(
        family="instances-only",
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        containerDefinitions=[{"image": "homeport-test:latest", **shell("app", "true"), **container}],
        **task,
    )["taskDefinition"]["taskDefinitionArn"]
    with pytest.raises(ClientError, match="Task definition does not support launch_type FARGATE"):
        tasks.ecs.run_task(
            cluster="tests",
            taskDefinition=definition,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [tasks.homeport.subnet]}},
        )
