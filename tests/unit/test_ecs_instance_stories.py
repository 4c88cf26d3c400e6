"""Container instances under any order of what callers, agents and time do to them."""

from __future__ import annotations

import contextlib

from ecs_world import SCOPE, World, play
from hypothesis import given, settings
from hypothesis import strategies as st
from instance_world import ClusterAgent, placed, resources

from homeport.core.errors import AwsError
from homeport.services.ecs import rooms
from homeport.services.ecs.model.instance import INSTANCES, ROOMS
from homeport.services.ecs.model.task import TASKS

AGENTS = 3
ACTIONS = ("register", "shrink", "connect", "hang up", "place", "stopped", "put", "delete", "ACTIVE", "DRAINING")
ENDS = ("deregister", "force", "wait", "wait long")


def holds(world: World) -> None:
    """What is true at every moment."""
    view = world.store.view()
    for instance in view.all(INSTANCES, SCOPE):
        room = view.get(ROOMS, SCOPE, instance.id)
        tasks = [task for task in view.all(TASKS, SCOPE) if task.instance == instance.arn and task.charged]
        if instance.status == "INACTIVE":
            assert room is None
            assert tasks == []
            assert instance.wake_at is not None
            continue
        assert room is not None
        assert room == rooms.of(view, SCOPE, instance, room)
        assert (room.open, room.connected) == (instance.status == "ACTIVE", instance.connected)
        used = (sum(t.cpu for t in tasks), sum(t.memory for t in tasks), len(tasks))
        assert (room.cpu_used, room.memory_used, room.tasks) == used
        assert min(room.cpu_free, room.memory_free) >= 0
        assert {p for t in tasks for p in t.tcp} <= set(room.tcp)
        assert len(instance.custom) <= 10


class Story:
    """Does one thing after the other; AWS's errors are answers too."""

    def __init__(self, world: World) -> None:
        self.world, self.number = world, 0
        self.agents = [ClusterAgent(world, f"n{n}") for n in range(AGENTS)]
        self.running: dict[str, list[str]] = {}

    async def does(self, action: str, agent: ClusterAgent) -> None:
        with contextlib.suppress(AwsError):
            await self._do(action, agent)

    async def _do(self, action: str, agent: ClusterAgent) -> None:
        known = {"cluster": "demo", "containerInstance": agent.arn or "0" * 32}
        match action:
            case "register":
                await agent.join()
            case "shrink":
                await agent.join(totalResources=resources(CPU=128, MEMORY=128))
            case "connect" if agent.arn and self._there(agent):
                await agent.connect()
            case "hang up" if agent._tasks:
                await agent.hang_up()
            case "place" if agent.arn and self._there(agent):
                self.number += 1
                ports = {"tcp": (8000 + self.number,)}
                self.running.setdefault(agent.arn, []).append(
                    await placed(self.world, agent.arn, f"{self.number:x}", **ports)
                )
            case "stopped" if self.running.get(agent.arn):
                await agent.report(self.running[agent.arn].pop(), "STOPPED", {"status": "STOPPED", "exitCode": 0})
            case "put" | "delete":
                self.number += 1
                sent = [{"name": f"a{self.number % 12}", "targetId": known["containerInstance"]}]
                sent[0]["targetType"] = "container-instance"
                operation = "PutAttributes" if action == "put" else "DeleteAttributes"
                await self.world.call(operation, cluster="demo", attributes=sent)
            case "ACTIVE" | "DRAINING":
                some = [known["containerInstance"]]
                await self.world.call(
                    "UpdateContainerInstancesState", cluster="demo", containerInstances=some, status=action
                )
            case "deregister" | "force":
                await self.world.call("DeregisterContainerInstance", **known, force=action == "force")
            case "wait" | "wait long":
                await self.world.clock.sleep(70 if action == "wait" else 3700)

    def _there(self, agent: ClusterAgent) -> bool:
        found = rooms.instance(self.world.store.view(), agent.arn)
        return found is not None and found[1].status != "INACTIVE"


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(ACTIONS * 2 + ENDS), st.integers(0, AGENTS - 1)), min_size=15, max_size=60))
def test_rooms_are_what_their_instances_are(story: list[tuple[str, int]]) -> None:
    async def scene(world: World) -> None:
        told = Story(world)
        for agent in told.agents:
            await agent.join()
        for action, number in story:
            await told.does(action, told.agents[number])
            holds(world)  # also before the loops have had their turn
            await world.clock.sleep(0.01)
            holds(world)

    play(scene)
