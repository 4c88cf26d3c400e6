"""A machine whose FORWARD chain drops, as Docker sets it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from network_machine import HOST, LAN, PATIENCE, Machine, group, interface, machine, task_id, tcp, told

from homeport.agent.network.apply import NodeNetwork, destroy_all

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(shutil.which("iptables") is None, reason="no iptables on this machine"),
]

INSTANCE, POOL = "7e570004", "198.18.4.0/22"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Machine]:
    with machine() as one:
        yield one
        destroy_all(INSTANCE, tmp_path, one.root)


def iptables(on: Machine, *arguments: str) -> str:
    command = ["ip", "netns", "exec", on.host_name, "iptables", "-w", "5", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def rules_of_ours(on: Machine) -> list[str]:
    return [rule for rule in iptables(on, "-S", "DOCKER-USER").splitlines() if INSTANCE in rule]


def start_docker(on: Machine) -> None:
    for line in ("-P FORWARD DROP", "-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-I FORWARD -j DOCKER-USER"):
        iptables(on, *line.split())


async def both_ways(on: Machine, state: Path, keep_seconds: float = 10.0, late_docker: bool = False) -> None:
    """A task that calls out and is called, then ``destroy``."""
    network = NodeNetwork(INSTANCE, POOL, state, on.root, keep_seconds=keep_seconds)
    await network.open()
    await network.groups(told(group("sg-web", tcp(80, "0.0.0.0/0"))))
    task = on.place(await network.attach(task_id(5), interface(5, "sg-web")))
    task.serve(80)
    on.lan.serve(80)
    if late_docker:
        start_docker(on)
        async with asyncio.timeout(PATIENCE):
            while len(await asyncio.to_thread(rules_of_ours, on)) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert task.reach(LAN, 80) == HOST
    assert on.lan.reach("198.18.4.5", 80) == LAN
    await network.destroy()


def test_docker_user_gets_two_tagged_rules_and_loses_them(made: Machine, tmp_path: Path) -> None:
    start_docker(made)
    before = iptables(made, "-S")
    asyncio.run(both_ways(made, tmp_path))
    assert iptables(made, "-S") == before


def test_forward_itself_where_there_is_no_docker_user(made: Machine, tmp_path: Path) -> None:
    iptables(made, "-P", "FORWARD", "DROP")
    before = iptables(made, "-S")
    asyncio.run(both_ways(made, tmp_path))
    assert iptables(made, "-S") == before


def test_a_chain_that_lets_packets_through_is_left_alone(made: Machine, tmp_path: Path) -> None:
    iptables(made, "-P", "FORWARD", "ACCEPT")
    before = iptables(made, "-S")

    async def live() -> None:
        network = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await network.open()
        assert iptables(made, "-S") == before
        await network.destroy()

    asyncio.run(live())


def test_a_docker_that_starts_later(made: Machine, tmp_path: Path) -> None:
    asyncio.run(both_ways(made, tmp_path, keep_seconds=0.05, late_docker=True))
    assert INSTANCE not in iptables(made, "-S")
    # Docker found forwarding on and relies on it
    assert made.shows()["sysctl"].split()[0] == "1"
