"""Two machines of one cluster, one of them outside EC2: each gets the tasks of its launch type, and runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.homeport import Homeport
from support.machines import join, machines
from support.tasks import WEB, until

pytestmark = [pytest.mark.host, pytest.mark.timeout(240)]

SERVE = "mkdir -p /tmp/www; echo outside > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www"


class Site:
    def __init__(self, plane: Homeport, inside: Homeport, outside: Homeport) -> None:
        self.plane, self.inside, self.outside = plane, inside, outside
        self.ecs, self.ec2 = plane.client("ecs"), plane.client("ec2")

    def instances(self, launch_type: str) -> list[dict[str, Any]]:
        arns = self.ecs.list_container_instances(cluster="tests")["containerInstanceArns"]
        found = self.ecs.describe_container_instances(cluster="tests", containerInstances=arns)["containerInstances"]
        external = [any(a["name"] == "ecs.capability.external" for a in i["attributes"]) for i in found]
        return [i for i, e in zip(found, external, strict=True) if e == (launch_type == "EXTERNAL")]

    def wish(self, script: str, mode: str = "bridge", **container: Any) -> dict[str, Any]:
        """What RunTask and StartTask take for one container with ``sh -c SCRIPT``."""
        shell = {"name": "app", "image": "homeport-test:latest", "entryPoint": ["sh", "-c"], "command": [script]}
        made = self.ecs.register_task_definition(
            family=f"external-{mode}",
            networkMode=mode,
            containerDefinitions=[{**shell, "memory": 64, "stopTimeout": 2, **container}],
        )
        wish = {"cluster": "tests", "taskDefinition": made["taskDefinition"]["taskDefinitionArn"]}
        subnets = [subnet["SubnetId"] for subnet in self.ec2.describe_subnets()["Subnets"]]
        network = {"subnets": subnets, "securityGroups": [self.plane.web_group]}
        return wish | ({"networkConfiguration": {"awsvpcConfiguration": network}} if mode == "awsvpc" else {})

    def task(self, arn: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ecs.describe_tasks(cluster="tests", tasks=[arn])["tasks"][0]
        return found

    def started(self, answer: dict[str, Any], status: str = "RUNNING") -> dict[str, Any]:
        assert answer["failures"] == []
        arn = answer["tasks"][0]["taskArn"]
        found: dict[str, Any] = until(lambda: self.task(arn), lambda t: t["lastStatus"] in (status, "STOPPED"))
        assert found["lastStatus"] == status, found
        return found

    def stop(self, *tasks: dict[str, Any]) -> None:
        for task in tasks:
            self.ecs.stop_task(cluster="tests", task=task["taskArn"])
        for task in tasks:
            until(lambda arn=task["taskArn"]: self.task(arn)["lastStatus"], lambda status: status == "STOPPED")

    def said(self, node: Homeport, task: dict[str, Any], lines: int = 1) -> str:
        """Its output, once there are so many lines: its end can be told before its last words are there."""
        read = lambda: node.command("logs", task["taskArn"]).stdout  # noqa: E731
        return str(until(read, lambda text: len(text.splitlines()) >= lines)).strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with machines(3) as made:
        plane, inside, outside = (machine.homeport(folder / f"machine{n}") for n, machine in enumerate(made))
        try:
            with made[0].entered():
                plane.up("--host", made[0].address)
                plane.client("ecs").create_cluster(clusterName="tests")
                join(plane, inside, "tests")
                join(plane, outside, "tests", "--external")
                yield Site(plane, inside, outside)
        finally:
            for homeport in (inside, outside, plane):
                homeport.command("down", check=False)


@pytest.mark.feature(
    "Machines outside EC2 (`homeport agent --external`): RunTask and StartTask with launch type EXTERNAL"
)
def test_tasks_of_the_launch_type_external(site: Site) -> None:
    (instance,) = site.instances("EXTERNAL")
    arn = instance["containerInstanceArn"]
    ended = site.started(site.ecs.run_task(**site.wish("echo outside; exit 3"), launchType="EXTERNAL"), "STOPPED")
    assert (ended["launchType"], ended["containerInstanceArn"]) == ("EXTERNAL", arn)
    assert (ended["containers"][0]["exitCode"], ended["stopCode"]) == (3, "EssentialContainerExited")
    assert site.said(site.outside, ended) == "outside"

    ports = [{"containerPort": 80, "hostPort": 8080}]
    web = site.started(site.ecs.start_task(**site.wish(SERVE, portMappings=ports), containerInstances=[arn]))
    assert web["launchType"] == "EXTERNAL"
    assert web["containers"][0]["networkBindings"][0]["hostPort"] == 8080
    ask = "until timeout 5 wget -qO- http://127.0.0.1:8080; do sleep 0.1; done"
    asking = site.started(site.ecs.run_task(**site.wish(ask, "host"), launchType="EXTERNAL"), "STOPPED")
    assert site.said(site.outside, asking) == "outside", "published on the machine itself"
    with pytest.raises(ClientError, match="Task definition does not support launch_type EXTERNAL"):
        site.ecs.run_task(**site.wish("true", "awsvpc"), launchType="EXTERNAL")
    site.stop(web)


@pytest.mark.feature("`awsvpc` tasks on container instances reach each other by their private addresses")
def test_an_awsvpc_task_reaches_another_on_its_instance(site: Site) -> None:
    (instance,) = site.instances("EC2")
    wishes = [site.ecs.run_task(**site.wish(WEB, "awsvpc"), launchType="EC2") for _ in range(2)]
    tasks = [site.started(wish) for wish in wishes]
    assert {t["containerInstanceArn"] for t in tasks} == {instance["containerInstanceArn"]}, "not the external one"
    addresses = [d["value"] for t in tasks for d in t["attachments"][0]["details"] if d["name"] == "privateIPv4Address"]
    found = site.ec2.describe_network_interfaces(Filters=[{"Name": "private-ip-address", "Values": addresses}])
    assert {i["PrivateIpAddress"] for i in found["NetworkInterfaces"]} == set(addresses)
    assert len(set(addresses)) == 2
    ask = "".join(f"until timeout 5 wget -qO- http://{address}; do sleep 0.1; done; " for address in addresses)
    asked = site.started(site.ecs.run_task(**site.wish(ask, "awsvpc"), launchType="EC2"), "STOPPED")
    assert asked["containers"][0]["exitCode"] == 0
    assert site.said(site.inside, asked, 2).split() == ["page", "page"]
    site.stop(*tasks)


def test_a_machine_whose_key_is_revoked_is_away_at_once(site: Site) -> None:
    """Last: it ends the external machine's membership."""
    task = site.started(site.ecs.run_task(**site.wish("exec sleep 1000"), launchType="EXTERNAL"))
    node = json.loads(Path(site.outside.state, "node.json").read_text())["node"]
    site.plane.command("token", "revoke", node)
    until(lambda: site.instances("EXTERNAL")[0]["agentConnected"], lambda connected: not connected)
    assert site.task(task["taskArn"])["lastStatus"] == "RUNNING"
    assert [i["agentConnected"] for i in site.instances("EC2")] == [True]
    refused = site.ecs.run_task(**site.wish("true"), launchType="EXTERNAL")
    assert [failure["reason"] for failure in refused["failures"]] == ["AGENT"]
    gone = site.instances("EXTERNAL")[0]["containerInstanceArn"]
    site.ecs.deregister_container_instance(cluster="tests", containerInstance=gone, force=True)
    until(lambda: site.task(task["taskArn"])["lastStatus"], lambda status: status == "STOPPED")  # nobody else says so
