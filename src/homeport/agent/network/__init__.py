"""What the runner asks of the network. ``plan`` decides (pure), ``apply`` acts (netlink, nft, namespaces)."""

from __future__ import annotations

from typing import Protocol

from homeport.agentapi import HomeportGroupsMessage, InterfaceSpec


class NetworkError(Exception):
    """Reported as ``ContainerNetworkingError: <text>``."""


class Network(Protocol):
    """All calls may be repeated. What exists after the agent's death is found again by ``open``."""

    async def open(self) -> None: ...

    async def close(self) -> None:
        """Ends helper processes; leaves interfaces and rules as they are, for the next agent."""
        ...

    async def attach(self, task_id: str, interface: InterfaceSpec) -> str:
        """Makes the task's namespace and interface with its groups enforced; returns the namespace's path."""
        ...

    async def detach(self, task_id: str) -> None: ...

    async def attached(self) -> list[str]:
        """Task ids that have a namespace here."""
        ...

    async def groups(self, message: HomeportGroupsMessage) -> None:
        """Enforces changed security groups; returns when the kernel has them."""
        ...

    async def destroy(self) -> None:
        """Removes everything of this agent from the machine (``homeport down``)."""
        ...
