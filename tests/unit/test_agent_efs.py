"""What stands for an EFS file system, and what mount(8) is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cyclopts import App

from homeport import config
from homeport.agent import efs
from homeport.agent.drivers import DriverError
from homeport.agent.drivers.containerd import nfs
from homeport.agent.drivers.containerd.file_systems import Efs, FileSystems
from homeport.agentapi import Volume
from homeport.cli import lifecycle
from homeport.cli.flags import Flags

ID = "fs-0123abcd"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv/files", efs.Folder("/srv/files")),
        ("nas.example:/", efs.Export("nas.example", "/")),
        ("10.0.0.7:/export/web", efs.Export("10.0.0.7", "/export/web")),
        ("[fd00::7]:/export", efs.Export("fd00::7", "/export")),
    ],
)
def test_a_target_is_a_folder_or_an_export(text: str, expected: efs.Target) -> None:
    assert efs.target(text) == expected
    assert efs.configured([f"{ID}={text}"]) == {ID: text}


@pytest.mark.parametrize(
    "text", ["", "files", "nas:files", "nas", ":/x", "-o:/x", "a b:/x", "nas:/x,sec=sys", "nas:/a b"]
)
def test_nothing_else_is_a_target(text: str) -> None:
    with pytest.raises(config.ConfigError, match="--efs takes ID=/FOLDER or ID=SERVER:/EXPORT"):
        Flags(efs=[f"{ID}={text}"]).settings()


@pytest.mark.parametrize("text", ["/srv/files", "fsap-0123abcd=/x", "=/x", "fs-../../etc=/x"])
def test_a_target_is_one_of_a_file_system(text: str) -> None:
    with pytest.raises(efs.BadTarget, match="begin with a file system's id"):
        efs.configured([text])


def test_targets_are_kept_until_others_are_given(tmp_path: Path) -> None:
    def told(*targets: str) -> config.Settings:
        return config.load_or_create(str(tmp_path), **Flags(efs=list(targets) or None).settings())

    config.save(told(f"{ID}=/srv", "fs-0456abcd=nas:/x"))
    assert told().efs == {ID: "/srv", "fs-0456abcd": "nas:/x"}
    assert config.load_or_create(str(tmp_path), **Flags(efs=[]).settings()).efs == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [((), None), (("--no-efs",), []), (("--efs", "a=/x", "--efs", "b=c:/y"), ["a=/x", "b=c:/y"])],
)
def test_the_option_may_be_repeated_and_taken_back(words: tuple[str, ...], expected: list[str] | None) -> None:
    _, bound, _ = App(default_command=lifecycle.up).parse_args([*words])
    assert bound.arguments.get("flags", Flags()).efs == expected


def test_mount_is_told_what_amazons_helper_tells_it() -> None:
    assert efs.source("10.0.0.7", "/web") == "10.0.0.7:/web"
    assert efs.source("fd00::7", "/") == "[fd00::7]:/"
    options = set(efs.options("10.0.0.7").split(","))
    assert options >= {"vers=4.1", "rsize=1048576", "wsize=1048576", "hard", "timeo=600", "retrans=2", "noresvport"}
    assert "addr=10.0.0.7" in options
    assert efs.dns_name(ID, "eu-west-1") == "fs-0123abcd.efs.eu-west-1.amazonaws.com"
    assert efs.dns_name(ID, "cn-north-1") == "fs-0123abcd.efs.cn-north-1.amazonaws.com.cn"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("mount: /m: mount(2) system call failed: Connection refused.\n more", "Connection refused"),
        ("mount: /m: unknown filesystem type 'nfs4'.", "the kernel of this node has no NFS client (nfsv4)"),
        ("mount: /m: special device 1.2.3.4:/ does not exist.", "/m: special device 1.2.3.4:/ does not exist"),
        ("no answer within 30 s", "no answer within 30 s"),
        ("", ""),
    ],
)
def test_the_kernels_reason_is_found_in_what_mount_says(said: str, expected: str) -> None:
    assert nfs.reason(said) == expected


def test_mounts_are_found_by_their_folder() -> None:
    mountinfo = "\n".join(
        f"{n} 1 0:{n} / {path} rw - nfs4 10.0.0.7:/ rw"
        for n, path in enumerate(("/", "/r/a/v", "/r/a/v", "/r/ab/v", "/r/b"))
    )
    assert nfs.mounted(mountinfo, Path("/r/a")) == ["/r/a/v", "/r/a/v"]
    assert nfs.mounted(mountinfo, Path("/r")) == ["/r/b", "/r/ab/v", "/r/a/v", "/r/a/v"]


class Recorded(nfs.Mounts):
    """Mounts nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.made: list[tuple[str, ...]] = []

    async def mount(self, task_id: str, volume: str, source: str, options: str) -> Path:
        self.made.append((task_id, volume, source))
        return self._folder

    async def where(self, mount: Path, path: str) -> Path:
        return mount / path.strip("/")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Addresses by names, as getent would know them; ``asked`` counts."""
    known = {"127.0.0.1": "127.0.0.1", "10.0.0.7": "10.0.0.7", "asked": ""}

    async def getent(*argv: str, seconds: float) -> str:
        known["asked"] += f" {argv[-1]}"
        if argv[-1] not in known:
            raise nfs.NotDone("exit code 2")
        return f"{known[argv[-1]]} STREAM {argv[-1]}\n"

    monkeypatch.setattr("homeport.agent.drivers.containerd.file_systems.run_apart", getent)
    return known


def found(tmp_path: Path, volume: Volume, *targets: str) -> tuple[Path, list[tuple[str, ...]]]:
    known = Efs(efs.targets(efs.configured(targets)), "eu-west-1")
    mounts = Recorded(tmp_path / "mounts")
    return asyncio.run(FileSystems(known, tmp_path / "efs", mounts).folder("task", volume)), mounts.made


def test_what_is_configured_comes_before_what_dns_says(tmp_path: Path, answers: dict[str, str]) -> None:
    answers[efs.dns_name(ID, "eu-west-1")] = "10.0.0.9"
    (tmp_path / "efs" / ID / "web").mkdir(parents=True)
    (tmp_path / "own" / "web").mkdir(parents=True)
    volume = Volume("v", "efs", "/web", file_system_id=ID)
    assert found(tmp_path, volume, f"{ID}={tmp_path}/own") == (tmp_path / "own" / "web", [])
    assert answers["asked"] == ""
    web = tmp_path / "mounts" / "web"
    assert found(tmp_path, volume, f"{ID}=10.0.0.7:/export") == (web, [("task", "v", "10.0.0.7:/export")])
    assert found(tmp_path, volume) == (web, [("task", "v", "10.0.0.9:/")])


def test_a_folder_stands_for_a_file_system_that_dns_does_not_know(tmp_path: Path, answers: dict[str, str]) -> None:
    (tmp_path / "efs" / ID).mkdir(parents=True)
    (tmp_path / "efs" / ID / "out").symlink_to("/")
    for path in ("", "/", "/out/../.."):
        assert found(tmp_path, Volume("v", "efs", path, file_system_id=ID)) == (tmp_path / "efs" / ID, [])
    assert answers["asked"].split() == [efs.dns_name(ID, "eu-west-1")] * 3


def test_a_name_that_led_nowhere_is_not_asked_for_at_once(tmp_path: Path, answers: dict[str, str]) -> None:
    (tmp_path / "efs" / ID).mkdir(parents=True)
    systems = FileSystems(Efs(), tmp_path / "efs", Recorded(tmp_path))
    for _ in range(3):
        asyncio.run(systems.folder("task", Volume("v", "efs", "/", file_system_id=ID)))
    assert len(answers["asked"].split()) == 1


@pytest.mark.parametrize(
    ("volume", "target", "reason"),
    [
        (
            Volume("v", "efs", "/", file_system_id=ID),
            "",
            "no address of fs-0123abcd.efs.eu-west-1.amazonaws.com, and no",
        ),
        (Volume("v", "efs", "/", file_system_id="../.."), "", "'../..' is not a file system's id"),
        (Volume("v", "efs", "/", file_system_id=ID), "/no/where", "/no/where has no root directory /: No such file"),
        (Volume("v", "efs", "/", file_system_id=ID), "nas:/", "no address of nas$"),
        (Volume("v", "efs", "/", file_system_id=ID, encrypted=True), "10.0.0.7:/", "can't encrypt"),
    ],
)
def test_a_reason_is_given(tmp_path: Path, answers: dict[str, str], volume: Volume, target: str, reason: str) -> None:
    with pytest.raises(
        DriverError, match=f"ResourceInitializationError: failed to invoke EFS utils commands .*{reason}"
    ):
        found(tmp_path, volume, *([f"{ID}={target}"] if target else []))


def test_what_does_not_leave_the_machine_needs_no_encryption(tmp_path: Path, answers: dict[str, str]) -> None:
    volume = Volume("v", "efs", "/", file_system_id=ID, encrypted=True)
    assert found(tmp_path, volume, f"{ID}=127.0.0.1:/")[1] == [("task", "v", "127.0.0.1:/")]
    assert found(tmp_path, volume, f"{ID}={tmp_path}") == (tmp_path, [])


def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(nfs.NotDone, match="no answer within 0 s"):
        asyncio.run(nfs.run_apart("sleep", "60", seconds=0.1))
    with pytest.raises(nfs.NotDone, match="No such file"):
        asyncio.run(nfs.run_apart("ls", "/none", seconds=10))
    assert asyncio.run(nfs.run_apart("echo", "said", seconds=10)) == "said"
