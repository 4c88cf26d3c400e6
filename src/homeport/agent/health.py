"""Health checks, as Docker and ECS judge them. Pure.

A container is UNKNOWN until its check has passed once or failed ``retries`` times in a row. Failures within its
``startPeriod`` don't count, unless it was HEALTHY before. The first check is made one interval after the start, each
further one an interval after the last one ended; a check that takes longer than its timeout has failed.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from homeport.agentapi import HealthCheck

Status = Literal["UNKNOWN", "HEALTHY", "UNHEALTHY"]


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """``since``: epoch seconds of the last change of ``status``, 0 before the first. ``failures``: checks that failed
    in a row and count, at most ``retries``."""

    status: Status = "UNKNOWN"
    since: float = 0.0
    failures: int = 0


def arguments(check: HealthCheck) -> tuple[str, ...]:
    """What is run in the container; nothing where the command begins with neither ``CMD`` nor ``CMD-SHELL``, which
    leaves the container UNKNOWN, as in Docker."""
    match check.command:
        case ("CMD", *words) if words:
            return tuple(words)
        case ("CMD-SHELL", *words) if words:
            return ("/bin/sh", "-c", *words)
        case _:
            return ()


def checked(check: HealthCheck | None) -> bool:
    """Whether there is anything to run."""
    return check is not None and bool(arguments(check))


def judged(health: Health, check: HealthCheck, passed: bool, age: float, wall: float) -> Health:
    """The health after a check. ``age``: seconds for which the container had run when the check began; ``wall``: epoch
    seconds now."""
    if passed:
        return _changed(health, "HEALTHY", 0, wall)
    if health.status == "UNKNOWN" and age < check.start_period:
        return health
    failures = min(health.failures + 1, check.retries)
    return _changed(health, "UNHEALTHY" if failures >= check.retries else health.status, failures, wall)


def resumed(check: HealthCheck, due: float, now: float) -> float:
    """When an agent that has just begun makes the check that was due at ``due``: what was missed is left out, and the
    rhythm stays, so that not all containers are checked at once."""
    return due if due > now else due + check.interval * math.ceil((now - due) / check.interval)


def _changed(health: Health, status: Status, failures: int, wall: float) -> Health:
    return Health(status, health.since if status == health.status else wall, failures)
