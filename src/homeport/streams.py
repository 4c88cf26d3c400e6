"""Answers of the control socket that go on: state change events, and a service as it changes. A JSON line each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from homeport.services import ecs
from homeport.services.ecs import service_status, state_events, state_filter
from homeport.store import Change, Key, follow, past

if TYPE_CHECKING:
    from homeport.server import ControlPlane

log = logging.getLogger("homeport.control")
Query = dict[str, str]
Lines = AsyncGenerator[Any, None]

END = "end"  # the last line of what has an end: without it, whoever gave the answer has died
QUIET_VERSIONS = 1000  # versions without an event after which a reader is told how far it has come
PAUSE_SECONDS = 0.1  # between two looks at a service: people read no faster
BEHIND = 1000  # changes that a reader of a service may be behind: it is then looked at as it is

_HEADERS = [(b"content-type", b"application/x-ndjson")]


class Refused(Exception):
    """Answered with status 400 and this text."""


async def events(plane: ControlPlane, query: Query) -> Lines:
    """``{version, events, missed}``: everything up to ``version`` has been told, so that a reader goes on ``after`` it,
    whatever happened meanwhile. The events of one version are in one line. ``missed``: some of what lies between is no
    longer in the log. The first line comes at once; with ``follow`` there is no last one.

    ``after``: a version; ``since``: epoch seconds; ``cluster``, ``service`` and ``task``: of what.
    """
    store = plane.store
    after, since = int(_number(query, "after")), _number(query, "since")
    wanted = state_filter.parsed(query.get("cluster", ""), query.get("service", ""), query.get("task", ""))
    if after > store.durable:
        after = 0  # the reader knows a state that this one took the place of
    yield {"version": after, "events": [], "missed": False}
    told, goes_on = after, query.get("follow") == "1"
    parts = (follow if goes_on else past)(store, state_events.KINDS, after, since=since)
    async with aclosing(parts):
        async for part in parts:
            missed = 0 < told == after and part.oldest > after + 1
            found = state_events.events(store.view(), part.changes, wanted)
            if found or missed or part.version >= told + QUIET_VERSIONS:
                told = part.version
                yield {"version": told, "events": found, "missed": missed}


async def service(plane: ControlPlane, query: Query) -> Lines:
    """What ``service_status.told`` says of a service, now and whenever it changes; None once it is forgotten."""
    store = plane.store
    found = service_status.named(store.view(), query.get("service", ""))
    if found is None:
        raise Refused(f"There is no service {query.get('service', '')!r}.")
    key = Key(*found[0], ecs.SERVICES.kind, found[1].id)
    while True:
        async with store.watch(*service_status.KINDS, most=BEHIND) as watch:
            changed = True
            while not watch.missed:
                if changed:
                    record = store.view().get(ecs.SERVICES, key.scope, key.id)
                    yield service_status.told(store.view(), key.scope, record) if record else None
                    if record is None:
                        return
                    await plane.clock.sleep(PAUSE_SECONDS)
                changed = _concerns(key, await watch.changes())


def _concerns(key: Key, changes: Iterable[Change]) -> bool:
    return any(
        change.key.scope == key.scope and service_status.concerns(change.new or change.old, key.id)
        for change in changes
    )


async def flow(lines: Lines, stop: asyncio.Event, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
    """Sends a response of lines until they end, the reader leaves or the server stops; the last is ``END`` where they
    ended. Raises what comes instead of the first line, and has sent nothing then."""
    sending = _Sending(send)
    pump = asyncio.ensure_future(sending.run(lines))
    leaving: set[asyncio.Future[Any]] = {asyncio.ensure_future(_left(receive)), asyncio.ensure_future(stop.wait())}
    try:
        await asyncio.wait({pump, *leaving}, return_when=asyncio.FIRST_COMPLETED)
        pump.cancel()
        with suppress(asyncio.CancelledError):
            await pump
    except Exception:
        if not sending.begun:
            raise
        log.exception("an answer that goes on failed")  # it has no end, which tells its reader
        return
    finally:
        for waits in (pump, *leaving):
            waits.cancel()
    if sending.begun:
        await send({"type": "http.response.body", "body": b""})


class _Sending:
    """``begun``: something was sent."""

    def __init__(self, send: Any) -> None:
        self._send, self.begun = send, False

    async def run(self, lines: Lines) -> None:
        async with aclosing(lines):
            async for line in lines:
                await self._line(line)
                await asyncio.sleep(0)  # others get their turn: lines from the past are there without waiting
            await self._line(END)

    async def _line(self, line: Any) -> None:
        if not self.begun:
            await self._send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            self.begun = True
        await self._send({"type": "http.response.body", "body": msgspec.json.encode(line) + b"\n", "more_body": True})


async def _left(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _number(query: Query, name: str) -> float:
    try:
        return float(query.get(name) or 0)
    except ValueError as error:
        raise Refused(f"{name}: {query[name]!r} is no number.") from error
