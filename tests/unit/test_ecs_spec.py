"""What nodes are told to run: definitions, overrides and interfaces put together."""

from __future__ import annotations

from typing import Any

import pytest

from homeport.agentapi import (
    Dependency,
    Device,
    HealthCheck,
    MountPoint,
    PortMapping,
    RestartPolicy,
    Tmpfs,
    Ulimit,
    Volume,
    VolumeFrom,
)
from homeport.core.errors import AwsError
from homeport.services.ec2.model import NetworkInterface
from homeport.services.ecs import overrides
from homeport.services.ecs.model.definition import TaskDefinition
from homeport.services.ecs.model.task import Container, Task
from homeport.services.ecs.spec import container_spec, task_spec, volume_spec

APP: dict[str, Any] = {"name": "app", "image": "httpd:2.4"}
FILE = {"type": "s3", "value": "arn:aws:s3:::bucket/new.env"}


def checked(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return overrides.check(given, [{"name": n} for n in names or ("app",)])


def test_a_plain_container_leaves_everything_to_its_image() -> None:
    spec = container_spec(APP)
    assert (spec.entry_point, spec.command, spec.user, spec.working_directory) == (None, None, None, None)
    assert (spec.essential, spec.stop_timeout, spec.start_timeout) == (True, 30, 0)
    assert (spec.ulimits, spec.environment, spec.depends_on) == ((), {}, ())  # the node knows its own default limits


def test_health_checks_and_restart_policies() -> None:
    assert (container_spec(APP).health_check, container_spec(APP).restart_policy) == (None, None)
    check = {"command": ["CMD", "x"], "interval": 10, "timeout": 2, "retries": 1, "startPeriod": 0}
    spec = container_spec(APP | {"healthCheck": check, "restartPolicy": {"enabled": True}})
    assert spec.health_check == HealthCheck(("CMD", "x"), interval=10, timeout=2, retries=1)
    assert spec.restart_policy == RestartPolicy((), 300)
    policy = {"enabled": True, "ignoredExitCodes": [0, 3], "restartAttemptPeriod": 60}
    spec = container_spec(APP | {"healthCheck": {"command": ["CMD", "x"], "startPeriod": 9}, "restartPolicy": policy})
    assert spec.health_check == HealthCheck(("CMD", "x"), interval=30, timeout=5, retries=3, start_period=9)
    assert spec.restart_policy == RestartPolicy((0, 3), 60)
    assert container_spec(APP | {"restartPolicy": policy | {"enabled": False}}).restart_policy is None


def test_every_member_reaches_the_node() -> None:
    spec = container_spec(
        APP
        | {
            "essential": False,
            "entryPoint": ["sh", "-c"],
            "command": ["echo hi"],
            "environment": [{"name": "A", "value": "1"}],
            "user": "1000:1000",
            "workingDirectory": "/srv",
            "cpu": 128,
            "memory": 256,
            "memoryReservation": 64,
            "stopTimeout": 0,
            "startTimeout": 5,
            "dependsOn": [{"containerName": "db", "condition": "HEALTHY"}],
            "readonlyRootFilesystem": True,
            "linuxParameters": {"capabilities": {"add": ["SYS_PTRACE"], "drop": ["CHOWN"]}},
            "ulimits": [{"name": "nofile", "softLimit": 10, "hardLimit": 20}],
            "systemControls": [{"namespace": "net.core.somaxconn", "value": "9"}],
            "dockerLabels": {"a": "b"},
        }
    )
    assert (spec.entry_point, spec.command) == (("sh", "-c"), ("echo hi",))
    assert spec.environment == {"A": "1"}
    assert (spec.user, spec.working_directory) == ("1000:1000", "/srv")
    assert (spec.cpu, spec.memory, spec.memory_reservation) == (128, 256, 64)
    assert (spec.stop_timeout, spec.start_timeout, spec.essential) == (0, 5, False)
    assert spec.depends_on == (Dependency(container_name="db", condition="HEALTHY"),)
    assert (spec.capabilities_add, spec.capabilities_drop) == (("SYS_PTRACE",), ("CHOWN",))
    assert spec.ulimits == (Ulimit(name="nofile", soft=10, hard=20),)
    assert spec.system_controls == {"net.core.somaxconn": "9"}
    assert (spec.labels, spec.readonly_root_filesystem) == ({"a": "b"}, True)


def test_a_task_is_put_together() -> None:
    account = "arn:aws:ecs:eu-west-1:123456789012"
    definition = TaskDefinition(
        family="web",
        revision=3,
        arn=f"{account}:task-definition/web:3",
        status="ACTIVE",
        members={"containerDefinitions": [APP], "networkMode": "awsvpc", "cpu": "256", "memory": "512"},
        requires_attributes=(),
        compatibilities=("FARGATE",),
        registered_at=1.0,
        registered_by="me",
    )
    task = Task(
        id="0" * 32,
        cluster_arn=f"{account}:cluster/demo",
        definition_arn=definition.arn,
        launch_type="FARGATE",
        group="g",
        cpu=512,
        memory=1024,
        created_at=1.0,
        containers=(Container(id="c", name="app"),),
        availability_zone="eu-west-1a",
        overrides={"cpu": "512", "memory": "1024", "containerOverrides": [{"name": "app", "command": ["x"]}]},
    )
    interface = NetworkInterface(
        id="eni-1",
        vpc_id="vpc-1",
        subnet_id="subnet-1",
        availability_zone="eu-west-1a",
        mac="0a:00:00:00:00:01",
        private_address="172.31.0.5",
        private_dns_name="ip-172-31-0-5.eu-west-1.compute.internal",
        groups=("sg-1",),
        description=f"{account}:attachment/a",
        status="pending",
        created_at=1.0,
        public_address="198.18.0.1",
    )
    facts = {"vpc_cidr": "172.31.0.0/16", "subnet_cidr": "172.31.0.0/20", "gateway": "172.31.0.1"}
    spec = task_spec(task, definition, interface, facts)
    assert (spec.family, spec.revision, spec.region, spec.availability_zone) == ("web", 3, "eu-west-1", "eu-west-1a")
    assert (spec.cpu, spec.memory) == (512, 1024)
    assert spec.containers[0].command == ("x",)
    assert spec.interface is not None
    assert (spec.interface.private_address, spec.interface.public_address) == ("172.31.0.5", "198.18.0.1")
    assert (spec.interface.gateway, spec.interface.groups) == ("172.31.0.1", ("sg-1",))
    assert spec.interface.attachment_arn == interface.description
    assert task_spec(task, definition, None, {}).interface is None


def test_an_image_is_pinned_where_its_container_is_for_version_consistency() -> None:
    pins = {"app": "sha256:1", "other": "sha256:2"}
    for given, expected in ((None, "sha256:1"), ("enabled", "sha256:1"), ("disabled", "")):
        container = APP if given is None else {**APP, "versionConsistency": given}
        assert container_spec(container, digests=pins).image_digest == expected
    assert container_spec(APP, digests={"other": "sha256:2"}).image_digest == ""
    definition = TaskDefinition(
        family="web",
        revision=1,
        arn="",
        status="ACTIVE",
        members={"containerDefinitions": [APP]},
        requires_attributes=(),
        compatibilities=(),
        registered_at=0.0,
        registered_by="",
    )
    task = Task(
        id="1",
        cluster_arn="arn:aws:ecs:us-east-1:1:cluster/demo",
        definition_arn="",
        launch_type="FARGATE",
        group="service:web",
        cpu=256,
        memory=512,
        created_at=0.0,
        containers=(Container(id="c", name="app"),),
        tags={"a": "b"},
        image_digests=pins,
    )
    spec = task_spec(task, definition, None, {})
    assert spec.containers[0].image_digest == "sha256:1"
    assert (spec.group, spec.tags) == ("service:web", {"a": "b"})


def test_a_task_is_told_where_its_output_goes() -> None:
    log = {"logDriver": "awslogs", "options": {"awslogs-group": "g"}}
    spec = container_spec({**APP, "logConfiguration": log})
    assert (spec.log_driver, spec.log_options) == ("awslogs", {"awslogs-group": "g"})


def test_overrides_merge_the_environment_and_replace_the_rest() -> None:
    given = checked(
        {
            "containerOverrides": [
                {
                    "name": "app",
                    "command": ["new"],
                    "environment": [{"name": "B", "value": "2"}, {"name": "C"}],
                    "cpu": 1,
                    "memory": 20,
                    "memoryReservation": 10,
                }
            ]
        }
    )
    before = APP | {"command": ["old"], "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]}
    after = overrides.merged(before, given)
    assert after["command"] == ["new"]
    assert {e["name"]: e["value"] for e in after["environment"]} == {"A": "1", "B": "2", "C": ""}
    assert (after["cpu"], after["memory"], after["memoryReservation"]) == (1, 20, 10)
    other = {"name": "other", "image": "x"}
    assert overrides.merged(other, given) is other
    assert overrides.reserved([before, other | {"cpu": 5, "memory": 7}], given) == (6, 17)


def test_every_container_is_named_in_the_overrides_that_are_shown() -> None:
    given = checked(
        {"containerOverrides": [{"name": "b", "command": ["x"]}], "cpu": "1 vCPU", "memory": "2GB"}, "a", "b"
    )
    assert overrides.shown(given, ["a", "b"]) == {
        "containerOverrides": [{"name": "a"}, {"name": "b", "command": ["x"]}],
        "inferenceAcceleratorOverrides": [],
        "cpu": "1024",
        "memory": "2048",
    }
    assert overrides.size(given, 256, 512) == (1024, 2048)
    assert overrides.size({}, 256, 512) == (256, 512)


@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        ({"containerOverrides": [{"command": ["x"]}]}, "InvalidParameterException", "must have a container name"),
        (
            {"containerOverrides": [{"name": "nobody"}]},
            "InvalidParameterException",
            "Override for container named nobody is not a container in the TaskDefinition.",
        ),
        ({"containerOverrides": [{"name": "app"}] * 2}, "InvalidParameterException", "only once"),
        ({"containerOverrides": [{"name": "app", "cpu": -1}]}, "InvalidParameterException", "must not be negative"),
        (
            {"containerOverrides": [{"name": "app", "memory": 5}]},
            "InvalidParameterException",
            "memory must be at least 6",
        ),
        (
            {"containerOverrides": [{"name": "app", "memoryReservation": 5}]},
            "InvalidParameterException",
            "memoryReservation must be at least 6",
        ),
        (
            {"containerOverrides": [{"name": "app", "environment": [{"value": "x"}]}]},
            "InvalidParameterException",
            "must have a name",
        ),
        (
            {"containerOverrides": [{"name": "app", "command": ["x" * 9000]}]},
            "InvalidParameterException",
            "at most 8192",
        ),
        (
            {"containerOverrides": [{"name": "app", "environmentFiles": [{"type": "s3", "value": "x"}]}]},
            "InvalidParameterException",
            "Invalid arn syntax",
        ),
        (
            {"containerOverrides": [{"name": "app", "resourceRequirements": [{"type": "GPU", "value": "1"}]}]},
            "UnsupportedFeatureException",
            "resourceRequirements",
        ),
        ({"ephemeralStorage": {"sizeInGiB": 20}}, "InvalidParameterException", "at least 21"),
        ({"ephemeralStorage": {"sizeInGiB": 201}}, "InvalidParameterException", "at most 200"),
        (
            {"inferenceAcceleratorOverrides": [{"deviceName": "d", "deviceType": "t"}]},
            "UnsupportedFeatureException",
            "inferenceAcceleratorOverrides",
        ),
        ({"cpu": "many"}, "InvalidParameterException", "Invalid 'cpu' setting for task"),
        ({"memory": "1 TB"}, "InvalidParameterException", "Invalid 'memory' setting for task"),
    ],
)
def test_overrides_that_are_refused(given: dict[str, Any], code: str, text: str) -> None:
    with pytest.raises(AwsError) as caught:
        checked(given)
    assert caught.value.code == code
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ({"command": ["new"]}, {"command": ["new"]}),
        (
            {"environment": [{"name": "B", "value": "2"}, {"name": "A"}]},
            {"environment": [{"name": "A", "value": ""}, {"name": "N", "value": ""}, {"name": "B", "value": "2"}]},
        ),
        ({"environmentFiles": [FILE]}, {"environmentFiles": [FILE]}),
        ({"cpu": 0}, {"cpu": 0}),
        ({"cpu": 5}, {"cpu": 5}),
        ({"memory": 6}, {"memory": 6}),
        ({"memoryReservation": 6}, {"memoryReservation": 6}),
    ],
)
def test_every_member_of_a_container_override(override: dict[str, Any], changed: dict[str, Any]) -> None:
    container = {
        **APP,
        "command": ["old"],
        "environment": [{"name": "A", "value": "1"}, {"name": "N"}],
        "cpu": 1,
        "memory": 64,
        "memoryReservation": 32,
    }
    plain = overrides.merged(container, checked({"containerOverrides": [{"name": "app"}]}))
    assert plain["environment"] == [{"name": "A", "value": "1"}, {"name": "N", "value": ""}]
    kept = checked({"containerOverrides": [{"name": "app", **override}]})
    assert overrides.merged(container, kept) == {**plain, **changed}
    assert overrides.merged({**container, "name": "other"}, kept) == {**container, "name": "other"}


def test_every_member_of_a_task_override() -> None:
    given = {
        "cpu": ".5 vCPU",
        "memory": "1 GB",
        "taskRoleArn": "arn:aws:iam::1:role/t",
        "executionRoleArn": "arn:aws:iam::1:role/e",
        "ephemeralStorage": {"sizeInGiB": 21},
    }
    kept = {**given, "cpu": "512", "memory": "1024"}
    assert checked(given) == kept
    shown = overrides.shown(kept, ["app"])
    assert shown == {"containerOverrides": [{"name": "app"}], "inferenceAcceleratorOverrides": [], **kept}


@pytest.mark.parametrize(
    ("container", "told"),
    [
        ({}, None),
        ({"memory": 512, "memoryReservation": 512, "cpu": 256}, None),
        ({"memory": 513}, "The 'memory' setting for container 'app' is greater than for the task."),
        (
            {"memoryReservation": 513},
            "The 'memoryReservation' setting for container 'app' is greater than for the task.",
        ),
        (
            {"memory": 64, "memoryReservation": 65},
            "Invalid setting for container 'app'. 'memory' must be greater than or equal to 'memoryReservation'.",
        ),
        ({"cpu": 257}, "The sum of all container cpu values can not exceed the value of the task cpu."),
    ],
)
def test_containers_fit_their_task_with_overrides(container: dict[str, Any], told: str | None) -> None:
    assert overrides.misfit([{**APP, **container}], 256, 512) == told
    if told is None or "task" in told:
        assert overrides.misfit([{**APP, **container}], 0, 0) is None, "a task without a size of its own"


def test_variables_and_kernel_settings_without_a_value_are_empty() -> None:
    spec = container_spec({**APP, "environment": [{"name": "A"}], "systemControls": [{"namespace": "net.x"}]})
    assert (spec.environment, spec.system_controls) == ({"A": ""}, {"net.x": ""})


def test_the_storage_of_a_task_can_be_overridden() -> None:
    given = checked({"ephemeralStorage": {"sizeInGiB": 30}})
    assert given == {"ephemeralStorage": {"sizeInGiB": 30}}
    assert (overrides.storage(given, 20), overrides.storage({}, 20)) == (30, 20)


def test_an_override_replaces_all_environment_files() -> None:
    def files(*keys: str) -> list[dict[str, str]]:
        return [{"type": "s3", "value": f"arn:aws:s3:::bucket/{key}.env"} for key in keys]

    container = {"name": "app", "image": "i", "environmentFiles": files("a", "b")}
    assert container_spec(container).environment_files == ("arn:aws:s3:::bucket/a.env", "arn:aws:s3:::bucket/b.env")
    kept = overrides.check({"containerOverrides": [{"name": "app", "environmentFiles": files("c")}]}, [container])
    assert container_spec(overrides.merged(container, kept)).environment_files == ("arn:aws:s3:::bucket/c.env",)
    other = overrides.check({"containerOverrides": [{"name": "app", "command": ["x"]}]}, [container])
    assert (
        container_spec(overrides.merged(container, other)).environment_files
        == container_spec(container).environment_files
    )


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ({}, Volume("v")),
        ({"host": {}}, Volume("v")),
        ({"host": {"sourcePath": "/srv"}}, Volume("v", "host", "/srv")),
        ({"dockerVolumeConfiguration": {"scope": "task", "driver": "local"}}, Volume("v", driver="local")),
        (
            {"dockerVolumeConfiguration": {"scope": "shared", "autoprovision": True}},
            Volume("v", "shared", autoprovision=True),
        ),
        (
            {"host": {}, "efsVolumeConfiguration": {"fileSystemId": "fs-1", "rootDirectory": "/a"}},
            Volume("v", "efs", "/a", file_system_id="fs-1"),
        ),
        (
            {"efsVolumeConfiguration": {"fileSystemId": "fs-1", "transitEncryption": "ENABLED"}},
            Volume("v", "efs", "/", file_system_id="fs-1", encrypted=True),
        ),
    ],
)
def test_volumes_reach_the_node(configuration: dict[str, Any], expected: Volume) -> None:
    assert volume_spec({"name": "v", **configuration}) == expected


def test_mounts_and_kernel_options_reach_the_node() -> None:
    spec = container_spec(
        APP
        | {
            "mountPoints": [{"sourceVolume": "v", "containerPath": "/v", "readOnly": True}],
            "volumesFrom": [{"sourceContainer": "db"}],
            "linuxParameters": {
                "initProcessEnabled": True,
                "sharedMemorySize": 8,
                "tmpfs": [{"containerPath": "/t", "size": 2, "mountOptions": ["exec"]}],
                "devices": [{"hostPath": "/dev/x", "permissions": ["read"]}],
                "maxSwap": 0,
                "swappiness": 60,
            },
        }
    )
    assert spec.mount_points == (MountPoint("v", "/v", True),)
    assert spec.volumes_from == (VolumeFrom("db"),)
    assert (spec.init, spec.shared_memory, spec.max_swap, spec.swappiness) == (True, 8, 0, 60)
    assert spec.tmpfs == (Tmpfs("/t", 2, ("exec",)),)
    assert spec.devices == (Device("/dev/x", "", ("read",)),)


def test_ports_and_links_reach_the_node_and_links_order_containers() -> None:
    mappings = [{"containerPort": 80, "hostPort": 8080}, {"containerPortRange": "9000-9002", "protocol": "udp"}]
    web = {"name": "web", "image": "i", "portMappings": mappings, "links": ["db:database", "cache"]}
    spec = container_spec({**web, "dependsOn": [{"containerName": "cache", "condition": "HEALTHY"}]})
    assert spec.ports == (
        PortMapping(container_port=80, host_port=8080),
        PortMapping(container_port_range="9000-9002", protocol="udp"),
    )
    assert spec.links == ("db:database", "cache")
    assert spec.depends_on == (Dependency("cache", "HEALTHY"), Dependency("db", "START"))
