"""Tasks that come and go, and what grows with them."""

from __future__ import annotations

import contextlib
import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from bench import cost
from bench.harness import STATE, Cloud, until
from support.census import census, descriptors, process
from support.homeport import Homeport

BATCH = 20  # tasks that live at the same time
WARM = 5  # batches before anything is counted
# Its first process hears SIGTERM, so that no cycle waits for a time-out.
SCRIPT = 'trap "exit 0" TERM; sleep 600 & wait'
REST_SECONDS = 30.0
KEPT = ("server", "agent", "containerd")

_TASK = re.compile(r"/[0-9a-f]{32}(/|$)")
_KEPT_FILE = re.compile(r"agent/(tasks/[0-9a-f]{32}\.json$|logs/[0-9a-f]{32}(/|$))")


@dataclass(frozen=True)
class Growth:
    """Over ``cycles``: ``grown`` is what became more (kind: before, after); ``memory``: by process, KiB a cycle in the
    second half; ``remembered``: files a cycle that the agent keeps for an hour of tasks that stopped; ``files``: those
    in the state folder that are new besides."""

    cycles: int
    seconds: float
    grown: dict[str, tuple[int, int]]
    memory: dict[str, float]
    remembered: float
    files: tuple[str, ...]


def measure(cloud: Cloud, cycles: int) -> Growth:
    """About a third of a second for each cycle."""
    cloud.register("cycle", [{"name": "app", "command": [SCRIPT]}])
    homeport = Homeport(Path(STATE))
    pids = {name: process(homeport, name) for name in KEPT}
    for _ in range(WARM):
        _batch(cloud)
    before = _settled(homeport)
    remembered, files = _remembered(), _files()
    began = time.monotonic()
    memory: dict[str, list[float]] = {name: [] for name in KEPT}
    batches = cycles // BATCH
    for _ in track(range(batches), f"{cycles} tasks come and go", transient=True):
        _batch(cloud)
        for name, pid in pids.items():
            memory[name].append(cost.memory([pid]))
    seconds = time.monotonic() - began
    after = _settled(homeport, before)
    return Growth(
        cycles=batches * BATCH,
        seconds=seconds,
        grown={kind: (before.get(kind, 0), now) for kind, now in after.items() if now > before.get(kind, 0)},
        memory={name: _slope(seen[len(seen) // 2 :]) * 1024 / BATCH for name, seen in memory.items()},
        remembered=(_remembered() - remembered) / (batches * BATCH),
        files=tuple(sorted(_files() - files)),
    )


def _batch(cloud: Cloud) -> None:
    arns = [arn for _ in range(BATCH // 10) for arn in cloud.start(10, "cycle")]
    until(lambda: all(s == "RUNNING" for s in cloud.statuses(arns)), 60, 0.05)
    cloud.stop(arns)


def _settled(homeport: Homeport, wanted: dict[str, int] | None = None) -> dict[str, int]:
    """What there is once no task's cgroup is left and, if given, nothing is more than wanted; the last count where it
    doesn't get so."""
    seen: dict[str, int] = {}

    def good() -> bool:
        nonlocal seen
        found = census(homeport)
        seen = {kind: len(things) for kind, things in found.items()} | {"files": len(_files())}
        seen |= {f"descriptors of {name}": descriptors(process(homeport, name)) for name in KEPT}
        resting = not any(_TASK.search(path) for path in found["cgroups"])
        return resting and (wanted is None or all(n <= wanted.get(kind, 0) for kind, n in seen.items()))

    with contextlib.suppress(SystemExit):
        until(good, REST_SECONDS, 0.5)
    return seen


def _files() -> set[str]:
    """Files and folders in the state folder, without what is remembered of tasks."""
    paths = (str(path.relative_to(STATE)) for path in Path(STATE).rglob("*"))
    return {path for path in paths if not _KEPT_FILE.match(path)}


def _remembered() -> int:
    return sum(_KEPT_FILE.match(str(path.relative_to(STATE))) is not None for path in Path(STATE).rglob("*"))


def _slope(values: list[float]) -> float:
    """By least squares, for each step."""
    return statistics.linear_regression(range(len(values)), values).slope
