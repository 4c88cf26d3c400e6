"""Volumes, devices, namespaces and limits of memory as containers of the real runtime see them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from containerd_bed import IMAGE, Bed, snapshots_in_use, with_bed

from homeport.agent.drivers import DriverError, Mount
from homeport.agent.drivers.containerd import syscalls, volumes
from homeport.agent.drivers.containerd.file_systems import Efs, FileSystems
from homeport.agent.drivers.containerd.nfs import Mounts
from homeport.agent.efs import targets
from homeport.agentapi import Device, Tmpfs, Volume

pytestmark = pytest.mark.host


def folders(bed: Bed) -> list[str]:
    """What there is of tasks' volumes."""
    top = bed.instance.state / "agent" / "volumes"
    return sorted(str(p.relative_to(top)) for p in top.rglob("*")) if top.exists() else []


def at(path: str, name: str = "data", **members: Any) -> tuple[Mount, ...]:
    return (Mount(Volume(name), path, **members),)


def test_a_volume_is_shared_and_goes_with_its_task(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        assert folders(bed) == []
        await bed.run("echo hello > /a/file; ln -s /etc /a/link; mkdir -p /a/x/y", mounts=at("/a"))
        observed, out, err = await bed.run(
            "cat /b/file; echo no > /b/file", mounts=at("/b", read_only=True), readonly_root_filesystem=True
        )
        assert (observed.exit_code, out) == (1, "hello\n")
        assert "Read-only file system" in err
        other = await bed.start("ls /b; sleep 100", mounts=at("/b"), task_id="b" * 32)
        await bed.driver.remove_task(bed.task_id)
        assert folders(bed) == ["b" * 32, "b" * 32 + "/data"]
        await bed.driver.remove(other.id)
        await bed.driver.remove_task("b" * 32)
        assert folders(bed) == []

    with_bed(tmp_path, scenario)


def test_a_volume_that_is_deeper_than_any_path_may_be_goes_too(tmp_path: Path) -> None:
    top = tmp_path / "volumes"
    top.mkdir()
    folder = os.open(top, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("ddddd", dir_fd=folder)
        below = os.open("ddddd", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    for _ in range(2):
        asyncio.run(volumes.remove(top))
        assert not top.exists()


def test_an_empty_volume_gets_what_the_image_has_there(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        image = "ls -A /etc | grep -v resolv.conf | grep -v hosts | grep -v hostname"
        _, expected, _ = await bed.run(image)
        assert "passwd" in expected
        # One that came from another container isn't filled, nor is one that has something.
        _, out, _ = await bed.run("ls -A /etc", mounts=at("/etc", fill=False))
        assert "passwd" not in out
        _, out, _ = await bed.run(image, mounts=at("/etc", "other"))
        assert out == expected
        await bed.run("rm /etc/passwd", mounts=at("/etc", "other"))
        _, out, _ = await bed.run("ls -A /etc", mounts=at("/etc", "other"))
        assert "passwd" not in out
        _, out, _ = await bed.run("stat -c %a /made; stat -c %a /etc", mounts=at("/made", "third"))
        assert out == "755\n755\n"

    with_bed(tmp_path, scenario)


def test_a_copy_that_a_crash_cut_short_is_made_again(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        top = bed.instance.state / "agent" / "volumes" / bed.task_id
        (top / ".data.copy" / "half").mkdir(parents=True)
        (top / "data").mkdir()
        _, out, _ = await bed.run("ls /etc", mounts=at("/etc"))
        assert "passwd" in out
        assert "half" not in out
        # Complete, but only in part where it belongs: what is there stays, what is missing comes.
        (top / "data" / "passwd").write_text("mine\n")
        (top / ".data.ready").mkdir()
        for name in ("passwd", "late"):
            (top / ".data.ready" / name).write_text("from the image\n")
        _, out, _ = await bed.run("cat /etc/passwd /etc/late", mounts=at("/etc"))
        assert out == "mine\nfrom the image\n"
        assert sorted(p.name for p in top.iterdir()) == ["data"]

    with_bed(tmp_path, scenario)


def test_a_look_into_an_image_that_is_cancelled_or_killed_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        before = await snapshots_in_use(bed.instance)
        for seconds in (0, 0.001, 0.003, 0.01):
            await bed.reopen()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await bed.driver.pull(IMAGE, lambda progress: None)
        assert await snapshots_in_use(bed.instance) == before
        left = bed.instance.run / "look-left"
        (left / "m").mkdir(parents=True)
        syscalls.mount("tmpfs", str(left / "m"), "tmpfs", 0, "")
        await bed.reopen()
        assert [p for p in bed.instance.run.iterdir() if p.name.startswith("look-")] == []

    with_bed(tmp_path, scenario)


def test_a_path_in_the_container_may_be_a_link_or_a_file(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        # /made/link leads to the machine's /etc for whoever does not look at it from inside.
        outside = sorted(os.listdir("/etc"))
        plan = await bed.start("echo x > /bin/../tmp/../sub/file", mounts=at("/sub/../sub"))
        await bed.stopped(plan.id)
        with pytest.raises(DriverError, match="CannotStartContainerError"):
            await bed.driver.create(bed.plan("true", mounts=at("/bin/sh", "file")))
        for path, text in (("a/b", "must be absolute"), ("/", "can't be '/'"), ("/..", "can't be '/'")):
            with pytest.raises(DriverError, match=text):
                await bed.driver.create(bed.plan("true", mounts=at(path)))
        with pytest.raises(DriverError, match="Duplicate mount point: /a"):
            await bed.driver.create(bed.plan("true", mounts=at("/a") + at("/b/../a", "other")))
        assert sorted(os.listdir("/etc")) == outside
        assert await bed.driver.list() != []

    with_bed(tmp_path, scenario)


def test_folders_that_stay(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        host = tmp_path / "host" / "new"
        await bed.run("echo 1 > /h/file", mounts=(Mount(Volume("h", "host", str(host)), "/h"),))
        assert (host / "file").read_text() == "1\n"
        _, out, _ = await bed.run("cat /f", mounts=(Mount(Volume("h", "host", str(host / "file")), "/f"),))
        assert out == "1\n"
        mount = Mount(Volume("h", "host", str(host / "file")), "/etc")
        with pytest.raises(DriverError, match=r"CannotStartContainerError: .*not a directory"):
            await bed.driver.create(bed.plan("true", mounts=(mount,)))
        mount = Mount(Volume("h", "host", str(host / "file" / "below")), "/h")
        with pytest.raises(DriverError, match=r"CannotCreateContainerError: .*Not a directory: .*/file/below"):
            await bed.driver.create(bed.plan("true", mounts=(mount,)))
        assert (host / "file").read_text() == "1\n"

        shared = (Mount(Volume("s", "shared"), "/s"),)
        with pytest.raises(DriverError, match="the shared volume 's' doesn't exist"):
            await bed.driver.create(bed.plan("true", mounts=shared))
        await bed.run("echo 2 > /s/file", mounts=(Mount(Volume("s", "shared", autoprovision=True), "/s"),))
        _, out, _ = await bed.run("cat /s/file", mounts=shared, task_id="b" * 32)
        assert out == "2\n"
        with pytest.raises(DriverError, match="the volume driver 'nfs'"):
            await bed.driver.create(bed.plan("true", mounts=(Mount(Volume("s", "shared", driver="nfs"), "/s"),)))

        def efs(path: str, id: str = "fs-0123abcd") -> tuple[Mount, ...]:
            return (Mount(Volume("e", "efs", path, file_system_id=id), "/e"),)

        with pytest.raises(DriverError, match=r"ResourceInitializationError: .*no folder .*/efs/fs-0123abcd"):
            await bed.driver.create(bed.plan("true", mounts=efs("/")))
        (bed.instance.state / "efs" / "fs-0123abcd" / "web").mkdir(parents=True)
        await bed.run("echo 3 > /e/file; ln -s / /e/out; ln -s /web /e/in", mounts=efs("/web"))
        _, out, _ = await bed.run("cat /e/web/file", mounts=efs("/"))
        assert out == "3\n"
        # Links inside the file system stay inside.
        _, out, _ = await bed.run("ls /e", mounts=efs("/web/out/../.."))
        assert out == "web\n"
        for path, id in (("/none", "fs-0123abcd"), ("/", "../../.."), ("/web/file", "fs-0123abcd")):
            with pytest.raises(DriverError, match="ResourceInitializationError"):
                await bed.driver.create(bed.plan("true", mounts=efs(path, id)))
        await bed.driver.remove_task(bed.task_id)
        assert (host / "file").exists()
        assert (bed.instance.state / "efs" / "fs-0123abcd" / "web" / "file").exists()

    with_bed(tmp_path, scenario)


@pytest.mark.skipif("nfs4" in Path("/proc/filesystems").read_text(), reason="this kernel has an NFS client")
def test_a_kernel_without_nfs_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        mounts = Mounts(tmp_path / "nfs")
        systems = FileSystems(Efs(targets({"fs-0123abcd": "127.0.0.1:/"})), tmp_path, mounts)
        reason = r"ResourceInitializationError: .*fs-0123abcd: can't mount 127.0.0.1:/: .* has no NFS client"
        with pytest.raises(DriverError, match=reason):
            await systems.folder("task", Volume("e", "efs", "/", file_system_id="fs-0123abcd"))
        await systems.release("task")
        assert list((tmp_path / "nfs").iterdir()) == []

    asyncio.run(scenario())


def test_containers_that_share_their_processes(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        first = await bed.start("exec sleep 4321", pid_mode="task")
        see = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
        observed, out, _ = await bed.run(f"(sleep 987 &) ; {see}", pid_mode="task")
        assert "sleep 4321" in out
        assert "/pause" in out
        assert observed.exit_code == 0
        # One that ends takes only its own processes along, and those that it leaves do not stay as zombies.
        _, out, _ = await bed.run(f"{see}; grep -h State /proc/[0-9]*/status", pid_mode="task")
        assert "sleep 4321" in out
        assert "sleep 987" not in out
        assert "zombie" not in out
        # Even one that may trace sees nothing of the machine by way of process 1.
        _, out, _ = await bed.run(
            "ls -A /proc/1/root; ls -A /proc/1/root/..", pid_mode="task", capabilities_add=("SYS_PTRACE",)
        )
        assert sorted(set(out.split())) == ["dev", "pause", "proc"]
        _, out, _ = await bed.run(see)
        assert "4321" not in out
        other = await bed.start("exec sleep 55", pid_mode="task", task_id="b" * 32)
        _, out, _ = await bed.run(see, pid_mode="task")
        assert "sleep 55" not in out
        for plan in (first, other):
            await bed.driver.kill(plan.id, 9)
            await bed.driver.remove(plan.id)
            await bed.driver.remove_task(plan.task_id)
        assert not any(id.endswith("-pause") for id in {o.id for o in await bed.driver.list()})

    with_bed(tmp_path, scenario)


def test_a_restarted_container_keeps_its_volume_and_its_namespace(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        script = "echo x >> /v/file; cat /v/file; readlink /proc/self/ns/pid"
        plan = await bed.start(script, mounts=at("/v"), pid_mode="task")
        await bed.stopped(plan.id)
        before = await bed.lines(plan, 2)
        await bed.driver.restart(plan.id)
        await bed.stopped(plan.id)
        again = await bed.lines(plan, 5)
        assert again[2:] == ["x", *before]

    with_bed(tmp_path, scenario)


def test_containers_made_side_by_side_share_one_holder(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plans = [bed.plan("readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc", pid_mode="task") for _ in range(4)]
        await asyncio.gather(*(bed.driver.create(plan) for plan in plans))
        for plan in plans:
            await bed.driver.start(plan.id)
            await bed.stopped(plan.id)
        seen = [await bed.lines(plan, 2) for plan in plans]
        assert len({pid for pid, _ in seen}) == 1
        assert len({ipc for _, ipc in seen}) == 4

    with_bed(tmp_path, scenario)


def test_kernel_options(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        _, out, _ = await bed.run("mount | grep -o ' /dev/shm .*'", shared_memory=7)
        assert "size=7168k" in out
        _, out, _ = await bed.run("mount | grep -c ' /dev/shm ' || true", ipc_mode="none")
        assert out == "0\n"
        tmpfs = (Tmpfs("/t", 3, ("exec", "mode=700")),)
        _, out, err = await bed.run("mount | grep ' /t '; stat -c %a /t; echo x > /t/x", tmpfs=tmpfs)
        assert "size=3072k" in out
        assert "noexec" not in out
        assert out.endswith("700\n")
        assert err == ""
        devices = (Device("/dev/null", "/dev/hole", ("read", "write")),)
        _, out, err = await bed.run("ls -l /dev/hole; echo x > /dev/hole; echo $?", devices=devices)
        assert out.startswith("c")
        assert out.endswith("0\n"), err
        for path in ("/dev/none-such", "/etc/passwd"):
            with pytest.raises(DriverError, match="error gathering device information"):
                await bed.driver.create(bed.plan("true", devices=(Device(path),)))
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
        group = "/sys/fs/cgroup/memory"
        script = f"cat {group}/memory.memsw.limit_in_bytes {group}/memory.swappiness"
        _, out, _ = await bed.run(script, memory=64, max_swap=32, swappiness=10)
        if not (Path(group).parent / "cgroup.controllers").exists():
            assert out.split() == [str(96 << 20), "10"]

    with_bed(tmp_path, scenario)


def test_an_init_process(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        script = "cat /proc/1/cmdline | tr '\\0' ' '; (sh -c 'sleep 0.05 &'); sleep 0.3; grep -h State /proc/*/status"
        observed, out, _ = await bed.run(script + "; exit 5", init=True, readonly_root_filesystem=True)
        assert out.startswith("/sbin/docker-init -- ")
        assert "zombie" not in out
        assert observed.exit_code == 5
        plan = await bed.start("echo up; sleep 1000", init=True)
        await bed.wrote(plan, "up")
        await bed.driver.kill(plan.id, None)  # a shell that is process 1 would not hear it
        assert (await bed.stopped(plan.id)).exit_code == 143

    with_bed(tmp_path, scenario)
