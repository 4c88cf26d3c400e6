"""Checks decoded input against the model's constraints, with AWS's texts. Compiled once for each shape; pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from homeport.aws.models import OperationModel, Ref, ServiceModel, Shape
from homeport.core.errors import AwsError

MAX_PROBLEMS = 10  # how many are told in one error
_SHOWN = 256  # characters of an offending value that an error repeats

# Codes of services that don't use their protocol's usual one, by service or by (service, operation).
_CODES: dict[str | tuple[str, str], str] = {
    "ecs": "InvalidParameterException",
    ("ecs", "RegisterTaskDefinition"): "ClientException",
    "logs": "InvalidParameterException",
}


class Problem(NamedTuple):
    """``path`` is dotted, in the protocol's names. ``text`` completes ``failed to satisfy constraint:``."""

    path: str
    value: Any
    kind: str  # null, enum, low, high, pattern
    text: str


Check = Callable[[str, Any, list[Problem]], None]


class Validator:
    """The constraints of one service's operations. EC2 names and words things differently from all others."""

    def __init__(self, service: ServiceModel) -> None:
        self._service = service
        self._ec2 = "ec2" in service.protocols
        self._checks: dict[Shape, Check | None] = {}

    def check(self, operation: OperationModel, params: dict[str, Any]) -> None:
        """Raises AwsError where ``params`` break the model's required, enum, length, range or pattern."""
        check = self._of(operation.input.shape) if operation.input else None
        if check is None:
            return
        problems: list[Problem] = []
        check("", params, problems)
        if problems:
            raise self._error(operation, problems[:MAX_PROBLEMS])

    def _error(self, operation: OperationModel, problems: list[Problem]) -> AwsError:
        if self._ec2:
            return _ec2_error(problems[0])
        name = self._service.name
        usual = "ValidationError" if self._service.protocols[0] == "query" else "ValidationException"
        code = _CODES.get((name, operation.name)) or _CODES.get(name, usual)
        count = len(problems)
        head = f"{count} validation error{'s' if count > 1 else ''} detected: "
        return AwsError(code, head + "; ".join(_text(problem) for problem in problems))

    def _of(self, shape: Shape) -> Check | None:
        """The check of a shape, None where nothing in it is constrained."""
        if shape not in self._checks:
            # A shape within itself finds this until it is compiled; what it is then is looked up when it runs.
            self._checks[shape] = lambda path, value, problems: _run(self._checks[shape], path, value, problems)
            self._checks[shape] = self._compile(shape)
        return self._checks[shape]

    def _compile(self, shape: Shape) -> Check | None:
        if shape.document:
            return None
        own = _own_check(shape)
        match shape.type:
            case "structure":
                return self._structure(shape)
            case "list":
                assert shape.element is not None
                return _both(own, _list_check(self._of(shape.element.shape), "" if self._ec2 else ".member"))
            case "map":
                assert shape.key is not None
                assert shape.value is not None
                return _both(own, _map_check(self._of(shape.key.shape), self._of(shape.value.shape)))
        return own

    def _structure(self, shape: Shape) -> Check | None:
        required = [(name, self._name(shape.members[name], name)) for name in shape.required if name in shape.members]
        fields = {}
        for name, ref in shape.members.items():
            check = self._of(ref.shape)
            if check is not None:
                fields[name] = (self._name(ref, name), check)
        if not required and not fields:
            return None

        def check_structure(path: str, value: Any, problems: list[Problem]) -> None:
            for name, shown in required:
                if name not in value:
                    problems.append(Problem(_join(path, shown), None, "null", "Member must not be null"))
            for name, item in value.items():
                field = fields.get(name)
                if field is not None:
                    field[1](_join(path, field[0]), item, problems)

        return check_structure

    def _name(self, ref: Ref, member: str) -> str:
        if self._ec2:
            name = ref.query_name or ref.location_name or member
            return name[0].upper() + name[1:]
        return member[0].lower() + member[1:]


def _run(check: Check | None, path: str, value: Any, problems: list[Problem]) -> None:
    if check is not None:
        check(path, value, problems)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _both(first: Check | None, second: Check | None) -> Check | None:
    if first is None or second is None:
        return first or second

    def check(path: str, value: Any, problems: list[Problem]) -> None:
        first(path, value, problems)
        second(path, value, problems)

    return check


def _list_check(element: Check | None, suffix: str) -> Check | None:
    if element is None:
        return None

    def check(path: str, value: Any, problems: list[Problem]) -> None:
        for i, item in enumerate(value, 1):
            element(f"{path}.{i}{suffix}", item, problems)
            if len(problems) >= MAX_PROBLEMS:
                return

    return check


def _map_check(key: Check | None, item: Check | None) -> Check | None:
    if key is None and item is None:
        return None

    def check(path: str, value: Any, problems: list[Problem]) -> None:
        for k, v in value.items():
            _run(key, path, k, problems)
            _run(item, f"{path}.{k}.member", v, problems)
            if len(problems) >= MAX_PROBLEMS:
                return

    return check


def _own_check(shape: Shape) -> Check | None:
    """The constraints of a shape itself: enum, pattern, and its bounds on a value or a length."""
    checks = [_bound_check(shape)]
    if shape.enum:
        checks.append(_enum_check(shape.enum))
    if shape.pattern:
        checks.append(_pattern_check(shape.pattern))
    out: Check | None = None
    for check in checks:
        out = _both(out, check)
    return out


def _enum_check(values: tuple[str, ...]) -> Check:
    known = frozenset(values)
    text = f"Member must satisfy enum value set: [{', '.join(values)}]"

    def check(path: str, value: Any, problems: list[Problem]) -> None:
        if value not in known:
            problems.append(Problem(path, value, "enum", text))

    return check


def _bound_check(shape: Shape) -> Check | None:
    low, high = shape.min, shape.max
    if low is None and high is None:
        return None
    numeric = shape.type in ("integer", "long", "float", "double")
    what = "value" if numeric else "length"
    low_text = f"Member must have {what} greater than or equal to {low}"
    high_text = f"Member must have {what} less than or equal to {high}"

    def check(path: str, value: Any, problems: list[Problem]) -> None:
        size = value if numeric else len(value)
        if low is not None and size < low:
            problems.append(Problem(path, value, "low", low_text))
        elif high is not None and size > high:
            problems.append(Problem(path, value, "high", high_text))

    return check


_CLASSES = (
    ("\\p{L}", "\\w"),
    ("\\p{N}", "\\d"),
    ("\\p{Z}", "\\s"),
    ("\\p{S}", "+<=>^`|~"),
    ("\\p{P}", "!-/:-@\\[-_{}"),
)
_LONGEST_MATCHED = 4096  # characters; AWS's patterns are for names and ARNs, longer text isn't worth the matcher's time


@lru_cache(maxsize=512)
def _regex(pattern: str) -> re.Pattern[str] | None:
    """The pattern in Python's syntax, None where it uses something that Python hasn't."""
    for java, python in _CLASSES:
        pattern = pattern.replace(java, python)
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _pattern_check(pattern: str) -> Check:
    text = f"Member must satisfy regular expression pattern: {pattern}"

    def check(path: str, value: Any, problems: list[Problem]) -> None:
        regex = _regex(pattern)  # compiled at first use: most patterns of a model are never needed
        if regex is not None and len(value) <= _LONGEST_MATCHED and not regex.fullmatch(value):
            problems.append(Problem(path, value, "pattern", text))

    return check


def _shown(value: Any) -> str:
    if isinstance(value, list):
        value = f"[{', '.join(str(item) for item in value[:10])}]"
    return str(value)[:_SHOWN]


def _text(problem: Problem) -> str:
    value = "null" if problem.value is None else f"'{_shown(problem.value)}'"
    return f"Value {value} at '{problem.path}' failed to satisfy constraint: {problem.text}"


def _ec2_error(problem: Problem) -> AwsError:
    if problem.kind == "null":
        return AwsError("MissingParameter", f"The request must contain the parameter {problem.path}")
    value = _shown(problem.value)
    return AwsError("InvalidParameterValue", f"Value ({value}) for parameter {problem.path} is invalid. {problem.text}")
