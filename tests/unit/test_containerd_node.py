"""Users, cgroups, generated files, signals, marks and names."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from homeport.agent.drivers import ContainerPlan, Image
from homeport.agent.drivers.containerd import cgroups, files, observed, signals
from homeport.agent.drivers.containerd import containerd_pb2 as pb
from homeport.agent.drivers.containerd.cgroups import Write
from homeport.agent.drivers.containerd.instance import config_text, instance
from homeport.agent.drivers.containerd.machine import capability_names
from homeport.agent.drivers.containerd.users import Accounts, BadUser, User, resolve
from homeport.agentapi import ContainerSpec
from homeport.agentspec import ExtraHost


def planned(name: str, *, address: str | None = None, network_mode: str = "awsvpc", **members: Any) -> ContainerPlan:
    spec, image = ContainerSpec(name=name, image="x", **members), Image("x", "sha256:0")
    return ContainerPlan("c", "t", spec, image, address=address, network_mode=network_mode)


ACCOUNTS = Accounts(
    "root:x:0:0:root:/root:/bin/sh\n# comment:x:5:5::/:\nweb:x:1000:1001::/:\nbroken\n7seven:x:70:70::/:\n",
    "root:x:0:\nextra:x:2000:web,root\nmore:x:1500:other,web\nweb:x:1001:web\n",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, User(0, 0, (2000,))),
        ("", User(0, 0, (2000,))),
        ("root", User(0, 0, (2000,))),
        ("web", User(1000, 1001, (1500, 2000))),
        ("1000", User(1000, 1001, (1500, 2000))),
        ("web:extra", User(1000, 2000)),
        ("web:0", User(1000, 0)),
        ("4000", User(4000, 0)),
        ("4000:4001", User(4000, 4001)),
        ("7seven", User(70, 70)),
        (":extra", User(0, 2000)),
    ],
)
def test_users(text: str | None, expected: User) -> None:
    assert resolve(text, ACCOUNTS) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("web:none", "unable to find group none: no matching entries in group file"),
        ("comment", "no matching entries"),
        ("4294967296", "out of range"),
        ("-1", "no matching entries"),
    ],
)
def test_bad_users(text: str, why: str) -> None:
    with pytest.raises(BadUser, match=why):
        resolve(text, ACCOUNTS)


def test_an_image_without_accounts() -> None:
    assert resolve("", Accounts()) == User()
    assert resolve("5:6", Accounts()) == User(5, 6)


def test_limits_on_v1() -> None:
    assert cgroups.limits(False, 256, 512) == [
        Write("pids", "pids.max", "4096", True),
        Write("cpu", "cpu.shares", "256"),
        Write("memory", "memory.use_hierarchy", "1", True),
        Write("memory", "memory.limit_in_bytes", str(512 << 20)),
        Write("memory", "memory.memsw.limit_in_bytes", str(512 << 20), True),
    ]
    assert cgroups.throttle(False, 256) == [
        Write("cpu", "cpu.cfs_period_us", "100000"),
        Write("cpu", "cpu.cfs_quota_us", "25000"),
    ]


def test_limits_on_v2() -> None:
    assert cgroups.limits(True, 256, 512) == [
        Write("", "pids.max", "4096", True),
        Write("", "cpu.weight", "10"),
        Write("", "memory.max", str(512 << 20)),
        Write("", "memory.swap.max", "0", True),
    ]
    assert cgroups.throttle(True, 4096) == [Write("", "cpu.max", "400000 100000")]


@pytest.mark.parametrize("unified", [True, False])
def test_no_limits(unified: bool) -> None:
    assert cgroups.limits(unified, 0, 0) == [Write("" if unified else "pids", "pids.max", "4096", True)]
    assert cgroups.throttle(unified, 0) == []


@pytest.mark.parametrize(
    ("cpu", "expected"), [(1, 1000), (10, 1000), (11, 1074), (256, 25000), (1024, 100000), (16384, 1600000)]
)
def test_quota(cpu: int, expected: int) -> None:
    assert cgroups.quota(cpu) == expected


@pytest.mark.parametrize(("shares", "expected"), [(0, 1), (2, 1), (1024, 39), (262144, 10000), (10**9, 10000)])
def test_weight(shares: int, expected: int) -> None:
    assert cgroups.weight(shares) == expected


def test_counting_kills() -> None:
    assert cgroups.oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n") == 3
    assert cgroups.oom_kills("low 0\nhigh 0\nmax 5\noom 0\noom_kill 1\noom_group_kill 0\n") == 1
    assert cgroups.oom_kills("") == 0


def test_cgroup_v2_enables_controllers_level_by_level(tmp_path: Path) -> None:
    """Files in place of the kernel's: only what is written where is looked at."""
    groups = [tmp_path, tmp_path / "hp", tmp_path / "hp" / ("t" * 32)]
    for group in groups:
        group.mkdir(exist_ok=True)
        (group / "cgroup.controllers").write_text("cpu io memory pids\n")
        (group / "cgroup.subtree_control").write_text("")
        for name in ("cpu.max", "cpu.weight", "memory.max", "memory.swap.max", "pids.max"):
            (group / name).write_text("")
    made = cgroups.Cgroups("hp", tmp_path)
    assert made.unified
    made.prepare("t" * 32, 512, 128)
    assert [(g / "cgroup.subtree_control").read_text() for g in groups] == ["+cpu +memory +pids"] * 3
    assert (groups[2] / "memory.max").read_text() == str(128 << 20)
    assert (groups[2] / "memory.swap.max").read_text() == "0"
    assert (groups[2] / "cpu.max").read_text() == ""
    made.throttle("t" * 32, 512)
    assert (groups[2] / "cpu.max").read_text() == "50000 100000"
    assert made.tasks() == {"t" * 32}


@pytest.mark.parametrize(
    ("host", "upstream", "expected"),
    [
        ("nameserver 10.0.0.2\nsearch a b\noptions x\n# x\n", "", "nameserver 10.0.0.2\nsearch a b\noptions x\n"),
        ("nameserver 127.0.0.53\nsearch a\n", "nameserver 9.9.9.9\n", "nameserver 9.9.9.9\n"),
        ("nameserver 127.0.0.1\nnameserver 10.0.0.2\n", "", "nameserver 10.0.0.2\n"),
        ("", "", "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
        ("nameserver fe80::1%eth0\nnameserver bad\n", "nameserver ::1\n", "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
        ("nameserver fd00::53\n", "", "nameserver fd00::53\n"),
    ],
)  # fmt: skip
def test_resolv_conf(host: str, upstream: str, expected: str) -> None:
    assert files.resolv_conf(host, upstream) == expected


@pytest.mark.parametrize(
    ("servers", "domains", "expected"),
    [
        (("1.1.1.1", "fd00::1"), (), "nameserver 1.1.1.1\nnameserver fd00::1\nsearch a\noptions x\n"),
        ((), ("b", "c"), "nameserver 10.0.0.2\noptions x\nsearch b c\n"),
        ((), (".",), "nameserver 10.0.0.2\noptions x\n"),
    ],
)
def test_servers_and_domains_of_a_definition(servers: tuple[str, ...], domains: tuple[str, ...], expected: str) -> None:
    host = "nameserver 10.0.0.2\nsearch a\noptions x\n"
    assert files.resolv_conf(host, "", servers, domains) == expected


def test_files_stay_as_they_are_for_the_next_container(tmp_path: Path) -> None:
    first = files.write(tmp_path, "ip-10-0-0-4", planned("a", address="10.0.0.4"))
    assert Path(first.hosts).read_text().endswith("10.0.0.4 ip-10-0-0-4\n")
    Path(first.hosts).write_text("changed by a container")
    assert files.write(tmp_path, "other", planned("b")) == first
    assert Path(first.hosts).read_text() == "changed by a container"


def test_containers_in_the_bridge_have_files_of_their_own(tmp_path: Path) -> None:
    linked = (ExtraHost("db", "172.16.0.3"),)
    web = files.write(tmp_path, "h1", planned("a", address="172.16.0.2", network_mode="bridge", extra_hosts=linked))
    other = files.write(tmp_path, "h2", planned("b", address="172.16.0.3", network_mode="bridge"))
    assert Path(web.hosts).read_text().endswith("172.16.0.2 h1\n172.16.0.3 db\n")
    assert Path(other.hosts).read_text().endswith("172.16.0.3 h2\n")


def test_in_the_machines_network_a_container_has_its_name_and_files(tmp_path: Path) -> None:
    plan = planned("a", network_mode="host")
    assert files.hostname(plan) == socket.gethostname()
    assert files.hostname(planned("a", network_mode="host", hostname="own")) == "own"
    made = files.write(tmp_path, files.hostname(plan), plan)
    assert Path(made.resolv_conf).read_text() == Path("/etc/resolv.conf").read_text()
    assert Path(made.hosts).read_text().splitlines() == Path("/etc/hosts").read_text().splitlines()
    assert files.shared_hosts("127.0.0.1 me\n", (ExtraHost("db", "10.0.0.1"),)) == "127.0.0.1 me\n10.0.0.1 db\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGWINCH", 28), ("SIGRTMIN+3", int(signal.SIGRTMIN) + 3),
        ("SIGNONE", 15), ("", 15), ("0", 15), ("999", 15), (" sigquit ", 3),
    ],
)  # fmt: skip
def test_signals(name: str, expected: int) -> None:
    assert signals.number(name) == expected


def process(status: pb.ProcessStatus, code: int = 0) -> pb.Process:
    made = pb.Process(id="c", pid=5, status=status, exit_status=code)
    made.exited_at.seconds = 100
    return made


def test_observed() -> None:
    event = pb.TaskEvent(container_id="c", id="c", pid=5, exit_status=137)
    event.exited_at.seconds = 200

    def look(
        p: pb.Process | None, started: float | None, seen: pb.TaskEvent | None = None, oom: bool = False
    ) -> object:
        found = observed.observed("c", {}, p, started, seen, oom)
        return found and (found.state, found.exit_code, found.finished_at, found.oom)

    assert look(None, None) is None
    assert look(process(pb.CREATED), None) == ("created", None, None, False)
    assert look(process(pb.RUNNING), 1.0) == ("running", None, None, False)
    assert look(process(pb.PAUSED), 1.0) == ("running", None, None, False)
    assert look(process(pb.STOPPED, 3), 1.0) == ("stopped", 3, 100.0, False)
    assert look(process(pb.STOPPED, 137), 1.0, oom=True) == ("stopped", 137, 100.0, True)
    # A process that ended well was not killed, whatever happened to its children.
    assert look(process(pb.STOPPED, 0), 1.0, oom=True) == ("stopped", 0, 100.0, False)
    assert look(None, 1.0) == ("lost", None, None, False)
    assert look(None, 1.0, event) == ("stopped", 137, 200.0, False)
    # What ends before it was started never ran: the remains of a creation that was cut short.
    assert look(None, None, event) is None
    assert look(process(pb.STOPPED, 137), None) is None
    assert look(None, 201.0, event) == ("lost", None, None, False)
    assert look(process(pb.RUNNING), 201.0, event) == ("running", None, None, False)
    # A shim that is too busy to answer has lost nothing.
    assert look(process(pb.UNKNOWN), 1.0) == ("running", None, None, False)
    assert look(process(pb.UNKNOWN), 1.0, event) == ("stopped", 137, 200.0, False)
    assert look(process(pb.UNKNOWN), None) is None


def test_marks_keep_the_first_start(tmp_path: Path) -> None:
    marks = observed.Marks(instance(tmp_path))
    assert marks.get("t", "c") is None
    assert marks.set("t", "c", 1.5) == 1.5
    assert marks.set("t", "c", 9.0) == 1.5
    marks.clear("t", "c")
    marks.clear("t", "c")
    assert marks.get("t", "c") is None


def test_an_instance_is_its_state_directory(tmp_path: Path) -> None:
    made = instance(tmp_path / "a")
    assert made == instance(tmp_path / "b" / ".." / "a")
    assert made.name != instance(tmp_path / "b").name
    assert len(str(made.socket)) < 100
    assert instance(tmp_path, "/x.sock").socket == Path("/x.sock")
    text = config_text(made, privileged=False)
    assert text.startswith("version = 2\n")
    assert "io.containerd.grpc.v1.cri" in text
    assert "tcp_address" not in text
    assert "oom_score" not in text
    assert "oom_score = -999" in config_text(made, privileged=True)


def test_capability_names() -> None:
    assert capability_names(0b1) == {"CAP_CHOWN"}
    assert capability_names(1 << 21 | 1 << 40) == {"CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"}
