from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from ecs_calls import ACCOUNT, MODEL, Ecs, running

from homeport.core.errors import AwsError
from homeport.services.ecs import definitions
from homeport.services.ecs.model.definition import DEFINITIONS, FAMILIES, Family, TaskDefinition, definition_id
from homeport.store import Scope

ARN = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task-definition/"
SCOPE = Scope(ACCOUNT, "us-east-1")
CONTAINERS = [{"name": "c", "image": "i", "memory": 64}]


@pytest.fixture
def ecs() -> Iterator[Ecs]:
    with running() as ecs:
        yield ecs


def register(ecs: Ecs, family: str = "web", **params: Any) -> dict[str, Any]:
    return ecs("RegisterTaskDefinition", **{"family": family, "containerDefinitions": CONTAINERS, **params})


def listed(ecs: Ecs, **params: Any) -> list[str]:
    return [arn.removeprefix(ARN) for arn in ecs("ListTaskDefinitions", **params)["taskDefinitionArns"]]


def families(ecs: Ecs, **params: Any) -> list[str]:
    return list(ecs("ListTaskDefinitionFamilies", **params)["families"])


def found(ecs: Ecs, text: str) -> TaskDefinition:
    return definitions.find(ecs.store.view(), SCOPE, text)


def test_the_tutorials_definition(ecs: Ecs) -> None:
    command = ["/bin/sh -c \"echo '<html>' >  /usr/local/apache2/htdocs/index.html && httpd-foreground\""]
    container = {
        "name": "fargate-app",
        "image": "httpd:2.4",
        "portMappings": [{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}],
        "essential": True,
        "entryPoint": ["sh", "-c"],
        "command": command,
    }
    size = {"cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"]}
    answer = register(ecs, "sample-fargate", containerDefinitions=[container], **size)
    assert answer == {
        "taskDefinition": {
            **size,
            "taskDefinitionArn": f"{ARN}sample-fargate:1",
            "family": "sample-fargate",
            "revision": 1,
            "status": "ACTIVE",
            "containerDefinitions": [
                {
                    **container,
                    "cpu": 0,
                    "environment": [],
                    "mountPoints": [],
                    "volumesFrom": [],
                    "systemControls": [],
                }
            ],
            "volumes": [],
            "placementConstraints": [],
            "requiresAttributes": [
                {"name": "ecs.capability.task-eni"},
                {"name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"},
            ],
            "compatibilities": ["EC2", "MANAGED_INSTANCES", "FARGATE"],
            "registeredAt": ecs.clock.now,
            "registeredBy": f"arn:aws:iam::{ACCOUNT}:root",
        },
        "tags": [],
    }
    described = ecs("DescribeTaskDefinition", taskDefinition="sample-fargate")
    assert described == answer
    record = found(ecs, "sample-fargate")
    assert (definitions.task_cpu(record), definitions.task_memory(record)) == (256, 512)
    assert definitions.network_mode(record) == "awsvpc"
    assert [c["command"] for c in definitions.containers(record)] == [command]
    assert definitions.unsupported(record) is None


def sample(shape: Any, name: str = "") -> Any:
    """A value of the model's shape with every member, chosen so that ECS takes it."""
    if name in SAMPLES:
        return SAMPLES[name]
    match shape.type_name:
        case "structure":
            return {member: sample(of, member) for member, of in shape.members.items() if member not in LEFT_OUT}
        case "list":
            return [sample(shape.member)]
        case "map":
            return {"k": sample(shape.value)}
        case "boolean":
            return True
        case "integer":
            return 100
    return shape.enum[0] if shape.enum else "a"


LEFT_OUT = ("inferenceAccelerators", "containerPortRange", "sharingStrategy", "links", "volumesFrom", "dependsOn")
LEFT_OUT += ("host", "dockerVolumeConfiguration", "s3filesVolumeConfiguration", "configuredAtLaunch")
LEFT_OUT += ("fsxWindowsFileServerVolumeConfiguration", "ephemeralStorage", "placementConstraints")
SAMPLES: dict[str, Any] = {
    "cpu": 100,
    "credentialSpecs": ["a"],
    "environment": [{"name": "e", "value": "v"}],
    "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/f.env"}],
    "linuxParameters": {
        "capabilities": {"add": ["SYS_PTRACE"], "drop": ["CHOWN"]},
        "devices": [{"hostPath": "/dev/a", "containerPath": "/b", "permissions": ["read"]}],
        "initProcessEnabled": True,
        "sharedMemorySize": 64,
        "tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": ["ro"]}],
        "maxSwap": 10,
        "swappiness": 60,
    },
    "dockerSecurityOptions": ["no-new-privileges"],
    "systemControls": [{"namespace": "net.core.somaxconn", "value": "1"}],
    "resourceRequirements": [{"type": "GPU", "value": "1"}],
    "mountPoints": [{"sourceVolume": "a", "containerPath": "/a", "readOnly": True}],
    "retries": 3,
    "timeout": 5,
    "firelensConfiguration": {"type": "fluentd", "options": {"enable-ecs-log-metadata": "true"}},
    "logConfiguration": {
        "logDriver": "awsfirelens",
        "options": {"a": "b"},
        "secretOptions": [{"name": "o", "valueFrom": "p"}],
    },
    "rootDirectory": "/",
}


def test_every_member_is_kept_and_given_back(ecs: Ecs) -> None:
    shape = MODEL.operation_model("RegisterTaskDefinition").input_shape
    given = {**sample(shape), "cpu": "1024", "memory": "2048", "tags": [{"key": "k", "value": "v"}]}
    del given["proxyConfiguration"]  # awsvpc only; in the next test
    given["networkMode"], given["requiresCompatibilities"] = "bridge", ["EC2"]
    left = set(shape.members["containerDefinitions"].member.members) - set(given["containerDefinitions"][0])
    assert left == {"links", "volumesFrom", "dependsOn"}
    answer = register(ecs, **given)
    assert answer["tags"] == given.pop("tags")
    kept = answer["taskDefinition"]
    given["containerDefinitions"][0]["volumesFrom"] = []
    given["placementConstraints"] = []
    assert {member: kept[member] for member in given} == given
    again = ecs.restarted()("DescribeTaskDefinition", taskDefinition="a:1", include=["TAGS"])
    assert again == answer


def test_the_members_that_need_others(ecs: Ecs) -> None:
    given = {
        "networkMode": "awsvpc",
        "cpu": "1024",
        "memory": "2048",
        "requiresCompatibilities": ["FARGATE"],
        "ephemeralStorage": {"sizeInGiB": 30},
        "proxyConfiguration": {
            "type": "APPMESH",
            "containerName": "c",
            "properties": [{"name": "AppPorts", "value": "80"}],
        },
        "containerDefinitions": [
            {**CONTAINERS[0], "dependsOn": [{"containerName": "d", "condition": "START"}]},
            {"name": "d", "image": "i", "volumesFrom": []},
        ],
    }
    kept = register(ecs, **given)["taskDefinition"]
    assert kept["ephemeralStorage"] == given["ephemeralStorage"]
    assert kept["proxyConfiguration"] == given["proxyConfiguration"]
    assert kept["containerDefinitions"][0]["dependsOn"] == given["containerDefinitions"][0]["dependsOn"]


def test_a_revision_is_never_given_twice(ecs: Ecs) -> None:
    assert [register(ecs)["taskDefinition"]["revision"] for _ in range(3)] == [1, 2, 3]
    ecs("DeregisterTaskDefinition", taskDefinition="web:3")
    assert register(ecs)["taskDefinition"]["revision"] == 4
    # As when revisions are deleted: their records go, the family's stays.
    for revision in range(1, 5):
        ecs.delete(DEFINITIONS, definition_id("web", revision))
    assert register(ecs.restarted())["taskDefinition"]["revision"] == 5


def test_a_family_ends_at_a_million(ecs: Ecs) -> None:
    ecs.put(FAMILIES, Family(name="web", highest_revision=1_000_000, newest_active=None))
    with ecs.refused("LimitExceededException"):
        register(ecs)


def test_a_refused_definition_takes_no_revision(ecs: Ecs) -> None:
    with ecs.refused("ClientException", "Container list cannot be empty."):
        register(ecs, containerDefinitions=[])
    with ecs.refused("InvalidParameterException"):
        register(ecs, tags=[{"key": "aws:x", "value": ""}])
    assert families(ecs) == []
    assert register(ecs)["taskDefinition"]["revision"] == 1


def test_a_definition_is_found_by_family_revision_or_arn(ecs: Ecs) -> None:
    for _ in range(3):
        register(ecs)
    ecs("DeregisterTaskDefinition", taskDefinition="web:3")
    texts = ["web", "web:1", "web:01", f"{ARN}web:3", f"{ARN}web"]
    assert [found(ecs, text).revision for text in texts] == [2, 1, 1, 3, 2]
    for text in ("other", "web:4", "arn:aws:ecs:us-east-1:999999999999:task-definition/web:1"):
        with ecs.refused("ClientException", "Unable to describe task definition."):
            ecs("DescribeTaskDefinition", taskDefinition=text)
        with pytest.raises(AwsError, match=r"^\('ClientException', 'TaskDefinition not found.'\)"):
            found(ecs, text)
    definitions.require_active(found(ecs, "web:2"))
    with pytest.raises(AwsError, match="TaskDefinition is inactive"):
        definitions.require_active(found(ecs, "web:3"))


@pytest.mark.parametrize("number", ["", "x", "0", "-1", "1:2", "1000001", "9" * 50, "٣"])
def test_revisions_are_numbers(ecs: Ecs, number: str) -> None:
    for call in ("DescribeTaskDefinition", "DeregisterTaskDefinition"):
        with ecs.refused("InvalidParameterException", f"Invalid revision number. Number: {number}"):
            ecs(call, taskDefinition=f"web:{number}")


def test_arns_of_other_things_are_refused(ecs: Ecs) -> None:
    with ecs.refused("InvalidParameterException", "Invalid Region in ARN"):
        ecs("DescribeTaskDefinition", taskDefinition=f"arn:aws:ecs:eu-west-1:{ACCOUNT}:task-definition/web:1")
    with ecs.refused("InvalidParameterException"):
        ecs("DescribeTaskDefinition", taskDefinition=f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/web")


def test_deregistering(ecs: Ecs) -> None:
    register(ecs)
    register(ecs)
    ecs.clock.now += 5
    gone = ecs("DeregisterTaskDefinition", taskDefinition=f"{ARN}web:2")["taskDefinition"]
    assert (gone["status"], gone["deregisteredAt"], gone["revision"]) == ("INACTIVE", ecs.clock.now, 2)
    assert ecs("DescribeTaskDefinition", taskDefinition="web:2")["taskDefinition"] == gone
    with ecs.refused("ClientException", "The specified task definition is inactive."):
        ecs("DeregisterTaskDefinition", taskDefinition="web:2")
    with ecs.refused("ClientException"):
        ecs("DeregisterTaskDefinition", taskDefinition="web")
    with ecs.refused("ClientException"):
        ecs("DeregisterTaskDefinition", taskDefinition="web:9")
    assert ecs("DescribeTaskDefinition", taskDefinition="web")["taskDefinition"]["revision"] == 1
    ecs("DeregisterTaskDefinition", taskDefinition="web:1")
    with ecs.refused("ClientException", "Unable to describe task definition."):
        ecs("DescribeTaskDefinition", taskDefinition="web")
    assert register(ecs)["taskDefinition"]["revision"] == 3
    assert ecs("DescribeTaskDefinition", taskDefinition="web")["taskDefinition"]["revision"] == 3


def test_lists_of_definitions(ecs: Ecs) -> None:
    for family in ("a_b", "a", "a-b", "B"):
        register(ecs, family)
    for _ in range(10):
        register(ecs, "a")
    ecs("DeregisterTaskDefinition", taskDefinition="a:4")
    a = [f"a:{n}" for n in range(1, 12) if n != 4]
    everything = ["B:1", *a, "a-b:1", "a_b:1"]
    assert listed(ecs) == listed(ecs, status="ACTIVE", sort="ASC") == everything
    assert listed(ecs, sort="DESC") == everything[::-1]
    assert listed(ecs, familyPrefix="a") == a
    assert listed(ecs, familyPrefix="a", sort="DESC", maxResults=2) == ["a:11", "a:10"]
    assert listed(ecs, status="INACTIVE") == ["a:4"]
    assert listed(ecs, status="DELETE_IN_PROGRESS") == listed(ecs, familyPrefix="A") == []


@pytest.mark.parametrize("sort", ["ASC", "DESC"])
def test_pages_of_definitions_miss_and_repeat_nothing(ecs: Ecs, sort: str) -> None:
    for family in ("a", "b", "b-c"):
        for _ in range(4):
            register(ecs, family)
    seen: list[str] = []
    page: dict[str, Any] = {"nextToken": None}
    while "nextToken" in page:
        token = {"nextToken": page["nextToken"]} if page["nextToken"] else {}
        page = ecs("ListTaskDefinitions", sort=sort, maxResults=5, **token)
        seen += page["taskDefinitionArns"]
        # What comes before the token's key doesn't move the pages.
        register(ecs, "a" if sort == "ASC" else "z")
    everything = [f"{ARN}{family}:{n}" for family in ("a", "b", "b-c") for n in range(1, 5)]
    assert seen == (everything if sort == "ASC" else everything[::-1])
    token = ecs("ListTaskDefinitions", sort=sort, maxResults=5)["nextToken"]
    with ecs.refused("InvalidParameterException", "Invalid token"):
        ecs("ListTaskDefinitions", maxResults=5, nextToken=token, sort="DESC" if sort == "ASC" else "ASC")


def test_lists_of_families(ecs: Ecs) -> None:
    for family in ("web", "web-2", "db"):
        register(ecs, family)
    register(ecs, "db")
    ecs("DeregisterTaskDefinition", taskDefinition="web:1")
    ecs("DeregisterTaskDefinition", taskDefinition="db:1")
    ecs.put(FAMILIES, Family(name="deleted", highest_revision=3, newest_active=None))
    assert families(ecs) == families(ecs, status="ALL") == ["db", "web", "web-2"]
    assert families(ecs, status="ACTIVE") == ["db", "web-2"]
    assert families(ecs, status="INACTIVE") == ["web"]
    assert families(ecs, familyPrefix="we") == ["web", "web-2"]
    first = ecs("ListTaskDefinitionFamilies", maxResults=2)
    assert first["families"] == ["db", "web"]
    assert families(ecs, maxResults=2, nextToken=first["nextToken"]) == ["web-2"]


def test_accounts_and_regions_have_their_own(ecs: Ecs) -> None:
    register(ecs)
    assert register(ecs, region="eu-west-1")["taskDefinition"]["revision"] == 1
    assert register(ecs, account="999999999999")["taskDefinition"]["revision"] == 1
    assert ecs("ListTaskDefinitions", region="us-west-2") == {"taskDefinitionArns": []}


def test_tags_of_definitions(ecs: Ecs) -> None:
    register(ecs, tags=[{"key": "a", "value": "1"}])
    ecs("TagResource", resourceArn=f"{ARN}web:1", tags=[{"key": "b", "value": "2"}])
    both = [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]
    assert ecs("ListTagsForResource", resourceArn=f"{ARN}web:1") == {"tags": both}
    assert ecs("DescribeTaskDefinition", taskDefinition="web", include=["TAGS"])["tags"] == both
    assert ecs("DescribeTaskDefinition", taskDefinition="web")["tags"] == []
    ecs("UntagResource", resourceArn=f"{ARN}web:1", tagKeys=["a"])
    assert ecs("ListTagsForResource", resourceArn=f"{ARN}web:1") == {"tags": both[1:]}
    for nothing in (f"{ARN}web:2", f"arn:aws:ecs:us-east-1:9{ACCOUNT[1:]}:task-definition/web:1"):
        with ecs.refused("InvalidParameterException"):
            ecs("ListTagsForResource", resourceArn=nothing)
        with ecs.refused("ResourceNotFoundException"):
            ecs("UntagResource", resourceArn=nothing, tagKeys=["a"])


def test_one_that_is_being_deleted_can_be_described(ecs: Ecs) -> None:
    register(ecs)
    ecs.put(
        DEFINITIONS, msgspec.structs.replace(found(ecs, "web:1"), status="DELETE_IN_PROGRESS", delete_requested_at=7.5)
    )
    described = ecs("DescribeTaskDefinition", taskDefinition="web:1")["taskDefinition"]
    assert (described["status"], described["deleteRequestedAt"]) == ("DELETE_IN_PROGRESS", 7.5)
    assert listed(ecs, status="DELETE_IN_PROGRESS") == ["web:1"]


def test_what_is_stored_is_plain_json(ecs: Ecs) -> None:
    register(ecs, tags=[{"key": "a", "value": "1"}])
    (body,) = (json.loads(row) for key, (_, row) in ecs.journal.rows.items() if key.kind == "task-definition")
    assert body["members"]["containerDefinitions"][0]["image"] == "i"
    assert "tags" not in body["members"]
