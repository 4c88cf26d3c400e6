"""What the runner asks of the network. ``plan`` decides (pure), ``apply`` acts (netlink, nft, namespaces)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from homeport.agentapi import HomeportGroupsMessage, InterfaceSpec, NetworkBinding, PortMapping


class NetworkError(Exception):
    """Reported as ``ContainerNetworkingError: <text>``."""


class ContainerNetwork(msgspec.Struct, frozen=True, omit_defaults=True):
    """The network of a container of a ``bridge`` or ``host`` task. ``netns``: path of the namespace to run in.
    ``address``: its own private one, "" in the machine's namespace. ``bindings``: where its ports are published.
    ``error``: why they can't be, in Docker's words; it can't be started then."""

    netns: str
    address: str = ""
    bindings: tuple[NetworkBinding, ...] = ()
    error: str = ""


class Network(Protocol):
    """All calls may be repeated. What exists after the agent's death is found again by ``open``."""

    async def open(self) -> None: ...

    async def close(self) -> None:
        """Ends helper processes; leaves interfaces and rules as they are, for the next agent."""
        ...

    async def attach(self, task_id: str, interface: InterfaceSpec) -> str:
        """Makes the task's namespace and interface with its groups enforced; returns the namespace's path."""
        ...

    async def join(
        self, task_id: str, mode: str, ports: Mapping[str, tuple[PortMapping, ...]]
    ) -> dict[str, ContainerNetwork]:
        """Makes the networks of a task's containers, by name: in the ``mode`` bridge a namespace for each, with its
        ``ports`` published on the machine; in the ``mode`` host all have the machine's own."""
        ...

    async def detach(self, task_id: str) -> None:
        """Takes away what ``attach`` or ``join`` made for the task."""
        ...

    async def attached(self) -> list[str]:
        """Task ids that have a namespace here."""
        ...

    async def groups(self, message: HomeportGroupsMessage) -> None:
        """Enforces changed security groups; returns when the kernel has them."""
        ...

    async def destroy(self) -> None:
        """Removes everything of this agent from the machine (``homeport down``)."""
        ...
