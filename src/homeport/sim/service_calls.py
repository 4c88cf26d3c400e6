"""What callers have asked of services, and what they may therefore expect to find."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import msgspec


class Call(Protocol):
    """Calls an operation of ECS and returns its answer. Raises Refused, NoAnswer."""

    def __call__(self, operation: str, /, **params: Any) -> Coroutine[Any, Any, dict[str, Any]]: ...


class Listener(Protocol):
    """Is told of calls that change services or task sets: ``asking`` before, or ``began`` says when that was, and what
    it returns after the answer, with the service or task set of the answer."""

    def time(self) -> float: ...

    def asking(
        self, name: str, operation: str, params: dict[str, Any], began: float | None = None
    ) -> Callable[[dict[str, Any]], None]: ...


class Asked(msgspec.Struct):
    """One call, from ``began`` until it was answered, if it was (simulated seconds)."""

    operation: str
    params: dict[str, Any]
    began: float
    ended: float = float("inf")


class Calls:
    """By what they are about: a service's name, or a task set's ARN."""

    def __init__(self, time: Callable[[], float]) -> None:
        self.time = time
        self._asked: dict[str, list[Asked]] = {}

    def names(self) -> list[str]:
        return list(self._asked)

    def asking(
        self, name: str, operation: str, params: dict[str, Any], began: float | None = None
    ) -> Callable[[dict[str, Any]], None]:
        """A call is made; what is returned is to be called with its answer."""
        asked = Asked(operation, params, self.time() if began is None else began)
        self._asked.setdefault(name, []).append(asked)

        def answered(answer: dict[str, Any]) -> None:
            asked.ended = self.time()
            if operation == "CreateService" and answer.get("desiredCount") != params.get("desiredCount"):
                # A creation that is repeated answers with the service as it has become since.
                asked.params = {key: value for key, value in params.items() if key != "desiredCount"}

        return answered

    def last(self, name: str, member: str | None = None) -> list[Asked]:
        """Those calls one of which came last; of those that give this member, where it is named. A call that wasn't
        answered may have come at any time since."""
        asked = [a for a in self._asked.get(name, ()) if member is None or a.params.get(member) is not None]
        return [a for a in asked if not any(b.began > a.ended and b.ended < float("inf") for b in asked)]

    def exists(self, name: str) -> bool:
        """Whether there is certainly a service of this name that isn't deleted."""
        last = self.last(name)
        return bool(last) and all(a.operation != "DeleteService" and a.ended < float("inf") for a in last)

    def asked(self, name: str, member: str) -> set[Any]:
        """What a member may be."""
        return {a.params[member] for a in self.last(name, member)}
