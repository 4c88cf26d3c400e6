"""Every member that RegisterTaskDefinition has in the model: kept and answered as it was given, and with consequences.

The examples below have each member of botocore's model at least once. A newer model with other members fails the first
test until the new ones are added, and are done by nodes or refused.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from ecs_calls import ACCOUNT, MODEL, Ecs, running

from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.task import Container, Task
from homeport.services.ecs.registration.support import unsupported
from homeport.services.ecs.spec import task_spec

Path = tuple[str, ...]
Definition = dict[str, Any]

SHAPE = MODEL.operation_model("RegisterTaskDefinition").input_shape
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
SIDE = {"name": "side", "image": "i:2", "memory": 64, "essential": False}

ON_EC2: Definition = {
    "family": "ec2",
    "taskRoleArn": ROLE,
    "executionRoleArn": ROLE,
    "networkMode": "bridge",
    "containerDefinitions": [
        {
            "name": "app",
            "image": "i:1",
            "repositoryCredentials": {"credentialsParameter": "arn:aws:secretsmanager:us-east-1:1:secret:s"},
            "cpu": 128,
            "memory": 512,
            "memoryReservation": 256,
            "links": ["side:alias"],
            "portMappings": [
                {
                    "containerPort": 80,
                    "hostPort": 8080,
                    "protocol": "tcp",
                    "name": "web",
                    "appProtocol": "http2",
                },
                {"containerPortRange": "9000-9010", "protocol": "udp"},
            ],
            "essential": True,
            "restartPolicy": {"enabled": True, "ignoredExitCodes": [0, 3], "restartAttemptPeriod": 60},
            "entryPoint": ["sh", "-c"],
            "command": ["true"],
            "environment": [{"name": "A", "value": "1"}, {"name": "EMPTY", "value": ""}],
            "environmentFiles": [{"value": "arn:aws:s3:::b/f.env", "type": "s3"}],
            "mountPoints": [
                {"sourceVolume": "task", "containerPath": "/t", "readOnly": True},
                {"sourceVolume": "host", "containerPath": "/h", "readOnly": False},
            ],
            "volumesFrom": [{"sourceContainer": "side", "readOnly": True}],
            "linuxParameters": {
                "capabilities": {"add": ["SYS_PTRACE"], "drop": ["CHOWN"]},
                "devices": [{"hostPath": "/dev/fuse", "containerPath": "/dev/f", "permissions": ["read", "mknod"]}],
                "initProcessEnabled": True,
                "sharedMemorySize": 128,
                "tmpfs": [{"containerPath": "/tmp", "size": 16, "mountOptions": ["ro"]}],
                "maxSwap": 0,
                "swappiness": 10,
            },
            "secrets": [{"name": "SECRET", "valueFrom": "parameter"}],
            "dependsOn": [{"containerName": "side", "condition": "COMPLETE"}],
            "startTimeout": 120,
            "stopTimeout": 2,
            "versionConsistency": "disabled",
            "hostname": "h",
            "user": "1000:1000",
            "workingDirectory": "/w",
            "disableNetworking": True,
            "privileged": True,
            "readonlyRootFilesystem": True,
            "dnsServers": ["192.0.2.1"],
            "dnsSearchDomains": ["example.com"],
            "extraHosts": [{"hostname": "other", "ipAddress": "192.0.2.2"}],
            "dockerSecurityOptions": ["no-new-privileges"],
            "interactive": True,
            "pseudoTerminal": True,
            "dockerLabels": {"label": "value"},
            "ulimits": [{"name": "nofile", "softLimit": 10, "hardLimit": 20}],
            "logConfiguration": {
                "logDriver": "awsfirelens",
                "options": {"Name": "x"},
                "secretOptions": [{"name": "key", "valueFrom": "parameter"}],
            },
            "healthCheck": {
                "command": ["CMD", "true"],
                "interval": 5,
                "timeout": 2,
                "retries": 10,
                "startPeriod": 0,
            },
            "systemControls": [{"namespace": "net.core.somaxconn", "value": "9"}],
            "resourceRequirements": [
                {
                    "value": "1",
                    "type": "GPU",
                    "sharingStrategy": {"nvidiaMps": {"memory": 1, "maxComputePercent": 50}},
                }
            ],
            "credentialSpecs": ["credentialspec:file://c.json"],
        },
        {**SIDE, "firelensConfiguration": {"type": "fluentbit", "options": {"config-file-type": "file"}}},
    ],
    "volumes": [
        {
            "name": "task",
            "dockerVolumeConfiguration": {
                "scope": "shared",
                "autoprovision": True,
                "driver": "local",
                "driverOpts": {"o": "v"},
                "labels": {"l": "v"},
            },
        },
        {"name": "host", "host": {"sourcePath": "/srv"}},
    ],
    "placementConstraints": [{"type": "memberOf", "expression": "attribute:a == b"}],
    "requiresCompatibilities": ["EC2"],
    "cpu": "256",
    "memory": "1024",
    "tags": [{"key": "k", "value": "v"}],
    "pidMode": "host",
    "ipcMode": "host",
}
ON_FARGATE: Definition = {
    "family": "fargate",
    "networkMode": "awsvpc",
    "containerDefinitions": [
        {"name": "app", "image": "i", "mountPoints": [{"sourceVolume": "efs", "containerPath": "/e"}]}
    ],
    "volumes": [
        {
            "name": "efs",
            "efsVolumeConfiguration": {
                "fileSystemId": "fs-12345678",
                "rootDirectory": "/",
                "transitEncryption": "ENABLED",
                "transitEncryptionPort": 2049,
                "authorizationConfig": {"accessPointId": "fsap-1", "iam": "ENABLED"},
            },
        },
    ],
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "256",
    "memory": "512",
    "proxyConfiguration": {
        "type": "APPMESH",
        "containerName": "app",
        "properties": [{"name": "IgnoredUID", "value": "1337"}],
    },
    "ephemeralStorage": {"sizeInGiB": 21},
    "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
    "enableFaultInjection": True,
}
ELSEWHERE: Definition = {
    "family": "elsewhere",
    "taskRoleArn": ROLE,
    "networkMode": "awsvpc",
    "containerDefinitions": [
        {
            "name": "app",
            "image": "i",
            "memory": 64,
            "mountPoints": [{"sourceVolume": "ebs", "containerPath": "/b"}],
        }
    ],
    "volumes": [
        {"name": "ebs", "configuredAtLaunch": True},
        {
            "name": "s3",
            "s3filesVolumeConfiguration": {
                "fileSystemArn": "arn:aws:s3files:us-east-1:1:file-system/fs-1",
                "rootDirectory": "/r",
                "transitEncryptionPort": 2050,
                "accessPointArn": "arn:aws:s3files:us-east-1:1:file-system/fs-1/access-point/ap",
            },
        },
        {
            "name": "fsx",
            "fsxWindowsFileServerVolumeConfiguration": {
                "fileSystemId": "fs-1",
                "rootDirectory": "share",
                "authorizationConfig": {"credentialsParameter": "arn", "domain": "d"},
            },
        },
    ],
    "trustedExecutionConfiguration": {"isolationMode": "CONFIDENTIAL_SANDBOX", "attestationPolicy": "cG9saWN5"},
}
EXAMPLES = (ON_EC2, ON_FARGATE, ELSEWHERE)
REFUSED = {("inferenceAccelerators", "deviceName"), ("inferenceAccelerators", "deviceType")}  # by ECS itself, today

# Members that say nothing to a node: what they are for instead.
ELSEWHERES_CONCERN = {
    "family": "a name",
    "tags": "kept beside the definition",
    "taskRoleArn": "the control plane gives out credentials",
    "executionRoleArn": "the control plane reads secrets and images with it",
    "placementConstraints": "placement",
    "requiresCompatibilities": "registration",
    "networkMode": "whether the task gets an interface",
    "ephemeralStorage": "the task's own, overrides and all",
    "containerDefinitions.name": "a name",
    "containerDefinitions.portMappings": "in awsvpc all ports of the interface are the container's",
    "containerDefinitions.versionConsistency": "whether the control plane pins the image",
}


def in_model(shape: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of all members that have no members themselves; lists are passed through."""
    match shape.type_name:
        case "structure":
            for name, member in shape.members.items():
                yield from in_model(member, (*path, name))
        case "list":
            yield from in_model(shape.member, path)
        case _:
            yield path


def in_example(shape: Any, value: Any, path: Path = ()) -> Iterator[Path]:
    """The same of those that an example gives."""
    match shape.type_name:
        case "structure":
            for name, member in value.items():
                yield from in_example(shape.members[name], member, (*path, name))
        case "list":
            for item in value:
                yield from in_example(shape.member, item, path)
        case _:
            yield path


def holds(answer: Any, given: Any) -> bool:
    """Whether everything that was given is there again, in its place and order."""
    if isinstance(given, dict):
        return all(name in answer and holds(answer[name], value) for name, value in given.items())
    if isinstance(given, list):
        return len(answer) == len(given) and all(map(holds, answer, given))
    return bool(answer == given)


@pytest.fixture
def ecs() -> Iterator[Ecs]:
    with running() as ecs:
        yield ecs


def test_the_examples_have_every_member_of_the_model() -> None:
    given = {path for example in EXAMPLES for path in in_example(SHAPE, example)}
    assert set(in_model(SHAPE)) - given == REFUSED


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e["family"])
def test_every_member_is_answered_as_it_was_given(ecs: Ecs, example: Definition) -> None:
    given = {name: value for name, value in example.items() if name != "tags"}
    registered = ecs("RegisterTaskDefinition", **copy.deepcopy(example))
    described = ecs("DescribeTaskDefinition", taskDefinition=example["family"], include=["TAGS"])
    for answer in (registered, described):
        assert holds(answer["taskDefinition"], given)
        assert answer["tags"] == example.get("tags", [])


def choices(example: Definition) -> Iterator[tuple[str, Definition, Definition]]:
    """Each member of an example and of its first container and of each volume: its path, and the definition without
    everything that may be left out, without it and with it."""
    bare = {"family": "f", "networkMode": "awsvpc", "executionRoleArn": ROLE, "taskRoleArn": ROLE}
    first, *others = example["containerDefinitions"]
    container = {"name": first["name"], "image": first["image"], "memory": 64}
    sides = [{**SIDE, "name": c["name"]} for c in others]
    for name, value in example.items():
        if name not in ("containerDefinitions", "volumes"):
            without = {**bare, "containerDefinitions": [container, *sides]}
            yield name, without, {**without, name: value}
    volumes = [{"name": v["name"]} for v in example["volumes"]]
    without = {**bare, "volumes": volumes, "containerDefinitions": [container, *sides]}
    for name, value in first.items():
        change = {**container, name: value}
        yield f"containerDefinitions.{name}", without, {**without, "containerDefinitions": [change, *sides]}
    for name, value in (item for c in others for item in c.items() if item[0] not in container):
        change = {**sides[0], name: value}
        yield f"containerDefinitions.{name}", without, {**without, "containerDefinitions": [container, change]}
    for at, volume in enumerate(example["volumes"]):
        changed = [*volumes[:at], volume, *volumes[at + 1 :]]
        yield "volumes", without, {**without, "volumes": changed}


CHOICES = [choice for example in EXAMPLES for choice in choices(example)]


def for_node(definition: Definition) -> Any:
    """What a node would be told to run."""
    record = TaskDefinition(
        family="f",
        revision=1,
        arn="",
        status="ACTIVE",
        members=definition,
        requires_attributes=(),
        compatibilities=(),
        registered_at=0.0,
        registered_by="",
    )
    task = Task(
        id="1",
        cluster_arn="arn:aws:ecs:us-east-1:1:cluster/c",
        definition_arn="",
        launch_type="FARGATE",
        group="family:f",
        cpu=256,
        memory=512,
        created_at=0.0,
        containers=tuple(Container(id=c["name"], name=c["name"]) for c in definition["containerDefinitions"]),
    )
    return msgspec.to_builtins(task_spec(task, record, None, {}))


@pytest.mark.parametrize(("member", "without", "given"), CHOICES, ids=[c[0] for c in CHOICES])
def test_every_member_reaches_its_node_or_is_refused(member: str, without: Definition, given: Definition) -> None:
    assert unsupported(without) is None
    refused = unsupported(given)
    same = for_node(without) == for_node(given)
    if refused:
        assert refused.startswith("Homeport does not support ")
        assert " yet: " in refused
    elif without == given or member in ELSEWHERES_CONCERN:
        return
    elif member == "containerDefinitions.essential":  # the example's is the default
        change = copy.deepcopy(given)
        change["containerDefinitions"][0]["essential"] = False
        assert for_node(change) != for_node(without)
    elif member == "runtimePlatform":  # the node's own; all others are refused
        assert unsupported({**given, member: {"cpuArchitecture": "ARM64"}})
        assert unsupported({**given, member: {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}})
    else:
        assert not same, f"{member} is accepted at RunTask and does nothing"


@pytest.mark.parametrize(
    "given", [{"pidMode": "host"}, {"ipcMode": "host"}, {"networkMode": "bridge", "links": ["side"]}]
)
def test_what_only_container_instances_can_do(given: Definition) -> None:
    containers = [{"name": "app", "image": "i", "links": given.get("links")}, {"name": "side", "image": "i"}]
    definition = {**given, "containerDefinitions": containers}
    assert unsupported(definition, launch_type="FARGATE")
    assert unsupported(definition, launch_type="EC2") is None
    assert unsupported(definition, launch_type="EXTERNAL") is None
