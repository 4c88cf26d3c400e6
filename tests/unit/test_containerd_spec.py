"""The OCI spec that a plan and an image give."""

from __future__ import annotations

from typing import Any

import pytest

from homeport.agent.cdi import Edits, Hook, Mount
from homeport.agent.drivers import ContainerPlan, Image
from homeport.agent.drivers.containerd import mounts, pause, seccomp, spec
from homeport.agent.drivers.containerd.devices import HostDevice
from homeport.agent.drivers.containerd.machine import capability_names
from homeport.agent.drivers.containerd.manifests import RunConfig
from homeport.agent.drivers.containerd.users import User
from homeport.agentapi import ContainerSpec, Tmpfs, Ulimit

EVERYTHING = capability_names((1 << 41) - 1)
MACHINE = spec.Machine("amd64", unified=False, swap=True, capabilities=EVERYTHING)
FILES = mounts.Files("/t/resolv.conf", "/t/hosts", "/t/hostname")


def container(**members: Any) -> ContainerSpec:
    return ContainerSpec(name="web", image="x", **members)


def build(
    image: RunConfig | None = None, user: User | None = None, machine: spec.Machine = MACHINE, **members: Any
) -> dict[str, Any]:
    own = {name: members.pop(name) for name in ("netns", "network_mode", "pid_mode", "ipc_mode") if name in members}
    provided = spec.Provided(**{n: members.pop(n) for n in ("binds", "devices", "namespaces", "gpus") if n in members})
    plan = ContainerPlan(id="c", task_id="t", spec=container(**members), image=Image("x", "sha256:0"), **own)
    config = image or RunConfig(cmd=("run",))
    return spec.build(plan, config, user or User(), "host", FILES, "/h/t/c", machine, provided)


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


def mount(made: dict[str, Any], path: str) -> dict[str, Any]:
    (found,) = (m for m in made["mounts"] if m["destination"] == path)
    return dict(found)


def test_volumes_come_after_what_they_lie_in_and_instead_of_defaults() -> None:
    binds = (mounts.Bind("/v/1", "/a/b/../b/c"), mounts.Bind("/v/2", "/a", True), mounts.Bind("/v/3", "/etc/hosts"))
    made = build(binds=binds, tmpfs=(Tmpfs("/dev/shm", 5),))
    order = [m["destination"] for m in made["mounts"]]
    assert order[-4:] == ["/a", "/etc/hosts", "/dev/shm", "/a/b/c"]
    assert len(order) == len(set(order))
    assert mount(made, "/a") == {
        "destination": "/a",
        "type": "bind",
        "source": "/v/2",
        "options": ["rbind", "rprivate", "ro"],
    }
    assert "rw" in mount(made, "/a/b/c")["options"]
    assert mount(made, "/etc/hosts")["source"] == "/v/3"
    assert mount(made, "/dev/shm")["options"][-1] == "size=5m"


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        (("a",), "mount path must be absolute: a"),
        (("/",), "destination can't be '/'"),
        (("/a/../..",), "destination can't be '/'"),
        (("/a", "/b/../a/"), "Duplicate mount point: /a"),
    ],
)
def test_mounts_that_cannot_be(paths: tuple[str, ...], text: str) -> None:
    with pytest.raises(spec.BadContainer, match=text):
        build(binds=tuple(mounts.Bind("/v", path) for path in paths))


def test_shared_memory_and_swap() -> None:
    assert mount(build(), "/dev/shm")["options"][-1] == "size=65536k"
    assert mount(build(shared_memory=3), "/dev/shm")["options"][-1] == "size=3072k"
    assert all(m["destination"] != "/dev/shm" for m in build(ipc_mode="none")["mounts"])
    memory = build(memory=8, max_swap=4, swappiness=0)["linux"]["resources"]["memory"]
    assert memory == {"limit": 8 << 20, "swap": 12 << 20, "swappiness": 0}
    unified = spec.Machine("amd64", unified=True, swap=True, capabilities=EVERYTHING)
    assert "swappiness" not in build(memory=8, swappiness=9, machine=unified)["linux"]["resources"]["memory"]


def test_a_privileged_container_may_all() -> None:
    made = build(privileged=True, capabilities_drop=("ALL",))
    assert set(made["process"]["capabilities"]["effective"]) == EVERYTHING
    linux = made["linux"]
    assert linux["seccomp"] is None
    assert linux["maskedPaths"] == linux["readonlyPaths"] == []
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert all("ro" not in mount(made, path)["options"] for path in ("/sys", "/sys/fs/cgroup"))
    assert set(build(privileged=True, user=User(7, 7))["process"]["capabilities"]["bounding"]) == EVERYTHING


def test_security_options() -> None:
    assert not build()["process"]["noNewPrivileges"]
    assert build(security_options=("no-new-privileges",))["process"]["noNewPrivileges"]
    for option in ("label:x", "apparmor:y", "seccomp:z"):
        with pytest.raises(spec.BadContainer, match=option):
            build(security_options=("no-new-privileges", option))


def test_a_terminal_has_a_type() -> None:
    process = build(RunConfig(cmd=("run",), env=("TERM=vt100",)), pseudo_terminal=True)["process"]
    assert process["terminal"]
    assert "TERM=vt100" in process["env"]
    assert "TERM=xterm" in build(pseudo_terminal=True)["process"]["env"]
    assert not any(variable.startswith("TERM=") for variable in build()["process"]["env"])


def test_a_container_without_network_has_a_namespace_of_its_own() -> None:
    for disabled, expected in ((False, {"type": "network", "path": "/n"}), (True, {"type": "network"})):
        assert expected in build(netns="/n", disable_networking=disabled)["linux"]["namespaces"]


def test_an_init_process_needs_a_program_on_the_node() -> None:
    with pytest.raises(spec.BadContainer, match="initProcessEnabled"):
        build(init=True)
    machine = spec.Machine("amd64", unified=False, swap=True, capabilities=EVERYTHING, init="/usr/bin/tini-static")
    made = build(init=True, machine=machine)
    assert made["process"]["args"] == ["/sbin/docker-init", "--", "run"]
    assert mount(made, "/sbin/docker-init")["source"] == "/usr/bin/tini-static"
    assert "ro" in mount(made, "/sbin/docker-init")["options"]


def test_devices_and_a_shared_process_namespace() -> None:
    device = HostDevice("/dev/x", "c", 1, 3, 0o666, 0, 7, "rw")
    linux = build(devices=(device,), namespaces=(("pid", "/proc/7/ns/pid"),))["linux"]
    assert linux["devices"] == [
        {"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 7}
    ]
    assert linux["resources"]["devices"] == [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
    ]
    assert {"type": "pid", "path": "/proc/7/ns/pid"} in linux["namespaces"]
    assert {"type": "ipc"} in linux["namespaces"]


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", 62), ("arm64", 183)])
def test_the_pausing_program_is_a_whole_executable(architecture: str, machine: int) -> None:
    made = pause.program(architecture)
    assert made[:4] == b"\x7fELF"
    assert int.from_bytes(made[18:20], "little") == machine
    entry, size = int.from_bytes(made[24:32], "little"), int.from_bytes(made[96:104], "little")
    assert entry - 0x400000 == 64 + 56
    assert size == len(made)
    with pytest.raises(KeyError):
        pause.program("vax")


def test_in_the_machines_network_no_settings_of_it_are_made() -> None:
    built = build(netns="/n", network_mode="host")
    assert {"type": "network", "path": "/n"} in built["linux"]["namespaces"]
    assert built["linux"]["sysctl"] == {}
    assert build(netns="/n", network_mode="host", system_controls={"kernel.x": "1"})["linux"]["sysctl"] == {
        "kernel.x": "1"
    }
    alone = build(netns="/n", network_mode="host", disable_networking=True)["linux"]
    assert {"type": "network"} in alone["namespaces"]
    assert "net.ipv4.ip_unprivileged_port_start" in alone["sysctl"]


def test_the_machines_processes_and_ipc_are_shared_by_having_no_namespace() -> None:
    built = build(pid_mode="host", ipc_mode="host")
    assert [n["type"] for n in built["linux"]["namespaces"]] == ["network", "uts", "mount"]
    shared = {m["destination"]: m for m in built["mounts"]}
    assert (shared["/dev/shm"]["type"], shared["/dev/shm"]["source"]) == ("bind", "/dev/shm")
    assert shared["/dev/mqueue"]["type"] == "mqueue"


def test_gpus_bring_what_they_need() -> None:
    mounts = (
        Mount("/lib/cuda.so", "/lib/cuda.so", ("ro",)),
        Mount("/lib/nv.so", "/lib/nv.so", ("ro", "bind")),
        Mount("tmpfs", "/proc/driver/nvidia", ("mode=0555",), "tmpfs"),
    )
    hooks = (
        Hook("createContainer", "/bin/ctk", ("ctk", "a")),
        Hook("createContainer", "/bin/ctk", env=("A=1",), timeout=3),
    )
    edits = Edits(env=("VISIBLE=g1", "A=2"), mounts=mounts, hooks=hooks, additional_gids=(0, 44))
    made = build(gpus=edits, environment={"VISIBLE": "all", "B": "3"})
    env = dict(entry.split("=", 1) for entry in made["process"]["env"])
    assert (env["VISIBLE"], env["A"], env["B"]) == ("g1", "2", "3")
    assert made["process"]["user"]["additionalGids"] == [44]
    assert made["mounts"][-3:] == [
        {"destination": "/lib/cuda.so", "source": "/lib/cuda.so", "type": "bind", "options": ["ro", "rbind"]},
        {"destination": "/lib/nv.so", "source": "/lib/nv.so", "type": "bind", "options": ["ro", "bind"]},
        {"destination": "/proc/driver/nvidia", "source": "tmpfs", "type": "tmpfs", "options": ["mode=0555"]},
    ]
    assert made["hooks"] == {
        "createContainer": [
            {"path": "/bin/ctk", "args": ["ctk", "a"], "env": []},
            {"path": "/bin/ctk", "args": [], "env": ["A=1"], "timeout": 3},
        ]
    }
    assert "hooks" not in build()
