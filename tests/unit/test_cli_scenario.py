"""How the report on a scenario is shown."""

from __future__ import annotations

import pytest

from homeport.cli import scenario
from homeport.sim.questions import Prices
from homeport.sim.report import Line, OfMachines, OfService, Phase, Place, Report, Rollout, Unplaced, Used

SHOP = OfService(
    name="shop",
    desired=4,
    running=3,
    healthy=2,
    minimum=4,
    ready=None,
    lowest=None,
    below_minimum=0.0,
    rollouts=(
        Rollout(revision="shop:1", at=0.0, seconds=None, end="IN_PROGRESS", failed_tasks=2, reasons={"it broke": 2}),
    ),
    unplaced=Unplaced(most=1, since=1.0, seconds=9.0, now=True, reasons=("was unable to place a task",)),
    used=(Used(on="FARGATE_SPOT", task_seconds=60, vcpu_seconds=15.0, gb_seconds=30.0, usd=None),),
)
PLACE = Place(service="shop", desired=4, running=3, steady=None, lowest=None, most_on_one=2, places={"a": 1, "b": 2})


def report(*lines: Line, steady: bool = False) -> Report:
    place = Place(service="shop", desired=4, running=4, steady=0.0, lowest=4, most_on_one=2, places={"a": 1, "b": 2})
    later = Phase(at=5.0, what="nothing much", services=(place if steady else PLACE,), cpu=0.5, memory=0.25)
    return Report(
        seconds=10.0,
        services=(SHOP,),
        machines=(OfMachines(name="web", kind="EC2", count=2, there=1, seconds=120, usd=0.5),),
        phases=(Phase(at=0.0, what="the services start", services=(PLACE,), cpu=0.5, memory=0.25), later),
        timeline=lines,
        prices=Prices(),
        usd=0.5,
        unpriced=("FARGATE_SPOT",),
    )


def shown(made: Report, capsys: pytest.CaptureFixture[str]) -> list[str]:
    scenario.show(made)
    return capsys.readouterr().out.splitlines()


def test_piped_it_is_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(report(steady=True), capsys)
    assert lines[:5] == [
        "Services, after 10 s",
        "  SERVICE  HEALTHY  ALL HEALTHY AFTER  LOWEST HEALTHY  BELOW MINIMUM  WITHOUT ROOM",
        "  shop     2 of 4   never              -               -              1",
        "  shop: 1 task had no room, first at 1 s, for 9 s, and still have none",
        "  shop was unable to place a task",
    ]
    assert "  shop:1: 2 tasks: it broke" in lines
    assert "  5 s  nothing much        -        as before" in lines
    assert "  5 s  shop     a 1, b 2                2               50%  25%" in lines
    assert "  web   1 of 2 machines  120                                0.5000" in lines
    assert lines[-2:] == ["  No price is given for FARGATE_SPOT.", "  In all: 0.5000 USD without these."]
    assert not any("\x1b" in line for line in lines)


def test_starts_that_follow_each_other_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    moves = [("shop", "has started 2 tasks"), ("shop", "has started 3 tasks"), ("api", "has started 1 tasks")]
    moves += [("api", "has stopped 1 running tasks"), ("api", "has stopped 4 running tasks")]
    made = report(*(Line(at=float(at), service=service, what=what) for at, (service, what) in enumerate(moves)))
    assert shown(made, capsys)[-3:] == [
        "  0 s  shop     has started 5 tasks",
        "  2 s  api      has started 1 tasks",
        "  3 s  api      has stopped 5 running tasks",
    ]


def test_of_a_long_time_line_starts_and_stops_are_left_out_first(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [Line(at=float(at), service=None, what=f"event {at}") for at in range(100)]
    moves = [Line(at=float(at), service="shop", what="has started 1 tasks") for at in range(100)]
    mixed = [line for pair in zip(lines, moves, strict=True) for line in pair]
    told = shown(report(*mixed), capsys)
    told = told[told.index("Time line") + 2 :]
    assert len(told) == scenario.MOST_LINES + 2
    assert (told[0].split(), told[44].split(), told[45].split()) == (
        ["0", "s", "event", "0"],
        ["44", "s", "event", "44"],
        ["85", "s", "event", "85"],
    )
    assert told[-2:] == [
        "  100 lines of starts and stops are left out; --json has all.",
        "  40 lines before the last 15 are left out; --json has all.",
    ]
