"""Smithy RPC v2 with CBOR: the path names service and operation, a CBOR map is the input."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import cbor2

from homeport.aws.models import OperationModel, Ref, ServiceModel
from homeport.aws.wire import scalars
from homeport.aws.wire.json import DIALECT, error_fields, query_error
from homeport.aws.wire.messages import Request, Response
from homeport.aws.wire.tree import SCALARS, Decode, Decoders, Encode, Encoders, malformed, mistyped
from homeport.core.errors import AwsError

MAX_DEPTH = 64  # nested maps and lists of a request
_EPOCH_TAG = 1  # RFC 8949, 3.4.2: seconds since the Unix epoch


class Cbor:
    name = "smithy-rpc-v2-cbor"
    dialect = DIALECT

    def __init__(self) -> None:
        self._decoders = Decoders(_scalar_in)
        self._encoders = Encoders(_scalar_out)

    def operation(self, request: Request) -> str:
        return request.path.rpartition("/operation/")[2]

    def decode(self, operation: OperationModel, request: Request) -> dict[str, Any]:
        if operation.input is None or not request.body:
            return {}
        try:
            tree = cbor2.loads(
                request.body, max_depth=MAX_DEPTH, allow_duplicate_keys=False, strict_hashable_types=True
            )
            params: dict[str, Any] = self._decoders.of(operation.input)(tree)
        except RecursionError as error:  # a value that shares itself
            raise malformed("The request is nested too deeply") from error
        except (cbor2.CBORError, ValueError, OverflowError) as error:
            raise malformed("The request body is not valid CBOR") from error
        return params

    def encode(
        self, service: ServiceModel, operation: OperationModel, output: Mapping[str, Any], request_id: str
    ) -> Response:
        encode = self._encoders.of(operation.output) if operation.output else None
        return _reply(200, encode(output) if encode else {}, request_id)

    def encode_error(self, service: ServiceModel | None, error: AwsError, request_id: str) -> Response:
        body = {"__type": error.code, "message": error.message} | error_fields(service, error, self._encoders)
        reply = _reply(error.status, body, request_id)
        if service and service.query_compatible:
            reply.headers["x-amzn-query-error"] = query_error(service, error)
        return reply


def _reply(status: int, body: dict[str, Any], request_id: str) -> Response:
    headers = {"content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor", "x-amzn-requestid": request_id}
    return Response(status, headers, cbor2.dumps(body))


def _timestamp_in(value: Any) -> float:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return scalars.timestamp_from_number(value.timestamp())
    if type(value) not in (int, float):
        raise mistyped("timestamp", value)
    return scalars.timestamp_from_number(value)


def _blob_in(value: Any) -> bytes:
    if type(value) is not bytes:
        raise mistyped("blob", value)
    return value


def _scalar_in(ref: Ref) -> Decode:
    match ref.shape.type:
        case "timestamp":
            return _timestamp_in
        case "blob":
            return _blob_in
    return SCALARS[ref.shape.type]


def _tagged(value: float) -> cbor2.CBORTag:
    return cbor2.CBORTag(_EPOCH_TAG, scalars.unix_seconds(value))


def _scalar_out(ref: Ref) -> Encode | None:
    return _tagged if ref.shape.type == "timestamp" else None
