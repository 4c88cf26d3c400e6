"""An agent on the real machine that kills itself at its n-th effect. A process of ``test_agent_adoption``.

It is told PayloadTasks, a JSON line each, on standard input, and says on standard output what it accepted and reports,
and the name of its last effect.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from homeport.agent.drivers.containerd import ContainerdDriver, instance
from homeport.agent.network.apply import NodeNetwork
from homeport.agent.node import Node
from homeport.agent.runner import Parts
from homeport.agent.state import FileRecords
from homeport.agent.transport import CallFailed, Channel
from homeport.agentapi import HomeportGroupsMessage, PayloadTask
from homeport.system import SystemClock

DURING = 0.004  # seconds after the beginning of an effect; most take longer


class Victim:
    """Counts effects, or those called ``names``; the n-th (from 1; 0: none) is the last, killed ``during`` it or right
    ``after`` it."""

    def __init__(self, at: int, names: str, mode: str) -> None:
        self._at, self._names, self._mode, self._count = at, names.split(",") if names else [], mode, 0

    def watch(self, of: Any, *names: str) -> None:
        for name in names:
            setattr(of, name, self._watched(name, getattr(of, name)))

    def _watched(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def watched(*arguments: Any) -> Any:
            counts = not self._names or name in self._names
            self._count += counts
            last = counts and self._count == self._at
            if last:
                say("last", name)
            if last and self._mode == "during":
                threading.Timer(DURING, die).start()
            result = await call(*arguments)
            if last:
                die()
            return result

        return watched

    @property
    def count(self) -> int:
        return self._count


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def say(word: str, what: Any = None) -> None:
    os.write(1, msgspec.json.encode([word, what]) + b"\n")  # a pipe takes a line whole


class Pipe:
    """A transport whose reports are lines of standard output, each acknowledged at once."""

    async def call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        say("report", params)
        return {}

    async def connect(self, endpoint: str, query: dict[str, str]) -> Channel:
        raise CallFailed(None, "there are no websockets here")


async def main(state: str, name: str, pool: str, root: str, groups: str, at: int, names: str, mode: str) -> None:
    folder = Path(state, "agent")
    driver, network = ContainerdDriver(instance(state)), NodeNetwork(name, pool, folder, root)
    pipe, records, victim = Pipe(), FileRecords(folder), Victim(at, names, mode)
    await asyncio.gather(driver.open(), network.open())
    await network.groups(msgspec.json.decode(groups, type=HomeportGroupsMessage))
    victim.watch(driver, "pull", "create", "start", "restart", "exec", "kill", "remove", "remove_task")
    victim.watch(network, "attach", "join", "detach")
    victim.watch(records, "save")
    victim.watch(pipe, "call")
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with asyncio.TaskGroup() as group:
        node = Node(Parts(driver, network, pipe, records, SystemClock(), "this boot"), group)
        await node.adopt()
        group.create_task(node.watch())
        say("ready")
        async for line in lines:
            task = msgspec.json.decode(line, type=PayloadTask)
            await node.accept(task)
            say("accepted", task.desired_status)
            if task.desired_status == "STOPPED":
                while node.busy():  # noqa: ASYNC110 (it tells nobody)
                    await asyncio.sleep(0.01)
                say("idle", victim.count)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    asyncio.run(main(*arguments[:5], int(arguments[5]), *arguments[6:]))
