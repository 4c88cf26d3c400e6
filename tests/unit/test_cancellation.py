from __future__ import annotations

import asyncio

import pytest

from homeport import cancellation


class Expected(Exception):
    pass


def test_a_cancellation_that_meets_a_failing_child_is_not_lost() -> None:
    async def session() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                await asyncio.sleep(60)
        except* Expected:
            pass
        cancellation.honour()
        return "went on"

    async def child() -> None:
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(task.cancel)
        raise Expected

    async def main() -> None:
        nonlocal task
        task = asyncio.create_task(session())
        await task

    task: asyncio.Task[str]
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_without_a_cancellation_nothing_happens() -> None:
    async def main() -> str:
        cancellation.honour()
        return "went on"

    assert asyncio.run(main()) == "went on"
