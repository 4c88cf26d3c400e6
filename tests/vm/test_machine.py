"""Homeport on a machine like its users': Debian's kernel, systemd, cgroup v2. Run with ``make test-vm``.

The tests call the API from outside the machine and look at what the kernel in it says. They share one machine and run
in the order of this file, since each boot and each start takes an emulated processor long.
"""

from __future__ import annotations

import pytest

from support.tasks import WEB, until
from support.vm import say
from support.vm.homeport import FOLDER
from support.vm.node import SLOW, Guest

# How the command lines of Homeport's processes begin, after their folder.
SERVER, AGENT, SUPERVISOR = (f"python3 -m homeport {command}" for command in ("server", "agent", "supervise"))
CONTAINERD = "containerd -c"
BROUGHT_BACK = [
    pytest.param((SERVER,), id="server"),
    pytest.param((AGENT,), id="agent"),
    pytest.param((CONTAINERD,), id="containerd"),
    pytest.param((SUPERVISOR, SERVER, AGENT, CONTAINERD), id="all"),
]


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
