"""When a service is looked at: together where its tasks come up, at once where something else happens to them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ecs_world import SCOPE
from msgspec.structs import replace
from service_world import Conduct, ServiceWorld, play

from homeport.services.ecs import lifecycle, service_effects, service_news
from homeport.services.ecs.model.task import TASKS, Container, Task, TaskStatus
from homeport.services.ecs.service_effects import Looked
from homeport.services.ecs.service_news import GATHER_SECONDS, RUNNING_SECONDS
from homeport.store import Change, Key

STEP = 0.05  # seconds from one task to the next


def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When services are looked at from now on."""
    times: list[float] = []
    look = service_effects.look

    def counted(*args: Any) -> Looked:
        times.append(args[0].now)
        return look(*args)

    monkeypatch.setattr(service_effects, "look", counted)
    return times


async def coming_up(world: ServiceWorld, count: int) -> None:
    """``count`` tasks of the service web, which run one after the other."""
    world.conduct["pinned"] = Conduct(starts=7200.0)
    await world.define("pinned", {"name": "app", "image": f"httpd@sha256:{'1' * 64}"})
    await world.raw_service("web", count, "pinned")
    await world.until(lambda: len(world.tasks("web")) == count)
    await asyncio.sleep(1)
    for task in world.tasks("web"):
        await world.nodes[0]._told(task.arn, "RUNNING")
        await asyncio.sleep(STEP)


@pytest.mark.feature("Tasks of a service that come up one after the other are looked at together, not one by one")
def test_tasks_that_come_up_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(world: ServiceWorld) -> None:
        times = looks(monkeypatch)
        count = 40
        await coming_up(world, count)
        assert world.running("web") == count
        await asyncio.sleep(RUNNING_SECONDS)
        began = world.clock.wall() - count * STEP - RUNNING_SECONDS
        there = [at for at in times if at >= began]
        assert 2 <= len(there) <= count * STEP / RUNNING_SECONDS + 2
        assert there[0] < began + STEP, "the first is seen at once"
        last = max(task.started_at or 0.0 for task in world.tasks("web"))
        assert last <= there[-1] <= last + RUNNING_SECONDS + 0.01, "and so is the last, a moment later"

    play(scene)


@pytest.mark.feature("A task whose container is killed is replaced at once, whatever else goes on in its service")
def test_a_killed_task_is_replaced_at_once_though_others_come_up() -> None:
    async def scene(world: ServiceWorld) -> None:
        await coming_up(world, 10)
        (*_, last) = sorted(world.tasks("web"), key=lambda task: task.started_at or 0.0)
        await world.nodes[0]._told(last.arn, "STOPPED", exitCode=137)
        await asyncio.sleep(0.01)
        made = max(task.created_at for task in world.tasks("web"))
        assert made >= world.clock.wall() - 0.01
        await world.until(lambda: len(world.tasks("web")) == 10)

    play(scene)


def task(**changes: Any) -> Task:
    container = Container(id="c", name="app", status="RUNNING", ran=True)
    made = Task(
        id="1",
        cluster_arn="arn:aws:ecs:us-east-1:123456789012:cluster/demo",
        definition_arn="arn:aws:ecs:us-east-1:123456789012:task-definition/web:1",
        launch_type="EC2",
        group="service:web",
        cpu=256,
        memory=512,
        created_at=0.0,
        containers=(container,),
        instance="i1",
        last_status=TaskStatus.RUNNING,
    )
    return replace(made, **changes)


PINNED = {"app": "sha256:1"}


def told(name: str) -> Task:
    """With the digest of its image."""
    return task(containers=(replace(task().containers[0], name=name, image_digest="sha256:1"),))


def healthy(status: Any) -> tuple[Container, ...]:
    return (replace(task().containers[0], health=status),)


@pytest.mark.parametrize(
    ("before", "after", "seconds"),
    [
        (task(last_status=TaskStatus.ACTIVATING), task(), RUNNING_SECONDS),
        (task(), told("app"), GATHER_SECONDS),
        (replace(task(), image_digests=PINNED), replace(told("app"), image_digests=PINNED), RUNNING_SECONDS),
        (task(), task(containers=healthy("HEALTHY")), GATHER_SECONDS),
        (task(containers=healthy("UNHEALTHY")), task(containers=healthy("HEALTHY")), GATHER_SECONDS),
        (task(), task(containers=healthy("UNHEALTHY")), 0.0),
        (task(), task(containers=(replace(task().containers[0], status="STOPPED"),)), 0.0),
        (task(), lifecycle.request_stop(task(), "UserInitiated", "", 1.0), 0.0),
        (task(), task(protected_until=9.0), 0.0),
        (task(instance=None), task(), 0.0),
        (None, task(), 0.0),
        (task(), None, 0.0),
    ],
)
def test_only_what_comes_up_can_wait(before: Task | None, after: Task | None, seconds: float) -> None:
    change = Change(Key(*SCOPE, TASKS.kind, "1"), before, after, 1, 0.0, "report")
    assert service_news.patience(change) == seconds


def test_a_digest_that_its_task_was_told_itself_is_no_news() -> None:
    pinned, said = replace(task(), image_digests=PINNED), replace(told("app"), image_digests=PINNED)
    assert service_news.matters(task(), told("app"))
    assert not service_news.matters(pinned, said)
