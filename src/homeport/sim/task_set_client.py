"""What somebody who uses the API does with task sets: a deployment controller of one's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from homeport.sim.scenario import CLUSTERS, Step
from homeport.sim.service_calls import Call, Listener
from homeport.sim.slots import family

CLUSTER = CLUSTERS[0]


class TaskSetClient:
    """``capacity``: members that say where the tasks of a slot run; ``define`` registers a step's definition.
    ``listener`` is told of calls under a set's ARN."""

    def __init__(
        self,
        call: Call,
        listener: Listener,
        capacity: Callable[[int], dict[str, Any]],
        define: Callable[[Step], Awaitable[str]],
    ) -> None:
        self._call, self._listener, self._capacity, self._define = call, listener, capacity, define

    async def do(self, step: Step) -> None:
        """Raises Refused, NoAnswer."""
        name = family(step.more["slot"])
        if step.do == "create-task-set":
            definition = await self._define(step)
            where = self._capacity(step.more["slot"])
            members = {"service": name, "taskDefinition": definition, **where, **step.more["members"]}
            began = self._listener.time()
            made = await self._call("CreateTaskSet", cluster=CLUSTER, **members)
            arn, scale = made["taskSet"]["taskSetArn"], step.more["members"]["scale"]["value"]
            # Others may have found the set, and scaled it, before its creation was answered.
            self._listener.asking(arn, "CreateTaskSet", {"scale": scale}, began)({})
            return
        arn = await self._chosen(name, step.pick)
        if arn is None:
            return
        match step.do:
            case "scale-task-set":
                scale = step.more["scale"]
                answered = self._listener.asking(arn, "UpdateTaskSet", {"scale": scale})
                members = {"taskSet": arn, "scale": {"value": scale, "unit": "PERCENT"}}
                await self._call("UpdateTaskSet", cluster=CLUSTER, service=name, **members)
                answered({})
            case "primary-task-set":
                await self._call("UpdateServicePrimaryTaskSet", cluster=CLUSTER, service=name, primaryTaskSet=arn)
            case "delete-task-set":
                answered = self._listener.asking(arn, "DeleteTaskSet", {})
                await self._call("DeleteTaskSet", cluster=CLUSTER, service=name, taskSet=arn, force=step.after)
                answered({})

    async def _chosen(self, name: str, pick: float) -> str | None:
        """One of a service's task sets, by age."""
        described = await self._call("DescribeTaskSets", cluster=CLUSTER, service=name)
        usable = [s for s in described["taskSets"] if s["status"] != "DRAINING"]
        arns = [s["taskSetArn"] for s in sorted(usable, key=lambda s: (s["createdAt"], s["id"]))]
        return arns[int(pick * len(arns))] if arns else None
