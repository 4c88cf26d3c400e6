"""Security groups, enforced by the kernel between real namespaces."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from network_machine import (
    BLOCKED,
    EVERYTHING,
    HOST,
    LAN,
    PATIENCE,
    Machine,
    Place,
    group,
    interface,
    ip,
    machine,
    nft,
    task_id,
    tcp,
    told,
)

from homeport.agent.network.apply import NodeNetwork
from homeport.agentapi import InterfaceSpec, Rule

pytestmark = pytest.mark.host

INSTANCE, POOL = "7e570001", "198.18.4.0/22"
ANYWHERE = "0.0.0.0/0"


class Node:
    """A network on a machine, with places in its tasks."""

    def __init__(self, on: Machine, network: NodeNetwork) -> None:
        self.machine, self.network = on, network

    async def task(self, spec: InterfaceSpec) -> Place:
        number = int(spec.private_address.rsplit(".", 1)[1])
        return self.machine.place(await self.network.attach(task_id(number), spec))


def on_a_node(test: Callable[[Node], Awaitable[None]], state: Path) -> None:
    async def run(made: Machine) -> None:
        network = NodeNetwork(INSTANCE, POOL, state, made.root)
        try:
            await network.open()
            await test(Node(made, network))
        finally:
            await network.destroy()

    with machine() as made:
        asyncio.run(run(made))


def test_two_tasks_reach_each_other_only_as_their_groups_allow_and_changes_count_at_once(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        await node.network.groups(told(group("sg-a"), group("sg-b")))
        a, b = await node.task(interface(5, "sg-a")), await node.task(interface(6, "sg-b"))
        b.serve(80)
        assert a.call("172.31.0.6", 80) is None  # default deny, also inside a subnet

        open_to_a = group("sg-b", tcp(80, groups=("sg-a",)))
        began = time.monotonic()
        await node.network.groups(told(open_to_a, group("sg-a", members=("172.31.0.5",))))
        assert a.reach("172.31.0.6", 80) == "172.31.0.5"
        assert time.monotonic() - began < 5
        assert b.call("172.31.0.5", 80) is None

        await node.network.groups(told(group("sg-a", members=())))  # no longer a member
        assert a.call("172.31.0.6", 80) is None
        await node.network.groups(told(group("sg-b", tcp(80, "172.31.0.5/32"))))
        assert a.reach("172.31.0.6", 80) == "172.31.0.5"
        await node.network.groups(told(group("sg-b", tcp(81, ANYWHERE))))
        assert a.call("172.31.0.6", 80) is None

    on_a_node(test, tmp_path)


def test_an_interface_has_the_rules_of_all_its_groups(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        await node.network.groups(told(group("sg-a", tcp(80, ANYWHERE)), group("sg-b", tcp(81, ANYWHERE))))
        both, client = await node.task(interface(5, "sg-a", "sg-b")), await node.task(interface(6, "sg-a"))
        for port in (80, 81, 82):
            both.serve(port)
        assert [client.reach("172.31.0.5", port) for port in (80, 81)] == ["172.31.0.6"] * 2
        assert client.call("172.31.0.5", 82) is None

    on_a_node(test, tmp_path)


def test_an_empty_egress_lets_nothing_out_but_answers(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        shut = group("sg-shut", tcp(80, ANYWHERE), egress=())
        narrow = group("sg-narrow", egress=(tcp(9000, f"{LAN}/32"),))
        await node.network.groups(told(shut, narrow, group("sg-open", EVERYTHING)))
        closed, other = await node.task(interface(5, "sg-shut")), await node.task(interface(6, "sg-open"))
        some = await node.task(interface(7, "sg-narrow"))
        closed.serve(80)
        other.serve(80)
        node.machine.lan.serve(9000)
        node.machine.lan.serve(9001)
        assert closed.call("172.31.0.6", 80) is None
        assert closed.call(LAN, 9000) is None
        assert other.reach("172.31.0.5", 80) == "172.31.0.6"
        assert some.reach(LAN, 9000) == HOST
        assert some.call(LAN, 9001) is None
        assert some.call("172.31.0.6", 80) is None

    on_a_node(test, tmp_path)


def test_unknown_groups_deny_until_they_are_told(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        web = await node.task(interface(5, "sg-web"))
        web.serve(80)
        assert node.machine.host.call("198.18.4.5", 80) is None
        await node.network.groups(told(group("sg-web", tcp(80, ANYWHERE)), complete=True))
        assert node.machine.host.reach("198.18.4.5", 80) == "198.18.4.0"
        await node.network.groups(told(complete=True))
        assert node.machine.host.call("198.18.4.5", 80) is None

    on_a_node(test, tmp_path)


def test_public_address_from_the_host_and_from_another_machine(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        await node.network.groups(told(group("sg-web", tcp(80, ANYWHERE), tcp(81, f"{LAN}/32"))))
        web = await node.task(interface(5, "sg-web"))
        hidden = await node.task(interface(6, "sg-web", public=False))
        for port in (80, 81, 82):
            web.serve(port)
        hidden.serve(80)
        host, lan = node.machine.host, node.machine.lan
        assert host.reach("198.18.4.5", 80) == "198.18.4.0"
        assert [host.call("198.18.4.5", port) for port in (81, 82)] == [None, None]
        assert [lan.reach("198.18.4.5", port) for port in (80, 81)] == [LAN, LAN]
        assert lan.call("198.18.4.5", 82) is None
        assert host.call("198.18.4.6", 80) is None
        assert host.call("172.31.0.5", 80) is None

    on_a_node(test, tmp_path)


def test_public_addresses_between_tasks_go_through_the_gateway_as_on_aws(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        groups = (
            group("sg-web", tcp(80, ANYWHERE), tcp(81, groups=("sg-web",)), members=("172.31.0.5", "172.31.0.6")),
            group("sg-none"),
        )
        await node.network.groups(told(*groups))
        await node.network.groups(told(group("sg-web", tcp(80, ANYWHERE)), vpc="vpc-2", cidr="10.8.0.0/16"))
        web, other = await node.task(interface(5, "sg-web")), await node.task(interface(6, "sg-web"))
        closed = await node.task(interface(7, "sg-none"))
        hidden = await node.task(interface(8, "sg-web", public=False))
        abroad = await node.task(interface(9, "sg-web", vpc="vpc-2", cidr="10.8.0.0/16"))
        for each in (web, closed, abroad):
            each.serve(80)
            each.serve(81)
        assert other.reach("198.18.4.5", 80) == "198.18.4.6"
        assert web.reach("198.18.4.5", 80) == "198.18.4.5"  # its own
        assert hidden.reach("198.18.4.5", 80) == "198.18.7.255"  # as through a NAT gateway
        assert other.call("198.18.4.7", 80) is None
        assert other.reach("172.31.0.5", 81) == "172.31.0.6"  # a member of the group by its private address …
        assert other.call("198.18.4.5", 81) is None  # … not by its public one
        assert other.reach("198.18.4.9", 80) == "198.18.4.6"  # another VPC
        assert abroad.reach("198.18.4.5", 80) == "198.18.4.9"
        assert other.call("10.8.0.9", 80) is None
        assert abroad.call("172.31.0.5", 80) is None

    on_a_node(test, tmp_path)


def test_a_spoofed_source_is_dropped(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        await node.network.groups(told(group("sg-a", EVERYTHING, members=("172.31.0.99",))))
        liar, web = await node.task(interface(5, "sg-a")), await node.task(interface(6, "sg-a"))
        web.serve(80)
        node.machine.lan.serve(80)
        for address in ("172.31.0.99", "172.31.0.7", "198.18.4.5"):
            ip(f"-n {liar.name} addr add {address}/32 dev eth0")
            assert liar.call("172.31.0.6", 80, source=address) is None
            assert liar.call(LAN, 80, source=address) is None
        assert liar.reach("172.31.0.6", 80) == "172.31.0.5"

    on_a_node(test, tmp_path)


def test_a_machine_outside_can_not_pass_for_a_member(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        await node.network.groups(told(group("sg-a", tcp(80, "172.31.0.0/16"), tcp(81, ANYWHERE))))
        web = await node.task(interface(5, "sg-a"))
        web.serve(80)
        web.serve(81)
        ip(f"-n {node.machine.lan.name} addr add 172.31.0.77/32 dev eth0")
        ip(f"-n {node.machine.host.name} route add 172.31.0.77/32 via {LAN}")
        assert node.machine.lan.reach("198.18.4.5", 81) == LAN
        assert node.machine.lan.call("198.18.4.5", 80, source="172.31.0.77") is None

    on_a_node(test, tmp_path)


def test_a_task_reaches_neither_the_host_nor_link_local_addresses(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        await node.network.groups(told(group("sg-a", EVERYTHING)))
        task, host, lan = await node.task(interface(5, "sg-a")), node.machine.host, node.machine.lan
        host.serve(22)
        ip(f"-n {lan.name} addr add 169.254.169.254/32 dev eth0")
        ip(f"-n {host.name} route add 169.254.0.0/16 via {LAN}")
        ip(f"-n {host.name} addr add 10.10.0.1/32 dev lo")
        # a published port: the host's own address leads elsewhere before any input chain is asked
        nft(host.name, "add table ip docker")
        nft(host.name, "add chain ip docker publish { type nat hook prerouting priority dstnat; }")
        nft(host.name, f"add rule ip docker publish fib daddr type local tcp dport 8080 dnat to {LAN}:80")
        lan.serve(80)
        assert lan.reach(HOST, 22) == LAN
        for address in (HOST, "10.10.0.1", "198.18.4.0", "198.18.7.255", "127.0.0.1", "172.31.0.1"):
            assert task.call(address, 22) is None, address
        assert task.call(HOST, 8080) is None
        assert host.reach("169.254.169.254", 80) == HOST
        assert task.call("169.254.169.254", 80) is None
        assert task.reach(LAN, 80) == HOST

    on_a_node(test, tmp_path)


def test_the_metadata_address_is_reached_with_an_empty_egress_and_shows_the_task(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        await node.network.groups(told(group("sg-a", egress=())))
        task = await node.task(interface(5, "sg-a"))
        router = node.machine.place(f"hp-{INSTANCE}-r-vpc-1")
        router.serve(80)
        router.serve(81)
        assert task.reach("169.254.170.2", 80) == "172.31.0.5"
        assert task.call("169.254.170.2", 81) is None
        assert task.call("172.31.0.1", 80) is None

    on_a_node(test, tmp_path)


def test_outbound_traffic_of_public_and_private_tasks_bears_the_hosts_address(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        await node.network.groups(told(group("sg-a")))
        public, private = await node.task(interface(5, "sg-a")), await node.task(interface(6, "sg-a", public=False))
        node.machine.lan.serve(80)
        assert public.reach(LAN, 80) == HOST
        assert private.reach(LAN, 80) == HOST

    on_a_node(test, tmp_path)


def test_protocols_by_number_and_icmp_by_type(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        echo = Rule(protocol="icmp", from_port=8, to_port=-1, cidrs=(ANYWHERE,))
        by_number = Rule(protocol="6", from_port=80, to_port=81, cidrs=(ANYWHERE,))
        await node.network.groups(
            told(group("sg-a", echo, by_number), group("sg-b", Rule(protocol="50", cidrs=(ANYWHERE,))))
        )
        a, b = await node.task(interface(5, "sg-a")), await node.task(interface(6, "sg-b"))
        a.serve(81)
        assert b.reach("172.31.0.5", 81) == "172.31.0.6"
        assert _pings(b, "172.31.0.5", PATIENCE)
        assert not _pings(a, "172.31.0.6", BLOCKED)

    on_a_node(test, tmp_path)


def _pings(place: Place, address: str, seconds: float) -> bool:
    return place.run(_ping, address, seconds)


def _ping(address: str, seconds: float) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as probe:
        probe.settimeout(seconds)
        probe.sendto(b"\x08\0\0\0\0\0\0\1", (address, 0))
        try:
            return bool(probe.recv(64))
        except TimeoutError:
            return False
