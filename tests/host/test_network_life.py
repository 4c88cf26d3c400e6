"""A network over its life: agents that die and return, agents side by side, and a machine left as it was found."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from network_machine import BLOCKED, HOST, LAN, Machine, group, interface, ip, machine, nft, task_id, tcp, told

from homeport.agent.network import NetworkError, netns
from homeport.agent.network.apply import NodeNetwork, destroy_all, host_routes
from homeport.agentapi import InterfaceSpec, Rule

pytestmark = pytest.mark.host

INSTANCE, OTHER, POOL, OTHER_POOL = "7e570002", "7e570003", "198.18.4.0/22", "198.18.8.0/22"
ANYWHERE = "0.0.0.0/0"
WEB = group("sg-web", tcp(80, ANYWHERE))

_BUSY = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from network_machine import group, interface, task_id, tcp, told
from homeport.agent.network.apply import NodeNetwork

async def main():
    network = NodeNetwork(sys.argv[2], "198.18.4.0/22", Path(sys.argv[3]), sys.argv[4])
    print("begin", flush=True)
    await network.open()
    await network.groups(told(group("sg-web", tcp(80, "0.0.0.0/0"))))
    while True:
        for number in range(5, 15):
            await network.attach(task_id(number), interface(number, "sg-web"))
            print("attached", flush=True)
        for number in range(5, 15):
            await network.detach(task_id(number))
            print("detached", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Machine]:
    with machine(INSTANCE, OTHER) as one:
        yield one
        for instance in (INSTANCE, OTHER):
            destroy_all(instance, tmp_path, one.root)


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    """The kernel frees namespaces on its own time, one after the other: other tests' are in the same queue."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def settled(look: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """What ``look`` sees once it is the same for a while: links come up on the kernel's own time, too."""
    seen, same = look(), 0
    while same < 10:
        time.sleep(0.02)
        before, seen = seen, look()
        same = same + 1 if seen == before else 0
    return seen


def kill_while_busy(on: Machine, state: Path, lines: int) -> None:
    """An agent that attaches and detaches, killed after so many lines of its output."""
    command = [sys.executable, "-c", _BUSY, str(Path(__file__).parent), INSTANCE, str(state), on.root]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        for _ in range(lines):
            assert agent.stdout.readline()
        agent.send_signal(signal.SIGKILL)


def test_destroy_leaves_the_machine_as_it_was(made: Machine, tmp_path: Path) -> None:
    async def live() -> None:
        network = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await network.open()
        for number, vpc in ((5, "vpc-1"), (6, "vpc-1"), (7, "vpc-2")):
            await network.groups(told(WEB, vpc=vpc))
            await network.attach(task_id(number), interface(number, "sg-web", vpc=vpc))
        assert made.shows() != before
        await network.destroy()
        await network.destroy()

    before = made.shows()
    asyncio.run(live())
    assert made.shows() == before
    destroy_all(INSTANCE, tmp_path, made.root)
    assert made.shows() == before
    assert not (tmp_path / "network").exists()


@pytest.mark.parametrize("lines", [1, 2, 7, 12, 17])
def test_destroy_after_a_kill_at_any_point(made: Machine, tmp_path: Path, lines: int) -> None:
    before = made.shows()
    kill_while_busy(made, tmp_path, lines)
    destroy_all(INSTANCE, tmp_path, made.root)
    assert made.shows() == before


@pytest.mark.parametrize("lines", [1, 4, 13])
def test_the_next_agent_finds_what_a_killed_one_left(made: Machine, tmp_path: Path, lines: int) -> None:
    async def again() -> None:
        network = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await network.open()
        try:
            for task in await network.attached():
                assert netns.is_namespace(f"hp-{INSTANCE}-t-{task}")
            await network.groups(told(WEB))
            web = made.place(await network.attach(task_id(5), interface(5, "sg-web")))
            web.serve(80)
            assert made.host.reach("198.18.4.5", 80) == "198.18.4.0"
            for task in await network.attached():
                await network.detach(task)
            assert netns.named(f"hp-{INSTANCE}-t-") == []
        finally:
            await network.destroy()

    kill_while_busy(made, tmp_path, lines)
    asyncio.run(again())


def test_tasks_go_on_without_an_agent_and_are_adopted(made: Machine, tmp_path: Path) -> None:
    async def live() -> None:
        first = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await first.open()
        await first.groups(told(WEB))
        path = await first.attach(task_id(5), interface(5, "sg-web"))
        web = made.place(path)
        web.serve(80)
        await first.close()
        assert made.lan.reach("198.18.4.5", 80) == LAN

        second = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await second.open()
        try:
            assert await second.attached() == [task_id(5)]
            assert made.lan.reach("198.18.4.5", 80) == LAN
            assert await second.attach(task_id(5), interface(5, "sg-web")) == path
            await second.groups(told(group("sg-web", tcp(81, ANYWHERE))))
            assert made.lan.call("198.18.4.5", 80) is None
        finally:
            await second.destroy()

    asyncio.run(live())


def test_two_agents_with_the_same_range_side_by_side(made: Machine, tmp_path: Path) -> None:
    async def live() -> None:
        one = NodeNetwork(INSTANCE, POOL, tmp_path / "one", made.root)
        two = NodeNetwork(OTHER, OTHER_POOL, tmp_path / "two", made.root)
        await one.open()
        await two.open()
        places = []
        for network, pool in ((one, "198.18.4"), (two, "198.18.8")):
            await network.groups(told(group("sg-web", tcp(80, ANYWHERE), members=("172.31.0.5",))))
            places.append(made.place(await network.attach(task_id(5), interface(5, "sg-web", pool=pool))))
            places[-1].serve(80)
        assert made.lan.reach("198.18.4.5", 80) == LAN
        assert made.lan.reach("198.18.8.5", 80) == LAN
        assert places[0].reach("198.18.8.5", 80) is not None  # from the outside, as any other machine
        assert await one.attached() == await two.attached() == [task_id(5)]

        await one.destroy()
        assert made.lan.call("198.18.4.5", 80) is None
        assert made.lan.reach("198.18.8.5", 80) == LAN
        assert "1" in made.shows()["sysctl"].split()[0]
        await two.destroy()

    before = made.shows()
    asyncio.run(live())
    assert made.shows() == before


def test_detach_takes_all_of_the_task_and_its_addresses_can_be_given_again(made: Machine, tmp_path: Path) -> None:
    async def live() -> None:
        network = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await network.open()
        await network.groups(told(WEB, group("sg-none")))
        router, hub = f"hp-{INSTANCE}-r-vpc-1", f"hp-{INSTANCE}-hub"
        other = made.place(await network.attach(task_id(6), interface(6, "sg-web")))

        def state() -> tuple[str, ...]:
            routes = (ip(f"-n {name} route") for name in (router, hub))
            return (*routes, ip(f"-n {router} -br link"), nft(router, "list ruleset"), *netns.named(f"hp-{INSTANCE}"))

        before = settled(state)
        web = made.place(path := await network.attach(task_id(5), interface(5, "sg-web")))
        web.serve(80)
        assert other.reach("172.31.0.5", 80) == "172.31.0.6"
        made.forget(path)
        await network.detach(task_id(5))
        await network.detach(task_id(5))
        eventually(lambda: state() == before)
        assert await network.attached() == [task_id(6)]

        heir = made.place(await network.attach(task_id(7), _of(interface(5, "sg-web"), "0a:00:00:00:07:07")))
        heir.serve(80)
        assert other.reach("172.31.0.5", 80) == "172.31.0.6"
        await network.destroy()

    asyncio.run(live())


def test_whoever_gets_the_addresses_next_inherits_no_connection(made: Machine, tmp_path: Path) -> None:
    async def live() -> None:
        network = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await network.open()
        open_ = group("sg-open", Rule(protocol="udp", from_port=53, to_port=53, cidrs=(ANYWHERE,)))
        await network.groups(told(open_, group("sg-shut")))
        client = made.lan.run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        with client:
            client.connect(("198.18.4.5", 53))
            first = made.place(await network.attach(task_id(5), interface(5, "sg-open")))
            with first.run(_udp_server) as server:
                client.send(b"one")
                assert server.recvfrom(16)[0] == b"one"
                server.sendto(b"answer", (LAN, client.getsockname()[1]))
                assert client.recv(16) == b"answer"
            made.forget(first.name)
            await network.detach(task_id(5))

            second = made.place(await network.attach(task_id(6), _of(interface(5, "sg-shut"), "0a:00:00:00:00:06")))
            with second.run(_udp_server) as server:
                client.send(b"two")
                with pytest.raises(TimeoutError):
                    server.recvfrom(16)

    asyncio.run(live())


def _udp_server() -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.settimeout(BLOCKED)
    server.bind(("0.0.0.0", 53))
    return server


def test_a_failed_attach_leaves_nothing(made: Machine, tmp_path: Path) -> None:
    async def live() -> None:
        network = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await network.open()
        try:
            await network.groups(told(WEB))
            good = interface(5, "sg-web")
            for bad in (
                interface(5, "sg;drop"),
                interface(5, "sg-web", pool="198.18.99"),
                interface(255, "sg-web", pool="198.18.7"),  # the agent's own
                _of(good, "not a mac"),
            ):
                with pytest.raises(NetworkError):
                    await network.attach(task_id(5), bad)
                assert await network.attached() == []
                assert netns.named(f"hp-{INSTANCE}-t-") == []
            assert await network.attach(task_id(5), good)
        finally:
            await network.destroy()

    asyncio.run(live())


def test_what_others_undo_comes_back(made: Machine, tmp_path: Path) -> None:
    async def live() -> None:
        network = NodeNetwork(INSTANCE, POOL, tmp_path, made.root, keep_seconds=0.05)
        await network.open()
        try:
            await network.groups(told(WEB))
            task = made.place(await network.attach(task_id(5), interface(5, "sg-web")))
            made.lan.serve(80)
            nft(made.host.name, "flush ruleset")
            await asyncio.to_thread(eventually, lambda: "homeport_" in nft(made.host.name, "list ruleset"))
            assert task.reach(LAN, 80) == HOST

            nft(f"hp-{INSTANCE}-r-vpc-1", "flush ruleset")
            await network.groups(told(group("sg-web")))  # refused, and so said in full
            assert task.reach(LAN, 80) == HOST
        finally:
            await network.destroy()

    asyncio.run(asyncio.wait_for(live(), 120))


def test_another_pool_after_a_restart(made: Machine, tmp_path: Path) -> None:
    async def live() -> None:
        for pool, start in ((POOL, "198.18.4"), (OTHER_POOL, "198.18.8")):
            network = NodeNetwork(INSTANCE, pool, tmp_path, made.root)
            await network.open()
            await network.groups(told(WEB))
            for task in await network.attached():
                await network.detach(task)
            web = made.place(await network.attach(task_id(5), interface(5, "sg-web", pool=start)))
            web.serve(80)
            assert made.lan.reach(f"{start}.5", 80) == LAN
            made.forget(web.name)
            await network.close()
        assert host_routes(made.root).count(POOL) == 0
        assert OTHER_POOL in host_routes(made.root)

    before = made.shows()
    asyncio.run(live())
    destroy_all(INSTANCE, tmp_path, made.root)
    assert made.shows() == before


def test_damaged_records_are_refused_and_left_alone(made: Machine, tmp_path: Path) -> None:
    async def live() -> None:
        network = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await network.open()
        await network.attach(task_id(5), interface(5, "sg-web"))
        await network.close()
        record = tmp_path / "network" / "tasks" / f"{task_id(5)}.json"
        record.write_text("{")
        again = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        with pytest.raises(NetworkError, match="damaged record"):
            await again.open()
        assert record.read_text() == "{"
        assert netns.is_namespace(f"hp-{INSTANCE}-t-{task_id(5)}")
        await again.destroy()

    asyncio.run(live())


def test_records_of_another_boot_mean_nothing(made: Machine, tmp_path: Path) -> None:
    tasks = tmp_path / "network" / "tasks"
    tasks.mkdir(parents=True)
    (tmp_path / "network" / "boot").write_text("another")
    (tasks / f"{task_id(5)}.json").write_text("{")
    Path(f"/run/netns/hp-{INSTANCE}-hub").touch()  # a name without a namespace, where /run isn't emptied

    async def live() -> None:
        network = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await network.open()
        assert await network.attached() == []
        await network.destroy()

    asyncio.run(live())


def _of(spec: InterfaceSpec, mac: str) -> InterfaceSpec:
    return msgspec.structs.replace(spec, mac=mac)
