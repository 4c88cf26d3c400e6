"""The sample image: a real Apache, laid out and behaving as the official httpd:2.4."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from containerd_bed import Bed, with_bed

from homeport.agent.drivers import ContainerPlan
from homeport.agent.drivers.containerd.cgroups import Cgroups
from homeport.agentapi import ContainerSpec
from support.homeport import CACHE, ROOT, archive

pytestmark = pytest.mark.host

SCRIPT = "echo '<h1>Amazon ECS Sample App</h1>' > /usr/local/apache2/htdocs/index.html && httpd-foreground"


def processes(bed: Bed, id: str) -> list[str]:
    """Pids in a container's cgroup."""
    groups = Cgroups(bed.instance.name)
    base = groups.root if groups.unified else groups.root / "pids"
    return (base / bed.instance.name / bed.task_id / id / "cgroup.procs").read_text().split()


def test_apache_serves_and_stops_as_the_official_image_does(tmp_path: Path) -> None:
    async def scenario(bed: Bed) -> None:
        with archive("httpd").open("rb") as file:
            await bed.driver.images.load(file)
        image = await bed.driver.pull("httpd:2.4", lambda _: None)
        spec = ContainerSpec(name="web", image="httpd:2.4", entry_point=("sh", "-c"), command=(SCRIPT,))
        plan = ContainerPlan(id="web", task_id=bed.task_id, spec=spec, image=image, task_cpu=256, task_memory=512)
        await bed.driver.create(plan)
        started = await bed.driver.start(plan.id)
        # Another container in the same network namespace, given by its path, asks for the page.
        netns = f"/proc/{started.pid}/ns/net"
        script = "until wget -qO- http://127.0.0.1/; do sleep 0.05; done 2>/dev/null"
        asking = ContainerSpec(name="client", image="homeport-test", command=(script,))
        client = ContainerPlan(id="client", task_id=bed.task_id, spec=asking, image=bed.image, netns=netns)
        await bed.driver.create(client)
        await bed.driver.start(client.id)
        assert (await bed.stopped(client.id)).exit_code == 0
        assert await bed.lines(client, 1) == ["<h1>Amazon ECS Sample App</h1>"]
        await bed.wrote(plan, '"GET / HTTP/1.1" 200')
        assert len(processes(bed, "web")) >= 4  # the shell, the server and its children
        # The image's stop signal is SIGWINCH, which a shell as pid 1 doesn't pass on: as with the official image.
        await bed.driver.kill(plan.id, None)
        observed = await bed.driver.observe(plan.id)
        assert observed is not None
        assert observed.state == "running"
        await bed.driver.kill(plan.id, 9)
        assert (await bed.stopped(plan.id)).exit_code == 137

        graceful = ContainerPlan(
            id="alone", task_id=bed.task_id, spec=ContainerSpec(name="alone", image="httpd:2.4"), image=image
        )
        await bed.driver.create(graceful)
        await bed.driver.start(graceful.id)
        while "resuming normal operations" not in bed.output(graceful)[1]:
            assert await bed.driver.observe(graceful.id) is not None
        assert "exit signal" not in bed.output(graceful)[1]
        await bed.driver.kill(graceful.id, None)
        assert (await bed.stopped(graceful.id)).exit_code == 0

    with_bed(tmp_path, scenario)


def test_building_it_again_takes_the_cached_archive(tmp_path: Path) -> None:
    first = archive("httpd").read_bytes()
    before = time.monotonic()
    command = [ROOT / "images" / "build", "httpd", tmp_path / "again.tar", "--cache", CACHE / "packages"]
    subprocess.run(command, check=True)
    assert time.monotonic() - before < 15
    assert (tmp_path / "again.tar").read_bytes() == first
