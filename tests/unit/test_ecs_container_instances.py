"""Container instances: RegisterContainerInstance, Describe, List, Deregister and UpdateContainerInstancesState."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ecs_world import ACCOUNT, REGION, ROOT, SCOPE, World, node, play
from instance_world import (
    PORTS,
    ClusterAgent,
    described,
    joined,
    placed,
    record,
    registered,
    registration,
    resources,
    room,
    shown,
)

from homeport.services.ecs import identity
from homeport.services.ecs.instances import DEREGISTERED_REASON, KEPT_SECONDS
from homeport.services.ecs.model.instance import INSTANCES
from homeport.services.ecs.model.task import NodeStatus, TaskStatus

INVALID, CLIENT = "InvalidParameterException", "ClientException"
ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}:container-instance/demo/"
DOCUMENT = {
    "accountId": "999999999999",
    "architecture": "arm64",
    "availabilityZone": "eu-west-1c",
    "imageId": "ami-5fb8c835",
    "instanceId": "i-1234567890abcdef0",
    "instanceType": "t4g.micro",
    "region": "eu-west-1",
}


def values(view: dict[str, Any]) -> dict[str, str | None]:
    return {a["name"]: a.get("value") for a in view["attributes"]}


# --- registration ---------------------------------------------------------------------------------------------------


def test_a_new_instance_is_shown_in_full() -> None:
    async def scene(world: World) -> None:
        tags = [{"key": "team", "value": "a"}]
        made = await registered(world, tags=tags)
        arn = made["containerInstanceArn"]
        assert arn.startswith(ARN)
        assert len(arn.removeprefix(ARN)) == 32
        whole = {"doubleValue": 0.0, "longValue": 0, "integerValue": 0}
        full = [
            {**whole, "name": "CPU", "type": "INTEGER", "integerValue": 2048},
            {**whole, "name": "MEMORY", "type": "INTEGER", "integerValue": 4096},
            {**whole, "name": "PORTS", "type": "STRINGSET", "stringSetValue": PORTS},
            {**whole, "name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
        ]
        drawn = made.pop("ec2InstanceId")
        assert drawn.startswith("i-")
        assert len(drawn) == 19
        assert made == {
            "containerInstanceArn": arn,
            "version": 1,
            "versionInfo": registration()["versionInfo"],
            "registeredResources": full,
            "remainingResources": full,
            "status": "ACTIVE",
            "agentConnected": False,
            "runningTasksCount": 0,
            "pendingTasksCount": 0,
            "attributes": [{"name": "ecs.os-type", "value": "linux"}],
            "registeredAt": world.clock.wall(),
            "attachments": [],
            "tags": tags,
        }
        assert (await shown(world, arn))["tags"] == []
        assert (await shown(world, arn, include=["TAGS"]))["tags"] == tags
        assert (await world.call("ListTagsForResource", resourceArn=arn))["tags"] == tags

    play(scene)


def test_attributes_are_answered_as_they_were_sent() -> None:
    async def scene(world: World) -> None:
        sent = [
            {"name": "com.amazonaws.ecs.capability.docker-remote-api.1.44"},
            {"name": "ecs.capability.empty", "value": ""},
            {"name": "ecs.os-type", "value": "linux"},
            {"name": "stack", "value": "blue green"},
            {"name": "flag"},
        ]
        made = await registered(world, attributes=sent)
        assert made["attributes"] == sent
        # what was put meanwhile stays, and an agent that sends its custom attributes again gets them back
        arn = made["containerInstanceArn"]
        await world.call("PutAttributes", cluster="demo", attributes=[{"name": "put", "value": "1", "targetId": arn}])
        again = await registered(
            world, attributes=[*sent[:3], {"name": "stack", "value": "red"}], containerInstanceArn=arn
        )
        assert again["attributes"] == [
            *sent[:3],
            {"name": "stack", "value": "red"},
            sent[4],
            {"name": "put", "value": "1"},
        ]

    play(scene)


def test_an_identity_document_tells_what_ec2_knows() -> None:
    async def scene(world: World) -> None:
        made = await registered(
            world, instanceIdentityDocument=json.dumps(DOCUMENT), instanceIdentityDocumentSignature="x"
        )
        assert made["ec2InstanceId"] == DOCUMENT["instanceId"]
        assert values(made) == {
            "ecs.os-type": "linux",
            "ecs.availability-zone": "eu-west-1c",
            "ecs.instance-type": "t4g.micro",
            "ecs.ami-id": "ami-5fb8c835",
            "ecs.cpu-architecture": "arm64",
        }
        found = room(world, made["containerInstanceArn"])
        assert found is not None
        assert (found.zone, found.architecture) == ("eu-west-1c", "ARM64")
        # what the agent says itself comes first
        own = [{"name": "ecs.availability-zone", "value": "us-east-1b"}]
        other = await registered(world, instanceIdentityDocument=json.dumps(DOCUMENT), attributes=own)
        assert values(other)["ecs.availability-zone"] == "us-east-1b"
        for empty in ("", None):
            more = {} if empty is None else {"instanceIdentityDocument": empty}
            assert "ecs.instance-type" not in values(await registered(world, **more))

    play(scene)


@pytest.mark.parametrize(
    "document",
    [
        "no json",
        "[]",
        "7",
        "{}",
        '{"instanceId": "x"}',
        '{"instanceId": 7}',
        '{"instanceId": "i-1234567890abcdef0", "instanceType": 7}',
        json.dumps({**DOCUMENT, "imageId": "a" * 256}),
        "[" * 20_000,
        "[" * 10_000,
        json.dumps({**DOCUMENT, "padding": "x" * identity.MAX_DOCUMENT}),
    ],
)
def test_a_senseless_identity_document_is_refused(document: str) -> None:
    async def scene(world: World) -> None:
        params = registration(instanceIdentityDocument=document)
        assert (await world.refused("RegisterContainerInstance", **params))[0] == CLIENT

    play(scene)


def test_launch_types() -> None:
    async def scene(world: World) -> None:
        external = await registered(world, attributes=[{"name": "ecs.capability.external"}])
        assert external["ec2InstanceId"].startswith("mi-")
        found = room(world, external["containerInstanceArn"])
        assert found is not None
        assert (found.launch_type, record(world, found.arn).launch_type) == ("EXTERNAL", "EXTERNAL")
        ec2 = await registered(world)
        found = room(world, ec2["containerInstanceArn"])
        assert found is not None
        assert (found.launch_type, found.cluster) == ("EC2", f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/demo")

    play(scene)


def test_an_instance_shows_the_capacity_provider_of_its_group() -> None:
    async def scene(world: World) -> None:
        group = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:{'0' * 8}:autoScalingGroupName/blue"
        await world.call("CreateCapacityProvider", name="own", autoScalingGroupProvider={"autoScalingGroupArn": group})

        async def associate(*names: str) -> None:
            wanted = {"capacityProviders": list(names), "defaultCapacityProviderStrategy": []}
            await world.call("PutClusterCapacityProviders", cluster="demo", **wanted)

        in_group = [{"name": "homeport.auto-scaling-group", "value": "blue"}]
        early = (await registered(world, attributes=in_group))["containerInstanceArn"]
        assert "capacityProviderName" not in await shown(world, early)
        await associate("own")
        assert (await shown(world, early))["capacityProviderName"] == "own"
        assert (await registered(world, attributes=in_group))["capacityProviderName"] == "own"
        assert "capacityProviderName" not in await registered(world)
        await associate()
        assert "capacityProviderName" not in await shown(world, early)

    play(scene)


def test_registering_again_keeps_what_an_instance_is() -> None:
    async def scene(world: World) -> None:
        first = await registered(world, tags=[{"key": "a", "value": "1"}])
        arn = first["containerInstanceArn"]
        await placed(world, arn, "1")
        await world.call("UpdateContainerInstancesState", cluster="demo", containerInstances=[arn], status="DRAINING")
        again = await registered(
            world,
            containerInstanceArn=arn,
            totalResources=resources(CPU=128, MEMORY=8192),
            versionInfo={"agentVersion": "1.80.0"},
            tags=[{"key": "b", "value": "2"}],
        )
        for member in ("containerInstanceArn", "ec2InstanceId", "registeredAt", "tags"):
            assert again[member] == first[member]
        assert (again["status"], again["version"]) == ("DRAINING", 3)
        assert again["versionInfo"] == {"agentVersion": "1.80.0"}
        assert [r["integerValue"] for r in again["registeredResources"][:2]] == [128, 8192]
        assert [r["integerValue"] for r in again["remainingResources"][:2]] == [
            0,
            8192 - 512,
        ]  # with less than is taken
        found = room(world, arn)
        assert found is not None
        assert not found.open

    play(scene)


def test_what_an_instance_cannot_become() -> None:
    async def scene(world: World) -> None:
        await world.call("CreateCluster", clusterName="other")
        document = {"instanceIdentityDocument": json.dumps(DOCUMENT)}
        arn = (await registered(world, **document))["containerInstanceArn"]
        bigger = {"instanceIdentityDocument": json.dumps({**DOCUMENT, "instanceType": "t4g.large"})}
        for params, text in (
            (bigger, "Container instance type changes are not supported."),
            ({**document, "attributes": [{"name": "ecs.capability.external"}]}, "instance type changes"),
            ({**document, "cluster": "other"}, "Cluster not found."),
        ):
            refused = await world.refused(
                "RegisterContainerInstance", **registration(containerInstanceArn=arn, **params)
            )
            assert refused[0] == CLIENT
            assert text in refused[1]
        known = registration(containerInstanceArn=arn)
        assert (await world.refused("RegisterContainerInstance", node("n9"), **known))[0] == "AccessDeniedException"

    play(scene)


def test_a_repeated_registration_is_one() -> None:
    async def scene(world: World) -> None:
        first = await registered(world, clientToken="t-1")
        assert (await registered(world, clientToken="t-1"))["containerInstanceArn"] == first["containerInstanceArn"]
        assert (await registered(world, clientToken="t-2"))["containerInstanceArn"] != first["containerInstanceArn"]
        assert (await registered(world))["containerInstanceArn"] != first["containerInstanceArn"]
        await world.call("CreateCluster", clusterName="other")
        elsewhere = await registered(world, clientToken="t-1", cluster="other")
        assert elsewhere["containerInstanceArn"] != first["containerInstanceArn"]
        await world.call("DeregisterContainerInstance", cluster="demo", containerInstance=first["containerInstanceArn"])
        assert (await registered(world, clientToken="t-1"))["containerInstanceArn"] != first["containerInstanceArn"]
        for token in ("x" * 65, "a b", "é"):
            assert (await world.refused("RegisterContainerInstance", **registration(clientToken=token)))[0] == INVALID

    play(scene)


def test_a_registration_that_arrives_late_stops_nothing() -> None:
    """The first attempt of an agent that gave it up, and is registered by its second by now."""

    async def scene(world: World) -> None:
        agent = ClusterAgent(world, "n1")
        ours = {"agentVersion": "1.0.0", "agentHash": "homeport-1.0.0-0123456789abcdef"}
        await agent.join(clientToken="t-2", versionInfo=ours)
        arn, task = agent.arn, await placed(world, agent.arn, "1")
        agent.arn = ""
        await agent.join(clientToken="t-1", versionInfo=ours)
        assert agent.arn == arn
        assert world.task(task).desired_status == "RUNNING"
        agent.arn = ""
        await agent.join(clientToken="t-3", versionInfo={**ours, "agentHash": "homeport-1.0.0-0000000000000000"})
        assert world.task(task).desired_status == "STOPPED"

    play(scene)


def test_a_repeated_registration_stops_nothing() -> None:
    """A node that has lost its state is one that starts: its token is another."""

    async def scene(world: World) -> None:
        agent = ClusterAgent(world, "n1")
        await agent.join(clientToken="t-1")
        arn, task = agent.arn, await placed(world, agent.arn, "1")
        agent.arn = ""
        await agent.join(clientToken="t-1")
        assert agent.arn == arn
        assert world.task(task).desired_status == "RUNNING"
        agent.arn = ""
        await agent.join(clientToken="t-2")
        assert agent.arn == arn
        assert world.task(task).desired_status == "STOPPED"

    play(scene)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"cluster": "nowhere"}, "ClusterNotFoundException"),
        ({"containerInstanceArn": ARN + "0" * 32}, CLIENT),
        ({"totalResources": []}, INVALID),
        ({"totalResources": [*resources(), *resources()]}, INVALID),
        (
            {"totalResources": [*resources()[:2], {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["x"]}]},
            INVALID,
        ),
        (
            {"totalResources": [*resources()[:2], {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["70000"]}]},
            INVALID,
        ),
        ({"totalResources": resources(CPU=-1)}, INVALID),
        ({"totalResources": [*resources(), *({"name": f"r{n}"} for n in range(50))]}, INVALID),
        ({"attributes": [{"name": f"a{n}"} for n in range(11)]}, INVALID),
        ({"attributes": [{"name": "no spaces"}]}, INVALID),
        ({"attributes": [{"name": "stack", "value": "a,b"}]}, INVALID),
        ({"tags": [{"key": "aws:x", "value": ""}]}, INVALID),
    ],
)
def test_senseless_registrations(params: dict[str, Any], code: str) -> None:
    async def scene(world: World) -> None:
        assert (await world.refused("RegisterContainerInstance", **registration(**params)))[0] == code

    play(scene)


# --- describing and listing -----------------------------------------------------------------------------------------


def test_an_instance_shows_what_its_tasks_take() -> None:
    async def scene(world: World) -> None:
        arn = (await registered(world))["containerInstanceArn"]
        await placed(world, arn, "1", tcp=(80, 443), udp=(53,))
        await placed(
            world, arn, "2", last_status=TaskStatus.PENDING, node_status=NodeStatus.HANDED, desired_status="RUNNING"
        )
        await placed(world, arn, "3", last_status=TaskStatus.STOPPING, desired_status="STOPPED")
        view = await shown(world, arn)
        assert (view["runningTasksCount"], view["pendingTasksCount"]) == (1, 1)
        left = {r["name"]: r.get("stringSetValue", r["integerValue"]) for r in view["remainingResources"]}
        ports = ["22", "80", "443", "2375", "2376", "51678", "51679"]
        assert left == {"CPU": 2048 - 768, "MEMORY": 4096 - 1536, "PORTS": ports, "PORTS_UDP": ["53"]}
        had = {r["name"]: r.get("stringSetValue", r["integerValue"]) for r in view["registeredResources"]}
        assert had == {"CPU": 2048, "MEMORY": 4096, "PORTS": PORTS, "PORTS_UDP": []}

    play(scene)


def test_gpus_are_a_resource() -> None:
    async def scene(world: World) -> None:
        devices = [{"id": f"GPU-{n}", "type": "GPU"} for n in range(2)]
        arn = (await registered(world, platformDevices=devices))["containerInstanceArn"]
        await placed(world, arn, "1", gpus=("GPU-0",))
        view = await shown(world, arn)
        gpus = [
            (r[-1]["name"], r[-1]["stringSetValue"]) for r in (view["registeredResources"], view["remainingResources"])
        ]
        assert gpus == [("GPU", ["GPU-0", "GPU-1"]), ("GPU", ["GPU-1"])]

    play(scene)


def test_describe_finds_by_id_and_arn_and_says_what_is_missing() -> None:
    async def scene(world: World) -> None:
        await world.call("CreateCluster", clusterName="other")
        one, two = [(await registered(world))["containerInstanceArn"] for _ in range(2)]
        elsewhere = (await registered(world, cluster="other"))["containerInstanceArn"]
        id = two.rpartition("/")[2]
        answer = await described(world, one, id, two, "0" * 32, elsewhere, one.replace(ACCOUNT, "999999999999"))
        assert [i["containerInstanceArn"] for i in answer["containerInstances"]] == [one, two]
        missing = [ARN + "0" * 32, elsewhere, one.replace(ACCOUNT, "999999999999")]
        assert answer["failures"] == [{"arn": arn, "reason": "MISSING"} for arn in missing]
        for bad in ([], [str(n) for n in range(101)], [f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/demo/1"]):
            refused = await world.refused("DescribeContainerInstances", cluster="demo", containerInstances=bad)
            assert refused[0] == INVALID
        refused = await world.refused("DescribeContainerInstances", cluster="nowhere", containerInstances=["x"])
        assert refused[0] == "ClusterNotFoundException"

    play(scene)


def test_fargates_nodes_are_nobodys_to_see() -> None:
    async def scene(world: World) -> None:
        agent = ClusterAgent(world, "n1")
        await agent.register()
        assert (await described(world, agent.arn))["failures"] == [{"arn": agent.arn, "reason": "MISSING"}]
        assert (await world.call("ListContainerInstances", cluster="demo"))["containerInstanceArns"] == []
        for name in ("DeregisterContainerInstance", "UpdateContainerAgent"):
            assert (await world.refused(name, cluster="demo", containerInstance=agent.arn))[0] == INVALID

    play(scene)


def test_lists_by_status_and_filter_and_in_pages() -> None:
    async def scene(world: World) -> None:
        arns = [(await registered(world))["containerInstanceArn"] for _ in range(5)]
        arns.sort()
        await placed(world, arns[2], "1", group="database")
        await world.call("DeregisterContainerInstance", cluster="demo", containerInstance=arns[0])
        await world.call(
            "UpdateContainerInstancesState", cluster="demo", containerInstances=[arns[1]], status="DRAINING"
        )
        blue = [{"name": "stack", "value": "blue", "targetId": arns[3]}]
        await world.call("PutAttributes", cluster="demo", attributes=blue)

        async def listed(**params: Any) -> list[str]:
            return (await world.call("ListContainerInstances", cluster="demo", **params))["containerInstanceArns"]

        assert await listed() == arns[1:]
        assert await listed(status="DRAINING") == [arns[1]]
        assert await listed(status="ACTIVE") == arns[2:]
        assert await listed(status="REGISTERING") == []
        assert await listed(filter="attribute:stack == blue") == [arns[3]]
        assert await listed(filter="not(task:group == database)", status="ACTIVE") == arns[3:]
        assert await listed(filter="runningTasksCount > 0") == [arns[2]]
        assert await listed(filter=f"ec2InstanceId == {record(world, arns[4]).ec2_instance_id}") == [arns[4]]
        assert await listed(filter="agentConnected == true") == []
        assert await listed(filter="") == arns[1:]
        first = await world.call("ListContainerInstances", cluster="demo", maxResults=3)
        assert first["containerInstanceArns"] == arns[1:4]
        rest = await world.call("ListContainerInstances", cluster="demo", maxResults=3, nextToken=first["nextToken"])
        assert rest == {"containerInstanceArns": arns[4:]}
        for bad in ({"filter": "attribute:"}, {"maxResults": 0}, {"maxResults": 101}, {"nextToken": "x"}):
            assert (await world.refused("ListContainerInstances", cluster="demo", **bad))[0] == INVALID
        other = {"nextToken": first["nextToken"], "filter": "agentConnected == true"}
        assert (await world.refused("ListContainerInstances", cluster="demo", **other))[0] == INVALID

    play(scene)


def test_clusters_count_their_instances_and_tasks() -> None:
    async def scene(world: World) -> None:
        external = (await registered(world, attributes=[{"name": "ecs.capability.external"}]))["containerInstanceArn"]
        ec2 = (await registered(world))["containerInstanceArn"]
        await placed(world, ec2, "1")
        await placed(world, ec2, "2", last_status=TaskStatus.PENDING, node_status=NodeStatus.HANDED)
        await placed(world, external, "3", launch_type="EXTERNAL")
        await world.call("UpdateContainerInstancesState", cluster="demo", containerInstances=[ec2], status="DRAINING")
        (cluster,) = (await world.call("DescribeClusters", clusters=["demo"], include=["STATISTICS"]))["clusters"]
        counted = ("registeredContainerInstancesCount", "runningTasksCount", "pendingTasksCount")
        assert [cluster[member] for member in counted] == [2, 2, 1]
        told = {s["name"]: s["value"] for s in cluster["statistics"]}
        assert (told["runningEC2TasksCount"], told["pendingEC2TasksCount"], told["runningExternalTasksCount"]) == (
            "1",
            "1",
            "1",
        )
        refused = await world.refused("DeleteCluster", cluster="demo")
        assert refused[0] == "ClusterContainsContainerInstancesException"
        for arn in (ec2, external):
            await world.call("DeregisterContainerInstance", cluster="demo", containerInstance=arn, force=True)
        (cluster,) = (await world.call("DescribeClusters", clusters=["demo"]))["clusters"]
        assert cluster["registeredContainerInstancesCount"] == 0
        await world.becomes(cluster["clusterArn"].replace(":cluster/", ":task/") + "/" + "3".rjust(32, "0"), "STOPPED")
        await world.call("DeleteCluster", cluster="demo")
        await world.clock.sleep(1)
        await world.call("CreateCluster", clusterName="demo")
        assert (await described(world, ec2))["failures"] == [{"arn": ec2, "reason": "MISSING"}]  # it was the other's

    play(scene)


# --- deregistration -------------------------------------------------------------------------------------------------


def test_deregistration_needs_force_while_something_runs() -> None:
    async def scene(world: World) -> None:
        arn = (await registered(world, tags=[{"key": "a", "value": "1"}]))["containerInstanceArn"]
        task = await placed(world, arn, "1", tcp=(80,))
        refused = await world.refused("DeregisterContainerInstance", cluster="demo", containerInstance=arn)
        assert refused == (INVALID, "Found running tasks on the instance.")
        gone = await world.call("DeregisterContainerInstance", cluster="demo", containerInstance=arn, force=True)
        view = gone["containerInstance"]
        assert (view["status"], view["agentConnected"], view["tags"], view["runningTasksCount"]) == (
            "INACTIVE",
            False,
            [],
            0,
        )
        assert view["remainingResources"] == view["registeredResources"]
        assert room(world, arn) is None
        ended = await world.becomes(task, "STOPPED")
        assert (ended["stopCode"], ended["stoppedReason"]) == ("UserInitiated", DEREGISTERED_REASON)
        assert ended["containerInstanceArn"] == arn
        assert not world.task(task).charged
        refused = await world.refused("DeregisterContainerInstance", cluster="demo", containerInstance=arn, force=True)
        assert refused[0] == INVALID
        missing = await world.refused("DeregisterContainerInstance", cluster="demo", containerInstance="0" * 32)
        assert missing == (INVALID, "The referenced container instance was not found.")

    play(scene)


def test_a_deregistered_instance_is_forgotten_in_time() -> None:
    async def scene(world: World) -> None:
        arn = (await registered(world))["containerInstanceArn"]
        await world.call("DeregisterContainerInstance", cluster="demo", containerInstance=arn)
        await world.clock.sleep(KEPT_SECONDS - 60)
        assert (await shown(world, arn))["status"] == "INACTIVE"
        assert (await world.call("ListContainerInstances", cluster="demo"))["containerInstanceArns"] == []
        await world.clock.sleep(120)
        assert (await described(world, arn))["failures"] == [{"arn": arn, "reason": "MISSING"}]
        assert world.store.view().all(INSTANCES, SCOPE) == []

    play(scene)


def test_who_registers_after_deregistration_is_someone_new() -> None:
    async def scene(world: World) -> None:
        first = await registered(world)
        agent = ClusterAgent(world, "n1")
        await agent.join()
        of_node = agent.arn
        for arn in (first["containerInstanceArn"], of_node):
            await world.call("DeregisterContainerInstance", cluster="demo", containerInstance=arn)
        again = await registered(world, containerInstanceArn=first["containerInstanceArn"])
        await agent.join()
        assert again["containerInstanceArn"] != first["containerInstanceArn"]
        assert agent.arn != of_node
        assert len((await world.call("ListContainerInstances", cluster="demo"))["containerInstanceArns"]) == 2

    play(scene)


# --- draining, agents -----------------------------------------------------------------------------------------------


def test_a_draining_instance_takes_no_more_and_keeps_what_it_has() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        task = await placed(world, agent.arn, "1")

        async def set_to(status: str, *texts: str) -> dict[str, Any]:
            return await world.call(
                "UpdateContainerInstancesState", cluster="demo", containerInstances=list(texts), status=status
            )

        for status, taking in (("DRAINING", False), ("DRAINING", False), ("ACTIVE", True), ("DRAINING", False)):
            answer = await set_to(status, agent.arn)
            assert (answer["containerInstances"][0]["status"], answer["failures"]) == (status, [])
            found = room(world, agent.arn)
            assert found is not None
            assert (found.open, found.cpu_used) == (taking, 256)
        assert record(world, agent.arn).version == 4  # the same again is no change
        assert world.task(task).desired_status == "RUNNING"
        await agent.hang_up()
        await agent.join()
        await agent.connect()
        found = room(world, agent.arn)
        assert found is not None
        assert (found.open, found.connected) == (False, True)
        assert (await shown(world, agent.arn))["status"] == "DRAINING"

    play(scene)


def test_a_node_drains_itself_and_no_other() -> None:
    async def scene(world: World) -> None:
        first, second = await joined(world, "first"), await joined(world, "second")
        params = {"cluster": "demo", "status": "DRAINING"}
        refused = await world.refused(
            "UpdateContainerInstancesState", node("first"), containerInstances=[first.arn, second.arn], **params
        )
        assert refused[0] == "AccessDeniedException"
        assert second.arn in refused[1]
        answer = await world.call(
            "UpdateContainerInstancesState", node("first"), containerInstances=[first.arn], **params
        )
        assert [i["status"] for i in answer["containerInstances"]] == ["DRAINING"]
        assert (await shown(world, second.arn))["status"] == "ACTIVE"

    play(scene)


def test_states_that_cannot_be_set() -> None:
    async def scene(world: World) -> None:
        gone, there = [(await registered(world))["containerInstanceArn"] for _ in range(2)]
        await world.call("DeregisterContainerInstance", cluster="demo", containerInstance=gone)
        answer = await world.call(
            "UpdateContainerInstancesState",
            cluster="demo",
            containerInstances=[gone, there, "0" * 32, there.rpartition("/")[2]],
            status="DRAINING",
        )
        assert [i["containerInstanceArn"] for i in answer["containerInstances"]] == [there]
        assert answer["failures"] == [{"arn": gone, "reason": "INACTIVE"}, {"arn": ARN + "0" * 32, "reason": "MISSING"}]
        for bad in (
            {"status": "DEREGISTERING"},
            {"containerInstances": []},
            {"containerInstances": [str(n) for n in range(11)]},
            {"cluster": "nowhere"},
        ):
            params = {"cluster": "demo", "containerInstances": [there], "status": "ACTIVE", **bad}
            code = (await world.refused("UpdateContainerInstancesState", **params))[0]
            assert code == ("ClusterNotFoundException" if "cluster" in bad else INVALID)

    play(scene)


def test_there_is_no_update_for_agents() -> None:
    async def scene(world: World) -> None:
        arn = (await registered(world))["containerInstanceArn"]
        unknown = (await registered(world, versionInfo={}))["containerInstanceArn"]
        for instance, code in (
            (arn, "NoUpdateAvailableException"),
            (unknown, "MissingVersionException"),
            ("0" * 32, INVALID),
        ):
            assert (await world.refused("UpdateContainerAgent", ROOT, cluster="demo", containerInstance=instance))[
                0
            ] == code

    play(scene)


@pytest.mark.parametrize(("cluster", "launch_type"), [("", "FARGATE"), ("arn:aws:ecs:us-east-1:1:cluster/a", "EC2")])
def test_records_of_before_launch_types_are_given_one(cluster: str, launch_type: str) -> None:
    assert INSTANCES.upgrades[1]({"cluster_arn": cluster})["launch_type"] == launch_type
    kept = {"cluster_arn": cluster, "launch_type": "EXTERNAL"}
    assert INSTANCES.upgrades[1](kept) == kept
