"""Log files on a real file system: cutting and reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeport.agent.drivers.containerd import logs, trimming
from homeport.agentapi import ContainerSpec

KEEP = 16 << 10


def text(count: int) -> bytes:
    return b"".join(b"line %d\n" % i for i in range(count))


def content(path: Path, offset: int = 0) -> bytes:
    return b"".join(data for _, data in logs.read(path, offset))


def test_small_files_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(text(100))
    assert logs.trim(path, KEEP, slack=0) == 0
    assert content(path) == text(100)
    assert logs.trim(tmp_path / "none", KEEP) == 0
    assert content(tmp_path / "none") == b""


def test_cutting_keeps_the_end_and_the_offsets(tmp_path: Path) -> None:
    path = tmp_path / "log"
    whole = text(20_000)
    path.write_bytes(whole)
    cut = logs.trim(path, KEEP, slack=0)
    assert len(whole) - KEEP - 4096 < cut <= len(whole) - KEEP
    assert path.stat().st_size == len(whole)
    assert path.stat().st_blocks * 512 <= KEEP + 4096
    left = content(path)
    assert whole.endswith(left)
    assert left.startswith(b"line ")
    assert KEEP - 20 < len(left) <= KEEP + 4096
    assert content(path, len(whole) - 10) == whole[-10:]
    assert logs.trim(path, KEEP, slack=4096) == 0


def test_where_there_are_no_holes_the_file_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(fd: int, offset: int, length: int) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(trimming, "punch_hole", unsupported)
    path = tmp_path / "log"
    path.write_bytes(text(20_000))
    assert logs.trim(path, KEEP, slack=0) == 0
    assert path.stat().st_size == 0
    path.write_bytes(b"new\n")
    assert content(path, 20_000) == b"new\n"


def test_follow_ends_with_everything_read(tmp_path: Path) -> None:
    found = logs.make(tmp_path, "t", "c")
    found["stdout"].write_bytes(b"a\n")
    steps = iter([False, False, True])

    def ended() -> bool:
        last = next(steps)
        with found["stderr"].open("ab") as file:
            file.write(b"e\n")
        return last

    assert list(logs.follow(found, ended)) == [
        ("stdout", b"a\n"),
        ("stderr", b"e\n"),
        ("stderr", b"e\n"),
        ("stderr", b"e\n"),
    ]


def test_files_are_roots_and_stay(tmp_path: Path) -> None:
    found = logs.make(tmp_path, "t", "c")
    found["stdout"].write_bytes(b"kept")
    assert logs.make(tmp_path, "t", "c") == found
    assert found["stdout"].read_bytes() == b"kept"
    assert found["stdout"].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({}, 0),
        ({"max-file": "3"}, 0),
        ({"max-size": "-1", "max-file": "3"}, 0),
        ({"max-size": "10m"}, 10_000_000),
        ({"max-size": "1.5k", "max-file": "3"}, 4_500),
        ({"max-size": "2G"}, 2_000_000_000),
        ({"max-size": "512"}, 512),
        ({"max-size": "20 MB"}, 20_000_000),
    ],
)
def test_json_files_options_are_the_bound(options: dict[str, str], bound: int) -> None:
    spec = ContainerSpec(name="c", image="i", log_driver="json-file", log_options=options)
    assert logs.bound(spec) == bound


def test_the_options_of_awslogs_are_about_another_place() -> None:
    options = {"mode": "non-blocking", "max-buffer-size": "25m", "max-size": "what"}
    assert logs.bound(ContainerSpec(name="c", image="i", log_driver="awslogs", log_options=options)) == 0


@pytest.mark.parametrize("options", [{"max-size": "0"}, {"max-size": "m"}, {"max-size": "1m", "max-file": "0"}])
def test_options_that_mean_nothing_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(logs.BadOption):
        logs.bound(ContainerSpec(name="c", image="i", log_driver="json-file", log_options=options))


def test_a_tasks_output_is_trimmed_to_the_bound_of_each_container(tmp_path: Path) -> None:
    bounded, free = logs.make(tmp_path, "t", "bounded", 100_000), logs.make(tmp_path, "t", "free")
    for found in (bounded, free):
        found["stdout"].write_bytes(b"x" * 300_000)
    assert trimming.trim_task(logs.top(tmp_path) / "t") == 1
    assert bounded["stdout"].stat().st_blocks * 512 <= 100_000 + 8192
    assert content(free["stdout"]) == b"x" * 300_000
    assert trimming.trim_task(logs.top(tmp_path) / "none") == 0
