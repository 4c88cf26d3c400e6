"""Tasks whose containers share volumes and processes, through the API; and what is left of them afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.census import census, namespace, output, process
from support.homeport import Homeport
from support.tasks import Tasks, until

pytestmark = pytest.mark.host


def shell(name: str, script: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "entryPoint": ["sh", "-c"], "command": [script], "stopTimeout": 2, **members}


def at(path: str, volume: str = "data", **members: Any) -> list[dict[str, Any]]:
    return [{"sourceVolume": volume, "containerPath": path, **members}]


def after(name: str, condition: str = "SUCCESS") -> list[dict[str, str]]:
    return [{"containerName": name, "condition": condition}]


def folders(homeport: Any) -> list[str]:
    top = homeport.state / "agent" / "volumes"
    return sorted(p.name for p in top.iterdir()) if top.exists() else []


def gone(tasks: Tasks, arn: str) -> None:
    """Waits until nothing is left of the task's volumes: some of the end comes after STOPPED."""
    until(lambda: folders(tasks.homeport), lambda found: arn.rpartition("/")[2] not in found)


def ended(tasks: Tasks, arn: str) -> tuple[dict[str, Any], dict[str, int | None]]:
    """The stopped task, its containers' exit codes."""
    task = tasks.wait(arn, "STOPPED", 60)
    return task, {c["name"]: c.get("exitCode") for c in task["containers"]}


@pytest.mark.feature("Volumes shared by a task's containers, gone with it")
def test_containers_share_a_volume_that_goes_with_the_task(tasks: Tasks) -> None:
    arn = tasks.start(
        [
            shell("writer", "echo hello > /out/file", essential=False, mountPoints=at("/out")),
            shell(
                "reader",
                "grep -q hello /in/file && ! touch /in/other",
                mountPoints=at("/in", readOnly=True),
                dependsOn=after("writer"),
                essential=False,
            ),
            shell(
                "heir",
                "grep -q hello /out/file && ! grep -q root /out/file && ! touch /out/more; sleep 1000",
                volumesFrom=[{"sourceContainer": "writer", "readOnly": True}],
                dependsOn=after("reader"),
            ),
        ],
        volumes=[{"name": "data"}],
    )
    tasks.wait(arn, "RUNNING")
    assert arn.rpartition("/")[2] in folders(tasks.homeport)
    tasks.ecs.stop_task(cluster="tests", task=arn)
    _, codes = ended(tasks, arn)
    assert codes == {"writer": 0, "reader": 0, "heir": 137}
    gone(tasks, arn)


@pytest.mark.feature("What the image has at a volume's path is copied into it")
def test_the_image_fills_a_volume(tasks: Tasks) -> None:
    arn = tasks.start(
        [
            shell("app", "echo more >> /etc/passwd", mountPoints=at("/etc"), essential=False),
            shell(
                "other",
                "grep -q root /x/passwd && grep -q more /x/passwd",
                mountPoints=at("/x"),
                dependsOn=after("app"),
            ),
        ],
        volumes=[{"name": "data"}],
    )
    assert ended(tasks, arn)[1] == {"app": 0, "other": 0}


def test_a_volume_path_that_is_a_file_is_said_and_leaves_nothing(tasks: Tasks) -> None:
    arn = tasks.start([shell("app", "true", mountPoints=at("/bin/sh"))], volumes=[{"name": "data"}])
    task, _ = ended(tasks, arn)
    assert task["stopCode"] == "TaskFailedToStart"
    assert "CannotStartContainerError" in task["containers"][0]["reason"]
    assert "not a directory" in task["containers"][0]["reason"]
    gone(tasks, arn)


@pytest.mark.feature("EFS volumes as local folders; a clear error where there is none")
def test_efs_volumes(tasks: Tasks) -> None:
    def start(script: str, id: str, directory: str = "/web") -> str:
        efs = {"fileSystemId": id, "rootDirectory": directory}
        return tasks.start(
            [shell("app", script, mountPoints=at("/e", "efs"))],
            volumes=[{"name": "efs", "efsVolumeConfiguration": efs}],
        )

    task, _ = ended(tasks, start("true", "fs-00000000"))
    assert "ResourceInitializationError" in task["containers"][0]["reason"]
    assert "fs-00000000" in task["containers"][0]["reason"]
    assert task["stoppedReason"].startswith("ResourceInitializationError: failed to invoke EFS utils commands")
    folder = tasks.homeport.state / "efs" / "fs-11111111" / "web"
    folder.mkdir(parents=True)
    assert ended(tasks, start("echo kept > /e/file", "fs-11111111"))[1] == {"app": 0}
    assert (folder / "file").read_text() == "kept\n"
    arn = start("true", "fs-11111111", "/web/file")
    task, _ = ended(tasks, arn)
    assert task["stoppedReason"].endswith("has no root directory /web/file: Not a directory")
    gone(tasks, arn)


def test_nothing_of_the_machine_is_mounted_on_fargate(tasks: Tasks) -> None:
    definition = tasks.ecs.register_task_definition(
        family="host-path",
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        containerDefinitions=[{"image": "homeport-test:latest", **shell("app", "true", mountPoints=at("/h", "h"))}],
        volumes=[{"name": "h", "host": {"sourcePath": "/etc"}}],
    )["taskDefinition"]["taskDefinitionArn"]
    with pytest.raises(ClientError):
        tasks.ecs.run_task(
            cluster="tests",
            taskDefinition=definition,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [tasks.homeport.subnet]}},
        )


@pytest.mark.feature("Processes of a task that see each other (pidMode task), an init process (initProcessEnabled)")
def test_a_shared_process_namespace_outlives_each_container(tasks: Tasks) -> None:
    see = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q"
    arn = tasks.start(
        [
            shell("first", "exec sleep 4321", essential=False),
            shell("brief", f"{see} 'sleep 4321'", essential=False, dependsOn=after("first", "START")),
            shell(
                "init",
                f"{see} /sbin/docker-init && {see} 'sleep 4321'",
                linuxParameters={"initProcessEnabled": True},
                dependsOn=after("brief"),
            ),
        ],
        pidMode="task",
        ephemeralStorage={"sizeInGiB": 30},
    )
    task, codes = ended(tasks, arn)
    assert (codes["brief"], codes["init"]) == (0, 0)
    assert task["ephemeralStorage"] == {"sizeInGiB": 30}


@pytest.mark.feature("Limits and kernel parameters of containers")
def test_limits_and_kernel_parameters(tasks: Tasks) -> None:
    arn = tasks.run(
        "[ $(ulimit -n) = 123 ] && [ $(cat /proc/sys/net/core/somaxconn) = 321 ] && ! touch /file",
        ulimits=[{"name": "nofile", "softLimit": 123, "hardLimit": 456}],
        systemControls=[{"namespace": "net.core.somaxconn", "value": "321"}],
        readonlyRootFilesystem=True,
    )
    assert ended(tasks, arn)[1] == {"app": 0}


RUNTIME = ("shims", "mounts", "namespaces", "cgroups", "containers", "tasks", "snapshots", "leases", "bundles", "runc")


def runtime(homeport: Homeport) -> dict[str, list[str]]:
    """What the node's runtime holds."""
    found = census(homeport)
    return {kind: found[kind] for kind in RUNTIME}


@pytest.mark.feature("Volumes and shared namespaces leave nothing behind, also after a kill -9 of the agent")
@pytest.mark.parametrize("moment", ["PROVISIONING", "RUNNING", "stopping"])
def test_a_killed_agent_leaves_no_volume(own_homeport: Callable[..., Homeport], moment: str) -> None:
    homeport = own_homeport()
    tasks = Tasks(homeport)

    def start() -> str:
        return tasks.start(
            [
                shell("app", "sleep 1000", mountPoints=at("/etc")),
                shell("side", "sleep 1000", mountPoints=at("/x"), essential=False),
            ],
            volumes=[{"name": "data"}],
            pidMode="task",
        )

    first = start()
    tasks.wait(first, "RUNNING")
    tasks.stop(first)
    until(lambda: folders(homeport), lambda found: found == [])  # what goes last
    before = runtime(homeport)
    assert before["containers"] == before["shims"] == before["runc"][1:] == []

    arn = start()
    if moment == "PROVISIONING":
        until(lambda: folders(homeport), bool)  # between the volume and the container
    else:
        tasks.wait(arn, "RUNNING")
    if moment == "stopping":
        tasks.ecs.stop_task(cluster="tests", task=arn)
    os.kill(process(homeport, "agent"), signal.SIGKILL)
    tasks.stop(arn)
    until(lambda: folders(homeport), lambda found: found == [])
    left = runtime(homeport)
    assert {kind: (left[kind], before[kind]) for kind in left if left[kind] != before[kind]} == {}
    own = namespace(homeport)  # other tests' may run beside
    assert not [line for line in output("ps", "-eo", "args").splitlines() if "-pause" in line and own in line]
    assert not any(Path(homeport.state, "agent", "volumes").iterdir())


def test_down_after_a_kill_leaves_no_process_that_held_a_namespace(own_homeport: Callable[..., Homeport]) -> None:
    homeport = own_homeport()
    tasks = Tasks(homeport)
    tasks.start([shell("app", "sleep 1000", mountPoints=at("/etc"))], volumes=[{"name": "data"}], pidMode="task")
    until(lambda: folders(homeport), bool)
    for pid in [process(homeport, name) for name in ("supervise", "agent", "server")]:
        with contextlib.suppress(ProcessLookupError):  # they end with their supervisor
            os.kill(pid, signal.SIGKILL)
    homeport.down()
    assert {kind for kind, things in census(homeport).items() if things} == set()
