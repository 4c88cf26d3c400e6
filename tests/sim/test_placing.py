"""The invariants of container instances and placement, on records that violate them and on records that don't."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from homeport.services.ecs.model.instance import Instance, Room
from homeport.services.ecs.model.task import Container, NodeStatus, Task, TaskStatus
from homeport.sim import placing as law
from homeport.sim.clusters import KINDS, PLACED, PROVIDERS, draw_cluster
from homeport.sim.invariants import a_room_is_never_overdrawn
from homeport.sim.rules import RULES, Seen
from homeport.sim.scenario import FAMILIES

CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/default"
ARN = "arn:aws:ecs:us-east-1:123456789012:container-instance/default/" + "a" * 32
SEEDS = range(60)
TASK = Task(
    id="1" * 32,
    cluster_arn=CLUSTER,
    definition_arn="arn:aws:ecs:us-east-1:123456789012:task-definition/web:1",
    launch_type="EC2",
    group="family:web",
    cpu=256,
    memory=512,
    created_at=0.0,
    containers=(Container(id="1", name="app"),),
    instance=ARN,
    charged=True,
    tcp=(8080,),
    last_status=TaskStatus.RUNNING,
    node_status=NodeStatus.RUNNING,
)
INSTANCE = Instance(
    id="a" * 32,
    arn=ARN,
    cluster_arn=CLUSTER,
    node="node0",
    registered_at=0.0,
    connections=1,
    resources=(
        {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22"]},
        {"name": "GPU", "type": "STRINGSET", "stringSetValue": ["g0", "g1"]},
    ),
)
ROOM = Room(id="a" * 32, arn=ARN, cpu=1024, memory=2048, cpu_used=256, memory_used=512, tasks=1, interfaces=2)


def test_a_room_is_not_overdrawn_further_where_its_machine_has_less_by_now() -> None:
    def judged(before: Room | None, after: Room) -> str | None:
        return a_room_is_never_overdrawn(after, before)

    assert judged(None, ROOM) is None
    assert judged(ROOM, replace(ROOM, cpu_used=1280))
    assert judged(ROOM, replace(ROOM, memory_used=-1))
    assert judged(ROOM, replace(ROOM, interfaces_used=3))
    smaller = replace(ROOM, cpu=128, memory=256)
    assert judged(ROOM, smaller) is None
    assert judged(smaller, replace(smaller, cpu_used=0, memory_used=0)) is None
    assert judged(smaller, replace(smaller, cpu_used=512))


def test_a_room_lists_the_ports_and_gpus_that_are_taken() -> None:
    judged = law.a_room_lists_the_ports_and_gpus_that_are_taken
    right = replace(ROOM, tcp=(22, 8080), gpus=("g1",))
    task = replace(TASK, gpus=("g0",))
    assert judged(right, INSTANCE, [task]) is None
    assert judged(right, INSTANCE, [])
    assert judged(replace(right, tcp=(22,)), INSTANCE, [task])
    assert judged(replace(right, udp=(53,)), INSTANCE, [task])
    assert judged(replace(right, gpus=("g0", "g1")), INSTANCE, [task])


def test_a_room_is_as_large_as_its_instance() -> None:
    sizes = ({"name": "CPU", "integerValue": 1024}, {"name": "MEMORY", "integerValue": 2048})
    assert law.a_room_is_as_large_as_its_instance(ROOM, replace(INSTANCE, resources=sizes)) is None
    assert law.a_room_is_as_large_as_its_instance(replace(ROOM, cpu=2048), replace(INSTANCE, resources=sizes))


def test_nothing_is_held_by_two_tasks() -> None:
    other = replace(TASK, id="2" * 32)
    assert law.nothing_is_held_by_two_tasks(ARN, [TASK, other])
    assert law.nothing_is_held_by_two_tasks(ARN, [TASK, replace(other, tcp=(), udp=(8080,))]) is None
    assert law.nothing_is_held_by_two_tasks(ARN, [replace(TASK, gpus=("g0",)), replace(other, tcp=(), gpus=("g0",))])


def test_what_a_task_asks_for_is_charged() -> None:
    mappings = [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81, "hostPort": 0}]
    members = {"networkMode": "bridge", "containerDefinitions": [{"name": "app", "portMappings": mappings}]}
    assert law.what_a_task_asks_for_is_charged(TASK, members) is None
    assert law.what_a_task_asks_for_is_charged(replace(TASK, tcp=()), members)
    assert law.what_a_task_asks_for_is_charged(replace(TASK, charged=False), members)
    assert law.what_a_task_asks_for_is_charged(TASK, {**members, "networkMode": "awsvpc"})


@pytest.mark.parametrize(
    "instance",
    [
        None,
        replace(INSTANCE, status="DRAINING"),
        replace(INSTANCE, status="INACTIVE"),
        replace(INSTANCE, silent_since=5.0),
        replace(INSTANCE, attributes=({"name": law.EXTERNAL_ATTRIBUTE},)),
        replace(INSTANCE, cluster_arn=CLUSTER + "2"),
        replace(INSTANCE, cluster_arn=""),
    ],
)
def test_a_task_is_placed_where_it_may(instance: Instance | None) -> None:
    assert law.a_task_is_placed_where_it_may(TASK, INSTANCE, PROVIDERS) is None
    assert law.a_task_is_placed_where_it_may(TASK, instance, PROVIDERS)


def test_a_task_is_placed_on_its_capacity_providers_instances() -> None:
    task = replace(TASK, capacity_provider="main")
    assert law.a_task_is_placed_where_it_may(task, INSTANCE, PROVIDERS)
    grouped = replace(INSTANCE, attributes=({"name": law.GROUP_ATTRIBUTE, "value": PROVIDERS["main"]},))
    assert law.a_task_is_placed_where_it_may(task, grouped, PROVIDERS) is None


def test_distinct_instances_are_distinct() -> None:
    judged = law.distinct_instances_are_distinct
    other = replace(TASK, id="2" * 32)
    assert judged(TASK, [TASK, other])
    assert judged(TASK, [TASK, replace(other, group="family:db")]) is None
    assert judged(TASK, [TASK, replace(other, desired_status="STOPPED")]) is None


def test_a_task_is_placed_once() -> None:
    assert law.a_task_is_placed_once(replace(TASK, charged=False), TASK)
    assert law.a_task_is_placed_once(replace(TASK, charged=False, instance=None), TASK) is None
    assert law.a_task_is_placed_once(TASK, TASK) is None


def test_agents_keep_to_themselves() -> None:
    assert law.an_agent_acts_for_its_own_instance("node1", INSTANCE)
    assert law.an_agent_acts_for_its_own_instance("node0", INSTANCE) is None
    assert law.an_agent_acts_for_its_own_instance("node0", None) is None
    tasks = {TASK.id: TASK}
    assert law.an_agent_sees_its_own_tasks("node0", ARN, [TASK.arn], tasks) is None
    assert law.an_agent_sees_its_own_tasks("node1", ARN[:-1] + "b", [TASK.arn], tasks)


def test_nothing_waits_for_an_empty_instance() -> None:
    assert law.nothing_waits_for_an_empty_instance(TASK, [ROOM])
    assert law.nothing_waits_for_an_empty_instance(TASK, []) is None


@pytest.mark.parametrize("expression", RULES)
def test_member_of_is_met_by_some_and_not_by_others(expression: str) -> None:
    zones: list[dict[str, str]] = [{"ecs.availability-zone": f"us-east-1{letter}"} for letter in "abc"]
    more: list[dict[str, str]] = [{}, {"stack": "prod"}, {"stack": "test", "ssd": ""}]
    seen = [
        Seen({**zone, **some}, id, True, pets, pets)
        for zone in zones
        for some in more
        for id in ("i-1", "mi-1")
        for pets in (frozenset[str](), frozenset({"pets"}))
    ]
    assert {law.member_of_is_met(expression, one) is None for one in seen} == {True, False}


def test_the_seeds_are_full_of_bad_days() -> None:
    scenarios = [draw_cluster(seed) for seed in SEEDS]
    steps = [step for scenario in scenarios for step in scenario.steps]
    done = [step.do for step in steps]
    for fault in ("kill-server", "kill-agent", "herd", "resize", "silence", "drain", "activate", "deregister", "start"):
        assert done.count(fault) >= 20, fault
    assert done.count("place") >= 500
    mischief = [step.more["kind"] for step in steps if step.do == "mischief"]
    for kind in ("replay", "meddle", "snoop", "nonsense", "babble", "clone"):
        assert mischief.count(kind) >= 5, kind
    assert {machine.kind for scenario in scenarios for machine in scenario.hardware} == set(KINDS)


def test_the_seeds_are_full_of_what_placement_can_be_asked_for() -> None:
    steps = [step for seed in SEEDS for step in draw_cluster(seed).steps]
    placed: list[dict[str, Any]] = [step.more for step in steps if step.do == "place"]
    asked = [constraint["type"] for more in placed for constraint in more["constraints"]]
    for constraint in ("distinctInstance", "memberOf"):
        assert asked.count(constraint) >= 100, constraint
    assert {item["type"] for more in placed for item in more["strategy"]} == {"random", "binpack", "spread"}
    assert {more["provider"] for more in placed} == {"", *PROVIDERS}
    made = [step.more for step in steps if step.do == "define" and int(step.more["family"][1:]) >= FAMILIES]
    assert {more["family"] for more in made} == {f"f{FAMILIES + number}" for number in range(PLACED)}
    ports = [m for more in made for c in more["containerDefinitions"] for m in c.get("portMappings", ())]
    assert sum(m["hostPort"] != 0 for m in ports) >= 100
    assert {m["protocol"] for m in ports} == {"tcp", "udp"}
