"""Container instances through boto3 and the aws CLI; their agents are scripts that speak the agents' protocol."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from homeport.agent.http import HttpTransport
from homeport.agent.transport import CallFailed, Closed
from homeport.system import SystemClock

REGION = "ap-south-1"  # of this file alone
CLUSTER = "machines"
RESOURCES = [
    {"name": "CPU", "type": "INTEGER", "integerValue": 2048},
    {"name": "MEMORY", "type": "INTEGER", "integerValue": 3885},
    {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "2375", "2376", "51678", "51679"]},
    {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
]
DOCUMENT = {
    "availabilityZone": "ap-south-1b",
    "imageId": "ami-0123456789abcdef0",
    "instanceId": "i-0123456789abcdef0",
    "instanceType": "m5.large",
}


@pytest.fixture
def ecs(homeport: Any) -> Iterator[Any]:
    client = homeport.client("ecs", REGION)
    client.create_cluster(clusterName=CLUSTER)
    yield client
    for page in client.get_paginator("list_container_instances").paginate(cluster=CLUSTER):
        for arn in page["containerInstanceArns"]:
            client.deregister_container_instance(cluster=CLUSTER, containerInstance=arn, force=True)
    client.delete_cluster(cluster=CLUSTER)


def register(ecs: Any, **params: Any) -> dict[str, Any]:
    """Registers an instance as Amazon's agent does."""
    defaults = {
        "cluster": CLUSTER,
        "totalResources": RESOURCES,
        "versionInfo": {"agentVersion": "1.79.0", "agentHash": "abc", "dockerVersion": "DockerVersion: 24.0"},
        "attributes": [
            {"name": "ecs.os-type", "value": "linux"},
            {"name": "com.amazonaws.ecs.capability.logging-driver.awslogs"},
        ],
    }
    return ecs.register_container_instance(**{**defaults, **params})["containerInstance"]


class ScriptedAgent:
    """Holds an agent's websocket open until the server or ``close`` ends it; ``code`` is that of a refusal."""

    def __init__(self, homeport: Any, arn: str) -> None:
        self.frames: list[str] = []
        self.code: str | None = None
        self._homeport, self._arn = homeport, arn
        self._loop = asyncio.new_event_loop()
        self._work = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._work,), daemon=True)
        self._thread.start()

    async def _run(self) -> None:
        keys = self._homeport.access_key, self._homeport.secret_key
        transport = HttpTransport(self._homeport.endpoint, *keys, REGION, SystemClock(), "1.79.0")
        query = {"containerInstanceArn": self._arn, "seqNum": "1"}
        try:
            channel = await transport.connect(self._homeport.endpoint, query)
            while True:
                self.frames.append(await channel.receive())
        except CallFailed as error:
            self.code = error.code
        except (Closed, asyncio.CancelledError):
            pass
        finally:
            await transport.close()

    def ended(self) -> bool:
        return not self._thread.is_alive()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._work.cancel)
        self._thread.join(10)
        self._loop.close()


def until(true: Callable[[], bool]) -> None:
    """Homeport has no waiter for instances, nor has AWS."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.feature("Register, describe, list, drain and deregister container instances")
def test_an_instances_life(homeport: Any, ecs: Any) -> None:
    made = register(ecs, instanceIdentityDocument=json.dumps(DOCUMENT), tags=[{"key": "team", "value": "a"}])
    arn = made["containerInstanceArn"]

    def shown() -> dict[str, Any]:
        answer = ecs.describe_container_instances(cluster=CLUSTER, containerInstances=[arn], include=["TAGS"])
        return answer["containerInstances"][0]

    assert made["ec2InstanceId"] == DOCUMENT["instanceId"]
    assert {a["name"]: a.get("value") for a in made["attributes"]}["ecs.instance-type"] == "m5.large"
    assert (shown()["status"], shown()["agentConnected"], shown()["tags"]) == ("ACTIVE", False, made["tags"])
    agent = ScriptedAgent(homeport, arn)
    until(lambda: shown()["agentConnected"])
    until(lambda: any("TaskManifestMessage" in frame for frame in agent.frames))
    changed = ecs.update_container_instances_state(cluster=CLUSTER, containerInstances=[arn], status="DRAINING")
    assert [i["status"] for i in changed["containerInstances"]] == ["DRAINING"]
    newer = ScriptedAgent(homeport, arn)  # another connection with the same identity takes over
    until(agent.ended)
    assert shown()["agentConnected"]
    gone = ecs.deregister_container_instance(cluster=CLUSTER, containerInstance=arn)["containerInstance"]
    assert gone["status"] == "INACTIVE"
    until(newer.ended)
    late = ScriptedAgent(homeport, arn)
    until(late.ended)
    assert late.code == "InactiveInstanceException"
    for ended in (agent, newer, late):
        ended.close()
    assert (shown()["status"], shown()["agentConnected"]) == ("INACTIVE", False)
    assert ecs.list_container_instances(cluster=CLUSTER)["containerInstanceArns"] == []
    assert register(ecs, containerInstanceArn=arn)["containerInstanceArn"] != arn


@pytest.mark.feature("Tasks on container instances: what they take is shown, draining, forced deregistration")
def test_tasks_of_an_instance(homeport: Any, ecs: Any) -> None:
    """The agent is a script: it reports what is expected of it, and starts nothing."""
    web = {
        "name": "app",
        "image": "httpd:2.4",
        "memory": 256,
        "portMappings": [{"containerPort": 80, "hostPort": 8080}],
    }
    definition = ecs.register_task_definition(family="on-machines", containerDefinitions=[web], cpu="512")[
        "taskDefinition"
    ]
    needed = [{"name": a["name"]} for a in definition["requiresAttributes"]]
    arn = register(ecs, attributes=[{"name": "ecs.os-type", "value": "linux"}, *needed])["containerInstanceArn"]

    def shown() -> dict[str, Any]:
        return ecs.describe_container_instances(cluster=CLUSTER, containerInstances=[arn])["containerInstances"][0]

    def left() -> dict[str, Any]:
        return {r["name"]: r.get("stringSetValue", r["integerValue"]) for r in shown()["remainingResources"]}

    wish = {"cluster": CLUSTER, "taskDefinition": "on-machines", "launchType": "EC2"}
    agent = ScriptedAgent(homeport, arn)
    until(lambda: shown()["agentConnected"])
    task = ecs.run_task(**wish)["tasks"][0]["taskArn"]
    until(lambda: any("PayloadMessage" in frame and task in frame for frame in agent.frames))
    assert (shown()["runningTasksCount"], shown()["pendingTasksCount"]) == (0, 1)
    told = [{"containerName": "app", "status": "RUNNING", "runtimeId": "r1"}]
    ecs.submit_task_state_change(cluster=CLUSTER, task=task, status="RUNNING", containers=told)
    ecs.get_waiter("tasks_running").wait(cluster=CLUSTER, tasks=[task], WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    assert (shown()["runningTasksCount"], shown()["pendingTasksCount"]) == (1, 0)
    assert (left()["CPU"], left()["MEMORY"]) == (2048 - 512, 3885 - 256)
    assert "8080" in left()["PORTS"]
    assert [f["reason"] for f in ecs.run_task(**wish)["failures"]] == ["RESOURCE:PORTS"]
    with pytest.raises(ecs.exceptions.InvalidParameterException, match="Found running tasks"):
        ecs.deregister_container_instance(cluster=CLUSTER, containerInstance=arn)
    ecs.update_container_instances_state(cluster=CLUSTER, containerInstances=[arn], status="DRAINING")
    assert ecs.describe_tasks(cluster=CLUSTER, tasks=[task])["tasks"][0]["desiredStatus"] == "RUNNING"
    assert ecs.list_tasks(cluster=CLUSTER, containerInstance=arn)["taskArns"] == [task]
    ecs.deregister_container_instance(cluster=CLUSTER, containerInstance=arn, force=True)
    ecs.get_waiter("tasks_stopped").wait(cluster=CLUSTER, tasks=[task], WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    until(agent.ended)
    agent.close()


@pytest.mark.feature("Custom attributes of container instances, and lists filtered by the cluster query language")
def test_attributes_and_filters(ecs: Any) -> None:
    arns = sorted(register(ecs)["containerInstanceArn"] for _ in range(5))
    put = ecs.put_attributes(cluster=CLUSTER, attributes=[{"name": "stack", "value": "blue", "targetId": arns[3]}])
    assert put["attributes"] == [{"name": "stack", "value": "blue", "targetId": arns[3]}]
    pages = ecs.get_paginator("list_container_instances").paginate(cluster=CLUSTER, PaginationConfig={"PageSize": 2})
    assert [page["containerInstanceArns"] for page in pages] == [arns[:2], arns[2:4], arns[4:]]
    found = ecs.list_container_instances(cluster=CLUSTER, filter="attribute:stack == blue")
    assert found["containerInstanceArns"] == [arns[3]]
    pages = ecs.get_paginator("list_attributes").paginate(
        cluster=CLUSTER, targetType="container-instance", attributeName="ecs.os-type", PaginationConfig={"PageSize": 3}
    )
    assert [a["targetId"] for page in pages for a in page["attributes"]] == arns
    with pytest.raises(ecs.exceptions.TargetNotFoundException):
        ecs.put_attributes(cluster=CLUSTER, attributes=[{"name": "a", "targetId": f"{arns[0][:-4]}0000"}])
    many = [{"name": f"a{n}", "targetId": arns[3]} for n in range(10)]
    with pytest.raises(ecs.exceptions.AttributeLimitExceededException):
        ecs.put_attributes(cluster=CLUSTER, attributes=many)
    ecs.delete_attributes(cluster=CLUSTER, attributes=[{"name": "stack", "targetId": arns[3]}])
    assert ecs.list_container_instances(cluster=CLUSTER, filter="attribute:stack exists")["containerInstanceArns"] == []


@pytest.mark.parametrize(
    ("call", "params", "code"),
    [
        ("deregister_container_instance", {"containerInstance": "0" * 32}, "InvalidParameterException"),
        ("deregister_container_instance", {"containerInstance": "arn:x"}, "InvalidParameterException"),
        ("describe_container_instances", {"containerInstances": []}, "InvalidParameterException"),
        ("list_container_instances", {"filter": "not a filter"}, "InvalidParameterException"),
        ("list_container_instances", {"status": "INACTIVE"}, "InvalidParameterException"),
        ("update_container_instances_state", {"containerInstances": ["x"], "status": "X"}, "InvalidParameterException"),
        ("update_container_agent", {"containerInstance": "0" * 32}, "InvalidParameterException"),
        ("put_attributes", {"attributes": [{"name": "a", "targetId": "x"}]}, "InvalidParameterException"),
        ("list_attributes", {"targetType": "task"}, "InvalidParameterException"),
    ],
)
def test_errors(ecs: Any, call: str, params: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(ecs, call)(cluster=CLUSTER, **params)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_token_of_amazons_agent_registers_once(homeport: Any, ecs: Any) -> None:
    """The public model hides it, so botocore is told of it."""
    client = homeport.client("ecs", REGION)
    client.meta.events.register(
        "before-call.ecs.RegisterContainerInstance",
        lambda params, **_: params.update(
            body=json.dumps({**json.loads(params["body"]), "clientToken": "t-1"}).encode()
        ),
    )
    first, second = register(client), register(client)
    assert first["containerInstanceArn"] == second["containerInstanceArn"] != register(ecs)["containerInstanceArn"]


def test_the_aws_command_line(homeport: Any, ecs: Any) -> None:
    arn = register(ecs)["containerInstanceArn"]

    def aws(*argv: str) -> Any:
        environment = {**os.environ, **homeport.environment, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        command = [str(Path(sys.executable).with_name("aws")), "ecs", *argv, "--cluster", CLUSTER, "--output", "json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert aws("list-container-instances")["containerInstanceArns"] == [arn]
    aws("put-attributes", "--attributes", f"name=stack,value=blue,targetId={arn}")
    listed = aws("list-attributes", "--target-type", "container-instance", "--attribute-name", "stack")
    assert listed["attributes"] == [{"name": "stack", "targetId": arn, "value": "blue"}]
    drained = aws("update-container-instances-state", "--container-instances", arn, "--status", "DRAINING")
    assert drained["containerInstances"][0]["status"] == "DRAINING"
    described = aws(
        "describe-container-instances", "--container-instances", arn, "--include", "CONTAINER_INSTANCE_HEALTH"
    )
    assert described["containerInstances"][0]["healthStatus"]["overallStatus"] == "INSUFFICIENT_DATA"
    gone = aws("deregister-container-instance", "--container-instance", arn, "--force")
    assert gone["containerInstance"]["status"] == "INACTIVE"
