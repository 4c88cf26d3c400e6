"""What somebody who uses the API does with services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from homeport.sim.scenario import CLUSTERS, Step
from homeport.sim.service_calls import Call, Listener
from homeport.sim.slots import SLOTS, family
from homeport.sim.task_set_client import TaskSetClient

CLUSTER = CLUSTERS[0]
DESCRIBED = 10  # services or protected tasks of one call


class ServiceClient:
    """``listener`` is told of calls under a service's name, ``of_sets`` under a task set's ARN."""

    def __init__(
        self,
        call: Call,
        network: Callable[[dict[str, Any]], dict[str, Any]],
        listener: Listener,
        of_sets: Listener,
    ) -> None:
        self._call, self._network, self._listener = call, network, listener
        self._sets = TaskSetClient(call, of_sets, self._capacity, self._define)

    async def do(self, step: Step) -> None:
        """Raises Refused, NoAnswer."""
        if "slot" not in step.more:
            return
        slot, name = step.more["slot"], family(step.more["slot"])
        match step.do:
            case "create-service":
                members = step.more["members"]
                if "definition" in step.more:
                    members = {"taskDefinition": await self._define(step), **self._capacity(slot), **members}
                await self._change("CreateService", name, serviceName=name, **members)
            case "deploy":
                definition = await self._define(step)
                await self._change(
                    "UpdateService", name, service=name, taskDefinition=definition, **step.more["members"]
                )
            case "update-service":
                await self._change("UpdateService", name, service=name, **step.more["members"])
            case "delete-service":
                await self._change("DeleteService", name, service=name, force=step.after)
            case "retire":
                await self._retire(name)
            case "stop-deployment":
                await self._stop_deployment(name)
            case "protect":
                await self._protect(step)
            case "services":
                await self._look()
            case "create-task-set" | "scale-task-set" | "primary-task-set" | "delete-task-set":
                await self._sets.do(step)

    def _capacity(self, slot: int) -> dict[str, Any]:
        """Where the tasks of a slot run: members of CreateService and CreateTaskSet."""
        where = SLOTS[slot]
        capacity: dict[str, Any] = {"launchType": where.capacity}
        if where.capacity == "spare":
            capacity = {"capacityProviderStrategy": [{"capacityProvider": where.capacity, "weight": 1}]}
        if where.mode == "awsvpc":
            public = where.capacity == "FARGATE"
            capacity["networkConfiguration"] = self._network({"groups": [0], "public": public})
        return capacity

    async def task(self, step: Step) -> str | None:
        """One of a service's tasks."""
        arns = await self._tasks(step)
        return arns[int(step.pick * len(arns))] if arns else None

    async def _tasks(self, step: Step) -> list[str]:
        listed = await self._call("ListTasks", cluster=CLUSTER, serviceName=family(step.more["slot"]))
        return sorted(listed["taskArns"])

    async def delete_all(self) -> None:
        for name in await self._names():
            await self._change("DeleteService", name, service=name, force=True)

    async def _names(self) -> list[str]:
        listed = await self._call("ListServices", cluster=CLUSTER, maxResults=100)
        return [arn.rpartition("/")[2] for arn in listed["serviceArns"]]

    async def _change(self, operation: str, name: str, **params: Any) -> None:
        answered = self._listener.asking(name, operation, params)
        answer = await self._call(operation, cluster=CLUSTER, **params)
        answered(answer["service"])

    async def _define(self, step: Step) -> str:
        answer = await self._call("RegisterTaskDefinition", **step.more["definition"])
        arn: str = answer["taskDefinition"]["taskDefinitionArn"]
        return arn

    async def _described(self, name: str) -> dict[str, Any] | None:
        described = await self._call("DescribeServices", cluster=CLUSTER, services=[name])
        return next(iter(described["services"]), None)

    async def _retire(self, name: str) -> None:
        """Deregisters the definition that a service runs, under it."""
        service = await self._described(name)
        if service is not None and service.get("taskDefinition"):
            await self._call("DeregisterTaskDefinition", taskDefinition=service["taskDefinition"])

    async def _stop_deployment(self, name: str) -> None:
        service = await self._described(name)
        arn = (service or {}).get("currentServiceDeployment")
        if arn:
            await self._call("StopServiceDeployment", serviceDeploymentArn=arn, stopType="ROLLBACK")

    async def _protect(self, step: Step) -> None:
        """One of its tasks, or a share of them."""
        arns, minutes = await self._tasks(step), step.more["minutes"]
        first = int(step.pick * len(arns))
        some = (arns[first:] + arns[:first])[: max(1, int(step.more["share"] * len(arns)))][:DESCRIBED]
        if some:
            asked = {"expiresInMinutes": minutes} if minutes else {}
            await self._call(
                "UpdateTaskProtection", cluster=CLUSTER, tasks=some, protectionEnabled=bool(minutes), **asked
            )

    async def _look(self) -> None:
        names = await self._names()
        if names:
            await self._call("DescribeServices", cluster=CLUSTER, services=names[:DESCRIBED])
