"""Records to JSON rows and back, through the upgrades between schema versions."""

from __future__ import annotations

from typing import Any, Generic

import msgspec

from homeport.store.errors import DamagedFile, NewerFile, Unstorable
from homeport.store.journal import Row
from homeport.store.tables import R, Table

_ENCODER = msgspec.json.Encoder()


class Codec(Generic[R]):
    """Encodes and decodes the records of one table."""

    def __init__(self, table: Table[R]) -> None:
        self._table = table
        self._decoder = msgspec.json.Decoder(table.record)
        self._defaults = _defaults(table.record)

    def encode(self, record: R) -> bytes:
        """The record as JSON. Raises Unstorable where a restart could not read it back.

        Struct constructors check no types, so the body is decoded once here: a wrong value then fails the call that
        brought it, not the next start.
        """
        try:
            body = _ENCODER.encode(record)
            self._decoder.decode(body)
        except (
            TypeError,
            ValueError,
            OverflowError,
            RecursionError,
        ) as error:  # msgspec.ValidationError is a ValueError
            raise Unstorable(f"{self._table.kind} {self._table.id(record)!r}: {error}") from error
        return body

    def again(self, record: R) -> bytes:
        """The JSON of a record that ``encode`` or ``decode`` has seen before."""
        return _ENCODER.encode(record)

    def recall(self, body: bytes | None) -> R | None:
        """The record that the change log has. Raises ValueError where it is of another schema."""
        return None if body is None else self._decoder.decode(body)

    def members(self, body: bytes | None) -> dict[str, Any] | None:
        """What the change log has of a record as a JSON object, with the members that have their defaults and aren't
        stored."""
        return None if body is None else self._defaults | msgspec.json.decode(body)

    def decode(self, row: Row) -> tuple[R, Row | None]:
        """The record of a stored row, and the row to store instead where its schema was upgraded.

        Raises NewerFile, DamagedFile.
        """
        if row.schema == self._table.schema:
            try:
                return self._decoder.decode(row.body), None
            except ValueError as error:
                raise DamagedFile(f"record {'/'.join(row.key)} can't be read: {error}") from error
        record = self._upgrade(row)
        return record, Row(row.key, self._table.schema, self.encode(record))

    def _upgrade(self, row: Row) -> R:
        table = self._table
        if row.schema > table.schema:
            raise NewerFile(f"{row.key.kind} records have schema {row.schema}, this program knows {table.schema}")
        try:
            body: dict[str, Any] = msgspec.json.decode(row.body)
            for version in range(row.schema, table.schema):
                body = table.upgrades[version](body)
            return msgspec.json.decode(_ENCODER.encode(body), type=table.record)
        except (ValueError, LookupError, TypeError) as error:
            raise DamagedFile(
                f"record {'/'.join(row.key)} can't be upgraded from schema {row.schema} to {table.schema}: {error}"
            ) from error


def _defaults(record: type[msgspec.Struct]) -> dict[str, Any]:
    """As JSON has them."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(record):
        if field.default is not msgspec.NODEFAULT:
            found[field.encode_name] = field.default
        elif field.default_factory is not msgspec.NODEFAULT:
            found[field.encode_name] = field.default_factory()
    members: dict[str, Any] = msgspec.json.decode(_ENCODER.encode(found))
    return members


def unknown_kind(row: Row) -> NewerFile:
    return NewerFile(f"record {'/'.join(row.key)} is of a kind that this program doesn't know")
