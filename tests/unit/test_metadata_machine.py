"""The metadata endpoint on the machine's loopback, for tasks in the machine's own network."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import msgspec
import pytest

from homeport.agent.drivers.usage import Traffic, Usage
from homeport.agent.metadata import machine
from homeport.agent.metadata.environment import endpoint_id
from homeport.agent.metadata.server import MACHINE_CONNECTIONS, MetadataServer
from homeport.agent.plan import Container, Facts, TaskGoal
from homeport.agentapi import ContainerSpec, TaskSpec
from homeport.system import SystemClock

KEY = b"k" * 32
CLUSTER = "arn:aws:ecs:us-east-1:1:cluster/demo"
MODES = ("host", "bridge", "none", "host")


class OneTask:
    """Task number ``n`` of the node, of one container ``app``."""

    def __init__(self, number: int, mode: str) -> None:
        id = f"{number:032x}"
        app = ContainerSpec(name="app", image="i")
        spec = TaskSpec("web", 1, "us-east-1", "us-east-1a", containers=(app,), network_mode=mode, launch_type="EC2")
        self.goal = TaskGoal(arn=f"arn:aws:ecs:us-east-1:1:task/demo/{id}", cluster=CLUSTER, task_id=id, spec=spec)
        self.facts = Facts(containers={"app": Container(state="running")}, network="attached")
        self.endpoint = endpoint_id(KEY, id, "app")


async def unprotected(operation: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"protectedTasks": [{"taskArn": params["tasks"][0], "protectionEnabled": False}], "failures": []}


def address() -> str:
    """Of an agent that nobody else on this machine is."""
    return machine.address(os.urandom(4).hex())


class Bed:
    def __init__(self, here: str) -> None:
        self.here, self.tasks = here, [OneTask(number, mode) for number, mode in enumerate(MODES)]
        usage = Usage(read_at=1.0, networks={"eth0": Traffic(rx_bytes=5)})
        self.server = MetadataServer(
            "http://127.0.0.1:1", KEY, lambda task, id: usage, SystemClock(), here=here, ask=unprotected
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.here, machine.PORT)

    async def ask(self, path: str) -> tuple[int, Any]:
        """Status and what is answered; (0, None) where the connection ends at once."""
        reader, writer = await self.connect()
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        try:
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        except ConnectionError:
            head, body = b"", b""
        writer.close()
        if not head:
            return 0, None
        return int(head.split()[1]), msgspec.json.decode(body) if b"application/json" in head else body


def run(test: Callable[[Bed], Awaitable[None]], here: str | None = None) -> None:
    async def within() -> None:
        bed = Bed(here or address())
        running = asyncio.create_task(bed.server.run(lambda vpc_id, address: None, lambda: bed.tasks))
        await asyncio.sleep(0)  # it listens
        try:
            async with asyncio.timeout(20):
                await test(bed)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(within())


def test_the_path_says_which_task_asks() -> None:
    async def test(bed: Bed) -> None:
        for task in (bed.tasks[0], bed.tasks[3]):
            base = bed.server.environment(task.goal, "app")["ECS_CONTAINER_METADATA_URI_V4"]
            path = base.removeprefix(f"http://{bed.here}:{machine.PORT}")
            assert path == f"/v4/{task.endpoint}"
            assert (await bed.ask(f"{path}/task"))[1]["TaskARN"] == task.goal.arn
            assert (await bed.ask(path))[1]["Name"] == "app"
            assert (await bed.ask(f"/v3/{task.endpoint}"))[0] == 200
            status, stats = await bed.ask(f"{path}/stats")
            assert (status, stats["name"]) == (200, "/app")
            assert "networks" not in stats, "the machine's interfaces are not the container's"
            assert (await bed.ask(f"/api/{task.endpoint}/task-protection/v1/state"))[0] == 200

    run(test)


def test_what_names_no_task_in_the_machines_network_is_told_nothing() -> None:
    async def test(bed: Bed) -> None:
        others = [path for task in bed.tasks[1:3] for path in (f"/v4/{task.endpoint}", f"/v3/{task.endpoint}/task")]
        for path in ("/", "/v2/metadata", "/v2/credentials", "/v4/", f"/v4/{'0' * 32}", "/metrics", "/join", *others):
            assert (await bed.ask(path))[0] == 404, path

    run(test)


def test_variables_name_only_what_the_task_reaches() -> None:
    async def test(bed: Bed) -> None:
        given = [bed.server.environment(task.goal, "app") for task in bed.tasks]
        assert sorted(given[0]) == ["ECS_AGENT_URI", "ECS_CONTAINER_METADATA_URI", "ECS_CONTAINER_METADATA_URI_V4"]
        assert all(text.startswith(f"http://{bed.here}:{machine.PORT}/") for text in given[0].values())
        assert given[1]["ECS_CONTAINER_METADATA_URI_V4"].startswith("http://169.254.170.2/v4/")
        assert given[2] == {}

    run(test)


def test_while_another_has_the_port_no_task_is_sent_there() -> None:
    here = address()
    other = socket.create_server((here, machine.PORT))

    async def test(bed: Bed) -> None:
        goal = bed.tasks[0].goal
        assert bed.server.environment(goal, "app") == {}
        other.close()
        assert "ECS_CONTAINER_METADATA_URI_V4" in bed.server.environment(goal, "app")
        assert (await bed.ask(f"/v4/{bed.tasks[0].endpoint}"))[0] == 200

    with contextlib.closing(other):
        run(test, here)


def test_connections_there_are_bounded() -> None:
    async def test(bed: Bed) -> None:
        held = [await bed.connect() for _ in range(MACHINE_CONNECTIONS)]
        assert await bed.ask(f"/v4/{bed.tasks[0].endpoint}") == (0, None)
        for _, writer in held:
            writer.close()
        while (await bed.ask(f"/v4/{bed.tasks[0].endpoint}"))[0] != 200:  # until the server has seen them go
            pass

    run(test)


def test_a_fargate_node_has_none() -> None:
    async def within() -> None:
        server = MetadataServer("http://127.0.0.1:1", KEY, lambda task, id: None, SystemClock(), ask=unprotected)
        assert server.environment(OneTask(0, "host").goal, "app") == {}

    asyncio.run(within())


@pytest.mark.parametrize("instance", ["00000000", "ffffffff", "7f0000fe", "80fffe01"])
def test_addresses_are_loopback_ones_and_no_well_known_one(instance: str) -> None:
    found = IPv4Address(machine.address(instance))
    assert found.is_loopback
    assert found not in IPv4Network("127.0.0.0/10")
    assert found.packed[3] not in (0, 255)


def test_agents_have_addresses_of_their_own() -> None:
    instances = [f"{one:02x}{two:02x}4000" for one, two in itertools.product(range(128), range(0, 256, 5))]
    assert len({machine.address(instance) for instance in instances}) == len(instances)
