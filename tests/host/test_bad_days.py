"""What goes wrong around Homeport: it says so at once, changes nothing, and works again when the cause is gone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from support.census import ctr, process
from support.homeport import PROGRAM, Homeport
from support.tasks import WEB, Tasks, until

pytestmark = pytest.mark.host


# --- what can't start -------------------------------------------------------------------------------------------------


@pytest.fixture
def started_once(own_homeport: Callable[..., Homeport]) -> Homeport:
    """A Homeport that has run and is down."""
    homeport = own_homeport(image=None)
    homeport.down()
    return homeport


def refused(homeport: Homeport, *flags: str, **environment: str) -> str:
    """The one explanation of an ``up`` that fails, quickly and with nothing left running."""
    began = time.monotonic()
    done = subprocess.run(
        [*PROGRAM, "up", "--detach", "--port", str(homeport.port), "--state", str(homeport.state), *flags],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
    )
    assert done.returncode == 1, done
    assert time.monotonic() - began < 20
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    return done.stderr


def newer(homeport: Homeport) -> None:
    with contextlib.closing(sqlite3.connect(homeport.state / "homeport.db")) as db:
        db.execute("PRAGMA user_version = 99")


def scribbled(homeport: Homeport) -> None:
    with (homeport.state / "homeport.db").open("r+b") as file:
        file.write(os.urandom(20_000))


def cut(homeport: Homeport) -> None:
    os.truncate(homeport.state / "homeport.db", 9_000)


def other_key(homeport: Homeport) -> None:
    (homeport.state / "master.key").write_text("00" * 32 + "\n")


def open_key(homeport: Homeport) -> None:
    (homeport.state / "master.key").chmod(0o644)


def lost_node(homeport: Homeport) -> None:
    (homeport.state / "agent" / "instance.json").write_text("{")


@pytest.mark.feature("`homeport up` says why it can't start, and leaves a damaged or newer state as it is")
@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (newer, "upgrade"),
        (scribbled, "restore a backup"),
        (cut, "restore a backup"),
        (other_key, "master key"),
        (open_key, "chmod 600"),
        (lost_node, "instance.json"),
    ],
)
def test_what_is_damaged_is_named_and_left_alone(
    started_once: Homeport, harm: Callable[[Homeport], None], text: str
) -> None:
    harm(started_once)
    state = started_once.state
    before = (state / "homeport.db").read_bytes()
    assert text in refused(started_once)
    if harm in (newer, scribbled, cut):
        assert (state / "homeport.db").read_bytes() == before


def test_a_port_that_is_taken_starts_nothing(tmp_path: Path) -> None:
    homeport = Homeport(tmp_path / "state")
    with socket.socket() as other:
        other.bind(("127.0.0.1", homeport.port))
        other.listen()
        assert "--port" in refused(homeport)
    assert list(homeport.state.iterdir()) == []


def test_a_containerd_that_does_not_start_is_named(started_once: Homeport, tmp_path: Path) -> None:
    broken = tmp_path / "bin" / "containerd"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho broken by its packager >&2\nexit 3\n")
    broken.chmod(0o755)
    path = f"{broken.parent}:{os.environ['PATH']}"
    assert "broken by its packager" in refused(started_once, PATH=path)
    started_once.up()


@pytest.mark.feature("Several Homeports beside each other on one machine")
def test_homeports_that_start_at_once_have_pools_of_their_own(tmp_path: Path) -> None:
    several = [Homeport(tmp_path / name) for name in ("a", "b", "c")]
    started = [
        subprocess.Popen(
            [*PROGRAM, "up", "--detach", "--port", str(h.port), "--state", str(h.state)], stdout=subprocess.DEVNULL
        )
        for h in several
    ]
    try:
        assert [process.wait(60) for process in started] == [0, 0, 0]
        pools = {json.loads((h.state / "config.json").read_text())["public_pool"] for h in several}
        assert len(pools) == 3
        assert "uses already" in refused(Homeport(tmp_path / "d"), "--public-pool", pools.pop())
    finally:
        for homeport in several:
            homeport.down()


def test_ups_of_the_same_state_at_once_are_one(tmp_path: Path) -> None:
    homeport = Homeport(tmp_path / "state")
    argv = [*PROGRAM, "up", "--detach", "--port", str(homeport.port), "--state", str(homeport.state)]
    started = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        said = [process.communicate(timeout=60)[0] for process in started]
        assert [process.returncode for process in started] == [0, 0, 0]
        assert sum("already running" in text for text in said) == 2
    finally:
        homeport.down()


def test_a_running_one_stays_as_it_is(own_homeport: Callable[..., Homeport]) -> None:
    homeport = own_homeport(image=None)
    again = homeport.command("up", "--detach", "--port", "1")
    assert f"already running on http://127.0.0.1:{homeport.port}" in again.stdout
    assert homeport.client("ecs").list_clusters()["clusterArns"] == []


# --- a full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Leaves no byte free; the file that holds them all."""
    path = folder / "fill"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return path


@pytest.mark.feature("A full disk: writes are refused, reads and tasks go on, and all is well once there is space")
def test_a_full_disk(small_disk: Path) -> None:
    homeport = Homeport(small_disk / "state")
    homeport.up()
    try:
        homeport.load("test")
        tasks = Tasks(homeport)
        arn = tasks.run(WEB)
        _, public = tasks.address(tasks.wait(arn, "RUNNING"))
        until(lambda: answers(public), bool)
        filled = fill(small_disk)
        for call in (
            lambda: tasks.ecs.create_cluster(clusterName="refused"),
            lambda: tasks.ecs.stop_task(cluster="tests", task=arn),
        ):
            with pytest.raises(ClientError, match="ServerException"):
                call()
        assert tasks.describe(arn)["lastStatus"] == "RUNNING"
        assert "RUNNING" in homeport.command("status").stdout
        assert answers(public)
        filled.unlink()
        until(lambda: writes(tasks), bool)
        assert "refused" not in str(tasks.ecs.list_clusters())
        tasks.wait(tasks.run(WEB), "RUNNING")
        homeport.down()
        filled = fill(small_disk)
        assert "No space left on device" in refused(homeport)
        filled.unlink()
        homeport.up()
        assert Tasks(homeport).describe(arn)["lastStatus"] == "STOPPED"
    finally:
        homeport.down()


def answers(address: str) -> bool:
    try:
        socket.create_connection((address, 80), timeout=1).close()
    except OSError:
        return False
    return True


def writes(tasks: Tasks) -> bool:
    try:
        tasks.ecs.create_cluster(clusterName="again")
    except (ClientError, BotoCoreError):
        return False
    return True


# --- kills ------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
@pytest.mark.feature("kill -9 at any moment: no acknowledged task is lost, started twice or left behind")
def test_kills_while_tasks_come_and_go(own_homeport: Callable[..., Homeport]) -> None:
    homeport = own_homeport()
    tasks = Tasks(homeport)
    random = Random(3)
    wanted: dict[str, int | None] = {}  # exit code, None: runs until it is stopped
    stopped: set[str] = set()
    for number in range(24):
        with contextlib.suppress(BotoCoreError):  # the control plane is dead: not acknowledged
            code = random.choice([None, 0, 3])
            end = "exec sleep 1000" if code is None else f"exit {code}"
            arn = tasks.run(f"echo started; {end}")
            wanted[arn] = code
            if random.random() < 0.3:
                tasks.ecs.stop_task(cluster="tests", task=arn)
                stopped.add(arn)
        if number % 4 == 3:
            victim = random.choice(["server", "agent", "containerd"])
            with contextlib.suppress(AssertionError, ProcessLookupError):  # dead already
                os.kill(process(homeport, victim), signal.SIGKILL)
            time.sleep(random.random())
    until(lambda: writes(tasks), bool)
    for arn, code in wanted.items():
        ends = code is not None or arn in stopped
        task = tasks.wait(arn, "STOPPED" if ends else "RUNNING", 60)
        if ends and arn not in stopped:
            assert task["containers"][0]["exitCode"] == code, task
        output = homeport.state / "agent" / "logs" / arn.rpartition("/")[2] / "app" / "stdout"
        assert not output.exists() or output.read_text() in ("", "started\n")
    there = tasks.ecs.list_tasks(cluster="tests")["taskArns"]
    addresses = [tasks.address(tasks.describe(arn)) for arn in there]
    assert len({private for private, _ in addresses}) == len({public for _, public in addresses}) == len(there)
    names = {f"{arn.rpartition('/')[2]}-0" for arn in there}
    until(lambda: set(ctr(homeport, "containers", "ls", "-q")), lambda seen: seen == names)


# --- odd commands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("logs nothing-like-it", "No task"),
        ("logs ../..", "No task"),
        ("story x", "ARN"),
        ("image rm nosuch", "no image"),
        ("image rm ", "invalid reference format"),
        ("image load /nosuch", "no file"),
        ("image load /etc/passwd", "not an image archive"),
        ("image pull 127.0.0.1:1/x", "connection refused"),
        ("backup /nosuch/file", "No such file"),
        ("restore /etc/passwd", "homeport down"),
        ("reset", "--ephemeral"),
        ("supervise", "already runs"),
    ],
)
def test_odd_commands_are_explained(homeport: Homeport, command: str, text: str) -> None:
    done = homeport.command(*command.split(" "), check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert text in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["status", "logs x", "env", "image ls", "down", "backup x", "restart", "reset"])
def test_a_state_that_was_never_started_is_told_and_not_made(tmp_path: Path, command: str) -> None:
    done = Homeport(tmp_path / "none").command(*command.split(" "), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "homeport up" in done.stderr
    assert not (tmp_path / "none").exists()


def test_what_is_piped_is_plain(homeport: Homeport) -> None:
    for command in ("status", "image ls", "env"):
        said = homeport.command(*command.split(" ")).stdout
        assert said
        assert "\x1b" not in said
    assert set(json.loads(homeport.command("status", "--json").stdout)) >= {"control_plane", "nodes", "tasks"}
