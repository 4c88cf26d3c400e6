"""A VPC's router namespace on this node: its tasks' interfaces, routes and security groups."""

from __future__ import annotations

import os
import socket

from homeport.agent.network import netlink, netns
from homeport.agent.network.conntrack import Conntrack
from homeport.agent.network.hub import FORWARDING_SYSCTLS, Hub
from homeport.agent.network.layout import METADATA_ADDRESS, TASK_LINK, Names, path, task_link
from homeport.agent.network.netlink import Netlink
from homeport.agent.network.nft import Nft, NftError, NftLost
from homeport.agent.network.plan import (
    Ruleset,
    Vpc,
    commands,
    compile_vpc,
    with_interface,
    without_interface,
)
from homeport.agentapi import Group, InterfaceSpec

_LOOPBACK = 1  # index of lo in every namespace

# As Docker has them; IPv6 stays off but for ::1, because a VPC's subnet here has IPv4 alone.
_TASK_SYSCTLS = {
    "ipv4/ip_unprivileged_port_start": "0",
    "ipv4/ping_group_range": "0 2147483647",
    "ipv4/ip_forward": "0",
    "ipv6/conf/default/disable_ipv6": "1",
}


class Router:
    """For the one thread that works on namespaces; that thread is at home in the root namespace."""

    def __init__(self, names: Names, hub: Hub, index: int, vpc: Vpc) -> None:
        self._names, self._hub, self.index = names, hub, index
        self.vpc = vpc
        self._enforced: Ruleset | None = None  # what the kernel has, as far as it is known
        self._gateways: set[str] = set()
        self._links: dict[str, int] = {}  # kernel's index of each task's link, as far as it was asked for
        self._nft: Nft | None = None
        self._namespace = netns.adopt(names.router(vpc.vpc_id))
        with netns.inside(self._namespace):
            self._netlink = Netlink()
            self.conntrack = Conntrack()

    def close(self) -> None:
        """Leaves the namespace as it is."""
        if self._nft:
            self._nft.close()
        self._netlink.close()
        self.conntrack.close()
        os.close(self._namespace)

    def build(self) -> None:
        """Makes or completes the router, and enforces what ``vpc`` says. May be repeated."""
        with netns.inside(self._namespace):
            netns.set_sysctls(FORWARDING_SYSCTLS)
        self._netlink.run(
            netlink.link_up(_LOOPBACK),
            netlink.address(_LOOPBACK, METADATA_ADDRESS),
            netlink.blackhole(self.vpc.cidr),
        )
        self._enforce(self.vpc)
        self._hub.connect(self._namespace, self._netlink, self.index, self.vpc.cidr)
        for interface in self.vpc.interfaces.values():
            self._publish(interface)

    def listen(self, port: int, backlog: int = 128) -> socket.socket:
        """A socket that listens on the metadata address, where this VPC's tasks reach it. It stays in the namespace,
        whichever thread uses it; the caller closes it."""
        with netns.inside(self._namespace):
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((METADATA_ADDRESS, port))
            listener.listen(backlog)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        return listener

    def attach(self, task_id: str, interface: InterfaceSpec) -> str:
        """Makes the task's namespace and interface; returns the namespace's path. What is half-made is the caller's to
        ``detach``."""
        name = self._names.task(task_id)
        namespace = netns.create(name)
        try:
            with netns.inside(namespace):
                netns.set_sysctls(_TASK_SYSCTLS)
                inner = Netlink()
            try:
                self._wire(namespace, inner, task_id, interface)
            finally:
                inner.close()
        finally:
            os.close(namespace)
        self._enforce(with_interface(self.vpc, task_id, interface))
        self._publish(interface)
        return path(name)

    def regroup(self, task_id: str, interface: InterfaceSpec) -> None:
        """Enforces other groups for an interface that is there."""
        self._enforce(with_interface(self.vpc, task_id, interface))

    def detach(self, task_id: str, interface: InterfaceSpec) -> None:
        """Removes all of a task's that is there. The kernel frees the pair of links with the namespace, a little later:
        deleting it here would take 30 ms, during which nothing else on the machine can change a link. Its tracked
        connections end with the next ``conntrack.sweep``."""
        if interface.public_address:
            self._hub.withdraw(interface.public_address, self.index)
        if task_id in self.vpc.interfaces:
            self._enforce(without_interface(self.vpc, task_id))
        link = self._links.pop(task_id, None) or self._netlink.index(task_link(task_id))
        if link is not None:
            self._netlink.run(netlink.no_route(f"{interface.private_address}/32", link))
        self.conntrack.leave(interface.private_address)
        netns.remove(self._names.task(task_id))

    def set_groups(self, groups: dict[str, Group]) -> None:
        self._enforce(Vpc(self.vpc.vpc_id, self.vpc.cidr, groups, self.vpc.interfaces))

    def complete(self, task_id: str) -> bool:
        """Whether a task's interface is there."""
        return self._netlink.index(task_link(task_id)) is not None

    def _publish(self, interface: InterfaceSpec) -> None:
        if interface.public_address:
            self._hub.publish(interface.public_address, self.index)

    def _wire(self, namespace: int, inner: Netlink, task_id: str, interface: InterfaceSpec) -> None:
        if interface.gateway not in self._gateways:
            self._netlink.run(netlink.address(_LOOPBACK, interface.gateway))
            self._gateways.add(interface.gateway)
        pair = netlink.veth(task_link(task_id), TASK_LINK, namespace, interface.mac)
        try:
            self._netlink.run(pair)
        except FileExistsError:  # what an earlier namespace of the task has left
            self._netlink.delete_link(task_link(task_id))
            self._netlink.run(pair)
        inside, outside = inner.expect(TASK_LINK), self._netlink.expect(task_link(task_id))
        self._links[task_id] = outside
        prefix = int(interface.subnet_cidr.partition("/")[2])
        inner.run(
            netlink.link_up(_LOOPBACK),
            netlink.address(inside, interface.private_address, prefix),
            netlink.link_up(inside),
            netlink.route(f"{interface.gateway}/32", inside),
            netlink.route("0.0.0.0/0", inside, via=interface.gateway),
        )
        self._netlink.run(
            netlink.link_up(outside),
            netlink.route(f"{interface.private_address}/32", outside),
            netlink.neighbour(outside, interface.private_address, interface.mac),
        )

    def _enforce(self, wanted: Vpc) -> None:
        """Makes the kernel's table that of ``wanted``; on failure table and ``vpc`` stay as they were."""
        ruleset = compile_vpc(wanted)
        try:
            self._run(commands(self._enforced, ruleset))
        except (NftError, NftLost):
            if self._enforced is None:
                raise
            # Somebody changed the table, or the child died with the transaction done or not: say it all again.
            self._enforced = None
            self._run(commands(None, ruleset))
        self._enforced, self.vpc = ruleset, wanted

    def _run(self, lines: list[str]) -> None:
        if self._nft is None:
            with netns.inside(self._namespace):
                self._nft = Nft()
        try:
            self._nft.run(lines)
        except NftLost:
            self._nft = None
            raise
