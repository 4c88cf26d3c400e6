"""Requests that no client should send: AWS's error or a closed connection, and the next request works."""

from __future__ import annotations

import json
import random
import socket
import time
from typing import Any

import cbor2
import pytest
from front import KEY, SECRET, Front, make_app
from raw import Answer, connect, head, http, read_answer

from homeport.aws import asgi, serve, sigv4

PREFIX = "AmazonEC2ContainerServiceV20141113."


def signed(front: Front, service: str, body: bytes, headers: dict[str, str], path: str = "/") -> dict[str, str]:
    return sigv4.sign("POST", front.url + path, headers, body, KEY, SECRET, "us-east-1", service, time.time())


def ecs(front: Front, body: bytes, operation: str = "RunTask", path: str = "/") -> Answer:
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": PREFIX + operation}
    return http(front.port, "POST", path, signed(front, "ecs", body, headers, path), body)


def form(front: Front, service: str, body: bytes) -> Answer:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return http(front.port, "POST", "/", signed(front, service, body, headers), body)


def code_of(answer: Answer) -> str:
    if answer.body.startswith(b"{"):
        return str(json.loads(answer.body)["__type"])
    return answer.body.decode().partition("<Code>")[2].partition("</Code>")[0]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"{}{}",
        b'{"taskDefinition":"a","taskDefinition":"b"}',
        b'{"taskDefinition":1}',
        b'{"taskDefinition":["a"]}',
        b'{"taskDefinition":{"a":1}}',
        b'{"count":"1"}',
        b'{"count":true}',
        b'{"count":1.5}',
        b'{"count":NaN}',
        b'{"count":1e999}',
        b'{"count":' + b"9" * 40 + b"}",
        b'{"count":' + b"9" * 10_000 + b"}",
        b'{"tags":{"key":"a"}}',
        b'{"tags":["a"]}',
        b'{"tags":[null]}',
        b'{"enableECSManagedTags":"true"}',
        b'{"taskDefinition":"\xff"}',
        b'{"taskDefinition":"\\ud800"}',
        b"\xef\xbb\xbf{}",
        '{"taskDefinition":"a"}'.encode("utf-16"),
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"overrides":' * 50_000 + b"1" + b"}" * 50_000,
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
def test_malformed_json(front: Front, body: bytes) -> None:
    answer = ecs(front, body)
    assert (answer.status, code_of(answer)) == (400, "SerializationException")
    assert not answer.closed


def test_wrong_types_in_awss_words(front: Front) -> None:
    for body, text in {
        b'{"taskDefinition":1}': "NUMBER_VALUE can not be converted to a String",
        b'{"count":"1"}': "STRING_VALUE can not be converted to an Integer",
        b'{"enableECSManagedTags":1}': "NUMBER_VALUE can not be converted to a Boolean",
        b'{"count":true}': "TRUE_VALUE can not be converted to an Integer",
        b'{"count":[1]}': "Start of list found where not expected",
        b'{"count":{}}': "Start of structure or map found where not expected.",
    }.items():
        assert json.loads(ecs(front, body).body)["message"] == text


def test_nulls_and_unknown_members_are_ignored(front: Front) -> None:
    body = b'{"taskDefinition":"t","count":null,"newerThanUs":{"a":[1]},"tags":[{"key":"k","value":null}]}'
    assert ecs(front, body).status == 200


@pytest.mark.parametrize("service", ["ec2", "sts"])
@pytest.mark.parametrize(
    ("query", "ec2_code", "sts_code"),
    [
        (b"&a", "MalformedQueryString", "MalformedQueryString"),
        (b"&a=%zz", "MalformedQueryString", "MalformedQueryString"),
        (b"&a=%ff", "MalformedQueryString", "MalformedQueryString"),
        (b"&a=\xff", "MalformedQueryString", "MalformedQueryString"),
        (b"&a=1&a=2", "MalformedQueryString", "MalformedQueryString"),
        (b"".join(b"&p%d=1" % i for i in range(10_001)), "MalformedQueryString", "MalformedQueryString"),
        (b"&VpcId=a&VpcId.1=b", "InvalidParameterValue", "MalformedInput"),
        (b"&VpcId.1=b&VpcId=a", "InvalidParameterValue", "MalformedInput"),
        (b"&" + b"a." * 100 + b"b=1", "InvalidParameterValue", "MalformedInput"),
    ],
    ids=lambda value: value[:20].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_malformed_forms(front: Front, service: str, query: bytes, ec2_code: str, sts_code: str) -> None:
    action = b"Action=DescribeVpcs" if service == "ec2" else b"Action=GetCallerIdentity"
    answer = form(front, service, action + query)
    if service == "sts" and not sts_code.startswith("MalformedQuery"):
        return  # GetCallerIdentity has no input that could be mistyped
    assert (answer.status, code_of(answer)) == (400, ec2_code if service == "ec2" else sts_code)


@pytest.mark.parametrize(
    "query",
    [b"MaxResults=many", b"MaxResults=99999999999", b"MaxResults.1=5", b"DryRun=perhaps", b"VpcId.x=1", b"VpcId.0=1",
     b"VpcId=plain", b"Filter.1.Value.1.x=1", b"Filter.1=a"],
)  # fmt: skip
def test_mistyped_ec2_parameters(front: Front, query: bytes) -> None:
    answer = form(front, "ec2", b"Action=DescribeVpcs&" + query)
    assert (answer.status, code_of(answer)) == (400, "InvalidParameterValue")


def test_requests_without_an_action(front: Front) -> None:
    assert code_of(form(front, "sts", b"")) == "MissingAction"
    assert code_of(form(front, "ec2", b"Version=2016-11-15")) == "MissingAction"
    assert code_of(ecs(front, b"{}", "")) == "UnknownOperationException"
    assert code_of(ecs(front, b"{}", "Nothing")) == "UnknownOperationException"
    assert code_of(ecs(front, b"{}", "__class__")) == "UnknownOperationException"
    assert code_of(form(front, "ecs", b"Action=RunTask")) == "InvalidAction"  # ecs speaks no query


def test_cbor_to_a_service_that_speaks_json(front: Front) -> None:
    path = "/service/AmazonEC2ContainerServiceV20141113/operation/RunTask"
    body = cbor2.dumps({"taskDefinition": "t"})
    headers = {"smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor"}
    answer = http(front.port, "POST", path, signed(front, "ecs", body, headers, path), body)
    assert answer.headers["content-type"] == "application/cbor"
    assert cbor2.loads(answer.body)["__type"] == "UnknownOperationException"


def test_random_bytes_never_hurt(front: Front) -> None:
    rnd = random.Random(5)
    seeds = [b'{"taskDefinition":"t","tags":[{"key":"k"}]}', b"Action=DescribeVpcs&VpcId.1=a&Filter.1.Name=x"]
    for i in range(200):
        body = bytearray(seeds[i % 2])
        for _ in range(rnd.randint(1, 4)):
            body[rnd.randrange(len(body))] = rnd.randrange(256)
        answer = form(front, "ec2", bytes(body)) if i % 2 else ecs(front, bytes(body))
        assert answer.status in (200, 400), body


# --- size and time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
def test_a_hundred_megabytes_are_cut_off(front: Front, chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "LINGER_SECONDS", 120.0)  # a loaded machine takes its time for so much
    size, piece = 100_000_000, b"x" * 100_000
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": PREFIX + "RunTask"}
    headers = signed(front, "ecs", b"", headers)
    headers |= {"transfer-encoding": "chunked"} if chunked else {"content-length": str(size)}
    before = _resident()
    with connect(front.port) as sock:
        sock.sendall(head("POST", "/", headers))
        peak = before
        for sent in range(0, size, len(piece)):
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if sent % 10_000_000 == 0:
                peak = max(peak, _resident())
        if chunked:
            sock.sendall(b"0\r\n\r\n")
        answer = read_answer(sock)
    assert (answer.status, code_of(answer)) == (413, "RequestEntityTooLargeException")
    assert answer.closed
    assert peak - before < 16 << 20  # client and server are one process here
    assert ecs(front, b'{"taskDefinition":"t"}').status == 200


def test_an_unknown_callers_body_is_not_kept(front: Front) -> None:
    """The refusal comes from the head alone, before the body is there."""
    with connect(front.port) as sock:
        sock.sendall(head("POST", "/", {"host": "h", "x-amz-target": PREFIX + "RunTask", "content-length": "1000000"}))
        answer = read_answer(sock)
    assert code_of(answer) == "MissingAuthenticationTokenException"
    assert answer.closed


def test_a_body_that_does_not_come(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.2)
    headers = signed(front, "ecs", b"{}", {"x-amz-target": PREFIX + "RunTask"}) | {"content-length": "2"}
    with connect(front.port) as sock:
        sock.sendall(head("POST", "/", headers))
        answer = read_answer(sock)
    assert (answer.status, code_of(answer), answer.closed) == (408, "RequestTimeout", True)


def test_slow_heads_are_closed(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "HEAD_SECONDS", 0.3)
    for first in (b"", b"POST / HTTP/1.1\r\nhost: ", head("GET", "/healthz", {"host": "h"})):
        with connect(front.port) as sock:
            sock.sendall(first)
            if first.startswith(b"GET"):  # a second request on a connection that was good once
                assert read_answer(sock).status == 200
                sock.sendall(b"POST / HTTP/1.1\r\n")
            begun = time.monotonic()
            assert _closed(sock)
            assert time.monotonic() - begun < 10


def test_endless_heads_are_closed(front: Front) -> None:
    with connect(front.port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        try:
            for i in range(2000):
                sock.sendall(b"x-%d: " % i + b"y" * 100 + b"\r\n")
        except OSError:
            pass
        assert _closed(sock)


def test_garbage_is_answered_and_closed(front: Front) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\nhost: h\r\n\r\n"):
        with connect(front.port) as sock:
            sock.sendall(garbage)
            assert _closed(sock)
    assert http(front.port, "GET", "/healthz", {"host": "h"}).body == b"ok\n"


def test_a_thousand_half_open_connections() -> None:
    """They hold nothing up, and at the limit the oldest of them make room."""
    with Front(make_app()) as front:
        half_open = []
        try:
            for i in range(1000):
                sock = connect(front.port)
                sock.sendall(b"" if i % 2 else b"POST / HTTP/1.1\r\nhost: h\r\n")
                half_open.append(sock)
            begun = time.monotonic()
            assert ecs(front, b'{"taskDefinition":"t"}').status == 200
            assert time.monotonic() - begun < 10
        finally:
            for sock in half_open:
                sock.close()


def test_the_oldest_waiting_connection_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "MAX_CONNECTIONS", 20)
    with Front(make_app()) as front:
        first = connect(front.port)
        others = [connect(front.port) for _ in range(30)]
        assert _closed(first)
        assert ecs(front, b'{"taskDefinition":"t"}').status == 200
        for sock in others:
            sock.close()


def test_pipelined_requests_and_keep_alive(front: Front) -> None:
    get = head("GET", "/healthz", {"host": "h"})
    with connect(front.port) as sock:
        sock.sendall(get * 3)
        data = b""
        while data.count(b"ok\n") < 3:
            part = sock.recv(65536)
            assert part
            data += part
        sock.sendall(get)
        assert read_answer(sock).status == 200


def test_plain_gets(front: Front) -> None:
    answers: Any = {path: http(front.port, "GET", path, {"host": "h"}) for path in ("/", "/healthz", "/nothing")}
    assert [a.status for a in answers.values()] == [200, 200, 404]


def _closed(sock: socket.socket) -> bool:
    """Whether the server ends the connection, after an answer or without one."""
    sock.settimeout(5)
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
