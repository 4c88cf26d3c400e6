"""The OCI spec that a plan and an image give."""

from __future__ import annotations

from typing import Any

import pytest

from homeport.agent.drivers import ContainerPlan, Image
from homeport.agent.drivers.containerd import seccomp, spec
from homeport.agent.drivers.containerd.machine import capability_names
from homeport.agent.drivers.containerd.manifests import RunConfig
from homeport.agent.drivers.containerd.users import User
from homeport.agentapi import ContainerSpec, Ulimit

EVERYTHING = capability_names((1 << 41) - 1)
MACHINE = spec.Machine("amd64", unified=False, swap=True, capabilities=EVERYTHING)
FILES = spec.Files("/t/resolv.conf", "/t/hosts", "/t/hostname")


def container(**members: Any) -> ContainerSpec:
    return ContainerSpec(name="web", image="x", **members)


def build(
    image: RunConfig | None = None, user: User | None = None, machine: spec.Machine = MACHINE, **members: Any
) -> dict[str, Any]:
    netns = members.pop("netns", None)
    plan = ContainerPlan(id="c", task_id="t", spec=container(**members), image=Image("x", "sha256:0"), netns=netns)
    return spec.build(plan, image or RunConfig(cmd=("run",)), user or User(), "host", FILES, "/h/t/c", machine)


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "entry_point", "command", "expected"),
    [
        (("e",), ("c",), None, None, ["e", "c"]),
        (("e",), ("c",), None, ("x", "y"), ["e", "x", "y"]),
        (("e",), ("c",), None, (), ["e"]),
        (("e",), ("c",), ("n",), None, ["n"]),
        (("e",), ("c",), ("n",), ("x",), ["n", "x"]),
        (None, ("c",), None, None, ["c"]),
        (None, None, None, ("x",), ["x"]),
        (("e",), ("c",), (), ("x",), ["x"]),
    ],
)
def test_arguments(entrypoint: Any, cmd: Any, entry_point: Any, command: Any, expected: list[str]) -> None:
    image = RunConfig(entrypoint=entrypoint, cmd=cmd)
    assert spec.arguments(container(entry_point=entry_point, command=command), image) == expected


def test_no_arguments_at_all() -> None:
    with pytest.raises(spec.BadContainer, match="no command specified"):
        spec.arguments(container(), RunConfig())


def test_environment() -> None:
    image = RunConfig(env=("A=1", "B=x=y", "PATH=/image", "EMPTY"))
    assert spec.environment(container(environment={"A": "2", "C": "3"}), image, "h") == [
        "PATH=/image",
        "HOSTNAME=h",
        "A=2",
        "B=x=y",
        "EMPTY=",
        "C=3",
    ]
    assert spec.environment(container(), RunConfig(), "h")[0] == spec.DEFAULT_PATH


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), (), spec.DEFAULT_CAPABILITIES),
        (("NET_ADMIN",), (), spec.DEFAULT_CAPABILITIES | {"CAP_NET_ADMIN"}),
        (("cap_net_admin",), ("chown",), (spec.DEFAULT_CAPABILITIES | {"CAP_NET_ADMIN"}) - {"CAP_CHOWN"}),
        ((), ("ALL",), frozenset()),
        (("CHOWN",), ("ALL",), frozenset({"CAP_CHOWN"})),
        (("ALL",), (), EVERYTHING),
        (("ALL",), ("SYS_ADMIN",), EVERYTHING - {"CAP_SYS_ADMIN"}),
        (("NO_SUCH",), (), spec.DEFAULT_CAPABILITIES),
    ],
)
def test_capabilities(add: tuple[str, ...], drop: tuple[str, ...], expected: frozenset[str]) -> None:
    assert spec.capabilities(add, drop, EVERYTHING) == expected


def test_what_this_process_lacks_is_not_given() -> None:
    assert spec.capabilities(("ALL",), (), frozenset({"CAP_CHOWN"})) == {"CAP_CHOWN"}


def test_defaults_are_dockers() -> None:
    made = build()
    process, linux = made["process"], made["linux"]
    assert process["noNewPrivileges"] is False
    assert process["cwd"] == "/"
    assert set(process["capabilities"]["effective"]) == spec.DEFAULT_CAPABILITIES
    assert len(spec.DEFAULT_CAPABILITIES) == 14
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 65535, "hard": 65535}]
    assert linux["sysctl"]["net.ipv4.ip_unprivileged_port_start"] == "0"
    assert linux["cgroupsPath"] == "/h/t/c"
    assert linux["resources"]["cpu"] == {"shares": 2}
    assert "memory" not in linux["resources"]
    assert {n["type"] for n in linux["namespaces"]} == {"network", "pid", "ipc", "uts", "mount"}
    assert "/proc/kcore" in linux["maskedPaths"]
    assert {m["destination"] for m in made["mounts"] if m["type"] == "bind"} == {
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/hostname",
    }


def test_limits_namespaces_and_read_only() -> None:
    made = build(
        netns="/run/netns/x",
        cpu=512,
        memory=64,
        memory_reservation=32,
        readonly_root_filesystem=True,
        ulimits=(Ulimit("nofile", 10, 20), Ulimit("memlock", -1, -1)),
        system_controls={"net.core.somaxconn": "9"},
        machine=spec.Machine("amd64", unified=True, swap=True, capabilities=EVERYTHING),
    )
    linux = made["linux"]
    assert linux["namespaces"][0] == {"type": "network", "path": "/run/netns/x"}
    assert {"type": "cgroup"} in linux["namespaces"]
    assert linux["resources"]["cpu"] == {"shares": 512}
    assert linux["resources"]["memory"] == {"limit": 64 << 20, "swap": 64 << 20, "reservation": 32 << 20}
    assert made["root"]["readonly"] is True
    assert all("ro" in m["options"] for m in made["mounts"] if m["type"] == "bind")
    assert linux["sysctl"]["net.core.somaxconn"] == "9"
    unlimited = (1 << 64) - 1
    assert made["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20},
        {"type": "RLIMIT_MEMLOCK", "soft": unlimited, "hard": unlimited},
    ]


def test_only_the_default_of_open_files_bows_to_the_machine() -> None:
    assert spec.rlimits(container(), 20000)[0]["hard"] == 20000
    asked = container(ulimits=(Ulimit("nofile", 30000, 30000),))
    assert spec.rlimits(asked, 20000)[0]["hard"] == 30000


def test_without_swap_accounting_swap_is_not_named() -> None:
    machine = spec.Machine("amd64", unified=False, swap=False, capabilities=EVERYTHING)
    assert build(memory=8, machine=machine)["linux"]["resources"]["memory"] == {"limit": 8 << 20}


def test_users_other_than_root_start_without_capabilities() -> None:
    process = build(user=User(1000, 1000, (7,)))["process"]
    assert process["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [7]}
    assert process["capabilities"]["effective"] == process["capabilities"]["permitted"] == []
    assert len(process["capabilities"]["bounding"]) == 14


def test_working_directory() -> None:
    image = RunConfig(cmd=("x",), working_dir="/image")
    assert build(image)["process"]["cwd"] == "/image"
    assert build(image, working_directory="/mine")["process"]["cwd"] == "/mine"
    with pytest.raises(spec.BadContainer, match="needs to be an absolute path"):
        build(image, working_directory="mine")


def allowed(profile: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [r for r in profile["syscalls"] if name in r["names"] and r["action"] == "SCMP_ACT_ALLOW"]


def test_seccomp_denies_by_default_and_follows_capabilities() -> None:
    usual = seccomp.profile("amd64", spec.DEFAULT_CAPABILITIES)
    assert usual is not None
    assert (usual["defaultAction"], usual["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    for name in ("mount", "unshare", "setns", "bpf", "keyctl", "add_key", "kexec_load", "io_uring_setup", "reboot"):
        assert not allowed(usual, name), name
    for name in ("read", "openat2", "ptrace", "chroot", "arch_prctl", "futex_waitv", "rseq"):
        assert allowed(usual, name), name
    (clone,) = allowed(usual, "clone")
    assert clone["args"][0]["value"] == 0x7E020000
    (clone3,) = (r for r in usual["syscalls"] if "clone3" in r["names"])
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert len(allowed(usual, "personality")) == 5
    assert allowed(usual, "socket")[0]["args"] == [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]

    admin = seccomp.profile("amd64", frozenset({"CAP_SYS_ADMIN"}))
    assert admin is not None
    assert allowed(admin, "mount")
    assert allowed(admin, "clone3")
    assert not allowed(admin, "chroot")
    arm = seccomp.profile("arm64", frozenset())
    assert arm is not None
    assert allowed(arm, "cacheflush")
    assert not allowed(arm, "arch_prctl")
    assert seccomp.profile("sparc", frozenset()) is None
