"""EC2's dialect of the query protocol: other parameter names, no list wrappers, another envelope and other errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeport.aws.models import OperationModel, Ref, ServiceModel
from homeport.aws.wire.messages import Dialect, Response
from homeport.aws.wire.query import Query, xml_reply
from homeport.aws.wire.xml import XmlEncoders, element, escape
from homeport.core.errors import AwsError

DIALECT = Dialect(
    malformed="MalformedQueryString",
    mistyped="InvalidParameterValue",
    unknown_operation="InvalidAction",
    missing_token="MissingAuthenticationToken",  # noqa: S106  (an error's name)
    incomplete="IncompleteSignature",
    unknown_key="AuthFailure",
    unknown_key_text="AWS was not able to validate the provided access credentials",
    unknown_key_status=401,
    mismatch="SignatureDoesNotMatch",
    skewed="RequestExpired",
    denied="UnauthorizedOperation",
    auth_status=403,
    throttled="RequestLimitExceeded",
    throttled_status=503,
    internal="InternalError",
)


class Ec2(Query):
    name = "ec2"
    dialect = DIALECT

    def __init__(self) -> None:
        super().__init__()
        self._xml = XmlEncoders(ec2=True)

    def in_name(self, ref: Ref, member: str) -> str:
        if ref.query_name:
            return ref.query_name
        name = ref.location_name
        return name[0].upper() + name[1:] if name else member

    def list_wrapper(self, ref: Ref) -> str | None:
        return None

    def mistyped(self, name: str, value: Any, kind: str) -> AwsError:
        if isinstance(value, dict):
            return AwsError("InvalidParameterValue", f"Invalid value for parameter {name}: a {kind} is expected")
        return AwsError("InvalidParameterValue", f"Value ({value[:128]}) for parameter {name} is invalid.")

    def encode(
        self, service: ServiceModel, operation: OperationModel, output: Mapping[str, Any], request_id: str
    ) -> Response:
        inner = self._xml.members(operation.output, output) if operation.output else ""
        name = f"{operation.name}Response"
        body = f'<{name} xmlns="{service.xml_namespace}/">{element("requestId", request_id)}{inner}</{name}>'
        return xml_reply(200, body, request_id)

    def encode_error(self, service: ServiceModel | None, error: AwsError, request_id: str) -> Response:
        inner = element("Code", escape(error.code)) + element("Message", escape(error.message))
        errors = element("Errors", element("Error", inner))
        return xml_reply(error.status, element("Response", errors + element("RequestID", request_id)), request_id)
