"""Task protection, and commands in containers: what callers are told of each task that they name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ecs_calls import ACCOUNT, Ecs, running
from msgspec.structs import replace

from homeport.core.errors import AwsError
from homeport.services.ecs.model.task import TASKS, Container, Task, TaskStatus
from homeport.store import Scope

CLUSTER = f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/web"
ARN = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/web/"
ENABLED = {"cluster": "web", "protectionEnabled": True}


@pytest.fixture
def ecs() -> Iterator[Ecs]:
    with running() as ecs:
        ecs("CreateCluster", clusterName="web")
        for id, group in (("served", "service:shop"), ("other", "service:shop"), ("alone", "family:web")):
            ecs.put(TASKS, task(id, group))
        yield ecs


def task(id: str, group: str) -> Task:
    return Task(
        id=id,
        cluster_arn=CLUSTER,
        definition_arn=f"arn:aws:ecs:us-east-1:{ACCOUNT}:task-definition/web:1",
        launch_type="FARGATE",
        group=group,
        cpu=256,
        memory=512,
        created_at=1.0,
        containers=(Container(id="c1", name="main"), Container(id="c2", name="side")),
        last_status=TaskStatus.RUNNING,
    )


def test_protection_of_a_services_task_ends_by_itself(ecs: Ecs) -> None:
    assert ecs("GetTaskProtection", cluster="web", tasks=["served"]) == {
        "protectedTasks": [{"taskArn": ARN + "served", "protectionEnabled": False}],
        "failures": [],
    }
    expected = {"taskArn": ARN + "served", "protectionEnabled": True, "expirationDate": ecs.clock.now + 7200}
    assert ecs("UpdateTaskProtection", **ENABLED, tasks=["served"])["protectedTasks"] == [expected]
    assert ecs("GetTaskProtection", cluster="web", tasks=[ARN + "served"])["protectedTasks"] == [expected]
    ecs.clock.now += 60
    changed = ecs("UpdateTaskProtection", **ENABLED, tasks=["served"], expiresInMinutes=2880)["protectedTasks"]
    assert changed == [expected | {"expirationDate": ecs.clock.now + 2880 * 60}]
    ecs.clock.now += 2880 * 60
    assert not ecs("GetTaskProtection", cluster="web", tasks=["served"])["protectedTasks"][0]["protectionEnabled"]


def test_protection_can_be_taken_away(ecs: Ecs) -> None:
    ecs("UpdateTaskProtection", **ENABLED, tasks=["served", "other"], expiresInMinutes=1)
    ecs("UpdateTaskProtection", cluster="web", protectionEnabled=False, tasks=["served"])
    shown = ecs("GetTaskProtection", cluster="web", tasks=["served", "other"])["protectedTasks"]
    assert [one["protectionEnabled"] for one in shown] == [False, True]


def test_each_task_that_cannot_be_protected_is_a_failure_of_its_own(ecs: Ecs) -> None:
    scope = Scope(ACCOUNT, "us-east-1")
    stopped = ecs.store.view().get(TASKS, scope, "other")
    assert stopped is not None
    ecs.put(TASKS, replace(stopped, last_status=TaskStatus.STOPPED))
    answer = ecs("UpdateTaskProtection", **ENABLED, tasks=["alone", "nothing", "served", ARN + "served", "other"])
    assert [one["taskArn"] for one in answer["protectedTasks"]] == [ARN + "served"]
    assert [(f["arn"], f["reason"]) for f in answer["failures"]] == [
        (ARN + "alone", "TASK_NOT_VALID"),
        (ARN + "nothing", "MISSING"),
        (ARN + "other", "TASK_NOT_VALID"),
    ]


@pytest.mark.parametrize(
    "members",
    [
        {"tasks": []},
        {"tasks": ["served"] * 2 + [str(n) for n in range(10)]},
        {"tasks": ["served"], "expiresInMinutes": 0},
        {"tasks": ["served"], "expiresInMinutes": 2881},
        {"tasks": ["served"], "protectionEnabled": False, "expiresInMinutes": 5},
        {"tasks": [CLUSTER]},
    ],
    ids=["none", "too many", "too short", "too long", "time for nothing", "another kind"],
)
def test_calls_that_cannot_be(ecs: Ecs, members: dict[str, object]) -> None:
    with ecs.refused("InvalidParameterException"):
        ecs("UpdateTaskProtection", **(ENABLED | members))


def test_get_takes_a_hundred(ecs: Ecs) -> None:
    assert len(ecs("GetTaskProtection", cluster="web", tasks=[str(n) for n in range(100)])["failures"]) == 100
    for wrong in ({}, {"tasks": [str(n) for n in range(101)]}):
        with ecs.refused("InvalidParameterException"):
            ecs("GetTaskProtection", cluster="web", **wrong)
    with ecs.refused("ClusterNotFoundException"):
        ecs("GetTaskProtection", cluster="none", tasks=["served"])


COMMAND = {"cluster": "web", "task": "alone", "command": "ls", "interactive": True, "container": "main"}


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({}, "The execute command failed because execute command was not enabled"),
        ({"task": "nothing"}, "The referenced task was not found."),
        ({"container": "none"}, "The specified container does not exist"),
        ({"container": ""}, "specify the name of a container"),
        ({"interactive": False}, "Interactive is the only mode"),
        ({"command": ""}, "Command cannot be empty."),
    ],
)
def test_no_task_executes_commands_yet(ecs: Ecs, members: dict[str, object], text: str) -> None:
    with pytest.raises(AwsError, match=text) as caught:
        ecs("ExecuteCommand", **(COMMAND | members))
    assert caught.value.code == "InvalidParameterException"
