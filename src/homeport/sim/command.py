"""Plays many seeds, and tells the shortest story of the first that fails."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from homeport.sim.clusters import draw_cluster
from homeport.sim.rollouts import draw_services
from homeport.sim.scenario import Scenario, draw
from homeport.sim.shorten import shortest
from homeport.sim.world import Outcome, play

LINES = 50  # of a story's details, at most
PLAIN_EVERY = 10.0  # seconds between two lines of progress where there is no terminal
OTHERS = 5  # of so many seeds of the mix, one is of the other worlds, in turns
COLLECT = (50_000, 20, 50)  # as the control plane, but that worlds are left whole

World = Literal["mix", "services", "fargate", "cluster"]
Draw = Callable[[int], Scenario]


def draw_mix(seed: int) -> Scenario:
    """Mostly services."""
    if seed % OTHERS != OTHERS - 1:
        return draw_services(seed)
    return (draw, draw_cluster)[seed // OTHERS % 2](seed)


WORLDS: dict[World, Draw] = {"mix": draw_mix, "services": draw_services, "fargate": draw, "cluster": draw_cluster}


def search(seeds: int, first: int, jobs: int | None, world: World, *, tell: bool, again: str) -> int:
    """Exit code 1 where an invariant was violated. ``jobs``: processes, by default as many as there are cores;
    ``tell``: everything that happens is printed; ``again``: the command, as it is to be typed to see a failure again.
    """
    console, began, draw = Console(highlight=False, soft_wrap=True), time.monotonic(), WORLDS[world]
    wanted = range(first, first + seeds)
    if tell:
        outcomes: Iterable[Outcome] = (play(draw(seed), tell=True) for seed in wanted)
    else:
        outcomes = _played(draw, wanted, jobs or len(os.sched_getaffinity(0)))
    seconds = commits = deployments = 0.0
    for outcome in _shown(outcomes, seeds, console):
        seconds, commits = seconds + outcome.seconds, commits + outcome.commits
        deployments += outcome.deployments
        if tell:
            console.print("\n".join(outcome.story), markup=False)
        if outcome.violation is not None:
            _explain(outcome, world, console, again)
            return 1
    took = time.monotonic() - began
    console.print(
        f"{seeds} seeds, {seconds / 3600:.1f} simulated hours in {took:.0f} s ({seconds / took:.0f} times as fast as "
        f"time), {deployments:.0f} deployments, {commits:.0f} commits: nothing violated."
    )
    return 0


def _play(draw: Draw, seed: int) -> Outcome:
    return play(draw(seed))


def _played(draw: Draw, seeds: range, jobs: int) -> Iterator[Outcome]:
    """In the order of the seeds."""
    if jobs == 1:
        yield from map(partial(_play, draw), seeds)
        return
    with ProcessPoolExecutor(jobs, initializer=_settle) as pool:
        try:
            yield from pool.map(partial(_play, draw), seeds)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _settle() -> None:
    gc.freeze()
    gc.set_threshold(*COLLECT)


def _shown(outcomes: Iterable[Outcome], count: int, console: Console) -> Iterator[Outcome]:
    """The outcomes, while progress is shown: a bar in a terminal, else a line now and then."""
    if console.is_terminal:
        columns = (TextColumn("seed {task.completed}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            yield from progress.track(outcomes, total=count)
        return
    shown = time.monotonic()
    for done, outcome in enumerate(outcomes, 1):
        if time.monotonic() - shown >= PLAIN_EVERY:
            shown = time.monotonic()
            console.print(f"{done} of {count}")
        yield outcome


def _explain(failed: Outcome, world: World, console: Console, again: str) -> None:
    assert failed.violation is not None
    console.print(f"Seed {failed.seed} fails after {failed.violation.at:.1f} s: {failed.violation.invariant}")
    console.print(f"  {failed.violation.text}", markup=False)
    console.print("Looking for the shortest story …")
    short = shortest(failed, WORLDS[world](failed.seed))
    console.print("\n".join(relevant(short)), markup=False)
    console.print(f"Play it again: {again} --world {world} --first {failed.seed} --seeds 1")


def relevant(outcome: Outcome) -> list[str]:
    """What explains a violation: all steps, starts and deaths, and the last lines about its task, or about all."""
    assert outcome.violation is not None
    frame = ("  step: ", " starts", " dead ", "VIOLATED")
    about = outcome.violation.task
    detail = [line for line in outcome.story if about in line and not any(mark in line for mark in frame)]
    kept = set(detail[-LINES:])
    return [line for line in outcome.story if line in kept or any(mark in line for mark in frame)]
