"""The ecs model as an oracle: smallest valid values of its shapes, every constraint and how to break it, and a strict
check of answers. botocore reads the model; nothing here looks at Homeport's own reading of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import botocore.session
from botocore.model import Shape

MODEL = botocore.session.get_session().get_service_model("ecs")
OPERATIONS: tuple[str, ...] = tuple(sorted(MODEL.operation_names))
COMMON_ERRORS = frozenset(  # of every AWS service that speaks JSON
    {"SerializationException", "UnknownOperationException", "AccessDeniedException", "ThrottlingException"}
)
MAX_DEPTH = 9  # levels of members that are broken; the model's own recursion ends there


class MapKey(str):
    """A step into a map, where a plain text is the name of a member."""

    __slots__ = ()


KEY = MapKey("key")  # the one that smallest maps have
Path = tuple[str | int, ...]  # members, list indexes, map keys
Names = Callable[[str], Any]  # a good value for a member of this name, None where any text will do


class Violation(NamedTuple):
    """``code``: what the answer must say; ``text``: what its message must contain."""

    kind: str  # missing, null, type, enum, low, high, short, long, pattern
    path: Path
    body: dict[str, Any]
    serialization: bool
    text: str


def input_shape(operation: str) -> Shape:
    return MODEL.operation_model(operation).input_shape


def declared_errors(operation: str) -> frozenset[str]:
    return frozenset(shape.name for shape in MODEL.operation_model(operation).error_shapes)


# --- smallest valid values ---------------------------------------------------------------------------------------


def smallest(shape: Shape, names: Names, member: str = "") -> Any:
    """A valid value with nothing in it that may be left out."""
    known = names(member)
    if known is not None and shape.type_name in ("string", "list"):
        return [known] if shape.type_name == "list" and not isinstance(known, list) else known
    meta = shape.metadata
    match shape.type_name:
        case "structure":
            needed = list(shape.required_members)
            if meta.get("union") and not needed:
                needed = [next(iter(shape.members))]
            return {name: smallest(shape.members[name], names, name) for name in needed}
        case "list":
            return [smallest(shape.member, names, member)]
        case "map":
            return {KEY: smallest(shape.value, names)}
        case "string":
            return meta["enum"][0] if meta.get("enum") else "a" * max(1, int(meta.get("min", 1)))
        case "boolean":
            return True
        case "timestamp":
            return 0
    return meta.get("min") or 1


# --- what is to be broken ----------------------------------------------------------------------------------------


def parts(shape: Shape, path: Path = (), seen: tuple[str, ...] = ()) -> Iterator[tuple[Path, Shape]]:
    """Every place in a value of this shape where there is a constraint or a type, the shape itself left out."""
    if len(path) >= MAX_DEPTH or shape.name in seen:
        return
    below: list[tuple[str | int, Shape]] = []
    match shape.type_name:
        case "structure":
            below = list(shape.members.items())
        case "list":
            below = [(0, shape.member)]
        case "map":
            below = [(KEY, shape.value)]
    for step, inner in below:
        if getattr(inner, "is_document_type", False):
            continue
        yield (*path, step), inner
        yield from parts(inner, (*path, step), (*seen, shape.name))


def put(shape: Shape, body: dict[str, Any], path: Path, value: Any, names: Names) -> dict[str, Any]:
    """A copy of ``body`` with ``value`` at ``path``; what is missing on the way there is made as small as it can be."""
    body = copy.deepcopy(body)
    here: Any = body
    for at, step in enumerate(path[:-1]):
        shape = _inner(shape, step)
        following = path[at + 1]
        if isinstance(step, int):
            if not here:
                here.append(smallest(shape, names))
        elif step not in here:
            here[step] = smallest(shape, names, step)
        if shape.type_name == "structure" and shape.metadata.get("union") and following not in here[step]:
            here[step] = {}  # a union has one member
        here = here[step]
    if isinstance(path[-1], int):
        here[:] = [value]
    elif value is _ABSENT:
        here.pop(path[-1], None)
    else:
        here[path[-1]] = value
    return body


_ABSENT = object()
_WRONG = {
    "string": (1, ["a"]),
    "integer": ("1", True, 1.5, 2**31, -(2**31) - 1, 10**40),
    "long": ("1", False, 1.5, 2**63),
    "double": ("1.0", True, {"a": 1}),
    "boolean": ("true", 1),
    "timestamp": ("yesterday", True, 10**30),
    "structure": ("a", []),
    "list": ("a", {}),
    "map": ("a", []),
}


def violations(operation: str, body: dict[str, Any], names: Names) -> Iterator[Violation]:
    """One request for each constraint of the operation's input, with that constraint broken and all others kept."""
    top = input_shape(operation)
    for name in top.required_members:
        yield from _absences(top, body, (name,), names)
    for path, shape in parts(top):
        for value in _WRONG[shape.type_name]:
            yield Violation("type", path, put(top, body, path, value, names), True, "")
        for kind, value, text in _out_of_bounds(shape, names, str(path[-1])):
            said = f"at '{dotted(path)}' failed to satisfy constraint: {text}"
            yield Violation(kind, path, put(top, body, path, value, names), False, said)
        if shape.type_name == "structure":
            for name in shape.required_members:
                yield from _absences(top, body, (*path, name), names)


_ODD: dict[str, tuple[Any, ...]] = {
    "string": ("", " ", "\N{PILE OF POO}/:", "9" * 3000),
    "integer": (0, -1, 2**31 - 1, -(2**31)),
    "long": (0, -1, 2**63 - 1),
    "double": (0.0, -0.5, 1e308),
    "boolean": (False,),
    "timestamp": (0, -1e9, 253402300799),
    "structure": ({},),
    "list": ([],),
    "map": ({}, {"": ""}),
}


def oddities(operation: str, body: dict[str, Any], names: Names) -> Iterator[dict[str, Any]]:
    """Requests that may be good or bad: every member given, one after the other, with a plain and with odd values."""
    top = input_shape(operation)
    for path, shape in parts(top):
        values = [smallest(shape, names, str(path[-1])), *_ODD[shape.type_name]]
        if shape.type_name == "list":
            values.append(values[0] * 250)
        for value in values:
            yield put(top, body, path, value, names)


def _absences(top: Shape, body: dict[str, Any], path: Path, names: Names) -> Iterator[Violation]:
    said = f"Value null at '{dotted(path)}' failed to satisfy constraint: Member must not be null"
    yield Violation("missing", path, put(top, body, path, _ABSENT, names), False, said)
    yield Violation("null", path, put(top, body, path, None, names), False, said)


def _out_of_bounds(shape: Shape, names: Names, member: str) -> Iterator[tuple[str, Any, str]]:
    """(kind, value, text) for each constraint of the shape itself."""
    meta = shape.metadata
    if meta.get("enum"):
        for value in ("NOT_ONE_OF_THEM", ""):
            yield "enum", value, "Member must satisfy enum value set"
    if meta.get("pattern"):
        yield "pattern", "no\N{BELL}good", "Member must satisfy regular expression pattern"
    low, high = meta.get("min"), meta.get("max")
    number = shape.type_name in ("integer", "long", "double", "float")
    what = "value" if number else "length"
    if low is not None and (number or low > 0):
        yield ("low" if number else "short"), _sized(shape, low - 1, names, member), f"Member must have {what} greater"
    if high is not None and (not number or high < 2**31 - 1):
        yield ("high" if number else "long"), _sized(shape, high + 1, names, member), f"Member must have {what} less"


def _sized(shape: Shape, size: int, names: Names, member: str) -> Any:
    match shape.type_name:
        case "string":
            return "a" * size
        case "list":
            return [smallest(shape.member, names, member) for _ in range(size)]
    return size


def dotted(path: Path) -> str:
    """The path as AWS's messages write it: ``containerDefinitions.1.member.image``."""
    shown: list[str] = []
    for step in path:
        if isinstance(step, int):
            shown += [str(step + 1), "member"]
        elif isinstance(step, MapKey):
            shown += [step, "member"]
        else:
            shown.append(step[0].lower() + step[1:])
    return ".".join(shown)


def _inner(shape: Shape, step: str | int) -> Shape:
    if shape.type_name == "list":
        return shape.member
    return shape.value if shape.type_name == "map" else shape.members[step]


# --- answers -----------------------------------------------------------------------------------------------------

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (int, float),
    "structure": (dict,),
    "list": (list,),
    "map": (dict,),
}


def misfits(value: Any, shape: Shape | None, path: str = "") -> Iterator[str]:
    """What in an answer isn't as its shape says: unknown members, missing ones, wrong types, values that the model
    doesn't know."""
    if shape is None:
        if value:
            yield f"{path}: there is no answer of this operation"
        return
    if getattr(shape, "is_document_type", False):
        return
    if type(value) not in _KINDS[shape.type_name]:
        yield f"{path}: {value!r} is no {shape.type_name}"
        return
    match shape.type_name:
        case "structure":
            yield from _structure_misfits(value, shape, path)
        case "list":
            for i, item in enumerate(value):
                yield from misfits(item, shape.member, f"{path}[{i}]")
        case "map":
            for key, item in value.items():
                yield from misfits(item, shape.value, f"{path}.{key}")
        case "string" if shape.metadata.get("enum") and value not in shape.metadata["enum"]:
            yield f"{path}: {value!r} is none of {shape.metadata['enum']}"


def _structure_misfits(value: dict[str, Any], shape: Shape, path: str) -> Iterator[str]:
    for name in shape.required_members:
        if name not in value:
            yield f"{path}.{name}: missing"
    if shape.metadata.get("union") and len(value) != 1:
        yield f"{path}: a union with {len(value)} members"
    for name, item in value.items():
        if name not in shape.members:
            yield f"{path}.{name}: unknown to the model"
        else:
            yield from misfits(item, shape.members[name], f"{path}.{name}")
