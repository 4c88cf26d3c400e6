"""An agent over real containerd, network and disk, killed with SIGKILL in the middle of each effect in turn."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from containerd_bed import IMAGE, left_behind
from network_machine import EVERYTHING, Machine

from homeport.agent.drivers.containerd import ContainerdDriver, instance, logs, stop_containerd
from homeport.agent.network.apply import destroy_all
from homeport.agentapi import ContainerSpec, Group, HomeportGroupsMessage, InterfaceSpec, PayloadTask, TaskSpec
from support.homeport import archive

pytestmark = [pytest.mark.host, pytest.mark.slow]

INSTANCE, POOL = "7e57ada0", "198.18.248.0/24"
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/demo"
SCRIPT = "trap 'exit 5' TERM; echo started; while :; do sleep 0.05; done"
GROUPS = HomeportGroupsMessage(
    message_id="g",
    seq_num=1,
    vpc_id="vpc-7e57",
    vpc_cidr="172.31.0.0/16",
    complete=True,
    groups=(Group("sg-1", egress=(EVERYTHING,)),),
)


class Agent:
    """One life of the victim."""

    def __init__(self, state: Path, root: str, at: int, mode: str) -> None:
        arguments = (state, INSTANCE, POOL, root, msgspec.json.encode(GROUPS).decode(), at, mode)
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("agent_victim.py"), *map(str, arguments)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def tell(self, task: PayloadTask) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(msgspec.json.encode(task) + b"\n")

    def lines(self) -> Iterator[tuple[str, Any]]:
        """What it says until it dies."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            word, what = msgspec.json.decode(line)
            yield word, what

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Control:
    """Sends again what was not accepted by an agent that died, and notes what is reported."""

    def __init__(self, state: Path, root: str) -> None:
        self._state, self._root = state, root
        self.containers: dict[str, dict[str, Any]] = {}
        self.statuses: list[str] = []
        self.effects = 0
        self.lives = 0

    def live(self, task: PayloadTask, at: int, mode: str) -> None:
        """Runs the task and stops it, over as many lives of the agent as that takes."""
        stop = PayloadTask(arn=task.arn, task_cluster_arn=CLUSTER, desired_status="STOPPED")
        self.statuses.clear()
        self.containers.clear()
        wanted = task
        while True:
            self.lives += 1
            agent = Agent(self._state, self._root, at, mode)
            try:
                for word, what in agent.lines():
                    if word == "ready":
                        agent.tell(wanted)
                    elif word == "report" and what["task"] == task.arn:
                        self._note(what)
                        if what["status"] == "RUNNING" and wanted is task:
                            self._wait_for_trap(task)
                            wanted = stop
                            agent.tell(stop)
                    elif word == "idle":
                        self.effects = what
                        return
            finally:
                agent.end()
            at = 0

    def _wait_for_trap(self, task: PayloadTask) -> None:
        """Until the process has a handler: the first of a pid namespace gets no signal that it doesn't handle."""
        while not output_of(self._state, task):
            time.sleep(0.01)

    def _note(self, report: dict[str, Any]) -> None:
        self.statuses.append(report["status"])
        for container in report.get("containers", ()):
            self.containers.setdefault(container["containerName"], {}).update(container)


def output_of(state: Path, task: PayloadTask) -> str:
    return logs.paths(instance(state).state, task.arn.rpartition("/")[2], "main")["stdout"].read_text()


def task(number: int) -> PayloadTask:
    task_id = f"{number:032x}"
    interface = InterfaceSpec(
        attachment_arn="arn:aws:ecs:us-east-1:123456789012:attachment/1",
        eni_id=f"eni-{number}",
        mac=f"0a:7e:57:00:00:{number:02x}",
        vpc_id=GROUPS.vpc_id,
        vpc_cidr=GROUPS.vpc_cidr,
        subnet_id="subnet-1",
        subnet_cidr="172.31.0.0/20",
        private_address="172.31.0.5",  # always the same: free again whenever the task before is STOPPED
        gateway="172.31.0.1",
        private_dns_name="ip-172-31-0-5.ec2.internal",
        groups=("sg-1",),
    )
    spec = TaskSpec(
        family="victim",
        revision=1,
        region="us-east-1",
        availability_zone="us-east-1a",
        cpu=256,
        memory=256,
        containers=(ContainerSpec(name="main", image=IMAGE, entry_point=("sh", "-c"), command=(SCRIPT,)),),
        interface=interface,
    )
    arn = f"arn:aws:ecs:us-east-1:123456789012:task/demo/{task_id}"
    return PayloadTask(arn=arn, task_cluster_arn=CLUSTER, desired_status="RUNNING", spec=spec)


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["during", "after"])
@pytest.mark.feature("An agent that is killed at any moment adopts what runs and loses no exit code")
def test_killed_at_every_effect_in_turn(tmp_path: Path, machine: Machine, mode: str) -> None:
    state = tmp_path / "state"
    of = instance(state)
    load(of.state)
    control = Control(state, machine.root)
    try:
        control.live(task(0), 0, mode)
        effects = control.effects
        assert effects >= 12
        for at in range(1, effects + 1):
            control.live(task(at), at, mode)
            where = f"killed {mode} effect {at} of {effects}"
            assert control.statuses[-1] == "STOPPED", where
            assert "RUNNING" in control.statuses, where
            assert control.containers["main"]["exitCode"] == 5, where
            assert output_of(state, task(at)) == "started\n", where
            assert not list((state / "agent" / "tasks").glob("*/")), where
        assert control.lives > effects
    finally:
        destroy_all(INSTANCE, state / "agent", machine.root)
        stop_containerd(of)
    assert left_behind(of) == []


def load(state: Path) -> None:
    """The test image into a new containerd."""

    async def work() -> None:
        driver = ContainerdDriver(instance(state))
        await driver.open()
        with archive("test").open("rb") as file:
            await driver.images.load(file)
        await driver.close()

    asyncio.run(work())
