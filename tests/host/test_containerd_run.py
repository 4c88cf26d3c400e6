"""Containers as they are really run: what a task definition and an image say is what the process sees."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from containerd_bed import Bed, with_bed

from homeport.agent.drivers import DriverError
from homeport.agent.drivers.containerd import pause
from homeport.agent.drivers.containerd.cgroups import Cgroups
from homeport.agentapi import Ulimit

pytestmark = pytest.mark.host


def test_exit_code_output_and_merging_with_the_image(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        observed, out, err = await bed.run("echo out; echo err >&2; exit 7")
        assert (observed.state, observed.exit_code, observed.oom) == ("stopped", 7, False)
        assert (out, err) == ("out\n", "err\n")
        assert observed.started_at is not None
        assert observed.finished_at is not None
        assert 0 <= observed.finished_at - observed.started_at < 10

        _, out, _ = await bed.run()
        assert out == "from the image\n"
        # An entry point of the definition drops the image's command.
        _, out, _ = await bed.run(entry_point=("echo", "mine"))
        assert out == "mine\n"
        _, out, _ = await bed.run(entry_point=("/bin/echo",), command=("a", "b"))
        assert out == "a b\n"
        environment = {"COLOUR": "red", "EXTRA": "a=b c"}
        _, out, _ = await bed.run(
            "echo $COLOUR $SHAPE $EXTRA $HOSTNAME $HOME; pwd", environment=environment, hostname="h1"
        )
        assert out == "red round a=b c h1 /root\n/srv\n"
        _, out, _ = await bed.run("pwd", working_directory="/made/for/it")
        assert out == "/made/for/it\n"

    with_bed(tmp_path, scenario)


def test_users_groups_and_capabilities(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        for user, expected in (
            (None, "uid=0(root) gid=0(root)"),
            ("web", "uid=1000(web) gid=1000(web) groups=2000(extra)"),
            ("web:extra", "uid=1000(web) gid=2000(extra)"),
            ("4321", "uid=4321 gid=0(root)"),
            ("1000:77", "uid=1000(web) gid=77"),
        ):
            _, out, _ = await bed.run("id", user=user)
            assert out.strip() == expected, user
        caps = "grep Cap /proc/self/status | cut -f2 | tr '\\n' ' '"
        _, out, _ = await bed.run(caps)
        assert out == "0000000000000000 00000000a80425fb 00000000a80425fb 00000000a80425fb 0000000000000000 "
        _, out, _ = await bed.run(caps, user="web")
        assert out == "0000000000000000 0000000000000000 0000000000000000 00000000a80425fb 0000000000000000 "
        _, out, _ = await bed.run(caps, capabilities_drop=("ALL",), capabilities_add=("NET_ADMIN",))
        assert out.split()[1] == "0000000000001000"
        with pytest.raises(
            DriverError, match="unable to find user nobody-here: no matching entries in passwd file"
        ) as e:
            await bed.driver.create(bed.plan("id", user="nobody-here"))
        assert e.value.name == "CannotStartContainerError"

    with_bed(tmp_path, scenario)


def test_a_bad_entry_point_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plan = bed.plan(entry_point=("no-such-program",))
        with pytest.raises(DriverError) as e:
            await bed.driver.create(plan)
        assert e.value.name == "CannotStartContainerError"
        assert 'exec: "no-such-program": executable file not found in $PATH' in e.value.text
        assert await bed.driver.observe(plan.id) is None
        assert await bed.driver.list() == []

    with_bed(tmp_path, scenario)


def test_stopping(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        polite = await bed.start("trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.05; done")
        stubborn = await bed.start("trap '' TERM; echo ready; sleep 1000")
        await bed.wrote(polite, "ready")
        await bed.wrote(stubborn, "ready")
        await bed.driver.kill(polite.id, None)
        await bed.driver.kill(stubborn.id, None)
        assert (await bed.stopped(polite.id)).exit_code == 4
        assert await bed.lines(polite, 2) == ["ready", "bye"]
        observed = await bed.driver.observe(stubborn.id)
        assert observed is not None
        assert observed.state == "running"
        await bed.driver.kill(stubborn.id, 9)
        assert (await bed.stopped(stubborn.id)).exit_code == 137
        # All may be repeated.
        await bed.driver.kill(stubborn.id, 9)
        await bed.driver.create(stubborn)
        assert (await bed.driver.start(stubborn.id)).state == "stopped"
        running = await bed.start("sleep 1000")
        for _ in range(2):
            await bed.driver.remove(running.id)
            assert await bed.driver.observe(running.id) is None
        await bed.driver.kill(running.id, None)
        await bed.driver.remove_task("f" * 32)

    with_bed(tmp_path, scenario)


def test_the_sandbox(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        script = """
            unshare -m true; echo unshare=$?
            mount -t tmpfs none /mnt; echo mount=$?
            head -c1 /proc/kcore | wc -c
            echo 1 >/proc/sysrq-trigger; echo sysrq=$?
            touch /sys/x; echo sys=$?
            ls -A /proc/scsi 2>/dev/null | wc -l
            ls /sys/class/net; ls /dev | tr '\\n' ' '; echo
            stat -f -c %b /dev/shm; cat /proc/sys/net/ipv4/ip_unprivileged_port_start
        """
        _, out, err = await bed.run(script)
        lines = out.splitlines()
        assert lines[0] != "unshare=0"
        assert lines[1] != "mount=0"
        assert lines[2] == "0"
        assert lines[3] != "sysrq=0"
        assert lines[4] != "sys=0"
        assert lines[5] == "0"
        assert "lo" in lines
        assert "eth0" not in lines
        assert lines[-2:] == [str((64 << 20) // 4096), "0"]
        assert "Operation not permitted" in err
        observed, out, err = await bed.run("touch /x", readonly_root_filesystem=True)
        assert observed.exit_code == 1
        assert "Read-only file system" in err
        _, out, _ = await bed.run("cat /proc/sys/net/core/somaxconn", system_controls={"net.core.somaxconn": "1234"})
        assert out == "1234\n"

    with_bed(tmp_path, scenario)


def test_names_and_limits_of_processes(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        script = (
            "hostname; cat /etc/hostname; tail -n1 /etc/hosts; grep -c nameserver /etc/resolv.conf; "
            "ulimit -n; ulimit -Hc"
        )
        _, out, _ = await bed.run(
            script,
            hostname="ip-10-0-0-9",
            address="10.0.0.9",
            ulimits=(Ulimit("nofile", 512, 1024), Ulimit("core", 0, 0)),
        )
        host, file, hosts, servers, files, core = out.splitlines()
        assert host == file == "ip-10-0-0-9"
        assert hosts.split() == ["10.0.0.9", "ip-10-0-0-9"]
        assert int(servers) >= 1
        assert (files, core) == ("512", "0")

    with_bed(tmp_path, scenario)


def test_limits_and_out_of_memory(tmp_path: Path) -> None:
    hog = "x=$(head -c 200000000 /dev/zero | tr '\\0' a); echo survived"

    async def scenario(bed: Bed) -> None:
        observed, out, _ = await bed.run(hog, memory=32)
        assert (observed.exit_code, observed.oom, out) == (137, True, "")
        # The task's limit: the victim is told from the sibling that goes on.
        sibling = await bed.start("echo ready; sleep 1000", task_id="b" * 32, task_memory=48, task_cpu=256)
        await bed.wrote(sibling, "ready")
        observed, _, _ = await bed.run(hog, task_id="b" * 32, task_memory=48, task_cpu=256, cpu=128)
        assert (observed.exit_code, observed.oom) == (137, True)
        other = await bed.driver.observe(sibling.id)
        assert other is not None
        assert (other.state, other.oom) == ("running", False)
        groups = Cgroups(bed.instance.name)
        if not groups.unified:
            cpu, memory = (groups.root / c / bed.instance.name / ("b" * 32) for c in ("cpu", "memory"))
            assert (cpu / "cpu.cfs_quota_us").read_text() == "25000\n"
            assert (cpu / "cpu.shares").read_text() == "256\n"
            assert (memory / "memory.limit_in_bytes").read_text() == f"{48 << 20}\n"
        await bed.driver.remove(sibling.id)
        await bed.driver.kill(sibling.id, 9)

    with_bed(tmp_path, scenario)


def test_many_at_once(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        plans = [bed.plan(f"exit {i}", task_id=f"{i:032x}") for i in range(8)]
        await asyncio.gather(*(bed.driver.create(plan) for plan in plans))
        await asyncio.gather(*(bed.driver.start(plan.id) for plan in plans))
        results = await asyncio.gather(*(bed.stopped(plan.id) for plan in plans[:1]))
        for plan in plans[1:]:
            results.append(await bed.stopped(plan.id))
        assert [observed.exit_code for observed in results] == list(range(8))
        assert {observed.id for observed in await bed.driver.list()} == {plan.id for plan in plans}

    with_bed(tmp_path, scenario)


def test_no_end_is_kept_of_what_is_removed(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        await bed.until(lambda: asyncio.sleep(0, "" in bed.seen))
        plan, holder = await bed.start("exit 3", pid_mode="task"), pause.container_id(bed.task_id)
        assert (await bed.stopped(plan.id)).exit_code == 3
        await bed.driver.remove(plan.id)
        await bed.driver.remove_task(bed.task_id)
        await bed.until(lambda: asyncio.sleep(0, bed.seen.count(holder) == 2))  # its start and its end
        assert bed.driver._events.exits == {}

    with_bed(tmp_path, scenario)
