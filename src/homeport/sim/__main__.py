"""``python -m homeport.sim --seeds N``: plays N seeds, and tells the shortest story of the first that fails."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, Parameter

from homeport.sim.command import World, search

app = App(name="python -m homeport.sim", help="Plays simulated worlds and judges them.")


@app.default
def main(
    *,
    seeds: Annotated[int, Parameter(help="How many worlds to play.")] = 100,
    first: Annotated[int, Parameter(help="The first seed.")] = 0,
    jobs: Annotated[int | None, Parameter(help="Processes to play in; all cores by default.")] = None,
    world: Annotated[World, Parameter(help="Services, Fargate, a cluster of instances, or of all.")] = "mix",
    tell: Annotated[bool, Parameter(help="Print everything that happens.")] = False,
) -> int:
    """Exit code 1 where an invariant was violated."""
    return search(seeds, first, jobs, world, tell=tell, again="python -m homeport.sim")


if __name__ == "__main__":
    sys.exit(app())
