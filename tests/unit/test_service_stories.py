"""The scheduler of services, from the store to the nodes, on virtual time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from ecs_world import SCOPE
from launch_world import bridge, provider
from msgspec.structs import replace
from service_world import Conduct, ServiceWorld, play

from homeport.services import ec2
from homeport.services.ecs import service_effects, service_loop, services
from homeport.services.ecs.model.service import EVENTS, SERVICES
from homeport.services.ecs.model.task import TaskStatus
from homeport.services.ecs.scheduling import reconcile
from homeport.services.ecs.scheduling.plan import Told
from homeport.store.memory import Fault

IMPAIRED = "(service web) is unable to consistently start tasks successfully."
CHECK = {"command": ["CMD", "true"], "interval": 5}


async def create(world: ServiceWorld, name: str = "web", desired: int = 2, **members: Any) -> None:
    await world.call("CreateService", **world.task_params(serviceName=name, desiredCount=desired, **members))


async def on_instances(world: ServiceWorld, name: str = "web", desired: int = 2, **members: Any) -> None:
    await world.call(
        "CreateService", cluster="demo", serviceName=name, taskDefinition="bridge", desiredCount=desired, **members
    )


async def drain(world: ServiceWorld, instance: str) -> None:
    await world.call("UpdateContainerInstancesState", cluster="demo", containerInstances=[instance], status="DRAINING")


def bounds(minimum: int, maximum: int) -> dict[str, int]:
    return {"minimumHealthyPercent": minimum, "maximumPercent": maximum}


def places(world: ServiceWorld, name: str = "web") -> Counter[str]:
    return Counter(t.instance or "" for t in world.tasks(name))


def test_a_service_becomes_steady_and_replaces_what_ends() -> None:
    async def scene(world: ServiceWorld) -> None:
        await create(world, desired=3)
        await world.steady("web")
        assert world.running("web") == 3
        victim = world.tasks("web")[0]
        began = world.clock.mono()
        world.nodes[0].kill(victim.arn)
        await world.until(lambda: len(world.tasks("web", all=True)) == 4)
        # No step of its end is waited for but the report of it, which is one append.
        assert world.clock.mono() - began == pytest.approx(0.1, abs=0.02)
        await world.until(lambda: world.running("web") == 3)
        await world.steady("web")

    play(scene, delay=0.1)


def test_tasks_go_on_while_the_control_plane_starts_anew() -> None:
    async def scene(world: ServiceWorld) -> None:
        await create(world, desired=3)
        await world.steady("web")
        before = {t.id for t in world.tasks("web")}
        await world.restart()
        await world.clock.sleep(120)
        assert {t.id for t in world.tasks("web", all=True)} == before
        world.nodes[0].kill(world.tasks("web")[0].arn)
        await world.until(lambda: world.service("web").steady_at is None)
        await world.steady("web")
        assert len(world.tasks("web")) == 3

    play(scene)


# --- tasks that fail -------------------------------------------------------------------------------------------------


def test_tasks_that_never_start_are_tried_less_and_less_often_until_they_do() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = Conduct(fails="CannotPullContainerError: no such image")
        await create(world, desired=2)
        await world.clock.sleep(3 * 3600)
        started = [
            e for e in services.events(world.store.view(), SCOPE, world.service("web")) if "started" in e.message
        ]
        assert 15 <= len(started) <= 26
        assert started[0].at - started[1].at == pytest.approx(27 * 60, abs=5)
        assert world.events("web").count(IMPAIRED) == 1
        found = world.store.view().all(EVENTS, SCOPE)
        assert {e.name for e in found if e.message == IMPAIRED} == {"SERVICE_TASK_START_IMPAIRED"}
        world.conduct.clear()
        again = await world.define("web")
        await world.call("UpdateService", cluster="demo", service="web", taskDefinition=again)
        await world.until(lambda: world.running("web") == 2, 10)
        assert world.service("web").throttle.rounds == 0

    play(scene, kept=100_000)


def test_tasks_that_end_at_once_neither_hang_nor_exceed_the_quota_of_a_minute() -> None:
    async def scene(world: ServiceWorld) -> None:
        world.conduct["web"] = Conduct(starts=0.05, exits=0.0)
        await create(world, desired=20)
        await world.clock.sleep(65)
        assert 500 <= len(world.tasks("web", all=True)) <= 2 * 500
        assert IMPAIRED not in world.events("web")
        world.conduct.clear()
        await world.until(lambda: world.running("web") == 20, 120)

    play(scene, kept=100_000)


def test_an_unhealthy_task_goes_once_its_replacement_is_healthy() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.define("web", {"name": "app", "image": "httpd:2.4", "healthCheck": CHECK})
        world.conduct["web"] = Conduct(healthy=2.0, unhealthy=100.0)
        await create(world, desired=1)
        await world.steady("web", seconds=5)
        first = world.tasks("web")[0]
        world.conduct["web"] = Conduct(healthy=3.0)
        await world.until(lambda: world.task(first.arn).desired_status == "STOPPED")
        gone = world.task(first.arn)
        assert (gone.stop_code, gone.stopped_reason) == (
            "ServiceSchedulerInitiated",
            "Task failed container health checks",
        )
        second = world.tasks("web")[0]
        assert second.last_status == TaskStatus.RUNNING
        assert second.containers[0].health == "HEALTHY"
        assert any(e.endswith("Amazon ECS replaced 1 tasks due to an unhealthy status.") for e in world.events("web"))

    play(scene)


# --- nodes -----------------------------------------------------------------------------------------------------------


def test_what_runs_on_a_draining_instance_is_replaced_before_it_stops() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        first, second = await world.instance("i1"), await world.instance("i2")
        await on_instances(world, desired=4)
        await world.steady("web")
        assert places(world) == {first.arn: 2, second.arn: 2}  # even without zones
        await drain(world, first.arn)
        await world.until(lambda: places(world) == {second.arn: 4}, 60)
        stops = [t.stopping_at for t in world.tasks("web", all=True) if t.instance == first.arn]
        starts = [t.started_at for t in world.tasks("web") if t.created_at > min(filter(None, stops)) - 60]
        assert min(filter(None, stops)) >= max(filter(None, starts)) + 40 - 1

    play(scene, pool=False)


def test_pending_tasks_on_a_draining_instance_stop_at_once() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        world.conduct["bridge"] = Conduct(starts=100.0)
        first = await world.instance("i1")
        await on_instances(world, desired=2)
        await world.until(lambda: len(world.tasks("web")) == 2)
        second = await world.instance("i2")
        await drain(world, first.arn)
        await world.until(lambda: places(world) == {second.arn: 2}, 5)
        assert "(service web) stopped 2 pending tasks." in world.events("web")

    play(scene, pool=False)


@pytest.mark.parametrize("how", ["lost", "deregistered"])
def test_tasks_of_a_node_that_goes_are_replaced_elsewhere(how: str) -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        add, start = (world.node, create) if how == "lost" else (world.instance, on_instances)
        first = await add("n1")
        await start(world, desired=3)
        await world.steady("web")
        second = await add("n2")
        if how == "lost":
            await first.die()
        else:
            await world.call("DeregisterContainerInstance", cluster="demo", containerInstance=first.arn, force=True)
        await world.until(lambda: places(world) == {second.arn: 3}, 70)
        await world.steady("web")

    play(scene, pool=False)


# --- room ------------------------------------------------------------------------------------------------------------


def test_without_room_it_says_why_and_starts_as_soon_as_there_is_some() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        await on_instances(world, desired=2)
        await world.clock.sleep(1800)
        empty = "was unable to place a task because no container instance met all of its requirements."
        tail = "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
        assert world.events("web") == [
            f"(service web) {empty} Reason: No Container Instances were found in your cluster. {tail}"
        ]
        small = await world.instance("i1", cpu=300)
        await world.until(lambda: len(world.tasks("web")) == 1, 1)
        await world.clock.sleep(900)
        id = small.arn.rpartition("/")[2]
        assert world.events("web")[-1] == (
            f"(service web) {empty} The closest matching (container-instance {id}) has insufficient CPU units "
            f"available. {tail}"
        )
        assert len(world.events("web")) == 3
        told = max(world.store.view().all(EVENTS, SCOPE), key=lambda e: e.number)
        assert (told.name, told.level, told.reason) == ("SERVICE_TASK_PLACEMENT_FAILURE", "ERROR", "RESOURCE:CPU")
        await world.clock.sleep(6 * 3600)
        assert len(world.events("web")) == 4  # once more
        await world.instance("i2")
        await world.steady("web", seconds=60)
        assert world.service("web").told == {}

    play(scene, pool=False)


def test_fargate_without_capacity_says_so() -> None:
    async def scene(world: ServiceWorld) -> None:
        await create(world, desired=1)
        await world.clock.sleep(60)
        [told] = world.events("web")
        assert told.startswith(
            "(service web) was unable to place a task. Reason: Capacity is unavailable at this time."
        )
        await world.node()
        await world.steady("web", seconds=60)

    play(scene, pool=False)


def test_a_room_that_comes_free_wakes_as_few_of_those_that_wait_as_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: Counter[str] = Counter()
    look = service_effects.look

    def counted(tx: Any, key: Any, *rest: Any) -> Any:
        looks[key.id] += 1
        return look(tx, key, *rest)

    monkeypatch.setattr(service_effects, "look", counted)

    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        node = await world.instance("i1", cpu=256)
        await on_instances(world, "first", 1)
        await world.steady("first")
        for n in range(100):
            await world.raw_service(f"s{n:02}", 1, "bridge")
        await world.until(lambda: all(world.service(f"s{n:02}").short for n in range(100)))
        await world.clock.sleep(30)
        looks.clear()
        await world.call("UpdateService", cluster="demo", service="first", desiredCount=0)
        await world.until(lambda: any(world.tasks(f"s{n:02}") for n in range(100)), 5)
        await world.clock.sleep(5)
        assert looks.pop("demo/first") > 0
        assert sum(looks.values()) <= 5  # the one that started, as its task comes up
        assert len(looks) == 1
        assert len(node.running) == 1

    play(scene, pool=False)


def test_tasks_wait_for_instances_that_a_capacity_provider_would_start() -> None:
    async def scene(world: ServiceWorld) -> None:
        await bridge(world)
        await provider(world)
        strategy = [{"capacityProvider": "own", "weight": 1}]
        await on_instances(world, desired=3, capacityProviderStrategy=strategy)
        await world.until(lambda: len(world.tasks("web")) == 3)
        assert {t.last_status for t in world.tasks("web")} == {TaskStatus.PROVISIONING}
        await world.clock.sleep(60)
        assert len(world.tasks("web", all=True)) == 3
        await world.call("UpdateService", cluster="demo", service="web", desiredCount=2)
        await world.until(lambda: len(world.tasks("web")) == 2)
        await world.instance("i1", group="own")
        await world.steady("web", seconds=60)
        assert world.running("web") == 2

    play(scene, pool=False)


def test_new_tasks_keep_base_and_weight_against_those_that_are_there() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.call(
            "PutClusterCapacityProviders",
            cluster="demo",
            capacityProviders=["FARGATE", "FARGATE_SPOT"],
            defaultCapacityProviderStrategy=[],
        )
        params = world.task_params(serviceName="web", desiredCount=6)
        del params["launchType"]
        strategy = [
            {"capacityProvider": "FARGATE", "base": 2, "weight": 1},
            {"capacityProvider": "FARGATE_SPOT", "weight": 3},
        ]
        await world.call("CreateService", **params, capacityProviderStrategy=strategy)
        await world.steady("web")

        def shares() -> Counter[str | None]:
            return Counter(t.capacity_provider for t in world.tasks("web"))

        assert shares() == {"FARGATE": 3, "FARGATE_SPOT": 3}
        await world.call("UpdateService", cluster="demo", service="web", desiredCount=10)
        await world.until(lambda: world.running("web") == 10)
        assert shares() == {"FARGATE": 4, "FARGATE_SPOT": 6}
        for task in [t for t in world.tasks("web") if t.capacity_provider == "FARGATE"]:
            world.nodes[0].kill(task.arn)
        await world.until(lambda: shares() == {"FARGATE": 4, "FARGATE_SPOT": 6} and world.running("web") == 10, 60)

    play(scene)


def test_what_cannot_be_launched_as_it_is_configured_is_told_and_tried_again() -> None:
    async def scene(world: ServiceWorld) -> None:
        await create(world, desired=1)
        await world.steady("web")
        [task] = world.tasks("web")
        groups = world.store.view().all(ec2.model.GROUPS, SCOPE)

        def lose(tx: Any) -> None:
            for group in groups:
                tx.delete(ec2.model.GROUPS, SCOPE, group.id)

        await world.store.update(lose, "test")
        world.nodes[0].kill(task.arn)
        await world.clock.sleep(600)
        told = [e for e in world.events("web") if "failed to launch a task with (error " in e]
        assert len(told) == 1
        assert len(world.tasks("web", all=True)) == 1

        def restore(tx: Any) -> None:
            for group in groups:
                tx.put(ec2.model.GROUPS, SCOPE, group)

        await world.store.update(restore, "test")
        await world.until(lambda: world.running("web") == 1, 1800)

    play(scene)


# --- the loop --------------------------------------------------------------------------------------------------------


def test_a_service_that_cannot_be_looked_at_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    decide = reconcile.reconcile
    broken = {"s3"}

    def fragile(seen: Any, now: float) -> Any:
        if seen.service.name in broken:
            raise RuntimeError("broken")
        return decide(seen, now)

    monkeypatch.setattr(service_effects, "reconcile", fragile)

    async def scene(world: ServiceWorld) -> None:
        names = [f"s{n}" for n in range(6)]
        for name in names:
            await world.raw_service(name, 1)
        await world.steady(*(name for name in names if name not in broken), seconds=60)
        assert world.tasks("s3") == []
        broken.clear()
        await world.steady("s3", seconds=service_loop.BROKEN_SECONDS + 60)

    play(scene)


def test_a_full_disk_is_waited_for() -> None:
    async def scene(world: ServiceWorld) -> None:
        await create(world, desired=2)
        await world.steady("web")
        world.journal.fault = lambda commits: Fault("refused")
        world.nodes[0].running.clear()  # what they report is lost with the disk
        await world.clock.sleep(30)
        world.journal.fault = None
        await world.clock.sleep(2)
        await world.call("UpdateService", cluster="demo", service="web", desiredCount=4)
        await world.until(lambda: len(world.tasks("web")) == 4, 30)

    play(scene)


def test_nothing_is_lost_where_the_journal_refuses_now_and_then() -> None:
    number = 0

    def fault(commits: Any) -> Fault:
        nonlocal number
        number += 1
        return Fault("refused" if number % 7 == 0 and commits and commits[0].cause == service_loop.CAUSE else "lands")

    async def scene(world: ServiceWorld) -> None:
        for n in range(10):
            await world.raw_service(f"s{n}", 0)
        world.journal.fault = fault

        def scale(tx: Any) -> None:
            for n in range(10):
                tx.put(SERVICES, SCOPE, replace(world.service(f"s{n}"), desired=3))

        await world.store.update(scale, "test")
        await world.until(lambda: all(len(world.tasks(f"s{n}")) == 3 for n in range(10)), 120)

    play(scene)


@pytest.mark.parametrize("jump", [-86_400.0, -50.0, 86_400.0])
def test_clock_jumps_stop_nothing(jump: float) -> None:
    async def scene(world: ServiceWorld) -> None:
        await create(world, desired=2)
        await world.until(lambda: world.running("web") == 2)
        world.clock.epoch += jump
        await world.steady("web", seconds=100)
        world.nodes[0].kill(world.tasks("web")[0].arn)
        await world.until(lambda: world.running("web") == 1)
        await world.until(lambda: world.running("web") == 2, 10)
        await world.steady("web", seconds=100)

    play(scene)


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    """Also where nothing but time was left to wait for."""

    async def scene(world: ServiceWorld) -> None:
        await create(world, desired=2)
        await world.until(lambda: world.running("web") == 2)
        await world.clock.sleep(10)
        world.clock.epoch -= 3600.0
        await world.steady("web", seconds=60)

    play(scene)


def test_protection_that_expires_wakes_the_service() -> None:
    async def scene(world: ServiceWorld) -> None:
        await create(world, desired=2)
        await world.steady("web")
        arns = [t.arn for t in world.tasks("web")]
        await world.call("UpdateTaskProtection", cluster="demo", tasks=arns, protectionEnabled=True, expiresInMinutes=5)
        await world.call("UpdateService", cluster="demo", service="web", desiredCount=0)
        await world.clock.sleep(290)
        assert len(world.tasks("web")) == 2
        assert "(reason 2 tasks under protection)" in world.events("web")[-1]
        await world.until(lambda: not world.tasks("web"), 11)

    play(scene)


def test_the_steady_state_is_told_every_six_hours() -> None:
    async def scene(world: ServiceWorld) -> None:
        await create(world, desired=1)
        await world.steady("web")
        await world.clock.sleep(12 * 3600 + 60)
        steady = "(service web) has reached a steady state."
        assert world.events("web").count(steady) == 3

    play(scene)


def test_the_newest_hundred_events_are_kept_and_trouble_is_not_repeated() -> None:
    async def scene(world: ServiceWorld) -> None:
        await create(world, desired=0)
        await world.steady("web")

        async def tell(*told: Told) -> None:
            def note(tx: Any) -> None:
                tx.put(SERVICES, SCOPE, service_effects.tell(tx, SCOPE, world.service("web"), told, world.ids))

            await world.store.update(note, "test")

        for n in range(60):
            await tell(Told(message=f"a{n}"), Told(message=f"b{n}"))
        assert world.events("web") == [f"{which}{n}" for n in range(10, 60) for which in "ab"]
        for seconds in (0, 59, 1):
            await world.clock.sleep(seconds)
            await tell(Told(message=f"c{seconds}", again=60, topic="c"))
        assert world.events("web")[-2:] == ["c0", "c1"]

    play(scene)


def test_a_large_service_is_looked_at_in_pieces() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.node("pool2")
        await create(world, desired=300)
        await world.steady("web", seconds=120)
        assert world.running("web") == 300
        await world.call("UpdateService", cluster="demo", service="web", desiredCount=10)
        await world.until(lambda: len(world.tasks("web")) == 10, 30)
        await world.steady("web", seconds=30)

    play(scene, kept=100_000)
