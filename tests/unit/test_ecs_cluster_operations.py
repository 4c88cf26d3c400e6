from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ecs_calls import ACCOUNT, Ecs, running

from homeport.services.ecs.clusters import KEPT_SECONDS
from homeport.services.ecs.model.cluster import CLUSTERS
from homeport.services.ecs.model.instance import INSTANCES, Instance
from homeport.services.ecs.model.task import TASKS, Task, TaskStatus
from homeport.store import Scope

ARN = f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/"


@pytest.fixture
def ecs() -> Iterator[Ecs]:
    with running() as ecs:
        yield ecs


def task(id: str, status: TaskStatus, launch_type: str = "FARGATE", cluster: str = "web") -> Task:
    return Task(
        id=id,
        cluster_arn=ARN + cluster,
        definition_arn=f"arn:aws:ecs:us-east-1:{ACCOUNT}:task-definition/web:1",
        launch_type=launch_type,
        group="family:web",
        cpu=256,
        memory=512,
        created_at=1.0,
        containers=(),
        last_status=status,
    )


def instance(status: str) -> Instance:
    return Instance(id="i1", arn="arn", cluster_arn=ARN + "web", node=None, registered_at=1.0, status=status)


def test_a_new_cluster_is_answered_with_every_default(ecs: Ecs) -> None:
    assert ecs("CreateCluster") == {
        "cluster": {
            "clusterArn": ARN + "default",
            "clusterName": "default",
            "status": "ACTIVE",
            "registeredContainerInstancesCount": 0,
            "runningTasksCount": 0,
            "pendingTasksCount": 0,
            "activeServicesCount": 0,
            "statistics": [],
            "tags": [],
            "settings": [{"name": "containerInsights", "value": "disabled"}],
            "capacityProviders": [],
            "defaultCapacityProviderStrategy": [],
        }
    }


FULL: dict[str, Any] = {
    "clusterName": "web",
    "tags": [{"key": "team", "value": "a"}, {"key": "empty", "value": ""}],
    "settings": [{"name": "containerInsights", "value": "enhanced"}],
    "configuration": {
        "executeCommandConfiguration": {
            "kmsKeyId": "k",
            "logging": "OVERRIDE",
            "logConfiguration": {"cloudWatchLogGroupName": "g", "s3EncryptionEnabled": False},
        },
        "managedStorageConfiguration": {"fargateEphemeralStorageKmsKeyId": "f"},
    },
    "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
    "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1, "base": 2}],
    "serviceConnectDefaults": {"namespace": "n"},
}


def test_everything_that_was_given_comes_back_when_asked_for(ecs: Ecs) -> None:
    made = ecs("CreateCluster", **FULL)["cluster"]
    assert {member: made[member] for member in FULL} == FULL
    include = ["CONFIGURATIONS", "SETTINGS", "TAGS"]
    assert ecs("DescribeClusters", clusters=["web"], include=include)["clusters"] == [made]
    bare = ecs("DescribeClusters", clusters=["web"])["clusters"][0]
    assert (bare["tags"], bare["settings"], bare["statistics"]) == ([], [], [])
    assert bare.keys().isdisjoint({"configuration", "attachments"})
    assert ecs("DescribeClusters", clusters=["web"], include=["ATTACHMENTS"])["clusters"][0]["attachments"] == []


def test_a_restart_keeps_clusters(ecs: Ecs) -> None:
    made = ecs("CreateCluster", **FULL)
    assert ecs.restarted()("CreateCluster", clusterName="web") == made


def test_creating_it_again_changes_nothing(ecs: Ecs) -> None:
    made = ecs("CreateCluster", **FULL)
    version = ecs.store.version
    assert (
        ecs("CreateCluster", clusterName="web", settings=[{"name": "containerInsights", "value": "disabled"}]) == made
    )
    assert ecs.store.version == version


def test_an_inactive_clusters_name_can_be_reused(ecs: Ecs) -> None:
    ecs("CreateCluster", **FULL)
    assert ecs("DeleteCluster", cluster=ARN + "web")["cluster"]["status"] == "INACTIVE"
    assert ecs("DescribeClusters", clusters=["web"])["clusters"][0]["status"] == "INACTIVE"
    assert ecs("ListClusters") == {"clusterArns": []}
    with ecs.refused("ClusterNotFoundException", "Cluster not found."):
        ecs("DeleteCluster", cluster="web")
    again = ecs("CreateCluster", clusterName="web")["cluster"]
    assert (again["status"], again["tags"], again["capacityProviders"]) == ("ACTIVE", [], [])
    assert [c["status"] for c in ecs("DescribeClusters", clusters=["web"])["clusters"]] == ["ACTIVE"]
    kept = ecs.store.view().find(CLUSTERS, Scope(ACCOUNT, "us-east-1"), "name", "web")
    assert [c.status for c in kept] == ["INACTIVE", "ACTIVE"]


def test_a_deleted_cluster_is_forgotten_after_a_while(ecs: Ecs) -> None:
    for name in ("a", "b"):
        ecs("CreateCluster", clusterName=name)
    ecs("DeleteCluster", cluster="a")
    ecs.clock.now += KEPT_SECONDS
    assert ecs("DescribeClusters", clusters=["a"])["failures"] == [{"arn": ARN + "a", "reason": "MISSING"}]
    ecs("DeleteCluster", cluster="b")
    assert [c.name for c in ecs.store.view().all(CLUSTERS, Scope(ACCOUNT, "us-east-1"))] == ["b"]


def test_describe_takes_names_and_arns_and_tells_what_is_missing(ecs: Ecs) -> None:
    for name in ("a", "b"):
        ecs("CreateCluster", clusterName=name)
    foreign = "arn:aws:ecs:us-east-1:999999999999:cluster/a"
    told = ecs("DescribeClusters", clusters=["b", ARN + "a", "a", "b", "gone", foreign])
    assert [c["clusterName"] for c in told["clusters"]] == ["b", "a"]
    assert told["failures"] == [{"arn": ARN + "gone", "reason": "MISSING"}, {"arn": foreign, "reason": "MISSING"}]
    assert ecs("DescribeClusters")["failures"] == [{"arn": ARN + "default", "reason": "MISSING"}]


def test_accounts_and_regions_are_apart(ecs: Ecs) -> None:
    ecs("CreateCluster", clusterName="a")
    assert ecs("ListClusters", region="eu-west-1") == {"clusterArns": []}
    assert ecs("ListClusters", account="999999999999") == {"clusterArns": []}
    china = ecs("CreateCluster", clusterName="a", region="cn-north-1")["cluster"]["clusterArn"]
    assert china == f"arn:aws-cn:ecs:cn-north-1:{ACCOUNT}:cluster/a"


def test_pages_end_where_the_clusters_do(ecs: Ecs) -> None:
    names = ["a", "a-b", "a1", "B", "z_"]
    for name in names:
        ecs("CreateCluster", clusterName=name)
    listed: list[str] = []
    token: dict[str, str] = {}
    for size in (2, 2, 1):
        page = ecs("ListClusters", maxResults=2, **token)
        assert len(page["clusterArns"]) == size
        listed += page["clusterArns"]
        token = {"nextToken": page["nextToken"]} if "nextToken" in page else {}
    assert not token
    assert listed == [ARN + name for name in sorted(names)]


@pytest.mark.parametrize("limit", [0, 101, -1])
def test_pages_have_a_size(ecs: Ecs, limit: int) -> None:
    with ecs.refused("InvalidParameterException"):
        ecs("ListClusters", maxResults=limit)


def test_a_token_is_good_for_its_own_list_only(ecs: Ecs) -> None:
    for name in ("a", "b"):
        ecs("CreateCluster", clusterName=name)
    token = ecs("ListClusters", maxResults=1)["nextToken"]
    for bad in ("x", token[:-4] + "AAA=", "é"):
        with ecs.refused("InvalidParameterException", "Invalid token"):
            ecs("ListClusters", nextToken=bad)
    with ecs.refused("InvalidParameterException", "Invalid token"):
        ecs("ListClusters", nextToken=token, region="eu-west-1")
    with ecs.refused("InvalidParameterException", "Invalid token"):
        ecs("ListTaskDefinitions", nextToken=token)


def test_counts_and_statistics(ecs: Ecs) -> None:
    ecs("CreateCluster", clusterName="web")
    for number, status in enumerate(TaskStatus):
        ecs.put(TASKS, task(f"f{number}", status))
    ecs.put(TASKS, task("e", TaskStatus.RUNNING, "EC2"))
    ecs.put(TASKS, task("other", TaskStatus.RUNNING, cluster="other"))
    ecs.put(INSTANCES, instance("DRAINING"))
    cluster = ecs("DescribeClusters", clusters=["web"], include=["STATISTICS"])["clusters"][0]
    assert (cluster["runningTasksCount"], cluster["pendingTasksCount"]) == (2, 3)
    assert cluster["registeredContainerInstancesCount"] == 1
    statistics = {s["name"]: s["value"] for s in cluster["statistics"]}
    assert statistics.pop("runningFargateTasksCount") == "1"
    assert statistics.pop("runningEC2TasksCount") == "1"
    assert statistics.pop("pendingFargateTasksCount") == "3"
    assert set(statistics.values()) == {"0"}
    assert {"pendingEC2TasksCount", "activeEC2ServiceCount", "drainingFargateServiceCount"} <= statistics.keys()


@pytest.mark.parametrize("status", [s for s in TaskStatus if s != TaskStatus.STOPPED])
def test_a_cluster_with_tasks_is_not_deleted(ecs: Ecs, status: TaskStatus) -> None:
    ecs("CreateCluster", clusterName="web")
    ecs.put(TASKS, task("t", status))
    with ecs.refused("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active."):
        ecs("DeleteCluster", cluster="web")
    ecs.put(TASKS, task("t", TaskStatus.STOPPED))
    assert ecs("DeleteCluster", cluster="web")["cluster"]["status"] == "INACTIVE"


def test_a_cluster_with_instances_is_not_deleted(ecs: Ecs) -> None:
    ecs("CreateCluster", clusterName="web")
    text = "The Cluster cannot be deleted while Container Instances are active or draining."
    for status in ("ACTIVE", "DRAINING"):
        ecs.put(INSTANCES, instance(status))
        with ecs.refused("ClusterContainsContainerInstancesException", text):
            ecs("DeleteCluster", cluster="web")
    ecs.put(INSTANCES, instance("INACTIVE"))
    ecs("DeleteCluster", cluster="web")


UNASSOCIATED = (
    "The specified capacity provider strategy cannot contain a capacity provider that is not associated with the "
    "cluster. Associate the capacity provider with the cluster and try again."
)
BASES = "There are multiple capacity providers in the specified capacity provider strategy with a base value defined"
WEIGHTLESS = "There are no capacity providers in the capacity provider strategy with a weight value greater than zero"
BOTH = ["FARGATE", "FARGATE_SPOT"]


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"clusterName": "1a"}, "Cluster name contains invalid characters."),
        ({"clusterName": "a b"}, "Cluster name contains invalid characters."),
        ({"clusterName": "a\n"}, "Cluster name contains invalid characters."),
        ({"clusterName": "a" * 256}, "Cluster name contains invalid characters."),
        ({"clusterName": ARN + "a"}, "Cluster name contains invalid characters."),
        (
            {"settings": [{"name": "containerInsights", "value": "on"}]},
            "on should be one of [enabled,disabled,enhanced]",
        ),
        ({"settings": [{"name": "x", "value": "enabled"}]}, "x should be one of [containerInsights]"),
        (
            {"configuration": {"executeCommandConfiguration": {"logging": "OVERRIDE"}}},
            "A logConfiguration must be specified when logging is OVERRIDE.",
        ),
        (
            {"configuration": {"executeCommandConfiguration": {"logConfiguration": {"s3BucketName": "b"}}}},
            "A logConfiguration can only be specified when logging is OVERRIDE.",
        ),
        (
            {"capacityProviders": ["mine"]},
            "The specified capacity provider 'mine' was not found. Specify a valid name or ARN and try again.",
        ),
        ({"capacityProviders": ["FARGATE"] * 2}, "The specified capacity providers contain a duplicate."),
        ({"defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}, UNASSOCIATED),
        (
            {
                "capacityProviders": BOTH,
                "defaultCapacityProviderStrategy": [{"capacityProvider": p, "base": 1, "weight": 1} for p in BOTH],
            },
            BASES,
        ),
        (
            {
                "capacityProviders": BOTH,
                "defaultCapacityProviderStrategy": [{"capacityProvider": p, "weight": 0} for p in BOTH],
            },
            WEIGHTLESS,
        ),
        (
            {
                "capacityProviders": BOTH,
                "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1}] * 2,
            },
            "The specified capacity provider strategy contains a duplicate capacity provider.",
        ),
        (
            {
                "capacityProviders": ["FARGATE"],
                "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE"}] * 21,
            },
            "A capacity provider strategy can have at most 20 capacity providers.",
        ),
        (
            {"tags": [{"key": "a"}, {"key": "a"}]},
            "Duplicate tag keys found. Please note that tag keys are case sensitive.",
        ),
    ],
)
def test_what_is_refused_at_creation(ecs: Ecs, params: dict[str, Any], text: str) -> None:
    with ecs.refused("InvalidParameterException", text):
        ecs("CreateCluster", **params)


def test_more_than_twenty_capacity_providers_are_refused(ecs: Ecs) -> None:
    with ecs.refused("InvalidParameterException", "A cluster can have at most 20 capacity providers."):
        ecs("CreateCluster", capacityProviders=["FARGATE"] * 21)


def test_more_than_a_hundred_are_not_described(ecs: Ecs) -> None:
    with ecs.refused("InvalidParameterException"):
        ecs("DescribeClusters", clusters=[f"c{n}" for n in range(101)])


@pytest.mark.parametrize(
    ("arn", "text"),
    [
        (f"arn:aws:ecs:eu-west-1:{ACCOUNT}:cluster/a", "Invalid Region in ARN"),
        (f"arn:aws-cn:ecs:us-east-1:{ACCOUNT}:cluster/a", "Invalid Region in ARN"),
        (f"arn:aws:ecs:us-east-1:{ACCOUNT}:service/a/b", None),
        ("arn:aws:s3:::cluster/a", None),
        ("arn:", None),
    ],
)
def test_arns_of_other_things_are_refused(ecs: Ecs, arn: str, text: str | None) -> None:
    for call in ("DeleteCluster", "DescribeClusters"):
        with ecs.refused("InvalidParameterException", text):
            ecs(call, **({"cluster": arn} if call == "DeleteCluster" else {"clusters": [arn]}))


def test_tags_of_clusters(ecs: Ecs) -> None:
    ecs("CreateCluster", clusterName="a", tags=[{"key": "x", "value": "1"}, {"key": "y", "value": "2"}])
    ecs("TagResource", resourceArn=ARN + "a", tags=[{"key": "y", "value": "3"}, {"key": "Y", "value": "4"}])
    ecs("UntagResource", resourceArn=ARN + "a", tagKeys=["x", "never"])
    expected = [{"key": "y", "value": "3"}, {"key": "Y", "value": "4"}]
    assert ecs("ListTagsForResource", resourceArn=ARN + "a") == {"tags": expected}
    ecs("DeleteCluster", cluster="a")
    for call, members in (
        ("ListTagsForResource", {}),
        ("TagResource", {"tags": []}),
        ("UntagResource", {"tagKeys": []}),
    ):
        text = "The specified cluster is inactive. Specify an active cluster and try again."
        with ecs.refused("InvalidParameterException", text):
            ecs(call, resourceArn=ARN + "a", **members)
        with ecs.refused("ClusterNotFoundException"):
            ecs(call, resourceArn=ARN + "never", **members)
    with ecs.refused("InvalidParameterException"):
        ecs("TagResource", resourceArn="a", tags=[])


def test_tags_of_tasks_and_instances(ecs: Ecs) -> None:
    ecs.put(TASKS, task("t", TaskStatus.RUNNING))
    arn = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/web/t"
    ecs("TagResource", resourceArn=arn, tags=[{"key": "a", "value": "1"}])
    assert ecs("ListTagsForResource", resourceArn=arn) == {"tags": [{"key": "a", "value": "1"}]}
    for other in (arn.replace("/web/", "/other/"), arn + "x"):
        with ecs.refused("ResourceNotFoundException"):
            ecs("TagResource", resourceArn=other, tags=[])
        with ecs.refused("InvalidParameterException"):  # this operation has no other error for it
            ecs("ListTagsForResource", resourceArn=other)


def test_update_cluster_changes_what_is_given(ecs: Ecs) -> None:
    made = ecs("CreateCluster", **FULL)["cluster"]
    assert ecs("UpdateCluster", cluster="web")["cluster"] == made
    changed = ecs("UpdateCluster", cluster=ARN + "web", settings=[{"name": "containerInsights", "value": "enabled"}])
    assert changed["cluster"] == made | {"settings": [{"name": "containerInsights", "value": "enabled"}]}
    logging = {"executeCommandConfiguration": {"logging": "NONE"}}
    changed = ecs("UpdateCluster", cluster="web", configuration=logging, serviceConnectDefaults={"namespace": "m"})
    assert (changed["cluster"]["configuration"], changed["cluster"]["serviceConnectDefaults"]) == (
        logging,
        {"namespace": "m"},
    )
    changed = ecs("UpdateCluster", cluster="web", serviceConnectDefaults={"namespace": ""})
    assert "serviceConnectDefaults" not in changed["cluster"]
    assert changed["cluster"]["configuration"] == logging
    include = ["CONFIGURATIONS", "SETTINGS", "TAGS"]
    assert ecs("DescribeClusters", clusters=["web"], include=include)["clusters"] == [changed["cluster"]]


def test_update_cluster_refuses_what_create_cluster_refuses(ecs: Ecs) -> None:
    ecs("CreateCluster", clusterName="web")
    namespace = {"namespace": "arn:aws:servicediscovery:us-east-1:123456789012:namespace/ns-1"}
    for call, name in (("CreateCluster", "clusterName"), ("UpdateCluster", "cluster")):
        with ecs.refused("NamespaceNotFoundException"):
            ecs(call, **{name: "new" if call == "CreateCluster" else "web"}, serviceConnectDefaults=namespace)
    with ecs.refused("InvalidParameterException"):
        ecs("UpdateCluster", cluster="web", configuration={"executeCommandConfiguration": {"logging": "OVERRIDE"}})
    with ecs.refused("ClusterNotFoundException"):
        ecs("UpdateCluster", cluster="none")


def test_update_cluster_settings(ecs: Ecs) -> None:
    made = ecs("CreateCluster", **FULL)["cluster"]
    settings = [{"name": "containerInsights", "value": "disabled"}]
    assert ecs("UpdateClusterSettings", cluster="web", settings=settings)["cluster"] == made | {"settings": settings}
    for bad in ([], [{"name": "containerInsights", "value": "on"}], [{"value": "enabled"}]):
        with ecs.refused("InvalidParameterException"):
            ecs("UpdateClusterSettings", cluster="web", settings=bad)
    with ecs.refused("ClusterNotFoundException"):
        ecs("UpdateClusterSettings", cluster="none", settings=settings)
