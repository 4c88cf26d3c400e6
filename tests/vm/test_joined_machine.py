"""A machine with a kernel of its own joins a Homeport on this one, by TLS and with a token, and runs its tasks.

In the emulated machine no Homeport but the node runs meanwhile. The control plane here is all that it can reach.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.homeport import Homeport
from support.tasks import WEB, Tasks, until
from support.vm import HOST, OUTSIDE
from support.vm.homeport import GuestHomeport
from support.vm.node import SLOW, Guest

BOOT = "/proc/sys/kernel/random/boot_id"  # which kernel it is
SERVE = f"""
mkdir -p /tmp/www
cp {BOOT} /tmp/www/index.html
httpd -p 80 -h /tmp/www
until [ -e /tmp/end ]; do sleep 0.2; done
echo told to end
exit 7
"""


class Joined:
    """``plane`` on this machine and ``node`` in the other, and tasks that the one starts on the other."""

    def __init__(self, plane: Homeport, node: GuestHomeport, guest: Guest) -> None:
        self.plane, self.node, self.guest = plane, node, guest
        self.tasks = Tasks(plane)
        self.ecs = self.tasks.ecs
        self.subnets = [subnet["SubnetId"] for subnet in self.tasks.ec2.describe_subnets()["Subnets"]]

    def join(self, token: str, *flags: str, check: bool = True) -> str:
        argv = ("--server", f"https://{OUTSIDE}", "--cluster", "tests", "--token", token, *flags)
        return " ".join(self.node.command("agent", "--detach", *argv, check=check).stderr.split())

    def instance(self) -> dict[str, Any]:
        """The one instance whose agent is connected."""
        wish = {"cluster": "tests", "filter": "agentConnected == true"}
        (arn,) = until(lambda: self.ecs.list_container_instances(**wish)["containerInstanceArns"], bool, SLOW)
        return self.described(arn)

    def described(self, arn: str) -> dict[str, Any]:
        found = self.ecs.describe_container_instances(cluster="tests", containerInstances=[arn])
        one: dict[str, Any] = found["containerInstances"][0]
        return one

    def wish(self, script: str, mode: str = "bridge", **container: Any) -> dict[str, Any]:
        """What RunTask and StartTask take for one container with ``sh -c SCRIPT``."""
        shell = {"name": "app", "image": "homeport-test:latest", "entryPoint": ["sh", "-c"], "command": [script]}
        made = self.ecs.register_task_definition(
            family=f"joined-{mode}",
            networkMode=mode,
            containerDefinitions=[{**shell, "memory": 64, "stopTimeout": 2, **container}],
        )
        wish = {"cluster": "tests", "taskDefinition": made["taskDefinition"]["taskDefinitionArn"]}
        network = {"subnets": self.subnets, "securityGroups": [self.plane.web_group]}
        return wish | ({"networkConfiguration": {"awsvpcConfiguration": network}} if mode == "awsvpc" else {})

    def started(self, answer: dict[str, Any], status: str = "RUNNING") -> dict[str, Any]:
        assert answer["failures"] == []
        return self.tasks.wait(answer["tasks"][0]["taskArn"], status, SLOW)

    def said(self, task: dict[str, Any]) -> str:
        return self.node.command("logs", task["taskArn"]).stdout

    def stopped(self, *tasks: dict[str, Any]) -> None:
        for task in tasks:
            self.ecs.stop_task(cluster="tests", task=task["taskArn"])
        for task in tasks:
            self.tasks.wait(task["taskArn"], "STOPPED", SLOW)


@pytest.fixture(scope="module")
def joined(booted: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Joined]:
    if booted.runs:
        booted.homeport.down()
    plane = Homeport(tmp_path_factory.mktemp("plane") / "state")
    node = GuestHomeport(booted.machine, "/var/lib/homeport-node")
    try:
        plane.up("--host", HOST, "--tls-port", str(booted.machine.outside))
        yield Joined(plane, node, booted)
    finally:
        node.command("down", check=False)
        plane.command("down", check=False)
        if booted.runs:
            booted.up()


def test_it_joins_the_server_that_its_token_names_alone(joined: Joined) -> None:
    made = json.loads(joined.plane.command("token", "create", "--cluster", "tests", "--json").stdout)
    token: str = made["token"]
    last = "A" if token[-5] != "A" else "B"
    wrong = f"{token[:-5]}{last}{token[-4:]}"
    assert "the server's key is not the one that the join token names" in joined.join(wrong, check=False)
    joined.join(token, "--attributes", "rack=emulated")
    found = joined.instance()
    values = {a["name"]: a.get("value") for a in found["attributes"]}
    assert (values["rack"], values["ecs.os-type"]) == ("emulated", "linux")
    cores = int(joined.guest.machine.run("nproc"))
    assert next(r["integerValue"] for r in found["registeredResources"] if r["name"] == "CPU") == 1024 * cores
    joined.node.load("test")


@pytest.mark.feature("A machine with its own kernel as a container instance: bridge and awsvpc tasks, over TLS")
def test_tasks_run_on_its_kernel(joined: Joined) -> None:
    run, machine = joined.ecs.run_task, joined.guest.machine
    ports = [{"containerPort": 80, "hostPort": 8080}]
    bridged = joined.started(run(**joined.wish(SERVE, portMappings=ports), launchType="EC2"))
    assert bridged["containers"][0]["networkBindings"][0]["hostPort"] == 8080
    assert run(**joined.wish(SERVE, portMappings=ports), launchType="EC2")["failures"][0]["reason"] == "RESOURCE:PORTS"
    page = until(lambda: machine.run("curl -s --max-time 20 http://10.0.2.15:8080 || true"), bool, SLOW).strip()
    assert page == machine.run(f"cat {BOOT}").strip()
    assert page != Path(BOOT).read_text().strip()

    here = {"containerInstances": [joined.instance()["containerInstanceArn"]]}
    web = joined.started(joined.ecs.start_task(**joined.wish(WEB, "awsvpc"), **here))
    details = {d["name"]: d["value"] for d in web["attachments"][0]["details"]}
    ask = f"until timeout 30 wget -qO- http://{details['privateIPv4Address']}; do sleep 1; done"
    client = joined.started(run(**joined.wish(ask, "awsvpc"), launchType="EC2"), "STOPPED")
    assert (client["containers"][0]["exitCode"], joined.said(client).strip()) == (0, "page")
    assert joined.instance()["runningTasksCount"] == 2

    machine.run(f"touch /proc/{joined.guest.pid(bridged)}/root/tmp/end")
    ended = joined.tasks.wait(bridged["taskArn"], "STOPPED", SLOW)
    assert (ended["containers"][0]["exitCode"], ended["stopCode"]) == (7, "EssentialContainerExited")
    assert joined.said(bridged).strip() == "told to end"
    joined.stopped(web)
    left = {r["name"]: r for r in joined.instance()["remainingResources"]}
    assert "8080" not in left["PORTS"]["stringSetValue"], "given back"


def test_it_comes_back_as_an_external_instance(joined: Joined) -> None:
    """Last: its agent is killed, its instance deregistered, and the machine is a new one, of another launch type."""
    run, guest = joined.ecs.run_task, joined.guest
    task = joined.started(run(**joined.wish("exec sleep 1000"), launchType="EC2"))
    old, pid = joined.instance()["containerInstanceArn"], guest.pid(task)
    guest.signal("KILL", "python3 -m homeport supervise", "python3 -m homeport agent")
    until(lambda: joined.described(old)["agentConnected"], lambda connected: not connected, SLOW)
    assert joined.tasks.describe(task["taskArn"])["lastStatus"] == "RUNNING"
    assert guest.pid(task) == pid, "containers don't need an agent"
    joined.ecs.deregister_container_instance(cluster="tests", containerInstance=old, force=True)
    assert joined.tasks.wait(task["taskArn"], "STOPPED", SLOW)["stoppedReason"]

    joined.node.command("agent", "--detach", "--external")  # by its own key
    found = joined.instance()
    assert found["containerInstanceArn"] != old
    assert "ecs.capability.external" in {a["name"] for a in found["attributes"]}
    until(lambda: guest.machine.run(f"kill -0 {pid} 2>&1 || true"), lambda said: "No such process" in said, SLOW)
    with pytest.raises(ClientError, match="No Container Instances were found"):
        run(**joined.wish("true"), launchType="EC2")
    ended = joined.started(run(**joined.wish("echo outside; exit 3"), launchType="EXTERNAL"), "STOPPED")
    assert (ended["launchType"], ended["containers"][0]["exitCode"]) == ("EXTERNAL", 3)
    assert joined.said(ended).strip() == "outside"
    joined.node.down()
    assert guest.inventory() == guest.before
