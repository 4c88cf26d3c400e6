"""Machines that join a cluster by TLS, each in a network namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.homeport import Homeport
from support.machines import Machine, join, machines
from support.tasks import WEB, until

pytestmark = pytest.mark.host

PROBE = "while :; do nc -w 1 $TARGET 80 </dev/null >/dev/null 2>&1 && echo open || echo shut; sleep 0.1; done"


class Site:
    """A control plane on the first machine, and a node on each other one."""

    def __init__(self, folder: Path, made: list[Machine]) -> None:
        self.machines = made
        self.plane, *self.nodes = (m.homeport(folder / f"machine{n}") for n, m in enumerate(made))

    def join(self, node: Homeport, *flags: str) -> None:
        join(self.plane, node, "demo", *flags)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with machines(3) as made:
        site = Site(tmp_path_factory.mktemp("site"), made)
        try:
            with made[0].entered():  # its API's plain HTTP is there alone
                site.plane.up("--host", made[0].address)
                site.plane.client("ecs").create_cluster(clusterName="demo")
                for number, node in enumerate(site.nodes):
                    site.join(node, "--zone", "us-east-1" + "ab"[number], "--attributes", f"rack=r{number}")
                yield site
        finally:
            for homeport in (*site.nodes, site.plane):
                homeport.command("down", check=False)


def instances(site: Site) -> list[dict[str, Any]]:
    ecs = site.plane.client("ecs")
    arns = ecs.list_container_instances(cluster="demo")["containerInstanceArns"]
    found: list[dict[str, Any]] = ecs.describe_container_instances(cluster="demo", containerInstances=arns)[
        "containerInstances"
    ]
    return found


def run(site: Site, script: str, count: int = 1, *, group: str = "", target: str = "", **params: Any) -> list[str]:
    """Tasks of the launch type EC2, with interfaces of their own."""
    ecs, ec2 = site.plane.client("ecs"), site.plane.client("ec2")
    container = {
        "name": "app",
        "image": "homeport-test:latest",
        "entryPoint": ["sh", "-c"],
        "command": [script],
        "memory": 64,
        "stopTimeout": 2,
        "environment": [{"name": "TARGET", "value": target}],
    }
    definition = ecs.register_task_definition(
        family="joined", networkMode="awsvpc", requiresCompatibilities=["EC2"], containerDefinitions=[container]
    )
    network = {
        "subnets": [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]],
        "securityGroups": [group or site.plane.web_group],
    }
    answer = ecs.run_task(
        cluster="demo",
        launchType="EC2",
        count=count,
        taskDefinition=definition["taskDefinition"]["taskDefinitionArn"],
        networkConfiguration={"awsvpcConfiguration": network},
        **params,
    )
    assert not answer["failures"], answer["failures"]
    return [task["taskArn"] for task in answer["tasks"]]


def running(site: Site, arns: list[str]) -> list[dict[str, Any]]:
    ecs = site.plane.client("ecs")
    tasks: list[dict[str, Any]] = until(
        lambda: ecs.describe_tasks(cluster="demo", tasks=arns)["tasks"],
        lambda seen: all(task["lastStatus"] in ("RUNNING", "STOPPED") for task in seen),
    )
    assert {task["lastStatus"] for task in tasks} == {"RUNNING"}, tasks
    return tasks


def stop(site: Site, arns: list[str]) -> None:
    ecs = site.plane.client("ecs")
    for arn in arns:
        ecs.stop_task(cluster="demo", task=arn)
    until(
        lambda: ecs.describe_tasks(cluster="demo", tasks=arns)["tasks"],
        lambda seen: all(task["lastStatus"] == "STOPPED" for task in seen),
    )


def private(task: dict[str, Any]) -> str:
    return next(str(d["value"]) for d in task["attachments"][0]["details"] if d["name"] == "privateIPv4Address")


def said(node: Homeport, arn: str) -> str:
    """The last line of a task's output, as the node that runs it has it."""
    folder = node.state / "agent" / "logs" / arn.rpartition("/")[2]
    lines = [line for file in sorted(folder.rglob("*")) if file.is_file() for line in file.read_text().split()]
    return lines[-1] if lines else ""


def test_machines_join_and_say_what_they_are(site: Site) -> None:
    found = instances(site)
    assert [i["agentConnected"] for i in found] == [True, True]
    values = [{a["name"]: a.get("value") for a in i["attributes"]} for i in found]
    assert {v["rack"] for v in values} == {"r0", "r1"}
    assert {v["ecs.availability-zone"] for v in values} == {"us-east-1a", "us-east-1b"}
    assert all("ecs.capability.task-eni" in v for v in values)


@pytest.mark.feature("Several machines in one cluster, joined by single-use tokens over TLS")
def test_tasks_are_spread_and_run_on_both(site: Site) -> None:
    arns = run(site, "sleep 600", 4, placementStrategy=[{"type": "spread", "field": "instanceId"}])
    placed = [task["containerInstanceArn"] for task in running(site, arns)]
    assert sorted(map(placed.count, {i["containerInstanceArn"] for i in instances(site)})) == [2, 2]
    stop(site, arns)


def test_groups_are_enforced_on_both(site: Site) -> None:
    """Each machine's tasks among themselves: traffic from one machine's to another's isn't built."""
    ec2 = site.plane.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    servers, clients = (
        ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
        for name in ("servers", "clients")
    )
    started, probes = [], []
    for number, node in enumerate(site.nodes):
        there = {"placementConstraints": [{"type": "memberOf", "expression": f"attribute:rack == r{number}"}]}
        server = run(site, WEB, group=servers, **there)
        target = private(running(site, server)[0])
        client = run(site, PROBE, group=clients, target=target, **there)
        running(site, client)
        started += [*server, *client]
        probes.append((node, client[0]))
    for node, client in probes:
        assert until(lambda n=node, c=client: said(n, c), bool) == "shut"
    rule = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": clients}]}]
    ec2.authorize_security_group_ingress(GroupId=servers, IpPermissions=rule)
    for node, client in probes:
        until(lambda n=node, c=client: said(n, c), lambda line: line == "open")
    stop(site, started)


def test_an_agent_that_dies_leaves_its_tasks_and_comes_back_to_them(site: Site) -> None:
    node = site.nodes[1]
    there = {"placementConstraints": [{"type": "memberOf", "expression": "attribute:rack == r1"}]}
    arns = run(site, "sleep 600", **there)
    task = running(site, arns)[0]

    def connected() -> bool:
        found = [i for i in instances(site) if i["containerInstanceArn"] == task["containerInstanceArn"]]
        return bool(found[0]["agentConnected"])

    supervisor = pid_of(node)
    os.kill(supervisor, signal.SIGKILL)  # its agent ends with it; containers don't
    until(connected, lambda seen: not seen)
    assert running(site, arns)[0]["startedAt"] == task["startedAt"]
    node.command("agent", "--detach")  # by its own key
    until(connected, bool)
    assert running(site, arns)[0]["startedAt"] == task["startedAt"]
    assert len(instances(site)) == 2
    stop(site, arns)


def pid_of(node: Homeport) -> int:
    """The supervisor's."""
    settings = json.loads((node.state / "config.json").read_text())
    return int(Path("/run/homeport", settings["instance"], "supervisor.pid").read_text())


def test_a_machine_that_is_deregistered_gets_no_more_tasks(site: Site) -> None:
    """Last: it leaves one machine."""
    ecs = site.plane.client("ecs")
    gone = next(i for i in instances(site) if any(a.get("value") == "r1" for a in i["attributes"]))
    site.nodes[1].command("agent", "--down")
    ecs.deregister_container_instance(cluster="demo", containerInstance=gone["containerInstanceArn"], force=True)
    assert len(instances(site)) == 1
    arns = run(site, "sleep 600", 2, placementStrategy=[{"type": "spread", "field": "instanceId"}])
    assert {task["containerInstanceArn"] for task in running(site, arns)} != {gone["containerInstanceArn"]}
    assert len({task["containerInstanceArn"] for task in running(site, arns)}) == 1
    stop(site, arns)


def test_of_two_machines_with_one_key_the_newer_stays(site: Site, tmp_path: Path) -> None:
    """The very last: it ends a node for good."""
    old = site.nodes[0]
    new = site.machines[2].homeport(tmp_path / "copy")
    new.state.mkdir()
    shutil.copy(old.state / "node.json", new.state / "node.json")
    try:
        new.command("agent", "--detach")
        until(lambda: "agent ended with exit code 5" in (old.state / "logs" / "supervisor.log").read_text(), bool)
        found = until(lambda: [i["versionInfo"]["agentHash"] for i in instances(site) if i["agentConnected"]], bool)
        machine = json.loads((new.state / "agent" / "instance.json").read_text())["machine"]
        assert [text.rpartition("-")[2] for text in found] == [machine]
    finally:
        new.command("down")
