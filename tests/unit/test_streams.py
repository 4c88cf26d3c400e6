"""Answers of the control socket that go on: where they begin, what is in them, and when they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest
from ecs_world import SCOPE
from msgspec.structs import replace
from service_world import CLUSTER, ServiceWorld, play

from homeport import streams
from homeport.services.ecs.model.task import TASKS, Task
from homeport.store import Tx
from homeport.streams import Lines, Refused


def plane(world: ServiceWorld) -> Any:
    return SimpleNamespace(store=world.store, clock=world.clock)


async def whole(world: ServiceWorld, **query: str) -> list[dict[str, Any]]:
    return [line async for line in streams.events(plane(world), query)]


def of(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events of some lines."""
    return [event for line in lines for event in line["events"]]


def test_events_go_on_after_any_line() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.raw_service("web", 2)
        await world.steady("web")
        lines = await whole(world)
        assert lines[0] == {"version": 0, "events": [], "missed": False}
        versions = [line["version"] for line in lines]
        assert versions == sorted(versions)
        events = of(lines)
        assert len({event["id"] for event in events}) == len(events) > 10
        for number, line in enumerate(lines):
            assert of(await whole(world, after=str(line["version"]))) == of(lines[number + 1 :])

    play(scene)


def test_events_of_a_version_are_in_one_line() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.raw_service("web", 2)
        await world.steady("web")
        async with aclosing(streams.events(plane(world), {"follow": "1"})) as lines:
            seen = [line async for line in _until(lines, world.store.version)]
        assert of(seen) == of(await whole(world))

    play(scene)


async def _until(lines: Lines, version: int) -> Lines:
    """Those of a stream that doesn't end."""
    while True:
        try:
            line = await asyncio.wait_for(anext(lines), 1000)
        except TimeoutError:
            return
        yield line
        if line["version"] >= version:
            return


@pytest.mark.feature("A long past of state change events is read in time that grows with it, beside other work")
def test_reading_a_long_past_takes_few_turns_in_proportion_to_it() -> None:
    async def scene(world: ServiceWorld) -> None:
        before = (await _flowed(world))[1]
        await _change_tasks(world, 1, 1000)
        turns, told = await _flowed(world)
        await _change_tasks(world, 2, 1000)
        twice, all_told = await _flowed(world)
        assert (told - before, all_told - before) == (3000, 6000)
        assert turns < 3000 / 10, "others, on a busy machine, have a turn after each"
        assert twice < 2.2 * turns

    play(scene, kept=100_000)


async def _change_tasks(world: ServiceWorld, part: int, count: int) -> None:
    """Makes so many tasks, five a commit, each in three versions."""
    for first in range(0, count, 5):
        made = [
            Task(
                id=f"{part}{first + n:031}",
                cluster_arn=CLUSTER,
                definition_arn="web:1",
                launch_type="EC2",
                group="family:web",
                cpu=1,
                memory=1,
                created_at=1.0,
                containers=(),
            )
            for n in range(5)
        ]
        for version in (1, 2, 3):
            await world.store.update(_putter([replace(task, version=version) for task in made]), "test")


def _putter(tasks: list[Task]) -> Callable[[Tx], None]:
    def put(tx: Tx) -> None:
        for task in tasks:
            tx.put(TASKS, SCOPE, task)

    return put


async def _flowed(world: ServiceWorld) -> tuple[int, int]:
    """How many turns of the loop others had while the past was sent, and how many events of tasks that had."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    connection = Connection()
    busy = asyncio.create_task(others())
    await connection.run(streams.events(plane(world), {}))
    busy.cancel()
    return turns, len(of(connection.lines[:-1]))


def test_a_younger_state_is_read_from_its_start() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.raw_service("web", 1)
        await world.steady("web")
        lines = await whole(world, after=str(world.store.version + 1000))
        assert lines == await whole(world)

    play(scene)


def test_what_the_log_has_no_more_is_said_to_be_missed() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.raw_service("web", 1)
        await world.steady("web")
        log = world.journal._log
        while log[0][1].version < world.store.version - 5:
            log.popleft()
        missed = [line["missed"] for line in await whole(world, after="2")]
        assert missed[1] is True
        assert missed.count(True) == 1
        assert not any(line["missed"] for line in await whole(world, after=str(log[0][1].version - 1)))
        assert not any(line["missed"] for line in await whole(world)), "who asks for all knows nothing that is missing"

    play(scene)


def test_only_what_is_asked_for() -> None:
    async def scene(world: ServiceWorld) -> None:
        await world.raw_service("web", 1)
        await world.raw_service("api", 1)
        await world.steady("web", "api")
        lines = await whole(world, service="api")
        groups = {event["detail"].get("group") for event in of(lines)}
        assert groups == {"service:api", None}
        assert all(not line["events"] for line in await whole(world, since=str(world.clock.wall() + 1)))

    play(scene)


@pytest.mark.parametrize("query", [{"after": "x"}, {"since": "yesterday"}])
def test_what_is_no_number_is_refused(query: dict[str, str]) -> None:
    async def scene(world: ServiceWorld) -> None:
        with pytest.raises(Refused, match="is no number"):
            await whole(world, **query)

    play(scene)


def test_a_service_is_told_as_it_changes_until_it_is_forgotten() -> None:
    async def scene(world: ServiceWorld) -> None:
        with pytest.raises(Refused, match="There is no service 'web'"):
            await anext(streams.service(plane(world), {"service": "web"}))
        await world.raw_service("web", 2)
        seen: list[Any] = []
        async with aclosing(streams.service(plane(world), {"service": "web"})) as lines:
            async for line in lines:
                seen.append((line["service"]["runningCount"], line["verdict"]))
                if line["verdict"]:
                    break
            assert seen[0] == (0, None)
            assert seen[-1] == (2, "steady")
            await world.raw_service("other", 1)
            quiet = asyncio.ensure_future(anext(lines))
            await world.steady("other")
            await asyncio.sleep(1)
            assert not quiet.done(), "other services are no news of this one"
            await world.raw_update("web", desired=0)
            assert (await quiet)["service"]["desiredCount"] == 0
            await world.call("DeleteService", cluster="demo", service="web", force=True)
            last = [line async for line in lines]
        assert last[-2]["verdict"] == "gone"
        assert last[-1] is None

    play(scene)


class Connection:
    """One ASGI request: what was sent, and a reader that may leave."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.left, self.stop = asyncio.Event(), asyncio.Event()
        self._more = asyncio.Condition()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        async with self._more:
            self.sent.append(message)
            self._more.notify_all()

    async def has(self, messages: int) -> None:
        """Waits until so many were sent."""
        async with self._more:
            await self._more.wait_for(lambda: len(self.sent) >= messages)

    async def run(self, lines: Lines) -> None:
        await streams.flow(lines, self.stop, self.receive, self.send)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(message["body"]) for message in self.sent[1:] if message["body"]]


async def _numbers(count: int, end: bool, closed: list[bool]) -> Lines:
    try:
        for number in range(count):
            yield number
        if not end:
            await asyncio.Event().wait()
    finally:
        closed.append(True)


def test_the_end_is_told() -> None:
    async def main() -> None:
        connection, closed = Connection(), list[bool]()
        await connection.run(_numbers(3, True, closed))
        assert connection.sent[0]["status"] == 200
        assert connection.lines == [0, 1, 2, streams.END]
        assert "more_body" not in connection.sent[-1]
        assert closed == [True]

    asyncio.run(main())


@pytest.mark.parametrize("why", ["left", "stop"])
def test_who_leaves_and_a_server_that_stops_end_it_without_an_end(why: str) -> None:
    async def main() -> None:
        connection, closed = Connection(), list[bool]()
        flowing = asyncio.create_task(connection.run(_numbers(2, False, closed)))
        await connection.has(3)
        getattr(connection, why).set()
        await asyncio.wait_for(flowing, 5)
        assert connection.lines == [0, 1]
        assert closed == [True]
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.sleep(0)
        assert all(task.done() for task in others)

    asyncio.run(main())


def test_an_error_instead_of_the_first_line_is_raised_before_anything_is_sent() -> None:
    async def fails() -> Lines:
        raise Refused("no")
        yield

    async def main() -> None:
        connection = Connection()
        with pytest.raises(Refused):
            await connection.run(fails())
        assert connection.sent == []

    asyncio.run(main())


def test_an_error_after_the_first_line_leaves_the_answer_without_an_end() -> None:
    async def fails() -> Lines:
        yield 1
        raise ValueError("no")

    async def main() -> None:
        connection = Connection()
        await connection.run(fails())
        assert connection.lines == [1]
        assert connection.sent[-1]["more_body"] is True

    asyncio.run(main())
