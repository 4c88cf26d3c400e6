"""Whose a kill for memory was, and how many commands begin at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from homeport.agent.drivers.containerd import instance
from homeport.agent.drivers.containerd.cgroups import Cgroups
from homeport.agent.drivers.containerd.gate import Gate
from homeport.agent.drivers.containerd.oom import Commands, Kills, own

TASK, ID = "a" * 32, "a-0"


@pytest.mark.parametrize(
    ("kills", "commands", "finished_at", "expected"),
    [
        (0, None, 50.0, False),
        (1, None, 50.0, True),
        (1, Commands(0, 1, 40.0), 50.0, False),  # a command's
        (2, Commands(0, 1, 40.0), 50.0, True),  # and later the container's
        (1, Commands(0, 1, 49.5), 50.0, True),  # the container's, which took the command with it
        (1, Commands(0, 1, 50.2), 50.0, True),
        (3, Commands(2, 3, 49.5), 50.0, True),  # two commands were killed before
        (2, Commands(2, 3, 49.5), 50.0, False),
    ],
)
def test_whose_kill_it_was(kills: int, commands: Commands | None, finished_at: float, expected: bool) -> None:
    assert own(kills, commands, finished_at) is expected


def test_kills_of_commands_add_up_and_outlive_the_agent(tmp_path: Path) -> None:
    of, groups = instance(tmp_path / "state"), Cgroups("x", tmp_path)
    file = tmp_path / "memory" / "x" / TASK / ID / "memory.oom_control"
    file.parent.mkdir(parents=True)

    def counted(kills: int) -> None:
        file.write_text(f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n")

    counted(1)
    Kills(of, groups).failed(TASK, ID, 0, 10.0)
    counted(3)
    Kills(of, groups).failed(TASK, ID, 1, 20.0)
    Kills(of, groups).failed(TASK, ID, 3, 30.0)  # failed for another reason
    kills = Kills(of, groups)
    assert not kills.own(TASK, ID, 30.0)
    counted(4)
    assert kills.own(TASK, ID, 30.0)
    kills.clear(TASK, ID)
    counted(1)
    assert kills.own(TASK, ID, 30.0)


def test_no_more_than_so_many_begin_at_once_and_what_hangs_makes_way() -> None:
    async def scene() -> None:
        gate, inside, most = Gate(2, patience=0.05), 0, 0

        async def quick() -> None:
            nonlocal inside, most
            async with gate.passing():
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        async def hangs() -> None:
            async with gate.passing():
                await asyncio.Event().wait()

        await asyncio.gather(*(quick() for _ in range(10)))
        assert most == 2
        hanging = [asyncio.create_task(hangs()) for _ in range(5)]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await asyncio.gather(*(quick() for _ in range(10)))
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        most = 0
        await asyncio.gather(*(quick() for _ in range(10)))
        assert most == 2  # what made way is counted once

    asyncio.run(scene())
