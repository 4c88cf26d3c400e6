"""EFS volumes by NFS, between a server and tasks in the test machine; and what becomes of them without the server."""

from __future__ import annotations

import time
from typing import Any

import pytest

from support.tasks import until
from support.vm.node import SLOW, Guest

BY_NAME, CONFIGURED = "fs-0123abcd", "fs-0456abcd"
NAME = f"{BY_NAME}.efs.us-east-1.amazonaws.com"
# The kernel's server for NFSv4 alone; clients of before its start have 10 s to come back.
SERVER = """
set -e
mkdir -p /srv/files/web
chmod 1777 /srv/files/web
echo '/srv/files *(rw,insecure,no_root_squash,no_subtree_check,fsid=0)' >/etc/exports
mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
exportfs -ra
pgrep -x rpc.mountd >/dev/null || rpc.mountd --no-nfs-version 3
rpc.nfsd --no-nfs-version 3 --grace-time 10 --lease-time 10 4
"""
# A server that is gone and says nothing: its packets are lost.
SILENCE = """
nft add table inet silence
nft 'add chain inet silence input { type filter hook input priority 0 ; }'
nft add rule inet silence input tcp dport 2049 drop
"""


@pytest.fixture(scope="module")
def server(guest: Guest) -> Guest:
    """The machine with an NFS server and a Homeport that knows it, which it keeps: no other test has such volumes."""
    guest.machine.run(f"grep -q {NAME} /etc/hosts || echo 127.0.0.1 {NAME} >>/etc/hosts")
    guest.machine.run(SERVER)
    guest.homeport.down()
    guest.homeport.up("--efs", f"{CONFIGURED}=127.0.0.1:/")
    return guest


def start(guest: Guest, script: str, id: str = BY_NAME, root: str = "/web", **mount: Any) -> str:
    points = [{"sourceVolume": "efs", "containerPath": "/e", **mount}]
    shell = {"name": "app", "entryPoint": ["sh", "-c"], "command": [script], "stopTimeout": 2, "mountPoints": points}
    efs = {"fileSystemId": id, "rootDirectory": root}
    return guest.tasks.start([shell], volumes=[{"name": "efs", "efsVolumeConfiguration": efs}])


def ended(guest: Guest, arn: str) -> dict[str, Any]:
    return guest.tasks.wait(arn, "STOPPED", SLOW)


def code(task: dict[str, Any]) -> int | None:
    found: int | None = task["containers"][0].get("exitCode")
    return found


def mounts(guest: Guest) -> list[str]:
    return guest.machine.run("grep ' nfs4 ' /proc/mounts || true").splitlines()


def nothing_left(guest: Guest) -> None:
    until(lambda: mounts(guest), lambda found: found == [], SLOW)
    until(lambda: guest.machine.run("ls -A /run/homeport-*-nfs"), lambda found: found == "", SLOW)
    assert guest.machine.run("ps -C mount,umount,sync,dd -o args= || true") == ""


@pytest.mark.feature("EFS volumes by NFS, from the server that is configured or that EFS's name leads to")
def test_tasks_share_what_is_on_an_nfs_server(server: Guest) -> None:
    writer = ended(server, start(server, "echo hello >/e/file"))
    assert code(writer) == 0, writer
    reader = start(
        server, "exec 2>&1; grep hello /e/web/file && ! touch /e/other; exec sleep 1000", CONFIGURED, "/", readOnly=True
    )
    server.tasks.wait(reader, "RUNNING", SLOW)
    (mount,) = mounts(server)
    wanted = {"vers=4.1", "hard", "timeo=600", "retrans=2", "noresvport", "nosharecache", "addr=127.0.0.1"}
    assert wanted <= set(mount.split()[3].split(","))
    output = until(lambda: server.homeport.command("logs", reader).stdout, lambda seen: "touch" in seen, SLOW)
    assert "hello" in output
    assert "Read-only file system" in output
    server.tasks.stop(reader)
    nothing_left(server)
    missing = ended(server, start(server, "true", root="/none"))
    assert missing["stoppedReason"].startswith("ResourceInitializationError: failed to invoke EFS utils commands")
    assert f"{BY_NAME}: 127.0.0.1:/ has no root directory /none: No such file or directory" in missing["stoppedReason"]
    nothing_left(server)


def test_a_killed_agent_finds_its_mounts(server: Guest) -> None:
    task = server.tasks.wait(start(server, "until [ -e /e/end ]; do sleep 0.2; done; rm /e/end"), "RUNNING", SLOW)
    server.signal("KILL", "python3 -m homeport agent")
    server.machine.run("touch /srv/files/web/end")
    assert code(ended(server, task["taskArn"])) == 0
    nothing_left(server)


@pytest.mark.feature("An NFS server that doesn't answer: its tasks fail or stop in bounded time, others run on")
def test_a_server_that_is_gone(server: Guest) -> None:
    other = server.running("exec sleep 1000")
    # What it writes is not yet at the server when that is gone: its process can't end by itself, not even killed.
    writing = "while :; do dd if=/dev/zero of=/e/big bs=64k count=16 conv=notrunc 2>/dev/null; done"
    writer = start(server, writing)
    server.tasks.wait(writer, "RUNNING", SLOW)
    until(lambda: server.machine.run("ls /srv/files/web"), lambda found: "big" in found, SLOW)
    server.machine.run(SILENCE)
    try:
        began = time.monotonic()
        late = ended(server, start(server, "true"))
        assert time.monotonic() - began < 90
        assert "can't mount 127.0.0.1:/: no answer within 30 s" in late["stoppedReason"]
        server.tasks.ecs.stop_task(cluster="tests", task=writer)
        assert code(ended(server, writer)) == 137
        nothing_left(server)
        assert server.tasks.describe(other["taskArn"])["lastStatus"] == "RUNNING"
        assert code(server.stopped("exit 3")) == 3
    finally:
        server.machine.run("nft delete table inet silence")
    server.stop(other)
    assert code(ended(server, start(server, "test -e /e/file"))) == 0
    nothing_left(server)
