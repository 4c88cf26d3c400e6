"""Operations whose resources there are none of: a bad request gets its own error before that of what isn't there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ecs_calls import ACCOUNT, Ecs, running

ARN = f"arn:aws:ecs:us-east-1:{ACCOUNT}:"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"


@pytest.fixture(scope="module")
def ecs() -> Iterator[Ecs]:
    with running() as ecs:
        ecs("CreateCluster", clusterName="web")
        yield ecs


def test_there_are_no_services(ecs: Ecs) -> None:
    arns = {"services": ["shop", ARN + "service/other/shop"], "cluster": "web"}
    assert ecs("DescribeServices", **arns) == {
        "services": [],
        "failures": [
            {"arn": ARN + "service/web/shop", "reason": "MISSING"},
            {"arn": ARN + "service/other/shop", "reason": "MISSING"},
        ],
    }
    assert ecs("ListServices", cluster="web") == {"serviceArns": []}
    for call in ("UpdateService", "DeleteService", "ListServiceDeployments"):
        with ecs.refused("ServiceNotFoundException", "Service not found."):
            ecs(call, cluster="web", service="shop")
        with ecs.refused("ClusterNotFoundException"):
            ecs(call, cluster="none", service="shop")
        with ecs.refused("InvalidParameterException"):
            ecs(call, cluster="web", service=ARN + "task/web/shop")
    deployment = ARN + "service-deployment/web/shop/EZe5RNVLH6PPzHXINuP28"
    failures = [{"arn": deployment, "reason": "MISSING"}]
    shown = ecs("DescribeServiceDeployments", serviceDeploymentArns=[deployment, deployment])
    assert shown == {"serviceDeployments": [], "failures": failures}
    for call, members in (("StopServiceDeployment", {}), ("ContinueServiceDeployment", {"hookId": "h"})):
        with ecs.refused("ServiceDeploymentNotFoundException"):
            ecs(call, serviceDeploymentArn=deployment, **members)


def test_a_namespace_is_known_where_it_is_a_clusters_default(ecs: Ecs) -> None:
    with ecs.refused("NamespaceNotFoundException"):
        ecs("ListServicesByNamespace", namespace="shop.local")
    ecs("UpdateCluster", cluster="web", serviceConnectDefaults={"namespace": "shop.local"})
    assert ecs("ListServicesByNamespace", namespace="shop.local") == {"serviceArns": []}


@pytest.mark.parametrize(
    ("call", "good", "bad"),
    [
        (
            "CreateDaemon",
            {
                "daemonName": "d",
                "clusterArn": ARN + "cluster/web",
                "daemonTaskDefinitionArn": ARN + "daemon-task-definition/d:1",
                "capacityProviderArns": [ARN + "capacity-provider/p"],
            },
            [
                {"daemonName": "no good"},
                {"clusterArn": "web"},
                {"capacityProviderArns": []},
                {"capacityProviderArns": [ARN + "task/web/t"]},
                {"deploymentConfiguration": {"bakeTimeInMinutes": 1441}},
            ],
        ),
        (
            "DescribeDaemonRevisions",
            {"daemonRevisionArns": [ARN + "daemon-revision/web/d/1"]},
            [{"daemonRevisionArns": []}],
        ),
        (
            "ListDaemons",
            {"maxResults": 100},
            [{"maxResults": 101}, {"nextToken": "x"}, {"clusterArn": ARN + "task/a/b"}],
        ),
        (
            "CreateExpressGatewayService",
            {"infrastructureRoleArn": ROLE, "cluster": "web"},
            [
                {"infrastructureRoleArn": "r"},
                {"serviceName": ""},
                {"primaryContainer": {"image": "i", "containerPort": 0}},
                {"taskDefinitionArn": ARN + "task-definition/web:1", "cpu": "256"},
                {"scalingTarget": {"minTaskCount": 3, "maxTaskCount": 2}},
            ],
        ),
        (
            "CreateGateway",
            {"name": "g", "infrastructureRoleArn": ROLE, "configuration": {"hostSharedAlb": {}}},
            [{"name": "no good"}, {"infrastructureRoleArn": "r"}, {"tags": [{"key": "aws:x", "value": ""}]}],
        ),
        (
            "ListGatewayRoutes",
            {"gateway": "g", "service": "s"},
            [{"service": "no good"}, {"gateway": ARN + "task/a/b"}],
        ),
        ("AssociateGatewayWithCluster", {"gateway": "g", "cluster": "web"}, [{"gateway": ""}]),
    ],
)
def test_what_is_not_built_checks_its_input(
    ecs: Ecs, call: str, good: dict[str, Any], bad: list[dict[str, Any]]
) -> None:
    with ecs.refused("UnsupportedFeatureException"):
        ecs(call, **good)
    for members in bad:
        with ecs.refused("InvalidParameterException"):
            ecs(call, **(good | members))


def test_daemon_definitions_answer_with_the_errors_that_they_have(ecs: Ecs) -> None:
    with ecs.refused("ClientException", "Homeport does not support managed daemons."):
        ecs("RegisterDaemonTaskDefinition", family="d", containerDefinitions=[{"image": "i"}])
    with ecs.refused("ClientException", "Homeport does not support managed daemons."):
        ecs("DescribeDaemonTaskDefinition", daemonTaskDefinition="d:1")
    for text in ("d:x", "no good", ARN + "task-definition/d:1"):
        with ecs.refused("InvalidParameterException"):
            ecs("DeleteDaemonTaskDefinition", daemonTaskDefinition=text)
