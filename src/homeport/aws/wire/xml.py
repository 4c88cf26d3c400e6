"""XML answers of the query and ec2 protocols, compiled once for each use of a shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from homeport.aws.models import Ref, Shape
from homeport.aws.wire import scalars

Encode = Callable[[Any], str]

_UNSAFE = re.compile("[<>&\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_REPLACED = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "\r": "&#xD;"}


def escape(text: str) -> str:
    """Text for an element. Characters that XML 1.0 cannot carry become U+FFFD."""
    return _UNSAFE.sub(lambda match: _REPLACED.get(match[0], "\ufffd"), text)


def element(tag: str, inner: str) -> str:
    return f"<{tag}>{inner}</{tag}>"


class XmlEncoders:
    """``ec2``: every list is wrapped in its member's own name with ``item`` elements named by the model."""

    def __init__(self, ec2: bool) -> None:
        self._ec2 = ec2
        self._structures: dict[Shape, Encode] = {}
        self._roots: dict[Shape, Encode] = {}

    def members(self, ref: Ref, value: Mapping[str, Any]) -> str:
        """The elements of a structure's members, without an element of its own."""
        return self._structure(ref.shape)(value)

    def _structure(self, shape: Shape) -> Encode:
        known = self._structures.get(shape)
        if known is None:
            self._structures[shape] = lambda value: self._structures[shape](value)  # for a shape within itself
            fields = {name: self._of(ref, ref.location_name or name) for name, ref in shape.members.items()}
            known = self._structures[shape] = _members(fields)
        return known

    def _of(self, ref: Ref, tag: str) -> Encode:
        """The encoder of one use of a shape under an element name."""
        shape = ref.shape
        match shape.type:
            case "structure":
                inner = self._structure(shape)
                return lambda value: f"<{tag}>{inner(value)}</{tag}>"
            case "list":
                return self._list(ref, tag)
            case "map":
                return self._map(ref, tag)
        text = _scalar(ref)
        return lambda value: f"<{tag}>{text(value)}</{tag}>"

    def _list(self, ref: Ref, tag: str) -> Encode:
        assert ref.shape.element is not None
        name = ref.shape.element.location_name
        if ref.flattened:
            item = self._of(ref.shape.element, name or tag)
            return lambda value: "".join([item(v) for v in value])
        wrapped = self._of(ref.shape.element, name or ("item" if self._ec2 else "member"))
        return lambda value: f"<{tag}>{''.join([wrapped(v) for v in value])}</{tag}>"

    def _map(self, ref: Ref, tag: str) -> Encode:
        shape = ref.shape
        assert shape.key is not None
        assert shape.value is not None
        key = self._of(shape.key, shape.key.location_name or "key")
        item = self._of(shape.value, shape.value.location_name or "value")
        if ref.flattened:
            return lambda value: "".join([f"<{tag}>{key(k)}{item(v)}</{tag}>" for k, v in value.items()])
        return lambda value: element(tag, "".join([f"<entry>{key(k)}{item(v)}</entry>" for k, v in value.items()]))


def _members(fields: dict[str, Encode]) -> Encode:
    def encode(value: Any) -> str:
        parts = []
        for name, item in value.items():
            field = fields.get(name)
            if field is not None and item is not None:
                parts.append(field(item))
        return "".join(parts)

    return encode


def _scalar(ref: Ref) -> Callable[[Any], str]:
    match ref.shape.type, ref.timestamp_format:
        case "boolean", _:
            return lambda value: "true" if value else "false"
        case "timestamp", "unixTimestamp":
            return lambda value: str(scalars.unix_seconds(value))
        case "timestamp", "rfc822":
            return scalars.rfc822
        case "timestamp", _:
            return scalars.iso8601
        case "blob", _:
            return scalars.blob_to_text
        case (("integer" | "long" | "float" | "double"), _):
            return str
    return lambda value: escape(str(value))
