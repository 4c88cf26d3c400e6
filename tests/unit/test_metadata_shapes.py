"""What a task is told about itself: paths, shapes, refusals, variables."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from homeport.agent.creation import container_plan
from homeport.agent.drivers import Image
from homeport.agent.health import Health
from homeport.agent.metadata import answers, protection, routes, shapes
from homeport.agent.metadata.environment import endpoint_id, variables
from homeport.agent.metadata.protection import Ask, Told
from homeport.agent.metadata.routes import Container as AboutContainer
from homeport.agent.metadata.routes import Credentials, Fault, Protection, Sibling, Task
from homeport.agent.network import ContainerNetwork
from homeport.agent.plan import Container, Facts, TaskGoal
from homeport.agentapi import (
    ContainerSpec,
    HealthCheck,
    InterfaceSpec,
    MountPoint,
    NetworkBinding,
    RestartPolicy,
    TaskSpec,
    Volume,
)

KEY = bytes(32)
ID = "0123456789abcdef0123456789abcdef"
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/demo"
ARN = f"arn:aws:ecs:us-east-1:123456789012:task/demo/{ID}"
INTERFACE = InterfaceSpec(
    attachment_arn="a",
    eni_id="eni-1",
    mac="0a:aa:00:00:00:02",
    vpc_id="vpc-1",
    vpc_cidr="10.77.0.0/16",
    subnet_id="subnet-1",
    subnet_cidr="10.77.1.0/24",
    private_address="10.77.1.11",
    gateway="10.77.1.1",
    private_dns_name="ip-10-77-1-11.ec2.internal",
)
APP = ContainerSpec(name="app", image="httpd:2.4", arn="container-arn", cpu=64, memory=128, labels={"own": "label"})
HELPER = ContainerSpec(
    name="helper", image="busybox", essential=False, environment={"AWS_ENDPOINT_URL_STS": "http://x"}
)


def goal(launch_type: str = "FARGATE", stop: bool = False, **spec: Any) -> TaskGoal:
    given: dict[str, Any] = {"cpu": 256, "memory": 512, "interface": INTERFACE} | spec
    task = TaskSpec(
        family="web",
        revision=7,
        region="us-east-1",
        availability_zone="us-east-1a",
        launch_type=launch_type,
        containers=(APP, HELPER),
        **given,
    )
    return TaskGoal(arn=ARN, cluster=CLUSTER, task_id=ID, spec=task, stop=stop)


def facts(app: Container | None = None, helper: Container | None = None) -> Facts:
    running = Container(state="running", image=Image("httpd:2.4", "sha256:1"), started_at=1_700_000_000.25)
    return Facts(
        containers={"app": app or running, "helper": helper or running},
        network="attached",
        pull_started_at=1_700_000_000.0,
    )


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v4/x", AboutContainer("v4", "metadata", "x")),
        ("/v4/x/", AboutContainer("v4", "metadata", "x")),
        ("//v4//x", AboutContainer("v4", "metadata", "x")),
        ("/v3/x/stats", AboutContainer("v3", "stats", "x")),
        ("/v4/x/task", Task("v4", "metadata", "x")),
        ("/v3/x/taskWithTags", Task("v3", "metadata", "x", tags=True)),
        ("/v4/x/task/stats", Task("v4", "stats", "x")),
        ("/v2/metadata", Task("v2", "metadata")),
        ("/v2/metadataWithTags", Task("v2", "metadata", tags=True)),
        ("/v2/metadataWithTags/c-0", Sibling("metadata", "c-0")),
        ("/v2/stats", Task("v2", "stats")),
        ("/v2/metadata/c-0", Sibling("metadata", "c-0")),
        ("/v2/stats/c-0", Sibling("stats", "c-0")),
        ("/v2/credentials/u", Credentials("v2", "u")),
        ("/v4", None),
        ("/v4/x/task/other", None),
        ("/v4/x/constructor", None),
        ("/v2/other", None),
        ("/v2/stats/c-0/more", None),
        ("/v1/other", None),
        ("/api/x/task-protection/v1/state", Protection("x")),
        ("/api/x/fault/v1/network-latency/start", Fault("x")),
        ("/api/x/fault/v1/network-blackhole-port/status", Fault("x")),
        ("/api/x/fault/v1/network-fire/start", None),
        ("/api/x/task-protection/v1/state/more", None),
        ("/api/x", None),
        ("/api//task-protection/v1/state", None),
    ],
)
def test_paths(path: str, route: routes.Route | None) -> None:
    assert routes.route(path) == route
    assert not routes.is_api(path)


def test_old_credentials_have_their_id_in_the_query() -> None:
    assert routes.route("/v1/credentials", "id=u") == Credentials("v1", "u")
    assert routes.route("/v1/credentials") == Credentials("v1", "")


@pytest.mark.parametrize("path", ["/", "", "/service/x/operation/y", "/v22/x", "/v5", "/2015-03-31/functions"])
def test_other_paths_are_the_apis(path: str) -> None:
    assert routes.is_api(path)


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "//metrics/", "/metrics/x"])
def test_what_is_for_operators_is_for_no_task(path: str) -> None:
    assert not routes.is_api(path)
    assert routes.route(path) is None


def test_a_container_in_v4() -> None:
    assert shapes.container("v4", goal(), facts(), APP) == {
        "DockerId": f"{ID}-0",
        "Name": "app",
        "DockerName": "app",
        "Image": "httpd:2.4",
        "ImageID": "sha256:1",
        "Labels": {
            "own": "label",
            "com.amazonaws.ecs.cluster": CLUSTER,
            "com.amazonaws.ecs.container-name": "app",
            "com.amazonaws.ecs.task-arn": ARN,
            "com.amazonaws.ecs.task-definition-family": "web",
            "com.amazonaws.ecs.task-definition-version": "7",
        },
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Limits": {"CPU": 64, "Memory": 128},
        "StartedAt": "2023-11-14T22:13:20.250000Z",
        "Type": "NORMAL",
        "Networks": [
            {
                "NetworkMode": "awsvpc",
                "IPv4Addresses": ["10.77.1.11"],
                "AttachmentIndex": 0,
                "MACAddress": "0a:aa:00:00:00:02",
                "IPv4SubnetCIDRBlock": "10.77.1.0/24",
                "PrivateDNSName": "ip-10-77-1-11.ec2.internal",
                "SubnetGatewayIpv4Address": "10.77.1.1/24",
            }
        ],
        "ContainerARN": "container-arn",
        "Snapshotter": "overlayfs",
    }


def test_v2_and_v3_know_less_of_a_container() -> None:
    shown = shapes.container("v3", goal(), facts(), APP)
    assert shown == shapes.container("v2", goal(), facts(), APP)
    assert shown["Networks"] == [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.77.1.11"]}]
    assert not {"ContainerARN", "Snapshotter"} & shown.keys()


def test_a_container_in_the_bridge_shows_its_address_and_ports() -> None:
    ports = (NetworkBinding("0.0.0.0", "tcp", 80, 32768), NetworkBinding("0.0.0.0", "udp", None, None, "1-2", "3-4"))
    known = msgspec.structs.replace(facts(), networks={"app": ContainerNetwork("/n", "172.16.0.2", ports)})
    shown = shapes.container("v4", goal("EC2", interface=None, network_mode="bridge"), known, APP)
    assert shown["Networks"] == [{"NetworkMode": "bridge", "IPv4Addresses": ["172.16.0.2"]}]
    assert shown["Ports"] == [{"ContainerPort": 80, "Protocol": "tcp", "HostPort": 32768, "HostIp": "0.0.0.0"}]


def test_a_task_in_v4() -> None:
    shown = shapes.task("v4", goal(), facts())
    containers = shown.pop("Containers")
    assert [c["Name"] for c in containers] == ["app", "helper"]
    assert shown == {
        "Cluster": CLUSTER,
        "TaskARN": ARN,
        "Family": "web",
        "Revision": "7",
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Limits": {"CPU": 0.25, "Memory": 512},
        "PullStartedAt": "2023-11-14T22:13:20.000000Z",
        "AvailabilityZone": "us-east-1a",
        "LaunchType": "FARGATE",
        "VPCID": "vpc-1",
        "FaultInjectionEnabled": False,
    }


def test_v2_and_v3_know_less_of_a_task() -> None:
    shown = shapes.task("v2", goal(), facts())
    assert not {"LaunchType", "VPCID", "FaultInjectionEnabled"} & shown.keys()


def test_a_task_without_limits_names_none() -> None:
    assert "Limits" not in shapes.task("v4", goal(cpu=0, memory=0), facts())


def test_off_fargate_the_cluster_has_its_name_and_containers_a_longer_one() -> None:
    assert shapes.task("v4", goal("EC2"), facts())["Cluster"] == "demo"
    name = shapes.container("v4", goal("EC2"), facts(), APP)["DockerName"]
    assert name.startswith("ecs-web-7-app-")
    assert name != shapes.container("v4", goal("EC2"), facts(), HELPER)["DockerName"]


@pytest.mark.parametrize(
    ("container", "known"),
    [
        (Container(), "NONE"),
        (Container(image=Image("i", "sha256:1")), "PULLED"),
        (Container(state="created"), "CREATED"),
        (Container(state="running"), "RUNNING"),
        (Container(state="stopped", exit_code=3), "STOPPED"),
        (Container(state="lost"), "STOPPED"),
    ],
)
def test_known_status(container: Container, known: str) -> None:
    seen = facts(helper=container)
    assert shapes.container("v4", goal(), seen, HELPER)["KnownStatus"] == known
    last = "RUNNING" if known == "STOPPED" else known  # the task's is that of its slowest container
    assert shapes.task("v4", goal(), seen)["KnownStatus"] == last


def test_what_has_ended_says_how_and_when() -> None:
    ended = Container(state="stopped", exit_code=0, started_at=1.0, finished_at=2.5)
    seen = facts(app=ended)
    shown = shapes.container("v4", goal(), seen, APP)
    assert (shown["ExitCode"], shown["FinishedAt"]) == (0, "1970-01-01T00:00:02.500000Z")
    task = shapes.task("v4", goal(), seen)
    assert (task["DesiredStatus"], task["ExecutionStoppedAt"]) == ("STOPPED", "1970-01-01T00:00:02.500000Z")
    assert shapes.task("v4", goal(stop=True), facts())["DesiredStatus"] == "STOPPED"


def test_health_restarts_and_volumes() -> None:
    spec = ContainerSpec(
        name="app",
        image="i",
        health_check=HealthCheck(command=("CMD", "true")),
        restart_policy=RestartPolicy(),
        mount_points=(MountPoint(volume="data", container_path="/data"),),
    )
    seen = facts(app=Container(state="running", health=Health("HEALTHY", 1.0), restarts=2, created_at=0.5))
    task = goal(volumes=(Volume(name="data", kind="host", path="/secret"),))
    task = msgspec.structs.replace(task, spec=msgspec.structs.replace(task.spec, containers=(spec, HELPER)))
    shown = shapes.container("v4", task, seen, spec)
    assert shown["Health"] == {"status": "HEALTHY", "statusSince": "1970-01-01T00:00:01.000000Z"}
    assert shown["RestartCount"] == 2
    assert shown["Volumes"] == [{"DockerName": "data", "Destination": "/data"}]
    assert shown["CreatedAt"] == "1970-01-01T00:00:00.500000Z"
    assert "RestartCount" not in shapes.container("v3", task, seen, spec)


def ask(path: str, statistics: dict[str, Any] | None = None) -> answers.Answer:
    route = routes.route(path)
    assert route is not None
    return answers.answer(route, goal(), facts(), KEY, lambda spec: statistics)


def test_a_container_is_found_by_its_endpoint_id_alone() -> None:
    mine = endpoint_id(KEY, ID, "helper")
    assert ask(f"/v4/{mine}").body["Name"] == "helper"
    assert ask(f"/v4/{mine}/task").body["TaskARN"] == ARN
    assert ask(f"/v2/metadata/{ID}-1").body["Name"] == "helper"


@pytest.mark.parametrize("other", [endpoint_id(KEY, "f" * 32, "app"), endpoint_id(b"other", ID, "app"), "é"])
def test_any_other_id_is_unknown(other: str) -> None:
    for path in ("", "/task", "/stats", "/task/stats"):
        assert ask(f"/v4/{other}{path}").status == 404
        assert ask(f"/v3/{other}{path}").status == 400
    assert ask("/v2/metadata/" + "f" * 32 + "-0").status == 400


def test_statistics_of_a_task_name_each_container() -> None:
    mine = endpoint_id(KEY, ID, "app")
    assert ask(f"/v4/{mine}/task/stats", {"a": 1}).body == {f"{ID}-0": {"a": 1}, f"{ID}-1": {"a": 1}}
    assert ask("/v2/stats").body == {f"{ID}-0": None, f"{ID}-1": None}, "null of a container that doesn't run"
    assert ask(f"/v4/{mine}/stats", {"a": 1}).body == {"a": 1}
    assert ask(f"/v4/{mine}/stats").status == 404


def test_a_task_is_shown_with_the_tags_it_was_started_with() -> None:
    tagged = goal(tags={"team": "a"}, group="family:web")
    shown = shapes.task("v4", tagged, facts(), tags=True)
    assert (shown["TaskTags"], shown["Group"]) == ({"team": "a"}, "family:web")
    assert "TaskTags" not in shapes.task("v4", tagged, facts())
    assert "TaskTags" not in shapes.task("v4", goal(), facts(), tags=True)
    assert "Group" not in shapes.task("v3", tagged, facts(), tags=True)


def test_a_container_is_told_where_its_output_goes() -> None:
    spec = msgspec.structs.replace(APP, log_driver="awslogs", log_options={"awslogs-group": "g"})
    shown = shapes.container("v4", goal(), facts(), spec)
    assert (shown["LogDriver"], shown["LogOptions"]) == ("awslogs", {"awslogs-group": "g"})
    assert "LogDriver" not in shapes.container("v4", goal(), facts(), APP)


MINE = {"cluster": "demo", "tasks": [ARN]}


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (None, Ask("GetTaskProtection", MINE)),
        (b'{"ProtectionEnabled":true}', Ask("UpdateTaskProtection", {**MINE, "protectionEnabled": True})),
        (
            b'{"ProtectionEnabled":false,"ExpiresInMinutes":60}',
            Ask("UpdateTaskProtection", {**MINE, "protectionEnabled": False, "expiresInMinutes": 60}),
        ),
        *(
            (
                body,
                Told(
                    400,
                    {
                        "error": {
                            "Code": "InvalidParameterException",
                            "Message": "UpdateTaskProtection: failed to decode request",
                        }
                    },
                ),
            )
            for body in (b"", b"no", b"\xff", b"[]", b'{"ProtectionEnabled":"yes"}', b'{"Other":1}')
        ),
        *(
            (
                body,
                Told(
                    400,
                    {
                        "error": {
                            "Arn": ARN,
                            "Code": "InvalidParameterException",
                            "Message": "Invalid request: does not contain 'ProtectionEnabled' field",
                        }
                    },
                ),
            )
            for body in (b"{}", b"null", b'{"ExpiresInMinutes":1}')
        ),
    ],
)
def test_what_a_task_asks_of_its_protection(body: bytes | None, asked: Ask | Told) -> None:
    assert protection.asked(ARN, "demo", body) == asked
    if isinstance(asked, Ask):
        text = "Failed to find a task for the request"
        nobody = {"error": {"Code": "ResourceNotFoundException", "Message": text}}
        assert protection.asked(None, "demo", body) == Told(404, nobody)


def test_what_a_task_is_told_of_its_protection() -> None:
    off = {"protectedTasks": [{"taskArn": ARN, "protectionEnabled": False}], "failures": []}
    shown = {"ExpirationDate": None, "ProtectionEnabled": False, "TaskArn": ARN}
    assert protection.answered(ARN, off) == Told(200, {"protection": shown})
    blocked = {"arn": ARN, "reason": "DEPLOYMENT_BLOCKED", "detail": "d"}
    failure = {"Arn": ARN, "Detail": "d", "Reason": "DEPLOYMENT_BLOCKED"}
    assert protection.answered(ARN, {"failures": [blocked]}) == Told(200, {"failure": failure})
    assert protection.answered(ARN, {}).status == 500


def test_no_task_has_faults_injected() -> None:
    mine = endpoint_id(KEY, ID, "app")
    refused = answers.Answer(400, {"Error": f"enableFaultInjection is not enabled for task: {ARN}"})
    assert ask(f"/api/{mine}/fault/v1/network-latency/start") == refused
    unknown = answers.Answer(404, {"Error": "unable to lookup container: x"})
    assert ask("/api/x/fault/v1/network-latency/start") == unknown


def test_there_are_no_credentials() -> None:
    assert ask("/v2/credentials/u") == answers.Answer(
        400,
        {
            "code": "InvalidIdInRequest",
            "message": "CredentialsV2Request: Credentials not found",
            "HTTPErrorCode": 400,
        },
    )
    assert ask("/v2/credentials").body["code"] == "NoIdInRequest"


def test_variables_of_a_container() -> None:
    id = endpoint_id(KEY, ID, "app")
    assert len(id) == 32
    given = variables(goal(), "app", KEY)
    assert given == {
        "ECS_CONTAINER_METADATA_URI": f"http://169.254.170.2/v3/{id}",
        "ECS_CONTAINER_METADATA_URI_V4": f"http://169.254.170.2/v4/{id}",
        "ECS_AGENT_URI": f"http://169.254.170.2/api/{id}",
        "AWS_ENDPOINT_URL_ECS": "http://169.254.170.2",
        "AWS_ENDPOINT_URL_EC2": "http://169.254.170.2",
        "AWS_ENDPOINT_URL_STS": "http://169.254.170.2",
    }
    assert not [name for name in variables(goal(), "app", KEY, api=False) if name.startswith("AWS_")]
    assert variables(goal(interface=None), "app", KEY) == {}
    assert variables(goal(interface=None, network_mode="host"), "app", KEY) == {}
    here = variables(goal(interface=None, network_mode="host"), "app", KEY, machine="http://127.64.0.1:51679")
    assert here["ECS_CONTAINER_METADATA_URI_V4"] == f"http://127.64.0.1:51679/v4/{id}"
    assert variables(goal(), "app", KEY, machine="http://127.64.0.1:51679") == given
    assert variables(goal(interface=None, network_mode="bridge"), "app", KEY) == given


def test_the_definition_wins_over_the_nodes_variables() -> None:
    plan = container_plan(goal(), facts(), "helper", variables(goal(), "helper", KEY))
    environment = plan.spec.environment
    assert environment["AWS_ENDPOINT_URL_STS"] == "http://x"
    assert environment["AWS_ENDPOINT_URL_ECS"] == "http://169.254.170.2"
    assert environment["AWS_EXECUTION_ENV"] == "AWS_ECS_FARGATE"
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == "us-east-1"
