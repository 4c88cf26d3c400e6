"""Homeport on a machine like its users': Debian's kernel, systemd, cgroup v2. Run with ``make test-vm``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.vm import Machine

CACHE, SOFTWARE = os.environ.get("HOMEPORT_VM_CACHE"), os.environ.get("HOMEPORT_VM_SOFTWARE")
pytestmark = pytest.mark.skipif(not SOFTWARE, reason="needs a virtual machine: make test-vm")
PROGRAMS = """
set -e
mkdir -p /usr/local/bin
printf '#!/bin/sh\\nexport PYTHONPATH=/opt/homeport/src:/opt/homeport/site PYTHONDONTWRITEBYTECODE=1\\nexec python3 -m %s "$@"\\n' homeport >/usr/local/bin/homeport
printf '#!/bin/sh\\nexport PYTHONPATH=/opt/homeport/src:/opt/homeport/site PYTHONDONTWRITEBYTECODE=1\\nexec python3 -m %s "$@"\\n' awscli >/usr/local/bin/aws
chmod +x /usr/local/bin/homeport /usr/local/bin/aws
"""  # noqa: E501
DEFINITION = {
    "family": "limits",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "256",
    "memory": "512",
}


class Guest:
    """Homeport in the machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def sh(self, command: str, check: bool = True) -> str:
        return self.machine.run(f'eval "$(homeport env)"; export AWS_PAGER=; {command}', check=check)

    def json(self, command: str) -> Any:
        return json.loads(self.sh(command))

    def run_task(self, script: str) -> str:
        container = {"name": "app", "image": "homeport-test:latest", "entryPoint": ["sh", "-c"], "command": [script]}
        body = json.dumps(DEFINITION | {"containerDefinitions": [container]})
        self.sh(f"cat >/tmp/definition.json <<'E'\n{body}\nE")
        self.sh("aws ecs register-task-definition --cli-input-json file:///tmp/definition.json")
        network = (
            "awsvpcConfiguration={subnets=[$ECS_SUBNETS],securityGroups=[$ECS_SECURITY_GROUP],assignPublicIp=ENABLED}"
        )
        run = "aws ecs run-task --cluster vm --task-definition limits --launch-type FARGATE"
        return str(self.json(f"{run} --network-configuration {network}")["tasks"][0]["taskArn"])

    def wait(self, arn: str, status: str) -> dict[str, Any]:
        self.sh(f"aws ecs wait tasks-{status.lower()} --cluster vm --tasks {arn}")
        return self.task(arn)

    def task(self, arn: str) -> dict[str, Any]:
        found: dict[str, Any] = self.json(f"aws ecs describe-tasks --cluster vm --tasks {arn}")["tasks"][0]
        return found


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    machine = Machine(Path(CACHE or ""), tmp_path_factory.mktemp("vm"), Path(SOFTWARE or ""))
    machine.start()
    try:
        machine.run(PROGRAMS)
        machine.run("homeport up --detach")
        machine.run("homeport image load /opt/homeport/test.tar && homeport image load /opt/homeport/httpd.tar")
        guest = Guest(machine)
        guest.sh("aws ecs create-cluster --cluster-name vm")
        yield guest
    finally:
        machine.cut_power()


def test_it_is_such_a_machine(guest: Guest) -> None:
    assert guest.machine.run("stat -fc %T /sys/fs/cgroup").strip() == "cgroup2fs"
    assert guest.machine.run("cat /proc/1/comm").strip() == "systemd"


@pytest.mark.feature("Debian with systemd and cgroup v2")
def test_the_tutorial(guest: Guest) -> None:
    seen = guest.sh("cd /tmp && ECS_CLUSTER_NAME=tutorial bash /opt/homeport/examples/fargate-tutorial.sh")
    assert "<h1>Hello, world!</h1>" in seen


def test_the_tasks_limits_are_the_kernels(guest: Guest) -> None:
    arn = guest.run_task("sleep 1000")
    guest.wait(arn, "RUNNING")
    folder = guest.machine.run(f"find /sys/fs/cgroup -type d -name '*{arn.rpartition('/')[2]}*' | head -1").strip()
    quota, period = guest.machine.run(f"cat {folder}/cpu.max").split()
    assert int(quota) / int(period) == 0.25
    assert int(guest.machine.run(f"cat {folder}/memory.max")) == 512 << 20
    guest.sh(f"aws ecs stop-task --cluster vm --task {arn}")
    guest.wait(arn, "STOPPED")
    assert guest.machine.run(f"test -e {folder} || echo gone").strip() == "gone"


def test_out_of_memory_is_named(guest: Guest) -> None:
    arn = guest.run_task("x=$(dd if=/dev/zero bs=1M count=900 2>/dev/null | tr '\\\\0' x); echo $x")
    container = guest.wait(arn, "STOPPED")["containers"][0]
    assert container["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    assert container["exitCode"] == 137


def test_killed_processes_come_back_and_tasks_run_on(guest: Guest) -> None:
    arn = guest.run_task("sleep 1000")
    before = guest.wait(arn, "RUNNING")
    guest.machine.run("pkill -9 -f 'homeport (server|agent)'; sleep 1; homeport up --detach")
    assert guest.task(arn)["lastStatus"] == "RUNNING"
    assert guest.task(arn)["startedAt"] == before["startedAt"]


def test_after_a_power_cut_tasks_are_stopped_with_a_reason(guest: Guest) -> None:
    arn = guest.run_task("sleep 1000")
    guest.wait(arn, "RUNNING")
    guest.machine.cut_power()
    guest.machine.start()
    guest.machine.run("homeport up --detach")
    task = guest.wait(arn, "STOPPED")
    assert task["stoppedReason"]
    interfaces = guest.json("aws ec2 describe-network-interfaces")["NetworkInterfaces"]
    assert interfaces == []
    again = guest.run_task("sleep 1000")
    guest.wait(again, "RUNNING")
