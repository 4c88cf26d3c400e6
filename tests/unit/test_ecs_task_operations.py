"""RunTask, StopTask, DescribeTasks, ListTasks and RegisterContainerInstance, as their callers see them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from ecs_world import ACCOUNT, REGION, ROOT, SCOPE, Agent, World, node, play
from launch_world import asked
from msgspec.structs import replace

from homeport.services.ec2.model import INTERFACES
from homeport.services.ecs import locate, status, stop_all, unfinished
from homeport.services.ecs.launch import NO_CAPACITY
from homeport.services.ecs.model.task import TASKS, TOKENS

INVALID, UNSUPPORTED = "InvalidParameterException", "UnsupportedFeatureException"


async def joined(world: World, name: str = "n1", **attributes: Any) -> Agent:
    agent = Agent(world, name)
    await agent.register(**attributes)
    await agent.connect()
    return agent


# --- RunTask --------------------------------------------------------------------------------------------------------


def test_what_a_new_task_is_answered_with() -> None:
    async def scene(world: World) -> None:
        await joined(world)
        answer = await world.run_task(
            count=2,
            startedBy="ci/build_7",
            tags=[{"key": "team", "value": "a"}],
            enableECSManagedTags=True,
            referenceId="ref",
            overrides={"containerOverrides": [{"name": "app", "command": ["x"]}]},
        )
        assert answer["failures"] == []
        first, second = answer["tasks"]
        assert first["taskArn"] != second["taskArn"]
        prefix = f"arn:aws:ecs:{REGION}:{ACCOUNT}"
        assert first["taskArn"].startswith(f"{prefix}:task/demo/")
        assert first["containers"][0]["containerArn"].startswith(first["taskArn"].replace(":task/", ":container/"))
        assert first["clusterArn"] == f"{prefix}:cluster/demo"
        assert first["taskDefinitionArn"] == f"{prefix}:task-definition/web:1"
        expected = {
            "lastStatus": "PROVISIONING",
            "desiredStatus": "RUNNING",
            "launchType": "FARGATE",
            "platformVersion": "1.4.0",
            "platformFamily": "Linux",
            "cpu": "256",
            "memory": "512",
            "group": "family:web",
            "startedBy": "ci/build_7",
            "version": 1,
            "healthStatus": "UNKNOWN",
            "enableExecuteCommand": False,
            "ephemeralStorage": {"sizeInGiB": 20},
            "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
            "tags": [{"key": "team", "value": "a"}, {"key": "aws:ecs:clusterName", "value": "demo"}],
        }
        assert {m: first[m] for m in expected} == expected
        assert first["overrides"]["containerOverrides"] == [{"name": "app", "command": ["x"]}]
        assert "containerInstanceArn" not in first
        assert first["availabilityZone"] == "us-east-1a"
        container = first["containers"][0]
        assert (container["image"], container["lastStatus"], container["cpu"]) == ("httpd:2.4", "PENDING", "0")
        assert container["networkInterfaces"] == []

    play(scene)


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"cluster": "nowhere"}, "ClusterNotFoundException", "Cluster not found."),
    ({"taskDefinition": "nothing"}, "ClientException", "TaskDefinition not found."),
    ({"count": 0}, INVALID, "count must be between 1 and 10."),
    ({"count": 11}, INVALID, "count must be between 1 and 10."),
    ({"group": "x" * 256}, INVALID, "Group must be at most 255"),
    ({"group": "service:web"}, INVALID, "service:"),
    ({"referenceId": "x" * 1025}, INVALID, "referenceId"),
    ({"startedBy": "a b"}, INVALID, "startedBy"),
    ({"startedBy": "x" * 129}, INVALID, "startedBy"),
    ({"clientToken": "x" * 65}, INVALID, "clientToken"),
    ({"propagateTags": "SERVICE"}, INVALID, "propagateTags"),
    ({"tags": [{"key": "aws:x", "value": "y"}]}, INVALID, "aws:"),
    ({"enableExecuteCommand": True}, UNSUPPORTED, "ECS Exec"),
    (
        {"volumeConfigurations": [{"name": "v", "managedEBSVolume": {"roleArn": "arn:aws:iam::1:role/x"}}]},
        UNSUPPORTED,
        "volumes set at launch",
    ),
    ({"placementStrategy": [{"type": "random"}]}, INVALID, "Placement strategies are not supported with FARGATE"),
    ({"placementConstraints": [{"type": "distinctInstance"}]}, INVALID, "Placement constraints are not supported"),
    ({"platformVersion": "9.9.9"}, "PlatformUnknownException", "The specified platform does not exist."),
    ({"launchType": "EC2"}, INVALID, "No Container Instances were found in your cluster."),
    ({"launchType": "EXTERNAL"}, INVALID, "No Container Instances were found in your cluster."),
    (
        {"launchType": "EC2", "platformVersion": "LATEST"},
        INVALID,
        "The platform version must be null when specifying an EC2 launch type.",
    ),
    (
        {"capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]},
        INVALID,
        "Specifying both a launch type and capacity provider strategy is not supported",
    ),
    (
        {"networkConfiguration": {}},
        INVALID,
        "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
    ),
    (
        {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}},
        INVALID,
        "Error retrieving subnet information for [subnet-1]",
    ),
    ({"networkConfiguration": {"awsvpcConfiguration": {"subnets": []}}}, INVALID, "subnets can not be empty."),
    ({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["s"] * 17}}}, INVALID, "at most 16"),
    ({"overrides": {"cpu": "256", "memory": "4096"}}, INVALID, "No Fargate configuration exists for given values"),
    (
        {"overrides": {"containerOverrides": [{"name": "app", "cpu": 300}]}},
        INVALID,
        "The sum of all container cpu values can not exceed the value of the task cpu.",
    ),
    *(
        (
            {"overrides": {"containerOverrides": [{"name": "app", member: 600}]}},
            INVALID,
            f"The '{member}' setting for container 'app' is greater than for the task.",
        )
        for member in ("memory", "memoryReservation")
    ),
    (
        {"overrides": {"containerOverrides": [{"name": "app", "memory": 64, "memoryReservation": 65}]}},
        INVALID,
        "'memory' must be greater than or equal to 'memoryReservation'.",
    ),
    (
        {"overrides": {"containerOverrides": [{"name": "x"}]}},
        INVALID,
        "Override for container named x is not a container in the TaskDefinition.",
    ),
]


def test_calls_that_are_refused_change_nothing() -> None:
    async def scene(world: World) -> None:
        await joined(world)
        for params, code, text in BAD:
            got_code, got_text = await world.refused("RunTask", **world.task_params(**params))
            assert (got_code, text in got_text) == (code, True), (params, got_code, got_text)
        groups = world.network("sg-1")
        _, text = await world.refused("RunTask", **world.task_params(networkConfiguration=groups))
        assert text.startswith("Error retrieving security group information for [sg-1]")

    play(scene)


def test_definitions_that_do_not_run_on_fargate_are_refused() -> None:
    async def scene(world: World) -> None:
        await joined(world)
        await world.define("bridge", networkMode="bridge", requiresCompatibilities=["EC2"])
        await world.define("secret", {"name": "app", "image": "a", "logConfiguration": {"logDriver": "splunk"}})
        old = await world.define("old")
        await world.call("DeregisterTaskDefinition", taskDefinition=old)
        refused = await world.refused("RunTask", **world.task_params(taskDefinition="bridge"))
        assert refused == (INVALID, "Task definition does not support launch_type FARGATE.")
        assert (await world.refused("RunTask", **world.task_params(taskDefinition="secret")))[0] == UNSUPPORTED
        refused = await world.refused("RunTask", **world.task_params(taskDefinition=old))
        assert refused == ("ClientException", "TaskDefinition is inactive")

    play(scene)


def test_the_launch_type_comes_from_the_clusters_strategy_or_is_ec2() -> None:
    async def scene(world: World) -> None:
        await joined(world)
        await world.call(
            "CreateCluster",
            clusterName="spot",
            capacityProviders=["FARGATE", "FARGATE_SPOT"],
            defaultCapacityProviderStrategy=[
                {"capacityProvider": "FARGATE", "base": 1, "weight": 0},
                {"capacityProvider": "FARGATE_SPOT", "weight": 1},
            ],
        )
        params = world.task_params(count=3)
        del params["launchType"]
        assert (await world.refused("RunTask", **params))[1] == "No Container Instances were found in your cluster."
        answer = await world.call("RunTask", **{**params, "cluster": "spot"})
        names = [(t["launchType"], t["capacityProviderName"]) for t in answer["tasks"]]
        assert names == [("FARGATE", "FARGATE"), ("FARGATE", "FARGATE_SPOT"), ("FARGATE", "FARGATE_SPOT")]
        strategy = [{"capacityProvider": "FARGATE", "weight": 1}]
        refused = await world.refused("RunTask", **params, capacityProviderStrategy=strategy)
        assert "not associated with the cluster" in refused[1]

    play(scene)


def test_without_room_each_task_fails_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(world: World) -> None:
        empty = await world.run_task(count=2)
        assert empty == {"tasks": [], "failures": [{"reason": NO_CAPACITY}] * 2}
        agent = await joined(world, cpu=700, memory=4096)
        answer = await world.run_task(count=3)
        assert len(answer["tasks"]) == 2
        assert answer["failures"] == [{"reason": NO_CAPACITY, "detail": "RESOURCE:CPU on 1 of 1"}]
        room = world.room(agent.arn)
        assert (room.cpu_used, room.memory_used, room.tasks) == (512, 1024, 2)
        assert len(world.store.view().all(INTERFACES, SCOPE)) == 2
        explained = asked(monkeypatch, "explain")
        assert (await world.run_task(count=10))["failures"] == answer["failures"] * 10
        assert len(explained) == 1, "nodes are asked once"

    play(scene)


def test_without_an_address_the_task_is_made_and_ends() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        await world.store.update(lambda tx: world_pool(tx), "test")
        arns = []
        for _ in range(3):
            answer = await world.run_task(networkConfiguration=world.network(public=True))
            arns.append(answer["tasks"][0]["taskArn"])
        task = await world.becomes(arns[-1], "STOPPED")
        assert task["stopCode"] == "TaskFailedToStart"
        assert task["stoppedReason"].startswith(
            "Unexpected EC2 error while attempting to Create Network Interface with"
        )
        assert task["stoppedReason"].endswith("InsufficientAddressCapacity")
        assert world.task(arns[-1]).instance is None
        placed = sum(world.task(arn).instance is not None for arn in arns)
        assert world.room(agent.arn).tasks == placed
        assert arns[-1] not in [t.arn for t in agent.payload()]

    def world_pool(tx: Any) -> None:
        from homeport.services import ec2

        ec2.pool.configure(tx, "198.18.0.0/31")

    play(scene)


def test_a_client_token_repeats_the_answer_for_a_day() -> None:
    async def scene(world: World) -> None:
        await joined(world)
        first = await world.run_task(clientToken="t1")
        again = await world.run_task(clientToken="t1")
        assert [t["taskArn"] for t in again["tasks"]] == [t["taskArn"] for t in first["tasks"]]
        code, _ = await world.refused("RunTask", **world.task_params(clientToken="t1", count=2))
        assert code == "ConflictException"
        assert len(world.store.view().all(TASKS, SCOPE)) == 1
        await asyncio.sleep(24 * 3600 + 20)
        assert world.store.view().all(TOKENS, SCOPE) == []
        later = await world.run_task(clientToken="t1")
        assert later["tasks"][0]["taskArn"] != first["tasks"][0]["taskArn"]

    play(scene)


def test_tags_of_the_definition_are_inherited_where_asked_for() -> None:
    async def scene(world: World) -> None:
        await joined(world)
        await world.define("tagged", tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "1"}])
        asked = {"taskDefinition": "tagged", "propagateTags": "TASK_DEFINITION", "tags": [{"key": "b", "value": "2"}]}
        task = (await world.run_task(**asked))["tasks"][0]
        assert task["tags"] == [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]
        plain = await world.call("DescribeTasks", cluster="demo", tasks=[task["taskArn"]])
        assert plain["tasks"][0]["tags"] == []
        assert (await world.call("StopTask", cluster="demo", task=task["taskArn"]))["task"]["tags"] == []

    play(scene)


# --- StopTask, DescribeTasks, ListTasks -----------------------------------------------------------------------------


def test_stop_task_returns_at_once_and_may_be_repeated() -> None:
    async def scene(world: World) -> None:
        await joined(world)
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        id = arn.rpartition("/")[2]
        stopping = (await world.call("StopTask", cluster="demo", task=id, reason="first"))["task"]
        assert (stopping["desiredStatus"], stopping["stoppedReason"]) == ("STOPPED", "first")
        again = (await world.call("StopTask", cluster="demo", task=arn, reason="second"))["task"]
        assert (again["stoppedReason"], again["stoppingAt"]) == ("first", stopping["stoppingAt"])
        for text in ("0" * 32, arn[:-2] + "00", arn.replace("/demo/", "/other/")):
            refused = await world.refused("StopTask", cluster="demo", task=text)
            assert refused == (INVALID, "The referenced task was not found.")
        assert (await world.refused("StopTask", task=arn))[0] == "ClusterNotFoundException"

    play(scene)


def test_describe_tasks_tells_found_from_missing() -> None:
    async def scene(world: World) -> None:
        await joined(world)
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        id = arn.rpartition("/")[2]
        foreign = arn.replace("/demo/", "/other/")
        answer = await world.call("DescribeTasks", cluster="demo", tasks=[arn, id, "0" * 32, foreign])
        assert [t["taskArn"] for t in answer["tasks"]] == [arn]
        missing = [f["arn"] for f in answer["failures"]]
        assert missing == [f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/demo/{'0' * 32}", foreign]
        assert {f["reason"] for f in answer["failures"]} == {"MISSING"}
        assert (await world.refused("DescribeTasks", cluster="demo", tasks=[]))[0] == INVALID
        assert (await world.refused("DescribeTasks", cluster="demo", tasks=[f"{n}" for n in range(101)]))[0] == INVALID

    play(scene)


def test_list_tasks_filters() -> None:
    async def scene(world: World) -> None:
        await joined(world)
        await world.define("other")
        web = [t["taskArn"] for t in (await world.run_task(count=2, startedBy="me"))["tasks"]]
        other = [t["taskArn"] for t in (await world.run_task(taskDefinition="other", group="mine"))["tasks"]]

        async def listed(**filters: Any) -> list[str]:
            return sorted((await world.call("ListTasks", cluster="demo", **filters))["taskArns"])

        assert await listed() == sorted(web + other)
        assert await listed(family="web") == sorted(web)
        assert await listed(startedBy="me") == sorted(web)
        assert await listed(startedBy="me", desiredStatus="RUNNING") == sorted(web)
        assert await listed(launchType="FARGATE", family="other") == other
        assert await listed(launchType="EC2") == []
        assert await listed(desiredStatus="PENDING") == []
        assert await listed(daemonName="d") == []
        assert await listed(containerInstance=world.task(web[0]).instance) == []  # nobody's to ask for
        await world.call("StopTask", cluster="demo", task=other[0])
        assert await listed() == sorted(web)
        assert await listed(desiredStatus="STOPPED") == other
        refused = await world.refused("ListTasks", cluster="demo", serviceName="s")
        assert refused == ("ServiceNotFoundException", "Service not found.")
        assert (await world.refused("ListTasks", cluster="demo", startedBy="me", family="web"))[0] == INVALID
        assert (await world.refused("ListTasks", cluster="demo", maxResults=101))[0] == INVALID

    play(scene)


def test_list_tasks_pages() -> None:
    async def scene(world: World) -> None:
        await joined(world)
        arns = [t["taskArn"] for t in (await world.run_task(count=5))["tasks"]]
        seen: list[str] = []
        token: dict[str, str] = {}
        while True:
            answer = await world.call("ListTasks", cluster="demo", maxResults=2, **token)
            seen += answer["taskArns"]
            if "nextToken" not in answer:
                break
            token = {"nextToken": answer["nextToken"]}
            assert (await world.refused("ListTasks", cluster="demo", family="web", **token))[1] == "Invalid token"
        assert seen == sorted(arns)
        assert (await world.refused("ListTasks", cluster="demo", nextToken="x"))[1] == "Invalid token"

    play(scene)


def test_a_cluster_of_the_same_name_does_not_show_the_tasks_of_the_old_one() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 0})
        await world.becomes(arn, "STOPPED")
        await world.call("DeleteCluster", cluster="demo")
        await asyncio.sleep(1)
        await world.call("CreateCluster", clusterName="demo")
        assert (await world.call("DescribeTasks", cluster="demo", tasks=[arn]))["failures"][0]["reason"] == "MISSING"
        assert (await world.call("ListTasks", cluster="demo", desiredStatus="STOPPED"))["taskArns"] == []

    play(scene)


# --- instances ------------------------------------------------------------------------------------------------------


def test_a_node_keeps_its_arn_and_gets_its_attributes_back() -> None:
    async def scene(world: World) -> None:
        agent = Agent(world, "n1")
        first = await agent.register(custom="v", empty="")
        sent = {"homeport.fargate", "homeport.network", "homeport.spec", "custom", "empty"}
        assert {a["name"] for a in first["attributes"]} == sent
        assert agent.arn.startswith(f"arn:aws:ecs:{REGION}:{ACCOUNT}:container-instance/fargate/")
        agent.arn = ""
        again = await agent.register(cpu=2048)
        assert again["containerInstanceArn"] == first["containerInstanceArn"]
        assert again["registeredResources"][0]["integerValue"] == 2048
        stranger = Agent(world, "n2")
        stranger.arn = agent.arn
        refused = await world.refused(
            "RegisterContainerInstance",
            stranger.principal,
            containerInstanceArn=agent.arn,
            attributes=[{"name": "homeport.fargate"}],
            totalResources=first["registeredResources"],
        )
        assert refused[0] == "AccessDeniedException"

    play(scene)


def test_registering_with_less_than_is_in_use_leaves_no_negative_room() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world)
        await world.run_task(count=4)
        view = await agent.register(cpu=512, memory=512)
        assert [r["integerValue"] for r in view["remainingResources"]] == [0, 0]
        assert (await world.run_task())["tasks"] == []

    play(scene)


def test_an_account_registers_container_instances_in_its_clusters() -> None:
    async def scene(world: World) -> None:
        resources = [
            {"name": "CPU", "type": "INTEGER", "integerValue": 1024},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": 2048},
        ]
        params = {
            "cluster": "demo",
            "totalResources": resources,
            "attributes": [{"name": "ecs.os-type", "value": "linux"}],
        }
        made = (await world.call("RegisterContainerInstance", **params))["containerInstance"]
        assert made["containerInstanceArn"].startswith(f"arn:aws:ecs:{REGION}:{ACCOUNT}:container-instance/demo/")
        assert (made["status"], made["agentConnected"], made["attributes"]) == ("ACTIVE", False, params["attributes"])
        known = {"containerInstanceArn": made["containerInstanceArn"]}
        again = (await world.call("RegisterContainerInstance", **params, **known))["containerInstance"]
        assert (again["containerInstanceArn"], again["version"]) == (made["containerInstanceArn"], 2)
        for bad, code in (
            ({"cluster": "nowhere"}, "ClusterNotFoundException"),
            ({"totalResources": resources[:1]}, INVALID),
            ({"totalResources": [*resources, {"type": "INTEGER"}]}, INVALID),
            ({"totalResources": [{**resources[0], "integerValue": 0}, resources[1]]}, INVALID),
            ({"attributes": [{"name": "x" * 300}]}, INVALID),
            ({"attributes": [{"name": f"a{n}"} for n in range(201)]}, INVALID),
            ({"attributes": [{"name": "homeport.fargate"}]}, "AccessDeniedException"),
            ({"containerInstanceArn": made["containerInstanceArn"][:-1] + "x"}, "ClientException"),
        ):
            assert (await world.refused("RegisterContainerInstance", ROOT, **{**params, **bad}))[0] == code
        # nothing is placed on one whose agent never connected, and that is said
        answer = await world.run_task(launchType="EC2")
        assert (answer["tasks"], [f["reason"] for f in answer["failures"]]) == ([], ["AGENT"])
        endpoint = await world.call("DiscoverPollEndpoint", node("n1"), cluster="demo", containerInstance="x")
        assert set(endpoint.values()) == {"http://127.0.0.1:4566/"}

    play(scene)


# --- for the command line -------------------------------------------------------------------------------------------


def test_status_story_and_stopping_everything() -> None:
    async def scene(world: World) -> None:
        agent = await joined(world, **{"homeport.overcommit.cpu": "16", "homeport.overcommit.memory": "2"})
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        shown = status.status(world.store.view())
        assert shown["nodes"][0] == shown["nodes"][0] | {
            "id": "n1",
            "connected": True,
            "status": "ACTIVE",
            "capacity": {"cpu": 16384, "memory": 16384},
            "used": {"cpu": 256, "memory": 512},
            "overcommit": {"cpu": 16.0, "memory": 2.0},
            "tasks": 1,
        }
        assert (shown["tasks"][0]["arn"], shown["tasks"][0]["definition"]) == (arn, "web:1")
        view = world.store.view()
        assert locate(view, arn) == (SCOPE, "task", arn.rpartition("/")[2])
        assert locate(view, f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/demo") is not None
        assert locate(view, f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/web:1") is not None
        assert locate(view, agent.arn) is not None
        for text in (
            "x",
            "arn:aws:s3:::bucket",
            f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/none",
            "arn:aws:ecs:r:a:task-definition/x",
        ):
            assert locate(view, text) is None
        assert await world.store.update(lambda tx: stop_all(tx, "down"), "test") == 1
        await agent.sent(arn, "STOPPED")
        assert unfinished(world.store.view()) == 1
        await agent.report(arn, "STOPPED", {"status": "STOPPED"})
        assert (await world.becomes(arn, "STOPPED"))["stoppedReason"] == "down"
        assert unfinished(world.store.view()) == 0

    play(scene)


def test_a_task_that_can_not_be_stepped_does_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from homeport.services.ecs import lifecycle

    real = lifecycle.step

    def step(task: Any, now: float) -> Any:
        if task.group == "poison":
            raise RuntimeError("a bug")
        return real(task, now)

    monkeypatch.setattr(lifecycle, "step", step)

    async def scene(world: World) -> None:
        agent = await joined(world)
        await world.run_task(group="poison", count=3)
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await agent.report(arn, "RUNNING")
        await world.becomes(arn, "RUNNING")

    play(scene)


def test_strings_are_shared() -> None:
    """Records that were loaded apart from each other have what many of them say only once."""

    def loaded(record: Any) -> Any:
        return msgspec.json.decode(msgspec.json.encode(record), type=type(record))

    async def scene(world: World) -> None:
        await joined(world)
        arns = [t["taskArn"] for t in (await world.run_task(count=2))["tasks"]]
        digest = "sha256:00"
        tasks = [replace(world.task(arn), image_digests={"app": digest}) for arn in arns]
        one, two = (loaded(replace(t, containers=(replace(t.containers[0], image_digest=digest),))) for t in tasks)
        assert one.cluster_arn is two.cluster_arn
        assert one.group is two.group
        assert one.attachments[0].details["subnetId"] is two.attachments[0].details["subnetId"]
        assert one.image_digests["app"] is two.image_digests["app"] is one.containers[0].image_digest
        here, there = map(loaded, world.store.view().all(INTERFACES, SCOPE))
        assert here.subnet_id is there.subnet_id is one.attachments[0].details["subnetId"]
        assert here.vpc_id is there.vpc_id
        assert here.groups[0] is there.groups[0]

    play(scene)
