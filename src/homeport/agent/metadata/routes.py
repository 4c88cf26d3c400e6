"""Which question a path asks. Pure."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

OWN = frozenset(("v1", "v2", "v3", "v4", "api"))  # first segments that are the agent's; all others are the API's …
OPERATORS = frozenset(("healthz", "metrics"))  # … but for what the control plane tells its operators, and no task

Version = Literal["v2", "v3", "v4"]
About = Literal["metadata", "stats"]


class Container(msgspec.Struct, frozen=True):
    """About the container with the endpoint id (v3, v4)."""

    version: Version
    about: About
    endpoint: str


class Sibling(msgspec.Struct, frozen=True):
    """About a container of the task by its runtime id (v2)."""

    about: About
    id: str


class Task(msgspec.Struct, frozen=True):
    """About the whole task; ``endpoint`` is the asking container's (v3, v4), None where the address says all (v2).
    ``tags``: with its tags."""

    version: Version
    about: About
    endpoint: str | None = None
    tags: bool = False


class Credentials(msgspec.Struct, frozen=True):
    """The credentials of the task's role."""

    version: Literal["v1", "v2"]
    id: str


class Protection(msgspec.Struct, frozen=True):
    """The task's protection from scaling in, read or set by the container with the endpoint id."""

    endpoint: str


class Fault(msgspec.Struct, frozen=True):
    """A network fault that the container with the endpoint id starts, stops or asks about."""

    endpoint: str


Route = Container | Sibling | Task | Credentials | Protection | Fault

_SEVERAL = re.compile("/{2,}")
_TASK: dict[str, About] = {"/task": "metadata", "/taskWithTags": "metadata", "/task/stats": "stats"}
_FAULT = re.compile(r"fault/v1/network-(blackhole-port|latency|packet-loss)/(start|stop|status)")
_METHODS = {Protection: ("GET", "PUT"), Fault: ("POST",)}
_WHOLE: dict[str, About] = {"metadata": "metadata", "metadataWithTags": "metadata", "stats": "stats"}


def is_api(path: str) -> bool:
    """Whether the control plane answers, rather than the agent."""
    return _clean(path).split("/", 2)[1] not in OWN | OPERATORS


def methods(route: Route) -> tuple[str, ...]:
    """How it may be asked."""
    return _METHODS.get(type(route), ("GET",))


def route(path: str, query: str = "") -> Route | None:
    """None: there is no such path."""
    version, _, rest = _clean(path)[1:].partition("/")
    match version:
        case "v3" | "v4":
            return _by_endpoint(version, rest)
        case "v2":
            return _by_address(rest)
        case "api":
            return _of_agent(rest)
        case "v1" if rest == "credentials":
            return Credentials("v1", query.removeprefix("id=") if query.startswith("id=") else "")
        case _:
            return None


def _by_endpoint(version: Literal["v3", "v4"], rest: str) -> Route | None:
    endpoint, slash, what = rest.partition("/")
    if not endpoint:
        return None
    if f"{slash}{what}" in _TASK:
        return Task(version, _TASK[f"{slash}{what}"], endpoint, tags=what == "taskWithTags")
    about: About | None = {"": "metadata", "/stats": "stats"}.get(f"{slash}{what}")  # type: ignore[assignment]
    return Container(version, about, endpoint) if about else None


def _by_address(rest: str) -> Route | None:
    what, _, id = rest.partition("/")
    if what == "credentials":
        return Credentials("v2", id)
    if what not in _WHOLE or "/" in id:
        return None
    if not id:
        return Task("v2", _WHOLE[what], tags=what == "metadataWithTags")
    return Sibling(_WHOLE[what], id)


def _of_agent(rest: str) -> Route | None:
    endpoint, _, what = rest.partition("/")
    if endpoint and what == "task-protection/v1/state":
        return Protection(endpoint)
    return Fault(endpoint) if endpoint and _FAULT.fullmatch(what) else None


def _clean(path: str) -> str:
    """With single slashes, and none at the end."""
    return _SEVERAL.sub("/", f"/{path}").rstrip("/") or "/"
