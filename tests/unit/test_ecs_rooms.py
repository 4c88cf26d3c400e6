"""What an instance has left while it registers anew under its tasks."""

from __future__ import annotations

from msgspec.structs import replace

from homeport.services.ecs import rooms
from homeport.services.ecs.model.instance import INSTANCES, ROOMS
from homeport.services.ecs.model.task import TASKS, NodeStatus
from support.placement_world import SCOPE, PlacementWorld, demand


def register_again(world: PlacementWorld, id: str, ports: tuple[str, ...], gpus: tuple[str, ...] = ()) -> None:
    instance = world.tx.get(INSTANCES, SCOPE, id)
    assert instance is not None
    changed = {"PORTS": ports, "GPU": gpus}
    resources = tuple(r | {"stringSetValue": list(changed.get(r["name"], ()))} for r in instance.resources)
    instance = replace(instance, resources=resources)
    room = rooms.of(world.tx, SCOPE, instance, world.room(id))
    world.tx.put(INSTANCES, SCOPE, instance)
    world.tx.put(ROOMS, SCOPE, room)


def test_a_port_that_the_machine_keeps_by_now_is_not_free_when_its_task_ends() -> None:
    world = PlacementWorld()
    world.add("a")
    world.starts(demand(tcp=(8080,), udp=(53,)), "a")
    register_again(world, "a", ("22", "8080"))
    assert world.room("a").tcp == (22, 8080)
    world.stop(world.tasks[0])
    assert world.room("a").tcp == (22, 8080)
    assert world.room("a").udp == ()


def test_a_gpu_that_is_gone_by_now_is_not_free_when_its_task_ends() -> None:
    world = PlacementWorld()
    world.add("a", gpus=("g0", "g1"))
    world.starts(demand(gpus=2), "a")
    register_again(world, "a", ("22",), gpus=("g1",))
    assert world.room("a").gpus == ()
    world.stop(world.tasks[0])
    assert world.room("a").gpus == ("g1",)


def test_a_task_that_is_over_keeps_its_ports_until_they_are_given_back() -> None:
    """Else they could be given to another task, and then be taken from that."""
    world = PlacementWorld()
    world.add("a")
    world.starts(demand(tcp=(8080,)), "a")
    over = replace(world.tasks[0], node_status=NodeStatus.STOPPED)
    world.tx.put(TASKS, SCOPE, over)
    register_again(world, "a", ("22",))
    assert world.room("a").tcp == (22, 8080)
    rooms.free(world.tx, over.instance or "", over.taken)
    assert world.room("a").tcp == (22,)
