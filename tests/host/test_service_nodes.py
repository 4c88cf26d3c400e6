"""A machine that is lost in the middle of a deployment."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.machines import Machine, join, machines
from support.serving import CHECK, READY
from support.tasks import until

pytestmark = [pytest.mark.host, pytest.mark.timeout(400)]

SCRIPT = f"trap 'exit 0' TERM; : > {READY}; sleep 1000 & wait $!"


def link(machine: Machine, state: str) -> None:
    subprocess.run(["ip", "-n", machine.name, "link", "set", "eth0", state], check=True, timeout=30)


@pytest.mark.feature("A machine that is lost in mid-deployment: once it is deregistered the deployment ends on others")
def test_a_deployment_ends_on_the_machines_that_are_left(tmp_path: Path) -> None:
    with machines(3) as (first, *others):
        control = first.homeport(tmp_path / "control")
        nodes = [machine.homeport(tmp_path / machine.name) for machine in others]
        try:
            control.up("--host", first.address)
            with first.entered():
                deployed(control.client("ecs"), control, nodes, others)
        finally:
            for homeport in (control, *nodes):  # it waits for their tasks
                homeport.command("down", check=False)


def deployed(ecs: Any, control: Any, nodes: list[Any], machines: list[Machine]) -> None:
    ecs.create_cluster(clusterName="demo")
    for number, node in enumerate(nodes):
        join(control, node, "demo", "--attributes", f"number={number}")
    old, new = define(ecs), define(ecs)
    ecs.create_service(
        cluster="demo",
        serviceName="shop",
        taskDefinition=old,
        launchType="EC2",
        desiredCount=4,
        placementStrategy=[{"type": "spread", "field": "instanceId"}],
    )
    until(lambda: states(ecs), lambda seen: seen == ["COMPLETED"], 90)
    lost, left = (instance(ecs, number) for number in (1, 0))
    assert [sum(t["containerInstanceArn"] == i for t in tasks(ecs)) for i in (lost, left)] == [2, 2]
    ecs.update_service(cluster="demo", service="shop", taskDefinition=new)
    until(lambda: [t for t in tasks(ecs) if is_new(t, new) and t["containerInstanceArn"] == lost], bool)
    link(machines[1], "down")
    ecs.deregister_container_instance(cluster="demo", containerInstance=lost, force=True)
    until(lambda: states(ecs), lambda seen: seen == ["COMPLETED"], 120)
    there = tasks(ecs)
    assert {(t["containerInstanceArn"], t["taskDefinitionArn"], t["lastStatus"]) for t in there} == {
        (left, new, "RUNNING")
    }
    assert len(there) == 4
    link(machines[1], "up")  # it is told that its tasks aren't wanted, and joins as a new instance
    until(lambda: instance(ecs, 1), lambda arn: arn not in ("", lost), 90)


def define(ecs: Any) -> str:
    app = {
        "name": "app",
        "image": "homeport-test:latest",
        "memory": 64,
        "entryPoint": ["sh", "-c"],
        "command": [SCRIPT],
        "stopTimeout": 2,
        "healthCheck": CHECK,
    }
    made = ecs.register_task_definition(family="shop", networkMode="none", containerDefinitions=[app])
    return str(made["taskDefinition"]["taskDefinitionArn"])


def states(ecs: Any) -> list[str]:
    (service,) = ecs.describe_services(cluster="demo", services=["shop"])["services"]
    return [d["rolloutState"] for d in service["deployments"]]


def tasks(ecs: Any) -> list[dict[str, Any]]:
    """Those that shall run."""
    arns = ecs.list_tasks(cluster="demo", serviceName="shop")["taskArns"]
    found: list[dict[str, Any]] = ecs.describe_tasks(cluster="demo", tasks=arns)["tasks"] if arns else []
    return found


def is_new(task: dict[str, Any], new: str) -> bool:
    return task["taskDefinitionArn"] == new and task["lastStatus"] == "RUNNING"


def instance(ecs: Any, number: int) -> str:
    """The connected instance with this number."""
    wish = f"attribute:number == {number} and agentConnected == true"
    found: list[str] = ecs.list_container_instances(cluster="demo", filter=wish)["containerInstanceArns"]
    return found[0] if found else ""
