"""Real tasks that ask 169.254.170.2 about themselves, and reach the API through it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from test_crashes import kill, ready

from support.census import instance, process, resident
from support.homeport import Homeport
from support.tasks import Tasks, until

pytestmark = pytest.mark.host

# A web server that asks what its caller wants to know, and shows the variables that it was started with.
ASKER = r"""
mkdir -p /tmp/www/cgi-bin
cd /tmp/www
env > environment
head -c 1000000 /dev/zero > megabyte
cat > cgi-bin/ask << 'END'
#!/bin/sh
echo Content-Type: text/plain
echo
printf 'GET %s HTTP/1.0\r\n\r\n' "$QUERY_STRING" | nc 169.254.170.2 80
END
cat > cgi-bin/work << 'END'
#!/bin/sh
echo Content-Type: text/plain
echo
i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; echo $i
END
chmod +x cgi-bin/*
exec httpd -f -p 80 -h /tmp/www
"""


class Asker:
    """A task that asks for us."""

    def __init__(self, tasks: Tasks, **container: Any) -> None:
        self.arn = tasks.run(ASKER, **container)
        self.private, self.public = tasks.address(tasks.wait(self.arn, "RUNNING"))
        self.environment = dict(line.split("=", 1) for line in until(self._variables, bool).splitlines())
        self.v4 = self.environment["ECS_CONTAINER_METADATA_URI_V4"].removeprefix("http://169.254.170.2")

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.public}/{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def _variables(self) -> str:
        try:
            return self.page("environment")
        except OSError:
            return ""

    def ask(self, path: str) -> tuple[int, Any]:
        """Status and body of the endpoint's answer."""
        head, _, body = self.page(f"cgi-bin/ask?{path}").partition("\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    def told(self, path: str) -> Any:
        status, body = self.ask(path)
        assert status == 200, body
        return body


@pytest.fixture(scope="module")
def asker(tasks: Tasks) -> Asker:
    return Asker(tasks, memory=128, environment=[{"name": "AWS_ENDPOINT_URL_STS", "value": "http://elsewhere"}])


@pytest.mark.feature("Task metadata v2, v3 and v4 at 169.254.170.2, and each task sees itself only")
def test_metadata_says_what_the_api_says(asker: Asker, tasks: Tasks) -> None:
    described = tasks.describe(asker.arn)
    (container,) = described["containers"]
    task = asker.told(f"{asker.v4}/task")
    assert (task["TaskARN"], task["Cluster"]) == (asker.arn, described["clusterArn"])
    assert task["Limits"] == {"CPU": 0.25, "Memory": 512}
    assert (task["DesiredStatus"], task["KnownStatus"], task["LaunchType"]) == ("RUNNING", "RUNNING", "FARGATE")
    assert task["AvailabilityZone"] == described["availabilityZone"]
    mine = asker.told(asker.v4)
    assert [mine] == task["Containers"]
    assert mine["ContainerARN"] == container["containerArn"]
    assert mine["DockerId"] == container["runtimeId"]
    assert mine["ImageID"] == container["imageDigest"]
    assert mine["Networks"][0]["IPv4Addresses"] == [asker.private]
    assert asker.told(f"{asker.v4}/taskWithTags") == {**task, "TaskTags": {"suite": "host"}}
    assert task["Group"] == described["group"]
    assert asker.told(f"/v2/metadata/{mine['DockerId']}")["Name"] == "app"
    v3 = asker.environment["ECS_CONTAINER_METADATA_URI"].removeprefix("http://169.254.170.2")
    assert asker.told(f"{v3}/task") == asker.told("/v2/metadata")


def test_a_standalone_task_cannot_be_protected(asker: Asker) -> None:
    api = asker.environment["ECS_AGENT_URI"].removeprefix("http://169.254.170.2")
    told = asker.told(f"{api}/task-protection/v1/state")
    assert (told["failure"]["Arn"], told["failure"]["Reason"]) == (asker.arn, "TASK_NOT_VALID")
    status, told = asker.ask("/api/none/task-protection/v1/state")
    assert (status, told["error"]["Code"]) == (404, "ResourceNotFoundException")


def test_variables(asker: Asker) -> None:
    given = asker.environment
    assert given["AWS_REGION"] == given["AWS_DEFAULT_REGION"] == "us-east-1"
    assert given["AWS_EXECUTION_ENV"] == "AWS_ECS_FARGATE"
    assert given["ECS_AGENT_URI"] == f"http://169.254.170.2{asker.v4.replace('v4', 'api')}"
    assert given["AWS_ENDPOINT_URL_ECS"] == "http://169.254.170.2"
    assert given["AWS_ENDPOINT_URL_STS"] == "http://elsewhere", "the definition's own word wins"


@pytest.mark.feature("Task statistics in Docker's shape, from the cgroups and the interface")
def test_statistics_count_what_the_container_does(asker: Asker) -> None:
    before = asker.told(f"{asker.v4}/stats")
    assert asker.page("cgi-bin/work").strip() == "100000"
    for _ in range(3):
        asker.page("megabyte")
    after = asker.told(f"{asker.v4}/stats")

    def grown(*names: str) -> int:
        first, last = before, after
        for name in names:
            first, last = first[name], last[name]
        return int(last - first)

    worked = grown("cpu_stats", "cpu_usage", "total_usage")
    assert 20_000_000 < worked < grown("cpu_stats", "system_cpu_usage")
    assert 3_000_000 < grown("networks", "eth0", "tx_bytes") < 4_000_000
    memory = after["memory_stats"]
    assert 100_000 < memory["usage"] < memory["limit"] == 128 << 20
    assert 1 <= after["pids_stats"]["current"] < 20
    assert after["id"] == asker.told(asker.v4)["DockerId"]
    assert after["precpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert after["network_rate_stats"]["tx_bytes_per_sec"] > 0
    assert list(asker.told(f"{asker.v4}/task/stats")) == [after["id"]]


def test_no_task_sees_another(asker: Asker, tasks: Tasks) -> None:
    other = Asker(tasks)
    assert other.told("/v2/metadata")["TaskARN"] == other.arn
    assert asker.told("/v2/metadata")["TaskARN"] == asker.arn
    assert other.told(other.v4)["Name"] == "app"
    for path in ("", "/task", "/stats", "/task/stats"):
        status, body = asker.ask(f"{other.v4}{path}")
        assert status == 404
        assert "unable to get" in body
    theirs = other.told(other.v4)["DockerId"]
    assert asker.ask(f"/v2/metadata/{theirs}")[0] == asker.ask(f"/v2/stats/{theirs}")[0] == 400
    tasks.stop(other.arn)


CALLS = """
import boto3, json, os
c = {"region_name": "us-east-1"}
print(json.dumps([
    boto3.client("sts", **c).get_caller_identity()["Account"],
    boto3.client("ecs", **c).list_tasks(cluster="tests")["taskArns"],
    len(boto3.client("ec2", **c).describe_vpcs()["Vpcs"]),
]))
try:
    key = os.environ["AWS_ACCESS_KEY_ID"]
    boto3.client("sts", aws_access_key_id=key, aws_secret_access_key="wrong", **c).get_caller_identity()
except Exception as error:
    print(error)
"""


@pytest.mark.feature("AWS SDKs in tasks reach Homeport, told where by AWS_ENDPOINT_URL_<SERVICE>")
def test_sdks_in_a_task_reach_the_api(asker: Asker, homeport: Homeport) -> None:
    namespace = f"hp-{instance(homeport)}-t-{asker.arn.rpartition('/')[2]}"
    given = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    given |= {"AWS_ACCESS_KEY_ID": homeport.access_key, "AWS_SECRET_ACCESS_KEY": homeport.secret_key}
    given |= {n: v for n, v in asker.environment.items() if n.startswith("AWS_")}
    given["AWS_ENDPOINT_URL_STS"] = given["AWS_ENDPOINT_URL_ECS"]
    argv = ["ip", "netns", "exec", namespace, sys.executable, "-c", CALLS]
    done = subprocess.run(argv, env=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answers, refused = done.stdout.splitlines()
    account, tasks, vpcs = json.loads(answers)
    assert account == "123456789012"
    assert asker.arn in tasks
    assert vpcs == 1
    assert "SignatureDoesNotMatch" in refused


@pytest.mark.feature("Processor and memory statistics of every container reach the control plane")
def test_the_control_plane_hears_what_a_container_uses(asker: Asker, homeport: Homeport) -> None:
    def metrics() -> Any:
        return json.loads(homeport.command("status", asker.arn, "--json").stdout)["metrics"] or {"task": {}}

    told = until(metrics, lambda m: "cpu" in m["task"], 60)
    app = told["containers"]["app"]
    assert 0 <= app["cpu"]["minimum"] <= app["cpu"]["average"] <= app["cpu"]["maximum"] <= 100
    assert 0 < app["memory"]["minimum"] <= app["memory"]["maximum"] <= 128
    assert told["task"] == {"cpu": {"average": app["cpu"]["average"]}, "memory": {"average": app["memory"]["average"]}}


def test_what_a_container_was_told_outlives_the_agent(own_homeport: Callable[..., Homeport]) -> None:
    homeport = own_homeport("--no-task-endpoints")
    asker = Asker(Tasks(homeport))
    assert not [name for name in asker.environment if name.startswith("AWS_ENDPOINT_URL")]
    before = asker.told(f"{asker.v4}/task")
    kill(homeport, "agent")
    ready(homeport)
    after = until(lambda: asker.ask(f"{asker.v4}/task"), lambda answer: answer[0] == 200)[1]
    assert after == before
    assert asker.told(f"{asker.v4}/stats")["memory_stats"]["usage"] > 0
    assert resident(process(homeport, "agent")) <= 80, "MiB"
