"""RunTask and StartTask on container instances, as their callers and agents see them."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_world import World, play
from launch_world import CLUSTER, arns, bridge, instance, reasons, room, run

INVALID = "InvalidParameterException"


def test_a_task_lives_and_gives_its_room_back() -> None:
    async def scene(world: World) -> None:
        agent = await instance(world, **{"ecs.availability-zone": "us-east-1b"})
        await bridge(world, container={"portMappings": [{"containerPort": 80, "hostPort": 8080}]})
        answer = await run(world, group="g", startedBy="me", enableECSManagedTags=True)
        [task] = answer["tasks"]
        expected = {
            "launchType": "EC2",
            "lastStatus": "PENDING",
            "containerInstanceArn": agent.arn,
            "cpu": "256",
            "memory": "512",
            "group": "g",
            "startedBy": "me",
            "availabilityZone": "us-east-1b",
            "connectivity": "CONNECTED",
            "attachments": [],
            "tags": [{"key": "aws:ecs:clusterName", "value": "demo"}],
        }
        assert {m: task[m] for m in expected} == expected
        assert "platformVersion" not in task
        assert "ephemeralStorage" not in task
        taken = room(world, agent)
        assert (taken.cpu_used, taken.memory_used, taken.tcp, taken.tasks) == (256, 512, (22, 8080), 1)
        arn = task["taskArn"]
        await agent.sent(arn, "RUNNING")
        await agent.report(arn, "RUNNING", {"status": "RUNNING", "runtimeId": "r"})
        await world.becomes(arn, "RUNNING")
        assert reasons(await run(world)) == ["RESOURCE:PORTS"]
        await world.call("StopTask", cluster="demo", task=arn)
        await agent.sent(arn, "STOPPED")
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 0})
        await world.becomes(arn, "STOPPED")
        assert await world.statuses(arn) == ["PENDING", "RUNNING", "DEACTIVATING", "STOPPING", "STOPPED"]
        # as soon as it is seen STOPPED, its port is there for the next
        assert reasons(await run(world)) == []

    play(scene)


def test_an_awsvpc_task_takes_an_interface() -> None:
    async def scene(world: World) -> None:
        agent = await instance(world, **{"homeport.max-interfaces": "1"})
        await bridge(world, "vpc", networkMode="awsvpc")
        answer = await run(world, "vpc", count=2, networkConfiguration=world.network())
        [task] = answer["tasks"]
        assert answer["failures"] == [{"arn": agent.arn, "reason": "RESOURCE:ENI"}]
        assert (task["lastStatus"], len(task["attachments"])) == ("PROVISIONING", 1)
        assert room(world, agent).interfaces_used == 1
        refused = await world.refused(
            "RunTask", cluster="demo", taskDefinition="vpc", networkConfiguration=world.network(public=True)
        )
        assert refused == (INVALID, "Assign public IP is not supported for this launch type.")

    play(scene)


def test_what_instances_refuse_is_said_of_each() -> None:
    async def scene(world: World) -> None:
        small = await instance(world, "small", cpu=300)
        other = await instance(world, "other", cpu=1024, memory=700)
        away = await instance(world, "away", cpu=8192)
        await away.hang_up()
        await bridge(world, container={"cpu": 256, "memory": 300})
        answer = await run(world, count=10)
        assert len(answer["tasks"]) == 3
        assert {f["arn"]: f["reason"] for f in answer["failures"]} == {
            small.arn: "RESOURCE:CPU",
            other.arn: "RESOURCE:MEMORY",
            away.arn: "AGENT",
        }
        assert len(answer["failures"]) == 3

    play(scene)


def test_constraints_of_the_definition_and_the_call_bind_and_strategies_choose() -> None:
    async def scene(world: World) -> None:
        a = await instance(world, "a", rack="1", disk="ssd")
        b = await instance(world, "b", rack="2", disk="ssd", cpu=1024)
        await instance(world, "c", rack="3", disk="hdd")
        await bridge(world, placementConstraints=[{"type": "memberOf", "expression": "attribute:disk == ssd"}])
        spread = [{"type": "spread", "field": "attribute:rack"}]
        answer = await run(world, count=4, placementStrategy=spread)
        placed = [t["containerInstanceArn"] for t in answer["tasks"]]
        assert sorted(placed) == sorted([a.arn, a.arn, b.arn, b.arn])
        binpack = [{"type": "binpack", "field": "cpu"}]
        answer = await run(world, count=2, placementStrategy=binpack)
        assert [t["containerInstanceArn"] for t in answer["tasks"]] == [b.arn, b.arn]
        rack = [{"type": "memberOf", "expression": "attribute:rack == 9"}]
        nowhere = await run(world, placementConstraints=rack)
        assert nowhere["tasks"] == []
        assert set(reasons(nowhere)) == {"MemberOf placement constraint unsatisfied.", "RESOURCE:CPU"}
        distinct = await run(world, count=3, group="apart", placementConstraints=[{"type": "distinctInstance"}])
        assert len({t["containerInstanceArn"] for t in distinct["tasks"]}) == len(distinct["tasks"]) == 1
        assert set(reasons(distinct)) == {
            "DistinctInstance placement constraint unsatisfied",
            "MemberOf placement constraint unsatisfied.",
            "RESOURCE:CPU",
        }

    play(scene)


def member_of(expression: str = "attribute:x exists") -> dict[str, Any]:
    return {"type": "memberOf", "expression": expression}


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"launchType": "EXTERNAL"}, INVALID, "No Container Instances were found in your cluster."),
    ({"launchType": "MANAGED_INSTANCES"}, "UnsupportedFeatureException", "Managed Instances"),
    ({"launchType": "FARGATE"}, INVALID, "Task definition does not support launch_type FARGATE."),
    ({"platformVersion": "1.4.0"}, INVALID, "The platform version must be null"),
    ({"placementConstraints": [member_of()] * 11}, INVALID, "Maximum number of constraints is 10"),
    ({"placementConstraints": [{"type": "memberOf"}]}, INVALID, "memberOf expression should be specified"),
    ({"placementConstraints": [member_of("attribute:x ===")]}, INVALID, ""),
    (
        {"placementConstraints": [{"type": "distinctInstance", "expression": "attribute:x exists"}]},
        INVALID,
        "distinctInstance expression should not be specified",
    ),
    ({"placementConstraints": [{}]}, INVALID, "must have a type"),
    ({"placementStrategy": [{"type": "random"}] * 6}, INVALID, "Maximum number of strategies is 5"),
    ({"placementStrategy": [{"type": "random", "field": "cpu"}]}, INVALID, "random placement strategy field"),
    ({"placementStrategy": [{"type": "binpack", "field": "disk"}]}, INVALID, "must be cpu or memory"),
    ({"placementStrategy": [{"type": "spread", "field": "attribute:"}]}, INVALID, "instanceId, host, or attribute:"),
    ({"placementStrategy": [{}]}, INVALID, "must have a type"),
    ({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["s"]}}}, INVALID, "Network Configuration is not"),
    ({"overrides": {"ephemeralStorage": {"sizeInGiB": 30}}}, INVALID, "only supported for tasks on Fargate"),
    ({"capacityProviderStrategy": [{"capacityProvider": "own"}]}, INVALID, "not associated with the cluster"),
]


@pytest.mark.parametrize(("change", "code", "text"), BAD)
def test_what_is_refused(change: dict[str, Any], code: str, text: str) -> None:
    async def scene(world: World) -> None:
        await instance(world)
        await bridge(world)
        refused = await world.refused("RunTask", cluster="demo", taskDefinition="bridge", **change)
        assert refused[0] == code
        assert text in refused[1]

    play(scene)


def test_a_cluster_without_instances_of_the_launch_type() -> None:
    async def scene(world: World) -> None:
        await bridge(world)
        params = {"cluster": "demo", "taskDefinition": "bridge"}
        nobody = (INVALID, "No Container Instances were found in your cluster.")
        assert await world.refused("RunTask", **params) == nobody
        await instance(world, **{"ecs.capability.external": ""})
        assert await world.refused("RunTask", **params) == nobody
        [task] = (await run(world, launchType="EXTERNAL"))["tasks"]
        assert task["launchType"] == "EXTERNAL"

    play(scene)


def test_overrides_change_what_a_task_takes() -> None:
    async def scene(world: World) -> None:
        agent = await instance(world)
        await bridge(world, container={"memory": 512, "memoryReservation": 128})
        await run(world)
        assert (room(world, agent).cpu_used, room(world, agent).memory_used) == (256, 128)
        await run(world, overrides={"containerOverrides": [{"name": "app", "cpu": 512, "memoryReservation": 256}]})
        assert (room(world, agent).cpu_used, room(world, agent).memory_used) == (768, 384)
        await run(world, overrides={"cpu": "1024", "memory": "1024"})
        assert (room(world, agent).cpu_used, room(world, agent).memory_used) == (1792, 1408)

    play(scene)


def test_all_ports_of_the_host_mode_are_taken() -> None:
    async def scene(world: World) -> None:
        agent = await instance(world)
        ports = [{"containerPort": 53, "protocol": "udp"}, {"containerPort": 80}]
        await bridge(world, networkMode="host", container={"portMappings": ports})
        answer = await run(world, count=2)
        assert (len(answer["tasks"]), reasons(answer)) == (1, ["RESOURCE:PORTS"])
        assert (room(world, agent).tcp, room(world, agent).udp) == ((22, 80), (53,))

    play(scene)


def test_dynamic_ports_are_left_to_the_node() -> None:
    async def scene(world: World) -> None:
        agent = await instance(world)
        await bridge(world, container={"portMappings": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 0}]})
        assert len((await run(world, count=3))["tasks"]) == 3
        assert room(world, agent).tcp == (22,)

    play(scene)


# --- StartTask -------------------------------------------------------------------------------------------------------


def test_tasks_start_where_the_caller_says() -> None:
    async def scene(world: World) -> None:
        a, b = await instance(world, "a"), await instance(world, "b", cpu=100)
        # a constraint that nobody satisfies isn't asked
        await bridge(world, placementConstraints=[member_of("attribute:none exists")])
        missing = CLUSTER.replace(":cluster/", ":container-instance/") + "/" + "0" * 32
        asked = [a.arn, a.arn.rpartition("/")[2], b.arn, "0" * 32]
        answer = await world.call("StartTask", cluster="demo", taskDefinition="bridge", containerInstances=asked)
        assert [t["containerInstanceArn"] for t in answer["tasks"]] == [a.arn, a.arn]
        assert answer["failures"] == [
            {"arn": b.arn, "reason": "RESOURCE:CPU"},
            {"arn": missing, "reason": "MISSING"},
        ]
        await a.sent(answer["tasks"][0]["taskArn"], "RUNNING")
        await a.hang_up()
        params = {"cluster": "demo", "taskDefinition": "bridge", "containerInstances": [a.arn]}
        assert reasons(await world.call("StartTask", **params)) == ["AGENT"]

    play(scene)


BAD_STARTS: list[tuple[dict[str, Any], str]] = [
    ({"containerInstances": []}, "cannot be empty"),
    ({"containerInstances": ["i"] * 11}, "at most 10"),
    ({"startedBy": "x" * 37}, "at most 36"),
    ({"propagateTags": "SERVICE"}, "propagateTags"),
    ({"containerInstances": ["arn:aws:ecs:us-east-1:123456789012:cluster/demo"]}, "not the ARN of a container inst"),
]


@pytest.mark.parametrize(("change", "text"), BAD_STARTS)
def test_starts_that_are_refused(change: dict[str, Any], text: str) -> None:
    async def scene(world: World) -> None:
        agent = await instance(world)
        await bridge(world)
        params = {"cluster": "demo", "taskDefinition": "bridge", "containerInstances": [agent.arn], **change}
        refused = await world.refused("StartTask", **params)
        assert refused[0] == INVALID
        assert text in refused[1]

    play(scene)


def test_the_same_token_gives_the_same_tasks() -> None:
    async def scene(world: World) -> None:
        await instance(world)
        await bridge(world)
        first = await run(world, clientToken="t", count=10)
        assert first["failures"]
        again = await run(world, clientToken="t", count=10)
        assert (arns(again), again["failures"]) == (arns(first), first["failures"])

    play(scene)
