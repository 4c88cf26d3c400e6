"""What the control plane finishes after a restart."""

from __future__ import annotations

from ecs_world import Agent, World, play

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
