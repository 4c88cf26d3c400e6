"""Tasks on container instances through boto3, and the commands that go with placement. The instances are scripts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from support.instance import ScriptedInstance
from support.tasks import until

REGION = "us-east-1"  # the home region, which `homeport explain` looks at
CLUSTER = "launching"
FAST = {"Delay": 1, "MaxAttempts": 30}
Start = Callable[..., ScriptedInstance]


@pytest.fixture
def ecs(homeport: Any) -> Iterator[Any]:
    client = homeport.client("ecs", REGION)
    client.create_cluster(clusterName=CLUSTER)
    web = {"name": "app", "image": "httpd:2.4", "cpu": 128, "memory": 128}
    port = {"portMappings": [{"containerPort": 80, "hostPort": 8081}]}
    client.register_task_definition(family="launched", containerDefinitions=[web])
    client.register_task_definition(family="launched-port", containerDefinitions=[web | port])
    yield client
    for status in ("RUNNING", "STOPPED"):
        for task in client.list_tasks(cluster=CLUSTER, desiredStatus=status)["taskArns"]:
            client.stop_task(cluster=CLUSTER, task=task)
    ending = client.list_tasks(cluster=CLUSTER, desiredStatus="STOPPED")["taskArns"]
    if ending:
        client.get_waiter("tasks_stopped").wait(cluster=CLUSTER, tasks=ending, WaiterConfig=FAST)
    client.put_cluster_capacity_providers(cluster=CLUSTER, capacityProviders=[], defaultCapacityProviderStrategy=[])
    for provider in client.describe_capacity_providers()["capacityProviders"]:
        if not provider["name"].startswith("FARGATE"):
            client.delete_capacity_provider(capacityProvider=provider["name"])
    client.delete_cluster(cluster=CLUSTER)


@pytest.fixture
def start(homeport: Any, ecs: Any) -> Iterator[Start]:
    """Starts an instance with these attributes."""
    with ExitStack() as stack:

        def started(**attributes: str) -> ScriptedInstance:
            made = ScriptedInstance(homeport, REGION, CLUSTER, **attributes)
            return stack.enter_context(closing(made))

        yield started


def provide(ecs: Any, *names: str, scaling: str = "DISABLED") -> None:
    for name in names:
        group = f"arn:aws:autoscaling:{REGION}:123456789012:autoScalingGroup:1:autoScalingGroupName/{name}"
        provider = {"autoScalingGroupArn": group, "managedScaling": {"status": scaling}}
        ecs.create_capacity_provider(name=name, autoScalingGroupProvider=provider)
    ecs.put_cluster_capacity_providers(
        cluster=CLUSTER, capacityProviders=list(names), defaultCapacityProviderStrategy=[]
    )


@pytest.mark.feature("Capacity providers over Auto Scaling groups: strategies with base and weight")
def test_a_capacity_provider_strategy(ecs: Any, start: Start) -> None:
    provide(ecs, "spare", "main")
    instances = {name: start(**{"homeport.auto-scaling-group": name}).arn for name in ("spare", "main")}
    strategy = [
        {"capacityProvider": "main", "base": 2, "weight": 1},
        {"capacityProvider": "spare", "weight": 3},
    ]
    answer = ecs.run_task(cluster=CLUSTER, taskDefinition="launched", count=6, capacityProviderStrategy=strategy)
    assert answer["failures"] == []
    placed = Counter((t["capacityProviderName"], t["containerInstanceArn"]) for t in answer["tasks"])
    assert placed == {("main", instances["main"]): 3, ("spare", instances["spare"]): 3}
    with pytest.raises(ecs.exceptions.ResourceInUseException):
        ecs.put_cluster_capacity_providers(
            cluster=CLUSTER, capacityProviders=["main"], defaultCapacityProviderStrategy=[]
        )


@pytest.mark.feature("Tasks wait in PROVISIONING until their capacity provider has an instance with room")
def test_a_task_waits_for_its_instance(ecs: Any, start: Start) -> None:
    provide(ecs, "grows", scaling="ENABLED")
    strategy = [{"capacityProvider": "grows"}]
    answer = ecs.run_task(cluster=CLUSTER, taskDefinition="launched", capacityProviderStrategy=strategy)
    task = answer["tasks"][0]["taskArn"]
    assert answer["tasks"][0]["lastStatus"] == "PROVISIONING"
    instance = start(**{"homeport.auto-scaling-group": "grows"})
    instance.hears_of(task)
    instance.report(task, "RUNNING", runtimeId="r1")
    ecs.get_waiter("tasks_running").wait(cluster=CLUSTER, tasks=[task], WaiterConfig=FAST)
    ecs.stop_task(cluster=CLUSTER, task=task)
    instance.report(task, "STOPPED", exitCode=0)
    ecs.get_waiter("tasks_stopped").wait(cluster=CLUSTER, tasks=[task], WaiterConfig=FAST)


@pytest.mark.feature("StartTask, and why an instance refuses a task")
def test_start_task_and_ports(homeport: Any, ecs: Any, start: Start) -> None:
    first, second = start(), start()
    wish = {"cluster": CLUSTER, "taskDefinition": "launched-port"}
    answer = ecs.start_task(**wish, containerInstances=[first.arn, "0" * 32])
    assert [f["reason"] for f in answer["failures"]] == ["MISSING"]
    task = answer["tasks"][0]["taskArn"]
    again = ecs.start_task(**wish, containerInstances=[first.arn])
    assert again["failures"] == [{"arn": first.arn, "reason": "RESOURCE:PORTS"}]
    told = json.loads(homeport.command("explain", "launched-port", "--cluster", CLUSTER, "--json").stdout)
    assert {i["arn"]: i["reason"] for i in told["instances"]} == {first.arn: "RESOURCE:PORTS", second.arn: None}
    plain = homeport.command("explain", task[-32:]).stdout
    assert "runs here; another: RESOURCE:PORTS" in plain
    first.hears_of(task)
    first.report(task, "STOPPED", exitCode=0)
    ecs.get_waiter("tasks_stopped").wait(cluster=CLUSTER, tasks=[task], WaiterConfig=FAST)
    assert ecs.start_task(**wish, containerInstances=[first.arn])["failures"] == []


@pytest.mark.feature("`homeport interrupt` takes a Fargate Spot task's capacity back")
def test_a_spot_interruption(homeport: Any, ecs: Any) -> None:
    ecs.put_cluster_capacity_providers(
        cluster=CLUSTER, capacityProviders=["FARGATE", "FARGATE_SPOT"], defaultCapacityProviderStrategy=[]
    )
    ecs.register_task_definition(
        family="launched-spot",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[
            {
                "name": "app",
                "image": "homeport-test:latest",
                "entryPoint": ["sh", "-c"],
                "command": ["trap 'exit 7' TERM; while :; do sleep 0.05; done"],
            }
        ],
    )

    def run(provider: str) -> str:
        answer = ecs.run_task(
            cluster=CLUSTER,
            taskDefinition="launched-spot",
            capacityProviderStrategy=[{"capacityProvider": provider}],
            networkConfiguration={"awsvpcConfiguration": {"subnets": [homeport.subnet]}},
        )
        return str(answer["tasks"][0]["taskArn"])

    spot, plain = run("FARGATE_SPOT"), run("FARGATE")
    ecs.get_waiter("tasks_running").wait(cluster=CLUSTER, tasks=[spot], WaiterConfig=FAST)
    refused = homeport.command("interrupt", plain, check=False)
    assert refused.returncode == 1
    assert "Only tasks on FARGATE_SPOT can be interrupted" in refused.stderr
    homeport.command("interrupt", spot)
    until(
        lambda: ecs.describe_tasks(cluster=CLUSTER, tasks=[spot])["tasks"][0],
        lambda t: t["lastStatus"] == "STOPPED",
    )
    task = ecs.describe_tasks(cluster=CLUSTER, tasks=[spot])["tasks"][0]
    assert (task["stopCode"], task["stoppedReason"]) == ("SpotInterruption", "Your Spot Task was interrupted.")
    assert task["containers"][0]["exitCode"] == 7  # it got SIGTERM and time to end
