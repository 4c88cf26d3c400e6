"""botocore is the oracle: what its client writes we read back to the same values, what we write its parser reads back.

Every operation of every model that is served, and of one that speaks CBOR, with seeded random values.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

import botocore.parsers
import botocore.serialize
import botocore.session
import pytest
from botocore.model import OperationModel as OracleOperation
from botocore.model import ServiceModel as OracleService

from homeport.aws import models, wire
from homeport.aws.wire import CBOR, EC2, JSON, QUERY, Request, Wire
from homeport.core.errors import AwsError

WIRES: dict[str, Wire] = {w.name: w for w in (JSON, CBOR, QUERY, EC2)}
CASES = [
    ("ecs", "json"),
    ("ec2", "ec2"),
    ("sts", "query"),
    ("iam", "query"),
    ("logs", "json"),
    ("cloudwatch", "smithy-rpc-v2-cbor"),
    ("cloudwatch", "json"),
    ("cloudwatch", "query"),
]
ROUNDS = 2
TEXTS = ["a b&c=d+e%", "é<x>\"'&amp;", "plain", "1", "Ελλάδα 🚢", "tab\tline\nend"]


@cache
def oracle(service: str) -> OracleService:
    return botocore.session.get_session().get_service_model(service)


@cache
def ours(service: str) -> models.ServiceModel:
    return models.load(service)


class Generator:
    """Random values of a shape. Instants are whole milliseconds, what AWS's formats carry."""

    def __init__(self, seed: str, protocol: str) -> None:
        self.rnd = random.Random(seed)
        self.protocol = protocol

    def value(self, shape: Any, depth: int = 0) -> Any:
        rnd = self.rnd
        match shape.type_name:
            case "structure":
                return self.structure(shape, depth)
            case "list":
                return [self.value(shape.member, depth + 1) for _ in range(rnd.choice([1, 2, 3]) if depth < 7 else 1)]
            case "map":
                keys = shape.key.enum[:2] or ["k<&1", "k 2"]
                return {key: self.value(shape.value, depth + 1) for key in keys}
            case "string" | "character":
                return rnd.choice(shape.enum) if shape.enum else rnd.choice(TEXTS)
            case "integer":
                return rnd.choice([0, 1, 23, 24, 255, 65536, -1, -25, 2**31 - 1, -(2**31)])
            case "long":
                return rnd.choice([0, 1, 2**40, -(2**63), 2**63 - 1])
            case "float" | "double":
                return rnd.choice([0.5, 1.0, -2.25, 1e-3, 1e18])
            case "boolean":
                return rnd.random() < 0.5
            case "timestamp":
                return datetime.fromtimestamp(rnd.randrange(2 * 10**9), UTC).replace(
                    microsecond=rnd.choice([0, 125000])
                )
            case "blob":
                return b"\x00bin\xff"
        raise AssertionError(shape.type_name)

    def structure(self, shape: Any, depth: int) -> Any:
        if getattr(shape, "is_document_type", False):
            return {"a": [1, {"b": "c"}]}
        members = list(shape.members.items())
        if getattr(shape, "is_tagged_union", False):
            members = [self.rnd.choice(members)]
        elif depth > 5:
            members = [m for m in members if m[1].type_name not in ("structure", "list", "map")]
        elif depth > 2:
            members = [m for m in members if self.rnd.random() < 0.4] or members[:1]
        return {name: self.value(member, depth + 1) for name, member in members if not _is_stream(member)}


def _is_stream(member: Any) -> bool:
    return bool(member.serialization.get("eventstream"))


def normal(value: Any) -> Any:
    """Instants as epoch seconds; what XML and forms can't tell apart is dropped: empty structures and what holds only
    those."""
    if isinstance(value, dict):
        return {k: v for k, v in ((k, normal(v)) for k, v in value.items()) if v not in ({}, [])}
    if isinstance(value, (list, tuple)):
        return [v for v in map(normal, value) if v not in ({}, [])]
    if isinstance(value, datetime):
        return value.timestamp()
    return value


def request_of(operation: OracleOperation, params: Any, protocol: str) -> Request:
    written = botocore.serialize.create_serializer(protocol, include_validation=False).serialize_to_request(
        params, operation
    )
    body = written["body"]
    if isinstance(body, dict):
        body = urlencode(body)
    if isinstance(body, str):
        body = body.encode()
    headers = {name.lower(): value for name, value in written["headers"].items()}
    return Request("POST", written["url_path"], "", headers, bytes(body))


@pytest.mark.parametrize(("service", "protocol"), CASES)
def test_every_input(service: str, protocol: str) -> None:
    model, spoken = ours(service), WIRES[protocol]
    for name in oracle(service).operation_names:
        operation = oracle(service).operation_model(name)
        for round_ in range(ROUNDS):
            made = Generator(f"{service} {name} in {round_}", protocol)
            params = made.value(operation.input_shape) if operation.input_shape else {}
            request = request_of(operation, params, protocol)
            assert wire.choose(request.headers, model.signing_name) is spoken
            assert spoken.operation(request) == name
            assert normal(spoken.decode(model.operations[name], request)) == normal(params), name


@pytest.mark.parametrize(("service", "protocol"), CASES)
def test_every_output(service: str, protocol: str) -> None:
    model, spoken = ours(service), WIRES[protocol]
    parser = botocore.parsers.create_parser(protocol)
    for name in oracle(service).operation_names:
        operation = oracle(service).operation_model(name)
        if operation.has_event_stream_output:  # no event streams are written: StartLiveTail of logs
            continue
        for round_ in range(ROUNDS):
            made = Generator(f"{service} {name} out {round_}", protocol)
            output = made.value(operation.output_shape) if operation.output_shape else {}
            answer = spoken.encode(model, model.operations[name], _seconds(output), "the-id")
            raw = {"status_code": 200, "headers": answer.headers, "body": answer.body, "context": {}}
            parsed = parser.parse(raw, operation.output_shape)
            meta = parsed.pop("ResponseMetadata")
            assert operation.output_shape is None or meta["RequestId"] == "the-id"
            assert normal(parsed) == normal(output), name


def _seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _seconds(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_seconds(v) for v in value]
    return value.timestamp() if isinstance(value, datetime) else value


@pytest.mark.parametrize(("service", "protocol"), CASES)
def test_errors(service: str, protocol: str) -> None:
    parser = botocore.parsers.create_parser(protocol)
    for status in (400, 403, 500):
        error = AwsError("SomeException", 'no <cluster> "é" & more', status)
        answer = WIRES[protocol].encode_error(ours(service), error, "the-id")
        raw = {"status_code": answer.status, "headers": answer.headers, "body": answer.body, "context": {}}
        parsed = parser.parse(raw, None)
        assert (parsed["Error"]["Code"], parsed["Error"]["Message"]) == (error.code, error.message)
        assert parsed["ResponseMetadata"]["RequestId"] == "the-id"
        assert answer.status == status


@pytest.mark.parametrize(("service", "protocol"), [c for c in CASES if c[0] != "ec2"])
def test_every_modelled_error(service: str, protocol: str) -> None:
    """The code that the client sees is the one of the model, and further members come back."""
    parser = botocore.parsers.create_parser(protocol)
    for shape in oracle(service).error_shapes:
        made = Generator(f"{service} {shape.name}", protocol)
        fields = {k: v for k, v in made.value(shape).items() if k.lower() not in ("message", "code", "type")}
        error = AwsError(shape.name, "text", **_seconds(fields))
        answer = WIRES[protocol].encode_error(ours(service), error, "the-id")
        raw = {"status_code": answer.status, "headers": answer.headers, "body": answer.body, "context": {}}
        parsed = parser.parse(raw, shape)
        assert parser.parse(raw, None)["Error"]["Code"] in (shape.error_code, shape.name)
        assert normal({k: parsed[k] for k in fields if k in parsed}) == normal(fields), shape.name


def test_a_client_that_once_spoke_query_finds_its_code() -> None:
    answer = CBOR.encode_error(ours("cloudwatch"), AwsError("ResourceNotFoundException", "gone"), "id")
    assert answer.headers["x-amzn-query-error"] == "ResourceNotFoundException;Sender"
    answer = CBOR.encode_error(ours("cloudwatch"), AwsError("InvalidParameterValueException", "bad"), "id")
    assert answer.headers["x-amzn-query-error"] == "InvalidParameterValue;Sender"
