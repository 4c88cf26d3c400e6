"""A VPC's router namespace on this node: its tasks' interfaces, routes and security groups."""

from __future__ import annotations

from homeport.agent.network import netlink, netns
from homeport.agent.network.front import Front
from homeport.agent.network.hub import Hub
from homeport.agent.network.layout import Names, path, task_link
from homeport.agent.network.netlink import LOOPBACK
from homeport.agent.network.plan import Vpc, compile_vpc, with_interface, without_interface
from homeport.agent.network.wire import wire
from homeport.agentapi import Group, InterfaceSpec


class Router(Front):
    def __init__(self, names: Names, hub: Hub, index: int, vpc: Vpc) -> None:
        super().__init__(names, hub, names.router(vpc.vpc_id))
        self.index, self.vpc = index, vpc
        self._gateways: set[str] = set()
        self._links: dict[str, int] = {}  # kernel's index of each task's link, as far as it was asked for

    def build(self) -> None:
        """Makes or completes the router, and enforces what ``vpc`` says. May be repeated."""
        self._prepare(self.vpc.cidr)
        self._enforce(self.vpc)
        self._hub.connect(self._namespace, self._netlink, self.index, self.vpc.cidr)
        for interface in self.vpc.interfaces.values():
            self._publish(interface)

    def attach(self, task_id: str, interface: InterfaceSpec) -> str:
        """Makes the task's namespace and interface; returns the namespace's path. What is half-made is the caller's to
        ``detach``."""
        name, mac, address = self._names.task(task_id), interface.mac, interface.private_address
        if interface.gateway not in self._gateways:
            self._netlink.run(netlink.address(LOOPBACK, interface.gateway))
            self._gateways.add(interface.gateway)
        prefix = int(interface.subnet_cidr.partition("/")[2])
        link = task_link(task_id)
        self._links[task_id] = wire(self._netlink, link, name, address, prefix, interface.gateway, mac)
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

    def _enforce(self, wanted: Vpc) -> None:
        """Makes the kernel's table that of ``wanted``; on failure table and ``vpc`` stay as they were."""
        self._enforcer.enforce(compile_vpc(wanted))
        self.vpc = wanted
