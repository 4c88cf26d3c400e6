"""The errors that come before any operation: signatures, unknown operations, limits. AWS's codes for each protocol."""

from __future__ import annotations

from homeport.aws.models import ServiceModel
from homeport.aws.sigv4 import Problem, SignatureError
from homeport.aws.wire import Dialect, Wire
from homeport.core.errors import AwsError


def bad_signature(dialect: Dialect, error: SignatureError) -> AwsError:
    match error.problem:
        case Problem.MISSING:
            return AwsError(dialect.missing_token, error.text, dialect.auth_status)
        case Problem.INCOMPLETE:
            return AwsError(dialect.incomplete, error.text, 400)
        case Problem.SKEWED:
            # EC2 alone answers 400 here, with a code of its own.
            return AwsError(
                dialect.skewed, error.text, 400 if dialect.skewed == "RequestExpired" else dialect.auth_status
            )
    return AwsError(dialect.mismatch, error.text, dialect.auth_status)


def unknown_key(dialect: Dialect) -> AwsError:
    return AwsError(dialect.unknown_key, dialect.unknown_key_text, dialect.unknown_key_status)


def denied(dialect: Dialect, text: str) -> AwsError:
    return AwsError(dialect.denied, text, 400 if dialect.auth_status == 400 else 403)


def unknown_service(dialect: Dialect, name: str) -> AwsError:
    return AwsError(dialect.unknown_operation, f"Homeport does not serve the service '{name}'.", 404)


def wrong_scope(dialect: Dialect, signing_name: str) -> AwsError:
    text = f"Credential should be scoped to correct service: '{signing_name}'."
    return AwsError(dialect.mismatch, text, dialect.auth_status)


def unknown_operation(wire: Wire, model: ServiceModel, name: str) -> AwsError:
    """Also for one that AWS has and Homeport doesn't serve, which the text then says."""
    code = wire.dialect.unknown_operation
    if name in model.operation_names:
        return AwsError(code, f"Homeport does not serve the action {name} of {model.name} yet.")
    if not name:
        return AwsError("MissingAction" if wire.name in ("query", "ec2") else code, "The request names no action.")
    return AwsError(code, f"The action {name[:128]} is not valid for this web service.")


def wrong_protocol(wire: Wire, model: ServiceModel) -> AwsError:
    spoken = " or ".join(model.protocols)
    return AwsError(wire.dialect.unknown_operation, f"The service {model.name} speaks {spoken}, not {wire.name}.")


def throttled(dialect: Dialect) -> AwsError:
    return AwsError(dialect.throttled, "Rate exceeded", dialect.throttled_status)


def too_large(limit: int) -> AwsError:
    return AwsError("RequestEntityTooLargeException", f"The request body exceeds {limit} bytes.", 413)


def too_slow(seconds: float) -> AwsError:
    return AwsError("RequestTimeout", f"The request body did not arrive within {seconds:.0f} seconds.", 408)


def internal(dialect: Dialect) -> AwsError:
    return AwsError(dialect.internal, "Service Unavailable. Please try again later.", 500)
