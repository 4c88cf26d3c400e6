"""Container instances of a cluster on the control plane of ``ecs_world``, and tasks that are placed there."""

from __future__ import annotations

from typing import Any

from ecs_world import SCOPE, Agent, World

from homeport.services.ecs import rooms
from homeport.services.ecs.model.instance import INSTANCES, ROOMS, Instance, Room
from homeport.services.ecs.model.task import TASKS, Container, NodeStatus, Task, TaskStatus

SIZE = {"CPU": 2048, "MEMORY": 4096}
PORTS = ["22", "2375", "2376", "51678", "51679"]


def resources(**sizes: int) -> list[dict[str, Any]]:
    """totalResources as Amazon's agent sends them."""
    amounts = [{"name": n, "type": "INTEGER", "integerValue": v} for n, v in {**SIZE, **sizes}.items()]
    return [
        *amounts,
        {"name": "PORTS", "type": "STRINGSET", "stringSetValue": PORTS},
        {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
    ]


def registration(**params: Any) -> dict[str, Any]:
    """Parameters of RegisterContainerInstance."""
    return {
        "cluster": "demo",
        "totalResources": resources(),
        "versionInfo": {"agentVersion": "1.79.0", "agentHash": "abc", "dockerVersion": "DockerVersion: 24.0"},
        "attributes": [{"name": "ecs.os-type", "value": "linux"}],
        **params,
    }


class ClusterAgent(Agent):
    """An agent of a container instance; it registers by its own key."""

    async def join(self, **params: Any) -> dict[str, Any]:
        known = {"containerInstanceArn": self.arn} if self.arn else {}
        answer = await self.world.call("RegisterContainerInstance", self.principal, **registration(**known, **params))
        self.arn = answer["containerInstance"]["containerInstanceArn"]
        return answer["containerInstance"]

    async def connect(self) -> None:
        """Hears nothing of an earlier connection any more."""
        self.heard.clear()
        await super().connect()


async def joined(world: World, name: str = "n1", **params: Any) -> ClusterAgent:
    """A registered agent that is connected."""
    agent = ClusterAgent(world, name)
    await agent.join(**params)
    await agent.connect()
    return agent


async def registered(world: World, **params: Any) -> dict[str, Any]:
    """An instance that the account's own key registered, as Amazon's agent does."""
    return (await world.call("RegisterContainerInstance", **registration(**params)))["containerInstance"]


async def described(world: World, *texts: str, **params: Any) -> dict[str, Any]:
    return await world.call("DescribeContainerInstances", cluster="demo", containerInstances=list(texts), **params)


async def shown(world: World, text: str, **params: Any) -> dict[str, Any]:
    return (await described(world, text, **params))["containerInstances"][0]


def record(world: World, arn: str) -> Instance:
    found = world.store.view().get(INSTANCES, SCOPE, arn.rpartition("/")[2])
    assert found is not None
    return found


def room(world: World, arn: str) -> Room | None:
    return world.store.view().get(ROOMS, SCOPE, arn.rpartition("/")[2])


async def placed(world: World, instance_arn: str, id: str, **fields: Any) -> str:
    """A task on the instance; RUNNING unless ``fields`` say otherwise."""
    demo = f"{instance_arn.rpartition('/')[0].replace(':container-instance/', ':cluster/')}"
    task = Task(
        **{
            "id": id.rjust(32, "0"),
            "cluster_arn": demo,
            "definition_arn": demo.replace(":cluster/demo", ":task-definition/web:1"),
            "launch_type": "EC2",
            "group": "family:web",
            "cpu": 256,
            "memory": 512,
            "created_at": world.clock.wall(),
            "containers": (Container(id=f"c-{id}", name="app"),),
            "last_status": TaskStatus.RUNNING,
            "node_status": NodeStatus.RUNNING,
            "instance": instance_arn,
            "charged": True,
            **fields,
        }
    )

    def put(tx: Any) -> None:
        free = tx.get(ROOMS, SCOPE, instance_arn.rpartition("/")[2])
        rooms.charge(tx, free, task.taken)
        tx.put(TASKS, SCOPE, task)

    await world.store.update(put, "test")
    return task.arn
