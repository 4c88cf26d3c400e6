"""What a node's key can't do: join elsewhere, be two agents, act for others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ecs_world import ACCOUNT, ROOT, FakeSocket, World, node, play
from instance_world import joined, placed, shown
from msgspec.structs import replace

from homeport.agentapi import REPLACED
from homeport.core.errors import AwsError
from homeport.services.ecs import rooms
from homeport.services.iam import keys

RESOURCES = [{"name": name, "type": "INTEGER", "integerValue": 4096} for name in ("CPU", "MEMORY")]


def demo(name: str, cluster: str = "arn:aws:ecs:us-east-1:123456789012:cluster/demo") -> Any:
    return replace(node(name), cluster=cluster)


def request(cluster: str, machine: str = "1", **more: Any) -> dict[str, Any]:
    return {"cluster": cluster, "totalResources": RESOURCES, "versionInfo": version(machine), **more}


def version(machine: str) -> dict[str, str]:
    return {"agentVersion": "1", "agentHash": f"homeport-1-{machine}", "dockerVersion": "c"}


def test_a_key_registers_in_its_cluster_alone() -> None:
    async def scene(world: World) -> None:
        await world.call("CreateCluster", clusterName="other")
        key = demo("n1", (await world.call("DescribeClusters", clusters=["demo"]))["clusters"][0]["clusterArn"])
        fargate = [{"name": "homeport.fargate", "value": "true"}]
        for wrong in (request("other"), request("demo", attributes=fargate)):
            code, text = await world.refused("RegisterContainerInstance", key, **wrong)
            assert code == "AccessDeniedException"
            assert "may join only" in text
        pool = replace(key, cluster="")
        code, _ = await world.refused("RegisterContainerInstance", pool, **request("demo"))
        assert code == "AccessDeniedException"
        await world.call("RegisterContainerInstance", pool, **request("demo", attributes=fargate))
        made = await world.call("RegisterContainerInstance", key, **request("demo"))
        assert ":container-instance/demo/" in made["containerInstance"]["containerInstanceArn"]

    play(scene)


def test_a_key_of_a_deleted_cluster_registers_nowhere() -> None:
    async def scene(world: World) -> None:
        cluster = (await world.call("CreateCluster", clusterName="gone"))["cluster"]["clusterArn"]
        await world.call("DeleteCluster", cluster="gone")
        code, _ = await world.refused("RegisterContainerInstance", demo("n1", cluster), **request("gone"))
        assert code == "ClusterNotFoundException"

    play(scene)


def test_the_newer_of_two_agents_with_one_key_is_the_node() -> None:
    async def scene(world: World) -> None:
        key = node("n1")
        first = await world.call("RegisterContainerInstance", key, **request("demo", "1"))
        arn = first["containerInstance"]["containerInstanceArn"]
        second = await world.call("RegisterContainerInstance", key, **request("demo", "2"))
        assert second["containerInstance"]["containerInstanceArn"] == arn  # one instance, never two
        query = {"containerInstanceArn": arn, "agentHash": version("1")["agentHash"]}
        with pytest.raises(AwsError) as caught:
            await world.gateway.session(key, query, FakeSocket())
        assert caught.value.code == REPLACED
        found = rooms.instance(world.store.view(), arn)
        assert found is not None
        assert not found[1].connected

    play(scene)


def test_a_key_can_not_be_used_for_the_instance_of_another() -> None:
    async def scene(world: World) -> None:
        mine = await world.call("RegisterContainerInstance", node("n1"), **request("demo"))
        arn = mine["containerInstance"]["containerInstanceArn"]
        again = request("demo", containerInstanceArn=arn)
        for other in (node("n2"), ROOT):
            assert (await world.refused("RegisterContainerInstance", other, **again))[0] == "AccessDeniedException"
        drain = {"cluster": "demo", "containerInstances": [arn], "status": "DRAINING"}
        code, _ = await world.refused("UpdateContainerInstancesState", node("n2"), **drain)
        assert code == "AccessDeniedException"

    play(scene)


VAULT = keys.Vault(b"m" * 32)


async def give_key(world: World, name: str, secret: str = "s") -> None:
    key = node(name).access_key_id
    await world.store.update(
        lambda tx: keys.put_node(tx, VAULT, name, key, secret * 40, tx.now, account=ACCOUNT), "test"
    )


@pytest.mark.parametrize("ends", ["revoked", "changed"])
def test_connections_end_with_their_key(ends: str) -> None:
    async def scene(world: World) -> None:
        for name in ("n1", "n2"):
            await give_key(world, name)
        agent, other = await joined(world), await joined(world, "n2")
        task = await placed(world, agent.arn, "1")
        heard = FakeSocket()
        telemetry = asyncio.create_task(
            world.gateway.session(agent.principal, {"containerInstance": agent.arn, "cluster": "demo"}, heard)
        )
        await heard.to_agent.get()  # its first heartbeat
        if ends == "revoked":
            await world.store.update(lambda tx: keys.remove_node(tx, "n1"), "test")
        else:
            await give_key(world, "n1", "t")
        await asyncio.wait_for(asyncio.wait([*agent._tasks, telemetry]), 1)
        assert (agent.socket.closed, heard.closed, other.socket.closed) == (True, True, False)
        seen = await shown(world, agent.arn)
        assert (seen["agentConnected"], seen["runningTasksCount"]) == (False, 1)  # as of any agent that is away
        assert world.task(task).desired_status == "RUNNING"
        assert len(world.gateway._lines) == 1
        await other.hang_up()
        assert len(world.gateway._lines) == 0

    play(scene)


def test_a_key_that_ends_while_its_agent_connects_gets_nothing() -> None:
    async def scene(world: World) -> None:
        await give_key(world, "n1")
        agent = await joined(world)
        await agent.hang_up()
        socket = FakeSocket()
        before = asyncio.create_task(give_key(world, "n2"))  # the connection waits until that is durable
        session = world.gateway.session(agent.principal, {"containerInstanceArn": agent.arn}, socket)
        connecting = asyncio.create_task(session)
        removal = asyncio.create_task(world.store.update(lambda tx: keys.remove_node(tx, "n1"), "test"))
        with pytest.raises(AwsError) as caught:
            await connecting
        await asyncio.gather(before, removal)
        assert caught.value.code == "UnrecognizedClientException"
        assert socket.to_agent.empty()
        await asyncio.sleep(0.1)
        assert not (await shown(world, agent.arn))["agentConnected"]

    play(scene, delay=0.01)
