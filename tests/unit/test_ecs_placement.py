"""Where tasks go, and why they can't; which capacity provider they get."""

from __future__ import annotations

from typing import Any

import pytest

from homeport.core.errors import AwsError
from homeport.services.ecs import capacity, placement, rooms
from homeport.services.ecs.model.instance import INSTANCES, ROOMS, Room
from homeport.services.ecs.placement import Demand, Placement, Refusals
from support.placement_world import CLUSTER, DISTINCT, SCOPE, PlacementWorld, chain, demand, member_of

ZONE = "spread attribute:ecs.availability-zone"


# --- the Fargate pool -------------------------------------------------------------------------------------------------


def pooled(**more: Any) -> Demand:
    return demand(**{"cluster": "", "networked": True, "zones": ("us-east-1b", "us-east-1a"), **more})


Nodes = dict[str, dict[str, Any]]


def pool(nodes: Nodes) -> PlacementWorld:
    world = PlacementWorld()
    for id, node in nodes.items():
        used = {name: node[name] for name in ("cpu_used", "memory_used") if name in node}
        room = world.add(id, fargate=True, **{name: value for name, value in node.items() if name not in used})
        world.tx.put(ROOMS, rooms.POOL, _with(room, **used))
    return world


def _with(room: Room, **changes: int) -> Room:
    return Room(**{name: getattr(room, name) for name in room.__struct_fields__} | changes)


@pytest.mark.parametrize(
    ("wanted", "nodes", "chosen"),
    [
        (pooled(), {"a": {}}, ("a", "us-east-1b")),
        (pooled(), {"a": {"memory_used": 1024}, "b": {}}, ("b", "us-east-1b")),
        (pooled(), {"a": {"memory": 1 << 20, "cpu_used": 4000}, "b": {}}, ("b", "us-east-1b")),
        (pooled(), {"a": {"zone": "us-east-1a"}}, ("a", "us-east-1a")),
        (pooled(), {"a": {"zone": "us-east-1c"}, "b": {"memory": 512}}, ("b", "us-east-1b")),
        (pooled(), {"a": {"attributes": {"homeport.region": "us-east-1"}}}, ("a", "us-east-1b")),
        (pooled(memory=8192, cpu=4096), {"a": {}}, ("a", "us-east-1b")),
        (pooled(zones=()), {"a": {}}, ("a", None)),
        # one that is only silent for a moment comes after every connected one, however much room it has
        (pooled(), {"a": {"connected": False}, "b": {"memory": 600}}, ("b", "us-east-1b")),
        (pooled(), {"a": {"connected": False}}, ("a", "us-east-1b")),
        (
            pooled(architecture="ARM64"),
            {"a": {}, "b": {"memory": 600, "attributes": {"ecs.cpu-architecture": "arm64"}}},
            ("b", "us-east-1b"),
        ),
        # no power of two: a node with as many binary digits of free CPU may still have too little
        (pooled(cpu=700), {"a": {"cpu": 650, "memory": 9000}, "b": {"cpu": 700}}, ("b", "us-east-1b")),
    ],
)
def test_a_place_in_the_pool(wanted: Demand, nodes: Nodes, chosen: tuple[str, str | None]) -> None:
    found = pool(nodes).place(wanted)
    assert isinstance(found, Placement)
    assert (found.room.id, found.zone) == chosen


@pytest.mark.parametrize(
    ("wanted", "nodes", "reasons"),
    [
        (pooled(), {}, {}),
        (pooled(), {"a": {"lost": True}}, {}),
        (pooled(cpu=8192), {"a": {}}, {"RESOURCE:CPU": 1}),
        (pooled(memory=9000), {"a": {}, "b": {"memory": 1}}, {"RESOURCE:MEMORY": 2}),
        (pooled(), {"a": {"memory_used": 9000}}, {"RESOURCE:MEMORY": 1}),  # registered less than its tasks take
        (
            pooled(),
            {"a": {"zone": "us-east-1c"}, "b": {"attributes": {"homeport.region": "eu-west-1"}}},
            {"LOCATION": 2},
        ),
        (pooled(architecture="ARM64"), {"a": {}}, {"ATTRIBUTE": 1}),
    ],
)
def test_no_place_in_the_pool(wanted: Demand, nodes: Nodes, reasons: dict[str, int]) -> None:
    found = pool(nodes).place(wanted)
    assert isinstance(found, Refusals)
    assert found.reasons == reasons


def test_the_pool_and_clusters_are_apart() -> None:
    world = PlacementWorld()
    world.add("pooled", fargate=True)
    assert world.place(demand()) == Refusals(())
    world.add("mine")
    assert world.start(demand()) == "mine"
    assert world.start(pooled()) == "pooled"
    assert world.place(demand(cluster=CLUSTER + "-other")) == Refusals(())


def test_a_refusal_says_why() -> None:
    refusals = pool({"a": {"memory": 4000}, "b": {"cpu": 1}}).place(pooled(memory=8000))
    assert isinstance(refusals, Refusals)
    assert refusals.detail == "RESOURCE:MEMORY on 1 of 2, RESOURCE:CPU on 1 of 2"


# --- why an instance of a cluster refuses -----------------------------------------------------------------------------

AWSVPC: dict[str, Any] = {"networked": True, "zones": ("us-east-1a",)}
DATABASE = member_of("task:group == database")


@pytest.mark.parametrize(
    ("wanted", "instance", "reason"),
    [
        ({}, {}, None),
        ({}, {"connected": False}, "AGENT"),
        ({"cpu": 5000}, {"connected": False}, "AGENT"),  # the agent comes first,
        ({"cpu": 5000, "memory": 9000}, {}, "RESOURCE:CPU"),  # then what is short, CPU before memory,
        ({"memory": 9000, "attributes": (("x", None),)}, {}, "RESOURCE:MEMORY"),
        ({"attributes": (("x", None),), **AWSVPC}, {"zone": "us-east-1b"}, "ATTRIBUTE"),  # then attributes,
        ({**AWSVPC, "constraints": (DATABASE,)}, {"zone": "us-east-1b"}, "LOCATION"),  # then the subnets' zones,
        ({"constraints": (DISTINCT, DATABASE), "group": "cache"}, {}, "MemberOf placement constraint unsatisfied."),
        ({"constraints": (DISTINCT,), "group": "cache"}, {}, "DistinctInstance placement constraint unsatisfied"),
        ({"constraints": (DISTINCT,), "group": "other"}, {}, None),
        ({"constraints": (member_of("task:group == cache"),)}, {}, None),
        ({"constraints": (member_of("runningTasksCount < 1"),)}, {}, "MemberOf placement constraint unsatisfied."),
        ({"constraints": (member_of("attribute:stack == prod"),)}, {"custom": {"stack": "prod"}}, None),
        (
            {"constraints": (member_of("attribute:stack == prod"),)},
            {"custom": {"stack": "test"}},
            "MemberOf placement constraint unsatisfied.",
        ),
        (
            {"constraints": (member_of("attribute:a exists"), member_of("attribute:b exists"))},
            {"custom": {"a": ""}},
            "MemberOf placement constraint unsatisfied.",
        ),
        ({"tcp": (22,)}, {}, "RESOURCE:PORTS"),  # reserved
        ({"tcp": (8080,)}, {}, "RESOURCE:PORTS"),  # in use
        ({"udp": (8080,)}, {}, None),
        ({"udp": (53,)}, {}, "RESOURCE:PORTS"),
        ({"tcp": tuple(range(1000, 1096))}, {}, None),  # 100 with the two reserved and the two in use
        ({"tcp": tuple(range(1000, 1097))}, {}, "RESOURCE:PORTS"),
        ({"gpus": 1}, {}, "RESOURCE:GPU"),
        ({"gpus": 2}, {"gpus": ("g1", "g2")}, None),
        ({"gpus": 3}, {"gpus": ("g1", "g2")}, "RESOURCE:GPU"),
        ({**AWSVPC}, {"attributes": {"homeport.max-interfaces": "2"}}, None),
        ({"networked": True}, {"attributes": {"homeport.max-interfaces": "1"}, "awsvpc": 1}, "RESOURCE:ENI"),
        ({}, {"attributes": {"homeport.max-interfaces": "1"}, "awsvpc": 1}, None),
        ({**AWSVPC}, {"zone": "us-east-1a"}, None),
        ({"architecture": "ARM64"}, {}, "ATTRIBUTE"),
        ({"attributes": (("x", "1"), ("y", None))}, {"attributes": {"x": "1", "y": "2"}}, None),
        ({"attributes": (("x", "2"),)}, {"attributes": {"x": "1"}}, "ATTRIBUTE"),
        ({"launch_type": "EC2"}, {}, None),
        ({"launch_type": "EXTERNAL"}, {"attributes": {"ecs.capability.external": ""}}, None),
        ({"provider": "p"}, {"provider": "p"}, None),
    ],
)
def test_a_reason(wanted: dict[str, Any], instance: dict[str, Any], reason: str | None) -> None:
    """The instance runs a task of the group "cache" that has port 8080 of TCP and 53 of UDP."""
    world = PlacementWorld()
    interfaces = instance.pop("awsvpc", 0)
    world.add("i", **instance)
    world.starts(demand(cpu=1, memory=1, group="cache", tcp=(8080,), udp=(53,), networked=bool(interfaces)), "i")
    found = world.place(demand(**wanted))
    assert (found.failures if isinstance(found, Refusals) else None) == (
        ((world.room("i").arn, reason),) if reason else None
    )
    assert placement.explain(demand(**wanted), world.index) == [(world.room("i"), reason)]


def test_instances_that_a_demand_is_not_for_do_not_answer() -> None:
    world = PlacementWorld()
    world.add("ec2", provider="p")
    world.add("external", attributes={"ecs.capability.external": ""})
    world.add("draining", status="DRAINING")
    for wanted, arns in (
        ({}, ["ec2", "external"]),
        ({"launch_type": "EC2"}, ["ec2"]),
        ({"launch_type": "EXTERNAL"}, ["external"]),
        ({"provider": "p"}, ["ec2"]),
        ({"provider": "q"}, []),
    ):
        found = world.place(demand(cpu=9999, **wanted))
        assert isinstance(found, Refusals)
        assert [f.arn.rpartition("/")[2] for f in found.failures] == arns
    explained = placement.explain(demand(), world.index)
    assert [(room.id, reason) for room, reason in explained] == [
        ("draining", "INACTIVE"),
        ("ec2", None),
        ("external", None),
    ]


def test_an_expression_that_can_not_be_read() -> None:
    with pytest.raises(AwsError, match="Invalid expression"):
        PlacementWorld().place(demand(constraints=(member_of("attribute:x =="),)))


# --- strategies -------------------------------------------------------------------------------------------------------


def zones() -> PlacementWorld:
    """Instances a1, a2, b1, b2, c1 in as many zones as letters; b2 has 2 GiB, the others 8."""
    world = PlacementWorld()
    for id in ("a1", "a2", "b1", "b2", "c1"):
        rack = {"rack": id[1]} if id != "c1" else {}
        world.add(id, zone=f"us-east-1{id[0]}", memory=2048 if id == "b2" else 8192, custom=rack)
    return world


@pytest.mark.parametrize(
    ("strategy", "before", "chosen"),
    [
        (("binpack memory",), {}, {"b2"}),
        (("binpack MEMORY",), {}, {"b2"}),
        (("binpack cpu",), {}, {"b2"}),  # all have as much CPU: the one with less memory
        (("binpack cpu",), {"x": ["a2"]}, {"a2"}),
        (("binpack memory",), {"x": ["a1"] * 13}, {"a1"}),
        (("binpack memory",), {"x": ["b2"] * 4}, {"a1", "a2", "b1", "c1"}),  # b2 is full
        ((ZONE,), {}, {"a1", "a2", "b1", "b2", "c1"}),
        ((ZONE,), {"g": ["a1", "b1"]}, {"c1"}),
        ((ZONE,), {"x": ["c1"], "g": ["a1", "b1"]}, {"c1"}),  # other groups don't count
        ((ZONE,), {"g": ["c1", "b1"]}, {"a1", "a2"}),
        ((ZONE, "binpack memory"), {}, {"b2"}),
        ((ZONE, "binpack memory"), {"g": ["b1"], "x": ["a2"]}, {"a2"}),
        ((ZONE, "spread instanceId"), {"g": ["a1", "b1", "b1", "c1", "c1"]}, {"a2"}),
        ((ZONE, "binpack cpu", "random"), {"g": ["a1", "b1"]}, {"c1"}),
        (("spread instanceId",), {"g": ["a1", "a2", "b1", "b2"]}, {"c1"}),
        (("spread host",), {"g": ["a1", "a2", "a2", "b1", "b2", "c1", "c1"]}, {"a1", "b1", "b2"}),
        (("spread instanceId", "binpack memory"), {"g": ["a1", "a2", "a2", "b1", "b2", "c1", "c1"]}, {"b2"}),
        (("spread instanceId", ZONE), {"g": ["a1", "b1", "b1", "c1", "c1"]}, {"a2"}),
        (("spread attribute:rack",), {"g": ["a1", "b2"]}, {"c1"}),  # no rack is a value as well
        (("spread attribute:rack",), {"g": ["a1", "c1"]}, {"a2", "b2"}),
        (("binpack memory", ZONE), {"x": ["b2"] * 4, "g": ["a1", "b1"], "h": ["c1"]}, {"c1"}),
        (("binpack memory", "binpack cpu", ZONE), {"x": ["b2"] * 4 + ["a1"], "g": ["b1"]}, {"a1"}),
        (("binpack cpu", "binpack cpu", "spread instanceId"), {"x": ["b2"] * 4, "g": ["a1"], "h": ["b1"]}, {"b1"}),
        (("random",), {}, {"a1", "a2", "b1", "b2", "c1"}),
        (("random", "binpack memory"), {}, {"a1", "a2", "b1", "b2", "c1"}),
        ((), {}, {"a1", "a2", "b1", "b2", "c1"}),
        ((), {"x": ["b2"] * 4}, {"a1", "a2", "b1", "c1"}),
    ],
)
def test_a_strategy_chooses(strategy: tuple[str, ...], before: dict[str, list[str]], chosen: set[str]) -> None:
    """Over fifty draws all that are as good are chosen, and no other."""
    world = zones()
    for group, ids in before.items():
        world.starts(demand(group=group), *ids)
    found = [world.place(demand(group="g", strategy=chain(*strategy))) for _ in range(50)]
    ids = {f.room.id for f in found if isinstance(f, Placement)}
    if "binpack" in (strategy or ("",))[-1]:
        assert ids
        assert ids <= chosen
    else:
        assert ids == chosen


def test_a_batch_sees_the_tasks_before_it() -> None:
    world = zones()
    wanted = demand(group="g", strategy=chain(ZONE, "spread instanceId"))
    assert sorted((world.start(wanted) or "")[0] for _ in range(6)) == ["a", "a", "b", "b", "c", "c"]
    assert [world.index.by_instance(CLUSTER, "g")[id] for id in ("a1", "a2", "b1", "b2", "c1")] == [1, 1, 1, 1, 2]
    world.stop(world.tasks[0])
    assert sum(world.index.by_instance(CLUSTER, "g").values()) == 5


def test_constraints_bind_and_strategies_do_not() -> None:
    world = zones()
    in_a = member_of("attribute:ecs.availability-zone == us-east-1a")
    wanted = demand(group="g", strategy=chain(ZONE, "binpack memory"), constraints=(in_a, DISTINCT))
    assert [world.start(wanted) for _ in range(3)] == ["a1", "a2", None]


def test_gpus_are_given_once() -> None:
    world = PlacementWorld()
    world.add("i", gpus=("g1", "g2", "g3"))
    found = world.place(demand(gpus=2))
    assert isinstance(found, Placement)
    assert found.gpus == ("g1", "g2")
    task = world.put(demand(gpus=2), found)
    assert world.room("i").gpus == ("g3",)
    assert world.start(demand(gpus=2)) is None
    world.stop(task)
    assert world.room("i").gpus == ("g1", "g2", "g3")


def test_an_instance_registers_again_with_what_its_tasks_take() -> None:
    world = PlacementWorld()
    world.add("i", gpus=("g1", "g2"))
    world.start(demand(tcp=(8080,), gpus=1))
    instance = world.tx.get(INSTANCES, SCOPE, "i")
    assert instance is not None
    again = rooms.of(world.tx, SCOPE, instance, world.room("i"))
    assert again == world.room("i")
    assert (again.tcp, again.gpus, again.memory_free) == ((22, 8080, 51678), ("g2",), 8192 - 512)


def test_the_query_language_sees_instances() -> None:
    world = PlacementWorld()
    world.add("i", ec2_instance_id="i-1", version_info={"agentVersion": "1.105.1"}, custom={"stack": "prod"})
    world.starts(demand(group="web"), "i", "i")
    instance = world.tx.get(INSTANCES, SCOPE, "i")
    assert instance is not None
    seen = rooms.subject(world.tx, SCOPE, instance)
    assert (seen.agent_connected, seen.agent_version, seen.ec2_instance_id) == (True, "1.105.1", "i-1")
    assert (seen.registered_at, seen.running_tasks_count, seen.pending_tasks_count) == (0.0, 2, 0)
    assert (seen.status, seen.attribute("stack"), seen.attribute("other")) == ("ACTIVE", "prod", None)
    assert (list(seen.groups()), seen.runs_group("web"), seen.runs_group("db")) == (["web"], True, False)


# --- ten thousand instances -------------------------------------------------------------------------------------------


class Watched(placement.StoreIndex):
    """An index that counts the rooms which are looked at."""

    seen = 0

    def room(self, cluster: str, id: str) -> Room | None:
        self.seen += 1
        return super().room(cluster, id)


@pytest.fixture(scope="module")
def crowd() -> PlacementWorld:
    """10,000 instances in three zones and two stacks; the first 3,000 are full, 500 more have a web server each."""
    world = PlacementWorld()
    for i in range(10_000):
        world.add(f"{i:05}", zone=f"us-east-1{'abc'[i % 3]}", custom={"stack": "prod" if i % 2 else "test"})
    world.starts(demand(memory=8192, cpu=64), *(f"{i:05}" for i in range(1500)))
    world.starts(demand(memory=64, cpu=4096), *(f"{i:05}" for i in range(1500, 3000)))
    world.starts(demand(group="web", tcp=(80,), strategy=chain("random")), *(f"{i:05}" for i in range(3000, 3500)))
    return world


@pytest.mark.parametrize(
    "wanted",
    [
        {"strategy": chain(ZONE, "binpack memory")},
        {"strategy": chain("binpack cpu")},
        {"strategy": chain("binpack memory", "binpack cpu", ZONE, "random")},
        {"strategy": chain("random")},
        {"strategy": chain(ZONE, "spread instanceId")},
        {},
        {"group": "web", "constraints": (DISTINCT,), "strategy": chain(ZONE, "binpack memory")},
        {"constraints": (member_of("attribute:stack == prod"),), "strategy": chain("binpack memory")},
        {"constraints": (member_of("not (task:group == web)"),)},
        {"cpu": 700, "memory": 700, "strategy": chain("binpack cpu")},
        {"tcp": (443,), "strategy": chain("binpack memory")},
    ],
)
def test_few_rooms_are_looked_at(crowd: PlacementWorld, wanted: dict[str, Any]) -> None:
    index = Watched(crowd.tx, SCOPE)
    assert isinstance(placement.place(demand(**wanted), index, crowd.chance.randrange), Placement)
    assert index.seen <= 40


# --- capacity providers -----------------------------------------------------------------------------------------------

BOTH = ("FARGATE", "FARGATE_SPOT")


def items(*parts: tuple[str, int, int]) -> list[dict[str, Any]]:
    return [{"capacityProvider": name, "weight": weight, "base": base} for name, weight, base in parts]


@pytest.mark.parametrize(
    ("strategy", "count", "chosen"),
    [
        (items(("FARGATE", 1, 0)), 2, ["FARGATE"] * 2),
        (items(("FARGATE", 0, 0)), 2, ["FARGATE"] * 2),
        (items(("FARGATE", 1, 0), ("FARGATE_SPOT", 3, 0)), 8, ["FARGATE"] * 2 + ["FARGATE_SPOT"] * 6),
        (items(("FARGATE", 0, 2), ("FARGATE_SPOT", 1, 0)), 5, ["FARGATE"] * 2 + ["FARGATE_SPOT"] * 3),
        (items(("FARGATE", 1, 10), ("FARGATE_SPOT", 1, 0)), 3, ["FARGATE"] * 3),
    ],
)
def test_a_strategy_splits_tasks(strategy: list[dict[str, Any]], count: int, chosen: list[str]) -> None:
    capacity.check(strategy, BOTH)
    assert sorted(capacity.split(strategy, count)) == chosen


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        (items(("FARGATE", 1, 0)) * 21, "at most 20"),
        (items(("other", 1, 0)), "not associated with the cluster"),
        (items(("FARGATE", 1001, 0)), "weight is 0 to 1000"),
        (items(("FARGATE", 1, -1)), "base 0 to 100000"),
        (items(("FARGATE", 1, 1), ("FARGATE_SPOT", 1, 1)), "with a base value defined"),
        (items(("FARGATE", 0, 1), ("FARGATE_SPOT", 0, 0)), "weight value greater than zero"),
    ],
)
def test_a_strategy_that_can_not_be_followed(strategy: list[dict[str, Any]], text: str) -> None:
    with pytest.raises(AwsError, match=text):
        capacity.check(strategy, BOTH)
