"""asyncio on virtual time."""

from __future__ import annotations

import asyncio
import time

import pytest

from homeport.sim.loop import SimClock, SimLoop, Stuck, run


def test_a_year_passes_at_once_and_in_order() -> None:
    async def main() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()

        async def sleeper(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            log.append((name, loop.time()))

        log: list[tuple[str, float]] = []
        await asyncio.gather(sleeper("year", 365 * 86400.0), sleeper("day", 86400.0), sleeper("now", 0.0))
        return log

    began = time.monotonic()
    assert run(main()) == [("now", 0.0), ("day", 86400.0), ("year", 365 * 86400.0)]
    assert time.monotonic() - began < 5


def test_time_outs_are_virtual() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()

    run(main())


def test_waiting_for_nothing_is_an_error_and_not_a_hang() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(main())


def test_the_clock() -> None:
    async def main() -> None:
        await clock.sleep(10)
        assert (clock.mono(), clock.wall()) == (10.0, 1010.0)
        clock.epoch += 3600  # someone sets the wall clock
        assert (clock.mono(), clock.wall()) == (10.0, 4610.0)

    loop = SimLoop()
    clock = SimClock(loop, epoch=1000.0)
    run(main(), loop)


def test_what_is_left_over_is_cancelled() -> None:
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.sleep(1e9)
        finally:
            ended.append("cancelled")

    async def main() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(1)
        assert not task.done()

    run(main())
    assert ended == ["cancelled"]


def test_a_wait_for_less_than_a_clock_can_tell_ends_though_others_were_waited_for_with_it() -> None:
    async def wait(seconds: float) -> None:
        waits = [asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(asyncio.Event().wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for other in waits:
            other.add_done_callback(lambda _: None)  # the loop has this to do when the next wait begins
            other.cancel()

    async def main() -> int:
        await wait(1.0)
        rounds, due = 0, clock.wall() + 3e-7
        while clock.wall() < due and rounds < 100:
            rounds += 1
            await wait(due - clock.wall())
        return rounds

    loop = SimLoop()
    clock = SimClock(loop)
    assert run(main(), loop) < 100
