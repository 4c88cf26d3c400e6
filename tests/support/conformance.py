"""Calls of all operations of ecs, by hand-signed requests, and a good request for each of them."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from support import shapes
from support.tasks import until

TARGET = "AmazonEC2ContainerServiceV20141113."
PATIENCE = 10.0  # seconds; an answer that takes longer is a hang
ACCOUNT = "123456789012"
CLUSTER, FAMILY = "conformance", "conformance"
SERVICE, EXTERNAL = "conformance", "external"
NOTHING = "f" * 32  # the id of no task and no instance

UNBUILT = {
    "daemons": (
        *("CreateDaemon", "DeleteDaemon", "DescribeDaemon", "DescribeDaemonDeployments", "DescribeDaemonRevisions"),
        *("ListDaemonDeployments", "ListDaemons", "UpdateDaemon", "RegisterDaemonTaskDefinition"),
        *("DescribeDaemonTaskDefinition", "ListDaemonTaskDefinitions", "DeleteDaemonTaskDefinition"),
    ),
    "Express services": (
        *("CreateExpressGatewayService", "DeleteExpressGatewayService"),
        *("DescribeExpressGatewayService", "UpdateExpressGatewayService"),
    ),
    "gateways": (
        *("AssociateGatewayWithCluster", "CreateGateway", "DeleteGateway", "DescribeGateway"),
        *("DescribeGatewayResources", "DescribeGatewayRoute", "DisassociateGatewayFromCluster"),
        *("ListGatewayClusterAssociations", "ListGatewayRoutes", "ListGateways", "UpdateGateway"),
    ),
}


class Answer(NamedTuple):
    status: int
    body: Any
    seconds: float

    @property
    def code(self) -> str:
        """``OK``, or the error's name."""
        return "OK" if self.status == 200 else str(self.body.get("__type"))

    @property
    def message(self) -> str:
        return str(self.body.get("message"))


class Caller:
    """One kept-alive connection to the API at ``url``."""

    def __init__(self, url: str, access_key: str, secret_key: str, region: str) -> None:
        self.region, self._host = region, urlsplit(url).netloc
        self._url = url.rstrip("/") + "/"
        self._signer = SigV4Auth(Credentials(access_key, secret_key), "ecs", region)
        self._connection = http.client.HTTPConnection(self._host, timeout=PATIENCE)
        self.counts: Counter[str] = Counter()
        self.answered: set[str] = set()
        self.slowest = 0.0

    def __call__(self, operation: str, body: bytes | dict[str, Any], target: str | None = None) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": TARGET + operation if target is None else target,
        }
        request = AWSRequest("POST", self._url, headers=headers, data=data)
        self._signer.add_auth(request)
        begun = time.monotonic()
        self._connection.request("POST", "/", data, {**request.headers, "host": self._host})
        reply = self._connection.getresponse()
        raw = reply.read()
        answer = Answer(reply.status, json.loads(raw), time.monotonic() - begun)
        self.slowest = max(self.slowest, answer.seconds)
        if answer.code != "UnknownOperationException":
            self.answered.add(operation)
        return answer

    def ok(self, operation: str, **body: Any) -> Any:
        answer = self(operation, body)
        assert answer.status == 200, (operation, body, answer)
        return answer.body

    def arn(self, resource: str, region: str | None = None, account: str = ACCOUNT) -> str:
        return f"arn:aws:ecs:{region or self.region}:{account}:{resource}"


def problems(operation: str, answer: Answer) -> list[str]:
    """What is wrong with an answer, whatever was asked: a fault, an error that the model doesn't declare, a shape that
    isn't the output's."""
    if answer.status == 200:
        shape = shapes.MODEL.operation_model(operation).output_shape
        return list(shapes.misfits(answer.body, shape, operation))
    if answer.status != 400:
        return [f"{operation}: status {answer.status} {answer.body}"]
    if answer.code not in shapes.declared_errors(operation) | shapes.COMMON_ERRORS or answer.code == "ServerException":
        return [f"{operation}: {answer.code} is none of its errors ({answer.message})"]
    return []


class Account:
    """What the good requests are about: a cluster, a task definition, an instance and a task in a region of their
    own."""

    def __init__(self, caller: Caller, subnet: str) -> None:
        self.call = caller
        self.network = {"awsvpcConfiguration": {"subnets": [subnet]}}
        self.prepare()
        ran = caller.ok("RunTask", **self.launch())
        self.task = ran["tasks"][0]["taskArn"] if ran["tasks"] else caller.arn(f"task/{CLUSTER}/{NOTHING}")

    def prepare(self) -> None:
        """Makes cluster, definition and instance."""
        self.call.ok("CreateCluster", clusterName=CLUSTER)
        self.call.ok("CreateCluster")
        self.definition = self.register(FAMILY)
        self.make_service(SERVICE)
        self.make_service(EXTERNAL, external=True)
        self.instance = self.register_instance()

    def register(self, family: str) -> str:
        made = self.call.ok(
            "RegisterTaskDefinition",
            family=family,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[
                {"name": "main", "image": "homeport-test:latest", "command": ["sleep", "600"], "stopTimeout": 2}
            ],
        )
        return str(made["taskDefinition"]["taskDefinitionArn"])

    def make_service(self, name: str, *, external: bool = False) -> str:
        """Its name. It wants no tasks; an external one has no task sets."""
        what: dict[str, Any] = {"deploymentController": {"type": "EXTERNAL"}}
        if not external:
            what = {"taskDefinition": FAMILY, "launchType": "FARGATE", "networkConfiguration": self.network}
        made = self.call("CreateService", {"cluster": CLUSTER, "serviceName": name, "desiredCount": 0, **what})
        assert made.code == "OK" or "idempotent" in made.message, made  # it may have been changed meanwhile
        return name

    def register_instance(self) -> str:
        """Its ARN; no agent ever connects as it."""
        sizes = [{"name": n, "type": "INTEGER", "integerValue": v} for n, v in (("CPU", 2048), ("MEMORY", 4096))]
        version = {"agentVersion": "1.100.0"}
        made = self.call.ok("RegisterContainerInstance", cluster=CLUSTER, totalResources=sizes, versionInfo=version)
        return str(made["containerInstance"]["containerInstanceArn"])

    def launch(self) -> dict[str, Any]:
        """The members of a RunTask that starts a task, where there is a node for it."""
        return {
            "cluster": CLUSTER,
            "taskDefinition": self.definition,
            "launchType": "FARGATE",
            "networkConfiguration": self.network,
        }

    def names(self, member: str) -> Any:
        """A value for a member of this name that operations accept; None where any text will do."""
        arn = self.call.arn
        match member:
            case "cluster" | "clusters":
                return CLUSTER
            case "clusterArn":
                return arn(f"cluster/{CLUSTER}")
            case "taskDefinition" | "taskDefinitions":
                return self.definition
            case "task" | "tasks":
                return self.task
            case "containerInstance" | "containerInstances":
                return self.instance
            case "service":
                return SERVICE
            case "resourceArn":
                return arn(f"cluster/{CLUSTER}")
            case "attachmentArn":
                return arn(f"attachment/{CLUSTER}/00000000-0000-4000-8000-000000000000")
            case "autoScalingGroupArn":
                return (
                    f"arn:aws:autoscaling:{self.call.region}:{ACCOUNT}:autoScalingGroup:"
                    "00000000-0000-4000-8000-000000000000:autoScalingGroupName/machines"
                )
            case "taskDefinitionArn":
                return self.definition
            case "gatewayRouteArn":
                return arn("gateway-route/none/none")
            case "principalArn":
                return f"arn:aws:iam::{ACCOUNT}:root"
            case "capacityProvider" | "capacityProviders":
                return "FARGATE"
            case "interactive":
                return True
        if member.endswith("RoleArn") or member == "roleArn":
            return f"arn:aws:iam::{ACCOUNT}:role/none"
        return self._arns(member)

    def _arns(self, member: str) -> str | None:
        """ARNs of kinds that there are none of, and of the service."""
        kinds = {
            "serviceDeploymentArn": f"service-deployment/{CLUSTER}/none/EZe5RNVLH6PPzHXINuP28",
            "serviceRevisionArn": f"service-revision/{CLUSTER}/none/4980306466373577095",
            "daemonDeploymentArn": f"daemon-deployment/{CLUSTER}/none/EZe5RNVLH6PPzHXINuP28",
            "daemonRevisionArn": f"daemon-revision/{CLUSTER}/none/4980306466373577095",
            "daemonTaskDefinitionArn": "daemon-task-definition/none:1",
            "daemonArn": f"daemon/{CLUSTER}/none",
            "capacityProviderArn": "capacity-provider/none",
            "serviceArn": f"service/{CLUSTER}/{SERVICE}",
        }
        resource = kinds.get(member.removesuffix("s"))
        return self.call.arn(resource) if resource else None

    def good(self, operation: str) -> dict[str, Any]:
        """A valid request: the smallest that the model allows, with what ECS needs besides. Makes what it needs."""
        make = _GOOD.get(operation)
        smallest = shapes.smallest(shapes.input_shape(operation), self.names)
        return {**smallest, **(make(self) if make else {})}

    def _spare_cluster(self) -> str:
        self.call.ok("CreateCluster", clusterName="spare")
        return "spare"

    def _inactive_definition(self) -> str:
        arn = self.register("spare")
        self.call.ok("DeregisterTaskDefinition", taskDefinition=arn)
        return arn

    def _running_task(self) -> str:
        ran = self.call.ok("RunTask", **self.launch())
        return str(ran["tasks"][0]["taskArn"]) if ran["tasks"] else self.task

    def _spare_service(self, *, external: bool = False) -> str:
        name = f"spare-{len(self._services)}"
        self._services.append(name)
        return self.make_service(name, external=external)

    def _task_set(self) -> dict[str, Any]:
        """Names a task set of a service of its own."""
        service = {"cluster": CLUSTER, "service": self._spare_service(external=True)}
        made = self.call.ok("CreateTaskSet", **service, **self._set())
        return {**service, "taskSet": made["taskSet"]["id"]}

    def _set(self) -> dict[str, Any]:
        launched = {"taskDefinition": self.definition, "launchType": "FARGATE"}
        return {**launched, "networkConfiguration": self.network}

    def _deployment(self) -> dict[str, Any]:
        """Names a service deployment that isn't over: its task has only just begun to start."""
        name = self._spare_service()
        self.call.ok("UpdateService", cluster=CLUSTER, service=name, desiredCount=1)
        made = self.call.ok("UpdateService", cluster=CLUSTER, service=name, forceNewDeployment=True)["service"]
        return {"serviceDeploymentArn": made["currentServiceDeployment"]}

    @property
    def _services(self) -> list[str]:
        return self.__dict__.setdefault("made_services", [])

    def _provider(self) -> dict[str, Any]:
        name = f"spare-{len(self._providers)}"
        self._providers.append(name)
        group = {"autoScalingGroupArn": self.names("autoScalingGroupArn").replace("machines", name)}
        self.call.ok("CreateCapacityProvider", name=name, autoScalingGroupProvider=group)
        return {"name": name}

    @property
    def _providers(self) -> list[str]:
        return self.__dict__.setdefault("made_providers", [])

    def close(self) -> None:
        """Leaves the region without services, tasks and instances."""
        for cluster in self.call.ok("ListClusters")["clusterArns"]:
            while services := self.call.ok("ListServices", cluster=cluster)["serviceArns"]:
                for arn in services:
                    self.call.ok("DeleteService", cluster=cluster, service=arn, force=True)
        running = self.call.ok("ListTasks", cluster=CLUSTER)["taskArns"]
        for arn in running:
            self.call.ok("StopTask", cluster=CLUSTER, task=arn)
        for cluster in self.call.ok("ListClusters")["clusterArns"]:
            while left := self.call.ok("ListContainerInstances", cluster=cluster)["containerInstanceArns"]:
                for arn in left:
                    self.call.ok("DeregisterContainerInstance", cluster=cluster, containerInstance=arn, force=True)
        if running:
            describe = {"cluster": CLUSTER, "tasks": running}
            stopped = lambda answer: all(task["lastStatus"] == "STOPPED" for task in answer["tasks"])  # noqa: E731
            until(lambda: self.call.ok("DescribeTasks", **describe), stopped)


_SIZES = [{"name": n, "type": "INTEGER", "integerValue": v} for n, v in (("CPU", 1024), ("MEMORY", 1024))]
_TAGS = [{"key": "conformance", "value": "yes"}]
_CONTAINERS = [{"name": "main", "image": "test", "memory": 64}]
_SERVICE = {"serviceName": "spare", "desiredCount": 0, "launchType": "FARGATE", "cluster": CLUSTER}


def _primary(named: dict[str, Any]) -> dict[str, Any]:
    return {"cluster": named["cluster"], "service": named["service"], "primaryTaskSet": named["taskSet"]}


_GOOD: dict[str, Callable[[Account], dict[str, Any]]] = {
    "CreateCapacityProvider": lambda a: {
        "name": "made",
        "autoScalingGroupProvider": {"autoScalingGroupArn": a.names("autoScalingGroupArn")},
    },
    "CreateService": lambda a: {**_SERVICE, "taskDefinition": a.definition, "networkConfiguration": a.network},
    "CreateTaskSet": lambda a: {"service": a._spare_service(external=True), **a._set()},
    "UpdateService": lambda a: {"cluster": CLUSTER, "desiredCount": 0},
    "DeleteService": lambda a: {"cluster": CLUSTER, "service": a._spare_service()},
    "UpdateTaskSet": lambda a: a._task_set(),
    "UpdateServicePrimaryTaskSet": lambda a: _primary(a._task_set()),
    "DeleteTaskSet": lambda a: a._task_set(),
    "DescribeTaskSets": lambda a: {"cluster": CLUSTER, "service": EXTERNAL},
    "ListServiceDeployments": lambda a: {"cluster": CLUSTER},
    "StopServiceDeployment": lambda a: a._deployment(),
    "CreateGateway": lambda a: {"configuration": {"hostSharedAlb": {}}},
    "DeleteAttributes": lambda a: {
        "cluster": CLUSTER,
        "attributes": [{"name": "none", "targetType": "container-instance", "targetId": a.instance}],
    },
    "DeleteCapacityProvider": lambda a: {"capacityProvider": a._provider()["name"]},
    "DeleteCluster": lambda a: {"cluster": a._spare_cluster()},
    "DeleteTaskDefinitions": lambda a: {"taskDefinitions": [a._inactive_definition()]},
    "DeregisterContainerInstance": lambda a: {"cluster": CLUSTER, "containerInstance": a.register_instance()},
    "DeregisterTaskDefinition": lambda a: {"taskDefinition": a.register("spare")},
    "DescribeContainerInstances": lambda a: {"cluster": CLUSTER},
    "DescribeTasks": lambda a: {"cluster": CLUSTER},
    "DescribeServices": lambda a: {"cluster": CLUSTER, "services": [SERVICE]},
    "ExecuteCommand": lambda a: {"cluster": CLUSTER, "command": "true"},
    "GetTaskProtection": lambda a: {"tasks": [a.task]},
    "ListAttributes": lambda a: {"cluster": CLUSTER},
    "PutAccountSetting": lambda a: {"name": "awsvpcTrunking", "value": "enabled"},
    "PutAccountSettingDefault": lambda a: {"name": "awsvpcTrunking", "value": "disabled"},
    "PutAttributes": lambda a: {
        "cluster": CLUSTER,
        "attributes": [{"name": "stack", "value": "a", "targetType": "container-instance", "targetId": a.instance}],
    },
    "PutClusterCapacityProviders": lambda a: {
        "capacityProviders": ["FARGATE"],
        "defaultCapacityProviderStrategy": [],
    },
    "RegisterContainerInstance": lambda a: {"cluster": CLUSTER, "totalResources": _SIZES},
    "RegisterTaskDefinition": lambda a: {"family": "spare", "containerDefinitions": _CONTAINERS},
    "RunTask": lambda a: a.launch(),
    "StartTask": lambda a: {
        "cluster": CLUSTER,
        "taskDefinition": a.definition,
        "containerInstances": [a.instance],
        "networkConfiguration": a.network,
    },
    "StopTask": lambda a: {"cluster": CLUSTER, "task": a._running_task()},
    "TagResource": lambda a: {"tags": _TAGS},
    "UntagResource": lambda a: {"tagKeys": ["conformance"]},
    "UpdateCapacityProvider": lambda a: {**a._provider(), "autoScalingGroupProvider": {}},
    "UpdateClusterSettings": lambda a: {"settings": [{"name": "containerInsights", "value": "enabled"}]},
    "UpdateContainerAgent": lambda a: {"cluster": CLUSTER},
    "UpdateContainerInstancesState": lambda a: {"cluster": CLUSTER, "status": "ACTIVE"},
    "UpdateTaskProtection": lambda a: {"tasks": [a.task], "protectionEnabled": True},
}

# What a good request is answered with where that isn't 200: no deployment is paused, there is no newer agent, no
# execute command agent that runs, and the caller isn't the node of any task.
EXPECTED: dict[str, str] = {
    **dict.fromkeys((o for some in UNBUILT.values() for o in some), "UnsupportedFeatureException"),
    **{o: "ClientException" for o in UNBUILT["daemons"] if o.endswith(("TaskDefinition", "TaskDefinitions"))},
    "ContinueServiceDeployment": "ServiceDeploymentNotFoundException",
    "ListServicesByNamespace": "NamespaceNotFoundException",
    "ExecuteCommand": "InvalidParameterException",
    "UpdateContainerAgent": "NoUpdateAvailableException",
    "SubmitAttachmentStateChanges": "InvalidParameterException",
    "SubmitContainerStateChange": "InvalidParameterException",
    "SubmitTaskStateChange": "InvalidParameterException",
}
