"""A network made up for the simulator and for tests of the loops. ``FakeFabric`` outlives agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from homeport.agent.network import NetworkError
from homeport.agentapi import Group, HomeportGroupsMessage, InterfaceSpec


class FakeFabric:
    """What is attached: task id → interface. The same address of one VPC, or the same MAC, attached twice is an error
    of whoever asks for it, and asserted. Give one fabric to all nodes of a simulated world."""

    def __init__(self) -> None:
        self.interfaces: dict[str, dict[str, InterfaceSpec]] = {}  # node → task id → interface
        self.groups: dict[str, dict[str, Group]] = {}  # node → group id → group
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

    def detach(self, node: str, task_id: str) -> None:
        self.interfaces.get(node, {}).pop(task_id, None)

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
        self.groups.pop(node, None)


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

    async def detach(self, task_id: str) -> None:
        await asyncio.sleep(self._seconds / 2)
        self._fault("detach", task_id)
        self._fabric.detach(self._node, task_id)
        await asyncio.sleep(self._seconds / 2)

    async def attached(self) -> list[str]:
        return list(self._fabric.interfaces.get(self._node, {}))

    async def groups(self, message: HomeportGroupsMessage) -> None:
        await asyncio.sleep(self._seconds / 2)
        self._fault("groups", message.vpc_id)
        self._fabric.enforce(self._node, message)

    async def destroy(self) -> None:
        self._fabric.reboot(self._node)
