"""Tasks of container instances on the real runtime: bridge, host and none, links, and what of the machine is shared."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from containerd_bed import IMAGE, PATIENCE, Bed, with_bed
from network_machine import HOST, Machine, machine, task_id

from homeport.agent.metadata.server import MetadataServer
from homeport.agent.network.apply import NodeNetwork
from homeport.agent.node import Node
from homeport.agent.runner import Parts
from homeport.agent.state import MemoryRecords
from homeport.agent.transport import CallFailed, Channel
from homeport.agentapi import ContainerSpec, PayloadTask, PortMapping, TaskSpec
from homeport.agentspec import Device
from homeport.services.ecs.spec import dependencies
from homeport.system import SystemClock

pytestmark = pytest.mark.host

INSTANCE, POOL = "7e570007", "198.18.4.0/22"
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/demo"
SERVE = "mkdir -p /tmp/www; echo {0} > /tmp/www/index.html; exec httpd -f -p {1} -h /tmp/www"


@dataclass
class Instance:
    """A container instance without a control plane: what it reports is kept here."""

    bed: Bed
    machine: Machine
    folder: Path
    node: Node | None = None
    told: dict[str, dict[str, Any]] = field(default_factory=dict)  # task id → its last report
    containers: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    records: MemoryRecords = field(default_factory=MemoryRecords)

    async def call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        id = params["task"].rpartition("/")[2]
        self.told[id] = params
        for container in params.get("containers", ()):
            self.containers.setdefault((id, container["containerName"]), {}).update(container)
        self.changed.set()
        return {}

    async def connect(self, endpoint: str, query: dict[str, str]) -> Channel:
        raise CallFailed(None, "there are no websockets here")

    async def serve(self, scenario: Callable[[Instance], Awaitable[None]]) -> None:
        """An agent from its start to its end, which leaves everything as it is."""
        clock = SystemClock()
        metadata = MetadataServer("http://127.0.0.1:1", b"k" * 32, lambda task, id: None, clock, ask=self.call)
        network = NodeNetwork(INSTANCE, POOL, self.folder, self.machine.root, listening=metadata.listen)
        await network.open()
        try:
            async with asyncio.TaskGroup() as group:
                parts = Parts(
                    self.bed.driver, network, self, self.records, clock, "boot", environment=metadata.environment
                )
                self.node = Node(parts, group)
                await self.node.adopt()
                loops = [group.create_task(self.node.watch()), group.create_task(metadata.run(self.node.at))]
                await scenario(self)
                for each in loops + [t for t in asyncio.all_tasks() if t.get_name().startswith("task ")]:
                    each.cancel()
        finally:
            await network.close()

    async def run(self, number: int, mode: str, *containers: ContainerSpec, **members: Any) -> str:
        id = task_id(number)
        spec = TaskSpec(
            "f", 1, "us-east-1", "us-east-1a", containers=containers, network_mode=mode, launch_type="EC2", **members
        )
        await self._accept(id, spec)
        return id

    async def stop(self, *ids: str) -> None:
        for id in ids:
            await self._accept(id, None)
            await self.until(id, "STOPPED")
        assert self.node is not None
        while self.node.busy():  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.01)

    async def _accept(self, id: str, spec: TaskSpec | None) -> None:
        assert self.node is not None
        arn, wanted = f"arn:aws:ecs:us-east-1:123456789012:task/demo/{id}", "RUNNING" if spec else "STOPPED"
        sent = {"arn": arn, "taskClusterArn": CLUSTER, "desiredStatus": wanted, "spec": msgspec.to_builtins(spec)}
        await self.node.accept(msgspec.convert(sent, PayloadTask))

    async def until(self, id: str, status: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while self.told.get(id, {}).get("status") not in (status, "STOPPED"):
                self.changed.clear()
                await self.changed.wait()
        assert self.told[id]["status"] == status, [c.get("reason") for c in self.containers.values()]
        return self.told[id]

    def port(self, id: str, name: str) -> int:
        return int(self.containers[id, name]["networkBindings"][0]["hostPort"])

    def output(self, id: str, name: str) -> str:
        path = self.bed.instance.state / "agent" / "logs" / id / name / "stdout"
        return path.read_text() if path.exists() else ""

    async def wrote(self, id: str, name: str, last: str) -> list[str]:
        """Waits for this last line, not for ever: the lines that are there then are what the test looks at."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not self.output(id, name).endswith(f"{last}\n"):  # noqa: ASYNC110 (a file tells nobody)
                    await asyncio.sleep(0.01)
        return self.output(id, name).splitlines()

    async def page(self, address: str, port: int, place: str = "lan") -> str:
        """What a web server answers to somebody on the LAN, or on the machine itself."""
        where = self.machine.lan if place == "lan" else self.machine.host
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return await asyncio.to_thread(where.run, _get, f"http://{address}:{port}/")
                except OSError:  # it has started, and doesn't listen yet
                    await asyncio.sleep(0.02)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=1) as answer:
        body: bytes = answer.read()
    return body.decode().strip()


def shell(name: str, script: str, **members: Any) -> ContainerSpec:
    links = members.get("links", ())
    members.setdefault("depends_on", dependencies({"links": links}))
    return ContainerSpec(name=name, image=IMAGE, entry_point=("sh", "-c"), command=(script,), stop_timeout=1, **members)


def on_an_instance(tmp_path: Path, *scenarios: Callable[[Instance], Awaitable[None]]) -> None:
    """Runs the scenarios, each with an agent of its own that finds what the one before has left."""

    async def work(bed: Bed) -> None:
        with machine(INSTANCE) as made:
            found = Instance(bed, made, tmp_path / "network")
            shown = _shown(made)
            try:
                for scenario in scenarios:
                    await found.serve(scenario)
            finally:
                network = NodeNetwork(INSTANCE, POOL, found.folder, made.root)
                await network.destroy()
            assert _shown(made) == shown

    with_bed(tmp_path, work)


def _shown(on: Machine) -> dict[str, str]:
    """IPv6 addresses come by themselves a second after a link does."""
    return {key: value for key, value in on.shows().items() if key not in ("addresses", "routes")}


def own(name: str) -> str:
    """A file of this process's in /proc, or of the machine's."""
    return Path("/proc/self", name).read_text()


def test_pages_from_dynamic_ports_and_links(tmp_path: Path) -> None:
    async def first(on: Instance) -> None:
        id = await on.run(
            5,
            "bridge",
            shell(
                "web",
                # The other container has started, which is not to say that it listens.
                "until wget -qO- http://store/; do sleep 0.1; done; "
                "cat /etc/hosts; wget -qO- $ECS_CONTAINER_METADATA_URI_V4; echo; echo told; "
                + SERVE.format("front", 80),
                ports=(PortMapping(container_port=80),),
                links=("db:store",),
            ),
            shell("db", SERVE.format("behind", 80)),
        )
        await on.until(id, "RUNNING")
        assert on.port(id, "web") >= 32768
        assert await on.page(HOST, on.port(id, "web")) == "front"
        assert await on.page("127.0.0.1", on.port(id, "web"), "host") == "front"
        behind, hosts, *_, metadata, told = await on.wrote(id, "web", "told")
        assert (behind, told) == ("behind", "told")
        assert f" {id[:12]}" not in hosts
        assert '"NetworkMode":"bridge"' in metadata
        assert f'"HostPort":{on.port(id, "web")}' in metadata
        assert on.containers[id, "db"].get("networkBindings", ()) == ()

    async def second(on: Instance) -> None:
        """After the agent's end: the same port, and nothing of it once the task is gone."""
        id = task_id(5)
        before = on.port(id, "web")
        assert await on.page(HOST, before) == "front"
        other = await on.run(6, "bridge", shell("web", SERVE.format("other", 80), ports=(PortMapping(80),)))
        await on.until(other, "RUNNING")
        assert on.port(other, "web") != before
        assert await on.page(HOST, on.port(other, "web")) == "other"
        await on.stop(id, other)
        with pytest.raises(OSError):
            on.machine.lan.run(socket.create_connection, (HOST, before), 0.5)

    on_an_instance(tmp_path, first, second)


def test_a_fixed_port_is_one_container_s(tmp_path: Path) -> None:
    async def scenario(on: Instance) -> None:
        fixed = (PortMapping(container_port=80, host_port=8080),)
        one = await on.run(5, "bridge", shell("web", SERVE.format("one", 80), ports=fixed))
        await on.until(one, "RUNNING")
        two = await on.run(6, "bridge", shell("web", SERVE.format("two", 80), ports=fixed))
        await on.until(two, "STOPPED")
        reason = on.containers[two, "web"]["reason"]
        assert reason.startswith("CannotStartContainerError: ")
        assert "Bind for 0.0.0.0:8080 failed: port is already allocated" in reason
        assert await on.page(HOST, 8080) == "one"
        await on.stop(one)
        again = await on.run(7, "bridge", shell("web", SERVE.format("again", 80), ports=fixed))
        await on.until(again, "RUNNING")
        assert await on.page(HOST, 8080) == "again"
        await on.stop(again)

    on_an_instance(tmp_path, scenario)


def test_the_machine_s_network_and_none(tmp_path: Path) -> None:
    async def scenario(on: Instance) -> None:
        look = "hostname; cat /etc/resolv.conf; echo $ECS_CONTAINER_METADATA_URI_V4-; "
        ports = (PortMapping(container_port=8088, host_port=8088),)
        host = await on.run(5, "host", shell("web", look + SERVE.format("host", 8088), ports=ports))
        none = await on.run(6, "none", shell("app", "ls /sys/class/net; sleep 100"))
        await on.until(host, "RUNNING")
        await on.until(none, "RUNNING")
        assert await on.page(HOST, 8088) == "host"
        assert on.port(host, "web") == 8088
        expected = [socket.gethostname(), *own("/etc/resolv.conf").splitlines(), "-"]
        assert await on.wrote(host, "web", "-") == expected
        assert await on.wrote(none, "app", "lo") == ["lo"]
        await on.stop(host, none)

    on_an_instance(tmp_path, scenario)


def test_what_of_the_machine_is_shared(tmp_path: Path) -> None:
    async def scenario(on: Instance) -> None:
        look = (
            f"tr '\\0' ' ' < /proc/{os.getpid()}/cmdline; echo; readlink /proc/self/ns/ipc; "
            "readlink /proc/self/ns/pid; mkdir -p /tmp/m && mount -t tmpfs none /tmp/m && echo mounted; "
            "test -c /dev/given && echo device; "
            "sleep 100"
        )
        device = Device("/dev/null", "/dev/given", ("read", "write"))
        app = shell("app", look, privileged=True, devices=(device,))
        id = await on.run(5, "bridge", app, pid_mode="host", ipc_mode="host")
        await on.until(id, "RUNNING")
        command, ipc, pid, *rest = await on.wrote(id, "app", "device")
        assert command.strip() == own("cmdline").replace("\0", " ").strip()
        assert (ipc, pid) == (os.readlink("/proc/self/ns/ipc"), os.readlink("/proc/self/ns/pid"))
        assert rest == ["mounted", "device"]
        await on.stop(id)

    on_an_instance(tmp_path, scenario)
