"""What callers of the simulator's services may expect to find."""

from __future__ import annotations

from homeport.sim.service_calls import Calls


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def made() -> tuple[Calls, Clock]:
    clock = Clock()
    return Calls(clock), clock


def test_the_last_that_was_answered_counts_and_what_was_not_may_have_come_since() -> None:
    calls, clock = made()
    calls.asking("s", "UpdateService", {"desiredCount": 1})({"desiredCount": 1})
    clock.now = 1.0
    calls.asking("s", "UpdateService", {"desiredCount": 2})
    clock.now = 2.0
    answered = calls.asking("s", "UpdateService", {"desiredCount": 3})
    clock.now = 3.0
    answered({"desiredCount": 3})
    assert calls.asked("s", "desiredCount") == {2, 3}


def test_a_creation_that_is_answered_late_may_have_come_before_a_change() -> None:
    calls, clock = made()
    clock.now = 1.0
    changed = calls.asking("set", "UpdateTaskSet", {"scale": 100.0})
    clock.now = 2.0
    changed({})
    calls.asking("set", "CreateTaskSet", {"scale": 25.0}, 0.5)({})
    assert calls.asked("set", "scale") == {25.0, 100.0}


def test_a_creation_that_is_repeated_asks_for_nothing() -> None:
    calls, clock = made()
    calls.asking("s", "CreateService", {"desiredCount": 1})({"desiredCount": 1})
    clock.now = 1.0
    calls.asking("s", "UpdateService", {"desiredCount": 2})({"desiredCount": 2})
    clock.now = 2.0
    calls.asking("s", "CreateService", {"desiredCount": 1})({"desiredCount": 2})
    assert calls.asked("s", "desiredCount") == {2}
    assert calls.exists("s")
