"""Health, check by check; restarts; and both across the death of the agent."""

from __future__ import annotations

import asyncio

import pytest
from agent_world import TASK, TASK_ID, World, container, payload
from test_agent_crash import Killer

from homeport.agent.drivers.fake import Behaviour
from homeport.agent.health import Health, arguments, judged, resumed
from homeport.agentapi import HealthCheck, RestartPolicy

UNKNOWN = Health()


@pytest.mark.parametrize(
    ("check", "results", "statuses"),
    [
        ({}, "p", "H"),
        ({}, "fff", "?-?-U"),
        ({}, "ffpff", "?-?-H-H-H"),  # failures must be in a row
        ({}, "pfffp", "H-H-H-U-H"),
        ({"retries": 1}, "fpf", "U-H-U"),
        ({"start_period": 35}, "ffffff", "?-?-?-?-?-U"),  # the first three, at 10, 20 and 30 s, don't count
        ({"start_period": 35}, "pfff", "H-H-H-U"),  # once healthy, the start is over
    ],
)
def test_judging(check: dict[str, int], results: str, statuses: str) -> None:
    about = HealthCheck(("CMD", "x"), interval=10, **check)
    health, seen = UNKNOWN, []
    for number, result in enumerate(results, 1):
        health = judged(health, about, result == "p", 10.0 * number, 1000.0 + number)
        seen.append({"UNKNOWN": "?", "HEALTHY": "H", "UNHEALTHY": "U"}[health.status])
        assert health.failures <= about.retries
    assert "-".join(seen) == statuses


def test_since_is_when_the_status_changed() -> None:
    about = HealthCheck(("CMD", "x"), retries=2)
    well = judged(UNKNOWN, about, True, 1.0, 50.0)
    assert well == Health("HEALTHY", 50.0)
    assert judged(well, about, True, 2.0, 60.0) == well
    assert judged(well, about, False, 2.0, 60.0) == Health("HEALTHY", 50.0, 1)
    assert judged(judged(well, about, False, 2.0, 60.0), about, False, 3.0, 70.0) == Health("UNHEALTHY", 70.0, 2)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("CMD", "a", "b"), ("a", "b")),
        (("CMD-SHELL", "a | b"), ("/bin/sh", "-c", "a | b")),
        (("NONE",), ()),
        (("CMD",), ()),
        (("a", "b"), ()),
        ((), ()),
    ],
)
def test_commands(command: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert arguments(HealthCheck(command)) == words


@pytest.mark.parametrize(("now", "due"), [(95.0, 100.0), (100.0, 100.0), (100.5, 130.0), (161.0, 190.0)])
def test_a_new_agent_keeps_the_rhythm(now: float, due: float) -> None:
    assert resumed(HealthCheck(("CMD", "x"), interval=30), 100.0, now) == due


def status(w: World) -> tuple[str, ...]:
    assert w.node is not None
    runner = w.node.task(TASK_ID)
    assert runner is not None
    return tuple(c.health.status for c in runner.facts.containers.values())


QUICK = HealthCheck(("CMD", "x"), interval=10, timeout=5, retries=2)


def test_a_dependent_starts_when_what_it_needs_is_healthy() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        db = container("db", health_check=QUICK)
        await node.accept(payload(container("app", after=(("db", "HEALTHY"),)), db))
        await w.control.until(lambda: w.control.status.get(TASK) == "RUNNING")
        assert 40 < w.clock.mono() < 45
        await node.accept(payload(stop=True))
        await w.control.until_stopped()
        signals = [id for event, id in w.runtime.history if event == "signal"]
        assert signals == [f"{TASK_ID}-0", f"{TASK_ID}-1"]

    World(db=Behaviour(check=lambda now: 0 if now > 35 else 1)).run(story)


@pytest.mark.parametrize("why", ["it ends", "it is unhealthy for too long", "it has no check"])
def test_a_dependent_gives_up(why: str) -> None:
    async def story(w: World) -> None:
        node = await w.start()
        check = None if why == "it has no check" else QUICK
        db = container("db", essential=False, health_check=check, start_timeout=60)
        await node.accept(payload(container("app", after=(("db", "HEALTHY"),)), db))
        await w.control.until_stopped()
        assert w.control.containers["app"]["reason"].startswith("TaskDependencyError: ")
        assert (w.clock.mono() > 60) == (why == "it is unhealthy for too long")

    World(db=Behaviour(check=lambda now: 1, runs=5 if why == "it ends" else None)).run(story)


def test_a_check_that_hangs_is_a_failure_and_holds_nothing_up() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web", health_check=QUICK), container("side", health_check=QUICK)))
        await asyncio.sleep(32)
        assert status(w) == ("UNHEALTHY", "HEALTHY")
        await node.accept(payload(stop=True))
        await w.control.until_stopped()
        await w.idle(node)
        w.nothing_left()

    World(web=Behaviour(check=lambda now: None)).run(story)


def test_a_killed_agent_goes_on_counting() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web", health_check=HealthCheck(("CMD", "x"), interval=10, retries=3))))
        await asyncio.sleep(25)  # two have failed
        await w.kill()
        await w.start()
        assert status(w) == ("UNKNOWN",)
        await asyncio.sleep(10)  # and the third
        assert status(w) == ("UNHEALTHY",)
        await w.kill()
        await w.start()
        assert status(w) == ("UNHEALTHY",)

    World(web=Behaviour(check=lambda now: 1)).run(story)


def restarts(w: World) -> int:
    return sum(1 for event, _ in w.runtime.history if event == "restart")


POLICY = RestartPolicy(ignored_exit_codes=(4,), period=60)


@pytest.mark.parametrize(
    ("runs", "code", "times"),
    [(70.0, 0, 3), (70.0, 1, 3), (70.0, 4, 0), (50.0, 1, 0)],
)
def test_an_essential_container_is_restarted_as_its_policy_says(runs: float, code: int, times: int) -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web", restart_policy=POLICY), container("side")))
        await asyncio.sleep(250)
        assert restarts(w) == times
        assert (w.control.status[TASK] == "RUNNING") == bool(times)
        if times:
            assert "executionStoppedAt" not in w.control.reports[-1]
            await node.accept(payload(stop=True))
        await w.control.until_stopped()
        await w.idle(node)
        w.nothing_left()
        assert restarts(w) == times, "nothing is restarted in a task that stops"

    World(web=Behaviour(runs=runs, exit_code=code)).run(story)


def test_health_begins_anew_with_a_restart() -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web", restart_policy=POLICY, health_check=QUICK)))
        await asyncio.sleep(65)
        assert status(w) == ("HEALTHY",)
        await asyncio.sleep(8)
        assert status(w) == ("UNKNOWN",)
        await asyncio.sleep(10)
        assert status(w) == ("HEALTHY",)

    World(web=Behaviour(runs=70)).run(story)


@pytest.mark.parametrize("away", [0.0, 5.0, 75.0])
@pytest.mark.parametrize("at", [69.0, 70.2, 70.6, 72.0])
def test_an_agent_that_is_killed_around_a_restart_restarts_once(at: float, away: float) -> None:
    async def story(w: World) -> None:
        node = await w.start()
        await node.accept(payload(container("web", restart_policy=POLICY)))
        await asyncio.sleep(at)
        await w.kill()
        await asyncio.sleep(away)
        await w.start()
        await asyncio.sleep(100.0 - min(away, 10.0))
        assert w.node is not None
        runner = w.node.task(TASK_ID)
        assert runner is not None
        assert restarts(w) == runner.facts.containers["web"].restarts
        assert w.control.status[TASK] == "RUNNING"
        assert len(w.runtime.running()) == 1

    World(web=Behaviour(runs=70)).run(story)


def test_a_restart_that_fails_stops_the_task() -> None:
    async def story(w: World) -> None:
        from homeport.agent.drivers import DriverError

        def fault(call: str, id: str) -> None:
            if call == "restart":
                raise DriverError("CannotStartContainerError", "no")

        w.fault = fault
        node = await w.start()
        await node.accept(payload(container("web", restart_policy=POLICY)))
        await w.control.until_stopped()
        assert w.control.containers["web"]["reason"] == "CannotStartContainerError: no"
        await w.idle(node)
        w.nothing_left()

    World(web=Behaviour(runs=70)).run(story)


def live(at: int, after: bool) -> tuple[World, int]:
    """A task with a dependency on health and a container that is restarted, its agent killed at one effect."""
    task = payload(
        container("app", after=(("db", "HEALTHY"),)),
        container("db", health_check=QUICK),
        container("web", restart_policy=POLICY),
    )
    w = World(web=Behaviour(runs=70))
    killer = Killer(w, at, after)

    async def serve() -> None:
        node = await w.start()
        await node.accept(task)

    async def keep() -> None:
        while True:
            serving = asyncio.ensure_future(serve())
            await killer.killed.wait()
            killer.killed.clear()
            await w.kill()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await asyncio.sleep(0.7)

    async def story(w: World) -> None:
        keeping = asyncio.ensure_future(keep())
        await asyncio.sleep(120)
        assert status(w) == ("UNKNOWN", "HEALTHY", "UNKNOWN")
        assert restarts(w) == 1
        assert w.node is not None
        runner = w.node.task(TASK_ID)
        assert runner is not None
        assert [c.restarts for c in runner.facts.containers.values()] == [0, 0, 1]
        assert len(w.runtime.running()) == 3
        assert w.control.status[TASK] == "RUNNING"
        runner.stop()
        await w.control.until_stopped()
        await w.idle(w.node)
        w.nothing_left()
        keeping.cancel()

    w.run(story)
    return w, killer.effects


def test_killed_at_every_step_in_turn() -> None:
    _, effects = live(0, after=False)
    for after in (False, True):
        for at in range(1, effects - 12):  # but for the end, which other tests kill
            w, _ = live(at, after)
            starts = [id for event, id in w.runtime.history if event == "start"]
            assert sorted(starts) == [f"{TASK_ID}-{n}" for n in (0, 1, 2, 2)], (at, after)
