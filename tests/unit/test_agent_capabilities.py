"""What container instances say they can do, against what task definitions require of them."""

from __future__ import annotations

from typing import Any

import pytest

from homeport.agent.capabilities import CAPABILITIES
from homeport.agent.config import AgentSettings, Host
from homeport.agent.registration import registration
from homeport.services.ecs.registration.compatibility import required_attributes
from homeport.services.ecs.registration.support import unsupported

HOST = Host(cores=2, memory=4096, architecture="x86_64", boot_id="b")
SETTINGS = AgentSettings(state="/s", instance="7e570001", endpoint="http://x", access_key="a", secret_key="s")

RICH = {
    "networkMode": "awsvpc",
    "taskRoleArn": "arn:aws:iam::123456789012:role/t",
    "executionRoleArn": "arn:aws:iam::123456789012:role/e",
    "cpu": "20480",
    "memory": "512",
    "pidMode": "host",
    "volumes": [
        {"name": "v", "dockerVolumeConfiguration": {"scope": "task"}},
        {"name": "e", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}},
    ],
    "containerDefinitions": [
        {
            "name": "app",
            "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/app",
            "privileged": True,
            "dockerLabels": {"a": "b"},
            "memoryReservation": 64,
            "healthCheck": {"command": ["CMD", "true"]},
            "dependsOn": [{"containerName": "app", "condition": "START"}],
            "restartPolicy": {"enabled": True},
            "portMappings": [{"containerPortRange": "1-2"}],
            "linuxParameters": {"initProcessEnabled": True},
            "logConfiguration": {"logDriver": "awslogs"},
            "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/k"}],
        }
    ],
}


@pytest.mark.parametrize("definition", [RICH, {**RICH, "networkMode": "host"}, {**RICH, "networkMode": "bridge"}])
def test_instances_can_do_all_that_definitions_which_are_run_require(definition: dict[str, Any]) -> None:
    assert unsupported(definition, launch_type="EC2") is None
    required = set(required_attributes(definition))
    assert len(required) > 15
    assert required <= set(CAPABILITIES)


def test_what_is_refused_is_not_claimed() -> None:
    secret = {"name": "S", "valueFrom": "arn:aws:ssm:us-east-1:123456789012:parameter/p"}
    definition = {"containerDefinitions": [{"name": "app", "image": "i", "secrets": [secret]}]}
    assert unsupported(definition, launch_type="EC2")
    assert not set(required_attributes(definition)) <= set(CAPABILITIES)


def test_container_instances_register_them() -> None:
    names = [a["name"] for a in registration(SETTINGS, HOST, None, "t", "m")["attributes"]]
    assert set(CAPABILITIES) < set(names)
    assert len(names) == len(set(names))
