"""compatibilities, requiresAttributes and the defaults of a registered definition."""

from __future__ import annotations

from typing import Any

import pytest

from homeport.services.ecs.registration.compatibility import compatibilities, required_attributes
from homeport.services.ecs.registration.register import prepared
from homeport.services.ecs.registration.support import unsupported

ROLE = "arn:aws:iam::123456789012:role/r"
LOGS = {
    "logDriver": "awslogs",
    "options": {"awslogs-region": "r", "awslogs-group": "g", "awslogs-stream-prefix": "p"},
}
ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/a:1"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:s"
MOUNT = {"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]}
AWSVPC: dict[str, Any] = {"networkMode": "awsvpc", "cpu": "256", "memory": "512"}
FARGATE = {**AWSVPC, "requiresCompatibilities": ["FARGATE"]}
WINDOWS = {"runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}}


def definition(task: dict[str, Any], **container: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "i", "memory": 64, **container}]
    return prepared({"family": "f", "containerDefinitions": containers, **task})


@pytest.mark.parametrize(
    ("task", "container", "expected"),
    [
        ({}, {}, ("EXTERNAL", "EC2")),
        ({"networkMode": "host"}, {}, ("EXTERNAL", "EC2")),
        ({"volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "f"}}]}, MOUNT, ("EC2",)),
        (WINDOWS, {}, ("EC2",)),
        (AWSVPC, {}, ("EC2", "MANAGED_INSTANCES", "FARGATE")),
        (FARGATE, {}, ("EC2", "MANAGED_INSTANCES", "FARGATE")),
        ({"networkMode": "awsvpc"}, {}, ("EC2", "MANAGED_INSTANCES")),
        ({**AWSVPC, "memory": "513"}, {}, ("EC2", "MANAGED_INSTANCES")),
        (AWSVPC, {"privileged": True}, ("EC2", "MANAGED_INSTANCES")),
        (AWSVPC, {"logConfiguration": LOGS}, ("EC2", "MANAGED_INSTANCES")),
        ({**AWSVPC, "executionRoleArn": ROLE}, {"logConfiguration": LOGS}, ("EC2", "MANAGED_INSTANCES", "FARGATE")),
        ({**AWSVPC, "volumes": [{"name": "v", "dockerVolumeConfiguration": {}}]}, MOUNT, ("EC2",)),
        ({**AWSVPC, "cpu": "1024", "memory": "2048", **WINDOWS}, {}, ("EC2", "FARGATE")),
    ],
)
def test_compatibilities(task: dict[str, Any], container: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert compatibilities(definition(task, **container)) == expected


FSX = {
    "fileSystemId": "f",
    "rootDirectory": "d",
    "authorizationConfig": {"credentialsParameter": "p", "domain": "d"},
}
API = "com.amazonaws.ecs.capability.docker-remote-api.1."


@pytest.mark.parametrize(
    ("task", "container", "expected"),
    [
        ({}, {}, set()),
        (FARGATE, {}, {f"{API}18", "ecs.capability.task-eni"}),
        ({"cpu": "10240"}, {}, {"ecs.capability.task-cpu-mem-limit"}),
        ({"cpu": "10241"}, {}, {"ecs.capability.task-cpu-mem-limit", "ecs.capability.increased-task-cpu-limit"}),
        (
            {**FARGATE, "executionRoleArn": ROLE},
            {"logConfiguration": LOGS, "image": ECR},
            {
                "com.amazonaws.ecs.capability.logging-driver.awslogs",
                "ecs.capability.execution-role-awslogs",
                "com.amazonaws.ecs.capability.ecr-auth",
                f"{API}19",
                "ecs.capability.execution-role-ecr-pull",
                f"{API}18",
                "ecs.capability.task-eni",
            },
        ),
        ({}, {"image": ECR}, {"com.amazonaws.ecs.capability.ecr-auth", f"{API}19"}),
        ({"taskRoleArn": ROLE}, {}, {f"{API}17", "com.amazonaws.ecs.capability.task-iam-role"}),
        (
            {"taskRoleArn": ROLE, "networkMode": "host"},
            {},
            {f"{API}17", "com.amazonaws.ecs.capability.task-iam-role-network-host"},
        ),
        ({"cpu": "256"}, {}, {"ecs.capability.task-cpu-mem-limit"}),
        ({"pidMode": "task"}, {}, {"ecs.capability.pid-ipc-namespace-sharing"}),
        ({"enableFaultInjection": True}, {}, {"ecs.capability.fault-injection"}),
        ({}, {"privileged": True}, {"com.amazonaws.ecs.capability.privileged-container"}),
        ({}, {"memoryReservation": 64}, {f"{API}21"}),
        ({}, {"dockerLabels": {"a": "b"}}, {f"{API}18"}),
        ({}, {"healthCheck": {"command": ["CMD", "x"]}}, {f"{API}24", "ecs.capability.container-health-check"}),
        ({}, {"restartPolicy": {"enabled": True}}, {"ecs.capability.container-restart-policy"}),
        ({}, {"restartPolicy": {"enabled": False}}, set()),
        ({}, {"portMappings": [{"containerPortRange": "1-2"}]}, {"ecs.capability.network.container-port-range"}),
        ({}, {"linuxParameters": {"initProcessEnabled": True}}, {f"{API}25"}),
        (
            {},
            {"dockerSecurityOptions": ["apparmor:a", "label:b", "no-new-privileges"]},
            {"com.amazonaws.ecs.capability.apparmor", "com.amazonaws.ecs.capability.selinux"},
        ),
        (
            {},
            {"repositoryCredentials": {"credentialsParameter": SECRET}},
            {"ecs.capability.private-registry-authentication.secretsmanager"},
        ),
        (
            {"executionRoleArn": ROLE},
            {"secrets": [{"name": "a", "valueFrom": SECRET}, {"name": "b", "valueFrom": "parameter"}]},
            {
                "ecs.capability.secrets.asm.environment-variables",
                "ecs.capability.secrets.ssm.environment-variables",
            },
        ),
        (
            {"executionRoleArn": ROLE},
            {"logConfiguration": {"logDriver": "splunk", "secretOptions": [{"name": "a", "valueFrom": SECRET}]}},
            {
                "com.amazonaws.ecs.capability.logging-driver.splunk",
                f"{API}18",
                "ecs.capability.secrets.asm.bootstrap.log-driver",
            },
        ),
        ({}, {"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/f.env"}]}, {"ecs.capability.env-files.s3"}),
        ({}, {"credentialSpecs": ["credentialspecdomainless:arn"]}, {"ecs.capability.gmsa-domainless"}),
        (
            {"volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "f", "authorizationConfig": {}}}]},
            MOUNT,
            {"ecs.capability.efs", "ecs.capability.efsAuth"},
        ),
        (
            {"volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "f"}}]},
            MOUNT,
            {"ecs.capability.efs"},
        ),
        (
            {"volumes": [{"name": "v", "fsxWindowsFileServerVolumeConfiguration": FSX}, {"name": "w", "host": {}}]},
            MOUNT,
            {"ecs.capability.fsxWindowsFileServer"},
        ),
        (
            {"taskRoleArn": ROLE, "volumes": [{"name": "v", "s3filesVolumeConfiguration": {"fileSystemArn": "a"}}]},
            MOUNT,
            {f"{API}17", "com.amazonaws.ecs.capability.task-iam-role", "ecs.capability.storage.s3-files"},
        ),
        (
            {},
            {"firelensConfiguration": {"type": "fluentd"}, "logConfiguration": {"logDriver": "awsfirelens"}},
            {
                "ecs.capability.firelens.fluentd",
                "com.amazonaws.ecs.capability.logging-driver.awsfirelens",
                f"{API}18",
            },
        ),
        (
            {"volumes": [{"name": "v", "dockerVolumeConfiguration": {"driver": "rexray"}}]},
            MOUNT,
            {"com.amazonaws.ecs.capability.docker-plugin.rexray", f"{API}21"},
        ),
        (
            {"volumes": [{"name": "v", "configuredAtLaunch": True}]},
            MOUNT,
            {"ecs.capability.storage.ebs-task-volume-attach"},
        ),
        (
            {},
            {
                "firelensConfiguration": {"type": "fluentbit", "options": {"config-file-type": "s3"}},
                "logConfiguration": {"logDriver": "awsfirelens"},
            },
            {
                "ecs.capability.firelens.fluentbit",
                "ecs.capability.firelens.options.config.s3",
                "com.amazonaws.ecs.capability.logging-driver.awsfirelens",
                f"{API}18",
            },
        ),
    ],
)
def test_required_attributes(task: dict[str, Any], container: dict[str, Any], expected: set[str]) -> None:
    names = required_attributes(definition(task, **container))
    assert set(names) == expected
    assert len(names) == len(expected)


def test_defaults_are_written_out() -> None:
    made = definition(
        FARGATE,
        portMappings=[{"containerPort": 80}, {"containerPortRange": "90-91", "protocol": "udp"}],
        healthCheck={"command": ["CMD", "x"], "retries": 5},
    )
    assert made == {
        **FARGATE,
        "family": "f",
        "volumes": [],
        "placementConstraints": [],
        "containerDefinitions": [
            {
                "name": "c",
                "image": "i",
                "cpu": 0,
                "memory": 64,
                "essential": True,
                "portMappings": [
                    {"containerPort": 80, "hostPort": 80, "protocol": "tcp"},
                    {"containerPortRange": "90-91", "protocol": "udp"},
                ],
                "environment": [],
                "mountPoints": [],
                "volumesFrom": [],
                "systemControls": [],
                "healthCheck": {"command": ["CMD", "x"], "interval": 30, "timeout": 5, "retries": 5},
            }
        ],
    }


def test_bridge_ports_are_dynamic_and_the_mode_stays_out() -> None:
    made = definition({}, portMappings=[{"containerPort": 80}])
    assert made["containerDefinitions"][0]["portMappings"][0]["hostPort"] == 0
    assert made.keys().isdisjoint({"networkMode", "requiresCompatibilities", "cpu", "memory"})


def test_sizes_are_normalised() -> None:
    made = definition({"cpu": "1 vCPU", "memory": ".5 GB"})
    assert (made["cpu"], made["memory"]) == ("1024", "512")


HEALTH = {"healthCheck": {"command": ["CMD", "x"]}}
WITH_ROLE = {"executionRoleArn": ROLE}


@pytest.mark.parametrize(
    ("task", "container", "what"),
    [
        ({}, {}, None),
        (WITH_ROLE, {"logConfiguration": LOGS}, None),
        ({}, {"logConfiguration": {"logDriver": "json-file"}}, None),
        ({}, {"linuxParameters": {"capabilities": {"add": ["SYS_PTRACE"]}, "initProcessEnabled": False}}, None),
        ({}, {"restartPolicy": {"enabled": False}, "interactive": False, "privileged": False}, None),
        ({"runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}}, {}, None),
        ({"runtimePlatform": {"cpuArchitecture": "ARM64"}}, {}, "the CPU architecture ARM64 on this machine"),
        (WINDOWS, {}, "the operating system family WINDOWS_SERVER_2022_CORE"),
        ({"volumes": [{"name": "v"}]}, {"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]}, None),
        ({"volumes": [{"name": "v", "configuredAtLaunch": False, "host": {}}]}, {}, None),
        (
            {"volumes": [{"name": "v", "configuredAtLaunch": True}]},
            {"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]},
            "'configuredAtLaunch' (volume 'v')",
        ),
        (
            {
                "volumes": [
                    {
                        "name": "v",
                        "efsVolumeConfiguration": {
                            "fileSystemId": "fs-12345678",
                            "transitEncryption": "ENABLED",
                            "authorizationConfig": {"accessPointId": "fsap-1"},
                        },
                    }
                ]
            },
            {},
            "EFS access points (volume 'v')",
        ),
        (
            {"volumes": [{"name": "v", "dockerVolumeConfiguration": {"driverOpts": {"type": "nfs"}}}]},
            {},
            "these 'driverOpts' of volumes (volume 'v')",
        ),
        ({"volumes": [{"name": "v", "dockerVolumeConfiguration": {"driverOpts": {"type": "tmpfs"}}}]}, {}, None),
        ({"volumes": [{"name": "v", "dockerVolumeConfiguration": {"driverOpts": {"o": "rbind,ro"}}}]}, {}, None),
        ({"pidMode": "task"}, {}, None),
        ({"pidMode": "host"}, {}, "'pidMode' host"),
        ({"ipcMode": "none"}, {}, None),
        ({"ipcMode": "task"}, {}, None),
        ({"ipcMode": "host"}, {}, "'ipcMode' host"),
        ({**FARGATE, "ephemeralStorage": {"sizeInGiB": 30}}, {}, None),
        ({**AWSVPC, "proxyConfiguration": {"containerName": "c"}}, {}, "'proxyConfiguration'"),
        ({"inferenceAccelerators": [{"deviceName": "d"}]}, {}, "'inferenceAccelerators'"),
        ({"enableFaultInjection": True}, {}, "'enableFaultInjection'"),
        (
            {"trustedExecutionConfiguration": {"isolationMode": "ISOLATED_SANDBOX"}},
            {},
            "the isolation mode ISOLATED_SANDBOX",
        ),
        ({}, HEALTH, None),
        (WITH_ROLE, {"secrets": [{"name": "n", "valueFrom": "v"}]}, "'secrets' (container 'c')"),
        (
            WITH_ROLE,
            {"logConfiguration": {**LOGS, "secretOptions": [{"name": "n", "valueFrom": "v"}]}},
            "'secretOptions' of a log configuration (container 'c')",
        ),
        (
            {},
            {"repositoryCredentials": {"credentialsParameter": "p"}},
            "'repositoryCredentials' (container 'c')",
        ),
        ({}, {"firelensConfiguration": {"type": "fluentbit"}}, "'firelensConfiguration' (container 'c')"),
        ({}, {"links": ["d"]}, "'links' (container 'c')"),
        ({}, {"credentialSpecs": ["credentialspec:x"]}, "'credentialSpecs' (container 'c')"),
        (
            {"volumes": [{"name": "v", "s3filesVolumeConfiguration": {"fileSystemArn": "a"}}]},
            {},
            "'s3filesVolumeConfiguration' (volume 'v')",
        ),
        (
            {"volumes": [{"name": "v", "fsxWindowsFileServerVolumeConfiguration": {"fileSystemId": "f"}}]},
            {},
            "'fsxWindowsFileServerVolumeConfiguration' (volume 'v')",
        ),
        ({}, {"restartPolicy": {"enabled": True}}, None),
        ({}, {"linuxParameters": {"initProcessEnabled": True, "sharedMemorySize": 64}}, None),
        ({}, {"logConfiguration": {"logDriver": "syslog"}}, "the log driver syslog (container 'c')"),
        ({}, {"dnsServers": ["1.1.1.1"], "extraHosts": [{"hostname": "h", "ipAddress": "::1"}]}, None),
        ({}, {"interactive": True, "pseudoTerminal": True, "privileged": True}, None),
        ({}, {"dockerSecurityOptions": ["no-new-privileges"]}, None),
        ({}, {"dockerSecurityOptions": ["label:x"]}, "the security option label:x (container 'c')"),
        ({}, {"resourceRequirements": [{"type": "GPU", "value": "1"}]}, "GPUs on Fargate (container 'c')"),
    ],
)
def test_what_nodes_cannot_do_yet_is_named(task: dict[str, Any], container: dict[str, Any], what: str | None) -> None:
    told = unsupported({**task, "containerDefinitions": [{"name": "c", "image": "i", **container}]})
    refusal, _, why = (told or "").partition(" yet: ")
    assert refusal == (f"Homeport does not support {what}" if what else "")
    assert bool(why.removesuffix(".")) == bool(what), "a refusal has a reason"


MPS = {"sharingStrategy": {"nvidiaMps": {"memory": 1}}}


@pytest.mark.parametrize(
    ("need", "what"),
    [
        ({"type": "GPU", "value": "2"}, None),
        ({"type": "GPU", "value": "1", **MPS}, "a 'sharingStrategy' of GPUs (container 'c')"),
        ({"type": "NeuronDevice", "value": "ALL"}, "the resource requirement NeuronDevice (container 'c')"),
        (
            {"type": "InferenceAccelerator", "value": "a"},
            "the resource requirement InferenceAccelerator (container 'c')",
        ),
    ],
)
@pytest.mark.parametrize("launch_type", ["EC2", "EXTERNAL"])
def test_container_instances_have_gpus(need: dict[str, Any], what: str | None, launch_type: str) -> None:
    container = {"name": "c", "image": "i", "resourceRequirements": [need]}
    told = unsupported({"containerDefinitions": [container]}, launch_type=launch_type)
    assert (told or "").partition(" yet: ")[0] == (f"Homeport does not support {what}" if what else "")
