"""Services through boto3 and the aws CLI, with real tasks: waiters, protection from inside a task, deployments."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from support.homeport import Homeport
from support.tasks import until

CLUSTER = "served"
FAST = {"Delay": 1, "MaxAttempts": 90}
# Asks for the protection of its task itself, as a program would, until it has it, and goes on.
PROTECT = """
rest=${ECS_AGENT_URI#http://}
body='{"ProtectionEnabled":true,"ExpiresInMinutes":5}'
head='PUT /%s/task-protection/v1/state HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n'
until printf "${head}Content-Length: %d\\r\\n\\r\\n%s" "${rest#*/}" ${#body} "$body" \
  | nc ${rest%%/*} 80 | grep -q '"ProtectionEnabled":true'; do
  sleep 1
done
exec sleep 600
"""


@pytest.fixture(scope="module")
def ecs(homeport: Any) -> Iterator[Any]:
    client = homeport.client("ecs")
    client.create_cluster(clusterName=CLUSTER)
    define(client, "idle", "exec sleep 600")
    define(client, "protected", PROTECT)
    yield client
    for arn in client.list_services(cluster=CLUSTER)["serviceArns"]:
        client.delete_service(cluster=CLUSTER, service=arn, force=True)
    empty = lambda c: not (c["runningTasksCount"] or c["pendingTasksCount"])  # noqa: E731
    until(lambda: client.describe_clusters(clusters=[CLUSTER])["clusters"][0], empty, 60)


def define(ecs: Any, family: str, command: str) -> None:
    app = {"name": "app", "image": "homeport-test:latest", "entryPoint": ["sh", "-c"], "command": [command]}
    ecs.register_task_definition(
        family=family,
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[{**app, "stopTimeout": 2}],
    )


def create(homeport: Any, ecs: Any, name: str, family: str = "idle", **members: Any) -> dict[str, Any]:
    network = {"subnets": [homeport.subnet], "securityGroups": [homeport.web_group], "assignPublicIp": "DISABLED"}
    made: dict[str, Any] = ecs.create_service(
        cluster=CLUSTER,
        serviceName=name,
        taskDefinition=family,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
        **{"desiredCount": 1, **members},
    )["service"]
    return made


def aws(homeport: Any, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        **homeport.environment,
        "AWS_PAGER": "",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return subprocess.run(
        ["aws", "ecs", *argv, "--cluster", CLUSTER], env=environment, capture_output=True, text=True, timeout=110
    )


@pytest.mark.feature("Services keep their desired count; all waiters of `aws ecs wait` and boto3")
def test_a_life_with_all_waiters(homeport: Any, ecs: Any) -> None:
    create(homeport, ecs, "web", desiredCount=2)
    named = {"cluster": CLUSTER, "services": ["web"]}
    ecs.get_waiter("services_stable").wait(**named, WaiterConfig=FAST)
    service = ecs.describe_services(**named)["services"][0]
    assert (service["runningCount"], len(service["deployments"])) == (2, 1)
    tasks = ecs.list_tasks(cluster=CLUSTER, serviceName="web")["taskArns"]
    assert len(tasks) == 2
    ecs.get_waiter("tasks_running").wait(cluster=CLUSTER, tasks=tasks, WaiterConfig=FAST)
    for argv in (("services-stable", "--services", "web"), ("tasks-running", "--tasks", *tasks)):
        done = aws(homeport, "wait", *argv)
        assert done.returncode == 0, done.stderr
    with pytest.raises(WaiterError, match="MISSING"):
        ecs.get_waiter("services_stable").wait(cluster=CLUSTER, services=["none"], WaiterConfig=FAST)

    done = aws(homeport, "delete-service", "--service", "web", "--force", "--query", "service.status")
    assert done.stdout.strip() == '"DRAINING"', done.stderr
    ecs.get_waiter("services_inactive").wait(**named, WaiterConfig=FAST)
    ecs.get_waiter("tasks_stopped").wait(cluster=CLUSTER, tasks=tasks, WaiterConfig=FAST)
    for argv in (("services-inactive", "--services", "web"), ("tasks-stopped", "--tasks", *tasks)):
        done = aws(homeport, "wait", *argv)
        assert done.returncode == 0, done.stderr
    with pytest.raises(WaiterError, match="INACTIVE"):
        ecs.get_waiter("services_stable").wait(**named, WaiterConfig=FAST)
    reasons = {t["stoppedReason"].partition(" (")[0] for t in ecs.describe_tasks(cluster=CLUSTER, tasks=tasks)["tasks"]}
    assert reasons == {"Scaling activity initiated by"}


@pytest.mark.feature("A service's task protects itself from scaling in, at `$ECS_AGENT_URI`")
def test_a_task_protects_itself(homeport: Any, ecs: Any) -> None:
    create(homeport, ecs, "guarded", "protected")
    running = lambda: ecs.list_tasks(cluster=CLUSTER, serviceName="guarded")["taskArns"]  # noqa: E731
    task = until(running, bool, 60)[0]
    asked = {"cluster": CLUSTER, "tasks": [task]}
    protected = lambda answer: answer["protectedTasks"] and answer["protectedTasks"][0]["protectionEnabled"]  # noqa: E731
    answer = until(lambda: ecs.get_task_protection(**asked), protected, 60)
    assert answer["protectedTasks"][0]["taskArn"] == task
    ecs.update_service(cluster=CLUSTER, service="guarded", desiredCount=0)
    blocked = "was unable to scale in due to (reason 1 tasks under protection)"
    described = lambda: ecs.describe_services(cluster=CLUSTER, services=["guarded"])["services"][0]  # noqa: E731
    until(described, lambda s: any(blocked in e["message"] for e in s["events"]), 60)
    assert running() == [task]
    ecs.update_task_protection(**asked, protectionEnabled=False)
    until(running, lambda left: not left, 60)


@pytest.mark.feature("CreateService is idempotent; a change that makes other tasks starts a deployment")
def test_what_starts_a_deployment(homeport: Any, ecs: Any) -> None:
    made = create(homeport, ecs, "quick", clientToken="once")
    assert create(homeport, ecs, "quick", clientToken="once")["serviceArn"] == made["serviceArn"]
    with pytest.raises(ecs.exceptions.InvalidParameterException, match="not idempotent"):
        create(homeport, ecs, "quick", desiredCount=2)
    first = made["deployments"][0]["id"]
    counted = ecs.update_service(cluster=CLUSTER, service="quick", desiredCount=2)["service"]
    assert [d["id"] for d in counted["deployments"]] == [first]
    forced = ecs.update_service(cluster=CLUSTER, service="quick", forceNewDeployment=True)["service"]
    assert [(d["status"], d["id"] == first) for d in forced["deployments"]] == [("PRIMARY", False), ("ACTIVE", True)]
    ecs.get_waiter("services_stable").wait(cluster=CLUSTER, services=["quick"], WaiterConfig=FAST)
    tasks = ecs.list_tasks(cluster=CLUSTER, serviceName="quick")["taskArns"]
    shown = ecs.describe_tasks(cluster=CLUSTER, tasks=tasks)["tasks"]
    assert {t["startedBy"] for t in shown} == {forced["deployments"][0]["id"]}
    assert {t["group"] for t in shown} == {"service:quick"}


@pytest.mark.feature("`homeport down` stops the tasks of services too; `up` starts them again")
def test_down_stops_services_and_up_goes_on_with_them(own_homeport: Callable[..., Homeport]) -> None:
    homeport = own_homeport()
    ecs = homeport.client("ecs")
    ecs.create_cluster(clusterName=CLUSTER)
    define(ecs, "idle", "exec sleep 600")
    create(homeport, ecs, "web", desiredCount=2)
    named = {"cluster": CLUSTER, "serviceName": "web"}
    running = lambda: [  # noqa: E731
        t["taskArn"]
        for t in ecs.describe_tasks(cluster=CLUSTER, tasks=ecs.list_tasks(**named)["taskArns"] or ["none"])["tasks"]
        if t["lastStatus"] == "RUNNING"
    ]
    first = until(running, lambda tasks: len(tasks) == 2, 60)
    begun = time.monotonic()
    homeport.down()
    assert time.monotonic() - begun < 40, "tasks were started again and again"
    homeport.up()
    ecs = homeport.client("ecs")
    again = until(running, lambda tasks: len(tasks) == 2, 60)
    assert not set(first) & set(again)
