"""An agent over real containerd, network and disk, killed with SIGKILL in the middle of each effect in turn."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import chain, cycle, repeat
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from containerd_bed import IMAGE, left_behind
from network_machine import EVERYTHING, Machine

from homeport.agent.drivers.containerd import ContainerdDriver, instance, logs, stop_containerd
from homeport.agent.network.apply import destroy_all
from homeport.agentapi import (
    ContainerSpec,
    Dependency,
    Group,
    HealthCheck,
    HomeportGroupsMessage,
    InterfaceSpec,
    MountPoint,
    PayloadTask,
    PortMapping,
    RestartPolicy,
    TaskSpec,
    Volume,
)
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


class Death(NamedTuple):
    """The last effect of a life: the ``at``-th (0: none) of those with one of ``names``, or of all."""

    at: int
    names: frozenset[str] = frozenset()


class Agent:
    """One life of the victim."""

    def __init__(self, state: Path, root: str, death: Death, mode: str) -> None:
        groups, names = msgspec.json.encode(GROUPS).decode(), ",".join(sorted(death.names))
        arguments = (state, INSTANCE, POOL, root, groups, death.at, names, mode)
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
    """Sends again what was not accepted by an agent that died, and notes what is reported. ``names``: containers that
    write something once they hear signals."""

    def __init__(self, state: Path, root: str, names: tuple[str, ...] = ("main",)) -> None:
        self._state, self._root, self._names = state, root, names
        self.containers: dict[str, dict[str, Any]] = {}
        self.statuses: list[str] = []
        self.effects = 0
        self.lives = 0
        self.last: set[str] = set()  # effects at which agents died

    def live(self, task: PayloadTask, deaths: Iterable[Death], mode: str) -> None:
        """Runs the task and stops it, over as many lives of the agent as that takes."""
        stop = PayloadTask(arn=task.arn, task_cluster_arn=CLUSTER, desired_status="STOPPED")
        self.statuses.clear()
        self.containers.clear()
        wanted, ran = task, False
        for death in deaths:
            self.lives += 1
            agent = Agent(self._state, self._root, death, mode)
            try:
                for word, what in agent.lines():
                    if word == "ready":
                        agent.tell(wanted)
                    elif word == "report" and what["task"] == task.arn:
                        self._note(what)
                        ran = ran or what["status"] == "RUNNING"
                        assert ran or what["status"] != "STOPPED", f"it never ran: {self.containers}"
                    elif word == "last":
                        self.last.add(what)
                    elif word == "idle":
                        self.effects = what
                        return
                    if ran and wanted is task and word in ("ready", "report") and self._hear(task, agent):
                        wanted = stop
                        agent.tell(stop)
            finally:
                agent.end()

    def _hear(self, task: PayloadTask, agent: Agent) -> bool:
        """Waits until each process has a handler: the first of a pid namespace gets no signal that it doesn't handle.
        False where the agent, which has to restart one of them, died first."""
        while not all("started" in output_of(self._state, task, name) for name in self._names):
            if agent.process.poll() is not None:
                return False
            time.sleep(0.01)
        return True

    def _note(self, report: dict[str, Any]) -> None:
        self.statuses.append(report["status"])
        for container in report.get("containers", ()):
            self.containers.setdefault(container["containerName"], {}).update(container)


def output_of(state: Path, task: PayloadTask, name: str = "main") -> str:
    path = logs.paths(instance(state).state, task.arn.rpartition("/")[2], name)["stdout"]
    return path.read_text() if path.exists() else ""


def task(number: int, **members: Any) -> PayloadTask:
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
    given = {"containers": (shell("main", SCRIPT),), "interface": interface} | members
    spec = TaskSpec(
        family="victim",
        revision=1,
        region="us-east-1",
        availability_zone="us-east-1a",
        cpu=256,
        memory=256,
        **given,
    )
    arn = f"arn:aws:ecs:us-east-1:123456789012:task/demo/{task_id}"
    return PayloadTask(arn=arn, task_cluster_arn=CLUSTER, desired_status="RUNNING", spec=spec)


def shell(name: str, script: str, **members: Any) -> ContainerSpec:
    return ContainerSpec(name=name, image=IMAGE, entry_point=("sh", "-c"), command=(script,), **members)


def bridged(number: int) -> PayloadTask:
    """A task in the bridge with a port that is always the same: free again whenever the task before is STOPPED."""
    ports = (PortMapping(container_port=80, host_port=8080), PortMapping(container_port=81))
    return task(number, containers=(shell("main", SCRIPT, ports=ports),), interface=None, network_mode="bridge")


def many(number: int) -> PayloadTask:
    """A task of everything that takes steps: containers that wait for others, are checked, run again, share a volume
    and their processes, and have an init."""
    said = "trap 'exit {}' TERM; echo started; while :; do sleep 0.05; done"
    twice = "echo run; echo x >> /lives; [ $(wc -l < /lives) -gt 1 ] || exit 3; " + said.format(6)
    volume = (MountPoint(volume="shared", container_path="/shared"),)
    containers = (
        shell(
            "main",
            said.format(5),
            depends_on=(
                Dependency(container_name="files", condition="SUCCESS"),
                Dependency(container_name="database", condition="HEALTHY"),
            ),
            init=True,
        ),
        shell(
            "database",
            said.format(7),
            depends_on=(Dependency(container_name="files", condition="COMPLETE"),),
            health_check=HealthCheck(command=("CMD-SHELL", "test -e /shared/file"), interval=1, retries=1),
            mount_points=volume,
        ),
        shell("files", "echo started; echo x >> /shared/file", essential=False, mount_points=volume),
        shell("again", twice, restart_policy=RestartPolicy(period=0)),
    )
    return task(number, containers=containers, volumes=(Volume(name="shared"),), pid_mode="task")


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
        control.live(task(0), (Death(0),), mode)
        effects = control.effects
        assert effects >= 12
        for at in range(1, effects + 1):
            control.live(task(at), chain((Death(at),), repeat(Death(0))), mode)
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


EFFECTS = frozenset(
    {"attach", "pull", "create", "start", "restart", "exec", "save", "call", "kill", "detach", "remove", "remove_task"}
)


@pytest.mark.timeout(300)
@pytest.mark.feature("An agent that is killed again and again brings tasks of many containers to what is wanted")
def test_killed_again_and_again_with_many_containers(tmp_path: Path, machine: Machine) -> None:
    """Under the first tasks every other agent dies at the first effect at which none has died yet, the others at one of
    their first; under more tasks only at what those passed by, until agents have died at every effect."""
    state = tmp_path / "state"
    of = instance(state)
    load(of.state)
    control, random = Control(state, machine.root, ("main", "database", "again")), Random(11)
    try:
        hit: dict[str, set[str]] = {"after": set(), "during": set()}
        for number, mode in zip(range(10), cycle(hit), strict=False):
            wanted, before = many(number), control.lives
            control.last = hit[mode]
            if number > 1 and hit[mode] >= EFFECTS:
                continue
            control.live(wanted, _deaths(control, random if number < 2 else None), mode)
            where = f"task {number}, {control.lives - before} lives"
            assert control.statuses[-1] == "STOPPED", where
            assert "RUNNING" in control.statuses, where
            codes = {name: told.get("exitCode") for name, told in control.containers.items()}
            assert codes == {"main": 5, "database": 7, "files": 0, "again": 6}, where
            outputs = [output_of(state, wanted, name) for name in codes if name != "again"]
            assert outputs == ["started\n"] * 3, where
            assert output_of(state, wanted, "again") == "run\nrun\nstarted\n", where
            assert not list((state / "agent" / "tasks").glob("*/")), where
        assert all(effects >= EFFECTS for effects in hit.values()), hit
    finally:
        destroy_all(INSTANCE, state / "agent", machine.root)
        stop_containerd(of)
    assert left_behind(of) == []


def _deaths(control: Control, random: Random | None) -> Iterator[Death]:
    while True:
        missing = EFFECTS - control.last
        if missing:
            yield Death(1, missing)
        if random:
            yield Death(random.randint(1, 5))
        elif not missing:
            yield Death(0)


@pytest.mark.timeout(300)
@pytest.mark.feature("Ports of bridge tasks are told and kept whenever the agent is killed")
def test_killed_at_every_effect_of_a_task_in_the_bridge(tmp_path: Path, machine: Machine) -> None:
    state = tmp_path / "state"
    of = instance(state)
    load(of.state)
    control = Control(state, machine.root)
    try:
        control.live(bridged(0), (Death(0),), "during")
        effects = control.effects
        assert effects >= 12
        for at in range(1, effects + 1):
            control.live(bridged(at), chain((Death(at),), repeat(Death(0))), "during")
            where = f"killed during effect {at} of {effects}"
            assert control.statuses[-1] == "STOPPED", where
            assert control.containers["main"].get("reason") is None, where
            assert control.containers["main"]["exitCode"] == 5, where
            fixed, dynamic = control.containers["main"]["networkBindings"]
            assert (fixed["hostPort"], dynamic["hostPort"] >= 32768) == (8080, True), where
        assert "join" in control.last
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
