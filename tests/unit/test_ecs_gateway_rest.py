"""What the gateway does not do: it looks for something to send only where there may be something."""

from __future__ import annotations

from typing import Any

import pytest
from ecs_world import Agent, World, play

from homeport.services.ecs.agentsession import Session


def test_what_a_node_tells_of_a_task_is_no_reason_to_look_for_what_to_send_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(world: World) -> None:
        agent = Agent(world, "pool")
        await agent.register()
        await agent.connect()
        looks: list[Any] = []
        plan = Session._plan

        def counted(self: Session, view: Any, dirty: Any, greet: bool) -> Any:
            looks.append(dict(dirty))
            return plan(self, view, dirty, greet)

        monkeypatch.setattr(Session, "_plan", counted)
        arn = (await world.run_task())["tasks"][0]["taskArn"]
        await agent.sent(arn, "RUNNING")
        started = len(looks)
        await agent.report(arn, "RUNNING")
        await world.becomes(arn, "RUNNING")
        assert len(looks) == started
        await world.call("StopTask", cluster="demo", task=arn)
        await agent.sent(arn, "STOPPED")
        assert len(looks) == started + 1
        await agent.report(arn, "STOPPED", {"status": "STOPPED", "exitCode": 0})
        await world.becomes(arn, "STOPPED")
        assert len(looks) <= started + 2, "its interface is gone"

    play(scene)
