"""What the protocols turn into one another: HTTP messages and plain dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from homeport.aws.models import OperationModel, ServiceModel
from homeport.core.errors import AwsError


class Request(NamedTuple):
    """``path`` and ``query`` as they came (percent-encoded), ``headers`` with lower-case names."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


class Response(NamedTuple):
    """``headers`` are complete but for content-length."""

    status: int
    headers: dict[str, str]
    body: bytes


class Dialect(NamedTuple):
    """How a protocol spells the errors that come before any service is reached.

    Codes and statuses are those of AWS's services that speak the protocol. ``malformed`` is for a body that can't be
    read at all, ``mistyped`` for a value of the wrong type.
    """

    malformed: str
    mistyped: str
    unknown_operation: str
    missing_token: str
    incomplete: str
    unknown_key: str
    unknown_key_text: str
    unknown_key_status: int
    mismatch: str
    skewed: str
    denied: str
    auth_status: int
    throttled: str
    throttled_status: int
    internal: str


class Wire(Protocol):
    """One AWS protocol: pure functions between HTTP messages and dicts with the model's member names."""

    name: str
    dialect: Dialect

    def operation(self, request: Request) -> str:
        """The name of the operation that the request asks for. Raises AwsError."""
        ...

    def decode(self, operation: OperationModel, request: Request) -> dict[str, Any]:
        """The operation's input: unknown members dropped, nulls dropped, timestamps as epoch seconds, blobs as bytes.

        Raises AwsError where the request doesn't fit the model's types.
        """
        ...

    def encode(
        self, service: ServiceModel, operation: OperationModel, output: Mapping[str, Any], request_id: str
    ) -> Response:
        """The answer; None values and members that the model doesn't have are left out."""
        ...

    def encode_error(self, service: ServiceModel | None, error: AwsError, request_id: str) -> Response: ...
