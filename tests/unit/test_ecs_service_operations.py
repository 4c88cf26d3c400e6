"""CreateService, UpdateService, DeleteService, DescribeServices and ListServices on the records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ecs_calls import ACCOUNT, Ecs, running

from homeport.services.ecs import service_rules
from homeport.services.ecs.model.service import EVENTS, SERVICES, Service, ServiceEvent
from homeport.services.ecs.model.task import TASKS, Task, TaskStatus
from homeport.store import Scope

ARN = f"arn:aws:ecs:us-east-1:{ACCOUNT}:"
BALANCER = {"targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/a/b", "containerPort": 80}
STRATEGY = [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}]
INVALID, UNSUPPORTED = "InvalidParameterException", "UnsupportedFeatureException"
LINKED = "You cannot specify an IAM role for services that require a service linked role."


@pytest.fixture
def ecs() -> Iterator[Ecs]:
    with running() as ecs:
        ecs("CreateCluster", clusterName="web")
        app = {"name": "main", "image": "test", "portMappings": [{"containerPort": 80, "name": "web"}]}
        for _ in range(2):
            ecs(
                "RegisterTaskDefinition",
                family="web",
                networkMode="awsvpc",
                requiresCompatibilities=["FARGATE"],
                cpu="256",
                memory="512",
                containerDefinitions=[app],
            )
        ecs("RegisterTaskDefinition", family="plain", containerDefinitions=[{**app, "memory": 64}])
        ecs("RegisterTaskDefinition", family="old", containerDefinitions=[{**app, "memory": 64}])
        ecs("DeregisterTaskDefinition", taskDefinition="old:1")
        yield ecs


def network(ecs: Ecs, **more: Any) -> dict[str, Any]:
    """The default VPC's first subnet; made by its first use."""
    from homeport.services import ec2

    scope = Scope(ACCOUNT, "us-east-1")
    ids = ecs._ids
    ecs._runner.run(ecs.store.update(lambda tx: ec2.defaults.ensure_default(tx, scope, ids, tx.now), "test"))
    subnets = ecs.store.view().all(ec2.model.SUBNETS, scope)
    return {"awsvpcConfiguration": {"subnets": [subnets[0].id], **more}}


def fargate(ecs: Ecs, **members: Any) -> dict[str, Any]:
    wanted = {"cluster": "web", "serviceName": "shop", "taskDefinition": "web", "desiredCount": 2}
    return {**wanted, "launchType": "FARGATE", "networkConfiguration": network(ecs), **members}


def plain(**members: Any) -> dict[str, Any]:
    return {"cluster": "web", "serviceName": "shop", "taskDefinition": "plain", "desiredCount": 2, **members}


def connect(*aliases: dict[str, Any]) -> dict[str, Any]:
    service = {"portName": "web", "clientAliases": list(aliases)}
    return {"serviceConnectConfiguration": {"enabled": True, "namespace": "n", "services": [service]}}


def described(ecs: Ecs, name: str = "shop") -> dict[str, Any]:
    found: dict[str, Any] = ecs("DescribeServices", cluster="web", services=[name], include=["TAGS"])["services"][0]
    return found


def becomes(ecs: Ecs, status: Any, name: str = "shop") -> None:
    """As the scheduler would write it."""
    from msgspec.structs import replace

    record = ecs.store.view().get(SERVICES, Scope(ACCOUNT, "us-east-1"), f"web/{name}")
    assert record is not None
    ecs.put(SERVICES, replace(record, status=status, desired=0))


def test_a_new_service_is_answered_with_all_its_defaults(ecs: Ecs) -> None:
    made = ecs("CreateService", **fargate(ecs, tags=[{"key": "team", "value": "shop"}]))["service"]
    deployment = made["deployments"][0]
    arn = ARN + "service/web/shop"
    configuration = {
        "deploymentCircuitBreaker": {"enable": False, "rollback": False},
        "maximumPercent": 200,
        "minimumHealthyPercent": 100,
        "strategy": "ROLLING",
        "bakeTimeInMinutes": 0,
    }
    shown = {**network(ecs)["awsvpcConfiguration"], "securityGroups": [], "assignPublicIp": "DISABLED"}
    what = {
        "taskDefinition": ARN + "task-definition/web:2",
        "launchType": "FARGATE",
        "platformFamily": "Linux",
        "networkConfiguration": {"awsvpcConfiguration": shown},
    }
    assert made == {
        "serviceArn": arn,
        "serviceName": "shop",
        "clusterArn": ARN + "cluster/web",
        "status": "ACTIVE",
        "desiredCount": 2,
        "runningCount": 0,
        "pendingCount": 0,
        "loadBalancers": [],
        "serviceRegistries": [],
        **what,
        "platformVersion": "LATEST",
        "deploymentConfiguration": configuration,
        "deployments": [deployment],
        "roleArn": f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS",
        "events": [],
        "createdAt": ecs.clock.now,
        "createdBy": f"arn:aws:iam::{ACCOUNT}:root",
        "currentServiceDeployment": made["currentServiceDeployment"],
        "currentServiceRevisions": [
            {
                "arn": made["currentServiceRevisions"][0]["arn"],
                "requestedTaskCount": 2,
                "runningTaskCount": 0,
                "pendingTaskCount": 0,
            }
        ],
        "placementConstraints": [],
        "placementStrategy": [],
        "healthCheckGracePeriodSeconds": 0,
        "schedulingStrategy": "REPLICA",
        "deploymentController": {"type": "ECS"},
        "enableECSManagedTags": False,
        "propagateTags": "NONE",
        "enableExecuteCommand": False,
        "availabilityZoneRebalancing": "ENABLED",
        "resourceManagementType": "CUSTOMER",
        "tags": [{"key": "team", "value": "shop"}],
    }
    assert deployment == {
        "id": deployment["id"],
        "status": "PRIMARY",
        "desiredCount": 2,
        "pendingCount": 0,
        "runningCount": 0,
        "failedTasks": 0,
        "createdAt": ecs.clock.now,
        "updatedAt": ecs.clock.now,
        "rolloutState": "IN_PROGRESS",
        "rolloutStateReason": f"ECS deployment {deployment['id']} in progress.",
        **what,
        "platformVersion": "1.4.0",
    }
    assert made["currentServiceDeployment"].startswith(ARN + "service-deployment/web/shop/")
    assert made["currentServiceRevisions"][0]["arn"].startswith(ARN + "service-revision/web/shop/")
    assert described(ecs) == made
    assert ecs("DescribeServices", cluster="web", services=["shop"])["services"][0]["tags"] == []


def test_the_same_again_is_the_service_that_is_there(ecs: Ecs) -> None:
    first = ecs("CreateService", **plain(clientToken="t"))["service"]
    version = ecs.store.version
    assert ecs("CreateService", **plain(clientToken="t"))["service"] == first
    assert ecs("CreateService", **plain())["service"] == first
    assert ecs("CreateService", **plain(cluster=ARN + "cluster/web"))["service"] == first
    assert ecs.store.version == version
    text = "Creation of service was not idempotent."
    for other in (plain(desiredCount=3), plain(serviceName="other", clientToken="t")):
        with ecs.refused(INVALID, text):
            ecs("CreateService", **other)
    ecs("UpdateService", cluster="web", service="shop", desiredCount=7)
    assert ecs("CreateService", **plain())["service"]["desiredCount"] == 7


def test_a_name_is_free_again_once_its_service_is_inactive(ecs: Ecs) -> None:
    first = ecs("CreateService", **plain(clientToken="t"))["service"]
    ecs("DeleteService", cluster="web", service="shop", force=True)
    with ecs.refused(INVALID, "Unable to Start a service that is still Draining."):
        ecs("CreateService", **plain())
    becomes(ecs, "INACTIVE")
    event = {"service": "web/shop", "number": 1, "at": 1.0, "message": "old"}
    ecs.put(EVENTS, ServiceEvent(id="e", **event))
    again = ecs("CreateService", **plain(clientToken="t", desiredCount=1))["service"]
    assert again["status"] == "ACTIVE"
    assert len(again["deployments"]) == 1
    assert again["deployments"][0]["id"] != first["deployments"][0]["id"]
    assert again["events"] == []


@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        ({"cluster": "none"}, "ClusterNotFoundException", "Cluster not found."),
        ({"serviceName": "no good"}, INVALID, None),
        ({"taskDefinition": "none"}, "ClientException", "TaskDefinition not found."),
        ({"taskDefinition": "old:1"}, "ClientException", "TaskDefinition is inactive"),
        ({"taskDefinition": ""}, INVALID, "TaskDefinition can not be blank."),
        ({"desiredCount": -1}, INVALID, None),
        ({"desiredCount": 5001}, INVALID, None),
        ({"clientToken": "a" * 37}, INVALID, None),
        ({"healthCheckGracePeriodSeconds": -1}, INVALID, None),
        ({"capacityProviderStrategy": STRATEGY}, INVALID, None),
        (
            {"platformVersion": "1.4.0"},
            INVALID,
            "The platform version must be null when specifying an EC2 launch type.",
        ),
        ({"launchType": "FARGATE"}, INVALID, "Task definition does not support launch_type FARGATE."),
        ({"launchType": "MANAGED_INSTANCES"}, UNSUPPORTED, None),
        (
            {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}},
            INVALID,
            "Network Configuration is not valid for the given networkMode of this task definition.",
        ),
        ({"placementConstraints": [{"type": "memberOf"}]}, INVALID, "memberOf expression should be specified"),
        ({"placementConstraints": [{"type": "distinctInstance"}] * 11}, INVALID, None),
        ({"placementStrategy": [{"type": "random"}] * 6}, INVALID, None),
        ({"tags": [{"key": "aws:x", "value": ""}]}, INVALID, None),
        (
            {"deploymentConfiguration": {"minimumHealthyPercent": 101}},
            INVALID,
            "minimumHealthyPercent must be at most 100",
        ),
        (
            {"schedulingStrategy": "DAEMON"},
            INVALID,
            "The daemon scheduling strategy does not support a desired count for services. Remove the desired count "
            "value and try again",
        ),
        ({"deploymentController": {"type": "EXTERNAL"}}, INVALID, "TaskDefinition must be blank"),
        (
            {"deploymentController": {"type": "EXTERNAL"}, "taskDefinition": "", "loadBalancers": [BALANCER]},
            INVALID,
            "LoadBalancers must be empty or null",
        ),
        (
            {"deploymentController": {"type": "CODE_DEPLOY"}},
            INVALID,
            "the service requires an Application Load Balancer or Network Load Balancer",
        ),
        ({"deploymentController": {"type": "CODE_DEPLOY"}, "loadBalancers": [BALANCER]}, UNSUPPORTED, None),
        (
            {"loadBalancers": [{"containerName": "none", "containerPort": 80}]},
            INVALID,
            "The container none does not exist in the task definition.",
        ),
        (
            {"loadBalancers": [{"containerName": "main", "containerPort": 81}]},
            INVALID,
            "The container main did not have a container port 81 defined.",
        ),
        (
            {"loadBalancers": [BALANCER | {"containerName": "main", "loadBalancerName": "b"}]},
            INVALID,
            "loadBalancerName and targetGroupArn cannot both be specified",
        ),
        ({"loadBalancers": [BALANCER | {"containerName": "main"}]}, UNSUPPORTED, None),
        ({"serviceRegistries": [{"registryArn": "arn"}]}, UNSUPPORTED, None),
        ({"role": "own"}, INVALID, "IAM roles are only valid for services configured to use load balancers."),
        ({"role": "own", "loadBalancers": [BALANCER | {"containerName": "main"}]}, UNSUPPORTED, None),
        ({"role": "own", "serviceRegistries": [{"registryArn": "arn"}]}, INVALID, LINKED),
        ({"role": "own", "loadBalancers": [BALANCER | {"containerName": "main"}] * 2}, INVALID, LINKED),
        ({"loadBalancers": [BALANCER | {"containerName": "main"}] * 6}, INVALID, None),
        ({"serviceConnectConfiguration": {"enabled": True}}, INVALID, "Namespace is missing"),
        ({"serviceConnectConfiguration": {"enabled": True, "namespace": "n"}}, UNSUPPORTED, None),
        (
            {"serviceConnectConfiguration": {"enabled": True, "namespace": "n", "services": [{"portName": "none"}]}},
            INVALID,
            "portName(none) does not refer to any named PortMapping in the container definitions",
        ),
        (connect({"port": 80}, {"port": 81}), INVALID, "2 clientAliases exceeds the max limit of 1"),
        (connect({"port": 80, "dnsName": "No Name"}), INVALID, "The DNS name that you provided is invalid"),
        (connect({"port": 80, "dnsName": "shop.local"}), UNSUPPORTED, None),
        ({"volumeConfigurations": [{"name": "v"}]}, UNSUPPORTED, None),
        ({"vpcLatticeConfigurations": [{"roleArn": "r", "targetGroupArn": "t", "portName": "p"}]}, UNSUPPORTED, None),
        ({"gatewayConnectors": [{"portName": "p"}]}, UNSUPPORTED, None),
        ({"enableExecuteCommand": True}, UNSUPPORTED, None),
        ({"deploymentConfiguration": {"strategy": "BLUE_GREEN"}}, UNSUPPORTED, None),
        (
            {"deploymentConfiguration": {"alarms": {"alarmNames": ["a"], "enable": True, "rollback": False}}},
            UNSUPPORTED,
            None,
        ),
        ({"deploymentConfiguration": {"lifecycleHooks": [{"hookTargetArn": "a"}]}}, UNSUPPORTED, None),
        (
            {"availabilityZoneRebalancing": "ENABLED", "placementStrategy": [{"type": "binpack", "field": "cpu"}]},
            INVALID,
            None,
        ),
    ],
)
def test_services_that_can_not_be(ecs: Ecs, members: dict[str, Any], code: str, text: str | None) -> None:
    with ecs.refused(code, text):
        ecs("CreateService", **plain(**members))


@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        (
            {"networkConfiguration": {}},
            INVALID,
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        ),
        ({"platformVersion": "1.3.0"}, "PlatformUnknownException", "The specified platform does not exist."),
        ({"placementStrategy": [{"type": "random"}]}, INVALID, None),
        (
            {"loadBalancers": [{"loadBalancerName": "b", "containerName": "main", "containerPort": 80}]},
            INVALID,
            "Classic Load Balancers are not supported with Fargate.",
        ),
        ({"schedulingStrategy": "DAEMON", "desiredCount": None}, INVALID, None),
        ({"role": "own"}, INVALID, LINKED),
    ],
)
def test_fargate_services_that_can_not_be(ecs: Ecs, members: dict[str, Any], code: str, text: str | None) -> None:
    wanted = {name: value for name, value in fargate(ecs, **members).items() if value is not None}
    with ecs.refused(code, text):
        ecs("CreateService", **wanted)
    with ecs.refused(INVALID, "desiredCount must be specified for the REPLICA scheduling strategy."):
        ecs("CreateService", **{name: value for name, value in fargate(ecs).items() if name != "desiredCount"})


def test_what_is_empty_or_disabled_is_kept(ecs: Ecs) -> None:
    alarms = {"alarmNames": [], "enable": False, "rollback": False}
    members = {
        "loadBalancers": [],
        "serviceRegistries": [],
        "serviceConnectConfiguration": {"enabled": False},
        "volumeConfigurations": [],
        "vpcLatticeConfigurations": [],
        "enableExecuteCommand": False,
        "deploymentConfiguration": {"alarms": alarms, "lifecycleHooks": [], "bakeTimeInMinutes": 3},
        "monitoring": {"metricConfigurations": [{"metricNames": ["CPUUtilization"], "resolutionSeconds": 60}]},
    }
    made = ecs("CreateService", **plain(**members))["service"]
    assert made["deploymentConfiguration"]["alarms"] == alarms
    assert made["deploymentConfiguration"]["bakeTimeInMinutes"] == 3
    assert made["deployments"][0]["serviceConnectConfiguration"] == {"enabled": False}
    record = ecs.store.view().get(SERVICES, Scope(ACCOUNT, "us-east-1"), "web/shop")
    assert record is not None
    assert record.configuration is not None
    assert record.configuration.members["monitoring"] == members["monitoring"]


def test_daemons_have_bounds_of_their_own(ecs: Ecs) -> None:
    daemon = {k: v for k, v in plain(schedulingStrategy="DAEMON").items() if k != "desiredCount"}
    for member, value, text in (
        ("placementStrategy", [{"type": "random"}], "placement strategies"),
        ("deploymentConfiguration", {"maximumPercent": 101}, "values above 100 for maximumPercent"),
    ):
        with ecs.refused(INVALID, f"The daemon scheduling strategy does not support {text}"):
            ecs("CreateService", **daemon, **{member: value})
    made = ecs("CreateService", **daemon)["service"]
    assert (made["schedulingStrategy"], made["desiredCount"]) == ("DAEMON", 0)
    assert made["deploymentConfiguration"]["maximumPercent"] == 100
    assert made["deploymentConfiguration"]["minimumHealthyPercent"] == 0
    assert made["availabilityZoneRebalancing"] == "DISABLED"
    for member, given in (("desiredCount", 0), ("placementStrategy", [{"type": "random"}])):
        with ecs.refused(INVALID):
            ecs("UpdateService", cluster="web", service="shop", **{member: given})
    with ecs.refused(INVALID, "The daemon scheduling strategy does not support values above 100 for maximumPercent"):
        ecs("UpdateService", cluster="web", service="shop", deploymentConfiguration={"maximumPercent": 200})
    assert ecs("DeleteService", cluster="web", service="shop")["service"]["status"] == "DRAINING"


def test_capacity_comes_from_the_call_or_the_cluster(ecs: Ecs) -> None:
    ecs(
        "PutClusterCapacityProviders",
        cluster="web",
        capacityProviders=["FARGATE", "FARGATE_SPOT"],
        defaultCapacityProviderStrategy=[{"capacityProvider": "FARGATE", "weight": 1}],
    )
    wanted = {name: value for name, value in fargate(ecs).items() if name != "launchType"}
    default = ecs("CreateService", **wanted)["service"]
    assert default["capacityProviderStrategy"] == [{"capacityProvider": "FARGATE", "weight": 1, "base": 0}]
    assert "launchType" not in default
    own = ecs("CreateService", **wanted | {"serviceName": "own", "capacityProviderStrategy": STRATEGY})["service"]
    assert own["capacityProviderStrategy"] == STRATEGY
    assert own["platformVersion"] == "LATEST"
    with ecs.refused(INVALID):
        ecs(
            "CreateService", **wanted | {"serviceName": "a", "launchType": "FARGATE"}, capacityProviderStrategy=STRATEGY
        )
    given = ecs("CreateService", **wanted | {"serviceName": "typed", "launchType": "FARGATE"})["service"]
    assert given["launchType"] == "FARGATE"
    assert "capacityProviderStrategy" not in given
    gone = {"cluster": "web", "capacityProviders": ["FARGATE"], "defaultCapacityProviderStrategy": []}
    with ecs.refused("ResourceInUseException"):
        ecs("PutClusterCapacityProviders", **gone)
    ecs("DeleteService", cluster="web", service="own", force=True)
    becomes(ecs, "INACTIVE", "own")
    ecs("PutClusterCapacityProviders", **gone)


def test_only_what_makes_other_tasks_starts_a_deployment(ecs: Ecs) -> None:
    ecs("CreateService", **fargate(ecs))
    changes: list[tuple[dict[str, Any], bool]] = [
        ({"desiredCount": 5}, False),
        ({"deploymentConfiguration": {"maximumPercent": 150}}, False),
        ({"healthCheckGracePeriodSeconds": 30}, False),
        ({"propagateTags": "SERVICE"}, False),
        ({"enableECSManagedTags": True}, False),
        ({"enableExecuteCommand": False}, False),
        ({"availabilityZoneRebalancing": "DISABLED"}, False),
        ({"taskDefinition": "web:2"}, False),
        ({"networkConfiguration": network(ecs)}, False),
        ({"volumeConfigurations": []}, False),
        ({"loadBalancers": []}, False),
        ({"taskDefinition": "web:1"}, True),
        ({"taskDefinition": "web"}, True),
        ({"networkConfiguration": network(ecs, assignPublicIp="ENABLED")}, True),
        ({"platformVersion": "1.4.0"}, True),
        ({"serviceConnectConfiguration": {"enabled": False}}, True),
        ({"forceNewDeployment": True}, True),
    ]
    for members, deploys in changes:
        before = described(ecs)
        after = ecs("UpdateService", cluster="web", service="shop", **members)["service"]
        began = len(after["deployments"]) - len(before["deployments"])
        assert began == deploys, members
        if deploys:
            assert [d["status"] for d in after["deployments"]] == ["PRIMARY"] + ["ACTIVE"] * len(before["deployments"])
            assert after["currentServiceDeployment"] != before["currentServiceDeployment"]
    last = described(ecs)
    assert last["desiredCount"] == 5
    assert last["deploymentConfiguration"]["maximumPercent"] == 150
    assert last["deploymentConfiguration"]["minimumHealthyPercent"] == 100
    assert last["healthCheckGracePeriodSeconds"] == 30
    assert (last["propagateTags"], last["enableECSManagedTags"]) == ("SERVICE", True)
    assert last["availabilityZoneRebalancing"] == "DISABLED"
    assert last["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == "ENABLED"
    assert last["taskDefinition"] == ARN + "task-definition/web:2"


def test_another_strategy_is_for_new_tasks_of_the_same_deployment(ecs: Ecs) -> None:
    ecs(
        "PutClusterCapacityProviders",
        cluster="web",
        capacityProviders=["FARGATE", "FARGATE_SPOT"],
        defaultCapacityProviderStrategy=[],
    )
    before = ecs("CreateService", **fargate(ecs))["service"]
    after = ecs("UpdateService", cluster="web", service="shop", capacityProviderStrategy=STRATEGY)["service"]
    assert [d["id"] for d in after["deployments"]] == [d["id"] for d in before["deployments"]]
    assert after["currentServiceDeployment"] == before["currentServiceDeployment"]
    assert "launchType" not in after
    assert after["deployments"][0]["capacityProviderStrategy"] == STRATEGY
    forced = {"forceNewDeployment": True, "capacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1}]}
    after = ecs("UpdateService", cluster="web", service="shop", **forced)["service"]
    assert [d["capacityProviderStrategy"][0]["capacityProvider"] for d in after["deployments"]] == [
        "FARGATE",
        "FARGATE_SPOT",
    ]
    after = ecs("UpdateService", cluster="web", service="shop", capacityProviderStrategy=[])["service"]
    assert after["launchType"] == "FARGATE"
    assert "capacityProviderStrategy" not in after


@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        ({"taskDefinition": "none"}, "ClientException", "TaskDefinition not found."),
        ({"taskDefinition": "old:1"}, "ClientException", "TaskDefinition is inactive"),
        ({"taskDefinition": "plain"}, INVALID, None),
        ({"desiredCount": -1}, INVALID, None),
        ({"platformVersion": "9"}, "PlatformUnknownException", None),
        ({"placementStrategy": [{"type": "random"}]}, INVALID, None),
        ({"deploymentConfiguration": {"maximumPercent": 100}}, INVALID, None),
        ({"deploymentController": {"type": "EXTERNAL"}}, UNSUPPORTED, None),
        ({"enableExecuteCommand": True}, UNSUPPORTED, None),
        ({"serviceConnectConfiguration": {"enabled": True, "namespace": "n"}}, UNSUPPORTED, None),
        ({"capacityProviderStrategy": STRATEGY}, INVALID, None),
        ({"service": "none"}, "ServiceNotFoundException", "Service not found."),
        ({"cluster": "none"}, "ClusterNotFoundException", None),
    ],
)
def test_changes_that_can_not_be(ecs: Ecs, members: dict[str, Any], code: str, text: str | None) -> None:
    ecs("CreateService", **fargate(ecs))
    with ecs.refused(code, text):
        ecs("UpdateService", **{"cluster": "web", "service": "shop", **members})


def test_a_deregistered_definition_goes_on_but_can_not_be_chosen(ecs: Ecs) -> None:
    ecs("CreateService", **fargate(ecs, taskDefinition="web:1"))
    ecs("DeregisterTaskDefinition", taskDefinition="web:1")
    forced = ecs("UpdateService", cluster="web", service="shop", forceNewDeployment=True, desiredCount=3)["service"]
    assert forced["deployments"][0]["taskDefinition"] == ARN + "task-definition/web:1"
    with ecs.refused("ClientException", "TaskDefinition is inactive"):
        ecs("UpdateService", cluster="web", service="shop", taskDefinition="web:1")


def test_external_services_leave_their_tasks_to_task_sets(ecs: Ecs) -> None:
    external = {"cluster": "web", "serviceName": "shop", "deploymentController": {"type": "EXTERNAL"}}
    made = ecs("CreateService", **external, desiredCount=2)["service"]
    assert made["deployments"] == []
    assert made["deploymentConfiguration"] == {"maximumPercent": 200, "minimumHealthyPercent": 100}
    assert not {"taskDefinition", "launchType", "currentServiceDeployment"} & made.keys()
    for members in (
        {"taskDefinition": "web"},
        {"forceNewDeployment": True},
        {"networkConfiguration": network(ecs)},
        {"platformVersion": "1.4.0"},
    ):
        with ecs.refused(INVALID):
            ecs("UpdateService", cluster="web", service="shop", **members)
    changed = {"desiredCount": 0, "healthCheckGracePeriodSeconds": 5, "propagateTags": "SERVICE"}
    after = ecs("UpdateService", cluster="web", service="shop", **changed)["service"]
    assert {member: after[member] for member in changed} == changed


def test_deleting(ecs: Ecs) -> None:
    made = ecs("CreateService", **plain())["service"]
    with ecs.refused(INVALID, "The service cannot be stopped while it is scaled above 0."):
        ecs("DeleteService", cluster="web", service="shop")
    ecs("UpdateService", cluster="web", service=made["serviceArn"], desiredCount=0)
    deleted = ecs("DeleteService", cluster="web", service="shop")["service"]
    assert (deleted["status"], deleted["desiredCount"]) == ("DRAINING", 0)
    assert ecs("DeleteService", cluster="web", service="shop")["service"] == deleted
    assert ecs("ListServices", cluster="web") == {"serviceArns": []}
    with ecs.refused("ServiceNotActiveException", "Service was not ACTIVE."):
        ecs("UpdateService", cluster="web", service="shop", desiredCount=1)
    with ecs.refused("ClusterContainsServicesException"):
        ecs("DeleteCluster", cluster="web")
    becomes(ecs, "INACTIVE")
    assert described(ecs)["status"] == "INACTIVE"
    assert described(ecs)["deployments"] == []
    with ecs.refused("ServiceNotActiveException"):
        ecs("UpdateService", cluster="web", service="shop", desiredCount=1)
    with ecs.refused("ServiceNotFoundException", "Service not found."):
        ecs("DeleteService", cluster="web", service="shop")
    ecs("DeleteCluster", cluster="web")
    ecs("CreateCluster", clusterName="web")
    assert ecs("DescribeServices", cluster="web", services=["shop"])["failures"][0]["reason"] == "MISSING"
    assert ecs("CreateService", **plain())["service"]["status"] == "ACTIVE"


def test_describing(ecs: Ecs) -> None:
    ecs("CreateService", **plain())
    other = ARN + "service/other/shop"
    found = ecs("DescribeServices", cluster="web", services=["shop", ARN + "service/web/shop", "none", other])
    assert [s["serviceName"] for s in found["services"]] == ["shop"]
    assert found["failures"] == [
        {"arn": ARN + "service/web/none", "reason": "MISSING"},
        {"arn": other, "reason": "MISSING"},
    ]
    for wanted in ([], [f"s{n}" for n in range(11)], [ARN + "task/web/shop"]):
        with ecs.refused(INVALID):
            ecs("DescribeServices", cluster="web", services=wanted)


def test_events_are_the_newest_first(ecs: Ecs) -> None:
    ecs("CreateService", **plain())
    for number in range(3):
        message = {"message": f"m{number}"} if number else {}
        event = ServiceEvent(id=f"e{number}", service="web/shop", number=number, at=float(number), **message)
        ecs.put(EVENTS, event)
    assert [(e["id"], e["message"], e["createdAt"]) for e in described(ecs)["events"]] == [
        ("e2", "m2", 2.0),
        ("e1", "m1", 1.0),
    ]


def test_counts_are_over_all_deployments(ecs: Ecs) -> None:
    first = ecs("CreateService", **plain())["service"]["deployments"][0]["id"]
    second = ecs("UpdateService", cluster="web", service="shop", forceNewDeployment=True)["service"]["deployments"][0]
    statuses = {"a": (first, "RUNNING"), "b": (second["id"], "RUNNING"), "c": (second["id"], "PENDING")}
    for id, (owner, status) in statuses.items():
        ecs.put(TASKS, _task(id, owner, TaskStatus[status]))
    shown = described(ecs)
    assert (shown["runningCount"], shown["pendingCount"]) == (2, 1)
    assert [(d["desiredCount"], d["runningCount"], d["pendingCount"]) for d in shown["deployments"]] == [
        (2, 1, 1),
        (1, 1, 0),
    ]
    requested = [r["requestedTaskCount"] for r in shown["currentServiceRevisions"]]
    assert requested == [2, 1]
    assert len(ecs("ListTasks", cluster="web", serviceName="shop")["taskArns"]) == 3
    assert len(ecs("ListTasks", cluster="web", serviceName=ARN + "service/web/shop")["taskArns"]) == 3
    with ecs.refused("ServiceNotFoundException", "Service not found."):
        ecs("ListTasks", cluster="web", serviceName="none")


def _task(id: str, owner: str, status: TaskStatus) -> Task:
    return Task(
        id=id,
        cluster_arn=ARN + "cluster/web",
        cluster_generation=1,
        definition_arn=ARN + "task-definition/plain:1",
        launch_type="EC2",
        group="service:shop",
        cpu=0,
        memory=64,
        created_at=1.0,
        last_status=status,
        started_by=owner,
        containers=(),
    )


def test_listing(ecs: Ecs) -> None:
    names = [f"s{number:02}" for number in range(12)]
    for name in reversed(names):
        ecs("CreateService", **plain(serviceName=name))
    daemon = {k: v for k, v in plain(schedulingStrategy="DAEMON", serviceName="d").items() if k != "desiredCount"}
    ecs("CreateService", **daemon)
    ecs("CreateService", **fargate(ecs, serviceName="f"))
    arns = [ARN + f"service/web/{name}" for name in ("d", "f", *names)]
    first = ecs("ListServices", cluster="web")
    assert first["serviceArns"] == arns[:10]
    assert ecs("ListServices", cluster="web", nextToken=first["nextToken"]) == {"serviceArns": arns[10:]}
    assert len(ecs("ListServices", cluster="web", maxResults=100)["serviceArns"]) == 14
    for filters, expected in (
        ({"launchType": "FARGATE"}, ["f"]),
        ({"launchType": "EXTERNAL"}, []),
        ({"schedulingStrategy": "DAEMON"}, ["d"]),
        ({"schedulingStrategy": "DAEMON", "launchType": "FARGATE"}, []),
        ({"resourceManagementType": "ECS"}, []),
        ({"resourceManagementType": "CUSTOMER", "schedulingStrategy": "DAEMON"}, ["d"]),
    ):
        assert ecs("ListServices", cluster="web", **filters) == {
            "serviceArns": [ARN + f"service/web/{name}" for name in expected]
        }
    with ecs.refused(INVALID):
        ecs("ListServices", cluster="web", nextToken=first["nextToken"], launchType="EC2")
    with ecs.refused("ClusterNotFoundException"):
        ecs("ListServices", cluster="none")


def test_clusters_count_their_services(ecs: Ecs) -> None:
    ecs("CreateService", **plain())
    ecs("CreateService", **plain(serviceName="gone"))
    ecs("CreateService", **fargate(ecs, serviceName="f"))
    ecs("DeleteService", cluster="web", service="gone", force=True)
    shown = ecs("DescribeClusters", clusters=["web"], include=["STATISTICS"])["clusters"][0]
    assert shown["activeServicesCount"] == 2
    statistics = {item["name"]: item["value"] for item in shown["statistics"]}
    assert {name: value for name, value in statistics.items() if "Service" in name} == {
        "activeEC2ServiceCount": "1",
        "activeFargateServiceCount": "1",
        "activeExternalServiceCount": "0",
        "drainingEC2ServiceCount": "1",
        "drainingFargateServiceCount": "0",
        "drainingExternalServiceCount": "0",
    }


def test_tags_of_services(ecs: Ecs) -> None:
    arn = ecs("CreateService", **plain(tags=[{"key": "a", "value": "1"}]))["service"]["serviceArn"]
    ecs("TagResource", resourceArn=arn, tags=[{"key": "b", "value": "2"}])
    ecs("UntagResource", resourceArn=arn, tagKeys=["a"])
    assert ecs("ListTagsForResource", resourceArn=arn) == {"tags": [{"key": "b", "value": "2"}]}
    assert described(ecs)["tags"] == [{"key": "b", "value": "2"}]
    with ecs.refused(INVALID, "Long arn format must be used for tagging operations"):
        ecs("TagResource", resourceArn=ARN + "service/shop", tags=[])
    for missing in ("service/web/none", "service/other/shop", "task-set/web/shop/ecs-svc/1"):
        with ecs.refused("ResourceNotFoundException"):
            ecs("TagResource", resourceArn=ARN + missing, tags=[])


def test_a_cluster_has_room_for_so_many_services(ecs: Ecs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_rules, "MAX_SERVICES", 1)
    ecs("CreateService", **plain())
    with ecs.refused(INVALID, "The maximum number of services for this cluster has been reached: 1."):
        ecs("CreateService", **plain(serviceName="other"))
    ecs("CreateService", **plain())  # the same again is no other


def test_services_survive_a_restart(ecs: Ecs) -> None:
    ecs("CreateService", **plain(clientToken="t"))
    before = described(ecs)
    again = ecs.restarted()
    assert described(again) == before
    assert isinstance(again.store.view().get(SERVICES, Scope(ACCOUNT, "us-east-1"), "web/shop"), Service)
