"""The report on a scenario: tables in a terminal, aligned text when piped, JSON."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from homeport.cli.terminal import console, grid
from homeport.sim.report import Line, OfService, Place, Report, Unplaced, Used

MOST_LINES, LAST_LINES = 60, 15  # of the time line that are shown, and how many of these are its last
MOST_REASONS = 3  # of the tasks of one deployment that failed
_MOVED = re.compile(r"(has (?:started|stopped)) (\d+) ((?:running )?tasks)")


class Section(NamedTuple):
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def show(report: Report) -> None:
    parts = [_services, _rollouts, _events, _places, _usage, _timeline]
    shown = [section for part in parts if (section := part(report)).rows]
    if not sys.stdout.isatty():
        print("\n\n".join("\n".join(_plain(section)) for section in shown))
        return
    out = console()
    for section in shown:
        out.print(section.title, style="bold", markup=False)
        out.print(grid(section.columns, section.rows))
        for note in section.notes:
            out.print(note, markup=False)
        if section.notes:
            out.print()


def _plain(section: Section) -> Iterator[str]:
    yield section.title
    widths = [max(map(len, column)) for column in zip(section.columns, *section.rows, strict=True)]
    for row in (section.columns, *section.rows):
        yield ("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
    yield from (f"  {note}" for note in section.notes)


def _services(report: Report) -> Section:
    columns = ("SERVICE", "HEALTHY", "ALL HEALTHY AFTER", "LOWEST HEALTHY", "BELOW MINIMUM", "WITHOUT ROOM")
    rows = [
        (
            one.name,
            f"{one.healthy} of {one.desired}",
            _time(one.ready, "never"),
            f"{one.lowest.healthy} at {_time(one.lowest.at)}" if one.lowest else "-",
            _time(one.below_minimum) if one.lowest else "-",
            str(one.unplaced.most) if one.unplaced else "0",
        )
        for one in report.services
    ]
    notes = [note for one in report.services if one.unplaced for note in _no_room(one, one.unplaced)]
    return Section(f"Services, after {_time(report.seconds)}", columns, rows, notes)


def _no_room(service: OfService, unplaced: Unplaced) -> Iterator[str]:
    tasks = "1 task" if unplaced.most == 1 else f"up to {unplaced.most} tasks"
    last = ", and still have none" if unplaced.now else ""
    yield f"{service.name}: {tasks} had no room, first at {_time(unplaced.since)}, for {_time(unplaced.seconds)}{last}"
    yield from (f"{service.name} {reason}" for reason in unplaced.reasons)


def _rollouts(report: Report) -> Section:
    columns = ("REVISION", "BEGAN AT", "TOOK", "END", "FAILED TASKS")
    rows = [
        (going.revision, _time(going.at), _time(going.seconds, "-"), going.end, str(going.failed_tasks))
        for one in report.services
        for going in one.rollouts
    ]
    notes = [
        f"{going.revision}: {count} tasks: {reason}"
        for one in report.services
        for going in one.rollouts
        for reason, count in list(going.reasons.items())[:MOST_REASONS]
    ]
    return Section("Deployments", columns, rows, notes)


def _events(report: Report) -> Section:
    rows = []
    for phase in report.phases:
        head = (_time(phase.at), phase.what)
        states = [
            (one.service, f"{one.running} of {one.desired}", _number(one.lowest), _time(one.steady, "not"))
            for one in phase.services
            if _concerned(one)
        ]
        for state in states or [("-", "as before", "", "")]:
            rows.append((*head, *state))
            head = ("", "")
    return Section("Events, and what follows", ("AT", "EVENT", "SERVICE", "RUNNING", "LOWEST", "STEADY AFTER"), rows)


def _concerned(one: Place) -> bool:
    """Whether the service wasn't steady all the time, or is not as it shall be."""
    return one.steady != 0.0 or one.running != one.desired or (one.lowest or 0) < one.desired


def _places(report: Report) -> Section:
    rows = []
    before: dict[str, dict[str, int]] = {}
    for phase, until in zip(report.phases, [*(p.at for p in report.phases[1:]), report.seconds], strict=True):
        taken = (f"{phase.cpu:.0%}", f"{phase.memory:.0%}") if report.machines else ()
        for one in phase.services:
            if before.get(one.service) != one.places:
                zones = ", ".join(f"{zone} {count}" for zone, count in one.places.items()) or "none"
                rows.append((_time(until), one.service, zones, str(one.most_on_one), *taken))
            before[one.service] = one.places
    columns = ("AT", "SERVICE", "RUNNING TASKS IN ZONES", "ON ONE MACHINE")
    if not report.machines:
        return Section("Where tasks are", columns, rows)
    notes = ["CPU, MEMORY: what is taken of all machines that take tasks."]
    return Section("Where tasks are", (*columns, "CPU", "MEMORY"), rows, notes)


def _usage(report: Report) -> Section:
    columns = ("WHAT", "ON", "SECONDS", "VCPU SECONDS", "GB SECONDS", "USD")
    rows: list[tuple[str, ...]] = [_used(one.name, used) for one in report.services for used in one.used]
    for group in report.machines:
        usd = "-" if group.usd is None else f"{group.usd:.4f}"
        rows.append((group.name, f"{group.there} of {group.count} machines", str(group.seconds), "", "", usd))
    return Section("What it used and costs", columns, rows, list(_prices(report)))


def _used(name: str, used: Used) -> tuple[str, ...]:
    usd = "-" if used.usd is None else f"{used.usd:.4f}"
    return (name, used.on, str(used.task_seconds), f"{used.vcpu_seconds:.0f}", f"{used.gb_seconds:.0f}", usd)


def _prices(report: Report) -> Iterator[str]:
    yield "Each task and machine counts by the second, a minute at least, as Fargate and EC2 bill them."
    if any(used.on == "FARGATE" for one in report.services for used in one.used):
        prices = report.prices
        yield f"FARGATE: {prices.vcpu:g} USD per vCPU and hour, {prices.gb:g} USD per GB and hour."
    if report.unpriced:
        yield f"No price is given for {', '.join(report.unpriced)}."
    if report.usd:
        yield f"In all: {report.usd:.4f} USD" + (" without these." if report.unpriced else ".")


def _timeline(report: Report) -> Section:
    lines, notes = list(_joined(report.timeline)), []
    if len(lines) > MOST_LINES and (moved := sum(_MOVED.fullmatch(line.what) is not None for line in lines)):
        lines = [line for line in lines if not _MOVED.fullmatch(line.what)]
        notes.append(f"{moved} lines of starts and stops are left out; --json has all.")
    if (left := len(lines) - MOST_LINES) > 0:
        lines[MOST_LINES - LAST_LINES : -LAST_LINES] = []
        notes.append(f"{left} lines before the last {LAST_LINES} are left out; --json has all.")
    rows = [(_time(line.at), line.service or "", line.what) for line in lines]
    return Section("Time line", ("AT", "SERVICE", "WHAT"), rows, notes)


def _joined(lines: Sequence[Line]) -> Iterator[Line]:
    """Starts that follow each other, and stops, in one line."""
    last: Line | None = None
    for line in lines:
        before, now = (_MOVED.fullmatch(one.what) if one else None for one in (last, line))
        if last and before and now and (last.service, before[1], before[3]) == (line.service, now[1], now[3]):
            last = Line(at=last.at, service=last.service, what=f"{now[1]} {int(before[2]) + int(now[2])} {now[3]}")
            continue
        if last is not None:
            yield last
        last = line
    if last is not None:
        yield last


def _time(value: float | None, without: str = "") -> str:
    return without if value is None else f"{value:.0f} s"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
