"""Services that aren't rolling updates of a count, with real containers: task sets, and daemons on machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.homeport import Homeport
from support.machines import join, machines
from support.tasks import until

pytestmark = pytest.mark.host

PATIENT = "trap 'exit 0' TERM; sleep 600 & wait $!"


class Site:
    """A control plane on the first machine, and nodes of the cluster ``demo`` on the others."""

    def __init__(self, plane: Homeport, nodes: list[Homeport]) -> None:
        self.plane, self.nodes = plane, nodes
        self.ecs = plane.client("ecs")

    def define(self, family: str) -> str:
        container = {
            "name": "app",
            "image": "homeport-test:latest",
            "entryPoint": ["sh", "-c"],
            "command": [PATIENT],
            "memory": 64,
        }
        made = self.ecs.register_task_definition(
            family=family, networkMode="bridge", requiresCompatibilities=["EC2"], containerDefinitions=[container]
        )
        return str(made["taskDefinition"]["taskDefinitionArn"])

    def service(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ecs.describe_services(cluster="demo", services=[name])["services"][0]
        return found

    def tasks(self, name: str) -> list[dict[str, Any]]:
        """Those that aren't over."""
        found: list[dict[str, Any]] = []
        for status in ("RUNNING", "STOPPED"):
            arns = self.ecs.list_tasks(cluster="demo", serviceName=name, desiredStatus=status)["taskArns"]
            if arns:
                found += self.ecs.describe_tasks(cluster="demo", tasks=arns)["tasks"]
        return [task for task in found if task["lastStatus"] != "STOPPED"]

    def places(self, name: str) -> list[str]:
        """The instance of each of its RUNNING tasks."""
        tasks = self.tasks(name)
        return sorted(t["containerInstanceArn"] for t in tasks if t["lastStatus"] == "RUNNING")

    def instances(self) -> list[str]:
        return sorted(self.ecs.list_container_instances(cluster="demo")["containerInstanceArns"])

    def delete(self, name: str) -> None:
        self.ecs.delete_service(cluster="demo", service=name, force=True)
        until(lambda: (self.service(name)["status"], self.tasks(name)), lambda s: s == ("INACTIVE", []), 60)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("kinds")
    with machines(3) as made:
        plane, *nodes = (m.homeport(folder / f"machine{n}") for n, m in enumerate(made))
        try:
            with made[0].entered():  # its API's plain HTTP is there alone
                plane.up("--host", made[0].address)
                site = Site(plane, nodes)
                site.ecs.create_cluster(clusterName="demo")
                join(plane, nodes[0], "demo")
                yield site
        finally:
            for homeport in (*nodes, plane):
                homeport.command("down", check=False)


@pytest.mark.feature("Services with the EXTERNAL deployment controller: blue/green by hand with task sets")
def test_blue_and_green_by_hand(site: Site) -> None:
    ecs = site.ecs
    one, two = site.define("sets"), site.define("sets")
    named = {"cluster": "demo", "service": "shop"}
    ecs.create_service(cluster="demo", serviceName="shop", desiredCount=2, deploymentController={"type": "EXTERNAL"})

    def made(definition: str) -> str:
        task_set = ecs.create_task_set(**named, taskDefinition=definition, launchType="EC2")["taskSet"]
        return str(task_set["id"])

    def stable(id: str) -> None:
        shown = lambda: ecs.describe_task_sets(**named, taskSets=[id])["taskSets"][0]  # noqa: E731
        steady = until(shown, lambda s: s["stabilityStatus"] == "STEADY_STATE")
        assert (steady["runningCount"], steady["pendingCount"]) == (2, 0)

    blue = made(one)
    stable(blue)
    ecs.update_service_primary_task_set(**named, primaryTaskSet=blue)
    before = {t["taskArn"] for t in site.tasks("shop")}
    green = made(two)
    stable(green)
    assert before < {t["taskArn"] for t in site.tasks("shop")}
    ecs.update_service_primary_task_set(**named, primaryTaskSet=green)
    assert site.service("shop")["taskDefinition"] == two
    ecs.delete_task_set(**named, taskSet=blue, force=True)
    until(lambda: [s["id"] for s in site.service("shop")["taskSets"]], lambda ids: ids == [green], 60)
    left = site.tasks("shop")
    assert {(t["taskDefinitionArn"], t["startedBy"], t["lastStatus"]) for t in left} == {(two, green, "RUNNING")}
    ended = ecs.describe_tasks(cluster="demo", tasks=sorted(before))["tasks"]
    assert {t["containers"][0]["exitCode"] for t in ended} == {0}
    site.delete("shop")


@pytest.mark.feature("DAEMON services: one task on each machine that joins; draining, attributes, deployments")
def test_a_daemon_on_each_machine(site: Site) -> None:
    ecs = site.ecs
    one, two = site.define("agent"), site.define("agent")
    constraint = {"type": "memberOf", "expression": "not(attribute:shut exists)"}
    ecs.create_service(
        cluster="demo",
        serviceName="agent",
        taskDefinition=one,
        schedulingStrategy="DAEMON",
        launchType="EC2",
        placementConstraints=[constraint],
    )
    until(lambda: site.places("agent"), lambda at: at == site.instances())
    join(site.plane, site.nodes[1], "demo")
    until(lambda: site.places("agent"), lambda at: at == site.instances() and len(at) == 2)
    assert site.service("agent")["desiredCount"] == 2
    first, second = site.instances()

    ecs.update_service(cluster="demo", service="agent", taskDefinition=two)
    until(
        lambda: sorted((t["containerInstanceArn"], t["taskDefinitionArn"]) for t in site.tasks("agent")),
        lambda at: at == [(first, two), (second, two)],
        60,
    )
    until(lambda: site.places("agent"), lambda at: at == [first, second])

    ecs.put_attributes(cluster="demo", attributes=[{"name": "shut", "targetId": first}])
    until(lambda: site.places("agent"), lambda at: at == [second])
    ecs.delete_attributes(cluster="demo", attributes=[{"name": "shut", "targetId": first}])
    until(lambda: site.places("agent"), lambda at: at == [first, second])

    job = ecs.start_task(cluster="demo", taskDefinition=site.define("job"), containerInstances=[first])["tasks"][0]
    until(
        lambda: ecs.describe_tasks(cluster="demo", tasks=[job["taskArn"]])["tasks"][0]["lastStatus"],
        lambda status: status == "RUNNING",
    )
    ecs.update_container_instances_state(cluster="demo", containerInstances=[first, second], status="DRAINING")
    until(lambda: site.places("agent"), lambda at: at == [first])
    assert site.service("agent")["desiredCount"] == 0
    ecs.stop_task(cluster="demo", task=job["taskArn"])
    until(lambda: site.tasks("agent"), lambda tasks: tasks == [])
    ecs.update_container_instances_state(cluster="demo", containerInstances=[first, second], status="ACTIVE")
    until(lambda: site.places("agent"), lambda at: at == [first, second])
    site.delete("agent")
