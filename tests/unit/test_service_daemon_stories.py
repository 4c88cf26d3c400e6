"""DAEMON services, from CreateService to the nodes, on virtual time."""

from __future__ import annotations

from typing import Any

from ecs_world import SCOPE
from launch_world import bridge, provider
from service_world import CLUSTER, Conduct, Node, ServiceWorld, play

from homeport.services.ecs.model.task import Task, TaskStatus
from homeport.services.ecs.model.waiting import WAITING

AGENT = {"cluster": "demo", "service": "agent"}


async def daemon(world: ServiceWorld, definition: str = "bridge", **members: Any) -> None:
    given = {"schedulingStrategy": "DAEMON", "launchType": "EC2", **members}
    await world.call("CreateService", cluster="demo", serviceName="agent", taskDefinition=definition, **given)


async def shown(world: ServiceWorld) -> dict[str, Any]:
    return (await world.call("DescribeServices", cluster="demo", services=["agent"]))["services"][0]


def there(world: ServiceWorld, node: Node) -> list[Task]:
    """The service's tasks on the instance that aren't over."""
    tasks = world.tasks("agent", all=True)
    return [t for t in tasks if t.instance == node.arn and t.last_status < TaskStatus.STOPPED]


async def attribute(world: ServiceWorld, node: Node, value: str) -> None:
    given = {"name": "stack", "value": value, "targetId": node.arn}
    await world.call("PutAttributes", cluster="demo", attributes=[given])


async def drain(world: ServiceWorld, node: Node, status: str = "DRAINING") -> None:
    await world.call("UpdateContainerInstancesState", cluster="demo", containerInstances=[node.arn], status=status)


async def started_by_hand(world: ServiceWorld, node: Node, definition: str) -> str:
    answer = await world.call("StartTask", cluster="demo", taskDefinition=definition, containerInstances=[node.arn])
    return str(answer["tasks"][0]["taskArn"])


def test_every_instance_that_comes_gets_one() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        await daemon(world)
        await world.steady("agent")
        nodes = [await world.instance(name) for name in ("a", "b")]
        await world.until(lambda: world.running("agent") == 2)
        await world.steady("agent")
        nodes.append(await world.instance("c"))
        await world.until(lambda: world.running("agent") == 3)
        assert [len(there(world, node)) for node in nodes] == [1, 1, 1]
        service = await shown(world)
        assert (service["desiredCount"], service["runningCount"]) == (3, 3)
        assert [d["desiredCount"] for d in service["deployments"]] == [3]
        nodes[0].kill(there(world, nodes[0])[0].arn)
        await world.until(lambda: world.running("agent") == 2)
        await world.until(lambda: world.running("agent") == 3)
        assert [len(there(world, node)) for node in nodes] == [1, 1, 1]

    play(scene, pool=False)


def test_daemons_follow_the_attributes_of_instances() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        nodes = [await world.instance(name) for name in ("a", "b")]
        await attribute(world, nodes[0], "prod")
        constraint = {"type": "memberOf", "expression": "attribute:stack == prod"}
        await daemon(world, placementConstraints=[constraint])
        await world.until(lambda: world.running("agent") == 1)
        assert len(there(world, nodes[0])) == 1
        await attribute(world, nodes[1], "prod")
        await world.until(lambda: world.running("agent") == 2)
        victim = there(world, nodes[0])[0]
        await attribute(world, nodes[0], "test")
        await world.until(lambda: not there(world, nodes[0]))
        stopped = world.task(victim.arn)
        assert stopped.stopped_reason == "Task no longer meets the placement constraints of the service"
        assert stopped.stop_code == "ServiceSchedulerInitiated"
        told = f"(service agent) (task {victim.id}) no longer meets the placement constraints of the service."
        assert told in world.events("agent")
        assert (await shown(world))["desiredCount"] == 1
        await world.steady("agent")

    play(scene, pool=False)


def test_an_instance_that_drains_keeps_its_daemon_until_the_last_other_task_is_gone() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        await bridge(world, "job")
        nodes = [await world.instance(name) for name in ("a", "b")]
        await daemon(world)
        await world.until(lambda: world.running("agent") == 2)
        job = await started_by_hand(world, nodes[0], "job")
        await world.becomes(job, "RUNNING")
        await drain(world, nodes[0])
        await drain(world, nodes[1])
        await world.until(lambda: not there(world, nodes[1]))
        await world.clock.sleep(600)
        assert [t.desired_status for t in there(world, nodes[0])] == ["RUNNING"]
        assert (await shown(world))["desiredCount"] == 0
        await world.call("StopTask", cluster="demo", task=job)
        await world.until(lambda: not there(world, nodes[0]))
        await drain(world, nodes[1], "ACTIVE")
        await world.until(lambda: world.running("agent") == 1)
        assert len(there(world, nodes[1])) == 1

    play(scene, pool=False)


def test_a_deployment_stops_first_and_keeps_to_the_minimum() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        world.conduct["bridge"] = Conduct(healthy=1.0)
        nodes = [await world.instance(name) for name in "abcd"]
        await daemon(world, deploymentConfiguration={"minimumHealthyPercent": 50})
        await world.until(lambda: world.running("agent") == 4)
        await world.steady("agent")
        again = await bridge(world)
        await world.call("UpdateService", **AGENT, taskDefinition=again)
        least, most = 4, 0

        def done() -> bool:
            nonlocal least, most
            least = min(least, world.running("agent"))
            most = max(most, *(len(there(world, node)) for node in nodes))
            return len(world.deployments("agent")) == 1 and world.deployments("agent")[0].rollout == "COMPLETED"

        await world.until(done)
        assert {t.definition_arn for t in world.tasks("agent")} == {again}
        assert (least, most) == (2, 1)

    play(scene, pool=False)


def test_a_daemon_comes_before_the_tasks_that_wait_for_room() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        await bridge(world, "job")
        await provider(world)
        await world.call(
            "CreateService",
            cluster="demo",
            serviceName="many",
            taskDefinition="job",
            desiredCount=4,
            capacityProviderStrategy=[{"capacityProvider": "own", "weight": 1}],
        )
        await world.call(
            "CreateService", cluster="demo", serviceName="more", taskDefinition="job", desiredCount=4, launchType="EC2"
        )
        await world.clock.sleep(1)
        await daemon(world)
        await world.clock.sleep(1)
        node = await world.instance("a", cpu=512, memory=1024, group="own")  # room for two
        await world.until(lambda: world.running("agent") == 1)
        assert len(there(world, node)) == 1
        await world.until(lambda: world.running("many") + world.running("more") == 1)

    play(scene, pool=False)


def test_waiting_tasks_leave_a_daemon_its_room_though_the_service_loop_is_late() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        await bridge(world, "job")
        await provider(world)
        strategy = [{"capacityProvider": "own", "weight": 1}]
        await world.call("RunTask", cluster="demo", taskDefinition="job", count=4, capacityProviderStrategy=strategy)
        await daemon(world)
        await world.steady("agent")
        world._running[2].cancel()  # the service loop: it doesn't get to it
        node = await world.instance("a", cpu=512, memory=1024, group="own")  # room for two
        await world.until(lambda: len(there(world, node)) == 1)
        await world.until(lambda: sum(world.store.view().counts(WAITING, SCOPE, "queues", CLUSTER).values()) == 3)

    play(scene, pool=False)


def test_a_daemon_waits_for_room_says_so_and_doesnt_hold_up_others() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        await bridge(world, "job", container={"cpu": 4096})
        full, free = [await world.instance(name) for name in ("a", "b")]
        job = await started_by_hand(world, full, "job")
        await world.becomes(job, "RUNNING")
        await daemon(world)
        await world.until(lambda: world.running("agent") == 1)
        assert len(there(world, free)) == 1
        assert (await shown(world))["desiredCount"] == 2
        await world.until(lambda: any("has insufficient CPU units" in text for text in world.events("agent")))
        await world.call("StopTask", cluster="demo", task=job)
        await world.until(lambda: world.running("agent") == 2)
        assert len(there(world, full)) == 1

    play(scene, pool=False)


def test_a_daemon_runs_on_all_instances_whatever_the_capacity_providers() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        await provider(world)
        strategy = [{"capacityProvider": "own", "weight": 1}]
        asked = {"cluster": "demo", "serviceName": "agent", "taskDefinition": "bridge", "schedulingStrategy": "DAEMON"}
        code, text = await world.refused("CreateService", **asked, capacityProviderStrategy=strategy)
        assert code == "InvalidParameterException"
        assert text == "The daemon scheduling strategy does not support capacity provider strategies"
        await world.call(
            "PutClusterCapacityProviders",
            cluster="demo",
            capacityProviders=["own"],
            defaultCapacityProviderStrategy=strategy,
        )
        nodes = [await world.instance("a", group="own"), await world.instance("b")]
        await world.call("CreateService", **asked)
        await world.until(lambda: world.running("agent") == 2)
        assert [len(there(world, node)) for node in nodes] == [1, 1]
        assert (await shown(world))["launchType"] == "EC2"

    play(scene, pool=False)


def test_a_control_plane_that_is_killed_in_a_deployment_makes_none_twice() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        nodes = [await world.instance(name) for name in "abc"]
        await daemon(world)
        await world.until(lambda: world.running("agent") == 3)
        again = await bridge(world)
        await world.call("UpdateService", **AGENT, taskDefinition=again)
        await world.until(lambda: len(world.tasks("agent")) < 3)  # they are stopped first
        await world.restart()
        await world.until(lambda: any(t.definition_arn == again for t in world.tasks("agent")))
        await world.restart()
        await world.until(lambda: {t.definition_arn for t in world.tasks("agent")} == {again})
        await world.until(lambda: world.running("agent") == 3)
        assert [len(there(world, node)) for node in nodes] == [1, 1, 1]
        assert len(world.tasks("agent", all=True)) == 6

    play(scene, pool=False)


def test_a_daemon_is_deleted_without_force() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        await world.instance("a")
        await daemon(world)
        await world.until(lambda: world.running("agent") == 1)
        await world.call("DeleteService", **AGENT)
        await world.until(lambda: world.service("agent").status == "INACTIVE")
        await world.until(lambda: not world.tasks("agent"))

    play(scene, pool=False)
