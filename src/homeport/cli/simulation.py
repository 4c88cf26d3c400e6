"""``sim``: this Homeport under virtual time, with machines that are made up."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from homeport.cli import CommandError, terminal
from homeport.cli import scenario as scenarios
from homeport.sim import asking, command, whatif


def sim(
    scenario: Annotated[Path | None, Parameter(help="A scenario file: what happens to a cluster of your own.")] = None,
    *,
    seeds: Annotated[int, Parameter(help="How many worlds to play.")] = 100,
    first: Annotated[int, Parameter(help="The first seed.")] = 0,
    jobs: Annotated[int | None, Parameter(help="Processes to play in; all cores by default.")] = None,
    world: Annotated[
        Literal["mix", "services", "fargate", "cluster"],
        Parameter(help="Services, Fargate tasks, a cluster of instances, or some of each."),
    ] = "mix",
    tell: Annotated[bool, Parameter(help="Print everything that happens.")] = False,
    as_json: Annotated[
        bool, Parameter(name="--json", help="The report on a scenario, for scripts.", negative="")
    ] = False,
) -> None:
    """Play made-up worlds full of faults and judge them; on a failure the seed and the shortest story are told. With a
    scenario file, play that and report."""
    if scenario is not None:
        _answer(scenario, as_json=as_json)
        return
    if as_json:
        raise CommandError("--json is for a scenario file: homeport sim FILE --json")
    code = command.search(seeds, first, jobs, world, tell=tell, again="homeport sim")
    if code:
        sys.exit(code)


def _answer(scenario: Path, *, as_json: bool) -> None:
    try:
        question = asking.read(scenario)
        with terminal.console().status("Playing …") if sys.stdout.isatty() else nullcontext():
            report = whatif.answer(question)
    except asking.BadScenario as error:
        raise CommandError(str(error)) from error
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        scenarios.show(report)
