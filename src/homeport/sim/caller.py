"""Somebody who calls the API and waits for its answers."""

from __future__ import annotations

import asyncio
from typing import Any

from homeport.sim.control import Server, root
from homeport.sim.fleet import AGAIN, CLUSTER, Refused
from homeport.sim.net import Reply

_OUTSIDE = ("CreateCluster", "CreateCapacityProvider", "RegisterTaskDefinition")  # operations outside a cluster


class Caller:
    def __init__(self, server: Server) -> None:
        self._server = server

    async def ecs(self, operation: str, **params: Any) -> Any:
        """Raises Refused."""
        return await self._call("ecs", operation, params if operation in _OUTSIDE else {"cluster": CLUSTER, **params})

    async def ec2(self, operation: str, **params: Any) -> Any:
        """Raises Refused."""
        return await self._call("ec2", operation, params)

    async def _call(self, service: str, operation: str, params: dict[str, Any]) -> Any:
        while True:
            pending = self._server.operate(root(), service, operation, params)
            reply = await pending if pending is not None else Reply("none", "")
            if reply.kind == "answer":
                return reply.value
            if reply.kind == "error":
                raise Refused(reply.value[1])
            await asyncio.sleep(AGAIN)
