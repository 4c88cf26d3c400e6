"""Decoders and encoders for protocols whose bodies are trees of objects, lists and scalars (JSON, CBOR).

A decoder is compiled once for each use of a shape into nested closures: they check types, rename members, drop unknown
ones and convert scalars. What a protocol adds is its scalars.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from homeport.aws.models import Ref, Shape
from homeport.aws.wire.scalars import INTEGER, LONG, BadScalar, is_text
from homeport.core.errors import AwsError

Decode = Callable[[Any], Any]
Encode = Callable[[Any], Any]
_LARGEST = sys.float_info.max
DOCUMENT_DEPTH = 64  # levels of a free-form document member

_FOUND = {
    str: "STRING_VALUE",
    int: "NUMBER_VALUE",
    float: "NUMBER_VALUE",
    bytes: "BLOB_VALUE",
    type(None): "NULL_VALUE",
}
_WANTED = {
    "string": "a String",
    "character": "a String",
    "integer": "an Integer",
    "long": "a Long",
    "float": "a Float",
    "double": "a Double",
    "boolean": "a Boolean",
    "timestamp": "a Timestamp",
    "blob": "a Blob",
    "structure": "a structure",
    "list": "a list",
    "map": "a map",
}


def malformed(text: str) -> AwsError:
    return AwsError("SerializationException", text)


def mistyped(kind: str, value: object) -> AwsError:
    """AWS's text for a value of the wrong type, such as ``STRING_VALUE can not be converted to an Integer``."""
    if isinstance(value, dict):
        return malformed("Start of structure or map found where not expected.")
    if isinstance(value, list):
        return malformed("Start of list found where not expected")
    if isinstance(value, bool):
        found = "TRUE_VALUE" if value else "FALSE_VALUE"
    else:
        found = _FOUND.get(type(value), "VALUE")
    return malformed(f"{found} can not be converted to {_WANTED[kind]}")


def text(value: Any) -> str:
    if type(value) is not str:
        raise mistyped("string", value)
    if not is_text(value):
        raise malformed("String is not valid Unicode")
    return value


def boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise mistyped("boolean", value)
    return value


def _whole(kind: str, bounds: tuple[int, int]) -> Decode:
    low, high = bounds

    def decode(value: Any) -> int:
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            raise mistyped(kind, value)
        return value

    return decode


def real(value: Any) -> float:
    """A finite number. JSON's 1e999 arrives here as infinity."""
    if type(value) not in (int, float) or not -_LARGEST <= value <= _LARGEST:
        raise mistyped("double", value)
    return float(value)


def document(value: Any, depth: int = 0) -> Any:
    """Free-form JSON: any tree of limited depth."""
    if depth > DOCUMENT_DEPTH:
        raise malformed("Document is nested too deeply")
    if isinstance(value, dict):
        return {text(k): document(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [document(v, depth + 1) for v in value]
    return text(value) if isinstance(value, str) else value


SCALARS: dict[str, Decode] = {
    "string": text,
    "character": text,
    "boolean": boolean,
    "integer": _whole("integer", INTEGER),
    "long": _whole("long", LONG),
    "float": real,
    "double": real,
}


class Decoders:
    """``scalar(ref)`` gives the decoder of a scalar; compiled decoders are kept for as long as the model lives."""

    def __init__(self, scalar: Callable[[Ref], Decode]) -> None:
        self._scalar = scalar
        self._containers: dict[Shape, Decode] = {}

    def of(self, ref: Ref) -> Decode:
        shape = ref.shape
        if shape.document:
            return document
        if shape.type not in ("structure", "list", "map"):
            return _guarded(shape.type, self._scalar(ref))
        known = self._containers.get(shape)
        if known is None:
            # A recursive shape meets itself while it is compiled: that use looks the finished decoder up when it runs.
            self._containers[shape] = lambda value: self._containers[shape](value)
            known = self._containers[shape] = self._container(shape)
        return known

    def _container(self, shape: Shape) -> Decode:
        if shape.type == "structure":
            fields = {ref.location_name or name: (name, self.of(ref)) for name, ref in shape.members.items()}
            return _structure(fields)
        if shape.element is not None:
            return _list(self.of(shape.element))
        assert shape.key is not None
        assert shape.value is not None
        return _map(self.of(shape.key), self.of(shape.value))


def _guarded(kind: str, decode: Decode) -> Decode:
    if decode in SCALARS.values():  # these raise AWS's errors themselves
        return decode

    def guarded(value: Any) -> Any:
        try:
            return decode(value)
        except BadScalar as error:
            raise mistyped(kind, value) from error

    return guarded


def _structure(fields: dict[str, tuple[str, Decode]]) -> Decode:
    def decode(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise mistyped("structure", value)
        out = {}
        for name, item in value.items():
            field = fields.get(name)
            if field is not None and item is not None:
                out[field[0]] = field[1](item)
        return out

    return decode


def _list(element: Decode) -> Decode:
    def decode(value: Any) -> list[Any]:
        if type(value) is not list:
            raise mistyped("list", value)
        return [element(item) for item in value]

    return decode


def _map(key: Decode, item: Decode) -> Decode:
    def decode(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise mistyped("map", value)
        return {key(k): item(v) for k, v in value.items() if v is not None}

    return decode


class Encoders:
    """The way back. ``scalar(ref)`` gives the encoder of a scalar, or None where the value goes out as it is."""

    def __init__(self, scalar: Callable[[Ref], Encode | None]) -> None:
        self._scalar = scalar
        self._containers: dict[Shape, Encode] = {}

    def of(self, ref: Ref) -> Encode | None:
        shape = ref.shape
        if shape.document:
            return None
        if shape.type not in ("structure", "list", "map"):
            return self._scalar(ref)
        known = self._containers.get(shape)
        if known is None:
            self._containers[shape] = lambda value: self._containers[shape](value)
            known = self._containers[shape] = self._container(shape)
        return known

    def _container(self, shape: Shape) -> Encode:
        if shape.type == "structure":
            fields = {name: (ref.location_name or name, self.of(ref)) for name, ref in shape.members.items()}
            return _structure_out(fields)
        if shape.element is not None:
            element = self.of(shape.element)
            return list if element is None else lambda value: [element(item) for item in value]
        assert shape.value is not None
        item = self.of(shape.value)
        return dict if item is None else lambda value: {k: item(v) for k, v in value.items()}


def _structure_out(fields: dict[str, tuple[str, Encode | None]]) -> Encode:
    def encode(value: Any) -> dict[str, Any]:
        out = {}
        for name, item in value.items():
            field = fields.get(name)
            if field is not None and item is not None:
                wire, convert = field
                out[wire] = item if convert is None else convert(item)
        return out

    return encode
