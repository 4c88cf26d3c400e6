"""Tasks that behave as badly as they can: what they did is told, and no other task suffers."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from containerd_registry import Content, layer_of
from test_health import IDLE, check, container, health, output, shell
from test_leaks import settled

from homeport.agent.drivers.containerd.cgroups import PIDS, Cgroups
from homeport.agent.drivers.containerd.manifests import this_machine
from support.census import census, namespace
from support.homeport import Homeport, archive
from support.tasks import WEB, Tasks, until

pytestmark = pytest.mark.host

BOMB = "bomb() { bomb | bomb & }; bomb; sleep 1000"


def groups(tasks: Tasks, arn: str) -> Iterator[Path]:
    """Each container's group of the hierarchy that counts processes."""
    cgroups = Cgroups(namespace(tasks.homeport))
    base = cgroups.root if cgroups.unified else cgroups.root / "pids"
    yield from (base / cgroups.instance / arn.rpartition("/")[2]).glob("*/cgroup.procs")


def pids(tasks: Tasks, arn: str) -> list[int]:
    """Of all processes of a task."""
    return [int(line) for group in groups(tasks, arn) for line in group.read_text().split()]


def first_of_namespace(pid: int) -> bool:
    """Whether it is 1 to its container: the lowest number here may be a child's, where numbers begin again."""
    status = Path(f"/proc/{pid}/status").read_text()
    return status.partition("NSpid:")[2].split("\n", 1)[0].split()[-1] == "1"


@pytest.mark.feature("A fork bomb is bounded by its task, and other tasks go on")
def test_a_fork_bomb_hurts_only_its_own_task(tasks: Tasks) -> None:
    quiet = tasks.start([shell("app", IDLE, **check("echo checked > /proc/1/fd/1", timeout=30, retries=5))])
    health(tasks, quiet, "HEALTHY")
    bomb = tasks.start([shell("app", BOMB, essential=True)])
    most = until(lambda: len(pids(tasks, bomb)), lambda count: count > 100)
    another = tasks.run(WEB)
    tasks.wait(another, "RUNNING", 90)
    checked = output(tasks, quiet, "app").count("checked")

    def look() -> int:
        nonlocal most
        most = max(most, len(pids(tasks, bomb)))
        return output(tasks, quiet, "app").count("checked")

    until(look, lambda count: count >= checked + 2)  # the other's checks go on
    assert tasks.describe(quiet)["healthStatus"] == "HEALTHY"
    assert most <= PIDS
    task = tasks.stop(bomb)
    assert task["stopCode"] == "UserInitiated"
    assert container(task, "app")["exitCode"] in (137, 143)
    until(lambda: list(groups(tasks, bomb)), lambda left: not left)
    for arn in (quiet, another):
        tasks.stop(arn)


@pytest.mark.timeout(400)
@pytest.mark.feature("A hundred containers that end at once: each exit code is told")
def test_a_hundred_containers_end_at_once(own_homeport: Callable[..., Homeport]) -> None:
    homeport = own_homeport()
    tasks = Tasks(homeport)
    tasks.wait(tasks.run("exit 0"), "STOPPED")
    web = tasks.run(WEB)
    tasks.wait(web, "RUNNING")
    before = at_rest_but(homeport, web)
    end = "trap 'exit {}' USR1; : > /tmp/ready; sleep 1000 & wait"
    arns = [
        tasks.start([shell(f"c{n}", end.format(10 * number + n + 1), stopTimeout=30) for n in range(10)], public=False)
        for number in range(10)
    ]
    for arn in arns:
        tasks.wait(arn, "RUNNING", 200)
    firsts = [pid for arn in arns for pid in pids(tasks, arn) if first_of_namespace(pid)]
    assert len(firsts) == 100
    until(lambda: all(Path(f"/proc/{pid}/root/tmp/ready").exists() for pid in firsts), bool)
    for pid in firsts:
        os.kill(pid, signal.SIGUSR1)
    ended = [tasks.wait(arn, "STOPPED", 120) for arn in arns]
    codes = [container(task, f"c{n}").get("exitCode") for task in ended for n in range(10)]
    assert codes == list(range(1, 101))
    assert {task["stopCode"] for task in ended} == {"EssentialContainerExited"}
    assert tasks.describe(web)["lastStatus"] == "RUNNING"
    assert settled(homeport, before, 90) == before


def at_rest_but(homeport: Homeport, arn: str) -> dict[str, list[str]]:
    """The census once no task's but this one's cgroup is left."""
    own = arn.rpartition("/")[2]
    runtime = namespace(homeport)
    seen: dict[str, list[str]] = until(
        lambda: census(homeport),
        lambda seen: all(own in path or "runtime" in path or path.endswith(runtime) for path in seen["cgroups"]),
    )
    return seen


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ("nosuch", "unable to find user nosuch: no matching entries in passwd file"),
        ("0:nosuch", "unable to find group nosuch: no matching entries in group file"),
    ],
)
def test_a_user_that_the_image_lacks_is_named(tasks: Tasks, user: str, reason: str) -> None:
    task = tasks.wait(tasks.run("true", user=user), "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert container(task, "app")["reason"] == f"CannotStartContainerError: {reason}"
    assert "exitCode" not in container(task, "app")


def test_what_cannot_write_to_its_root_says_so_itself(tasks: Tasks) -> None:
    arn = tasks.run("touch /here || exit 42", readonlyRootFilesystem=True)
    assert container(tasks.wait(arn, "STOPPED"), "app")["exitCode"] == 42
    until(lambda: tasks.homeport.command("logs", arn).stderr, lambda text: "Read-only file system" in text)


def many_layers(count: int, folder: Path) -> Path:
    """An archive of the test image with layers on top, of a file each; all in all so many."""
    content = Content()
    base = layer_of(archive("test"))
    layers = [(gzip.compress(base, 1, mtime=0), base, "+gzip")]
    for number in range(1, count):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo(f"layers/{number}")
            info.size = len(str(number))
            tar.addfile(info, io.BytesIO(str(number).encode()))
        layers.append((out.getvalue(), out.getvalue(), ""))
    image = content.image(layers, this_machine().architecture, Entrypoint=["/bin/sh", "-c"], Env=["PATH=/bin"])
    image["annotations"] = {"io.containerd.image.name": "layers:many"}
    index = {"schemaVersion": 2, "manifests": [image]}
    path = folder / "layers.tar"
    members = {f"blobs/{key.replace(':', '/')}": data for key, data in content.blobs.items()}
    members |= {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode()}
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.feature("Images of a hundred layers")
def test_an_image_of_as_many_layers_as_docker_makes(tasks: Tasks, tmp_path: Path) -> None:
    loaded = tasks.homeport.command("image", "load", str(many_layers(127, tmp_path)))
    assert "layers:many" in loaded.stdout
    script = "set -- /layers/*; echo $#; cat /layers/1 /layers/126; id -u; exit 0"
    arn = tasks.run(script, image="layers:many", user="web")
    task = tasks.wait(arn, "STOPPED")
    assert container(task, "app").get("exitCode") == 0, task["containers"][0].get("reason")
    until(lambda: tasks.homeport.command("logs", arn).stdout.split(), lambda words: words == ["126", "11261000"])
