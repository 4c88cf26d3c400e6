"""One service as ``homeport status SERVICE`` shows it: its deployments' progress, its newest events, what fails.

An *answer* is what the control plane says of a service (``services.ecs.service_status.told``).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from homeport.cli import CommandError, control
from homeport.cli.terminal import console, grid, table
from homeport.config import Settings

if TYPE_CHECKING:
    from rich.console import RenderableType

Answer = dict[str, Any]

COLUMNS = ("DEPLOYMENT", "STATUS", "DEFINITION", "RUNNING", "PENDING", "FAILED", "ROLLOUT")
OVERDUE = "overdue"  # the verdict of what was waited for in vain
RETRY_SECONDS = 0.2  # between two tries to reach a control plane that is away
_BAR = 10  # characters: all columns fit 100
_LIVE_FAILURES, _LIVE_EVENTS = 3, 6  # that are shown in a terminal, which may be small


def find(settings: Settings, text: str) -> Answer | None:
    """What there is to say of the service that ``text`` names, None where there is none. Raises CommandError."""
    answer: Answer | None = control.ask(settings, "/service", service=text)
    return answer


def run(settings: Settings, answer: Answer, *, wait: bool, as_json: bool, timeout: float | None = None) -> int:
    """Shows the service, in a terminal or with ``wait`` until it is steady or has failed. The exit code: 1 where it was
    waited for and has failed. Raises CommandError where that takes longer than ``timeout`` (seconds)."""
    terminal = sys.stdout.isatty() and not as_json
    if not wait and not terminal:
        print(json.dumps(answer, indent=2)) if as_json else show(answer)
        return 0
    until = None if timeout is None else time.monotonic() + timeout
    answers = _or_overdue(follow(settings, answer["service"]["serviceArn"], until), answer)
    if terminal:
        last = _watch(answers, answer)
    elif as_json:
        last = _last(answers, answer)
        print(json.dumps(last, indent=2))
    else:
        last = _print(answers, answer)
    if last["verdict"] == OVERDUE:
        raise CommandError(overdue(last, timeout or 0.0))
    return int(last["verdict"] == "failed")


def show(answer: Answer) -> None:
    """Prints a snapshot."""
    console().print(headline(answer), markup=False)
    table(COLUMNS, rows(answer))
    for line in (*failures(answer), *events(answer)):
        print("\t".join(line))


def follow(settings: Settings, arn: str, until: float | None = None) -> Iterator[Answer | None]:
    """What is said of the service, from now on until it is steady, has failed or is gone; None while the control plane
    is away. A deployment that was asked for just before has begun in the first answer already. Raises TimeoutError at
    ``until`` (monotonic seconds)."""
    while True:
        try:
            for answer in control.follow(settings, "/follow-service", {"service": arn}, until):
                if answer is None:
                    return
                yield answer
                if answer["verdict"] is not None:
                    return
        except control.Unreachable:  # it may be restarting; what runs runs on
            yield None
        if until is not None and time.monotonic() >= until:
            raise TimeoutError
        time.sleep(RETRY_SECONDS)


def _or_overdue(answers: Iterator[Answer | None], last: Answer) -> Iterator[Answer | None]:
    """Where time runs out, the last answer again, with that as its verdict."""
    try:
        for answer in answers:
            last = answer or last
            yield answer
    except TimeoutError:
        yield {**last, "verdict": OVERDUE}


def _watch(answers: Iterator[Answer | None], answer: Answer) -> Answer:
    from rich.live import Live

    with Live(_picture(answer, ""), console=console(), auto_refresh=False) as live:
        for now in answers:
            away = "" if now else "The control plane doesn't answer; this is what it said last."
            answer = now or answer
            live.update(_picture(answer, away), refresh=True)
    if answer["verdict"] != OVERDUE:
        console().print(ending(answer), markup=False)
    return answer


def _print(answers: Iterator[Answer | None], last: Answer) -> Answer:
    """Prints what is new in each answer, a line for each thing."""
    before: Answer | None = None
    for answer in answers:
        if answer is not None:
            for line in news(before, answer):
                print("\t".join(line), flush=True)
            before = last = answer
    if last["verdict"] != OVERDUE:
        print(ending(last), flush=True)
    return last


def _last(answers: Iterator[Answer | None], last: Answer) -> Answer:
    for answer in answers:
        last = answer or last
    return last


def _picture(answer: Answer, note: str) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(headline(answer), style="bold"), grid((*COLUMNS, ""), _with_bars(answer))]
    if answer["failing"]:
        shown = [(_clock(t["stopped_at"]), t["id"][:12], t["definition"], why(t)) for t in answer["failing"]]
        failed = grid(("STOPPED", "TASK", "DEFINITION", "REASON"), shown[:_LIVE_FAILURES])
        failed.style = "red"
        parts.append(failed)
    parts.append(grid(("AT", "EVENT"), [line[:1] + line[2:] for line in events(answer)[:_LIVE_EVENTS]]))
    if note:
        parts.append(Text(note, style="yellow"))
    return Group(*parts)


# --- pure -------------------------------------------------------------------------------------------------------------


def headline(answer: Answer) -> str:
    """Everything about the service as a whole, in a line."""
    service = answer["service"]
    parts = [
        f"Service {service['serviceName']}",
        f"cluster {service['clusterArn'].rpartition('/')[2]}",
        service["status"],
        service["schedulingStrategy"],
        f"{service['runningCount']} of {service['desiredCount']} running",
        f"{service['pendingCount']} pending",
    ]
    newest = answer["deployment"]
    if newest:
        reason = f" ({newest['reason']})" if newest["reason"] else ""
        parts.append(f"deployment {newest['status']}{reason}")
        if newest["breaker"] in ("MONITORING", "TRIGGERED"):
            parts.append(f"circuit breaker {newest['failures']} of {newest['threshold']} failures")
    return "  ".join(parts)


def rows(answer: Answer) -> list[tuple[str, ...]]:
    """A row for each deployment, or task set of a service that has them."""
    service = answer["service"]
    if service.get("taskSets"):
        return [_row(s, s["computedDesiredCount"], "", s["stabilityStatus"]) for s in service["taskSets"]]
    return [
        _row(d, d["desiredCount"], str(d["failedTasks"]), d.get("rolloutState", "")) for d in service["deployments"]
    ]


def _row(shown: dict[str, Any], desired: int, failed: str, state: str) -> tuple[str, ...]:
    definition = shown.get("taskDefinition", "").rpartition("/")[2]
    running = f"{shown['runningCount']} of {desired}"
    return (shown["id"], shown["status"], definition, running, str(shown["pendingCount"]), failed, state)


def _with_bars(answer: Answer) -> list[tuple[str, ...]]:
    found = []
    for row in rows(answer):
        running, _, desired = row[3].partition(" of ")
        found.append((row[0].removeprefix("ecs-svc/"), *row[1:], bar(int(running), int(row[4]), int(desired))))
    return found


def bar(running: int, pending: int, desired: int) -> str:
    """How much of what is wanted runs, and how much is on its way."""
    whole = max(desired, running, 1)
    full = _BAR * min(running, whole) // whole
    half = min(_BAR - full, -(-_BAR * pending // whole))
    return "█" * full + "▒" * half + "░" * (_BAR - full - half)


def failures(answer: Answer) -> list[tuple[str, ...]]:
    """What ended though it was wanted, the newest first: when, what, its deployment, why."""
    return [(_clock(t["stopped_at"]), "task", t["id"], t["deployment"] or "", why(t)) for t in answer["failing"]]


def why(task: dict[str, Any]) -> str:
    """Why a task ended, with its containers' exit codes and reasons."""
    text = f"{task['stop_code']}: {task['stopped_reason']}"
    for container in task["containers"]:
        said = [f"exit {container['exit_code']}"] if container["exit_code"] is not None else []
        said += [container["reason"]] if container["reason"] and container["reason"] not in text else []
        if said:
            text += f" [{container['name']}: {', '.join(said)}]"
    return text


def events(answer: Answer) -> list[tuple[str, ...]]:
    """What the service told, the newest first."""
    return [(_clock(e["createdAt"]), "event", e["message"]) for e in answer["service"]["events"]]


def news(before: Answer | None, answer: Answer) -> list[tuple[str, ...]]:
    """What an answer says that the one before didn't, in lines; of the first one, what is of the newest deployment."""
    known = {t["id"] for t in before["failing"]} if before else set()
    failed = [line for line in reversed(failures(answer)) if line[2] not in known]
    told = {e["id"] for e in before["service"]["events"]} if before else set()
    begun = answer["deployment"]["created_at"] if answer["deployment"] else float("inf")
    fresh = [e["id"] not in told and (before or e["createdAt"] >= begun) for e in answer["service"]["events"]]
    said = [line for line, new in zip(events(answer), fresh, strict=True) if new]
    rolled = [("", "deployment", *row) for row in rows(answer) if before is None or row not in rows(before)]
    return [*failed, *reversed(said), *rolled]


def ending(answer: Answer) -> str:
    """How it ended."""
    name, newest = answer["service"]["serviceName"], answer["deployment"] or {}
    match answer["verdict"]:
        case "steady":
            return f"Service {name} is steady: {answer['service']['runningCount']} tasks run."
        case "failed":
            reasons = [d.get("rolloutStateReason") for d in answer["service"]["deployments"]]
            why = newest.get("reason") or next(filter(None, reasons), "")
            return f"Service {name}: the deployment has failed ({newest.get('status', 'FAILED')}). {why}"
        case "gone":
            return f"Service {name} was deleted."
    return f"Service {name} is no longer known."


def overdue(answer: Answer, seconds: float) -> str:
    """What is said where it took too long, and what to do next."""
    service = answer["service"]
    name = f"{service['clusterArn'].rpartition('/')[2]}/{service['serviceName']}"
    return (
        f"Service {service['serviceName']} isn't steady after {seconds:g} s: {service['runningCount']} of "
        f"{service['desiredCount']} tasks run, {service['pendingCount']} are pending; the rollout goes on. "
        f"Find out what keeps it with: homeport explain {name}"
    )


def _clock(at: float | None) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at)) if at is not None else ""
