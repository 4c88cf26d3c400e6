"""What tasks of a definition need of an instance."""

from __future__ import annotations

from typing import Any

import pytest

from homeport.services.ecs import needs
from homeport.services.ecs.model.definition import TaskDefinition

PORTS = [
    {"containerPort": 80, "hostPort": 8080},
    {"containerPort": 53, "hostPort": 53, "protocol": "udp"},
    {"containerPort": 81},
    {"containerPort": 82, "hostPort": 0},
    {"containerPortRange": "90-95"},
]


def definition(**members: Any) -> TaskDefinition:
    return TaskDefinition(
        family="f",
        revision=1,
        arn="arn",
        status="ACTIVE",
        members={"containerDefinitions": [{"name": "app", "portMappings": PORTS}, {"name": "plain"}], **members},
        requires_attributes=(),
        compatibilities=("EC2",),
        registered_at=0.0,
        registered_by="me",
    )


@pytest.mark.parametrize(
    ("mode", "tcp", "udp"),
    [
        ({}, (8080,), (53,)),
        ({"networkMode": "bridge"}, (8080,), (53,)),
        ({"networkMode": "host"}, (80, 81, 82), (53,)),
        ({"networkMode": "awsvpc"}, (), ()),
        ({"networkMode": "none"}, (), ()),
    ],
)
def test_fixed_host_ports(mode: dict[str, str], tcp: tuple[int, ...], udp: tuple[int, ...]) -> None:
    assert needs.host_ports(definition(**mode)) == (tcp, udp)


def test_gpus_of_all_containers() -> None:
    gpu = {"type": "GPU", "value": "2"}
    other = {"type": "InferenceAccelerator", "value": "4"}
    assert needs.gpus([{"resourceRequirements": [gpu, other]}, {}, {"resourceRequirements": [gpu]}]) == 4


def test_an_architecture_is_asked_for_or_not() -> None:
    assert needs.architecture(definition()) == ""
    assert needs.architecture(definition(runtimePlatform={"cpuArchitecture": "ARM64"})) == "ARM64"


def test_gpus_are_shared_out_in_the_order_of_the_containers() -> None:
    one, two = ({"type": "GPU", "value": value} for value in ("1", "2"))
    containers = [
        {"name": "a", "resourceRequirements": [one]},
        {"name": "b"},
        {"name": "c", "resourceRequirements": [two]},
    ]
    assert needs.shared_out(("g1", "g2", "g3"), containers) == {"a": ("g1",), "c": ("g2", "g3")}
    assert needs.shared_out((), [{"name": "b"}]) == {}
