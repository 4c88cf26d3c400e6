"""The endpoint of tasks in the machine's own network. Pure.

There every process has the machine's addresses, so the id in the path alone says who asks: what names no container of
such a task isn't answered, and nothing is passed on. The address is a loopback one: other machines and tasks with a
network of their own don't reach it. It is told by the agent's instance, so that agents on one machine don't meet and
a container's variables stay true when its agent is killed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from homeport.agent.metadata import routes
from homeport.agent.metadata.answers import named
from homeport.agent.metadata.environment import in_machine
from homeport.agent.plan import TaskGoal

PORT = 51679  # where Amazon's agent has its own; container instances never give it to tasks


class Known(Protocol):
    @property
    def goal(self) -> TaskGoal: ...


T = TypeVar("T", bound=Known)


def address(instance: str) -> str:
    """The agent's address in 127.64.0.0/10 and 127.128.0.0/10. ``instance``: 8 hex digits."""
    one, two, three, _ = bytes.fromhex(instance)
    return f"127.{64 + one % 128}.{two}.{1 + three % 254}"


def asker(route: routes.Route | None, tasks: Iterable[T], key: bytes) -> T | None:
    """The task in the machine's network whose container a path names. ``key``: that of the node's endpoint ids."""
    endpoint: str | None = getattr(route, "endpoint", None)
    if endpoint is None:
        return None
    return next((t for t in tasks if in_machine(t.goal) and named(t.goal, key, endpoint) is not None), None)
