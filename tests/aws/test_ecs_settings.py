"""Account settings, cluster settings, task protection and tags through boto3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

REGION = "ca-central-1"  # of this file alone: its settings are its own
ROOT = "arn:aws:iam::123456789012:root"


@pytest.fixture
def ecs(homeport: Any) -> Iterator[Any]:
    client = homeport.client("ecs", REGION)
    yield client
    for setting in client.list_account_settings()["settings"]:
        client.delete_account_setting(name=setting["name"])
    for arn in client.list_clusters()["clusterArns"]:
        client.delete_cluster(cluster=arn)


@pytest.mark.feature("Account settings: defaults, own values, effective settings")
def test_account_settings(ecs: Any) -> None:
    pages = list(ecs.get_paginator("list_account_settings").paginate(effectiveSettings=True))
    names = [setting["name"] for page in pages for setting in page["settings"]]
    assert [len(page["settings"]) for page in pages] == [10, 1]
    assert names == sorted(ecs.meta.service_model.shape_for("SettingName").enum)
    assert ecs.list_account_settings()["settings"] == []
    made = ecs.put_account_setting_default(name="containerInsights", value="enhanced")["setting"]
    assert made == {"name": "containerInsights", "value": "enhanced", "principalArn": ROOT, "type": "user"}
    assert ecs.list_account_settings()["settings"] == [made]
    cluster = ecs.create_cluster(clusterName="insights")["cluster"]
    assert cluster["settings"] == [{"name": "containerInsights", "value": "enhanced"}]
    assert ecs.delete_account_setting(name="containerInsights")["setting"]["value"] == "disabled"
    for name in ("serviceLongArnFormat", "taskLongArnFormat", "containerInstanceLongArnFormat"):
        assert ecs.put_account_setting(name=name, value="enabled")["setting"]["value"] == "enabled"
        with pytest.raises(ClientError, match="You can no longer disable Long Arn settings"):
            ecs.put_account_setting(name=name, value="disabled")


@pytest.mark.feature("Change a cluster's settings, ECS Exec logging and Service Connect default")
def test_clusters_change(ecs: Any) -> None:
    ecs.create_cluster(clusterName="changing")
    ecs.update_cluster_settings(cluster="changing", settings=[{"name": "containerInsights", "value": "enabled"}])
    logging = {"executeCommandConfiguration": {"logging": "NONE"}}
    ecs.update_cluster(cluster="changing", configuration=logging, serviceConnectDefaults={"namespace": "shop.local"})
    (cluster,) = ecs.describe_clusters(clusters=["changing"], include=["SETTINGS", "CONFIGURATIONS"])["clusters"]
    assert cluster["settings"] == [{"name": "containerInsights", "value": "enabled"}]
    assert (cluster["configuration"], cluster["serviceConnectDefaults"]) == (logging, {"namespace": "shop.local"})
    assert ecs.list_services_by_namespace(namespace="shop.local")["serviceArns"] == []
    with pytest.raises(ecs.exceptions.NamespaceNotFoundException):
        ecs.list_services_by_namespace(namespace="other.local")


def test_standalone_tasks_are_neither_protected_nor_entered(ecs: Any) -> None:
    ecs.create_cluster(clusterName="alone")
    arn = f"arn:aws:ecs:{REGION}:123456789012:task/alone/{'f' * 32}"
    answer = ecs.update_task_protection(cluster="alone", tasks=[arn], protectionEnabled=True, expiresInMinutes=60)
    assert (answer["protectedTasks"], answer["failures"]) == ([], [{"arn": arn, "reason": "MISSING"}])
    assert ecs.get_task_protection(cluster="alone", tasks=[arn])["failures"] == answer["failures"]
    with pytest.raises(ClientError, match="The referenced task was not found"):
        ecs.execute_command(cluster="alone", task=arn, command="sh", interactive=True)
