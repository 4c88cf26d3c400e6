"""Services that wait for room, and which of them a change wakes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from scheduling_world import CLUSTER, NOW, pending, task

from homeport.services.ecs import service_news
from homeport.services.ecs.model.instance import Room
from homeport.services.ecs.model.task import Container, NodeStatus, TaskStatus
from homeport.services.ecs.shortage import OFFERED, Need, Shortage, either
from homeport.store import Key


def key(id: str, kind: str = "service") -> Key:
    return Key("1", "r", kind, id)


def room(cpu: int, **fields: Any) -> Room:
    return Room(**{"id": "i", "arn": "a", "cpu": cpu, "memory": 4096, "cluster": CLUSTER, "open": True, **fields})


AT = key("i", "room")


def served(shortage: Shortage, free: int, size: int) -> list[str]:
    """Who is asked, each taking what it needs where it is there."""
    asked = []
    while (next := shortage.next(lambda at, free=free: room(free))) is not None:
        asked.append(next.id)
        free -= size
        shortage.set(next, None)
    return asked


def test_a_room_wakes_no_more_than_it_may_serve_first_come_first_served() -> None:
    shortage = Shortage()
    for n in range(500):
        shortage.set(key(f"s{n}"), Need(CLUSTER, 256, 512))
    assert shortage.offer(AT, room(700))
    assert served(shortage, 700, 256) == ["s0", "s1"]
    assert (shortage.offered, len(shortage)) == (False, 498)


def test_those_that_are_too_big_are_passed_over() -> None:
    shortage = Shortage()
    for id, cpu in (("big", 4096), ("a", 512), ("b", 256)):
        shortage.set(key(id), Need(CLUSTER, cpu, 512))
    assert shortage.offer(AT, room(600))
    assert served(shortage, 600, 512) == ["a"]


def test_who_was_asked_in_vain_goes_to_the_end_of_the_line() -> None:
    shortage = Shortage()
    for id in "abc":
        shortage.set(key(id), Need(CLUSTER, 1, 1))
    for expected in ("abc", "abc"):
        shortage.offer(AT, room(100))
        asked = []
        while (next := shortage.next(lambda at: room(100))) is not None:
            asked.append(next.id)
            shortage.set(next, Need(CLUSTER, 1, 1))
        assert "".join(asked) == expected
    shortage.offer(AT, room(100))
    shortage.set(key("a"), Need(CLUSTER, 1, 1))
    shortage.offer(AT, room(100))
    assert served(shortage, 100, 1) == ["b", "c", "a"]


def test_a_room_is_offered_to_so_many_at_most() -> None:
    shortage = Shortage()
    for n in range(2 * OFFERED):
        shortage.set(key(f"s{n:03}"), Need(CLUSTER, 1, 1))
    shortage.offer(AT, room(1000))
    assert len(served(shortage, 1000, 0)) == OFFERED


def test_rooms_elsewhere_help_nobody_here() -> None:
    shortage = Shortage()
    shortage.set(key("a"), Need("", 1, 1))
    assert not shortage.offer(AT, room(100))
    assert shortage.offer(AT, room(100, cluster=""))
    shortage.set(key("a"), None)
    assert shortage.next(lambda at: room(100, cluster="")) is None
    assert not shortage.offer(AT, room(100, cluster=""))


def test_a_room_with_another_task_is_offered_to_those_that_ask_for_neighbours() -> None:
    shortage = Shortage()
    assert not shortage.offer(AT, room(700), joined=True)
    shortage.set(key("alone"), Need(CLUSTER, 256, 512))
    shortage.set(key("big"), Need(CLUSTER, 2048, 512, beside=True))
    assert not shortage.offer(AT, room(700), joined=True)
    shortage.set(key("beside"), Need(CLUSTER, 256, 512, beside=True))
    assert shortage.offer(AT, room(700), joined=True)
    assert served(shortage, 700, 256) == ["beside"]
    for name in ("a", "b"):
        shortage.set(key(name), Need(CLUSTER, 256, 512))
    shortage.set(key("beside"), Need(CLUSTER, 256, 512, beside=True))
    assert shortage.offer(AT, room(1024))
    assert shortage.offer(AT, room(800), joined=True), "nobody loses a turn by it"
    assert served(shortage, 800, 256) == ["alone", "a", "b"]
    shortage.set(key("beside"), None)
    assert service_news.of_room(room(700), room(700, tasks=1, cpu_used=256)) == "joined"
    assert service_news.of_room(room(700, tasks=1), room(700)) is None
    assert service_news.of_room(room(700, tasks=1, cpu_used=256), room(700)) == "freer"
    assert service_news.of_room(room(700), room(700, tasks=1, open=False)) is None


def test_a_service_with_tasks_of_several_sizes_waits_for_the_least() -> None:
    big, small = Need(CLUSTER, 2048, 512), Need(CLUSTER, 256, 4096, beside=True)
    assert either(None, None) is None
    assert either(big, None) == either(None, big) == big
    assert either(big, small) == either(small, big) == Need(CLUSTER, 256, 512, beside=True)
    assert either(big, Need("", 1, 1)) == big


def test_a_room_that_is_gone_is_offered_to_nobody() -> None:
    shortage = Shortage()
    shortage.set(key("a"), Need(CLUSTER, 1, 1))
    shortage.offer(AT, room(100))
    assert shortage.next(lambda at: None) is None


# --- changes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "matters"),
    [
        ({"version": 9, "wake_at": NOW, "pull_started_at": NOW}, False),
        ({"last_status": TaskStatus.ACTIVATING, "connected_at": NOW}, False),
        ({"node_status": NodeStatus.HANDED}, False),
        ({"last_status": TaskStatus.RUNNING, "started_at": NOW}, True),
        ({"desired_status": "STOPPED"}, True),
        ({"node_status": NodeStatus.STOPPED}, True),
        ({"protected_until": NOW}, True),
        ({"containers": (Container(id="c", name="app", status="RUNNING", runtime_id="x"),)}, False),
        ({"containers": (Container(id="c", name="app", health="HEALTHY"),)}, True),
        ({"containers": (Container(id="c", name="app", status="STOPPED"),)}, True),
        ({"containers": (Container(id="c", name="app", image_digest="sha256:1"),)}, True),
    ],
)
def test_what_changes_no_decision_wakes_nobody(fields: dict[str, Any], matters: bool) -> None:
    before = replace(pending("a"), containers=(Container(id="c", name="app"),))
    assert service_news.matters(before, replace(before, **fields)) == matters


def test_a_task_that_is_forgotten_matters_where_its_end_was_not_noted() -> None:
    assert service_news.matters(None, task("a"))
    assert service_news.matters(task("a"), None)
    assert not service_news.matters(task("a", noted=True), None)


@pytest.mark.parametrize(
    ("before", "after", "freer"),
    [
        ({}, {"cpu_used": 1}, False),
        ({"cpu_used": 2}, {"cpu_used": 1}, True),
        ({"memory_used": 2, "cpu_used": 1}, {"memory_used": 1, "cpu_used": 5}, True),
        ({"tcp": (80,)}, {}, True),
        ({"interfaces_used": 1}, {}, True),
        ({}, {"gpus": ("0",)}, True),
        ({"open": False}, {}, True),
        ({}, {"open": False}, False),
        ({}, {"connected": True}, True),
        ({}, {"kind": "other"}, True),
        ({}, {"provider": "own"}, True),
    ],
)
def test_which_rooms_are_offered(before: dict[str, Any], after: dict[str, Any], freer: bool) -> None:
    assert service_news.freer(room(100, **before), room(100, **after)) == freer
    assert service_news.freer(None, room(100))
    assert not service_news.freer(room(100), None)
