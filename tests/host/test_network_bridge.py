"""Containers in the bridge: their ports on the machine, what they reach, and what is left of them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from network_machine import BLOCKED, HOST, LAN, PATIENCE, Machine, ip, machine, nft, task_id

from homeport.agent.network import ContainerNetwork, netns
from homeport.agent.network.apply import NodeNetwork, destroy_all
from homeport.agentapi import PortMapping

pytestmark = pytest.mark.host

INSTANCE, OTHER, POOL, OTHER_POOL = "7e570005", "7e570006", "198.18.4.0/22", "198.18.8.0/22"
HUB = "198.18.7.255"  # the pool's last address
WEB = {"web": (PortMapping(container_port=80),)}
FIXED = {"web": (PortMapping(container_port=80, host_port=8080),)}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Machine]:
    with machine(INSTANCE, OTHER) as one:
        yield one
        for instance in (INSTANCE, OTHER):
            destroy_all(instance, tmp_path, one.root)


def live(made: Machine, state: Path, test: Callable[[NodeNetwork], Awaitable[None]]) -> None:
    async def run() -> None:
        network = NodeNetwork(INSTANCE, POOL, state, made.root)
        await network.open()
        try:
            await test(network)
        finally:
            await network.destroy()

    asyncio.run(run())


def port(network: ContainerNetwork, at: int = 0) -> int:
    found = network.bindings[at].host_port
    assert found is not None
    return found


def test_a_dynamic_port_serves_the_machine_and_others(made: Machine, tmp_path: Path) -> None:
    async def test(network: NodeNetwork) -> None:
        web = (await network.join(task_id(5), "bridge", WEB))["web"]
        assert (web.error, web.bindings[0].bind_ip, web.bindings[0].protocol) == ("", "0.0.0.0", "tcp")
        assert 32768 <= port(web) <= 60999
        place = made.place(web.netns)
        place.serve(80)
        place.serve(81)
        assert made.lan.reach(HOST, port(web)) == LAN
        assert made.host.reach(HOST, port(web)) == HOST
        assert made.host.reach("127.0.0.1", port(web)) == "198.18.4.0"
        for address, unpublished in ((HOST, 80), (HOST, 81), (HUB, 80), (HUB, 81), (web.address, 80)):
            assert made.lan.call(address, unpublished) is None
        made.lan.serve(7000)
        assert place.reach(LAN, 7000) == HOST
        made.forget(web.netns)

    live(made, tmp_path, test)


def test_containers_reach_their_own_task_and_published_ports_alone(made: Machine, tmp_path: Path) -> None:
    async def test(network: NodeNetwork) -> None:
        one = await network.join(task_id(5), "bridge", {"web": (), "db": (PortMapping(container_port=90),)})
        two = await network.join(task_id(6), "bridge", WEB)
        web, db, other = (made.place(n.netns) for n in (one["web"], one["db"], two["web"]))
        for place in (db, other):
            place.serve(80)
            place.serve(90)
        made.host.serve(9000)
        assert web.reach(one["db"].address, 80) == one["web"].address
        assert web.call(two["web"].address, 80) is None
        assert web.reach(HOST, port(two["web"])) is not None
        assert db.reach(HOST, port(one["db"])) is not None  # its own, by way of the machine
        for address in (HOST, "198.18.4.0"):
            assert web.call(address, 9000) is None
        assert other.call(one["db"].address, 90) is None
        for each in (*one.values(), *two.values()):
            made.forget(each.netns)

    live(made, tmp_path, test)


def test_a_container_bears_no_other_address(made: Machine, tmp_path: Path) -> None:
    async def test(network: NodeNetwork) -> None:
        networks = await network.join(task_id(5), "bridge", {"web": (), "db": ()})
        web, db = (made.place(networks[name].netns) for name in ("web", "db"))
        db.serve(80)
        name = os.path.basename(networks["web"].netns)
        ip(f"-n {name} addr add 172.16.0.77/32 dev eth0")
        assert web.reach(networks["db"].address, 80) == networks["web"].address
        assert web.call(networks["db"].address, 80, "172.16.0.77") is None
        for each in networks.values():
            made.forget(each.netns)

    live(made, tmp_path, test)


def test_a_port_in_use_is_refused_and_one_freed_can_be_taken_at_once(made: Machine, tmp_path: Path) -> None:
    async def test(network: NodeNetwork) -> None:
        made.host.serve(8081)
        used = await network.join(task_id(4), "bridge", {"web": (PortMapping(container_port=80, host_port=8081),)})
        taken = "driver failed programming external connectivity: Bind for 0.0.0.0:{} failed: port is already allocated"
        assert (used["web"].error, used["web"].bindings) == (taken.format(8081), ())
        first = (await network.join(task_id(5), "bridge", FIXED))["web"]
        made.place(first.netns).serve(80)
        assert made.lan.reach(HOST, 8080) == LAN
        assert (await network.join(task_id(6), "bridge", FIXED))["web"].error == taken.format(8080)
        with pytest.raises(OSError):
            made.host.serve(8080)
        made.forget(first.netns)
        await network.detach(task_id(5))
        assert made.lan.call(HOST, 8080) is None
        await network.detach(task_id(6))
        again = (await network.join(task_id(7), "bridge", FIXED))["web"]
        assert (again.error, port(again)) == ("", 8080)
        made.place(again.netns).serve(80)
        assert made.lan.reach(HOST, 8080) == LAN
        made.forget(again.netns)
        for number in (4, 7):
            await network.detach(task_id(number))
        assert await network.attached() == []
        made.host.serve(8080)
        assert made.lan.reach(HOST, 8080) == LAN

    live(made, tmp_path, test)


def test_ranges_and_udp(made: Machine, tmp_path: Path) -> None:
    async def test(network: NodeNetwork) -> None:
        ports = (
            PortMapping(container_port_range="5000-5009"),
            PortMapping(container_port=53, host_port=5353, protocol="udp"),
        )
        dns = (await network.join(task_id(5), "bridge", {"dns": ports}))["dns"]
        several, one = dns.bindings
        assert (several.container_port_range, several.host_port) == ("5000-5009", None)
        first, last = map(int, (several.host_port_range or "").split("-"))
        assert last - first == 9
        place = made.place(dns.netns)
        place.serve(5009)
        assert made.lan.reach(HOST, last) == LAN
        assert made.lan.call(HOST, first) is None
        assert (one.protocol, one.host_port) == ("udp", 5353)
        server = place.run(_udp, 53)
        with made.lan.run(_udp, 0) as client, server:
            client.sendto(b"question", (HOST, 5353))
            assert server.recvfrom(64) == (b"question", (LAN, client.getsockname()[1]))
        made.forget(dns.netns)

    live(made, tmp_path, test)


def test_ports_stay_when_the_agent_ends_and_are_the_next_one_s(made: Machine, tmp_path: Path) -> None:
    async def run() -> None:
        first = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await first.open()
        before = await first.join(task_id(5), "bridge", {**WEB, "none": ()})
        web = before["web"]
        made.place(web.netns).serve(80)
        await first.close()
        assert made.lan.reach(HOST, port(web)) == LAN

        second = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await second.open()
        try:
            assert made.lan.reach(HOST, port(web)) == LAN
            assert await second.attached() == [task_id(5)]
            assert await second.join(task_id(5), "bridge", {**WEB, "none": ()}) == before
            with pytest.raises(OSError):
                made.host.serve(port(web))
            other = (await second.join(task_id(6), "bridge", WEB))["web"]
            assert port(other) != port(web)
            assert other.address not in [network.address for network in before.values()]
            made.forget(web.netns)
            await second.detach(task_id(5))
            assert made.lan.call(HOST, port(web)) is None
        finally:
            await second.destroy()

    shown = made.shows()
    asyncio.run(run())
    assert made.shows() == shown


def test_what_a_killed_agent_left_half_made_is_removed(made: Machine, tmp_path: Path) -> None:
    async def run() -> None:
        first = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await first.open()
        networks = await first.join(task_id(5), "bridge", FIXED)
        await first.close()
        netns.remove(os.path.basename(networks["web"].netns))  # as if it had not come to that
        with suppress(FileExistsError):
            os.close(netns.create(f"hp-{INSTANCE}-c-99"))
        second = NodeNetwork(INSTANCE, POOL, tmp_path, made.root)
        await second.open()
        try:
            assert await second.attached() == []
            assert netns.named(f"hp-{INSTANCE}-c-") == []
            made.host.serve(8080)
            assert made.lan.reach(HOST, 8080) == LAN
        finally:
            await second.destroy()

    asyncio.run(run())


def test_two_agents_on_one_machine_never_give_the_same_port(made: Machine, tmp_path: Path) -> None:
    async def run() -> None:
        one = NodeNetwork(INSTANCE, POOL, tmp_path / "one", made.root)
        two = NodeNetwork(OTHER, OTHER_POOL, tmp_path / "two", made.root)
        await one.open()
        await two.open()
        first = [(await one.join(task_id(n), "bridge", WEB))["web"] for n in (5, 6)]
        second = [(await two.join(task_id(n), "bridge", WEB))["web"] for n in (5, 6)]
        assert len({port(network) for network in first + second}) == 4
        assert not (await one.join(task_id(7), "bridge", FIXED))["web"].error
        assert (await two.join(task_id(7), "bridge", FIXED))["web"].error
        for network in first + second:
            made.place(network.netns).serve(80)
            assert made.lan.reach(HOST, port(network)) == LAN
        assert made.place(first[0].netns).call(HOST, port(second[0])) is None  # a port of the machine like any other
        for network in first + second:
            made.forget(network.netns)
        await one.destroy()
        await two.destroy()

    shown = made.shows()
    asyncio.run(run())
    assert made.shows() == shown


def test_a_firewall_that_flushes_everything_is_repaired_with_all_ports(made: Machine, tmp_path: Path) -> None:
    async def run() -> None:
        network = NodeNetwork(INSTANCE, POOL, tmp_path, made.root, keep_seconds=BLOCKED)
        await network.open()
        web = (await network.join(task_id(5), "bridge", WEB))["web"]
        made.place(web.netns).serve(80)
        nft(made.host_name, "flush ruleset")
        async with asyncio.timeout(PATIENCE):
            while await asyncio.to_thread(made.lan.call, HOST, port(web)) != LAN:
                pass
        made.forget(web.netns)
        await network.destroy()

    asyncio.run(run())


def test_the_machine_s_own_network(made: Machine, tmp_path: Path) -> None:
    async def test(network: NodeNetwork) -> None:
        for _ in range(2):
            networks = await network.join(task_id(5), "host", {"web": (PortMapping(container_port=80, host_port=80),)})
        web = networks["web"]
        assert os.stat(web.netns).st_ino == os.stat(made.root).st_ino
        assert (web.address, port(web), web.bindings[0].container_port) == ("", 80, 80)
        assert await network.attached() == [task_id(5)]
        await network.detach(task_id(5))
        assert await network.attached() == []
        assert netns.named(f"hp-{INSTANCE}-h-") == []

    shown = made.shows()
    live(made, tmp_path, test)
    assert made.shows() == shown


def _udp(number: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("", number))
    made.settimeout(5)
    return made
