"""Homeport on a machine like its users': Debian's kernel, systemd, cgroup v2. Run with ``make test-vm``.

The tests call the API from outside the machine and look at what the kernel in it says. They share one machine and run
in the order of this file, since each boot and each start takes an emulated processor long.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.tasks import WEB, Tasks, until
from support.vm import Machine, say
from support.vm.homeport import FOLDER, PACKAGES, GuestHomeport

CACHE, SOFTWARE = os.environ.get("HOMEPORT_VM_CACHE"), os.environ.get("HOMEPORT_VM_SOFTWARE")
pytestmark = pytest.mark.skipif(not SOFTWARE, reason="needs a virtual machine: make test-vm")
SLOW = 120  # seconds: an emulated processor is 30 times slower, and shared
# What Homeport may not leave behind, one line each: namespaces, links, routes, rules, mounts, cgroups, processes.
INVENTORY = r"""
ls /run/netns 2>/dev/null | sed 's/^/netns /'
ip -oneline link | sed 's/^[0-9]*: \([^:@]*\).*/link \1/'
ip -oneline route | sed 's/^/route /'
nft list tables
iptables-save | grep '^-' | sed 's/^/iptables /'
cut -d' ' -f2 /proc/mounts | sed 's/^/mount /'
find /sys/fs/cgroup -maxdepth 1 -type d | sed 's/^/cgroup /'
for process in containerd containerd-shim runc nft setpriv httpd sleep; do
	ps -C $process -o args= | sed 's/^/process /'
done
ps -C python3 -o args= | grep -e '-m homeport' | sed 's/^/process /'
ls -d /run/homeport-* 2>/dev/null
true
"""
# How the command lines of Homeport's processes begin, after their folder.
SERVER, AGENT, SUPERVISOR = (f"python3 -m homeport {command}" for command in ("server", "agent", "supervise"))
CONTAINERD = "containerd -c"
BROUGHT_BACK = [
    pytest.param((SERVER,), id="server"),
    pytest.param((AGENT,), id="agent"),
    pytest.param((CONTAINERD,), id="containerd"),
    pytest.param((SUPERVISOR, SERVER, AGENT, CONTAINERD), id="all"),
]


class Guest:
    """The machine, the Homeport in it and its tasks."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.run("ip netns add first; ip netns delete first")  # leaves the mount of /run/netns, which all share
        self.before = self.inventory()
        self.homeport = GuestHomeport(machine)

    def up(self) -> None:
        """Returns when the control plane answers and its node is connected, whatever ran before."""
        began = time.monotonic()
        self.homeport.up()
        say(f"up after {time.monotonic() - began:.0f} s")
        self.tasks = Tasks(self.homeport)

    def inventory(self) -> list[str]:
        return sorted(self.machine.run(INVENTORY).splitlines())

    def running(self, script: str, **container: Any) -> dict[str, Any]:
        return self.tasks.wait(self.tasks.run(script, **container), "RUNNING", SLOW)

    def stopped(self, script: str, **container: Any) -> dict[str, Any]:
        return self.tasks.wait(self.tasks.run(script, **container), "STOPPED", SLOW)

    def stop(self, task: dict[str, Any]) -> dict[str, Any]:
        self.tasks.ecs.stop_task(cluster="tests", task=task["taskArn"])
        return self.tasks.wait(task["taskArn"], "STOPPED", SLOW)

    def signal(self, name: str, *processes: str) -> None:
        """Sends a signal to processes of Homeport, all at once."""
        self.machine.run(f"pkill -{name} -f '^[^ ]*({'|'.join(processes)})'")

    def cgroup(self, task: dict[str, Any]) -> str:
        return self.machine.run(f"ls -d /sys/fs/cgroup/homeport-*/{task['taskArn'].rpartition('/')[2]}").strip()

    def pid(self, task: dict[str, Any]) -> str:
        """The first process of the task's one container, as the machine counts."""
        return self.machine.run(f"cat {self.cgroup(task)}/*/cgroup.procs").split()[0]

    def page(self, task: dict[str, Any]) -> str:
        """What the task's public address serves."""
        _, public = self.tasks.address(task)
        retry = "--retry 20 --retry-connrefused --retry-delay 1"
        return self.machine.run(f"curl --silent --show-error --max-time 20 {retry} http://{public}").strip()


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    disks = {PACKAGES: Path(CACHE or "", "packages.ext4"), FOLDER: Path(SOFTWARE or "")}
    machine = Machine(Path(CACHE or ""), tmp_path_factory.mktemp("vm"), disks)
    try:
        machine.start()
        guest = Guest(machine)
        guest.up()
        for image in ("test", "httpd"):
            guest.homeport.load(image)
        yield guest
    finally:
        machine.cut_power()


def test_it_is_such_a_machine(guest: Guest) -> None:
    assert guest.machine.run("stat -fc %T /sys/fs/cgroup").strip() == "cgroup2fs"
    assert guest.machine.run("cat /proc/1/comm").strip() == "systemd"


@pytest.mark.feature("Debian with systemd and cgroup v2")
def test_the_tutorial(guest: Guest) -> None:
    script = f"cd /tmp; export AWS_PAGER= ECS_CLUSTER_NAME=tutorial; bash {FOLDER}/examples/fargate-tutorial.sh"
    seen = guest.homeport.shell(script, 500)
    assert "<h1>Hello, world!</h1>" in seen
    assert '"status": "INACTIVE"' in seen


def test_a_tasks_limits_are_the_kernels(guest: Guest) -> None:
    task = guest.running("cat /sys/fs/cgroup/cgroup.controllers; exec sleep 1000")
    group = guest.cgroup(task)

    def limit(file: str) -> str:
        return guest.machine.run(f"cat {group}/{file}").strip()

    quota, period = until(lambda: limit("cpu.max"), lambda seen: not seen.startswith("max")).split()
    assert int(quota) / int(period) == 0.25
    assert int(limit("memory.max")) == 512 << 20
    assert limit("memory.swap.max") == "0"
    assert int(limit("pids.max")) > 0
    logs = guest.homeport.command("logs", task["taskArn"]).stdout.split()
    assert {"cpu", "memory", "pids"} <= set(logs), "the container sees its own group, with its controllers"
    guest.stop(task)
    until(lambda: guest.machine.run(f"ls -d {group} || true"), lambda seen: "No such file" in seen)


@pytest.mark.parametrize(
    ("megabytes", "limits"),
    [pytest.param(900, {}, id="the task's limit"), pytest.param(200, {"memory": 64}, id="the container's limit")],
)
def test_out_of_memory_is_named(guest: Guest, megabytes: int, limits: dict[str, int]) -> None:
    hungry = f"exec dd if=/dev/zero of=/dev/null bs={megabytes}M count=1"
    (container,) = guest.stopped(hungry, **limits)["containers"]
    assert container["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    assert container["exitCode"] == 137


def test_groups_let_in_what_their_rules_say(guest: Guest) -> None:
    default = guest.tasks.ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["default"]}])
    closed = guest.running(WEB, groups=[default["SecurityGroups"][0]["GroupId"]])
    opened = guest.running(WEB)
    assert guest.page(opened) == "page"
    _, public = guest.tasks.address(closed)
    answer = guest.machine.run(f"curl --silent --max-time 3 http://{public} || echo $?")
    assert answer.strip() == "28", "dropped, not answered: curl's time is up"
    for task in (opened, closed):
        guest.stop(task)


@pytest.mark.parametrize("victims", BROUGHT_BACK)
def test_what_is_killed_comes_back_and_tasks_run_on(guest: Guest, victims: tuple[str, ...]) -> None:
    unique = "mkdir -p /tmp/www; cat /proc/sys/kernel/random/uuid >/tmp/www/index.html"
    task = guest.running(f"{unique}; exec httpd -f -p 80 -h /tmp/www")
    pid, page = guest.pid(task), guest.page(task)
    guest.signal("KILL", *victims)
    guest.up()
    after = guest.tasks.describe(task["taskArn"])
    assert (after["lastStatus"], after["startedAt"]) == ("RUNNING", task["startedAt"])
    assert (guest.pid(task), guest.page(task)) == (pid, page), "the same process, not a new one"
    assert guest.stop(task)["stopCode"] == "UserInitiated"


def test_what_ends_while_the_agent_is_dead_is_reported(guest: Guest) -> None:
    task = guest.running("until [ -e /tmp/end ]; do sleep 0.1; done; exit 7")
    pid = guest.pid(task)
    guest.signal("STOP", SUPERVISOR)  # nobody brings the agent back yet
    guest.signal("KILL", AGENT)
    guest.machine.run(f"touch /proc/{pid}/root/tmp/end; while kill -0 {pid} 2>/dev/null; do sleep 0.1; done")
    guest.signal("CONT", SUPERVISOR)
    after = guest.tasks.wait(task["taskArn"], "STOPPED", SLOW)
    assert after["containers"][0]["exitCode"] == 7
    assert after["stopCode"] == "EssentialContainerExited"


def test_systemd_leaves_tasks_alone(guest: Guest) -> None:
    task = guest.running("exec sleep 1000")
    pid = guest.pid(task)
    assert guest.machine.run("cat /proc/$(pgrep -x containerd)/cgroup").startswith("0::/homeport-"), "in no unit"
    guest.machine.run("systemctl daemon-reload; systemctl daemon-reexec")
    assert int(guest.machine.run(f"cat {guest.cgroup(task)}/memory.max")) == 512 << 20
    assert guest.pid(task) == pid
    guest.stop(task)


def test_down_leaves_nothing(guest: Guest) -> None:
    guest.running(WEB)
    during = guest.inventory()
    assert any(line.startswith("netns hp-") for line in during)
    assert any(line.startswith("process") and "-m homeport agent" in line for line in during)
    guest.homeport.down()
    assert guest.inventory() == guest.before
    guest.up()


@pytest.mark.feature("After a power cut: tasks STOPPED with a reason, their addresses free")
def test_after_a_power_cut_tasks_are_stopped_with_a_reason(guest: Guest) -> None:
    tasks = [guest.running("exec sleep 1000"), guest.running(WEB)]
    guest.machine.cut_power()
    say("power cut")
    guest.machine.start()
    guest.up()
    for task in tasks:
        after = guest.tasks.wait(task["taskArn"], "STOPPED", SLOW)
        assert after["stoppedReason"]
        assert after["attachments"][0]["status"] == "DELETED"
    assert guest.tasks.ecs.list_tasks(cluster="tests")["taskArns"] == []
    assert guest.tasks.ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    assert guest.page(guest.running(WEB)) == "page"
