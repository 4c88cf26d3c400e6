"""All tasks of this node: accepts them, adopts them at start, hands runtime events to their runners, remembers finished
ones for a while."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from homeport.agent.adopt import adopt, task_of
from homeport.agent.defect import defect
from homeport.agent.drivers import DriverError
from homeport.agent.network import NetworkError
from homeport.agent.network.layout import BRIDGED
from homeport.agent.plan import TaskGoal, initial
from homeport.agent.report import Acknowledged
from homeport.agent.runner import Parts, TaskRunner
from homeport.agent.state import VERSION, TaskRecord
from homeport.agentapi import ManifestTask, PayloadTask, TaskSpec

log = logging.getLogger("homeport.agent.node")

# Seconds for which a finished task is known, so that a late payload doesn't run it twice, and its output is kept.
REMEMBER = 3600.0
SWEEP = 60.0  # seconds between two looks for finished tasks to forget
CLEAN_ATTEMPTS = 3  # for what belongs to no task; the next start tries again
RUNNER_PAUSE = 5.0  # seconds before a runner that failed unexpectedly goes on

UNRECOGNIZED = "UnrecognizedTaskError: Error loading task - the payload has no spec"
NOT_HERE = "TaskStateError: Agent could not progress task's state to stopped"
_TASK_ID = re.compile(r"[0-9a-f]{32}")


def task_id_of(arn: str) -> str | None:
    """The id in a task's ARN: 32 hex characters, fit to name files and cgroups. None: not a task's ARN."""
    task_id = arn.rpartition("/")[2]
    return task_id if _TASK_ID.fullmatch(task_id) else None


class Node:
    def __init__(self, parts: Parts, group: asyncio.TaskGroup) -> None:
        self._parts, self._group = parts, group
        self._runners: dict[str, TaskRunner] = {}
        self._finished: dict[str, float] = {}  # task id → epoch seconds, oldest first

    async def adopt(self) -> None:
        """Continues what an earlier agent left, and removes what belongs to no task. Raises StateDamaged, DriverError,
        NetworkError."""
        parts = self._parts
        records = parts.records.load()
        observed, attached = await asyncio.gather(parts.driver.list(), parts.network.attached())
        found = adopt(records, observed, attached, parts.boot_id, parts.clock.mono())
        self._finished = dict(found.finished)
        await asyncio.gather(*(self._clean(parts.driver.remove, id) for id in found.containers))
        await asyncio.gather(
            *(self._clean(parts.driver.remove_task, id) for id in found.folders),
            *(self._clean(parts.network.detach, id) for id in found.namespaces),
        )
        on_disk = {record.goal.task_id: record for record in records}
        for record in found.tasks:
            self._run(record, on_disk[record.goal.task_id])
        log.info("adopted", extra={"tasks": len(found.tasks), "removed": len(found.containers)})

    def accept(self, task: PayloadTask) -> Awaitable[None]:
        """Takes what the control plane wants of a task (whose ARN has an id); what is returned is done once that is
        durable. May be repeated."""
        task_id = task_id_of(task.arn)
        assert task_id is not None
        runner = self._runners.get(task_id)
        if runner is None and task_id in self._finished:
            runner = self._report_again(task_id)
        if runner is None:
            runner = self._run(_new(task, task_id, self._parts.boot_id), None)
        elif task.desired_status == "STOPPED":
            runner.stop()
        return runner.durable()

    def unlisted(self, manifest: Iterable[ManifestTask]) -> tuple[ManifestTask, ...]:
        """Tasks that shall run here and that the manifest doesn't list as RUNNING. What it lists so and has finished
        here is reported again."""
        wanted = {task.task_arn for task in manifest if task.desired_status == "RUNNING"}
        for task_id in filter(None, map(task_id_of, sorted(wanted))):
            if task_id in self._finished and task_id not in self._runners:
                self._report_again(task_id)
        return tuple(
            ManifestTask(task_arn=r.goal.arn, task_cluster_arn=r.goal.cluster, desired_status="STOPPED")
            for r in self._runners.values()
            if not r.goal.stop and r.goal.arn not in wanted
        )

    def stop(self, arns: Iterable[str]) -> None:
        for arn in arns:
            runner = self._runners.get(task_id_of(arn) or "")
            if runner is not None:
                runner.stop()

    def at(self, vpc_id: str, address: str) -> TaskRunner | None:
        """The task whose interface here has a private address of a VPC (or, where that is BRIDGED, of the bridge)."""
        return next((runner for runner in self._runners.values() if _has(runner, vpc_id, address)), None)

    def tasks(self) -> Iterable[TaskRunner]:
        """All that aren't finished."""
        return self._runners.values()

    def task(self, task_id: str) -> TaskRunner | None:
        return self._runners.get(task_id)

    def kick(self) -> None:
        """The control plane is back: reports that wait for a retry are sent now."""
        for runner in self._runners.values():
            runner.kick()

    def busy(self) -> int:
        """Tasks that aren't finished."""
        return len(self._runners)

    async def watch(self) -> None:
        """Hands the runtime's events to the runners, for ever."""
        while True:
            try:
                async for id in self._parts.driver.events():
                    self._changed(id)
            except DriverError as error:
                log.warning("events of the runtime ended", extra={"error": str(error)})
            await self._parts.clock.sleep(1.0)
            self._changed("")

    async def forget(self) -> None:
        """Deletes the records of tasks that finished long ago, for ever."""
        while True:
            await self._parts.clock.sleep(SWEEP)
            until = self._parts.clock.wall() - REMEMBER
            while self._finished and (oldest := next(iter(self._finished.items())))[1] < until:
                del self._finished[oldest[0]]
                try:
                    await self._parts.records.delete(oldest[0])
                except OSError as error:  # remembered for longer than need be, until the next start
                    log.warning("can't delete a record", extra={"task": oldest[0], "error": str(error)})

    def _changed(self, id: str) -> None:
        if id:
            runner = self._runners.get(task_of(id))
            if runner is not None:
                runner.look(id)
        else:
            for runner in self._runners.values():
                runner.look()

    def _run(self, record: TaskRecord, on_disk: TaskRecord | None) -> TaskRunner:
        runner = TaskRunner(self._parts, record, on_disk)
        self._runners[record.goal.task_id] = runner
        self._group.create_task(self._keep(runner), name=f"task {record.goal.task_id}")
        return runner

    async def _keep(self, runner: TaskRunner) -> None:
        """Runs a runner to its end; one that fails unexpectedly doesn't take the others with it."""
        task_id = runner.goal.task_id
        while True:
            try:
                await runner.run()
                break
            except Exception:
                log.exception("runner failed", extra={"task": task_id})
                await self._parts.clock.sleep(RUNNER_PAUSE)
        del self._runners[task_id]
        self._finished.pop(task_id, None)
        self._finished[task_id] = self._parts.clock.wall()

    def _report_again(self, task_id: str) -> TaskRunner | None:
        record = self._parts.records.find(task_id)
        if record is None:
            return None
        again = msgspec.structs.replace(record, acknowledged=Acknowledged(), finished_at=None)
        return self._run(again, again)

    async def _clean(self, call: Callable[[str], Awaitable[Any]], id: str) -> None:
        for attempt in range(1, CLEAN_ATTEMPTS + 1):
            try:
                await call(id)
                return
            except (DriverError, NetworkError) as error:
                log.warning("can't remove what belongs to no task", extra={"id": id, "error": str(error)})
                await self._parts.clock.sleep(0.2 * attempt)


def _has(runner: TaskRunner, vpc_id: str, address: str) -> bool:
    """Only what is attached: the record of a task that is gone may name an address that is another's by now."""
    interface = runner.goal.spec.interface
    if runner.facts.network != "attached":
        return False
    if vpc_id == BRIDGED:
        return any(network.address == address for network in runner.facts.networks.values())
    if interface is None:
        return False
    return (interface.vpc_id, interface.private_address) == (vpc_id, address)


def _new(task: PayloadTask, task_id: str, boot_id: str) -> TaskRecord:
    """The record of a task that was not known here."""
    stop = task.desired_status == "STOPPED"
    spec = task.spec or TaskSpec(family=task.family, revision=0, region="", availability_zone="")
    failure = NOT_HERE if stop else UNRECOGNIZED if task.spec is None else defect(spec, task.arn)
    goal = TaskGoal(arn=task.arn, cluster=task.task_cluster_arn, task_id=task_id, spec=spec, stop=stop)
    return TaskRecord(version=VERSION, boot_id=boot_id, goal=goal, facts=initial(spec, failure))
