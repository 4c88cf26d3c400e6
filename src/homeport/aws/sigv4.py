"""AWS Signature Version 4: verification for the server, signing for the agent. Pure; standard library only.

A request is checked in two halves, so that a body is read only for a caller whose key is known and whose date is right:
``read_claim`` and ``check_date`` look at the head alone, ``verify`` needs the body.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_SECONDS = 300  # how far a request's date may be from ours, either way; AWS's five minutes
MAX_EXPIRES = 604_800  # seconds a presigned request may live; AWS's seven days
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

_DATE = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_REGION = re.compile(r"[a-z]{2,8}(-[a-z]+){1,3}-\d{1,2}", re.ASCII)
_SERVICE = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SPACES = re.compile(" +")
_UNSIGNABLE = frozenset(("authorization", "user-agent", "connection", "expect", "transfer-encoding"))


class Problem(Enum):
    """Why a signature is refused; each AWS protocol has its own codes for these."""

    MISSING = "no signature at all"
    INCOMPLETE = "parts of the signature are missing or malformed"
    MISMATCH = "the signature doesn't fit the request"
    SKEWED = "the request's date is too far from now"


class SignatureError(Exception):
    """``text`` is AWS's wording."""

    def __init__(self, problem: Problem, text: str) -> None:
        super().__init__(text)
        self.problem, self.text = problem, text


class Claim(NamedTuple):
    """What the head of a request says about who signed it; nothing of it is proven before ``verify``.

    ``moment`` is the signed date as epoch seconds and ``timestamp`` the same as it was written. ``expires`` is the
    lifetime of a presigned request in seconds, None for one that is signed in its Authorization header.
    """

    access_key: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    moment: float
    expires: int | None = None
    token: str | None = None

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


# --- the head ---------------------------------------------------------------------------------------------------------


def read_claim(query: str, headers: Mapping[str, str]) -> Claim:
    """The claim in the Authorization header or, for a presigned request, in the query string. ``headers`` have
    lower-case names. Raises SignatureError."""
    authorization = headers.get("authorization")
    if authorization is not None:
        return _from_header(authorization, headers)
    params = {name: value.decode("latin-1") for name, value in _query_pairs(query)}
    if "X-Amz-Signature" in params or "X-Amz-Algorithm" in params:
        return _from_query(params)
    raise SignatureError(Problem.MISSING, "Missing Authentication Token")


def _from_header(authorization: str, headers: Mapping[str, str]) -> Claim:
    algorithm, _, rest = authorization.strip().partition(" ")
    if algorithm != ALGORITHM:
        raise SignatureError(Problem.INCOMPLETE, f"Unsupported AWS 'algorithm': '{algorithm[:64]}'.")
    parts = {}
    for part in rest.split(","):
        name, _, value = part.strip().partition("=")
        parts[name] = value
    timestamp = headers.get("x-amz-date", "")
    lacking = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if not parts.get(name)
    ]
    if not timestamp:
        lacking.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if lacking:
        raise SignatureError(Problem.INCOMPLETE, " ".join(lacking))
    return _claim(
        parts["Credential"],
        parts["SignedHeaders"],
        parts["Signature"],
        timestamp,
        None,
        headers.get("x-amz-security-token"),
    )


def _from_query(params: Mapping[str, str]) -> Claim:
    if params.get("X-Amz-Algorithm") != ALGORITHM:
        raise SignatureError(
            Problem.INCOMPLETE, f"AWS query-string parameters must include 'X-Amz-Algorithm' = '{ALGORITHM}'."
        )
    names = ("X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
    lacking = [f"AWS query-string parameters must include '{name}'." for name in names if not params.get(name)]
    if lacking:
        raise SignatureError(Problem.INCOMPLETE, " ".join(lacking))
    expires = params.get("X-Amz-Expires", str(SKEW_SECONDS))
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 7 and int(expires) <= MAX_EXPIRES):
        raise SignatureError(Problem.INCOMPLETE, "X-Amz-Expires must be a number of seconds under a week")
    credential, signature, signed, date = (params[name] for name in names)
    return _claim(credential, signed, signature, date, int(expires), params.get("X-Amz-Security-Token"))


def _claim(
    credential: str, signed: str, signature: str, timestamp: str, expires: int | None, token: str | None
) -> Claim:
    access_key, *scope = credential.split("/")
    if len(scope) != 4 or scope[3] != "aws4_request" or not access_key:
        raise SignatureError(
            Problem.INCOMPLETE,
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{credential[:128]}'",
        )
    date, region, service, _ = scope
    if not _DATE.fullmatch(timestamp):
        raise SignatureError(Problem.INCOMPLETE, f"Date must be in ISO-8601 'basic format'. Got '{timestamp[:32]}'.")
    try:
        moment = _moment(timestamp)
    except ValueError as error:
        text = f"Date must be in ISO-8601 'basic format'. Got '{timestamp}'."
        raise SignatureError(Problem.INCOMPLETE, text) from error
    if not _SIGNATURE.fullmatch(signature):
        raise SignatureError(Problem.INCOMPLETE, "Signature must be 64 lower-case hexadecimal characters.")
    if not _REGION.fullmatch(region):
        raise SignatureError(Problem.MISMATCH, "Credential should be scoped to a valid region.")
    if not _SERVICE.fullmatch(service):
        raise SignatureError(Problem.MISMATCH, "Credential should be scoped to correct service.")
    if date != timestamp[:8]:
        raise SignatureError(
            Problem.MISMATCH,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{date[:8]}' != '{timestamp[:8]}', from '{timestamp}'.",
        )
    names = tuple(sorted(name.strip().lower() for name in signed.split(";")))
    if "host" not in names:
        raise SignatureError(
            Problem.MISMATCH, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
        )
    return Claim(access_key, date, region, service, names, signature, timestamp, moment, expires, token)


def _moment(timestamp: str) -> float:
    """Epoch seconds of ``20260131T120000Z``; a twelfth of the time that strptime takes. Raises ValueError."""
    day, clock = int(timestamp[:8]), int(timestamp[9:15])
    when = datetime(
        day // 10_000, day // 100 % 100, day % 100, clock // 10_000, clock // 100 % 100, clock % 100, tzinfo=UTC
    )
    return when.timestamp()


def check_date(claim: Claim, now: float) -> None:
    """Raises SignatureError where the request is too old, from the future, or a presigned one has expired."""
    lifetime = SKEW_SECONDS if claim.expires is None else claim.expires
    if now - lifetime > claim.moment:
        detail = f"({_written(now)} - {lifetime // 60} min.)"
        raise SignatureError(
            Problem.SKEWED,
            f"Signature expired: {claim.timestamp} is now earlier than {_written(now - lifetime)} {detail}",
        )
    if claim.moment > now + SKEW_SECONDS:
        detail = f"({_written(now)} + {SKEW_SECONDS // 60} min.)"
        raise SignatureError(
            Problem.SKEWED,
            f"Signature not yet current: {claim.timestamp} is still later than {_written(now + SKEW_SECONDS)} {detail}",
        )


def _written(moment: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))


# --- the whole request ------------------------------------------------------------------------------------------------


def verify(
    claim: Claim, secret: str, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> None:
    """Raises SignatureError unless the holder of ``secret`` signed exactly this request. ``path`` and ``query`` as they
    came, ``headers`` with lower-case names and latin-1 values, repeated ones joined by commas."""
    missing = [name for name in claim.signed_headers if name not in headers]
    if missing:
        raise SignatureError(Problem.MISMATCH, f"The signed header '{missing[0][:64]}' is not in the request.")
    payload = headers.get("x-amz-content-sha256")
    if payload is None:
        payload = hashlib.sha256(body).hexdigest()
    elif payload != UNSIGNED and not hmac.compare_digest(
        payload.lower().encode("latin-1"), hashlib.sha256(body).hexdigest().encode()
    ):
        raise SignatureError(Problem.MISMATCH, "The provided 'x-amz-content-sha256' header does not match the body.")
    pairs = _query_pairs(query)
    if claim.expires is not None:
        pairs = [(name, value) for name, value in pairs if name != "X-Amz-Signature"]
    signed = [(name, headers[name]) for name in claim.signed_headers]
    canonical = _canonical(method, path, pairs, signed, payload)
    if not hmac.compare_digest(_signature(secret, claim, canonical), claim.signature):
        raise SignatureError(
            Problem.MISMATCH,
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.",
        )


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    access_key: str,
    secret: str,
    region: str,
    service: str,
    now: float,
) -> dict[str, str]:
    """``headers`` with lower-case names, and ``host``, ``x-amz-date`` and ``authorization`` for a request to ``url``
    (http, https, ws or wss). All of them are signed but those that a proxy or HTTP client may change."""
    parts = urlsplit(url)
    out = {name.lower(): value for name, value in headers.items()}
    out["host"] = parts.netloc.rpartition("@")[2]
    out["x-amz-date"] = timestamp = _written(now)
    names = tuple(sorted(name for name in out if name not in _UNSIGNABLE))
    payload = out.get("x-amz-content-sha256") or hashlib.sha256(body).hexdigest()
    signed = [(name, out[name]) for name in names]
    path = unquote(parts.path, "latin-1") if service == "s3" else parts.path  # S3 alone signs a path encoded only once
    canonical = _canonical(method, path or "/", _query_pairs(parts.query), signed, payload)
    claim = Claim(access_key, timestamp[:8], region, service, names, "", timestamp, now)
    out["authorization"] = (
        f"{ALGORITHM} Credential={access_key}/{claim.scope}, SignedHeaders={';'.join(names)}, "
        f"Signature={_signature(secret, claim, canonical)}"
    )
    return out


def _canonical(
    method: str, path: str, query: list[tuple[str, bytes]], headers: list[tuple[str, str]], payload: str
) -> bytes:
    encoded = sorted((quote(name.encode("latin-1"), safe="-_.~"), quote(value, safe="-_.~")) for name, value in query)
    lines = [
        method,
        quote(_normal_path(path).encode("latin-1"), safe="/~"),
        "&".join([f"{name}={value}" for name, value in encoded]),
        *[f"{name}:{_SPACES.sub(' ', value.strip())}" for name, value in headers],
        "",
        ";".join([name for name, _ in headers]),
        payload,
    ]
    return "\n".join(lines).encode("latin-1", "replace")


def _query_pairs(query: str) -> list[tuple[str, bytes]]:
    """Decoded pairs; a plus sign is a space, as AWS and the form encoders of Go and the browsers have it."""
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.replace("+", " ").partition("=")
            pairs.append((unquote_to_bytes(name).decode("latin-1"), unquote_to_bytes(value)))
    return pairs


def _normal_path(path: str) -> str:
    if path == "/":
        return path
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


def _signature(secret: str, claim: Claim, canonical: bytes) -> str:
    text = f"{ALGORITHM}\n{claim.timestamp}\n{claim.scope}\n{hashlib.sha256(canonical).hexdigest()}"
    key = _signing_key(secret, claim.date, claim.region, claim.service)
    return hmac.digest(key, text.encode(), "sha256").hex()


@lru_cache(maxsize=4096)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
