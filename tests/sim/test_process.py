"""Killing a simulated process, and the network between processes."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

import pytest

from homeport.sim.loop import SimLoop, run
from homeport.sim.net import Hung, Net, Reply, Unreachable
from homeport.sim.process import Process, task_factory


def loop() -> SimLoop:
    made = SimLoop()
    made.set_task_factory(task_factory)
    return made


def test_a_killed_process_has_no_last_word() -> None:
    written: list[str] = []

    async def main() -> None:
        process = Process("p", asyncio.get_running_loop(), lambda: written.append("died"))

        async def child() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                process.touch()
                written.append("a last word")

        async def work() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                group.create_task(child())
                while True:
                    process.touch()
                    written.append("beat")
                    await asyncio.sleep(1)

        done = process.start(work())
        await asyncio.sleep(2.5)
        process.kill()
        await asyncio.wait((done,))

    run(main(), loop())
    assert written == ["beat", "beat", "beat", "died"]


@pytest.mark.parametrize(("after", "effects"), [(False, 2), (True, 3)])
def test_it_can_be_killed_right_before_or_right_after_an_effect(after: bool, effects: int) -> None:
    written: list[int] = []

    async def main() -> None:
        process = Process("p", asyncio.get_running_loop())

        async def work() -> None:
            for number in range(10):
                process.touch()
                written.append(number)
                await asyncio.sleep(0)

        process.kill_at(3, after)
        await asyncio.wait((process.start(work()),))

    run(main(), loop())
    assert len(written) == effects


def test_a_process_that_clings_to_life_dies_all_the_same() -> None:
    async def main() -> None:
        process = Process("p", asyncio.get_running_loop())

        async def work() -> None:
            for _ in range(20):
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    continue

        done = process.start(work())
        await asyncio.sleep(1)
        process.kill()
        await asyncio.wait((done,), timeout=1)
        assert done.done()

    run(main(), loop())


def test_frames_arrive_in_order_and_after_a_cut() -> None:
    async def main() -> None:
        here = asyncio.get_running_loop()
        net = Net(here, Random(1), 0.0)
        connection = net.connect("n")
        for number in range(50):
            connection.to_agent.put(str(number))
        net.cut("n", 30)
        connection.to_agent.put("late")
        connection.to_agent.put(None)
        assert [await connection.to_agent.get() for _ in range(50)] == [str(number) for number in range(50)]
        assert here.time() < 2
        assert await connection.to_agent.get() == "late"
        assert here.time() >= 30
        with pytest.raises(Hung):
            await connection.to_agent.get()

    run(main(), loop())


def test_a_reset_loses_what_is_under_way() -> None:
    async def main() -> None:
        net = Net(asyncio.get_running_loop(), Random(1), 0.0)
        connection = net.connect("n")
        connection.to_server.put("lost")
        net.reset("n")
        with pytest.raises(Hung):
            await connection.to_server.get()
        await asyncio.sleep(5)
        with pytest.raises(Hung):
            await connection.to_server.get()
        assert connection.over

    run(main(), loop())


def test_calls_are_lost_late_or_unanswered() -> None:
    """Whatever its caller is told, a call happens at most once."""
    happened: list[int] = []
    answered: list[int] = []

    async def main() -> None:
        here = asyncio.get_running_loop()
        net = Net(here, Random(5), 0.2)

        def submit(number: int) -> asyncio.Future[Reply]:
            happened.append(number)
            reply: asyncio.Future[Reply] = here.create_future()
            reply.set_result(Reply("answer", number))
            return reply

        for number in range(200):
            with contextlib.suppress(Unreachable):
                answered.append((await net.call("n", lambda number=number: submit(number))).value)
        await asyncio.sleep(10)

    run(main(), loop())
    assert len(happened) == len(set(happened)) < 200
    assert set(answered) < set(happened)
    assert happened != sorted(happened)


def test_nobody_listens_or_nobody_answers() -> None:
    async def main() -> None:
        here = asyncio.get_running_loop()
        net = Net(here, Random(1), 0.0)
        with pytest.raises(Unreachable, match="nobody listens"):
            await net.call("n", lambda: None)
        with pytest.raises(Unreachable, match="no answer"):
            await net.call("n", here.create_future)
        net.cut("n", 100)
        with pytest.raises(Unreachable, match="timed out"):
            await net.call("n", here.create_future)
        assert here.time() < 25

    run(main(), loop())
