"""ListServiceDeployments, DescribeServiceDeployments, DescribeServiceRevisions, StopServiceDeployment and
ContinueServiceDeployment on the records, with no scheduler that moves them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ecs_calls import ACCOUNT, Ecs, running
from msgspec.structs import replace

from homeport.services.ecs import deployments
from homeport.services.ecs.model.deployment import KEPT, SERVICE_DEPLOYMENTS, ServiceDeployment
from homeport.store import Scope, Tx

SCOPE = Scope(ACCOUNT, "us-east-1")
ARN = f"arn:aws:ecs:us-east-1:{ACCOUNT}:"
INVALID, CONFLICT = "InvalidParameterException", "ConflictException"
ALL = (
    "PENDING",
    "IN_PROGRESS",
    "STOP_REQUESTED",
    "ROLLBACK_REQUESTED",
    "ROLLBACK_IN_PROGRESS",
    "SUCCESSFUL",
    "STOPPED",
    "ROLLBACK_SUCCESSFUL",
    "ROLLBACK_FAILED",
)


@pytest.fixture
def ecs() -> Iterator[Ecs]:
    with running() as ecs:
        ecs("CreateCluster", clusterName="web")
        app = {"name": "main", "image": "test", "memory": 64}
        for _ in range(2):
            ecs("RegisterTaskDefinition", family="plain", containerDefinitions=[app])
        yield ecs


def create(ecs: Ecs, name: str = "shop", **more: Any) -> dict[str, Any]:
    wanted = {"cluster": "web", "serviceName": name, "taskDefinition": "plain:1", "desiredCount": 2}
    made: dict[str, Any] = ecs("CreateService", **wanted, **more)["service"]
    return made


def force(ecs: Ecs, times: int = 1) -> None:
    for _ in range(times):
        ecs.clock.now += 10.0
        ecs("UpdateService", cluster="web", service="shop", forceNewDeployment=True)


def listed(ecs: Ecs, **filters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ecs("ListServiceDeployments", cluster="web", service="shop", **filters)[
        "serviceDeployments"
    ]
    return found


def set_status(ecs: Ecs, arn: str, status: str) -> None:
    def change(tx: Tx) -> None:
        made = tx.get(SERVICE_DEPLOYMENTS, SCOPE, arn.rpartition("/")[2])
        assert made is not None
        tx.put(SERVICE_DEPLOYMENTS, SCOPE, replace(made, status=status))

    ecs._runner.run(ecs.store.update(change, "test"))


def stored(ecs: Ecs, arn: str) -> ServiceDeployment:
    found = ecs.store.view().get(SERVICE_DEPLOYMENTS, SCOPE, arn.rpartition("/")[2])
    assert found is not None
    return found


def test_a_new_service_has_one_that_is_pending(ecs: Ecs) -> None:
    service = create(ecs)
    (brief,) = listed(ecs)
    arn = brief["serviceDeploymentArn"]
    assert arn == service["currentServiceDeployment"]
    assert arn.startswith(f"{ARN}service-deployment/web/shop/")
    assert len(arn.rpartition("/")[2]) == 21
    revision = service["currentServiceRevisions"][0]["arn"]
    assert brief == {
        "serviceDeploymentArn": arn,
        "serviceArn": service["serviceArn"],
        "clusterArn": service["clusterArn"],
        "createdAt": ecs.clock.now,
        "targetServiceRevisionArn": revision,
        "status": "PENDING",
    }
    answer = ecs("DescribeServiceDeployments", serviceDeploymentArns=[arn, arn])
    (whole,) = answer["serviceDeployments"]
    assert answer["failures"] == []
    assert whole == {
        "serviceDeploymentArn": arn,
        "serviceArn": service["serviceArn"],
        "clusterArn": service["clusterArn"],
        "createdAt": ecs.clock.now,
        "updatedAt": ecs.clock.now,
        "sourceServiceRevisions": [],
        "targetServiceRevision": {
            "arn": revision,
            "requestedTaskCount": 2,
            "runningTaskCount": 0,
            "pendingTaskCount": 0,
        },
        "status": "PENDING",
        "deploymentConfiguration": service["deploymentConfiguration"],
        "deploymentCircuitBreaker": {"status": "DISABLED", "failureCount": 0, "threshold": 0},
        "alarms": {"status": "DISABLED", "alarmNames": []},
    }
    revisions = ecs("DescribeServiceRevisions", serviceRevisionArns=[revision])
    assert revisions == {
        "serviceRevisions": [
            {
                "serviceRevisionArn": revision,
                "serviceArn": service["serviceArn"],
                "clusterArn": service["clusterArn"],
                "createdAt": ecs.clock.now,
                "taskDefinition": service["taskDefinition"],
                "launchType": "EC2",
                "guardDutyEnabled": False,
                "containerImages": [{"containerName": "main", "image": "test"}],
            }
        ],
        "failures": [],
    }


def test_a_later_one_names_what_was_before(ecs: Ecs) -> None:
    create(ecs)
    ecs("UpdateService", cluster="web", service="shop", taskDefinition="plain:2")
    newest, first = listed(ecs)
    assert (newest["status"], first["status"]) == ("PENDING", "STOP_REQUESTED")
    assert first["statusReason"] == deployments.SUPERSEDED
    (whole,) = ecs("DescribeServiceDeployments", serviceDeploymentArns=[newest["serviceDeploymentArn"]])[
        "serviceDeployments"
    ]
    assert [source["arn"] for source in whole["sourceServiceRevisions"]] == [first["targetServiceRevisionArn"]]


def test_lists_have_pages_of_twenty_the_newest_first(ecs: Ecs) -> None:
    create(ecs)
    force(ecs, 24)
    first = ecs("ListServiceDeployments", cluster="web", service="shop")
    assert len(first["serviceDeployments"]) == 20
    rest = ecs("ListServiceDeployments", cluster="web", service="shop", nextToken=first["nextToken"])
    assert "nextToken" not in rest
    times = [made["createdAt"] for made in first["serviceDeployments"] + rest["serviceDeployments"]]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == 25
    assert len(listed(ecs, maxResults=100)) == 25
    for most in (0, 101):
        with ecs.refused(INVALID):
            listed(ecs, maxResults=most)
    with ecs.refused(INVALID):
        listed(ecs, nextToken=first["nextToken"], status=["PENDING"])


def test_lists_can_be_narrowed(ecs: Ecs) -> None:
    create(ecs)
    began = ecs.clock.now
    force(ecs, 3)
    arns = [made["serviceDeploymentArn"] for made in listed(ecs)]
    set_status(ecs, arns[1], "SUCCESSFUL")
    set_status(ecs, arns[2], "ROLLBACK_FAILED")
    for statuses, wanted in (
        (["SUCCESSFUL"], [1]),
        (["PENDING", "ROLLBACK_FAILED"], [0, 2]),
        ([], [0, 1, 2, 3]),
        (["STOPPED"], []),
    ):
        assert [m["serviceDeploymentArn"] for m in listed(ecs, status=statuses)] == [arns[n] for n in wanted]
    for created, wanted in (
        ({"after": began + 15}, [0, 1]),
        ({"before": began + 15}, [2, 3]),
        ({"after": began + 5, "before": began + 15}, [2]),
        ({}, [0, 1, 2, 3]),
    ):
        assert [m["serviceDeploymentArn"] for m in listed(ecs, createdAt=created)] == [arns[n] for n in wanted]
    with ecs.refused(INVALID):
        listed(ecs, createdAt={"after": 2.0, "before": 1.0})


def test_what_is_not_there_is_missing(ecs: Ecs) -> None:
    service = create(ecs)
    create(ecs, "other")
    arn = service["currentServiceDeployment"]
    revision = service["currentServiceRevisions"][0]["arn"]
    elsewhere = [
        arn[:-1] + ("a" if arn[-1] != "a" else "b"),
        arn.replace("/shop/", "/other/"),
        arn.replace("/web/", "/none/"),
        arn.replace(ACCOUNT, "999999999999"),
        f"{ARN}service-deployment/{arn.rpartition('/')[2]}",
    ]
    answer = ecs("DescribeServiceDeployments", serviceDeploymentArns=[*elsewhere, arn])
    assert [m["serviceDeploymentArn"] for m in answer["serviceDeployments"]] == [arn]
    assert answer["failures"] == [{"arn": text, "reason": "MISSING"} for text in elsewhere]
    other = revision.replace("/shop/", "/other/")
    answer = ecs("DescribeServiceRevisions", serviceRevisionArns=[other])
    assert answer == {"serviceRevisions": [], "failures": [{"arn": other, "reason": "MISSING"}]}
    for text in elsewhere:
        with ecs.refused("ServiceDeploymentNotFoundException"):
            ecs("StopServiceDeployment", serviceDeploymentArn=text)


@pytest.mark.parametrize("call", ["DescribeServiceDeployments", "DescribeServiceRevisions"])
def test_what_can_not_be_asked_for(ecs: Ecs, call: str) -> None:
    kind = "service-deployment" if call == "DescribeServiceDeployments" else "service-revision"
    member = "serviceDeploymentArns" if call == "DescribeServiceDeployments" else "serviceRevisionArns"
    many = [f"{ARN}{kind}/web/shop/{n:021d}" for n in range(21)]
    assert len(ecs(call, **{member: many[:20]})["failures"]) == 20
    for bad in ([], many, ["shop"], [f"{ARN}service/web/shop"], [many[0].replace("us-east-1", "eu-west-1")]):
        with ecs.refused(INVALID):
            ecs(call, **{member: bad})


@pytest.mark.parametrize("status", ALL)
def test_what_can_be_stopped(ecs: Ecs, status: str) -> None:
    arn = create(ecs)["currentServiceDeployment"]
    set_status(ecs, arn, status)
    if status in ("SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED"):
        with ecs.refused(CONFLICT):
            ecs("StopServiceDeployment", serviceDeploymentArn=arn)
        assert stored(ecs, arn).status == status
        return
    for kind in ({}, {"stopType": "ROLLBACK"}):
        assert ecs("StopServiceDeployment", serviceDeploymentArn=arn, **kind) == {"serviceDeploymentArn": arn}
    asked = status in ("PENDING", "IN_PROGRESS")
    assert stored(ecs, arn).status == ("ROLLBACK_REQUESTED" if asked else status)


def test_nothing_is_aborted_nor_paused(ecs: Ecs) -> None:
    arn = create(ecs)["currentServiceDeployment"]
    with ecs.refused("UnsupportedFeatureException"):
        ecs("StopServiceDeployment", serviceDeploymentArn=arn, stopType="ABORT")
    for action in ({}, {"action": "ROLLBACK"}):
        with ecs.refused(INVALID):
            ecs("ContinueServiceDeployment", serviceDeploymentArn=arn, hookId="h", **action)


def test_they_go_with_their_service(ecs: Ecs) -> None:
    service = create(ecs)
    arn = service["currentServiceDeployment"]
    revision = service["currentServiceRevisions"][0]["arn"]
    ecs("DeleteService", cluster="web", service="shop", force=True)
    with ecs.refused("ServiceNotFoundException"):
        listed(ecs)
    assert ecs("DescribeServiceDeployments", serviceDeploymentArns=[arn])["serviceDeployments"] == []
    assert ecs("DescribeServiceRevisions", serviceRevisionArns=[revision])["serviceRevisions"] == []
    with ecs.refused("ServiceDeploymentNotFoundException"):
        ecs("StopServiceDeployment", serviceDeploymentArn=arn)


def test_a_service_with_task_sets_has_none(ecs: Ecs) -> None:
    ecs(
        "CreateService",
        cluster="web",
        serviceName="shop",
        desiredCount=1,
        deploymentController={"type": "EXTERNAL"},
    )
    assert listed(ecs) == []


def test_a_history_has_an_end(ecs: Ecs) -> None:
    create(ecs)
    force(ecs, KEPT + 5)
    for made in listed(ecs, maxResults=100):
        if made["status"] == "STOP_REQUESTED":
            set_status(ecs, made["serviceDeploymentArn"], "STOPPED")
    force(ecs)
    assert ecs.store.view().count(SERVICE_DEPLOYMENTS, SCOPE, "service", "web/shop") == KEPT
