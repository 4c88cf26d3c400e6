"""The four AWS protocols between HTTP messages and dicts, driven by the service models. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from homeport.aws.wire.cbor import Cbor
from homeport.aws.wire.ec2 import Ec2
from homeport.aws.wire.json import Json
from homeport.aws.wire.messages import Dialect, Request, Response, Wire
from homeport.aws.wire.query import Query

__all__ = ["CBOR", "EC2", "JSON", "QUERY", "Dialect", "Request", "Response", "Wire", "choose"]

JSON, CBOR, QUERY, EC2 = Json(), Cbor(), Query(), Ec2()


def choose(headers: Mapping[str, str], signing_name: str) -> Wire:
    """The protocol that the client speaks: by its headers, because newer SDKs speak CBOR to services that older ones
    reach by JSON or query. ``signing_name`` tells ec2 from query, whose requests look alike, and is "" if unknown."""
    if headers.get("smithy-protocol") == "rpc-v2-cbor":
        return CBOR
    if "x-amz-target" in headers or headers.get("content-type", "").startswith("application/x-amz-json"):
        return JSON
    return EC2 if signing_name == "ec2" else QUERY
