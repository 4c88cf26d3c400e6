"""Reading scenario files: what is wrong with one is told with its line and with what is allowed instead.

Pure but for reading the file.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec

from homeport.services.ec2.regions import zones
from homeport.services.ecs.capacity import FARGATE_PROVIDERS, SPOT
from homeport.sim.control import REGION
from homeport.sim.questions import (
    MOST_MACHINES,
    MOST_TASKS,
    Deploy,
    Event,
    Happens,
    Interrupt,
    OfMachines,
    Question,
    Runs,
    Scale,
)

MOST_BYTES = 1_000_000  # of a file
_AT = re.compile(r" - at `\$?([^`]*)`$")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*=""")
_WORDS = {  # msgspec's, as people who write TOML know them
    "float": "a number",
    "int": "an integer",
    "str": "a string",
    "bool": "true or false",
    "object": "a table",
    "array": "an array",
}
_KINDS: dict[str, type[Event]] = {str(kind.__struct_config__.tag): kind for kind in get_args(Happens)}

Steps = tuple[str | int, ...]


class BadScenario(Exception):
    """What is wrong with a scenario."""


class Wrong(NamedTuple):
    """``where``: the steps to what is wrong, as ("events", 2, "at")."""

    where: Steps
    what: str


def read(path: Path) -> Question:
    """Raises BadScenario."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadScenario(f"{path}: {error.strerror or error}") from error
    if len(data) > MOST_BYTES:
        raise BadScenario(f"{path} has more than {MOST_BYTES:,} bytes: that is no scenario file")
    try:
        return parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadScenario(f"{path} is no text in UTF-8") from error
    except BadScenario as error:
        raise BadScenario(f"{path}: {error}") from error


def parse(text: str) -> Question:
    """Raises BadScenario."""
    try:
        found = tomllib.loads(text)
        question = msgspec.convert(found, Question)
    except msgspec.ValidationError as error:
        raise BadScenario(_told(_invalid(str(error), found), text)) from error
    except RecursionError as error:
        raise BadScenario("it is nested too deeply") from error
    except ValueError as error:  # no TOML
        raise BadScenario(str(error)) from error
    for wrong in _wrongs(question):
        raise BadScenario(_told(wrong, text))
    return question


# --- what is wrong ----------------------------------------------------------------------------------------------------


def _invalid(message: str, found: dict[str, Any]) -> Wrong:
    """msgspec's message, with the place apart and with what is allowed."""
    place = _AT.search(message)
    where = tuple(name or int(index) for name, index in _STEP.findall(place.group(1))) if place else ()
    what = (
        (message[: place.start()] if place else message).replace("`", "").replace("Object ", "").replace(" | null", "")
    )
    what = what[0].lower() + what[1:]
    if unknown := re.search(r"unknown field (.*)", what):
        allowed = ", ".join(_members(_struct(where, found)))
        return Wrong((*where, unknown.group(1)), f"there is no such member; there are {allowed}")
    if "required field" in what:
        missing = what.rpartition(" ")[2]
        return Wrong(where, f"{missing} is missing" + (f": one of {', '.join(_KINDS)}" if missing == "do" else ""))
    if what.startswith("invalid") and where[-1:] == ("do",):
        return Wrong(where, f"{what}: it is one of {', '.join(_KINDS)}")
    if what.startswith("invalid enum value"):
        return Wrong(where, f"{what}: it is one of {', '.join(_choices(where, found))}")
    return Wrong(where, re.sub(r"\b(float|int|str|bool|object|array)\b", lambda m: _WORDS[m[1]], what))


def _struct(where: Steps, found: dict[str, Any]) -> type[msgspec.Struct]:
    """What is described at a place of the file."""
    kind: Any = Question
    for depth, step in enumerate(where):
        if isinstance(step, int):
            if kind is Event:
                kind = _KINDS[found["events"][step]["do"]]
            continue
        kind = Event if step == "events" and depth == 0 else _struct_in(_field(kind, step).type)
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else Question


def _field(kind: type[msgspec.Struct], name: str) -> msgspec.structs.FieldInfo:
    return next(f for f in msgspec.structs.fields(kind) if f.encode_name == name)


def _struct_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    return next((inner for part in get_args(annotation) if (inner := _struct_in(part)) is not None), None)


def _members(kind: type[msgspec.Struct]) -> list[str]:
    tag = kind.__struct_config__.tag_field
    return [*([tag] if tag else []), *(f.encode_name for f in msgspec.structs.fields(kind))]


def _choices(where: Steps, found: dict[str, Any]) -> Iterator[str]:
    def literals(annotation: Any) -> Iterator[str]:
        for part in get_args(annotation):
            if isinstance(part, str):
                yield part
            else:
                yield from literals(part)

    yield from literals(_field(_struct(where[:-1], found), str(where[-1])).type)


def _wrongs(question: Question) -> Iterator[Wrong]:
    """What each member by itself doesn't show."""
    yield from _wrong_numbers(msgspec.to_builtins(question), ())
    yield from _twice("machines", [machines.name for machines in question.machines])
    yield from _twice("services", [runs.name for runs in question.services])
    if sum(machines.count for machines in question.machines) > MOST_MACHINES:
        yield Wrong(("machines",), f"there can be at most {MOST_MACHINES} machines")
    if sum(runs.count for runs in question.services) > MOST_TASKS:
        yield Wrong(("services",), f"there can be at most {MOST_TASKS} tasks of all services together")
    yield from _wrong_zones(question)
    for number, runs in enumerate(question.services):
        yield from _wrong_service(("services", number), runs, question)
    for number, event in enumerate(question.events):
        yield from _wrong_event(("events", number), event, question)


def _wrong_numbers(value: Any, where: Steps) -> Iterator[Wrong]:
    """TOML knows inf and nan."""
    if isinstance(value, float) and not isfinite(value):
        yield Wrong(where, f"expected a number, got {value}")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for step, inner in items:
        yield from _wrong_numbers(inner, (*where, step))


def _twice(what: str, names: list[str]) -> Iterator[Wrong]:
    counts = Counter(names)
    for number, name in enumerate(names):
        if counts[name] > 1:
            yield Wrong((what, number, "name"), f"several {what} are named {name}")


def _wrong_zones(question: Question) -> Iterator[Wrong]:
    """Tasks with a network interface are in subnets, and these in the region's zones."""
    known = _subnets()
    asked: list[tuple[Steps, Collection[str]]] = [
        (("machines", number, "zones"), machines.zones)
        for number, machines in enumerate(question.machines)
        if machines.kind == "FARGATE"
    ]
    if question.fargate is not None:
        asked.append((("fargate", "zones"), question.fargate.zones))
    for where, named in asked:
        if strange := [zone for zone in named if zone not in known]:
            yield Wrong(where, f"Fargate has no zone {strange[0]} here; it has {', '.join(known)}")


def _subnets() -> list[str]:
    """The zones that have a subnet."""
    return [zone.name for zone in zones(REGION)]


def _wrong_service(where: Steps, runs: Runs, question: Question) -> Iterator[Wrong]:
    providers = {machines.provider: None for machines in question.machines if machines.provider}
    if runs.capacity and runs.launch_type is not None:
        yield Wrong((*where, "capacity"), "a service has a launch_type or a capacity, not both")
    for number, item in enumerate(runs.capacity):
        if item.provider not in (*FARGATE_PROVIDERS, *providers):
            known = ", ".join((*FARGATE_PROVIDERS, *providers))
            yield Wrong(
                (*where, "capacity", number), f"there is no capacity provider {item.provider}; there are {known}"
            )
    subnets = _subnets()
    zoned = {zone for machines in question.machines for zone in machines.zones}
    if runs.network == "awsvpc" and zoned.isdisjoint(subnets):
        yield Wrong((*where, "network"), f"no machine is in a zone with subnets for awsvpc: {', '.join(subnets)}")
    if runs.runs_on != "FARGATE":
        return
    if question.fargate is None and not any(machines.kind == "FARGATE" for machines in question.machines):
        yield Wrong(where, "nothing has room for Fargate: give [fargate] zones, or machines of the kind FARGATE")
    for member in ("port", "constraints", "strategy"):
        if getattr(runs, member):
            yield Wrong((*where, member), f"tasks on Fargate have no {member}")
    if runs.network not in (None, "awsvpc"):
        yield Wrong((*where, "network"), "tasks on Fargate are awsvpc")


def _wrong_event(where: Steps, event: Happens, question: Question) -> Iterator[Wrong]:
    services = [runs.name for runs in question.services]
    if isinstance(event, Deploy | Scale | Interrupt) and event.service not in (None, *services):
        known = ", ".join(services)
        yield Wrong((*where, "service"), f"there is no service {event.service!r}; there are {known}")
    if isinstance(event, Interrupt) and not any(i.provider == SPOT for r in question.services for i in r.capacity):
        yield Wrong(where, f'no service runs on {SPOT}: give one the capacity [{{capacityProvider = "{SPOT}"}}]')
    if isinstance(event, OfMachines):
        yield from _wrong_target(where, event, question)


def _wrong_target(where: Steps, event: OfMachines, question: Question) -> Iterator[Wrong]:
    given = [name for name in ("instance", "machines", "zone") if getattr(event, name) is not None]
    if len(given) != 1:
        yield Wrong(where, "it takes one of instance, machines and zone")
        return
    (what,) = given
    named = getattr(event, what)
    known = {
        "instance": [f"{m.name}-{number + 1}" for m in question.machines for number in range(m.count)],
        "machines": [m.name for m in question.machines],
        "zone": list(dict.fromkeys(z for m in question.machines for z in m.zones)),
    }[what]
    if what == "zone" and question.fargate is not None:
        known += [zone for zone in question.fargate.zones if zone not in known]
    if named not in known:
        some = ", ".join(known[:12]) + (", …" if len(known) > 12 else "") if known else "none"
        yield Wrong((*where, what), f"there is no {what} {named!r}; there are {some}")


# --- where ------------------------------------------------------------------------------------------------------------


def _told(wrong: Wrong, text: str) -> str:
    """With its place, as ``line 12, events[2].at: …``."""
    place = ""
    for step in wrong.where:
        place += f"[{step}]" if isinstance(step, int) else f".{step}" if place else step
    line = line_of(wrong.where, text)
    head = ", ".join(part for part in (f"line {line}" if line else "", place) if part)
    return f"{head}: {wrong.what}" if head else wrong.what


def line_of(where: Steps, text: str) -> int | None:
    """The line of a member, else of the table that it is in, counted from 1; None where that can't be told."""
    best: int | None = None
    table: Steps = ()
    counts: Counter[str] = Counter()
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line):
            brackets, name = header.groups()
            counts[name] += brackets == "[["
            parts = name.split(".")
            numbered = (counts[parts[0]] - 1,) if counts[parts[0]] else ()
            table = (parts[0], *numbered, *parts[1:])
            if where[: len(table)] == table:
                best = best or number
        elif (key := _KEY.match(line)) and where[: len(table)] == table:
            name = next(part for part in key.groups() if part is not None)
            if where[len(table) : len(table) + 1] == (name,):
                return number
    return best
