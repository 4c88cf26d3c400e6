"""The cluster query language: expressions over container instances. Pure.

::

    attribute:ecs.instance-type =~ g2.* and not (task:group == database or attribute:stack !exists)

``parse`` turns a text into an ``Expression``, whose ``matches`` is asked of each instance. ``not`` binds tighter than
``and``, ``and`` tighter than ``or``. An attribute that an instance hasn't got equals nothing, so ``!=``, ``!in`` and
``!~`` hold for it. Regular expressions match the whole value and take linear time (RE2), whatever a caller writes;
look-around and back-references, which Java has and RE2 hasn't, are refused.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from homeport.core.errors import AwsError, invalid_parameter
from homeport.services.ecs.expression_values import date, number, ordered, pattern, version

MAX_LENGTH = 2000  # characters of an expression, as ECS
_REMEMBERED = 1000  # parsed expressions kept: a service asks with the same one again and again


class Subject(Protocol):
    """A container instance, as expressions see it. ``registered_at`` in epoch seconds; ``groups`` are those of the
    tasks that run there."""

    @property
    def agent_connected(self) -> bool: ...
    @property
    def agent_version(self) -> str: ...
    @property
    def ec2_instance_id(self) -> str: ...
    @property
    def registered_at(self) -> float: ...
    @property
    def running_tasks_count(self) -> int: ...
    @property
    def pending_tasks_count(self) -> int: ...
    @property
    def status(self) -> str: ...
    def attribute(self, name: str) -> str | None: ...
    def runs_group(self, group: str) -> bool: ...
    def groups(self) -> Iterable[str]: ...


Test = Callable[[Subject], bool]


class Expression(NamedTuple):
    """``attributes_only``: instances with the same attributes answer alike."""

    text: str
    matches: Test
    attributes_only: bool


class _Node(NamedTuple):
    """A part of an expression. ``inverse`` is its negation, kept so that ``not not …`` never grows deep."""

    test: Test
    inverse: Test
    attributes_only: bool


GRAMMAR = r"""
?start: either
?either: both (_OR both)*
?both: factor (_AND factor)*
?factor: _NOT factor -> negated
    | "(" either ")"
    | SUBJECT COMPARISON value -> comparison
    | SUBJECT MEMBERSHIP "[" value ("," value)* "]" -> membership
    | SUBJECT MATCH PATTERN -> match
    | SUBJECT EXISTENCE -> existence
value: QUOTED | WORD
_OR: /or\b/i | "||"
_AND: /and\b/i | "&&"
_NOT: /not\b/i | "!"
SUBJECT: /attribute:[A-Za-z0-9_.\/\\-]+/ | "task:group" | /(agentConnected|agentVersion|ec2InstanceId|registeredAt)\b/
    | /(runningTasksCount|pendingTasksCount|status)\b/
COMPARISON: "==" | "!=" | ">=" | ">" | "<=" | "<" | "equals" | "not_equals" | "greater_than_equal" | "greater_than"
    | "less_than_equal" | "less_than"
MEMBERSHIP: "in" | "!in" | "not_in"
MATCH: "=~" | "!~" | "matches" | "not_matches"
EXISTENCE: "exists" | "!exists" | "not_exists"
QUOTED: /'[^']*'/ | /"[^"]*"/
WORD: /[^\s()\[\],'"=!<>&|~]+/
PATTERN: QUOTED | /(?:[^\s()]|\([^()\s]*\))+/
%ignore /\s+/
"""

_OPERATORS = {
    "equals": "==",
    "not_equals": "!=",
    "greater_than": ">",
    "greater_than_equal": ">=",
    "less_than": "<",
    "less_than_equal": "<=",
    "not_in": "!in",
    "not_exists": "!exists",
    "matches": "=~",
    "not_matches": "!~",
}
_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
# What each subject but attributes and groups is: how an instance tells it, how a literal is read, what may be asked.
_TEXTS = frozenset({"==", "in", "=~"})
_ORDERED = frozenset({"==", *_ORDERINGS})
_SUBJECTS: dict[str, tuple[Callable[[Subject], Any], Callable[[str], Any], frozenset[str]]] = {
    "agentConnected": (lambda s: str(s.agent_connected).lower(), str, _TEXTS),
    "agentVersion": (lambda s: version(s.agent_version), version, _ORDERED),
    "ec2InstanceId": (lambda s: s.ec2_instance_id, str, _TEXTS),
    "registeredAt": (lambda s: s.registered_at, date, _ORDERED),
    "runningTasksCount": (lambda s: s.running_tasks_count, number, _ORDERED),
    "pendingTasksCount": (lambda s: s.pending_tasks_count, number, _ORDERED),
    "status": (lambda s: s.status, str, _TEXTS),
}


class _Meaning:
    """What each rule of the grammar means: called by the parser as it reduces, so depth costs no stack."""

    def either(self, parts: list[_Node]) -> _Node:
        tests, inverses = [p.test for p in parts], [p.inverse for p in parts]
        return _Node(_any(tests), _all(inverses), all(p.attributes_only for p in parts))

    def both(self, parts: list[_Node]) -> _Node:
        tests, inverses = [p.test for p in parts], [p.inverse for p in parts]
        return _Node(_all(tests), _any(inverses), all(p.attributes_only for p in parts))

    def negated(self, parts: list[_Node]) -> _Node:
        (part,) = parts
        return _Node(part.inverse, part.test, part.attributes_only)

    def value(self, parts: list[Any]) -> str:
        text = str(parts[0])
        return text[1:-1] if text[0] in "'\"" else text

    def comparison(self, parts: list[Any]) -> _Node:
        subject, comparison, literal = str(parts[0]), _operator(parts[1]), parts[2]
        if comparison in ("==", "!="):
            return _predicate(subject, "==", _equals(subject, literal), negative=comparison == "!=")
        ordering = _ORDERINGS[comparison]
        if subject not in _SUBJECTS:  # an attribute; groups have no order
            return _predicate(subject, comparison, lambda known: ordered(ordering, known, literal))
        wanted = _read(subject, literal)
        return _predicate(subject, comparison, lambda known: ordering(known, wanted))

    def membership(self, parts: list[Any]) -> _Node:
        subject, comparison = str(parts[0]), _operator(parts[1])
        wanted = frozenset(parts[2:])
        return _predicate(subject, "in", lambda known: known in wanted, negative=comparison == "!in")

    def match(self, parts: list[Any]) -> _Node:
        subject, comparison, matches = str(parts[0]), _operator(parts[1]), pattern(self.value(parts[2:]))
        return _predicate(subject, "=~", matches, negative=comparison == "!~")

    def existence(self, parts: list[Any]) -> _Node:
        subject, comparison = str(parts[0]), _operator(parts[1])
        if not subject.startswith("attribute:"):
            raise _invalid(f"'{subject}' can't be asked for its existence")
        return _predicate(subject, "exists", lambda known: True, negative=comparison == "!exists")


def parse(text: str) -> Expression:
    """Raises InvalidParameterException."""
    if len(text) > MAX_LENGTH:
        raise invalid_parameter(f"An expression can be at most {MAX_LENGTH} characters long.")
    return _parsed(text)


@lru_cache(_REMEMBERED)
def _parsed(text: str) -> Expression:
    from lark.exceptions import LarkError, VisitError

    try:
        node: Any = _parser().parse(text)
    except VisitError as error:
        raise (error.orig_exc if isinstance(error.orig_exc, AwsError) else _invalid("it can't be read")) from error
    except LarkError as error:
        column = getattr(error, "column", None)
        where = (
            f"unexpected text at position {column}" if isinstance(column, int) and column > 0 else "it ends too early"
        )
        raise _invalid(where) from error
    return Expression(text, node.test, node.attributes_only)


@lru_cache(1)
def _parser() -> Any:
    """Made when it is first needed: the library takes 50 ms to load (measured), and most Homeports never ask."""
    import lark

    class Transformer(lark.Transformer[Any, Any], _Meaning):
        pass

    return lark.Lark(GRAMMAR, parser="lalr", transformer=Transformer())


def _predicate(subject: str, comparison: str, holds: Callable[[Any], bool], *, negative: bool = False) -> _Node:
    """``holds`` asked of the subject's value; of a group, of any that runs there. ``negative``: the opposite of it."""
    if subject == "task:group":
        if comparison not in _TEXTS:
            raise _invalid(f"'{subject}' can't be asked with {comparison}")
        test: Test = lambda s: any(holds(group) for group in s.groups())  # noqa: E731
    elif subject.startswith("attribute:"):
        name = subject.removeprefix("attribute:")

        def test(s: Subject) -> bool:
            known = s.attribute(name)
            return known is not None and holds(known)
    elif subject in _SUBJECTS and comparison in _SUBJECTS[subject][2]:
        told = _SUBJECTS[subject][0]
        test = lambda s: holds(told(s))  # noqa: E731
    else:
        raise _invalid(f"'{subject}' can't be asked with {comparison}")
    inverse: Test = lambda s: not test(s)  # noqa: E731
    attributes = subject.startswith("attribute:")
    return _Node(inverse, test, attributes) if negative else _Node(test, inverse, attributes)


def _equals(subject: str, literal: str) -> Callable[[Any], bool]:
    wanted = _read(subject, literal) if subject in _SUBJECTS else literal
    return lambda known: bool(known == wanted)


def _read(subject: str, literal: str) -> Any:
    try:
        return _SUBJECTS[subject][1](literal)
    except ValueError as error:
        raise _invalid(f"'{literal}' is no value of '{subject}'") from error


def _operator(token: Any) -> str:
    return _OPERATORS.get(str(token), str(token))


def _any(tests: list[Test]) -> Test:
    return lambda s: any(test(s) for test in tests)


def _all(tests: list[Test]) -> Test:
    return lambda s: all(test(s) for test in tests)


def _invalid(why: str) -> AwsError:
    return invalid_parameter(f"Invalid expression: {why}.")
