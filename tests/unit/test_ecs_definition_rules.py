"""Every text with which RegisterTaskDefinition refuses: what earns it, and what nearly does but is accepted."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from homeport.core.errors import AwsError
from homeport.services.ecs.registration.register import prepared

Change = dict[str, Any]  # members to set; "c": members of the first container, "more": further containers

ROLE = "arn:aws:iam::123456789012:role/r"
LOGS = {
    "logDriver": "awslogs",
    "options": {"awslogs-region": "r", "awslogs-group": "g", "awslogs-stream-prefix": "p"},
}
ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/a:1"
CHECK = {"command": ["CMD", "true"]}
SIDE = {"name": "side", "image": "i", "memory": 64}


def bridge(change: Change) -> dict[str, Any]:
    return built({"family": "f"}, {"name": "c", "image": "i", "memory": 64}, change)


def awsvpc(change: Change) -> dict[str, Any]:
    return built({"family": "f", "networkMode": "awsvpc"}, {"name": "c", "image": "i", "memory": 64}, change)


def fargate(change: Change) -> dict[str, Any]:
    task = {"family": "f", "networkMode": "awsvpc", "cpu": "256", "memory": "512"}
    return built({**task, "requiresCompatibilities": ["FARGATE"]}, {"name": "c", "image": "i"}, change)


def built(task: dict[str, Any], container: dict[str, Any], change: Change) -> dict[str, Any]:
    change = copy.deepcopy(change)
    containers = [{**container, **change.pop("c", {})}, *change.pop("more", [])]
    return {**task, "containerDefinitions": containers, **change}


def told(definition: dict[str, Any]) -> str | None:
    """The text, if it is refused. The given definition is never changed."""
    before = json.dumps(definition)
    refusal: AwsError | None = None
    try:
        prepared(definition)
    except AwsError as error:
        refusal = error
    assert json.dumps(definition) == before
    assert refusal is None or refusal.code == "ClientException"
    return refusal.message if refusal else None


def ports(*mappings: Any) -> Change:
    return {"c": {"portMappings": [{"containerPort": m} if isinstance(m, int) else m for m in mappings]}}


def volume(**configuration: Any) -> Change:
    return {
        "volumes": [{"name": "v", **configuration}],
        "c": {"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]},
    }


def efs(**configuration: Any) -> Change:
    return volume(efsVolumeConfiguration={"fileSystemId": "fs-1", **configuration})


def linux(**parameters: Any) -> Change:
    return {"c": {"linuxParameters": parameters}}


def needs(condition: str, **target: Any) -> Change:
    depends = [{"containerName": "side", "condition": condition}]
    return {"c": {"dependsOn": depends}, "more": [{**SIDE, **target}]}


def chain(*links: dict[str, Any]) -> Change:
    """Containers c, d, e …, each with a way of waiting for another."""
    rest = [{"name": name, "image": "i", "memory": 64, **link} for name, link in zip("defg", links[1:], strict=False)]
    return {"c": links[0], "more": rest}


def start(name: str) -> dict[str, Any]:
    return {"dependsOn": [{"containerName": name, "condition": "START"}]}


def memory_of(task: Any, **container: Any) -> Change:
    return {"memory": task, "c": container}


def names(*more: str) -> Change:
    return {"more": [{**SIDE, "name": name} for name in more]}


def setting(text: str) -> str:
    return f"Invalid setting for container 'c'. {text}"


def size(name: str) -> str:
    return (
        f"Invalid '{name}' setting for task. For more information, see the Troubleshooting section of the Amazon ECS "
        "Developer Guide."
    )


def no_fargate(cpu: int, memory: int) -> str:
    return (
        f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. See the Amazon ECS "
        "documentation for the valid values."
    )


INVALID_MEMORY = "At least one of 'memory' or 'memoryReservation' must be specified."
TOO_SMALL = "'memory' must be greater than or equal to 'memoryReservation'."
IN_USE = "container port is used multiple times in task"
BOTH_PORTS = "cannot specify both single port and port range"
ESSENTIAL = "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container"
UNHEALTHY = "A dependency container with HEALTHY condition must have health check configured"
CYCLE = "Container dependency cycle detected"
ROOT = 'When using an EFS access point, the root directory must either be set to "/" or be omitted'
ACCELERATORS = "Unsupported field 'inferenceAccelerators'"
FILES = "The maximum number of environment files was exceeded. Specify ten or less and try again"
NO_ROLE = "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'"
MODE = "Fargate only supports network mode ‘awsvpc’."
SPEC = {"name": "n", "valueFrom": "p"}
FIRELENS = {"firelensConfiguration": {"type": "fluentbit"}}
TO_FIRELENS = {"logConfiguration": {"logDriver": "awsfirelens"}}

REFUSED: list[tuple[Any, Change, str]] = [
    # the definition as a whole
    (bridge, {"family": ""}, "Family should not be null or empty."),
    (bridge, {"family": "a b"}, "Family contains invalid characters."),
    (bridge, {"family": "a:1"}, "Family contains invalid characters."),
    (bridge, {"family": "a" * 256}, "Family contains invalid characters."),
    (bridge, {"containerDefinitions": []}, "Container list cannot be empty."),
    (bridge, names(*map(str, range(10))), "Task definition cannot have more than 10 container definitions."),
    (bridge, {"c": {"essential": False}}, "Task definition doesn't have any essential container"),
    (bridge, {"inferenceAccelerators": [{"deviceName": "a", "deviceType": "t"}]}, ACCELERATORS),
    (bridge, {"c": {"resourceRequirements": [{"type": "InferenceAccelerator", "value": "a"}]}}, ACCELERATORS),
    (bridge, {"cpu": "one"}, size("cpu")),
    (bridge, {"cpu": "1.5.5 vCPU"}, size("cpu")),
    (bridge, {"cpu": "-256"}, size("cpu")),
    (bridge, {"memory": "1 TB"}, size("memory")),
    (bridge, {"memory": ".3 GB"}, size("memory")),
    (bridge, {"cpu": "127"}, "Invalid 'cpu' setting for task. 'cpu' must be between 128 and 196608 units."),
    (bridge, {"cpu": "193 vcpu"}, "Invalid 'cpu' setting for task. 'cpu' must be between 128 and 196608 units."),
    (bridge, {"memory": "0"}, "Invalid 'memory' setting for task. 'memory' must be greater than 0."),
    (
        bridge,
        {"cpu": "256", "c": {"cpu": 200}, "more": [{**SIDE, "cpu": 57}]},
        "The 'cpu' of all containers, 257 units, is greater than the 'cpu' of the task, 256 units.",
    ),
    (
        bridge,
        {"memory": "127", "more": [SIDE]},
        "The memory of all containers, 128 MiB, is greater than the 'memory' of the task, 127 MiB.",
    ),
    (
        bridge,
        {"ephemeralStorage": {"sizeInGiB": 30}},
        "Tasks using the EC2 launch type do not support EphemeralStorage",
    ),
    (fargate, {"ephemeralStorage": {"sizeInGiB": 20}}, "EphemeralStorage size should be at least 21"),
    (fargate, {"ephemeralStorage": {"sizeInGiB": 201}}, "EphemeralStorage size should be at most 200"),
    (
        bridge,
        {"placementConstraints": [{"type": "memberOf", "expression": "a"}] * 11},
        "Task definition cannot have more than 10 placement constraints.",
    ),
    (
        bridge,
        {"placementConstraints": [{"type": "distinctInstance"}]},
        "Invalid placement constraint type. Only 'memberOf' is supported in a task definition.",
    ),
    (
        bridge,
        {"placementConstraints": [{"type": "memberOf", "expression": "a" * 2001}]},
        "A placement constraint's expression must have 1 to 2000 characters.",
    ),
    (
        bridge,
        {"proxyConfiguration": {"containerName": "c"}},
        "Proxy configuration is only supported when networkMode=awsvpc.",
    ),
    (
        awsvpc,
        {"proxyConfiguration": {"containerName": "x"}},
        "Invalid 'proxyConfiguration' setting. Unknown container: 'x'",
    ),
    (
        bridge,
        {"runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE", "cpuArchitecture": "ARM64"}},
        "The cpuArchitecture ARM64 is not supported with a Windows operatingSystemFamily.",
    ),
    (
        bridge,
        {"networkMode": "host", "runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}},
        "Windows task definitions do not support networkMode=host.",
    ),
    (
        awsvpc,
        {"trustedExecutionConfiguration": {"isolationMode": "CONFIDENTIAL_SANDBOX", "attestationPolicy": "%"}},
        "The isolation mode CONFIDENTIAL_SANDBOX requires a base64-encoded 'attestationPolicy'.",
    ),
    (awsvpc, {"requiresCompatibilities": ["EXTERNAL"]}, "The task definition is not compatible with EXTERNAL."),
    (
        bridge,
        {"requiresCompatibilities": ["MANAGED_INSTANCES"]},
        "The task definition is not compatible with MANAGED_INSTANCES.",
    ),
    # names and images
    (bridge, {"c": {"name": None}}, "Container.name should not be null or empty."),
    (bridge, {"c": {"name": "a.b"}}, "Container.name contains invalid characters."),
    (bridge, names("c"), "Container.name must be unique: 'c' is used more than once."),
    (bridge, {"c": {"image": None}}, "Container.image should not be null or empty."),
    (fargate, {"c": {"image": None}}, "Container.image should not be null or empty."),
    (bridge, {"c": {"image": "a b"}}, "Container.image contains invalid characters."),
    (bridge, {"c": {"image": "a" * 256}}, "Container.image contains invalid characters."),
    (bridge, {"c": {"image": "a@sha256:12"}}, "Container.image contains invalid characters."),
    (bridge, {"c": {"image": "a@md5:" + "0" * 64}}, "Container.image contains invalid characters."),
    # memory and cpu of a container
    (bridge, {"c": {"memory": None}}, setting(INVALID_MEMORY)),
    (bridge, {"c": {"memory": 64, "memoryReservation": 65}}, setting(TOO_SMALL)),
    (bridge, {"c": {"memory": 5}}, setting("'memory' must be at least 6 MiB.")),
    (
        bridge,
        memory_of("512", memory=513),
        "The 'memory' setting for container 'c' is greater than for the task.",
    ),
    (
        bridge,
        memory_of("512", memory=None, memoryReservation=513),
        "The 'memoryReservation' setting for container 'c' is greater than for the task.",
    ),
    (bridge, {"c": {"cpu": -1}}, setting("'cpu' must not be negative.")),
    # a container's other settings
    (bridge, {"c": {"environment": [{"value": "v"}]}}, setting("An environment variable must have a name.")),
    (
        bridge,
        {"c": {"ulimits": [{"name": "nofile", "softLimit": 2, "hardLimit": 1}]}},
        "Soft limit exceeds hard limit for ulimit nofile",
    ),
    (
        bridge,
        {"c": {"ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 1}] * 2}},
        "The ulimit nofile is set more than once.",
    ),
    (
        bridge,
        {"c": {"restartPolicy": {"enabled": True, "restartAttemptPeriod": 59}}},
        "the 'restartAttemptPeriod' setting for container 'c' must be between 60 and 1800",
    ),
    (
        bridge,
        {"c": {"restartPolicy": {"enabled": True, "restartAttemptPeriod": 1801}}},
        "the 'restartAttemptPeriod' setting for container 'c' must be between 60 and 1800",
    ),
    (
        bridge,
        {"c": {"restartPolicy": {"enabled": True, "ignoredExitCodes": list(range(51))}}},
        "the 'ignoredExitCodes' setting for container 'c' can have at most 50",
    ),
    (bridge, {"c": {"healthCheck": {"command": []}}}, setting("The health check's 'command' must not be empty.")),
    (
        bridge,
        {"c": {"healthCheck": {**CHECK, "interval": 4}}},
        setting("The health check's 'interval' must be between 5 and 300."),
    ),
    (
        bridge,
        {"c": {"healthCheck": {**CHECK, "timeout": 61}}},
        setting("The health check's 'timeout' must be between 2 and 60."),
    ),
    (
        bridge,
        {"c": {"healthCheck": {**CHECK, "retries": 11}}},
        setting("The health check's 'retries' must be between 1 and 10."),
    ),
    (
        bridge,
        {"c": {"healthCheck": {**CHECK, "startPeriod": 301}}},
        setting("The health check's 'startPeriod' must be between 0 and 300."),
    ),
    (bridge, {"c": {"startTimeout": 1}}, "Granular start timeout on container 'c' must be at least 2 seconds."),
    (bridge, {"c": {"stopTimeout": 1}}, "Granular stop timeout on container 'c' must be at least 2 seconds."),
    (
        awsvpc,
        {"c": {"disableNetworking": True}},
        "Disable Networking is not supported on container when networkMode=awsvpc.",
    ),
    (awsvpc, {"c": {"dnsServers": ["::1"]}}, "DNS servers are not supported on container when networkMode=awsvpc."),
    (
        awsvpc,
        {"c": {"extraHosts": [{"hostname": "h", "ipAddress": "::1"}]}},
        "Extra hosts are not supported when networkMode=awsvpc.",
    ),
    (awsvpc, {"c": {"hostname": "h"}}, "Hostname is not supported on container when networkMode=awsvpc."),
    (
        bridge,
        {"c": {"user": "-1"}},
        setting("'user' must be user, user:group, uid, uid:gid, user:gid or uid:group."),
    ),
    (
        bridge,
        {"c": {"user": "1:"}},
        setting("'user' must be user, user:group, uid, uid:gid, user:gid or uid:group."),
    ),
    (
        bridge,
        {"c": {"systemControls": [{"namespace": "vm.swappiness", "value": "1"}]}},
        setting("'vm.swappiness' is not a valid namespace of 'systemControls'."),
    ),
    (
        bridge,
        {"c": {"systemControls": [{"namespace": "net.core.somaxconn"}]}},
        setting("The system control 'net.core.somaxconn' must have a value."),
    ),
    (
        bridge,
        {"networkMode": "host", "c": {"systemControls": [{"namespace": "net.core.somaxconn", "value": "1"}]}},
        setting("The system control 'net.core.somaxconn' is not supported when networkMode=host."),
    ),
    (
        bridge,
        {"ipcMode": "host", "c": {"systemControls": [{"namespace": "fs.mqueue.msg_max", "value": "1"}]}},
        setting("The system control 'fs.mqueue.msg_max' is not supported when ipcMode=host."),
    ),
    (
        bridge,
        {"c": {"dockerSecurityOptions": ["seccomp:unconfined"]}},
        setting("'seccomp:unconfined' is not a valid docker security option."),
    ),
    (bridge, {"c": {"credentialSpecs": ["a", "b"]}}, setting("Only one credential spec can be specified.")),
    (
        bridge,
        {"c": {"resourceRequirements": [{"type": "GPU", "value": "0"}]}},
        setting("The 'value' of a GPU resource requirement must be a number of GPUs."),
    ),
    (
        bridge,
        {"c": {"resourceRequirements": [{"type": "GPU", "value": "1", "sharingStrategy": {}}]}},
        setting("The 'sharingStrategy' of a resource requirement must not be empty."),
    ),
    (
        bridge,
        {"c": {"resourceRequirements": [{"type": "NeuronDevice", "value": "1"}]}},
        setting("The 'value' of a NeuronDevice resource requirement must be ALL."),
    ),
    # linuxParameters
    (
        bridge,
        linux(capabilities={"drop": ["CAP_CHOWN"]}),
        setting("'CAP_CHOWN' is not a valid Linux capability."),
    ),
    (bridge, linux(maxSwap=1, swappiness=101), setting("'swappiness' must be between 0 and 100.")),
    (bridge, linux(maxSwap=-1), setting("'maxSwap' must not be negative.")),
    (bridge, linux(sharedMemorySize=0), setting("'sharedMemorySize' must be greater than 0.")),
    (
        bridge,
        linux(tmpfs=[{"containerPath": "/t", "size": 0}]),
        setting("The size of a tmpfs must be greater than 0."),
    ),
    # logs, secrets, environment files
    (
        bridge,
        {"c": {"logConfiguration": {"logDriver": "awslogs"}}},
        "Log driver awslogs requires options: awslogs-region, awslogs-group",
    ),
    (
        bridge,
        {"c": {"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-region": "r"}}}},
        "Log driver awslogs requires options: awslogs-group",
    ),
    (
        bridge,
        {"c": FIRELENS},
        "When a firelensConfiguration object is specified, at least one container has to be configured with the "
        "awsfirelens log driver.",
    ),
    (
        bridge,
        {"c": {**FIRELENS, **TO_FIRELENS}, "more": [{**SIDE, **FIRELENS}]},
        "Only one container can have a firelensConfiguration object.",
    ),
    (
        bridge,
        {"c": TO_FIRELENS},
        "When the awsfirelens log driver is used, one container has to have a firelensConfiguration object.",
    ),
    (bridge, {"c": {"secrets": [SPEC]}}, NO_ROLE),
    (bridge, {"c": {"logConfiguration": {**LOGS, "secretOptions": [SPEC]}}}, NO_ROLE),
    (
        bridge,
        {"executionRoleArn": ROLE, "c": {"secrets": [SPEC], "environment": [{"name": "n", "value": "v"}]}},
        "The secret name must be unique and not shared with any new or existing environment variables set on the "
        "container, such as 'n'.",
    ),
    (bridge, {"c": {"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/f.env"}] * 11}}, FILES),
    (bridge, {"c": {"environmentFiles": [{"type": "s3", "value": "b/f.env"}]}}, "Invalid arn syntax"),
    (
        bridge,
        {"c": {"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/f.txt"}]}},
        "The environment file 'arn:aws:s3:::b/f.txt' must have a '.env' extension.",
    ),
    # ports
    (
        awsvpc,
        ports({"containerPort": 80, "hostPort": 81}),
        "When networkMode=awsvpc, the host ports and container ports in port mappings must match.",
    ),
    (
        bridge,
        {"networkMode": "host", **ports({"containerPort": 80, "hostPort": 81})},
        "When networkMode=host, the host ports and container ports in port mappings must match.",
    ),
    (bridge, {"networkMode": "none", **ports(80)}, "Port mappings are not supported when networkMode=none."),
    (
        bridge,
        {"networkMode": "host", **ports({"containerPortRange": "1-2"})},
        "Port ranges are not supported when networkMode=host.",
    ),
    (bridge, ports(0), setting("'containerPort' must be between 1 and 65535.")),
    (bridge, ports({}), setting("'containerPort' must be between 1 and 65535.")),
    (bridge, ports(65536), setting("'containerPort' must be between 1 and 65535.")),
    (
        bridge,
        ports({"containerPort": 1, "hostPort": 65536}),
        setting("'hostPort' must be between 0 and 65535."),
    ),
    (bridge, ports({"containerPort": 1, "containerPortRange": "2-3"}), BOTH_PORTS),
    (bridge, ports({"hostPort": 1, "containerPortRange": "2-3"}), BOTH_PORTS),
    (bridge, ports({"containerPortRange": "3-2"}), "Invalid 'containerPortRange' setting"),
    (bridge, ports({"containerPortRange": "0-2"}), "Invalid 'containerPortRange' setting"),
    (bridge, ports({"containerPortRange": "1-65536"}), "Invalid 'containerPortRange' setting"),
    (bridge, ports({"containerPortRange": "1"}), "Invalid 'containerPortRange' setting"),
    (
        bridge,
        ports(*({"containerPortRange": f"{n}-{n}"} for n in range(1, 102))),
        "Container 'c' cannot have more than 100 port ranges.",
    ),
    (bridge, ports({"containerPortRange": "1-3"}, {"containerPortRange": "3-4"}), IN_USE),
    (bridge, ports({"containerPortRange": "1-3"}, 2), IN_USE),
    (bridge, ports({"containerPort": 53, "protocol": "tcp"}, {"containerPort": 53, "protocol": "udp"}), IN_USE),
    (awsvpc, ports(80, 80), IN_USE),
    (awsvpc, {**ports(80), "more": [{**SIDE, "portMappings": [{"containerPortRange": "79-81"}]}]}, IN_USE),
    (
        bridge,
        {
            **ports({"containerPort": 1, "hostPort": 80}),
            "more": [{**SIDE, "portMappings": [{"containerPort": 2, "hostPort": 80}]}],
        },
        "host port is used multiple times in task",
    ),
    (
        bridge,
        ports({"containerPort": 1, "name": "n"}, {"containerPort": 2, "name": "n"}),
        "port mapping name is already used",
    ),
    (bridge, ports({"containerPort": 1, "name": "-n"}), "port mapping name contains invalid characters"),
    (bridge, ports({"containerPort": 1, "name": "N"}), "port mapping name contains invalid characters"),
    # dependencies
    (bridge, {"c": start("x")}, "Cannot depend on container + 'x' because it does not exist"),
    (bridge, needs("COMPLETE"), ESSENTIAL),
    (bridge, needs("SUCCESS", essential=True), ESSENTIAL),
    (bridge, needs("HEALTHY"), UNHEALTHY),
    (bridge, chain(start("c")), CYCLE),
    (bridge, chain(start("d"), start("e"), start("c")), CYCLE),
    (bridge, chain(start("d"), {"volumesFrom": [{"sourceContainer": "c"}]}), CYCLE),
    (bridge, chain({"links": ["d:alias"]}, start("c")), CYCLE),
    (awsvpc, {"c": {"links": ["side"]}, "more": [SIDE]}, "Links are not supported when networkMode=awsvpc."),
    (bridge, {"c": {"links": ["x:y"]}}, "Invalid 'links' setting. Unknown container: 'x'"),
    (
        bridge,
        {"c": {"volumesFrom": [{"sourceContainer": "x"}]}},
        "Invalid 'volumesFrom' setting. Unknown container: 'x'",
    ),
    # volumes
    (bridge, {"volumes": [{"name": "a/b"}]}, "Volume.name contains invalid characters."),
    (bridge, {"volumes": [{}]}, "Volume.name contains invalid characters."),
    (bridge, {"volumes": [{"name": "v"}] * 2}, "Volume.name must be unique: 'v' is used more than once."),
    (
        bridge,
        volume(host={"sourcePath": "/x"}, efsVolumeConfiguration={"fileSystemId": "fs-1"}),
        "Volume 'v' must have only one configuration, but has host and efsVolumeConfiguration.",
    ),
    (
        bridge,
        volume(dockerVolumeConfiguration={"scope": "task", "autoprovision": True}),
        "Volume 'v': 'autoprovision' is only supported with scope 'shared'.",
    ),
    (
        bridge,
        efs(rootDirectory="/x", transitEncryption="ENABLED", authorizationConfig={"accessPointId": "ap"}),
        ROOT,
    ),
    (
        bridge,
        efs(authorizationConfig={"iam": "ENABLED"}),
        "EFS IAM authorization requires TransitEncryption to be enabled",
    ),
    (bridge, efs(transitEncryptionPort=1), "TransitEncryptionPort requires that TransitEncryption is enabled"),
    (
        bridge,
        volume(s3filesVolumeConfiguration={"fileSystemArn": "a"}),
        "When you are specifying an S3 Files volume, you must also specify a value for 'taskRoleArn'",
    ),
    (bridge, {"c": {"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]}}, "Unknown volume 'v'."),
    (
        bridge,
        {"volumes": [{"name": "v"}], "c": {"mountPoints": [{"sourceVolume": "v"}]}},
        setting("A mount point must have a 'containerPath'."),
    ),
    (
        bridge,
        {"volumes": [{"name": "v", "configuredAtLaunch": True}]},
        "Volumes [v] are not referenced by any of the containers",
    ),
    (
        bridge,
        {
            "volumes": [{"name": n, "configuredAtLaunch": True} for n in "vw"],
            "c": {"mountPoints": [{"sourceVolume": n, "containerPath": n} for n in "vw"]},
        },
        "Only one volume can be configured at launch.",
    ),
    # Fargate
    (fargate, {"networkMode": "bridge"}, MODE),
    (fargate, {"networkMode": None}, MODE),
    (fargate, {"cpu": None}, "Fargate requires that 'cpu' be defined at the task level."),
    (fargate, {"memory": None}, "Fargate requires that 'memory' be defined at the task level."),
    (fargate, {"memory": "4096"}, no_fargate(256, 4096)),
    (fargate, {"cpu": "300"}, no_fargate(300, 512)),
    (fargate, {"runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}}, no_fargate(256, 512)),
    (
        fargate,
        {"c": {"logConfiguration": LOGS}},
        "Fargate requires task definition to have execution role ARN to support log driver awslogs.",
    ),
    (
        fargate,
        {"c": {"image": ECR}},
        "Fargate requires task definition to have execution role ARN to support ECR images.",
    ),
    (
        fargate,
        {
            "executionRoleArn": ROLE,
            "c": {"logConfiguration": {**LOGS, "options": {"awslogs-region": "r", "awslogs-group": "g"}}},
        },
        "Fargate requires log configuration options to include awslogs-stream-prefix to support log driver awslogs.",
    ),
    (
        fargate,
        {
            "c": {
                "firelensConfiguration": {"type": "fluentbit", "options": {"config-file-type": "s3"}},
                **TO_FIRELENS,
            }
        },
        "Fargate compatible task definitions do not support a config-file-type other than file",
    ),
    (fargate, {"c": {"privileged": True}}, "Fargate requires that the 'privileged' setting be 'false'."),
    (
        fargate,
        volume(host={"sourcePath": "/x"}),
        "Fargate compatible task definitions do not support sourcePath",
    ),
    (
        fargate,
        volume(dockerVolumeConfiguration={}),
        "Fargate compatible task definitions do not support dockerVolumeConfiguration",
    ),
    (
        fargate,
        {"placementConstraints": [{"type": "memberOf", "expression": "a"}]},
        "Fargate compatible task definitions do not support constraints",
    ),
    (fargate, {"ipcMode": "task"}, "Fargate compatible task definitions do not support ipcMode"),
    (fargate, {"pidMode": "host"}, "Tasks using the Fargate launch type do not support pidMode 'host'"),
    (
        fargate,
        linux(sharedMemorySize=1),
        "Fargate compatible task definitions do not support sharedMemorySize",
    ),
    (
        fargate,
        linux(devices=[{"hostPath": "/dev/x"}]),
        "Fargate compatible task definitions do not support devices",
    ),
    (
        fargate,
        linux(tmpfs=[{"containerPath": "/t", "size": 1}]),
        "Fargate compatible task definitions do not support tmpfs",
    ),
    (fargate, linux(maxSwap=0), "Fargate compatible task definitions do not support maxSwap"),
    (fargate, linux(swappiness=0), "Fargate compatible task definitions do not support swappiness"),
    (
        fargate,
        {"c": {"resourceRequirements": [{"type": "GPU", "value": "1"}]}},
        "Fargate compatible task definitions do not support GPU",
    ),
    (
        fargate,
        {"c": {"dockerSecurityOptions": ["no-new-privileges"]}},
        "Fargate compatible task definitions do not support dockerSecurityOptions",
    ),
    (fargate, linux(capabilities={"add": ["SYS_PTRACE", "NET_ADMIN"]}), "NET_ADMIN is not allowed on Fargate."),
    (
        fargate,
        {"c": {"logConfiguration": {"logDriver": "json-file"}}},
        "json-file is not a valid log driver. Must be one of [awslogs, splunk, awsfirelens]",
    ),
    (
        fargate,
        {"c": {"stopTimeout": 121}},
        "Tasks using the Fargate launch type must have a container stop timeout of less than 120 seconds.",
    ),
    (
        fargate,
        {"c": {"startTimeout": 121}},
        "Tasks using the Fargate launch type must have a container start timeout of less than 120 seconds.",
    ),
]

ACCEPTED: list[tuple[Any, Change]] = [
    (bridge, {}),
    (awsvpc, {}),
    (fargate, {}),
    (bridge, {"family": "a" * 255}),
    (bridge, names(*map(str, range(9)))),
    (bridge, {"c": {"essential": False}, "more": [SIDE]}),
    (bridge, {"cpu": "128"}),
    (bridge, {"cpu": "192 vCPU"}),
    (bridge, {"cpu": "", "memory": None}),
    (bridge, {"cpu": "256", "c": {"cpu": 200}, "more": [{**SIDE, "cpu": 56}]}),
    (bridge, {"memory": "128", "more": [SIDE]}),
    (bridge, memory_of("128", memory=128, memoryReservation=64)),
    (bridge, {"c": {"memory": 6}}),
    (bridge, {"c": {"memory": None, "memoryReservation": 64}}),
    (fargate, {"ephemeralStorage": {"sizeInGiB": 21}}),
    (fargate, {"ephemeralStorage": {"sizeInGiB": 200}}),
    (bridge, {"placementConstraints": [{"type": "memberOf", "expression": "attribute:a == b"}] * 10}),
    (awsvpc, {"proxyConfiguration": {"containerName": "c", "type": "APPMESH", "properties": []}}),
    (
        fargate,
        {"cpu": "1 vCPU", "memory": "2GB", "runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}},
    ),
    (fargate, {"runtimePlatform": {"operatingSystemFamily": "LINUX", "cpuArchitecture": "ARM64"}}),
    (awsvpc, {"trustedExecutionConfiguration": {"isolationMode": "CONFIDENTIAL_SANDBOX", "attestationPolicy": "YQ=="}}),
    (bridge, {"requiresCompatibilities": ["EXTERNAL", "EC2"]}),
    (awsvpc, {"requiresCompatibilities": ["MANAGED_INSTANCES", "EC2"]}),
    (bridge, {"c": {"image": "localhost:5000/a/b_c:1.0-x"}}),
    (bridge, {"c": {"image": "a" * 255 + "@sha256:" + "0f" * 32}}),
    (bridge, {"c": {"image": "a:1@sha256:" + "0f" * 32}}),
    (bridge, {"c": {"ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": -1}]}}),
    (bridge, {"c": {"ulimits": [{"name": "core", "softLimit": -1, "hardLimit": -1}]}}),
    (bridge, {"c": {"restartPolicy": {"enabled": True, "ignoredExitCodes": list(range(50))}}}),
    (bridge, {"c": {"restartPolicy": {"enabled": True, "restartAttemptPeriod": 1800}}}),
    (bridge, {"c": {"healthCheck": {**CHECK, "interval": 5, "timeout": 60, "retries": 10, "startPeriod": 0}}}),
    (bridge, {"c": {"startTimeout": 2, "stopTimeout": 3600}}),
    (bridge, {"c": {"hostname": "h", "dnsServers": ["::1"], "disableNetworking": True}}),
    (bridge, {"c": {"user": "0"}}),
    (bridge, {"c": {"user": "www-data:33"}}),
    (bridge, {"c": {"systemControls": [{"namespace": "net.core.somaxconn", "value": "1"}]}}),
    (awsvpc, {"c": {"systemControls": [{"namespace": "kernel.sem", "value": "1"}]}}),
    (bridge, {"c": {"dockerSecurityOptions": ["no-new-privileges", "label:a", "apparmor:b"]}}),
    (bridge, {"c": {"resourceRequirements": [{"type": "GPU", "value": "2"}]}}),
    (bridge, {"c": {"resourceRequirements": [{"type": "NeuronDevice", "value": "ALL"}]}}),
    (bridge, linux(capabilities={"add": ["ALL"], "drop": ["SYS_ADMIN"]}, maxSwap=0, swappiness=100)),
    (bridge, {"c": {"logConfiguration": LOGS}}),
    (bridge, {"c": FIRELENS, "more": [{**SIDE, **TO_FIRELENS}]}),
    (bridge, {"executionRoleArn": ROLE, "c": {"secrets": [SPEC], "environment": [{"name": "m", "value": ""}]}}),
    (bridge, {"c": {"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/f.env"}] * 10}}),
    (awsvpc, ports({"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 0}, 82)),
    (bridge, ports({"containerPort": 80, "hostPort": 8080}, {"containerPort": 80, "hostPort": 8081})),
    (bridge, ports({"containerPortRange": "1-3"}, {"containerPortRange": "4-65535"})),
    (bridge, {**ports(80), "more": [{**SIDE, "portMappings": [{"containerPort": 80}]}]}),
    (bridge, ports({"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "_b-1"})),
    (bridge, needs("START")),
    (bridge, needs("COMPLETE", essential=False)),
    (bridge, needs("HEALTHY", healthCheck=CHECK)),
    (bridge, chain(start("d"), start("e"), {})),
    (bridge, chain({"links": ["d"], "volumesFrom": [{"sourceContainer": "d"}], **start("d")}, {})),
    (bridge, {**volume(host={}, efsVolumeConfiguration={"fileSystemId": "fs-1"})}),
    (bridge, volume(dockerVolumeConfiguration={"scope": "shared", "autoprovision": True})),
    (
        bridge,
        efs(
            rootDirectory="/",
            transitEncryption="ENABLED",
            transitEncryptionPort=1,
            authorizationConfig={"accessPointId": "ap", "iam": "ENABLED"},
        ),
    ),
    (bridge, {"taskRoleArn": ROLE, **volume(s3filesVolumeConfiguration={"fileSystemArn": "a"})}),
    (awsvpc, volume(configuredAtLaunch=True)),
    (fargate, volume(host={})),
    (fargate, {"executionRoleArn": ROLE, "c": {"logConfiguration": LOGS, "image": ECR}}),
    (fargate, {"c": {"image": "public.ecr.aws/docker/library/httpd:2.4"}}),
    (fargate, {"c": {"stopTimeout": 120, "startTimeout": 120, "privileged": False}}),
    (fargate, {"pidMode": "task"}),
    (fargate, linux(capabilities={"add": ["SYS_PTRACE"], "drop": ["ALL"]}, initProcessEnabled=True)),
    (awsvpc, {"c": {"privileged": True}}),
]


@pytest.mark.parametrize(("base", "change", "text"), REFUSED)
def test_refused(base: Any, change: Change, text: str) -> None:
    assert told(base(change)) == text


@pytest.mark.parametrize(("base", "change"), ACCEPTED)
def test_accepted(base: Any, change: Change) -> None:
    assert told(base(change)) is None


def test_64_kib_at_most() -> None:
    assert told(bridge({"c": {"command": ["x" * 65000]}})) is None
    text = told(bridge({"c": {"command": ["é" * 33000]}}))
    assert text is not None
    assert text.startswith("Actual length: '66")
    assert text.endswith("'. Max allowed length is '65536' bytes.")


def test_nulls_count_as_not_given() -> None:
    given = bridge({"taskRoleArn": None, "volumes": None, "c": {"command": None, "healthCheck": None}})
    assert prepared(given) == prepared(bridge({}))
