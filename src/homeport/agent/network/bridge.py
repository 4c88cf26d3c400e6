"""The namespace in front of containers that publish ports on the machine: tasks of the network mode ``bridge``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from homeport.agent.network import ContainerNetwork, layout, netlink, netns, published
from homeport.agent.network.front import Front
from homeport.agent.network.hub import Hub
from homeport.agent.network.layout import Names
from homeport.agent.network.ports import HostPorts, PortTaken
from homeport.agent.network.published import Endpoint, Forward
from homeport.agent.network.wire import wire
from homeport.agentapi import PortMapping


class Bridge(Front):
    """``cidr``: the range of its containers. ``tasks``: what an agent before this one has left."""

    def __init__(self, names: Names, hub: Hub, cidr: str, tasks: Mapping[str, Mapping[str, Endpoint]]) -> None:
        super().__init__(names, hub, names.bridge)
        self._cidr = cidr
        self.tasks: dict[str, Mapping[str, Endpoint]] = dict(tasks)
        self._ports = HostPorts()

    def close(self) -> None:
        """Leaves the namespace, and what is published, as it is."""
        self._ports.close()
        super().close()

    def build(self) -> None:
        """Makes or completes the bridge, and publishes what its tasks have. May be repeated."""
        self._prepare(self._cidr, layout.bridge_gateway(self._cidr))
        for endpoints in self.tasks.values():
            for forward in _forwards(endpoints):
                self._ports.keep(forward)
        self._enforcer.enforce(published.compile_bridge(self._cidr, self.tasks))
        self._hub.connect(self._namespace, self._netlink, layout.BRIDGE)
        self._hub.publish_ports(published.host_ports(self.tasks))

    def plan(self, ports: Mapping[str, tuple[PortMapping, ...]]) -> dict[str, Endpoint]:
        """Addresses and host ports for a task's containers, by name; the ports are held. One whose ports can't be had
        gets none, and the reason."""
        indices = published.free_indices(self.tasks, len(ports))
        return {name: self._endpoint(index, ports[name]) for index, name in zip(indices, ports, strict=True)}

    def attach(self, task_id: str, endpoints: Mapping[str, Endpoint]) -> None:
        """Makes what was planned. What is half-made after a failure is the caller's to ``detach``."""
        wanted = {**self.tasks, task_id: endpoints}
        gateway = layout.bridge_gateway(self._cidr)
        for endpoint in endpoints.values():
            name, link = self._names.container(endpoint.index), layout.container_link(endpoint.index)
            mac = layout.container_mac(endpoint.address)
            wire(self._netlink, link, name, endpoint.address, layout.BRIDGE_PREFIX, gateway, mac)
        self._publish(wanted)

    def detach(self, task_id: str, endpoints: Mapping[str, Endpoint]) -> None:
        """Removes all of a task's that is there; its tracked connections end with the next ``conntrack.sweep``."""
        if task_id in self.tasks:
            self._publish({key: value for key, value in self.tasks.items() if key != task_id})
        for endpoint in endpoints.values():
            link = self._netlink.index(layout.container_link(endpoint.index))
            if link is not None:
                self._netlink.run(netlink.no_route(f"{endpoint.address}/32", link))
            self.conntrack.leave(endpoint.address)
            netns.remove(self._names.container(endpoint.index))
        for forward in _forwards(endpoints):
            self._ports.give_back(forward)

    def complete(self, task_id: str) -> bool:
        """Whether all of a task's namespaces and interfaces are there."""
        for endpoint in self.tasks[task_id].values():
            with suppress(FileNotFoundError):
                if not netns.is_namespace(self._names.container(endpoint.index)):
                    return False
                if self._netlink.index(layout.container_link(endpoint.index)) is not None:
                    continue
            return False
        return True

    def networks(self, endpoints: Mapping[str, Endpoint]) -> dict[str, ContainerNetwork]:
        return {
            name: ContainerNetwork(
                netns=layout.path(self._names.container(endpoint.index)),
                address=endpoint.address,
                bindings=tuple(map(published.binding, endpoint.forwards)),
                error=endpoint.error,
            )
            for name, endpoint in endpoints.items()
        }

    def _endpoint(self, index: int, ports: tuple[PortMapping, ...]) -> Endpoint:
        address = layout.container_address(self._cidr, index)
        taken: list[Forward] = []
        try:
            for wanted in map(published.asked, ports):
                taken.append(self._ports.take(wanted))
        except (PortTaken, OSError, ValueError) as error:
            for forward in taken:
                self._ports.give_back(forward)
            return Endpoint(index, address, error=str(error))
        return Endpoint(index, address, tuple(taken))

    def _publish(self, wanted: Mapping[str, Mapping[str, Endpoint]]) -> None:
        self._enforcer.enforce(published.compile_bridge(self._cidr, wanted))
        self.tasks = dict(wanted)
        self._hub.publish_ports(published.host_ports(wanted))


def _forwards(endpoints: Mapping[str, Endpoint]) -> list[Forward]:
    return [forward for endpoint in endpoints.values() for forward in endpoint.forwards]
