"""GPUs of a container instance, from the file that describes them to the process that uses one.

The devices are others that every machine has: what is seen is that each container gets its own, and nobody else's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.machines import Joined, joined
from support.tasks import until

pytestmark = [pytest.mark.host, pytest.mark.timeout(240)]

DEVICES = {"GPU-aaaa": ("/dev/nvidia0", "/dev/null", "1:3"), "GPU-bbbb": ("/dev/nvidia1", "/dev/zero", "1:5")}
LOOK = (
    "stat -c '%n %t:%T' /dev/nvidia*; for device in /dev/nvidia?; do echo write > $device; done; "
    "cat /usr/lib/gpu.so; echo $NVIDIA_VISIBLE_DEVICES $DRIVER; exec sleep 1000"
)


class Gpus:
    def __init__(self, site: Joined, folder: Path) -> None:
        self.site, self.folder, self.ecs = site, folder, site.ecs

    def run(self, *numbers: int) -> Any:
        """RunTask of a container for each number, which asks for so many GPUs."""
        shell = {"image": "homeport-test:latest", "entryPoint": ["sh", "-c"], "memory": 32, "stopTimeout": 2}
        made = self.ecs.register_task_definition(
            family="gpus",
            containerDefinitions=[
                {
                    **shell,
                    "name": f"app{place}",
                    "command": [LOOK if number else "ls /dev; exec sleep 1000"],
                    "resourceRequirements": [{"type": "GPU", "value": str(number)}] if number else [],
                }
                for place, number in enumerate(numbers)
            ],
        )
        definition = made["taskDefinition"]["taskDefinitionArn"]
        return self.ecs.run_task(cluster="tests", taskDefinition=definition, launchType="EC2")

    def running(self, *numbers: int) -> dict[str, Any]:
        answer = self.run(*numbers)
        assert answer["failures"] == []
        return self.reached(answer, "RUNNING")

    def reached(self, answer: Any, status: str) -> dict[str, Any]:
        arn = answer["tasks"][0]["taskArn"]
        task = until(lambda: self.task(arn), lambda t: t["lastStatus"] in (status, "STOPPED"))
        assert task["lastStatus"] == status, task
        return dict(task)

    def task(self, arn: str) -> dict[str, Any]:
        return dict(self.ecs.describe_tasks(cluster="tests", tasks=[arn])["tasks"][0])

    def stop(self, *tasks: dict[str, Any]) -> None:
        for task in tasks:
            self.ecs.stop_task(cluster="tests", task=task["taskArn"])
        for task in tasks:
            until(lambda arn=task["taskArn"]: self.task(arn)["lastStatus"], lambda status: status == "STOPPED")

    def said(self, task: dict[str, Any], container: str, enough: Callable[[list[str]], bool]) -> list[str]:
        """Its lines, once there are enough."""

        def read() -> list[str]:
            return self.site.node.command("logs", task["taskArn"], "--container", container).stdout.splitlines()

        return list(until(read, enough))

    def remaining(self) -> tuple[list[str], list[str]]:
        """The GPUs of the instance, and those that are free."""
        arns = self.ecs.list_container_instances(cluster="tests")["containerInstanceArns"]
        (instance,) = self.ecs.describe_container_instances(cluster="tests", containerInstances=arns)[
            "containerInstances"
        ]
        both = (instance["registeredResources"], instance["remainingResources"])
        registered, remaining = ({r["name"]: r for r in found}["GPU"]["stringSetValue"] for found in both)
        return registered, remaining


@pytest.fixture
def gpus(tmp_path: Path) -> Iterator[Gpus]:
    folder = tmp_path / "cdi"
    folder.mkdir()
    (tmp_path / "gpu.so").write_text("a library\n")
    hook = {"hookName": "createRuntime", "path": "/bin/sh", "args": ["sh", "-c", f"echo hook >> {tmp_path}/hooks"]}
    described = {
        "cdiVersion": "0.6.0",
        "kind": "nvidia.com/gpu",
        "devices": [
            {"name": name, "containerEdits": {"deviceNodes": [{"path": path, "hostPath": host}]}}
            for name, (path, host, _) in DEVICES.items()
        ],
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void", "DRIVER=9"],
            "mounts": [{"hostPath": f"{tmp_path}/gpu.so", "containerPath": "/usr/lib/gpu.so", "options": ["ro"]}],
            "hooks": [hook],
        },
    }
    (folder / "nvidia.json").write_text(json.dumps(described))
    with joined(tmp_path, "--cdi-spec-dir", str(folder)) as site:
        yield Gpus(site, folder)


@pytest.mark.feature(
    "GPUs of container instances (`resourceRequirements`), as files of the Container Device Interface describe them: "
    "placed, shown, each in one container"
)
def test_each_container_has_its_own(gpus: Gpus) -> None:
    assert gpus.remaining() == (list(DEVICES), list(DEVICES))
    tasks = [gpus.running(1, 0) for _ in range(2)]
    assert gpus.remaining() == (list(DEVICES), [])
    given = [task["containers"][0]["gpuIds"] for task in tasks]
    assert sorted(given) == [[name] for name in DEVICES]
    assert all("gpuIds" not in task["containers"][1] for task in tasks)
    for task, (name,) in zip(tasks, given, strict=True):
        path, _, number = DEVICES[name]
        lines = gpus.said(task, "app0", lambda lines: len(lines) >= 3)
        assert lines == [f"{path} {number}", "a library", f"{name} 9"]
        others = gpus.said(task, "app1", lambda lines: "zero" in lines)
        assert not any("nvidia" in line for line in others)
    assert (gpus.folder.parent / "hooks").read_text().split() == ["hook"] * 2
    assert [failure["reason"] for failure in gpus.run(1)["failures"]] == ["RESOURCE:GPU"]
    gpus.stop(*tasks)
    assert gpus.remaining() == (list(DEVICES), list(DEVICES))

    both = gpus.running(2)
    assert both["containers"][0]["gpuIds"] == list(DEVICES)
    lines = gpus.said(both, "app0", lambda lines: len(lines) >= 4)
    assert lines[:2] == [f"{path} {number}" for path, _, number in DEVICES.values()]
    assert lines[3] == "GPU-aaaa,GPU-bbbb 9"
    gpus.stop(both)

    (gpus.folder / "nvidia.json").unlink()  # a driver that is being exchanged
    ended = gpus.reached(gpus.run(1), "STOPPED")
    assert ended["containers"][0]["reason"] == "CannotCreateContainerError: unresolvable CDI devices GPU-aaaa"
    assert gpus.remaining() == (list(DEVICES), list(DEVICES))
