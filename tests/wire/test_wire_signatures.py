"""Signatures: botocore's signer is the oracle, and everything that isn't exactly right is refused with AWS's codes."""

from __future__ import annotations

import calendar
import hashlib
import json
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from front import KEY, SECRET, Front
from raw import Answer, http

from homeport.aws import sigv4
from homeport.aws.sigv4 import Claim, Problem, SignatureError

NOW = float(calendar.timegm((2026, 1, 31, 12, 0, 0)))
TARGET = "AmazonEC2ContainerServiceV20141113.DescribeTasks"
BODY = b'{"tasks":["arn:x"]}'


def by_botocore(
    url: str, method: str = "POST", body: bytes = BODY, headers: dict[str, str] | None = None, params: Any = None
) -> tuple[str, dict[str, str]]:
    """(url, headers) of a request signed by botocore now, with the host header that its HTTP client would send."""
    request = AWSRequest(method, url, headers=headers or {}, data=body, params=params)
    SigV4Auth(Credentials(KEY, SECRET), "ecs", "us-east-1").add_auth(request)
    prepared = request.prepare()
    sent = {name.lower(): value for name, value in prepared.headers.items()}
    return prepared.url, sent | {"host": urlsplit(prepared.url).netloc}


def verified(method: str, url: str, headers: dict[str, str], body: bytes, secret: str = SECRET) -> Claim:
    parts = urlsplit(url)
    claim = sigv4.read_claim(parts.query, headers)
    sigv4.verify(claim, secret, method, parts.path, parts.query, headers, body)
    return claim


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/", None),
        ("/ws", {"clusterArn": "default", "dockerVersion": "DockerVersion: 20.10.24+dfsg1", "seqNum": "1"}),
        ("/a%20b/%C3%BC/%2F/~x", {"q": "é&=/+ ~*", "a": "", "B": "2", "b": "1"}),
        ("/a//b/../c/./d/", {"k": "10", "j": "-_.~/"}),
        ("/service/X/operation/Y", {}),
    ],
)
def test_what_botocore_signs_is_accepted(path: str, params: Any) -> None:
    headers = {"X-Amz-Target": TARGET, "X-Odd": "  two   spaces "}
    url, sent = by_botocore("http://127.0.0.1:4566" + path, headers=headers, params=params)
    claim = verified("POST", url, sent, BODY)
    assert (claim.access_key, claim.region, claim.service) == (KEY, "us-east-1", "ecs")
    assert "x-amz-target" in claim.signed_headers


def test_a_plus_sign_in_a_query_is_a_space() -> None:
    """Amazon's agent sends ``a+b`` where it signed ``a%20b``."""
    headers = sigv4.sign("GET", "ws://h/ws?v=a%20b%2Bc", {}, b"", KEY, SECRET, "us-east-1", "ecs", NOW)
    verified("GET", "ws://h/ws?v=a+b%2Bc", headers, b"")


def test_our_signer_writes_what_botocore_writes() -> None:
    url = "http://127.0.0.1:4566/ws?b=2&a=x%20y"
    _, sent = by_botocore(url, "GET", b"", {"Content-Type": "text/x"})
    moment = float(calendar.timegm(time.strptime(sent["x-amz-date"], "%Y%m%dT%H%M%SZ")))
    ours = sigv4.sign("GET", url, {"content-type": "text/x"}, b"", KEY, SECRET, "us-east-1", "ecs", moment)
    assert ours["authorization"] == sent["authorization"]
    assert ours["host"] == "127.0.0.1:4566"


def test_a_presigned_request() -> None:
    request = AWSRequest("GET", "http://127.0.0.1:4566/?Action=GetCallerIdentity&Version=2011-06-15")
    SigV4QueryAuth(Credentials(KEY, SECRET), "sts", "us-east-1", expires=60).add_auth(request)
    headers = {"host": "127.0.0.1:4566"}
    claim = verified("GET", request.url, headers, b"")
    assert claim.expires == 60
    sigv4.check_date(claim, claim.moment + 60)
    for late in (61, 10**6):
        with pytest.raises(SignatureError) as caught:
            sigv4.check_date(claim, claim.moment + late)
        assert caught.value.problem is Problem.SKEWED
    with pytest.raises(SignatureError):
        verified("GET", request.url.replace("GetCallerIdentity", "AssumeRole"), headers, b"")
    with pytest.raises(SignatureError):
        verified("GET", request.url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"), headers, b"")


def signed(**changes: Any) -> tuple[str, str, dict[str, str], bytes]:
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": TARGET}
    args = {"region": "us-east-1", "service": "ecs", "now": NOW} | changes
    url = "http://127.0.0.1:4566/?a=1"
    return "POST", url, sigv4.sign("POST", url, headers, BODY, KEY, SECRET, **args), BODY


def problem_of(method: str, url: str, headers: dict[str, str], body: bytes, secret: str = SECRET) -> Problem | None:
    try:
        sigv4.check_date(verified(method, url, headers, body, secret), NOW)
    except SignatureError as error:
        return error.problem
    return None


def test_anything_changed_after_signing_is_refused() -> None:
    method, url, headers, body = signed()
    assert problem_of(method, url, headers, body) is None
    assert problem_of(method, url, headers, body, "other") is Problem.MISMATCH
    assert problem_of("PUT", url, headers, body) is Problem.MISMATCH
    assert problem_of(method, url + "&b=2", headers, body) is Problem.MISMATCH
    assert problem_of(method, url.replace("/?", "/x?"), headers, body) is Problem.MISMATCH
    assert problem_of(method, url, headers, body + b" ") is Problem.MISMATCH
    for name in ("host", "x-amz-target", "content-type"):
        assert problem_of(method, url, headers | {name: "other"}, body) is Problem.MISMATCH
        without = {k: v for k, v in headers.items() if k != name}
        assert problem_of(method, url, without, body) is Problem.MISMATCH


def test_a_stated_body_hash_must_be_the_bodys() -> None:
    method, url, _, body = signed()
    for stated, good in ((hashlib.sha256(body).hexdigest(), True), ("0" * 64, False), ("STREAMING-x", False)):
        headers = sigv4.sign(method, url, {"x-amz-content-sha256": stated}, body, KEY, SECRET, "us-east-1", "ecs", NOW)
        assert (problem_of(method, url, headers, body) is None) is good
    headers = sigv4.sign(
        method, url, {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, b"", KEY, SECRET, "us-east-1", "ecs", NOW
    )
    assert problem_of(method, url, headers, b"whatever") is None
    del headers["x-amz-content-sha256"]
    assert problem_of(method, url, headers, b"whatever") is Problem.MISMATCH


def test_dates() -> None:
    for offset, good in ((-300, True), (300, True), (-301, False), (301, False)):
        assert (problem_of(*signed(now=NOW + offset)) is None) is good
    with pytest.raises(SignatureError) as caught:
        sigv4.check_date(verified(*signed(now=NOW - 600)), NOW)
    assert caught.value.text == (
        "Signature expired: 20260131T115000Z is now earlier than 20260131T115500Z (20260131T120000Z - 5 min.)"
    )
    with pytest.raises(SignatureError) as caught:
        sigv4.check_date(verified(*signed(now=NOW + 600)), NOW)
    assert caught.value.text == (
        "Signature not yet current: 20260131T121000Z is still later than 20260131T120500Z (20260131T120000Z + 5 min.)"
    )


GOOD = signed()[2]["authorization"]


@pytest.mark.parametrize(
    ("authorization", "problem", "text"),
    [
        (None, Problem.MISSING, "Missing Authentication Token"),
        ("", Problem.INCOMPLETE, "algorithm"),
        ("Bearer abc", Problem.INCOMPLETE, "Unsupported AWS 'algorithm': 'Bearer'."),
        ("AWS4-HMAC-SHA256", Problem.INCOMPLETE, "requires 'Credential' parameter."),
        (GOOD.replace("Signature=", "Sig="), Problem.INCOMPLETE, "requires 'Signature' parameter."),
        (GOOD.replace("SignedHeaders=", "Headers="), Problem.INCOMPLETE, "requires 'SignedHeaders' parameter."),
        (GOOD.replace("/aws4_request", ""), Problem.INCOMPLETE, "exactly 5 slash-delimited elements"),
        (GOOD.replace("aws4_request", "aws5_request"), Problem.INCOMPLETE, "exactly 5 slash-delimited elements"),
        (GOOD[:-1], Problem.INCOMPLETE, "64 lower-case hexadecimal"),
        (GOOD.replace("/20260131/", "/20260130/"), Problem.MISMATCH, "'20260130' != '20260131'"),
        (GOOD.replace("us-east-1", "moon"), Problem.MISMATCH, "valid region"),
        (GOOD.replace("/ecs/", "/e c/"), Problem.MISMATCH, "correct service"),
        (GOOD.replace("host;", ""), Problem.MISMATCH, "'Host' or ':authority' must be a 'SignedHeader'"),
    ],
)
def test_malformed_authorization(authorization: str | None, problem: Problem, text: str) -> None:
    headers = {k: v for k, v in signed()[2].items() if k != "authorization"}
    if authorization is not None:
        headers["authorization"] = authorization
    with pytest.raises(SignatureError) as caught:
        verified("POST", "http://127.0.0.1:4566/?a=1", headers, BODY)
    assert caught.value.problem is problem
    assert text in caught.value.text


@pytest.mark.parametrize(
    "date", ["", "20260131", "20261331T120000Z", "Sat, 31 Jan 2026 12:00:00 GMT", "٢٠٢٦0131T120000Z"]
)
def test_malformed_dates(date: str) -> None:
    headers = signed()[2] | {"x-amz-date": date}
    with pytest.raises(SignatureError) as caught:
        verified("POST", "http://127.0.0.1:4566/?a=1", headers, BODY)
    assert caught.value.problem is Problem.INCOMPLETE


@pytest.mark.parametrize("query", ["X-Amz-Signature=x", "X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=%ff"])
def test_malformed_presigned(query: str) -> None:
    with pytest.raises(SignatureError) as caught:
        sigv4.read_claim(query, {"host": "h"})
    assert caught.value.problem is Problem.INCOMPLETE


# --- through the front: codes and statuses ----------------------------------------------------------------------------


def post(front: Front, service: str, body: bytes, headers: dict[str, str], **changes: Any) -> Answer:
    args: dict[str, Any] = {"access_key": KEY, "secret": SECRET, "region": "us-east-1", "service": service}
    args |= {"now": time.time()} | {k: v for k, v in changes.items() if k != "tamper"}
    sent = sigv4.sign("POST", front.url + "/", headers, body, **args)
    return http(front.port, "POST", "/", sent | changes.get("tamper", {}), body)


JSON_HEADERS = {"content-type": "application/x-amz-json-1.1", "x-amz-target": TARGET}
FORM_HEADERS = {"content-type": "application/x-www-form-urlencoded"}
FORM = b"Action=GetCallerIdentity&Version=2011-06-15"
VPCS = b"Action=DescribeVpcs&Version=2016-11-15"


def test_codes_of_json_services(front: Front) -> None:
    def code(**changes: Any) -> tuple[int, str]:
        answer = post(front, changes.pop("service", "ecs"), BODY, JSON_HEADERS, **changes)
        assert answer.headers["x-amzn-requestid"]
        return answer.status, json.loads(answer.body).get("__type", "OK")

    assert code() == (200, "OK")
    assert code(now=time.time() - 400) == (400, "InvalidSignatureException")
    assert code(now=time.time() + 400) == (400, "InvalidSignatureException")
    assert code(tamper={"authorization": "AWS4-HMAC-SHA256 Credential=x"}) == (400, "IncompleteSignatureException")
    assert code(service="sts") == (400, "InvalidSignatureException")
    answer = http(front.port, "POST", "/", JSON_HEADERS | {"host": "h"}, BODY)
    assert (answer.status, json.loads(answer.body)["__type"]) == (400, "MissingAuthenticationTokenException")


def test_codes_of_query_and_ec2(front: Front) -> None:
    def code(service: str, body: bytes, **changes: Any) -> tuple[int, str]:
        answer = post(front, service, body, FORM_HEADERS, **changes)
        assert answer.headers["x-amzn-requestid"]
        text = answer.body.decode()
        return answer.status, text.partition("<Code>")[2].partition("</Code>")[0] or "OK"

    late = time.time() - 400
    assert code("sts", FORM) == (200, "OK")
    assert code("ec2", VPCS) == (200, "OK")
    assert code("sts", FORM, now=late) == (403, "SignatureDoesNotMatch")
    assert code("ec2", VPCS, now=late) == (400, "RequestExpired")
    bare = {"authorization": "AWS4-HMAC-SHA256 Credential=x"}
    assert code("sts", FORM, tamper=bare) == (400, "IncompleteSignature")
    assert http(front.port, "POST", "/", FORM_HEADERS | {"host": "h"}, FORM).status == 403


def test_a_presigned_get_is_served(front: Front) -> None:
    request = AWSRequest("GET", f"{front.url}/?Action=GetCallerIdentity&Version=2011-06-15")
    SigV4QueryAuth(Credentials(KEY, SECRET), "sts", "us-east-1", expires=60).add_auth(request)
    parts = urlsplit(request.url)
    answer = http(front.port, "GET", f"/?{parts.query}", {"host": parts.netloc}, b"")
    assert answer.status == 200
    assert b"<Account>123456789012</Account>" in answer.body
