"""Makes a scenario that fails shorter: what is left of it is the story that explains the failure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from homeport.sim.scenario import Scenario, Step
from homeport.sim.world import Outcome, play

PLAYS = 150  # at most, to make one scenario shorter; about a minute


def shortest(failed: Outcome, scenario: Scenario, plays: int = PLAYS) -> Outcome:
    """Plays the scenario with fewer and fewer steps, as long as the same invariant is violated; returns what the
    shortest led to, with its story and its steps. ``failed``: what the whole scenario led to."""
    assert failed.violation is not None
    invariant, end = failed.violation.invariant, failed.violation.at
    left = plays

    def fails(steps: tuple[Step, ...]) -> bool:
        nonlocal left
        left -= 1
        violation = play(msgspec.structs.replace(scenario, steps=steps)).violation
        return violation is not None and violation.invariant == invariant

    steps = tuple(step for step in scenario.steps if step.at <= end)
    if not fails(steps):
        steps = scenario.steps
    steps = _fewer(steps, fails, lambda: left > 0)
    return play(msgspec.structs.replace(scenario, steps=steps), tell=True)


def _fewer(
    steps: tuple[Step, ...], fails: Callable[[tuple[Step, ...]], bool], may: Callable[[], bool]
) -> tuple[Step, ...]:
    """Leaves out halves, quarters … single steps, as long as it fails without them and may go on."""
    size = (len(steps) + 1) // 2
    while size and may():
        start, before = 0, len(steps)
        while start < len(steps) and may():
            rest = steps[:start] + steps[start + size :]
            if fails(rest):
                steps = rest
            else:
                start += size
        if size > 1 or len(steps) == before:
            size //= 2
    return steps
