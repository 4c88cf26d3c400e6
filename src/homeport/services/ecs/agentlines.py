"""Agents' connections by the access key that they were signed with: when a key ends, so do they."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from homeport.core.errors import AwsError


class Ending(Protocol):
    """A session that can be ended."""

    def end(self, why: str) -> None: ...


class Line:
    """One connection, from when its signature was verified on."""

    def __init__(self) -> None:
        self._session: Ending | None = None
        self._ended = False

    def carry(self, session: Ending) -> bool:
        """Puts a session on the line; False where its key has ended already."""
        self._session = session
        return not self._ended

    def end(self) -> None:
        self._ended = True
        if self._session is not None:
            self._session.end("its access key is no longer valid")


def ended() -> AwsError:
    """What is answered for a key that isn't known (any more)."""
    return AwsError("UnrecognizedClientException", "The security token included in the request is invalid.")


class Lines:
    def __init__(self) -> None:
        self._by_key: dict[str, set[Line]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_key.values()))

    @contextmanager
    def open(self, access_key: str) -> Iterator[Line]:
        """A line for as long as the connection is there. To be entered before anything is awaited: what ends a key
        from then on ends the line."""
        line, there = Line(), self._by_key.setdefault(access_key, set())
        there.add(line)
        try:
            yield line
        finally:
            there.discard(line)
            if not there:
                del self._by_key[access_key]

    def end(self, access_key: str) -> None:
        """Ends all lines of a key that is removed, or has another secret."""
        for line in self._by_key.get(access_key, ()):
            line.end()
