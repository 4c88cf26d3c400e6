"""The size of tasks' ephemeral storage, on a file system with project quotas, which no CI kernel needs to have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.tasks import until
from support.vm.homeport import FOLDER
from support.vm.node import SLOW, Guest

# The disk's files are holes: 64 GiB of it take some MiB. fallocate gives files space without writing it.
DISK = """
set -e
truncate -s 64G /var/disk.img
mkfs.ext4 -q -m 0 -O quota,project -E quotatype=prjquota,lazy_itable_init=1,nodiscard /var/disk.img
modprobe quota_v2
mount -o loop,prjquota /var/disk.img /var/lib/homeport
"""
FULL = """
set -x
busybox fallocate -l 12G /layer || exit 2
! busybox fallocate -l 9G /data/volume || exit 3
! dd if=/dev/zero of=/data/more bs=1M count=4 || exit 4
echo full
until [ -e /go ]; do sleep 0.2; done
! dd if=/dev/zero of=/again bs=1M count=4 || exit 5
rm /layer
dd if=/dev/zero of=/again bs=1M count=4
"""
USAGE = f"""
import sys
sys.path.insert(0, "{FOLDER}/site/homeport/agent/drivers/containerd")
import pathlib, project_quota
print(*project_quota.usage(pathlib.Path("/var/lib/homeport"), int(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def bounded(guest: Guest) -> Iterator[Guest]:
    """The machine with Homeport's state on such a disk."""
    guest.homeport.down()
    guest.machine.run(DISK)
    guest.up()
    guest.homeport.load("test")
    yield guest
    guest.homeport.down()
    guest.machine.run("umount /var/lib/homeport; rm /var/disk.img")
    guest.up()


def start(guest: Guest, script: str, **definition: Any) -> str:
    points = [{"sourceVolume": "data", "containerPath": "/data"}]
    shell = {"name": "app", "entryPoint": ["sh", "-c"], "command": [script], "stopTimeout": 2, "mountPoints": points}
    return guest.tasks.start([shell], volumes=[{"name": "data"}], **definition)


def folder(arn: str) -> str:
    return f"/var/lib/homeport/agent/tasks/{arn.rpartition('/')[2]}"


def usage(guest: Guest, project: str) -> tuple[int, int]:
    """Bytes that the project has, and may have."""
    used, size = guest.machine.run(f"python3 -I -S -c '{USAGE}' {project}").split()
    return int(used), int(size)


@pytest.mark.feature("`ephemeralStorage` enforced where the file system has project quotas (ext4)")
def test_a_task_gets_its_ephemeral_storage_and_no_more(bounded: Guest) -> None:
    run = bounded.machine.run
    other = start(bounded, "exec sleep 1000")
    larger = start(bounded, "busybox fallocate -l 25G /layer && exec sleep 1000", ephemeralStorage={"sizeInGiB": 30})
    full = start(bounded, FULL)
    for arn in (other, larger, full):
        bounded.tasks.wait(arn, "RUNNING", SLOW)
    until(lambda: bounded.homeport.command("logs", full).stdout, lambda output: "full" in output, SLOW)
    project = run(f"cat {folder(full)}/project").strip()
    used, size = usage(bounded, project)
    assert size == 20 << 30
    assert 19 << 30 < used <= size
    until(lambda: usage(bounded, run(f"cat {folder(larger)}/project").strip())[0], lambda n: n > 25 << 30, SLOW)
    run(f"dd if=/dev/zero of=/proc/{bounded.pid(bounded.tasks.describe(other))}/root/data/mine bs=1M count=8")

    bounded.signal("KILL", "python3 -m homeport agent")
    bounded.up()
    assert usage(bounded, project)[1] == size, "an agent's death changes nothing"
    run(f"touch /proc/{bounded.pid(bounded.tasks.describe(full))}/root/data/../go")
    after = bounded.tasks.wait(full, "STOPPED", SLOW)
    assert after["containers"][0]["exitCode"] == 0, bounded.homeport.command("logs", full).stderr
    assert bounded.tasks.describe(other)["lastStatus"] == "RUNNING"
    for arn in (other, larger):
        bounded.tasks.ecs.stop_task(cluster="tests", task=arn)
        bounded.tasks.wait(arn, "STOPPED", SLOW)
    until(lambda: run("ls -d /var/lib/homeport/agent/tasks/*/ || true"), lambda left: "No such" in left, SLOW)
    assert usage(bounded, project) == (0, 0)
