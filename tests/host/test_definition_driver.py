"""What a definition asks of a container, as containers of the real runtime see it: shared IPC, terminals, input,
volumes of images and of Docker's driver, names, privileges."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from containerd_bed import Bed, with_bed
from volume_image import with_volumes

from homeport.agent.drivers import ContainerPlan, DriverError, Mount, Observed
from homeport.agent.drivers.containerd import logs
from homeport.agent.mounting import mounts
from homeport.agentapi import ContainerSpec, TaskSpec, Volume, VolumeFrom
from homeport.agentspec import ExtraHost
from support.homeport import archive

pytestmark = pytest.mark.host

OTHER = "b" * 32


def go(found: Observed | None) -> None:
    """Makes a file ``/go`` in the container."""
    assert found is not None
    Path(f"/proc/{found.pid}/root/go").touch()


def raw(bed: Bed, plan: ContainerPlan) -> bytes:
    """What it wrote to stdout, or its terminal, ends of lines as they are."""
    return logs.paths(bed.instance.state, plan.task_id, plan.spec.name)["stdout"].read_bytes()


def own(name: str) -> str:
    """A file of this process's in /proc, or where a link there leads."""
    path = Path("/proc/self", name)
    return str(path.readlink()) if path.is_symlink() else path.read_text()


async def end(bed: Bed, *plans: ContainerPlan) -> None:
    """Ends the containers and their tasks."""
    for plan in plans:
        await bed.driver.remove(plan.id)
    for task_id in {plan.task_id for plan in plans}:
        await bed.driver.remove_task(task_id)


def test_a_task_may_share_its_ipc(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        # A queue of POSIX messages is a file of the kernel's, and a file in /dev/shm is what shm_open makes.
        made = await bed.start(
            "mkdir /dev/mqueue/no; touch /dev/mqueue/q; echo x > /dev/shm/s; echo up; sleep 100", ipc_mode="task"
        )
        await bed.wrote(made, "up")
        see = "ls /dev/mqueue; cat /dev/shm/s; readlink /proc/self/ns/ipc; grep -c /dev/shm /proc/mounts"
        _, first, err = await bed.run(see, ipc_mode="task")
        assert first.split()[:2] == ["q", "x"], err
        assert "sleep 100" not in (await bed.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", ipc_mode="task"))[1]
        await bed.reopen()  # an agent that starts again finds the same
        assert (await bed.run(see, ipc_mode="task"))[1] == first
        assert (await bed.run("ls /dev/mqueue; ls /dev/shm"))[1] == ""
        other = await bed.start("ls /dev/mqueue; ls /dev/shm; echo done; sleep 100", ipc_mode="task", task_id=OTHER)
        await bed.wrote(other, "done")
        assert bed.output(other)[0] == "done\n"
        await end(bed, made, other)
        assert str(bed.instance.run / "mounts") not in own("mounts")

    with_bed(tmp_path, scenario)


def test_a_terminal(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        script = "test -t 0 && test -t 1 && test -t 2 && echo $TERM; echo to stderr >&2; readlink /proc/self/fd/1"
        plan = await bed.start(script, pseudo_terminal=True)
        assert (await bed.stopped(plan.id)).exit_code == 0
        await bed.wrote(plan, "/dev/pts/0\n")
        assert raw(bed, plan) == b"xterm\r\nto stderr\r\n/dev/pts/0\r\n"
        # It goes on while nobody listens, and after a restart where it ended.
        plan = await bed.start(
            "echo before; while ! test -e /go; do sleep 0.02; done; rm /go; echo after", pseudo_terminal=True
        )
        await bed.wrote(plan, "before")
        await bed.reopen()
        go(await bed.driver.observe(plan.id))
        await bed.wrote(plan, "after")
        await bed.stopped(plan.id)
        await bed.driver.restart(plan.id)
        go(await bed.driver.observe(plan.id))
        await bed.stopped(plan.id)
        await bed.wrote(plan, "after\nbefore\nafter\n")
        assert raw(bed, plan) == b"before\r\nafter\r\n" * 2

    with_bed(tmp_path, scenario)


def test_input_that_stays_open(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        observed, _, _ = await bed.run("exec cat")
        assert observed.exit_code == 0  # no input at all
        for terminal in (False, True):
            plan = await bed.start("echo up; exec cat", interactive=True, pseudo_terminal=terminal)
            await bed.wrote(plan, "up")
            await asyncio.sleep(0.3)  # nothing tells that something does not happen
            await bed.reopen()
            found = await bed.driver.observe(plan.id)
            assert found is not None
            assert found.state == "running", bed.output(plan)
            await bed.driver.kill(plan.id, 9)
            assert (await bed.stopped(plan.id)).exit_code == 137
        await bed.driver.remove_task(bed.task_id)
        assert not bed.instance.task(bed.task_id).exists()

    with_bed(tmp_path, scenario)


def test_volumes_of_an_image(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        asking = with_volumes(archive("test"), tmp_path / "v.tar", "asking:1", "/etc", "/data/", "/tmp/t")
        with asking.open("rb") as file:
            await bed.driver.images.load(file)
        image = await bed.driver.pull("asking:1", lambda progress: None)
        assert sorted(image.volumes) == ["/data/", "/etc", "/tmp/t"]
        first = ContainerSpec(name="first", image="asking:1")
        second = ContainerSpec(name="second", image=bed.image.reference, volumes_from=(VolumeFrom("first", True),))
        task = TaskSpec("f", 1, "r", "z", containers=(first, second))
        images = {"first": image, "second": bed.image}
        given = mounts(task, "first", images)
        bed.image = image
        script = "grep -q root /etc/passwd && echo mine > /data/file && touch /etc/new && ! touch /new"
        observed, _, err = await bed.run(script, mounts=given, readonly_root_filesystem=True)
        assert observed.exit_code == 0, err
        observed, out, err = await bed.run(
            "cat /data/file; ls /etc/new; touch /data/no", mounts=mounts(task, "second", images)
        )
        assert out == "mine\n/etc/new\n"
        assert "Read-only" in err
        # Another container of the image has its own.
        third = mounts(
            TaskSpec("f", 1, "r", "z", containers=(ContainerSpec(name="third", image="x"),)), "third", {"third": image}
        )
        observed, out, _ = await bed.run("ls /data; ls /etc/passwd", mounts=third)
        assert out == "/etc/passwd\n"
        await bed.driver.remove_task(bed.task_id)
        assert not any((bed.instance.state / "agent" / "volumes").iterdir())

    with_bed(tmp_path, scenario)


def test_options_of_the_local_driver(tmp_path: Path) -> None:
    def at(kind: str, name: str = "v", **options: str) -> tuple[Mount, ...]:
        volume = Volume(name, kind, driver="local", driver_opts=options, autoprovision=kind == "shared")  # type: ignore[arg-type]
        return (Mount(volume, "/v"),)

    memory = {"type": "tmpfs", "device": "tmpfs", "o": "size=3m,mode=700,noexec"}

    async def scenario(bed: Bed) -> None:
        run = bed.instance.run / "mounts"
        _, out, err = await bed.run(
            "grep ' /v ' /proc/mounts; stat -c %a /v; echo x > /v/x", mounts=at("task", **memory)
        )
        assert "tmpfs" in out, err
        assert "size=3072k" in out
        assert "noexec" in out
        assert out.endswith("700\n")
        _, out, _ = await bed.run("cat /v/x; dd if=/dev/zero of=/v/big bs=1M count=9 2>&1", mounts=at("task", **memory))
        assert out.startswith("x\n")
        assert "No space left" in out
        assert (await bed.run("ls /v", mounts=at("task", **memory), task_id=OTHER))[1] == ""
        folder = tmp_path / "folder"
        folder.mkdir()
        bind = {"type": "none", "device": str(folder), "o": "bind"}
        await bed.run("echo y > /v/y", mounts=at("task", **bind))
        assert (folder / "y").read_text() == "y\n"
        _, _, err = await bed.run("echo z > /v/z", mounts=at("task", **bind | {"o": "bind,ro"}))
        assert "Read-only" in err
        await bed.run("echo kept > /v/k", mounts=at("shared", "s", **memory))
        for task_id in (bed.task_id, OTHER):
            await bed.driver.remove_task(task_id)
        assert (folder / "y").exists()
        assert [p.name for p in run.iterdir()] == ["shared"]
        assert (await bed.run("cat /v/k", mounts=at("shared", "s", **memory)))[1] == "kept\n"
        for bad, text in (
            ({"type": "nfs", "device": ":/x", "o": "addr=10.0.0.1"}, "not 'nfs'"),
            ({"size": "1"}, "invalid option: 'size'"),
            ({"type": "tmpfs"}, "missing device"),
            (memory | {"o": "size=lots"}, "Invalid argument"),
            (bind | {"device": str(tmp_path / "none")}, "there is no folder"),
        ):
            with pytest.raises(DriverError, match=text):
                await bed.driver.create(bed.plan("true", mounts=at("task", "bad", **bad)))

    with_bed(tmp_path, scenario)


def test_names_that_a_container_sees(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        own = {
            "hostname": "mine",
            "extra_hosts": (ExtraHost("db", "10.1.2.3"),),
            "dns_servers": ("10.0.0.53",),
            "dns_search_domains": ("one.test", "two.test"),
        }
        script = "hostname; cat /etc/hostname; grep db /etc/hosts; cat /etc/resolv.conf; echo $HOSTNAME"
        _, out, _ = await bed.run(script, **own)
        lines = out.splitlines()
        assert lines[:4] == ["mine", "mine", "10.1.2.3 db", "nameserver 10.0.0.53"]
        assert lines[-2:] == ["search one.test two.test", "mine"]
        assert out.count("nameserver") == out.count("search") == 1
        _, out, _ = await bed.run(script)  # another one of the same task
        assert not {"mine", "10.1.2.3 db", "nameserver 10.0.0.53"} & set(out.splitlines())

    with_bed(tmp_path, scenario)


def test_privileges(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        script = (
            "grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; "
            "test -w /proc/sys/kernel/domainname && echo proc; ls /dev | wc -l; grep ' /sys sysfs' /proc/mounts; "
            "grep -c 'cgroup.* ro' /proc/mounts; mount -t tmpfs x /tmp && echo mounted"
        )
        _, plain, _ = await bed.run(script)
        _, out, err = await bed.run(script, privileged=True, capabilities_drop=("ALL",))
        has = next(line for line in own("status").splitlines() if line.startswith("CapEff"))
        lines = out.splitlines()
        assert lines[0] == has
        assert "Seccomp:\t0" in lines
        assert "Seccomp:\t2" in plain.splitlines()
        assert "sysfs rw" in out
        assert "sysfs ro" in plain
        assert lines[-1] == "mounted", err
        assert "mounted" not in plain
        assert int(out.split("proc\n")[1].splitlines()[0]) > 15
        _, out, _ = await bed.run("grep NoNewPrivs /proc/self/status", security_options=("no-new-privileges",))
        assert out.split() == ["NoNewPrivs:", "1"]
        with pytest.raises(DriverError, match="apparmor:x"):
            await bed.driver.create(bed.plan("true", security_options=("apparmor:x",)))

    with_bed(tmp_path, scenario)


def test_a_container_without_network(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        holder = await bed.start("sleep 100")
        found = await bed.driver.observe(holder.id)
        assert found is not None
        namespace = own(f"/proc/{found.pid}/ns/net")
        script = "readlink /proc/self/ns/net; cat /proc/net/dev"
        given = {"netns": f"/proc/{found.pid}/ns/net"}
        assert (await bed.run(script, **given))[1].startswith(namespace)
        _, out, _ = await bed.run(script, **given, disable_networking=True)
        assert not out.startswith(namespace)
        assert [line.split()[0] for line in out.splitlines()[3:]] == ["lo:"]

    with_bed(tmp_path, scenario)
