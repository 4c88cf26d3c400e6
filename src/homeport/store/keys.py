"""What names a record, and what a commit did to it."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec


class Scope(NamedTuple):
    account: str
    region: str


class Key(NamedTuple):
    account: str
    region: str
    kind: str
    id: str

    @property
    def scope(self) -> Scope:
        return Scope(self.account, self.region)


class Change(msgspec.Struct, frozen=True):
    """One record's change in one commit. ``old`` None: created, ``new`` None: deleted. ``at``: epoch seconds.

    ``old`` and ``new`` are the table's records for watchers, JSON objects in a story.
    """

    key: Key
    old: Any
    new: Any
    version: int
    at: float
    cause: str
