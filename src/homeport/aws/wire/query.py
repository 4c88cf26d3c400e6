"""The query protocol: a form with dotted names in, XML out. ``ec2`` is a dialect of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from homeport.aws.models import OperationModel, Ref, ServiceModel, Shape
from homeport.aws.wire import scalars
from homeport.aws.wire.messages import Dialect, Request, Response
from homeport.aws.wire.xml import XmlEncoders, element, escape
from homeport.core.errors import AwsError

MAX_FIELDS = 10_000  # parameters of one request
MAX_DEPTH = 32  # dots in a parameter's name; no model of AWS comes near

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_INDEX = re.compile(r"[1-9]\d{0,5}", re.ASCII)

Decode = Callable[[str, Any], Any]  # (dotted name for error texts, a str or a dict of the names below) → value

DIALECT = Dialect(
    malformed="MalformedQueryString",
    mistyped="MalformedInput",
    unknown_operation="InvalidAction",
    missing_token="MissingAuthenticationToken",  # noqa: S106  (an error's name)
    incomplete="IncompleteSignature",
    unknown_key="InvalidClientTokenId",
    unknown_key_text="The security token included in the request is invalid.",
    unknown_key_status=403,
    mismatch="SignatureDoesNotMatch",
    skewed="SignatureDoesNotMatch",
    denied="AccessDenied",
    auth_status=403,
    throttled="Throttling",
    throttled_status=400,
    internal="InternalFailure",
)


def form(request: Request) -> list[tuple[str, str]]:
    """The parameters of the query string and of the form in the body. Raises MalformedQueryString."""
    try:
        pairs = _pairs(request.query)
        if request.body and request.method != "GET":
            pairs += _pairs(request.body.decode())
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("a parameter appears twice")
    except ValueError as error:
        raise AwsError("MalformedQueryString", "The query string contains a syntax error.") from error
    return pairs


def _pairs(text: str) -> list[tuple[str, str]]:
    text = text.strip("&")
    if not text:
        return []
    if _BAD_ESCAPE.search(text):
        raise ValueError("a percent sign without two hexadecimal digits")
    return parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=MAX_FIELDS)


class Query:
    name = "query"
    dialect = DIALECT

    def __init__(self) -> None:
        self._containers: dict[Shape, dict[bool, Decode]] = {}
        self._xml = XmlEncoders(ec2=False)

    # --- in ---

    def operation(self, request: Request) -> str:
        for name, value in form(request):
            if name == "Action":
                return value
        return ""

    def decode(self, operation: OperationModel, request: Request) -> dict[str, Any]:
        if operation.input is None:
            return {}
        tree: dict[str, Any] = {}
        for name, value in form(request):
            self._plant(tree, name, value)
        params: dict[str, Any] = self.decoder(operation.input)("", tree)
        return params

    def _plant(self, tree: dict[str, Any], name: str, value: str) -> None:
        *path, last = name.split(".")
        if len(path) > MAX_DEPTH:
            raise self.mistyped(name, value, "structure")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise self.mistyped(name, value, "structure")
        if last in node:  # the same name with something below it
            raise self.mistyped(name, value, "structure")
        node[last] = value

    def decoder(self, ref: Ref) -> Decode:
        shape = ref.shape
        if shape.type not in ("structure", "list", "map"):
            return self._scalar(shape)
        known = self._containers.setdefault(shape, {})
        if ref.flattened not in known:
            known[ref.flattened] = lambda name, node: known[ref.flattened](name, node)  # for a shape within itself
            match shape.type:
                case "structure":
                    known[ref.flattened] = self._structure(shape)
                case "list":
                    known[ref.flattened] = self._list(ref)
                case _:
                    known[ref.flattened] = self._map(ref)
        return known[ref.flattened]

    def in_name(self, ref: Ref, member: str) -> str:
        """The parameter name of a member. A flattened list takes the name of its elements."""
        if ref.flattened and ref.shape.element is not None and ref.shape.element.location_name:
            return ref.shape.element.location_name
        return ref.location_name or member

    def list_wrapper(self, ref: Ref) -> str | None:
        """The name between a list and its numbers, ``member`` by default; None where the numbers follow at once."""
        assert ref.shape.element is not None
        return None if ref.flattened else ref.shape.element.location_name or "member"

    def mistyped(self, name: str, value: Any, kind: str) -> AwsError:
        if isinstance(value, dict):
            return AwsError("MalformedInput", "Start of structure or map found where not expected.")
        if kind in ("structure", "list", "map"):
            return AwsError("MalformedInput", f"Unexpected value for parameter {name}")
        return AwsError("MalformedInput", f"Value for parameter {name} can not be converted to {kind.capitalize()}")

    def _structure(self, shape: Shape) -> Decode:
        fields = {self.in_name(ref, m): (m, self.decoder(ref)) for m, ref in shape.members.items()}

        def decode(name: str, node: Any) -> dict[str, Any]:
            if type(node) is not dict:
                if node == "":
                    return {}
                raise self.mistyped(name, node, "structure")
            out = {}
            for wire, child in node.items():
                field = fields.get(wire)
                if field is not None:
                    out[field[0]] = field[1](f"{name}.{wire}" if name else wire, child)
            return out

        return decode

    def _list(self, ref: Ref) -> Decode:
        assert ref.shape.element is not None
        item, wrapper = self.decoder(ref.shape.element), self.list_wrapper(ref)

        def decode(name: str, node: Any) -> list[Any]:
            return [item(f"{name}.{i}", child) for i, child in self._numbered(name, _under(node, wrapper))]

        return decode

    def _map(self, ref: Ref) -> Decode:
        shape = ref.shape
        assert shape.key is not None
        assert shape.value is not None
        key_name, value_name = shape.key.location_name or "key", shape.value.location_name or "value"
        key, value = self.decoder(shape.key), self.decoder(shape.value)
        wrapper = None if ref.flattened else "entry"

        def decode(name: str, node: Any) -> dict[str, Any]:
            out = {}
            for i, entry in self._numbered(name, _under(node, wrapper)):
                where = f"{name}.{i}"
                if type(entry) is not dict or key_name not in entry or value_name not in entry:
                    raise self.mistyped(where, entry, "map")
                out[key(f"{where}.{key_name}", entry[key_name])] = value(f"{where}.{value_name}", entry[value_name])
            return out

        return decode

    def _numbered(self, name: str, node: Any) -> list[tuple[int, Any]]:
        """The entries of ``{"1": …, "2": …}`` in order; an empty parameter is an empty list."""
        if node in ("", None):
            return []
        if type(node) is not dict or not all(_INDEX.fullmatch(k) for k in node):
            raise self.mistyped(name, node if type(node) is str else "", "list")
        return sorted((int(k), v) for k, v in node.items()) if len(node) > 1 else [(int(k), v) for k, v in node.items()]

    def _scalar(self, shape: Shape) -> Decode:
        parse = _PARSE[shape.type]

        def decode(name: str, node: Any) -> Any:
            if type(node) is not str:
                raise self.mistyped(name, node, shape.type)
            try:
                return parse(node)
            except scalars.BadScalar as error:
                raise self.mistyped(name, node, shape.type) from error

        return decode

    # --- out ---

    def encode(
        self, service: ServiceModel, operation: OperationModel, output: Mapping[str, Any], request_id: str
    ) -> Response:
        inner = ""
        if operation.output is not None:
            inner = self._xml.members(operation.output, output)
            if wrapper := operation.output.result_wrapper:
                inner = element(wrapper, inner)
        tail = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        name = f"{operation.name}Response"
        body = f'<{name} xmlns="{service.xml_namespace}">{inner}{tail}</{name}>'
        return xml_reply(200, body, request_id)

    def encode_error(self, service: ServiceModel | None, error: AwsError, request_id: str) -> Response:
        model = service.errors.get(error.code) if service else None
        fields = self._xml.members(model.ref, error.fields) if model and error.fields else ""
        inner = element("Type", error.fault) + element("Code", escape(model.code if model else error.code))
        inner += element("Message", escape(error.message)) + fields
        space = f' xmlns="{service.xml_namespace}"' if service and service.xml_namespace else ""
        body = f"<ErrorResponse{space}>{element('Error', inner)}{element('RequestId', request_id)}</ErrorResponse>"
        return xml_reply(error.status, body, request_id)


def _under(node: Any, wrapper: str | None) -> Any:
    if wrapper is None or type(node) is not dict:
        return node
    return node.get(wrapper, "")


def xml_reply(status: int, body: str, request_id: str) -> Response:
    return Response(status, {"content-type": "text/xml;charset=UTF-8", "x-amzn-requestid": request_id}, body.encode())


def _text(value: str) -> str:
    return value


_PARSE: dict[str, Callable[[str], Any]] = {
    "string": _text,
    "character": _text,
    "integer": lambda text: scalars.whole_from_text(text, scalars.INTEGER),
    "long": lambda text: scalars.whole_from_text(text, scalars.LONG),
    "float": scalars.real_from_text,
    "double": scalars.real_from_text,
    "boolean": scalars.boolean_from_text,
    "timestamp": scalars.timestamp_from_text,
    "blob": scalars.blob_from_text,
}
