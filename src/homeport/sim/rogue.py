"""An agent on its bad days: it repeats itself, talks nonsense, and reaches for what belongs to other nodes.

It uses a node's key, as does the machine's own agent, which is not to suffer from it for longer than it takes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from random import Random
from typing import Any

from homeport.agentapi import AckRequest, NackRequest, TaskStopVerificationMessage, encode
from homeport.agentapi import ManifestTask as Candidate
from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.sim.audit import Auditor
from homeport.sim.control import Server
from homeport.sim.machine import Machine
from homeport.sim.net import Connection, Hung, Net, Reply, Unreachable

REPLAYED = 12  # of a machine's last calls
TOUCHED = 4  # tasks of another node
NONSENSE = ("", "BANANA", "\u0000", "RUNNING" * 1000, "MANIFEST_PULLED")
BABBLE = ("", "{}", "[1, 2]", "null", '{"type": 7, "message": {}}', '{"type":"AckRequest"}', "\ufffd" * 50, "{" * 5000)


class Rogue:
    def __init__(self, net: Net, server: Server, auditor: Auditor, random: Random) -> None:
        self._net, self._server, self._auditor, self._random = net, server, auditor, random

    async def do(self, kind: str, machine: Machine, victim: Machine) -> None:
        with contextlib.suppress(Unreachable):
            match kind:
                case "replay":
                    await self._replay(machine)
                case "meddle":
                    await self._meddle(machine, victim)
                case "snoop":
                    await self._snoop(machine, victim)
                case "nonsense":
                    await self._talk_nonsense(machine)
                case "babble":
                    await self._babble(machine)

    async def _replay(self, machine: Machine) -> None:
        """Reports that it made before, again, late and in any order."""
        calls = list(machine.reports)[-REPLAYED:]
        self._random.shuffle(calls)
        for operation, params in calls:
            await self._call(machine, operation, params)

    async def _meddle(self, machine: Machine, victim: Machine) -> None:
        """Reports on another node's tasks."""
        for task in self._tasks_of(victim):
            containers = [{"containerName": c.name, "status": "STOPPED", "exitCode": 0} for c in task.containers]
            report = {"cluster": task.cluster_arn, "task": task.arn, "status": "STOPPED", "reason": "so there"}
            await self._call(machine, "SubmitTaskStateChange", {**report, "containers": containers})
            for container in containers:
                await self._call(machine, "SubmitContainerStateChange", {"task": task.arn, **container})
            for attachment in task.attachments:
                arn = f"{task.cluster_arn.partition(':cluster/')[0]}:attachment/{attachment.id}"
                changes = [{"attachmentArn": arn, "status": "ATTACHED"}]
                await self._call(machine, "SubmitAttachmentStateChanges", {"attachments": changes})

    async def _snoop(self, machine: Machine, victim: Machine) -> None:
        """Tries to be another node's instance, and to stop it from taking tasks."""
        arn, cluster = victim.records.instance().arn, victim.cluster
        if arn is None:
            return
        await self._connected(machine, {"containerInstanceArn": arn, "clusterArn": cluster, "seqNum": "1"}, ())
        await self._connected(machine, {"containerInstance": arn, "cluster": cluster}, ())
        resources = [{"name": name, "type": "INTEGER", "integerValue": 1} for name in ("CPU", "MEMORY")]
        claim = {"cluster": cluster, "containerInstanceArn": arn, "totalResources": resources}
        await self._call(machine, "RegisterContainerInstance", victim.registering(claim))
        drain = {"cluster": cluster, "containerInstances": [arn], "status": "DRAINING"}
        await self._call(machine, "UpdateContainerInstancesState", drain)
        calls: tuple[tuple[str, dict[str, Any]], ...] = (
            ("DeregisterContainerInstance", {"cluster": cluster, "containerInstance": arn, "force": True}),
            ("DescribeContainerInstances", {"cluster": cluster, "containerInstances": [arn]}),
            ("ListTasks", {"cluster": cluster}),
            ("StopTask", {"cluster": cluster, "task": next((t.arn for t in self._tasks_of(victim)), arn)}),
        )
        for operation, params in calls:
            await self._call(machine, operation, params)

    async def _talk_nonsense(self, machine: Machine) -> None:
        """Reports that can't be true, on tasks that its agent knows and on some that nobody does."""
        known = [t for t in self._tasks_of(machine) if machine.records.find(t.id) is not None]
        stranger = f"arn:aws:ecs:us-east-1:123456789012:task/{machine.cluster}/{'0' * 32}"
        for arn in (*(task.arn for task in known), stranger, "", "arn:aws:nonsense"):
            status = self._random.choice(NONSENSE)
            containers = [{"containerName": "nobody", "status": status, "exitCode": -7}]
            report = {"cluster": "nowhere", "task": arn, "status": status, "containers": containers}
            await self._call(machine, "SubmitTaskStateChange", report)
            container = {"containerName": "nobody", "status": "STOPPED", "exitCode": 2**31}
            await self._call(machine, "SubmitContainerStateChange", {"task": arn, **container})
        changes = [{"attachmentArn": self._random.choice((stranger, "", "x")), "status": "BANANA"}]
        await self._call(machine, "SubmitAttachmentStateChanges", {"attachments": changes})

    async def _babble(self, machine: Machine) -> None:
        """Takes the place of its own connection, and says nothing that makes sense on it."""
        arn = machine.records.instance().arn
        if arn is None:
            return
        others = [t.arn for t in self._auditor.tasks.values() if t.instance != arn][:TOUCHED]
        asked = tuple(Candidate(task_arn=arn, task_cluster_arn="", desired_status="RUNNING") for arn in others)
        frames = [
            *self._random.sample(BABBLE, 4),
            encode(AckRequest(cluster="", container_instance=arn, message_id="nobody's")),
            encode(NackRequest(cluster="", container_instance="", message_id="nobody's", reason="why not")),
            encode(TaskStopVerificationMessage(message_id="out of the blue", stop_candidates=asked)),
        ]
        await self._connected(machine, {"containerInstanceArn": arn, "clusterArn": machine.cluster}, tuple(frames))

    def _tasks_of(self, machine: Machine) -> list[Task]:
        tasks = (t for t in self._auditor.tasks.values() if t.last_status < TaskStatus.STOPPED)
        return [task for task in tasks if self._auditor.machine_of(task) is machine][:TOUCHED]

    async def _call(self, machine: Machine, operation: str, params: dict[str, Any]) -> None:
        await self._ask(machine, lambda: self._server.call(machine.name, operation, params))

    async def _connected(self, machine: Machine, query: dict[str, str], frames: tuple[str, ...]) -> None:
        """Connects, sends all that at once, and hangs up when the control plane says something."""
        reply = await self._ask(machine, lambda: self._server.upgrade(machine.name, query))
        if reply.kind != "answer":
            return
        connection: Connection = reply.value
        for frame in frames:
            connection.to_server.put(frame)
        with contextlib.suppress(Hung, TimeoutError):
            async with asyncio.timeout(self._random.uniform(0.01, 5.0)):
                await connection.to_agent.get()
        connection.to_server.put(None)

    async def _ask(self, machine: Machine, submit: Callable[[], asyncio.Future[Reply] | None]) -> Reply:
        """Raises Unreachable."""
        return await self._net.call(machine.name, submit)
