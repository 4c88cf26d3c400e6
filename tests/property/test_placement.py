"""Random clusters and demands: placement chooses what looking at every instance would choose, or refuses as that would;
nothing is given twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.services.ecs.model.instance import INSTANCES, Room
from homeport.services.ecs.placement import Demand, Placement, Refusals, Strategy
from support.placement_world import CLUSTER, DISTINCT, RESERVED, SCOPE, PlacementWorld, chain, demand, member_of

ZONES = (None, "us-east-1a", "us-east-1b", "us-east-1c")
GROUPS = ("web", "db")

instances = st.fixed_dictionaries(
    {
        "cpu": st.sampled_from((256, 700, 1024, 2048)),
        "memory": st.sampled_from((512, 1000, 1024, 4096)),
        "zone": st.sampled_from(ZONES),
        "connected": st.sampled_from((True, True, True, False)),
        "status": st.sampled_from(("ACTIVE", "ACTIVE", "ACTIVE", "DRAINING")),
        "gpus": st.sampled_from(((), (), ("g1",), ("g1", "g2"))),
        "provider": st.sampled_from((None, "p")),
        "attributes": st.fixed_dictionaries(
            {},
            optional={
                "rack": st.sampled_from("12"),
                "homeport.max-interfaces": st.sampled_from("12"),
                "ecs.capability.external": st.just(""),
            },
        ),
    }
)

steps = st.sampled_from(
    (
        "binpack cpu",
        "binpack memory",
        "spread instanceId",
        "spread host",
        "spread attribute:ecs.availability-zone",
        "spread attribute:rack",
        "random",
    )
)
constraints = st.sampled_from(
    (
        DISTINCT,
        member_of("attribute:rack == 1"),
        member_of("attribute:rack !exists or task:group == db"),
        member_of("runningTasksCount < 2"),
    )
)
demands = st.builds(
    demand,
    cpu=st.sampled_from((1, 128, 256, 300, 700)),
    memory=st.sampled_from((1, 128, 400, 512)),
    tcp=st.sampled_from(((), (), (), (22,), (80,), (80, 81))),
    udp=st.sampled_from(((), (), (53,))),
    gpus=st.sampled_from((0, 0, 0, 1, 2)),
    networked=st.booleans(),
    zones=st.sampled_from(((), (), ("us-east-1a",), ("us-east-1b", "us-east-1c"))),
    attributes=st.sampled_from(((), (), (), (("rack", None),), (("rack", "2"),))),
    launch_type=st.sampled_from(("", "", "EC2", "EXTERNAL")),
    provider=st.sampled_from((None, None, None, "p")),
    group=st.sampled_from(GROUPS),
    constraints=st.lists(constraints, max_size=2).map(tuple),
    strategy=st.lists(steps, max_size=4).map(lambda chosen: chain(*chosen)),
)


# Nothing refuses here: what is tried are strategies, over tasks of two sizes.
roomy = st.fixed_dictionaries(
    {
        "cpu": st.sampled_from((4096, 8192)),
        "memory": st.sampled_from((4096, 8192)),
        "zone": st.sampled_from(ZONES),
        "attributes": st.fixed_dictionaries({}, optional={"rack": st.sampled_from("12")}),
    }
)
easy = st.builds(
    demand,
    cpu=st.sampled_from((100, 200)),
    memory=st.sampled_from((100, 200)),
    group=st.sampled_from(GROUPS),
    strategy=st.lists(steps, min_size=1, max_size=4, unique=True).map(lambda chosen: chain(*chosen)),
)


class Naive:
    """What there is to choose from, found by looking at every instance and task."""

    def __init__(self, world: PlacementWorld) -> None:
        self.world = world

    def running(self, room: Room, group: str | None = None) -> int:
        return sum(t.instance == room.arn and group in (None, t.group) for t in self.world.tasks)

    def attribute(self, room: Room, name: str) -> str | None:
        instance = self.world.tx.get(INSTANCES, SCOPE, room.id)
        assert instance is not None
        return instance.attribute(name)

    def refusal(self, wanted: Demand, room: Room) -> str | None:
        has = {name: self.attribute(room, name) for name in ("rack", "ecs.availability-zone")}
        taken = [t for t in self.world.tasks if t.instance == room.arn]
        limit = int(self.attribute(room, "homeport.max-interfaces") or 1000)
        ports = {("tcp", int(p)) for p in RESERVED} | {("tcp", p) for t in taken for p in t.tcp}
        ports |= {("udp", p) for t in taken for p in t.udp}
        asked = {("tcp", p) for p in wanted.tcp} | {("udp", p) for p in wanted.udp}
        missing = [n for n, v in wanted.attributes if has[n] is None or v not in (None, has[n])]
        away = has["ecs.availability-zone"] and wanted.zones and has["ecs.availability-zone"] not in wanted.zones
        reasons = (
            ("AGENT", not room.connected),
            ("RESOURCE:CPU", room.cpu - sum(t.cpu for t in taken) < wanted.cpu),
            ("RESOURCE:MEMORY", room.memory - sum(t.memory for t in taken) < wanted.memory),
            ("RESOURCE:GPU", len(self.gpus(room) - {g for t in taken for g in t.gpus}) < wanted.gpus),
            ("RESOURCE:PORTS", bool(ports & asked)),
            ("RESOURCE:ENI", wanted.networked and sum(self.world.taken[t.id].interfaces for t in taken) >= limit),
            ("ATTRIBUTE", bool(missing)),
            ("LOCATION", bool(away)),
            ("MemberOf placement constraint unsatisfied.", not self.member(wanted, room, has["rack"])),
            (
                "DistinctInstance placement constraint unsatisfied",
                DISTINCT in wanted.constraints and self.running(room, wanted.group) > 0,
            ),
        )
        return next((reason for reason, holds in reasons if holds), None)

    def gpus(self, room: Room) -> set[str]:
        instance = self.world.tx.get(INSTANCES, SCOPE, room.id)
        assert instance is not None
        return {gpu for r in instance.resources if r["name"] == "GPU" for gpu in r["stringSetValue"]}

    def member(self, wanted: Demand, room: Room, rack: str | None) -> bool:
        holds = {
            "attribute:rack == 1": rack == "1",
            "attribute:rack !exists or task:group == db": rack is None or self.running(room, "db") > 0,
            "runningTasksCount < 2": self.running(room) < 2,
        }
        return all(holds[c.expression] for c in wanted.constraints if c.type == "memberOf")

    def meant(self, wanted: Demand) -> list[Room]:
        rooms = (room for room in self.world.index.everywhere(CLUSTER) if room.open)
        return [
            room
            for room in rooms
            if wanted.launch_type in ("", room.launch_type) and wanted.provider in (None, room.provider)
        ]

    def best(self, wanted: Demand) -> list[Room]:
        """All that are as good."""
        left = [room for room in self.meant(wanted) if self.refusal(wanted, room) is None]
        for step in wanted.strategy:
            if step.type == "random":
                break
            if left:
                marks = {room.id: self.mark(step, wanted.group, room) for room in left}
                left = [room for room in left if marks[room.id] == min(marks.values())]
        return left

    def mark(self, step: Strategy, group: str, room: Room) -> int:
        """The less, the better."""
        if step.type == "binpack":
            return room.cpu_free if step.field == "cpu" else room.memory_free
        if step.field in ("instanceId", "host"):
            return self.running(room, group)
        name = step.field.removeprefix("attribute:")
        value = self.attribute(room, name)
        if name == "ecs.availability-zone":  # a task has a zone, its subnet's, also where its instance tells none
            return sum(t.group == group and t.availability_zone == value for t in self.world.tasks)
        others = [r for r in self.world.index.everywhere(CLUSTER) if self.attribute(r, name) == value]
        return sum(self.running(r, group) for r in others)


acts = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=20)


@settings(max_examples=250)
@given(st.lists(instances, max_size=7), st.lists(demands, min_size=1, max_size=3), acts, st.integers(0, 1000))
def test_the_choice_is_the_one_of_looking_everywhere(
    cluster: Sequence[dict[str, Any]], wanted: Sequence[Demand], acts: Sequence[tuple[int, int]], seed: int
) -> None:
    _follow(cluster, wanted, acts, seed)


@settings(max_examples=250)
@given(st.lists(roomy, min_size=3, max_size=7), st.lists(easy, min_size=1, max_size=3), acts, st.integers(0, 1000))
def test_strategies_choose_what_looking_everywhere_would(
    cluster: Sequence[dict[str, Any]], wanted: Sequence[Demand], acts: Sequence[tuple[int, int]], seed: int
) -> None:
    _follow(cluster, wanted, acts, seed)


def _follow(
    cluster: Sequence[dict[str, Any]], wanted: Sequence[Demand], acts: Sequence[tuple[int, int]], seed: int
) -> None:
    """Each act starts one of the tasks that are wanted; with a 0 it ends one that runs."""
    world = PlacementWorld(seed)
    naive = Naive(world)
    for i, instance in enumerate(cluster):
        world.add(f"i{i}", **instance)
    for which, number in acts:
        if not number and world.tasks:
            world.stop(world.tasks[which % len(world.tasks)])
            continue
        demand = wanted[which % len(wanted)]
        best = naive.best(demand)
        found = world.place(demand)
        if isinstance(found, Placement):
            assert found.room in best
            assert found.zone == (found.room.zone or (demand.zones[0] if demand.zones else None))
            world.put(demand, found)
        else:
            assert not best
            expected = tuple((room.arn, naive.refusal(demand, room)) for room in naive.meant(demand))
            assert found == Refusals(expected)  # type: ignore[arg-type]
        _nothing_is_given_twice(world, naive)


def _nothing_is_given_twice(world: PlacementWorld, naive: Naive) -> None:
    for room in world.index.everywhere(CLUSTER):
        tasks = [task for task in world.tasks if task.instance == room.arn]
        assert room.tasks == len(tasks)
        assert sum(task.cpu for task in tasks) == room.cpu_used <= room.cpu
        assert sum(task.memory for task in tasks) == room.memory_used <= room.memory
        for given_out in (
            [port for task in tasks for port in task.tcp] + [int(port) for port in RESERVED],
            [port for task in tasks for port in task.udp],
            [gpu for task in tasks for gpu in task.gpus],
        ):
            assert max(Counter(given_out).values(), default=1) == 1
        assert set(room.gpus) == naive.gpus(room) - {gpu for task in tasks for gpu in task.gpus}
        assert room.interfaces_used == sum(world.taken[task.id].interfaces for task in tasks)
        assert not room.interfaces or room.interfaces_used <= room.interfaces
