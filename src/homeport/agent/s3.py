"""Objects of an S3-compatible service, by plain signed GET requests."""

from __future__ import annotations

import hashlib
import http.client
import re
import ssl
import time
from urllib.parse import quote, unquote, urlsplit

from homeport.agent.environment_files import MAX_FILE, Source, failed
from homeport.aws.sigv4 import sign
from homeport.core.clock import Clock

SECONDS = 10.0  # for an answer to begin, and between two parts of it
WHOLE_SECONDS = 30.0  # for all of it
_CODE = re.compile(r"<Code>([^<]*)</Code>.*?<Message>([^<]*)</Message>", re.DOTALL)
_MAX_ERROR = 64 * 1024  # bytes of an error's document that are read


def objects(endpoint: str, region: str, clock: Clock) -> Source:
    """Objects at ``http(s)://[ACCESS_KEY:SECRET@]HOST[:PORT][/PREFIX]``, addressed by path. Without a key requests are
    not signed. Secrets in the URL are percent-encoded where they need to be."""
    parts = urlsplit(endpoint)
    user, secret = unquote(parts.username or ""), unquote(parts.password or "")
    base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def get(bucket: str, key: str) -> bytes:
        target = f"{parts.path.rstrip('/')}/{bucket}/{quote(key, safe='/~')}"
        headers = {"x-amz-content-sha256": hashlib.sha256(b"").hexdigest()}
        if user:
            headers = sign("GET", base + target, headers, b"", user, secret, region, "s3", clock.wall())
        try:
            status, data = _exchange(base, target, headers)
        except (OSError, http.client.HTTPException) as error:
            raise failed(
                f"RequestError: send request failed: {base}{target}: {error or type(error).__name__}"
            ) from None
        if status == 200:
            return data
        told = _CODE.search(data[:_MAX_ERROR].decode(errors="replace"))
        cause = f"{told[1]}: {told[2]}" if told else f"HTTP status {status}"
        raise failed(f"{cause} ({base}{target})")

    return get


def _exchange(base: str, target: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body, of which no more than a byte over MAX_FILE is read. Raises OSError, HTTPException."""
    parts = urlsplit(base)
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=SECONDS, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=SECONDS)
    )
    end = time.monotonic() + WHOLE_SECONDS
    try:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        data = b""
        while len(data) <= MAX_FILE and (part := response.read1(65536)):
            data += part
            if time.monotonic() > end:
                raise TimeoutError(f"not complete within {WHOLE_SECONDS:.0f} s")
        return response.status, data
    finally:
        connection.close()
