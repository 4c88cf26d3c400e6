"""What is told where a task finds no place."""

from __future__ import annotations

import pytest

from homeport.services.ecs.model.instance import Room
from homeport.services.ecs.placement import demand
from homeport.services.ecs.scheduling import refusals

TAIL = "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
HEAD = "was unable to place a task because no container instance met all of its requirements."


def room(id: str, cpu: int = 100, memory: int = 100) -> Room:
    return Room(id=id, arn=f"arn:{id}", cpu=cpu, memory=memory)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("RESOURCE:CPU", "has insufficient CPU units available."),
        ("RESOURCE:MEMORY", "has insufficient memory available."),
        ("RESOURCE:PORTS", "is already using a port required by your task."),
        ("RESOURCE:ENI", 'encountered error "RESOURCE:ENI".'),
        ("AGENT", 'encountered error "AGENT".'),
        ("ATTRIBUTE", "is missing an attribute required by your task."),
        (demand.MEMBER_OF, 'encountered error "MemberOf placement constraint unsatisfied".'),
    ],
)
def test_the_nearest_instance_is_told_in_ecs_words(reason: str, text: str) -> None:
    found = refusals.nearest([(room("i1"), reason)], provider=False, waits=False)
    assert found.text == f"{HEAD} The closest matching (container-instance i1) {text} {TAIL}"
    assert found.reason == reason


def test_the_nearest_lacks_a_resource_and_has_most_of_it() -> None:
    explained = [
        (room("i0"), "ATTRIBUTE"),
        (room("i1", cpu=10), "RESOURCE:CPU"),
        (room("i2", cpu=20), "RESOURCE:CPU"),
        (room("i3", cpu=99), "RESOURCE:MEMORY"),
        (room("i4"), None),
        (room("i5"), demand.INACTIVE),
    ]
    assert "(container-instance i2)" in refusals.nearest(explained, provider=False, waits=False).text


def test_an_empty_cluster_and_an_empty_capacity_provider() -> None:
    found = refusals.nearest([(room("i1"), demand.INACTIVE)], provider=False, waits=False)
    assert found.text == f"{HEAD} Reason: No Container Instances were found in your cluster. {TAIL}"
    found = refusals.nearest([], provider=True, waits=False)
    assert found.text.endswith("Reason: No Container Instances were found in your capacity provider.")
    found = refusals.nearest([], provider=True, waits=True)
    assert found.text.endswith("because the tasks provisioning capacity limit was exceeded.")
