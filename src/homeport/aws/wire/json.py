"""The awsJson protocols, 1.0 and 1.1: ``X-Amz-Target`` names the operation, a JSON object is the input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from homeport.aws.models import OperationModel, Ref, ServiceModel
from homeport.aws.wire import scalars
from homeport.aws.wire.messages import Dialect, Request, Response
from homeport.aws.wire.tree import SCALARS, Decode, Decoders, Encode, Encoders, malformed, mistyped
from homeport.core.errors import AwsError

DIALECT = Dialect(
    malformed="SerializationException",
    mistyped="SerializationException",
    unknown_operation="UnknownOperationException",
    missing_token="MissingAuthenticationTokenException",  # noqa: S106  (an error's name)
    incomplete="IncompleteSignatureException",
    unknown_key="UnrecognizedClientException",
    unknown_key_text="The security token included in the request is invalid.",
    unknown_key_status=400,
    mismatch="InvalidSignatureException",
    skewed="InvalidSignatureException",
    denied="AccessDeniedException",
    auth_status=400,
    throttled="ThrottlingException",
    throttled_status=400,
    internal="ServerException",
)


class Json:
    name = "json"
    dialect = DIALECT

    def __init__(self) -> None:
        self._decoders = Decoders(_scalar_in)
        self._encoders = Encoders(_scalar_out)

    def operation(self, request: Request) -> str:
        return request.headers.get("x-amz-target", "").rpartition(".")[2]

    def decode(self, operation: OperationModel, request: Request) -> dict[str, Any]:
        if operation.input is None or not request.body:
            return {}
        tree = parse(request.body)
        try:
            params: dict[str, Any] = self._decoders.of(operation.input)(tree)
        except RecursionError as error:
            raise malformed("The request is nested too deeply") from error
        return params

    def encode(
        self, service: ServiceModel, operation: OperationModel, output: Mapping[str, Any], request_id: str
    ) -> Response:
        encode = self._encoders.of(operation.output) if operation.output else None
        return _reply(service, 200, encode(output) if encode else {}, request_id)

    def encode_error(self, service: ServiceModel | None, error: AwsError, request_id: str) -> Response:
        body = {"__type": error.code, "message": error.message} | error_fields(service, error, self._encoders)
        reply = _reply(service, error.status, body, request_id)
        if service and service.query_compatible:
            reply.headers["x-amzn-query-error"] = query_error(service, error)
        return reply


def parse(body: bytes) -> Any:
    """The JSON value of a body. Raises SerializationException for whatever isn't exactly one JSON text in UTF-8, for
    numbers that aren't JSON (NaN, Infinity), for an object with a name twice and for nesting deeper than the parser's
    recursion limit (under 1,000)."""
    try:
        return _parser.decode(body.decode())
    except RecursionError as error:
        raise malformed("The request is nested too deeply") from error
    except ValueError as error:
        raise malformed("The request body is not valid JSON") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a name appears twice")
    return out


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_parser = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def error_fields(service: ServiceModel | None, error: AwsError, encoders: Encoders) -> dict[str, Any]:
    """Further members of a modelled error, encoded by its shape where it is known."""
    model = service.errors.get(error.code) if service and error.fields else None
    encode = encoders.of(model.ref) if model else None
    return encode(error.fields) if encode else error.fields


def query_error(service: ServiceModel, error: AwsError) -> str:
    """The header by which clients of services that once spoke query keep the codes that they know."""
    model = service.errors.get(error.code)
    return f"{model.code if model else error.code};{error.fault}"


def _reply(service: ServiceModel | None, status: int, body: dict[str, Any], request_id: str) -> Response:
    version = service.json_version if service else "1.1"
    headers = {"content-type": f"application/x-amz-json-{version}", "x-amzn-requestid": request_id}
    return Response(status, headers, msgspec.json.encode(body))


def _timestamp_in(value: Any) -> float:
    if type(value) is str:
        return scalars.timestamp_from_text(value)
    if type(value) not in (int, float):
        raise mistyped("timestamp", value)
    return scalars.timestamp_from_number(value)


def _number_timestamp_in(value: Any) -> float:
    if type(value) not in (int, float):
        raise mistyped("timestamp", value)
    return scalars.timestamp_from_number(value)


def _blob_in(value: Any) -> bytes:
    if type(value) is not str:
        raise mistyped("blob", value)
    return scalars.blob_from_text(value)


def _scalar_in(ref: Ref) -> Decode:
    match ref.shape.type:
        case "timestamp":
            plain = ref.timestamp_format in (None, "unixTimestamp")
            return _number_timestamp_in if plain else _timestamp_in
        case "blob":
            return _blob_in
    return SCALARS[ref.shape.type]


def _scalar_out(ref: Ref) -> Encode | None:
    match ref.shape.type, ref.timestamp_format:
        case "timestamp", "iso8601":
            return scalars.iso8601
        case "timestamp", "rfc822":
            return scalars.rfc822
        case "timestamp", _:
            return scalars.unix_seconds
        case "blob", _:
            return scalars.blob_to_text
    return None
