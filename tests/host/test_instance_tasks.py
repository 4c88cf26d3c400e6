"""Tasks of the launch type EC2 on a machine that has joined: their ports, links, and what is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.census import census, instance, process
from support.homeport import Homeport
from support.machines import Machine, joined
from support.tasks import until

pytestmark = [pytest.mark.host, pytest.mark.timeout(240)]

# A page that a task asks its metadata endpoint for, each time; and where that is.
ASK = r"""
mkdir -p /tmp/www/cgi-bin
echo $ECS_CONTAINER_METADATA_URI_V4 > /tmp/www/where
printf '#!/bin/sh\necho\nwget -qO- %s/task\n' $ECS_CONTAINER_METADATA_URI_V4 > /tmp/www/cgi-bin/ask
chmod +x /tmp/www/cgi-bin/ask
exec httpd -f -p 8090 -h /tmp/www
"""
SERVE = "mkdir -p /tmp/www; echo {0} > /tmp/www/index.html; exec httpd -f -p {1} -h /tmp/www"


class Cluster:
    """A control plane on one machine and a container instance on another."""

    def __init__(self, control: Homeport, node: Homeport, machine: Machine, ecs: Any) -> None:
        self.control, self.node, self.machine, self.ecs = control, node, machine, ecs

    def run(self, *containers: dict[str, Any], mode: str = "bridge", **definition: Any) -> dict[str, Any]:
        """RunTask's answer."""
        shown = [{"image": "homeport-test:latest", "memory": 64, "stopTimeout": 2, **c} for c in containers]
        made = self.ecs.register_task_definition(
            family="tests", networkMode=mode, containerDefinitions=shown, **definition
        )
        arn = made["taskDefinition"]["taskDefinitionArn"]
        answer: dict[str, Any] = self.ecs.run_task(cluster="tests", taskDefinition=arn, launchType="EC2")
        return answer

    def task(self, arn: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ecs.describe_tasks(cluster="tests", tasks=[arn])["tasks"][0]
        return found

    def running(self, *containers: dict[str, Any], **definition: Any) -> dict[str, Any]:
        """The task once it is RUNNING."""
        answer = until(  # an agent that was killed is away for a moment
            lambda: self.run(*containers, **definition), lambda a: [f["reason"] for f in a["failures"]] != ["AGENT"]
        )
        assert answer["failures"] == []
        return self.wait(answer["tasks"][0]["taskArn"], "RUNNING")

    def wait(self, arn: str, status: str) -> dict[str, Any]:
        found: dict[str, Any] = until(lambda: self.task(arn), lambda t: t["lastStatus"] in (status, "STOPPED"))
        assert found["lastStatus"] == status, found
        return found

    def stop(self, *arns: str) -> None:
        for arn in arns:
            self.ecs.stop_task(cluster="tests", task=arn)
        for arn in arns:
            self.wait(arn, "STOPPED")

    def page(self, port: int, path: str = "") -> str:
        """From the control plane's machine to the instance's."""

        def look() -> str:
            try:
                with urllib.request.urlopen(f"http://{self.machine.address}:{port}/{path}", timeout=2) as answer:
                    body: bytes = answer.read()
                return body.decode().strip()
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return ""

        return str(until(look, bool))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with joined(tmp_path_factory.mktemp("cluster")) as made:
        yield Cluster(*made)


def shell(name: str, script: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "entryPoint": ["sh", "-c"], "command": [script], **members}


def bindings(task: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = next(c["networkBindings"] for c in task["containers"] if c["name"] == name)
    return found


@pytest.mark.feature("Processes, IPC, devices, folders and privileges of the machine, for tasks of container instances")
def test_what_an_instance_shares_with_its_tasks(cluster: Cluster, tmp_path: Path) -> None:
    own = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "ipc")}
    look = (
        "readlink /proc/self/ns/pid > /host/pid; readlink /proc/self/ns/ipc > /host/ipc; "
        "mkdir -p /tmp/m && mount -t tmpfs none /tmp/m && "
        "test -c /dev/given && touch /docker/file && echo > /host/done; sleep 100"
    )
    points = [{"sourceVolume": name, "containerPath": f"/{name}"} for name in ("host", "docker")]
    devices = [{"hostPath": "/dev/null", "containerPath": "/dev/given", "permissions": ["read"]}]
    app = shell("app", look, privileged=True, mountPoints=points, linuxParameters={"devices": devices})
    volumes = [
        {"name": "host", "host": {"sourcePath": str(tmp_path)}},
        {"name": "docker", "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": True}},
    ]
    task = cluster.running(app, volumes=volumes, pidMode="host", ipcMode="host")
    until((tmp_path / "done").exists, bool)
    assert {kind: (tmp_path / kind).read_text().strip() for kind in own} == own
    cluster.stop(task["taskArn"])


@pytest.mark.feature("Task metadata in the network mode `host`, at a loopback address of the container instance")
def test_a_task_in_the_machines_network_asks_about_itself(cluster: Cluster) -> None:
    task = cluster.running(shell("web", ASK), mode="host")
    where = cluster.page(8090, "where")
    assert where.startswith("http://127.")
    seen = json.loads(cluster.page(8090, "cgi-bin/ask"))
    assert (seen["TaskARN"], seen["LaunchType"]) == (task["taskArn"], "EC2")
    assert [c["Networks"] for c in seen["Containers"]] == [[{"NetworkMode": "host"}]]
    elsewhere = cluster.run(shell("app", f"timeout 3 wget -qO- {where} && exit 0; exit 9"))
    after = cluster.wait(elsewhere["tasks"][0]["taskArn"], "STOPPED")
    assert after["containers"][0]["exitCode"] == 9, "only the machine's own network reaches it"
    os.kill(process(cluster.node, "agent"), signal.SIGKILL)
    again = json.loads(cluster.page(8090, "cgi-bin/ask"))
    assert again["TaskARN"] == task["taskArn"], "a variable stays true when the agent is killed"
    cluster.stop(task["taskArn"])


def at_rest(now: dict[str, list[str]]) -> bool:
    """Whether a census saw nothing of a task, nor of one that is being taken away."""
    return not any(now[kind] for kind in ("shims", "containers", "tasks", "leases")) and len(now["namespaces"]) == 2


@pytest.mark.feature("Network modes bridge (fixed and dynamic host ports, links), host and none on container instances")
def test_ports_of_an_instance(cluster: Cluster) -> None:
    first = cluster.running(shell("web", "sleep 100"))  # it makes the bridge, which stays until the node ends
    cluster.stop(first["taskArn"])
    before = until(lambda: census(cluster.node), at_rest)
    links = shell(
        "web",
        "until wget -qO /tmp/said http://store/; do sleep 0.1; done; "  # it has started, and may not listen yet
        "wget -qO /tmp/meta $ECS_CONTAINER_METADATA_URI_V4/task && "
        'mkdir -p /tmp/www; cat /tmp/said > /tmp/www/index.html; grep -o \'"LaunchType":"EC2"\' /tmp/meta '
        ">> /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www",
        portMappings=[{"containerPort": 80}],
        links=["db:store"],
    )
    web = cluster.running(links, shell("db", SERVE.format("behind", 80)))
    (binding,) = bindings(web, "web")
    port = binding["hostPort"]
    assert binding == {"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": port, "protocol": "tcp"}
    assert (port >= 32768, bindings(web, "db")) == (True, [])
    assert (web["launchType"], web["attachments"]) == ("EC2", [])
    assert cluster.page(port).split() == ["behind", '"LaunchType":"EC2"']

    fixed = [{"containerPort": 80, "hostPort": 8080}]
    first = cluster.running(shell("web", SERVE.format("fixed", 80), portMappings=fixed))
    refused = cluster.run(shell("web", SERVE.format("late", 80), portMappings=fixed))
    assert (refused["tasks"], [f["reason"] for f in refused["failures"]]) == ([], ["RESOURCE:PORTS"])
    own = [{"containerPort": 8088}]
    host = cluster.running(shell("web", SERVE.format("host", 8088), portMappings=own), mode="host")
    assert [(b["containerPort"], b["hostPort"]) for b in bindings(host, "web")] == [(8088, 8088)]

    os.kill(process(cluster.node, "agent"), signal.SIGKILL)
    assert [cluster.page(p).split()[0] for p in (port, 8080, 8088)] == ["behind", "fixed", "host"]
    other = cluster.running(shell("web", SERVE.format("other", 80), portMappings=[{"containerPort": 80}]))
    assert cluster.page(bindings(other, "web")[0]["hostPort"]) == "other"
    assert cluster.task(web["taskArn"])["lastStatus"] == "RUNNING"
    assert bindings(cluster.task(web["taskArn"]), "web") == [binding]
    assert cluster.page(port).split()[0] == "behind"

    cluster.stop(first["taskArn"])
    again = cluster.running(shell("web", SERVE.format("again", 80), portMappings=fixed))
    assert cluster.page(8080) == "again"
    cluster.stop(*(t["taskArn"] for t in (web, host, other, again)))
    after = until(lambda: census(cluster.node), lambda now: now == before)
    assert after == before
    agent = instance(cluster.node)
    cluster.node.down()
    assert [name for name in os.listdir("/run/netns") if agent in name] == []
    tables = [*cluster.machine.prefix, "nft", "list", "tables"]
    assert agent not in subprocess.run(tables, check=True, capture_output=True, text=True).stdout
