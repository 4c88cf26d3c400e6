"""A network made up for the simulator and for tests of the loops. ``FakeFabric`` outlives agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import count

from homeport.agent.network import ContainerNetwork, NetworkError, published
from homeport.agentapi import Group, HomeportGroupsMessage, InterfaceSpec, NetworkBinding, PortMapping


class FakeFabric:
    """What is attached: task id → interface. The same address of one VPC, or the same MAC, attached twice is an error
    of whoever asks for it, and asserted. Give one fabric to all nodes of a simulated world."""

    def __init__(self) -> None:
        self.interfaces: dict[str, dict[str, InterfaceSpec]] = {}  # node → task id → interface
        self.bridged: dict[str, dict[str, dict[str, ContainerNetwork]]] = {}  # node → task id → container → its network
        self.groups: dict[str, dict[str, Group]] = {}  # node → group id → group
        self._numbers = count(2)  # of containers in a bridge
        self._vpcs: dict[str, str] = {}  # group id → the VPC that it is of

    def attach(self, node: str, task_id: str, interface: InterfaceSpec) -> None:
        here = self.interfaces.setdefault(node, {})
        if task_id in here:
            assert here[task_id] == interface, f"{task_id} was attached with another interface"
            return
        for other in (i for tasks in self.interfaces.values() for i in tasks.values()):
            same = other.vpc_id == interface.vpc_id and other.private_address == interface.private_address
            assert not same, f"{interface.private_address} is attached twice"
            public = interface.public_address
            assert public is None or other.public_address != public, f"{public} is attached twice"
        here[task_id] = interface

    def join(
        self, node: str, task_id: str, mode: str, ports: Mapping[str, tuple[PortMapping, ...]]
    ) -> dict[str, ContainerNetwork]:
        here = self.bridged.setdefault(node, {})
        if task_id not in here and mode == "host":
            own = {name: published.host_bindings(mappings) for name, mappings in ports.items()}
            here[task_id] = {name: ContainerNetwork(f"/run/netns/{node}", bindings=own[name]) for name in own}
        elif task_id not in here:
            taken = {
                (binding.protocol, binding.host_port)
                for networks in here.values()
                for n in networks.values()
                for binding in n.bindings
            }
            used = {port for _, port in taken}
            free = (port for port in range(32768, 61000) if port not in used)
            here[task_id] = {
                name: _published(f"/run/netns/{task_id}-{at}", self._address(), mappings, taken, free)
                for at, (name, mappings) in enumerate(ports.items())
            }
        return here[task_id]

    def _address(self) -> str:
        number = next(self._numbers)
        return f"172.16.{number >> 8 & 15}.{number & 255}"

    def detach(self, node: str, task_id: str) -> None:
        self.interfaces.get(node, {}).pop(task_id, None)
        self.bridged.get(node, {}).pop(task_id, None)

    def enforce(self, node: str, message: HomeportGroupsMessage) -> None:
        """The node's groups of a VPC as a message changes them; with ``complete`` all others are gone."""
        groups = self.groups.setdefault(node, {})
        others = [id for id in groups if self._vpcs[id] == message.vpc_id] if message.complete else ()
        for group_id in (*others, *message.removed):
            groups.pop(group_id, None)
        groups |= {group.group_id: group for group in message.groups}
        self._vpcs |= dict.fromkeys((group.group_id for group in message.groups), message.vpc_id)

    def reboot(self, node: str) -> None:
        self.interfaces.pop(node, None)
        self.bridged.pop(node, None)
        self.groups.pop(node, None)


def _published(
    netns: str, address: str, ports: tuple[PortMapping, ...], taken: set[tuple[str, int | None]], free: Iterator[int]
) -> ContainerNetwork:
    """A container's ports, each where it is to be or at the next that is free; ranges aren't made up."""
    mappings = [mapping for mapping in ports if not mapping.container_port_range]
    clash = next((mapping.host_port for mapping in mappings if (mapping.protocol, mapping.host_port) in taken), None)
    if clash:
        return ContainerNetwork(netns, address, error=f"Bind for 0.0.0.0:{clash} failed: port is already allocated")
    chosen = ((mapping, mapping.host_port or next(free)) for mapping in mappings)
    bindings = tuple(NetworkBinding(published.ANY_ADDRESS, m.protocol, m.container_port, port) for m, port in chosen)
    taken |= {(binding.protocol, binding.host_port) for binding in bindings}
    return ContainerNetwork(netns, address, bindings)


class FakeNetwork:
    """``Network`` of one node over a fabric. ``seconds`` per call, with the effect half way through; ``fault`` is
    called before each effect and may raise NetworkError."""

    def __init__(
        self,
        fabric: FakeFabric,
        node: str = "node",
        seconds: float = 0.008,
        fault: Callable[[str, str], None] = lambda call, id: None,
    ) -> None:
        self._fabric, self._node, self._seconds, self._fault = fabric, node, seconds, fault

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def attach(self, task_id: str, interface: InterfaceSpec) -> str:
        await asyncio.sleep(self._seconds / 2)
        self._fault("attach", task_id)
        missing = set(interface.groups) - self._fabric.groups.get(self._node, {}).keys()
        if missing:
            raise NetworkError(f"security groups aren't known: {', '.join(sorted(missing))}")
        self._fabric.attach(self._node, task_id, interface)
        await asyncio.sleep(self._seconds / 2)
        return f"/run/netns/{task_id}"

    async def join(
        self, task_id: str, mode: str, ports: Mapping[str, tuple[PortMapping, ...]]
    ) -> dict[str, ContainerNetwork]:
        await asyncio.sleep(self._seconds / 2)
        self._fault("join", task_id)
        joined = self._fabric.join(self._node, task_id, mode, ports)
        await asyncio.sleep(self._seconds / 2)
        return joined

    async def detach(self, task_id: str) -> None:
        await asyncio.sleep(self._seconds / 2)
        self._fault("detach", task_id)
        self._fabric.detach(self._node, task_id)
        await asyncio.sleep(self._seconds / 2)

    async def attached(self) -> list[str]:
        return [*self._fabric.interfaces.get(self._node, {}), *self._fabric.bridged.get(self._node, {})]

    async def groups(self, message: HomeportGroupsMessage) -> None:
        await asyncio.sleep(self._seconds / 2)
        self._fault("groups", message.vpc_id)
        self._fabric.enforce(self._node, message)

    async def destroy(self) -> None:
        self._fabric.reboot(self._node)
