"""A test machine with a Homeport in it, as tests drive both."""

from __future__ import annotations

import time
from typing import Any

from support.tasks import Tasks
from support.vm import PATIENCE, Machine, say
from support.vm.homeport import GuestHomeport

SLOW = 120 * PATIENCE  # seconds: an emulated processor is 30 times slower, and shared
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


class Guest:
    """The machine, the Homeport in it and its tasks."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.run("ip netns add first; ip netns delete first")  # leaves the mount of /run/netns, which all share
        self.before = self.inventory()
        self.homeport, self.runs = GuestHomeport(machine), False

    def up(self) -> None:
        """Returns when the control plane answers and its node is connected, whatever ran before."""
        began = time.monotonic()
        self.homeport.up()
        self.runs = True
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
