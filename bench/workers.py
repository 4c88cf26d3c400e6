"""Agents that say they run what they are sent, for ``bench.many``: a process of its own, commanded as ``bench.load``.

Each has the signed websocket of a real agent and tells what a real one would: a task's interface and its one container
with the report that it is RUNNING, and its end when it was told to stop it. ``count`` answers also how many tasks run.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

import msgspec

from bench.fleet import MACHINE
from bench.load import HOST, RETRY_SECONDS, Agent, Load, main
from homeport.agent.registration import session_query
from homeport.agent.transport import CallFailed, Channel
from homeport.agentapi import (
    AckRequest,
    ContainerReport,
    HeartbeatAckRequest,
    HeartbeatMessage,
    HomeportGroupsMessage,
    PayloadMessage,
    PayloadTask,
    TaskManifestMessage,
    TaskReport,
    decode,
    encode,
)

DIGEST = "sha256:" + "5e" * 32
MOST_SECONDS = 0.5  # that a task takes to start, and to stop


class Worker(Agent):
    def __init__(self, load: Load, arn: str, tasks: list[str]) -> None:
        super().__init__(load, arn, tasks)
        self._missing = {"acs"}
        self._running: dict[str, PayloadTask] = {}
        self._told: set[str] = set()  # that they are RUNNING
        self._work: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        query = session_query(self._load.settings, HOST, self._arn, True, MACHINE)
        self._lives = [asyncio.create_task(self._live("acs", query))]

    async def _control(self, channel: Channel) -> None:
        while True:
            message = decode(await channel.receive())
            self._count(message)
            match message:
                case HeartbeatMessage(message_id=id):
                    await channel.send(encode(HeartbeatAckRequest(message_id=id)))
                case TaskManifestMessage(message_id=id) | HomeportGroupsMessage(message_id=id):
                    await channel.send(encode(AckRequest("bench", self._arn, id)))
                case PayloadMessage(message_id=id, tasks=tasks):
                    await channel.send(encode(AckRequest("bench", self._arn, id)))
                    for task in tasks:
                        self._take(task)
            if isinstance(message, TaskManifestMessage):
                self._admit("acs")

    def _take(self, task: PayloadTask) -> None:
        begun = task.arn in self._running
        if begun == (task.desired_status == "STOPPED"):
            work = asyncio.create_task(self._end(self._running.pop(task.arn)) if begun else self._begin(task))
            self._work.add(work)
            work.add_done_callback(self._work.discard)

    async def _begin(self, task: PayloadTask) -> None:
        self._running[task.arn] = task
        await asyncio.sleep(random.random() * MOST_SECONDS)
        interface = task.spec.interface if task.spec else None
        attached = ({"attachmentArn": interface.attachment_arn, "status": "ATTACHED"},) if interface else ()
        if task.arn in self._running and await self._tell(task, "RUNNING", attachments=attached):
            self._told.add(task.arn)
            self._load.seen["running"] += 1

    async def _end(self, task: PayloadTask) -> None:
        await asyncio.sleep(random.random() * MOST_SECONDS)
        if await self._tell(task, "STOPPED", exit_code=0) and task.arn in self._told:
            self._told.discard(task.arn)
            self._load.seen["running"] -= 1

    async def _tell(self, task: PayloadTask, status: str, *, exit_code: int | None = None, **more: Any) -> bool:
        """Until it is heard."""
        assert task.spec is not None
        container = ContainerReport(
            container_name=task.spec.containers[0].name,
            status=status,
            runtime_id=f"{task.arn.rpartition('/')[2]}-0",
            exit_code=exit_code,
            image_digest=DIGEST,
        )
        report = TaskReport(cluster="bench", task=task.arn, status=status, containers=(container,), **more)
        while True:
            try:
                await self._load.transport.call("SubmitTaskStateChange", msgspec.to_builtins(report))
                return True
            except CallFailed as error:
                if not error.retry:
                    self._load.seen["refused reports"] += 1
                    return False
                await asyncio.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), Worker))
