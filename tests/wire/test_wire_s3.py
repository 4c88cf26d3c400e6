"""Environment files from an S3-compatible service: requests as botocore would sign them, and what goes wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from homeport.agent.environment_files import MAX_FILE, ResourceFailed, read
from homeport.agent.s3 import objects
from homeport.system import SystemClock

KEY, SECRET = "AKIAEXAMPLE", "a/secret+"
MISSING = b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"


class Service:
    """Answers with ``answers[path]``, else 404; 403 to what isn't signed with the key, unless it is public."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.public = False
        self.address = ""

    def signed(self, path: str, headers: Any) -> bool:
        names = ("host", "x-amz-date", "x-amz-content-sha256")
        request = AWSRequest("GET", f"http://{self.address}{path}", {n: headers.get(n, "") for n in names})
        request.context["timestamp"] = headers.get("x-amz-date", "")
        auth: Any = S3SigV4Auth(Credentials(KEY, SECRET), "s3", "us-east-1")
        signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        return str(headers.get("authorization", "")).endswith(f"Signature={signature}")


@pytest.fixture
def service() -> Iterator[Service]:
    serving = Service()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

        def do_GET(self) -> None:
            allowed = serving.public or serving.signed(self.path, self.headers)
            data = serving.answers.get(self.path)
            status = 403 if not allowed else 200 if data is not None else 404
            self.send_response(status)
            self.end_headers()
            self.wfile.write({200: data or b"", 403: b"no", 404: MISSING}[status])

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield serving
        finally:
            server.shutdown()
            thread.join()


def fetched(endpoint: str, *keys: str) -> dict[str, str]:
    source = objects(endpoint, "us-east-1", SystemClock())
    return asyncio.run(read(source, [f"arn:aws:s3:::{key}" for key in keys]))


def test_objects_are_fetched_with_a_signature(service: Service) -> None:
    service.answers = {
        "/bucket/a/one.env": b"A=1",
        "/bucket/with%20a%20blank%2B%C3%BC.env": b"A=2\nB=2",
        "/prefix/bucket/one.env": b"C=3",
    }
    endpoint = f"http://{KEY}:a%2Fsecret%2B@{service.address}"
    assert fetched(endpoint, "bucket/a/one.env", "bucket/with a blank+ü.env") == {"A": "1", "B": "2"}
    assert fetched(f"{endpoint}/prefix/", "bucket/one.env") == {"C": "3"}


def test_without_a_key_nothing_is_signed(service: Service) -> None:
    service.answers = {"/bucket/one.env": b"A=1"}
    with pytest.raises(ResourceFailed, match=r"HTTP status 403"):
        fetched(f"http://{service.address}", "bucket/one.env")
    service.public = True
    assert fetched(f"http://{service.address}", "bucket/one.env") == {"A": "1"}


def test_failures_say_why_and_never_tell_the_secret(service: Service) -> None:
    service.answers = {"/bucket/large.env": b"A=1\n" * MAX_FILE}
    endpoint = f"http://{KEY}:a%2Fsecret%2B@{service.address}"
    for url, key, text in (
        (endpoint, "bucket/none.env", "NoSuchKey: The specified key does not exist."),
        (endpoint, "bucket/large.env", "too large"),
        (endpoint.replace("secret", "other"), "bucket/none.env", "HTTP status 403"),
        (f"http://{KEY}:a%2Fsecret%2B@127.0.0.1:1", "bucket/none.env", "RequestError: send request failed"),
    ):
        with pytest.raises(ResourceFailed) as caught:
            fetched(url, key)
        assert text in str(caught.value)
        assert "secret" not in str(caught.value)
