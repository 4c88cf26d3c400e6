"""What the control plane finishes after a restart."""

from __future__ import annotations

import asyncio

import pytest
from ecs_world import Agent, World, play

from homeport.services import ecs
from homeport.services.ecs import effects
from homeport.services.ecs.loops import SLICE
from homeport.store import Key, Tx
from homeport.store.memory import MemoryJournal


def test_the_room_of_a_lost_task_that_is_over_is_given_back() -> None:
    """Its node's last word was stored, and nothing after it."""
    journal, arns = MemoryJournal(), []

    async def before(w: World) -> None:
        await w.prepare()
        agent = Agent(w, "n1")
        await agent.register()
        await agent.connect()
        task = (await w.run_task())["tasks"][0]["taskArn"]
        await agent.sent(task, "RUNNING")
        await agent.hang_up()
        await w.becomes(task, "STOPPED")
        assert w.task(task).lost
        assert w.room(agent.arn).tasks == 1
        w._running[1].cancel()  # the task loop: it doesn't get to it
        await agent.report(task, "STOPPED")
        arns.append(agent.arn)

    async def after(w: World) -> None:
        await w.clock.sleep(1)
        assert (w.room(arns[0]).tasks, w.room(arns[0]).cpu_used) == (0, 0)

    play(before, journal)
    play(after, journal)


def test_nodes_that_were_connected_are_noted_as_away_in_one_commit() -> None:
    journal, agents = MemoryJournal(), []

    async def before(w: World) -> None:
        await w.prepare()
        for name in ("n1", "n2", "n3"):
            agents.append(Agent(w, name))
            await agents[-1].register()
            await agents[-1].connect()
        assert all(w.instance(agent.arn).connected for agent in agents)

    async def after(w: World) -> None:
        assert not any(w.instance(agent.arn).connected or w.room(agent.arn).connected for agent in agents)
        assert w.store.counters.commits == 1

    play(before, journal)
    play(after, journal)


def test_a_start_on_many_tasks_gives_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(w: World) -> None:
        agent = Agent(w, "n1")
        await agent.register()
        await agent.connect()
        tasks = [task["taskArn"] for _ in range(6) for task in (await w.run_task(count=10))["tasks"]]
        for task in tasks:
            await agent.sent(task, "RUNNING")
        await w.clock.sleep(1)
        looked_at: list[str] = []

        def advance(tx: Tx, key: Key) -> None:
            looked_at.append(key.id)

        monkeypatch.setattr(effects, "advance", advance)
        started = asyncio.create_task(ecs.TaskLoop(w.store, w.clock, w.ids).run())
        most = before = 0
        for _ in range(100):
            await asyncio.sleep(0)
            most, before = max(most, len(looked_at) - before), len(looked_at)
        assert sorted(looked_at) == sorted(task.rpartition("/")[2] for task in tasks)
        assert most == SLICE
        started.cancel()

    play(scene)
