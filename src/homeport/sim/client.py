"""Somebody who uses the API as the SDKs do: repeats what wasn't answered, believes what was."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from homeport.sim.audit import Auditor
from homeport.sim.control import ACCOUNT, REGION, SUBNETS_USED, Server, root
from homeport.sim.definitions import network_mode
from homeport.sim.ledger import Wish
from homeport.sim.net import Net, Unreachable
from homeport.sim.rules import RULES
from homeport.sim.scenario import CLUSTERS, GROUPS, Step
from homeport.sim.service_client import ServiceClient

ATTEMPTS = 8
PAUSE = 0.5  # seconds before the first repetition; each next one waits twice as long, at most 8 s
NAME = "client"  # as the network knows it
_SEE = {  # errors that a correct caller may get in these scenarios
    "ClientException",  # a task definition whose registration is still being repeated
    "ClusterNotFoundException",
    "ClusterContainsTasksException",
    "ConflictException",
    "InvalidParameterException",
    "InvalidPermission.Duplicate",
    "InvalidPermission.NotFound",
    "ServiceDeploymentNotFoundException",
    "ServiceNotActiveException",
    "ServiceNotFoundException",
    "LimitExceededException",  # of task sets
    "TaskSetNotFoundException",
    "TargetNotFoundException",
}


class Refused(Exception):
    """An error that the API answered."""


class NoAnswer(Exception):
    """Not even after repetitions: it may have happened or not."""


class Client:
    def __init__(self, net: Net, server: Server, auditor: Auditor) -> None:
        self._net, self._server, self._auditor = net, server, auditor
        self._root = root()
        self._subnets: list[str] = []
        self._groups: list[str] = []
        self._tasks: list[str] = []  # ARNs that RunTask answered
        self._services = ServiceClient(self._ecs, self._network, auditor.services.calls, auditor.services.set_calls)

    async def prepare(self, providers: Mapping[str, str] = {}) -> None:
        """Clusters, groups and capacity providers, each with its Auto Scaling group, before anything goes wrong."""
        for cluster in CLUSTERS:
            await self._ecs("CreateCluster", clusterName=cluster)
        subnets = (await self._call("ec2", "DescribeSubnets"))["Subnets"]
        self._subnets = sorted(s["SubnetId"] for s in subnets)[:SUBNETS_USED]
        for number in range(GROUPS):
            made = await self._call("ec2", "CreateSecurityGroup", GroupName=f"g{number}", Description="g")
            self._groups.append(made["GroupId"])
        for name, group in providers.items():
            arn = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:{'0' * 8}:autoScalingGroupName/{group}"
            provider = {"autoScalingGroupArn": arn, "managedScaling": {"status": "ENABLED"}}
            await self._ecs("CreateCapacityProvider", name=name, autoScalingGroupProvider=provider)
        if providers:
            await self._ecs(
                "PutClusterCapacityProviders",
                cluster=CLUSTERS[0],
                capacityProviders=list(providers),
                defaultCapacityProviderStrategy=[],
            )

    async def do(self, step: Step) -> None:
        try:
            await self._do(step)
        except (Refused, NoAnswer) as error:
            self._auditor.happened(f"client: {step.do}: {error}")

    async def stop_everything(self) -> None:
        await self._services.delete_all()
        for cluster in CLUSTERS:
            try:
                listed = await self._ecs("ListTasks", cluster=cluster)
            except Refused:
                continue  # deleted
            for arn in listed["taskArns"]:
                await self._stop(arn)

    async def _do(self, step: Step) -> None:
        match step.do:
            case "define":
                fargate = {"networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"]}
                await self._ecs("RegisterTaskDefinition", **{**fargate, **step.more})
            case "run":
                await self._run(step.more)
            case "stop":
                left = [arn for arn in self._tasks if arn not in self._auditor.asked]
                if left:
                    await self._stop(left[int(step.pick * len(left))])
            case "describe":
                await self._describe(step.pick)
            case "list":
                await self._ecs("ListTasks", cluster=CLUSTERS[int(step.pick * len(CLUSTERS))])
            case "allow":
                await self._rule("AuthorizeSecurityGroupIngress", step.more)
            case "deny":
                await self._rule("RevokeSecurityGroupIngress", step.more)
            case "delete-cluster":
                await self._ecs("DeleteCluster", cluster=step.more["cluster"])
            case "create-cluster":
                await self._ecs("CreateCluster", clusterName=step.more["cluster"])
            case "place":
                await self._place(step.more)
            case "start" | "drain" | "activate" | "deregister" | "put-attribute":
                arn = self._instance(step.node)
                if arn is not None:
                    await self._manage(step, arn)
            case "instances":
                await self._look_at_instances(step.pick)
            case "stop-of-service":
                arn = await self._services.task(step)
                if arn is not None:
                    await self._stop(arn)
            case _:
                await self._services.do(step)

    async def _run(self, more: dict[str, Any]) -> None:
        await self._make(
            "RunTask",
            more,
            count=more["count"],
            launchType="FARGATE",
            networkConfiguration=self._network(more),
            clientToken=more["token"],
        )

    async def _place(self, more: dict[str, Any]) -> None:
        asked = more["constraints"]
        expressions = tuple(c["expression"] for c in asked if c["type"] == "memberOf")
        distinct = any(c["type"] == "distinctInstance" for c in asked)
        self._auditor.ledger.wishes[more["token"]] = Wish(expressions=expressions, distinct=distinct)
        provider = more["provider"]
        capacity = [{"capacityProvider": provider, "weight": 1}] if provider else None
        await self._make(
            "RunTask",
            more,
            count=more["count"],
            **({"capacityProviderStrategy": capacity} if capacity else {"launchType": more["launchType"]}),
            placementConstraints=asked,
            placementStrategy=more["strategy"],
            clientToken=more["token"],
            **self._placed(more),
        )

    def _placed(self, more: dict[str, Any]) -> dict[str, Any]:
        """Members of RunTask and StartTask for tasks of container instances."""
        members = {"group": more["group"]} if more["group"] else {}
        if network_mode(more["family"]) != "awsvpc":
            return members
        return {**members, "networkConfiguration": self._network({**more, "public": False})}

    def _network(self, more: dict[str, Any]) -> dict[str, Any]:
        vpc = {
            "subnets": self._subnets,
            "securityGroups": [self._groups[number] for number in more["groups"]],
            "assignPublicIp": "ENABLED" if more["public"] else "DISABLED",
        }
        return {"awsvpcConfiguration": vpc}

    async def _make(self, operation: str, more: dict[str, Any], **members: Any) -> None:
        """Calls RunTask or StartTask."""
        token: str = more["token"]
        self._auditor.wanted[token] = members.get("count", ATTEMPTS)  # StartTask can't tell a repetition
        family = f"f{more['family']}"
        answer = await self._ecs(operation, cluster=more["cluster"], taskDefinition=family, startedBy=token, **members)
        made = [task["taskArn"] for task in answer["tasks"]]
        refusals = ", ".join(failure["reason"] for failure in answer["failures"])
        self._auditor.happened(f"client: {operation} made {len(made)} tasks{refusals and f'; refused: {refusals}'}")
        self._auditor.acknowledged |= {arn: self._auditor.acknowledged.get(arn, False) for arn in made}
        self._tasks += [arn for arn in made if arn not in self._tasks]

    def _instance(self, number: int) -> str | None:
        """As which container instance a machine is registered, if it is one of a cluster."""
        machines = list(self._auditor.machines.values())
        arn = machines[number % len(machines)].records.instance().arn
        return None if arn is None or ":container-instance/fargate/" in arn else arn

    async def _manage(self, step: Step, arn: str) -> None:
        cluster = _cluster(arn)
        match step.do:
            case "start":
                self._auditor.ledger.wishes[step.more["token"]] = Wish(started=True)
                await self._make("StartTask", step.more, containerInstances=[arn], **self._placed(step.more))
            case "drain" | "activate":
                status = "DRAINING" if step.do == "drain" else "ACTIVE"
                await self._ecs(
                    "UpdateContainerInstancesState", cluster=cluster, containerInstances=[arn], status=status
                )
            case "deregister":
                if step.after:
                    self._auditor.giving_up(arn)
                await self._ecs("DeregisterContainerInstance", cluster=cluster, containerInstance=arn, force=step.after)
            case _:
                name, value = step.more["name"], step.more["value"]
                attribute = {"name": name, "targetType": "container-instance", "targetId": arn}
                if value is None:
                    await self._ecs("DeleteAttributes", cluster=cluster, attributes=[attribute])
                else:
                    await self._ecs("PutAttributes", cluster=cluster, attributes=[{**attribute, "value": value}])

    async def _look_at_instances(self, pick: float) -> None:
        rules = list(RULES)
        rule = rules[int(pick * len(rules))]
        listed = await self._ecs("ListContainerInstances", cluster=CLUSTERS[0], filter=rule)
        some = listed["containerInstanceArns"]
        if some:
            await self._ecs("DescribeContainerInstances", cluster=CLUSTERS[0], containerInstances=some)

    async def _stop(self, arn: str) -> None:
        self._auditor.asked.add(arn)
        await self._ecs("StopTask", cluster=_cluster(arn), task=arn)
        if arn in self._auditor.acknowledged:
            self._auditor.acknowledged[arn] = True

    async def _describe(self, pick: float) -> None:
        start = int(pick * len(self._tasks))
        for cluster in CLUSTERS:
            some = [arn for arn in self._tasks[start : start + 20] if _cluster(arn) == cluster]
            if some:
                await self._ecs("DescribeTasks", cluster=cluster, tasks=some)

    async def _rule(self, operation: str, more: dict[str, Any]) -> None:
        port, peer = more["port"], more["peer"]
        permission: dict[str, Any] = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port}
        if peer is None:
            permission["IpRanges"] = [{"CidrIp": "0.0.0.0/0"}]
        else:
            permission["UserIdGroupPairs"] = [{"GroupId": self._groups[peer]}]
        await self._call("ec2", operation, GroupId=self._groups[more["group"]], IpPermissions=[permission])

    async def _ecs(self, operation: str, /, **params: Any) -> dict[str, Any]:
        before = self._auditor.told()
        answer = await self._call("ecs", operation, **params)
        tasks = answer.get("tasks") or ([answer["task"]] if "task" in answer else [])
        self._auditor.answered(tasks, before)
        return answer

    async def _call(self, service: str, operation: str, /, **params: Any) -> dict[str, Any]:
        """Raises Refused, NoAnswer."""
        pause, why = PAUSE, ""
        for _ in range(ATTEMPTS):
            try:
                reply = await self._net.call(NAME, lambda: self._server.operate(self._root, service, operation, params))
            except Unreachable as error:
                why = str(error)
            else:
                if reply.kind == "answer":
                    self._auditor.happened(f"client: {operation} answered")
                    answer: dict[str, Any] = reply.value
                    return answer
                code, text = reply.value
                if code != "ServerException":
                    if code not in _SEE:
                        self._auditor.fail("no call is refused without a reason", f"{operation}: {code}: {text}")
                    raise Refused(f"{operation}: {code}: {text}")
                why = text
            await asyncio.sleep(pause)
            pause = min(8.0, 2 * pause)
        raise NoAnswer(f"{operation}: {why}")


def _cluster(arn: str) -> str:
    return arn.split("/")[1]
