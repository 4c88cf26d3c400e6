"""Container instances that are scripts: they speak the agents' protocol and start nothing."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from homeport.agent.http import HttpTransport
from homeport.agent.transport import CallFailed, Closed
from homeport.system import SystemClock
from support.tasks import until

RESOURCES = [
    {"name": "CPU", "type": "INTEGER", "integerValue": 2048},
    {"name": "MEMORY", "type": "INTEGER", "integerValue": 3885},
    {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "2375", "2376", "51678", "51679"]},
    {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
]


class ScriptedInstance:
    """An instance that registers and connects, and holds its websocket open until the server or ``close`` ends it. It
    says of tasks what ``report`` is told."""

    def __init__(self, homeport: Any, region: str, cluster: str, **attributes: str) -> None:
        self.frames: list[str] = []
        self.cluster = cluster
        self._homeport, self._region = homeport, region
        self._ecs = homeport.client("ecs", region)
        values = [{"name": name, "value": value} for name, value in attributes.items()]
        made = self._ecs.register_container_instance(cluster=cluster, totalResources=RESOURCES, attributes=values)
        self.arn: str = made["containerInstance"]["containerInstanceArn"]
        self._loop = asyncio.new_event_loop()
        self._work = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._work,), daemon=True)
        self._thread.start()
        until(lambda: any("TaskManifestMessage" in frame for frame in self.frames), bool)

    async def _run(self) -> None:
        keys = self._homeport.access_key, self._homeport.secret_key
        transport = HttpTransport(self._homeport.endpoint, *keys, self._region, SystemClock(), "1.79.0")
        try:
            channel = await transport.connect(
                self._homeport.endpoint, {"containerInstanceArn": self.arn, "seqNum": "1"}
            )
            while True:
                self.frames.append(await channel.receive())
        except (CallFailed, Closed, asyncio.CancelledError):
            pass
        finally:
            await transport.close()

    def hears_of(self, task: str) -> None:
        """Waits until it was sent the task."""
        until(lambda: any("PayloadMessage" in frame and task in frame for frame in self.frames), bool)

    def report(self, task: str, status: str, container: str = "app", **more: Any) -> None:
        told = [{"containerName": container, "status": status, **more}]
        self._ecs.submit_task_state_change(cluster=self.cluster, task=task, status=status, containers=told)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._work.cancel)
        self._thread.join(10)
        self._loop.close()
        self._ecs.deregister_container_instance(cluster=self.cluster, containerInstance=self.arn, force=True)
