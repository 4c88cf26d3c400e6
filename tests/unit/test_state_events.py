"""State change events from single changes of records: which make one, and what it looks like."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from homeport.services import ecs
from homeport.services.ecs import state_events, state_filter
from homeport.services.ecs.model.deployment import DEPLOYMENTS, Deployment
from homeport.services.ecs.model.instance import INSTANCES, POOL, ROOMS, Instance, PartHealth, Room
from homeport.services.ecs.model.service import EVENTS, ServiceEvent
from homeport.services.ecs.model.task import TASKS, Attachment, Container, Task, TaskStatus
from homeport.store import Change, Key, Scope, Table, View
from homeport.store.rows import Rows

HERE = Scope("111122223333", "us-west-2")
ARN = "arn:aws:ecs:us-west-2:111122223333"
AT = 1579802278.25  # 2020-01-23T17:57:58.250Z

TASK = Task(
    id="0" * 32,
    cluster_arn=f"{ARN}:cluster/web",
    definition_arn=f"{ARN}:task-definition/sample:3",
    launch_type="FARGATE",
    group="service:shop",
    cpu=256,
    memory=512,
    created_at=AT - 24,
    started_at=AT,
    connected_at=AT - 4,
    version=4,
    last_status=TaskStatus.RUNNING,
    containers=(Container(id="c", name="app", status="RUNNING", exit_code=None),),
    attachments=(
        Attachment(
            id="a",
            status="ATTACHED",
            details={"subnetId": "s", "networkInterfaceId": "eni-1", "privateIPv4Address": "10.0.0.139"},
        ),
    ),
)
INSTANCE = Instance(
    id="i" * 32,
    arn=f"{ARN}:container-instance/web/{'i' * 32}",
    cluster_arn=f"{ARN}:cluster/web",
    node=None,
    registered_at=AT - 60,
    resources=({"name": "CPU", "type": "INTEGER", "integerValue": 2048},),
    connections=1,
)
ROOM = Room(id=INSTANCE.id, arn=INSTANCE.arn, cpu=2048, memory=4096, cluster=INSTANCE.cluster_arn, open=True)
DEPLOYMENT = Deployment(
    id="9" * 19,
    service="web/shop",
    revision="1",
    number=1,
    created_at=AT,
    updated_at=AT,
    rollout_reason="ECS deployment ecs-svc/9 in progress.",
)
TOLD = ServiceEvent(id="u", service="web/shop", number=1, at=AT, message="(service shop) has reached a steady state.")
STEADY = replace(TOLD, name="SERVICE_STEADY_STATE")


def view(*records: tuple[Table[Any], Scope, Any]) -> View:
    tables = {table.kind: Rows(table) for table in ecs.TABLES}
    for table, scope, record in records:
        tables[table.kind].replace(scope, table.id(record), record)
    return View(tables, 7, AT)


def change(table: Table[Any], old: Any, new: Any, version: int = 7, scope: Scope = HERE) -> Change:
    return Change(Key(*scope, table.kind, table.id(new or old)), old, new, version, AT, "test")


def of(*changes: Change, now: View | None = None, **wanted: str) -> list[dict[str, Any]]:
    return state_events.events(now or view(), changes, state_filter.parsed(**wanted))


def test_a_task_event_has_eventbridges_shape() -> None:
    (event,) = of(change(TASKS, replace(TASK, version=3), TASK))
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", event["id"])
    detail = event.pop("detail")
    assert event == {
        "version": "0",
        "id": event["id"],
        "detail-type": "ECS Task State Change",
        "source": "aws.ecs",
        "account": "111122223333",
        "time": "2020-01-23T17:57:58Z",
        "region": "us-west-2",
        "resources": [TASK.arn],
    }
    assert detail["attachments"] == [
        {
            "id": "a",
            "type": "eni",
            "status": "ATTACHED",
            "details": [
                {"name": "subnetId", "value": "s"},
                {"name": "networkInterfaceId", "value": "eni-1"},
                {"name": "privateIPv4Address", "value": "10.0.0.139"},
            ],
        }
    ]
    expected = {
        "clusterArn": TASK.cluster_arn,
        "taskArn": TASK.arn,
        "lastStatus": "RUNNING",
        "desiredStatus": "RUNNING",
        "group": "service:shop",
        "cpu": "256",
        "memory": "512",
        "launchType": "FARGATE",
        "connectivity": "CONNECTED",
        "connectivityAt": "2020-01-23T17:57:54.250Z",
        "createdAt": "2020-01-23T17:57:34.250Z",
        "startedAt": "2020-01-23T17:57:58.250Z",
        "updatedAt": "2020-01-23T17:57:58.250Z",
        "version": 4,
    }
    assert {name: detail[name] for name in expected} == expected
    (container,) = detail["containers"]
    assert container["networkInterfaces"] == [{"attachmentId": "a", "privateIpv4Address": "10.0.0.139"}]
    assert (container["lastStatus"], container["cpu"]) == ("RUNNING", "0")


@pytest.mark.parametrize(
    ("old", "new", "makes"),
    [
        (None, TASK, True),
        (TASK, replace(TASK, version=5, desired_status="STOPPED"), True),
        (TASK, replace(TASK, wake_at=AT + 1), False),
        (TASK, replace(TASK, noted=True), False),
        (TASK, None, False),
    ],
    ids=["started", "stopped", "private", "noted", "forgotten"],
)
def test_changes_of_tasks_that_callers_can_see_make_events(old: Task | None, new: Task | None, makes: bool) -> None:
    assert len(of(change(TASKS, old, new))) == makes


ROLLED_BACK = "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/9."


@pytest.mark.parametrize(
    ("old", "new", "level", "name"),
    [
        (None, DEPLOYMENT, "INFO", "SERVICE_DEPLOYMENT_IN_PROGRESS"),
        (DEPLOYMENT, replace(DEPLOYMENT, rollout="COMPLETED"), "INFO", "SERVICE_DEPLOYMENT_COMPLETED"),
        (DEPLOYMENT, replace(DEPLOYMENT, rollout="FAILED"), "ERROR", "SERVICE_DEPLOYMENT_FAILED"),
        (DEPLOYMENT, replace(DEPLOYMENT, rollout_reason=ROLLED_BACK), "INFO", "SERVICE_DEPLOYMENT_IN_PROGRESS"),
        (DEPLOYMENT, replace(DEPLOYMENT, failed_tasks=1, ran=True, updated_at=AT + 1), None, None),
        (DEPLOYMENT, replace(DEPLOYMENT, role="ACTIVE"), None, None),
        (DEPLOYMENT, None, None, None),
    ],
)
def test_rollouts_make_deployment_events(
    old: Deployment | None, new: Deployment | None, level: str | None, name: str | None
) -> None:
    found = of(change(DEPLOYMENTS, old, new))
    if name is None or new is None:
        assert found == []
        return
    assert found[0]["detail-type"] == "ECS Deployment State Change"
    assert found[0]["resources"] == [f"{ARN}:service/web/shop"]
    assert found[0]["detail"] == {
        "eventType": level,
        "eventName": name,
        "deploymentId": f"ecs-svc/{'9' * 19}",
        "updatedAt": "2020-01-23T17:57:58.250Z",
        "reason": new.rollout_reason,
    }


def test_what_a_service_tells_by_name_is_a_service_action() -> None:
    failed = replace(
        TOLD,
        name="SERVICE_TASK_PLACEMENT_FAILURE",
        level="ERROR",
        reason="RESOURCE:CPU",
        detail={"containerInstanceArns": ["x"]},
    )
    (event,) = of(change(EVENTS, None, failed))
    assert (event["detail-type"], event["resources"]) == ("ECS Service Action", [f"{ARN}:service/web/shop"])
    assert event["detail"] == {
        "eventType": "ERROR",
        "eventName": "SERVICE_TASK_PLACEMENT_FAILURE",
        "clusterArn": f"{ARN}:cluster/web",
        "createdAt": "2020-01-23T17:57:58.250Z",
        "reason": "RESOURCE:CPU",
        "containerInstanceArns": ["x"],
    }
    (steady,) = of(change(EVENTS, None, STEADY))
    assert "reason" not in steady["detail"]
    assert of(change(EVENTS, None, TOLD)) == [], "a message alone is no action"
    assert of(change(EVENTS, STEADY, None)) == []


@pytest.mark.parametrize("at", [0.0, AT, 1764547200.221, 1764547199.9999996, 1764547199.9994, 1764547200.0009])
def test_times_are_those_of_the_clock_in_milliseconds(at: float) -> None:
    (event,) = of(replace(change(TASKS, TASK, replace(TASK, version=5, created_at=at)), at=at))
    whole = datetime.fromtimestamp(at, UTC)
    assert event["detail"]["createdAt"] == f"{whole:%Y-%m-%dT%H:%M:%S}.{whole.microsecond // 1000:03}Z"
    assert event["time"] == f"{whole:%Y-%m-%dT%H:%M:%S}Z"


def test_a_chinese_region_has_arns_of_its_own() -> None:
    (event,) = of(change(EVENTS, None, STEADY, scope=Scope("111122223333", "cn-north-1")))
    assert event["resources"] == ["arn:aws-cn:ecs:cn-north-1:111122223333:service/web/shop"]


def test_an_instance_event_shows_what_is_left_in_the_same_commit() -> None:
    taken = replace(ROOM, cpu_used=512, tasks=1)
    now = view((INSTANCES, HERE, INSTANCE), (ROOMS, HERE, replace(ROOM, cpu_used=1024, tasks=2)))
    (event,) = of(change(ROOMS, ROOM, taken), now=now)
    detail = event["detail"]
    assert event["detail-type"] == "ECS Container Instance State Change"
    assert event["resources"] == [INSTANCE.arn]
    assert detail["clusterArn"] == INSTANCE.cluster_arn
    assert detail["remainingResources"][0]["integerValue"] == 1536, "as it was then, not as it is now"
    assert detail["registeredResources"][0]["integerValue"] == 2048
    assert (detail["version"], detail["updatedAt"]) == (7, "2020-01-23T17:57:58.250Z")
    assert detail["registeredAt"] == "2020-01-23T17:56:58.250Z"
    assert (detail["agentConnected"], detail["status"]) == (True, "ACTIVE")


DRAINING = replace(INSTANCE, status="DRAINING", version=2)
INACTIVE = replace(INSTANCE, status="INACTIVE", version=2)
TOLD_HEALTH = replace(INSTANCE, health={"CONTAINER_RUNTIME": PartHealth("OK", AT)})


@pytest.mark.parametrize(
    ("changes", "makes"),
    [
        ([change(INSTANCES, None, INSTANCE), change(ROOMS, None, ROOM)], 1),
        ([change(INSTANCES, INSTANCE, DRAINING), change(ROOMS, ROOM, replace(ROOM, open=False))], 1),
        ([change(INSTANCES, INSTANCE, INACTIVE), change(ROOMS, ROOM, None)], 1),
        ([change(INSTANCES, INSTANCE, replace(INSTANCE, silent_since=AT))], 1),
        ([change(INSTANCES, INSTANCE, replace(INSTANCE, agent_update="PENDING"))], 1),
        ([change(INSTANCES, INSTANCE, TOLD_HEALTH)], 0),
        ([change(INSTANCES, INSTANCE, None)], 0),
        ([change(ROOMS, ROOM, replace(ROOM, open=False, connected=True))], 0),
        ([change(ROOMS, ROOM, replace(ROOM, tasks=1)), change(ROOMS, ROOM, replace(ROOM, tasks=2), 8)], 2),
    ],
    ids=["registered", "drained", "deregistered", "silent", "updated", "health", "forgotten", "closed", "twice"],
)
def test_which_changes_of_instances_make_events(changes: list[Change], makes: int) -> None:
    found = of(*changes, now=view((INSTANCES, HERE, INSTANCE), (ROOMS, HERE, ROOM)))
    assert len(found) == makes
    assert len({event["id"] for event in found}) == makes


def test_a_deregistered_instance_has_all_that_it_had() -> None:
    (event,) = of(change(INSTANCES, INSTANCE, INACTIVE), change(ROOMS, ROOM, None))
    assert event["detail"]["status"] == "INACTIVE"
    assert event["detail"]["remainingResources"] == event["detail"]["registeredResources"]


def test_fargates_nodes_have_no_events() -> None:
    node = replace(INSTANCE, cluster_arn="")
    assert of(change(INSTANCES, None, node, scope=POOL), change(ROOMS, None, ROOM, scope=POOL)) == []
    now = view((INSTANCES, POOL, node))
    assert of(change(ROOMS, ROOM, replace(ROOM, tasks=1), scope=POOL), now=now) == []


def test_a_room_whose_instance_is_gone_has_none() -> None:
    assert of(change(ROOMS, ROOM, replace(ROOM, tasks=1))) == []


def test_ids_are_the_same_each_time_and_another_for_each_change() -> None:
    def ids(version: int) -> set[str]:
        changes = (change(TASKS, None, TASK, version), change(EVENTS, None, STEADY, version))
        return {event["id"] for event in of(*changes)}

    assert ids(7) == ids(7)
    assert len(ids(7) | ids(8)) == 4


ALL = (
    change(TASKS, None, TASK),
    change(EVENTS, None, STEADY),
    change(DEPLOYMENTS, None, DEPLOYMENT),
    change(INSTANCES, None, INSTANCE),
)


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        ({}, "TADI"),
        ({"cluster": "web"}, "TADI"),
        ({"cluster": f"{ARN}:cluster/web"}, "TADI"),
        ({"cluster": "we"}, ""),
        ({"service": "shop"}, "TAD"),
        ({"service": "web/shop"}, "TAD"),
        ({"service": f"{ARN}:service/web/shop"}, "TAD"),
        ({"service": f"{ARN}:service/shop"}, "TAD"),
        ({"service": "other/shop"}, ""),
        ({"service": "sho"}, ""),
        ({"cluster": "web", "service": "shop"}, "TAD"),
        ({"task": "0000"}, "T"),
        ({"task": TASK.arn}, "T"),
        ({"task": "1"}, ""),
        ({"task": "0", "service": "shop"}, "T"),
        ({"task": "0", "service": "other"}, ""),
    ],
)
def test_what_is_asked_for(wanted: dict[str, str], kinds: str) -> None:
    letters = {
        state_events.TASK: "T",
        state_events.ACTION: "A",
        state_events.DEPLOYMENT: "D",
        state_events.INSTANCE: "I",
    }
    assert "".join(letters[event["detail-type"]] for event in of(*ALL, **wanted)) == kinds
