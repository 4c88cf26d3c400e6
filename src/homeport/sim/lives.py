"""What became of one container on its machine, as the machine itself saw it, and what follows from that. Pure.

This is the truth that reports are held against; none of it comes from the agent's own books.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from homeport.agent.drivers import ContainerPlan, Observed
from homeport.agentapi import HealthCheck, RestartPolicy


class Checked(msgspec.Struct):
    """A health check that ended at ``at`` and was made at ``age`` seconds of its run. Not ``sure``: the agent may not
    know of it, since it died, or the runtime didn't answer. ``watched``: by the agent that saw the run begin, which so
    knows its age."""

    at: float
    age: float
    passed: bool
    sure: bool = True
    watched: bool = True


class Run(msgspec.Struct):
    """From a start to an end. ``steady``: its machine's clock wasn't set meanwhile."""

    began: float
    ended: float | None = None
    end: Observed | None = None
    steady: bool = True
    watched: bool = True
    checks: list[Checked] = msgspec.field(default_factory=list)


class Life(msgspec.Struct):
    """``signalled``: when its runs' stop signals were sent; ``killed``: when the first SIGKILL was. ``forgettable``: a
    full disk may have kept the agent from writing down that it shall stop."""

    plan: ContainerPlan
    runs: list[Run] = msgspec.field(default_factory=list)
    signalled: list[float] = msgspec.field(default_factory=list)
    killed: float | None = None
    forgettable: bool = False

    @property
    def name(self) -> str:
        return self.plan.spec.name

    @property
    def last(self) -> Run | None:
        return self.runs[-1] if self.runs else None

    @property
    def running(self) -> bool:
        return bool(self.runs) and self.runs[-1].ended is None


def restarts_after(policy: RestartPolicy | None, run: Run) -> bool:
    """Whether a container with this policy is run again after the end of ``run``."""
    if policy is None or run.ended is None or run.end is None or run.end.exit_code is None:
        return False
    return run.end.exit_code not in policy.ignored_exit_codes and run.ended - run.began >= policy.period


def healths(check: HealthCheck, checks: Sequence[Checked]) -> set[str]:
    """The statuses that an agent may hold after these checks of a run."""
    states = {("UNKNOWN", 0)}
    for one in checks:
        before = states
        states = {after for state in before for after in _after(check, state, one)}
        if not one.sure:
            states |= before
    return {status for status, _ in states}


def _after(check: HealthCheck, state: tuple[str, int], one: Checked) -> set[tuple[str, int]]:
    status, failures = state
    if one.passed:
        return {("HEALTHY", 0)}
    spared = status == "UNKNOWN" and one.age < check.start_period
    # Just behind the start period, or where the agent found the run under way, it may think it younger than it is.
    unclear = status == "UNKNOWN" and check.start_period > 0 and (one.age < check.start_period + 1 or not one.watched)
    counted = min(failures + 1, check.retries)
    worse = ("UNHEALTHY" if counted >= check.retries else status, counted)
    return {state} if spared else {state, worse} if unclear else {worse}
